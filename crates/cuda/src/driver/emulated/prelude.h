// CUDA's own names, for kernels that a C++ compiler makes into functions of the CPU. One launch at a time runs in a
// process; the threads of a block take turns (runtime.cc). No includes: they would cost more than the kernels.

#define ESKER_EMULATED 1

#define __global__ inline // So that only the kernel that is asked for is compiled.
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

typedef decltype(sizeof(0)) size_t;

// ---- this thread's place, and what its block has in common

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static const int warpSize = 32;

// As in runtime.cc.
struct EskerLaunch {
    unsigned next, threads;
    unsigned block[3], blocks[3];
    void **args;
    unsigned char *shared;
    unsigned long long *(*wait)(unsigned thread, int all, int line, unsigned long long value);
    void (*fail)(const char *why);
};
static EskerLaunch *esker_launch;

// Waits for the warp, or for the block if `all`; returns what the lanes of the warp gave.
inline unsigned long long *esker_wait(int all, int line, unsigned long long value) {
    unsigned me = threadIdx.x;
    unsigned long long *values = esker_launch->wait(me, all, line, value);
    threadIdx.x = me;
    return values;
}

inline void __syncthreads(int line = __builtin_LINE()) { esker_wait(1, line, 0); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap() { esker_launch->fail("it trapped"); }

inline void esker_whole(unsigned mask) {
    if (mask != 0xffffffffu) esker_launch->fail("lanes are missing in the mask of a shuffle or vote");
}
inline void __syncwarp(unsigned mask = 0xffffffffu) {
    esker_whole(mask);
    esker_wait(0, 0, 0);
}
template <class T> inline T esker_from(unsigned mask, T v, int lane) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    esker_whole(mask);
    unsigned long long given = 0;
    __builtin_memcpy(&given, &v, sizeof v);
    unsigned long long *values = esker_wait(0, 0, given);
    __builtin_memcpy(&v, values + lane, sizeof v);
    return v;
}
template <class T> inline T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
    int me = threadIdx.x % 32;
    return esker_from(mask, v, me / width * width + (from & (width - 1)));
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
    int me = threadIdx.x % 32, from = me ^ bits;
    return esker_from(mask, v, from < me / width * width + width ? from : me);
}
template <class T> inline T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32) {
    int me = threadIdx.x % 32, from = me - (int)by;
    return esker_from(mask, v, from >= me / width * width ? from : me);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32) {
    int me = threadIdx.x % 32, from = me + (int)by;
    return esker_from(mask, v, from < me / width * width + width ? from : me);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
    esker_whole(mask);
    unsigned long long *values = esker_wait(0, 0, predicate != 0);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++) votes |= (unsigned)values[lane] << lane;
    return votes;
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) == 0xffffffffu; }
template <class T> inline unsigned __match_any_sync(unsigned mask, T v) {
    esker_whole(mask);
    unsigned long long mine = 0;
    __builtin_memcpy(&mine, &v, sizeof v);
    unsigned long long *values = esker_wait(0, 0, mine);
    unsigned same = 0;
    for (int lane = 0; lane < 32; lane++) same |= (unsigned)(values[lane] == mine) << lane;
    return same;
}
inline unsigned __activemask() { return 0xffffffffu; }

// ---- vectors

#define ESKER_VECTORS(T, name) \
    struct __attribute__((aligned(2 * sizeof(T)))) name##2 { T x, y; }; \
    struct name##3 { T x, y, z; }; \
    struct __attribute__((aligned(sizeof(T) > 4 ? 16 : 4 * sizeof(T)))) name##4 { T x, y, z, w; }; \
    inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
    inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
    inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define uint3 esker_uint3
ESKER_VECTORS(unsigned, uint)
#undef uint3
ESKER_VECTORS(float, float)
ESKER_VECTORS(int, int)
ESKER_VECTORS(double, double)
ESKER_VECTORS(unsigned char, uchar)
ESKER_VECTORS(unsigned short, ushort)
ESKER_VECTORS(short, short)
ESKER_VECTORS(long long, longlong)
ESKER_VECTORS(unsigned long long, ulonglong)

// ---- atomics: threads take turns, so that none is needed

#define ESKER_ATOMIC(name, T, value) \
    inline T name(T *p, T v) { \
        T old = *p; \
        *p = value; \
        return old; \
    }
#define ESKER_ATOMICS(T) \
    ESKER_ATOMIC(atomicAdd, T, old + v) \
    ESKER_ATOMIC(atomicExch, T, v) \
    ESKER_ATOMIC(atomicMin, T, v < old ? v : old) \
    ESKER_ATOMIC(atomicMax, T, v > old ? v : old) \
    ESKER_ATOMIC(atomicAnd, T, old & v) \
    ESKER_ATOMIC(atomicOr, T, old | v) \
    ESKER_ATOMIC(atomicXor, T, old ^ v) \
    inline T atomicCAS(T *p, T expected, T v) { \
        T old = *p; \
        if (old == expected) *p = v; \
        return old; \
    }
ESKER_ATOMICS(int)
ESKER_ATOMICS(unsigned)
ESKER_ATOMICS(unsigned long long)
ESKER_ATOMIC(atomicSub, int, old - v)
ESKER_ATOMIC(atomicSub, unsigned, old - v)
ESKER_ATOMIC(atomicInc, unsigned, old >= v ? 0 : old + 1)

// ---- bits

template <class To, class From> inline To esker_bits(From v) {
    To bits;
    __builtin_memcpy(&bits, &v, sizeof bits);
    return bits;
}
inline unsigned __float_as_uint(float v) { return esker_bits<unsigned>(v); }
inline int __float_as_int(float v) { return esker_bits<int>(v); }
inline float __uint_as_float(unsigned v) { return esker_bits<float>(v); }
inline float __int_as_float(int v) { return esker_bits<float>(v); }
inline long long __double_as_longlong(double v) { return esker_bits<long long>(v); }
inline double __longlong_as_double(long long v) { return esker_bits<double>(v); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline int __mulhi(int a, int b) { return (long long)a * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned __int128)a * b >> 64;
}
inline long long __mul64hi(long long a, long long b) { return (__int128)a * b >> 64; }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline int __clz(int v) { return v ? __builtin_clz(v) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll(v) : 64; }
inline unsigned __brev(unsigned v) {
    unsigned turned = 0;
    for (int i = 0; i < 32; i++) turned |= (v >> i & 1) << (31 - i);
    return turned;
}
inline unsigned long long __brevll(unsigned long long v) {
    return (unsigned long long)__brev((unsigned)v) << 32 | __brev((unsigned)(v >> 32));
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return ((unsigned long long)high << 32 | low) << (by & 31) >> 32;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return ((unsigned long long)high << 32 | low) >> (by & 31);
}
template <class T> inline T __ldg(const T *p) { return *p; }
template <class T> inline T __ldcs(const T *p) { return *p; }
template <class T> inline T __ldcg(const T *p) { return *p; }
template <class T> inline void __stcs(T *p, T v) { *p = v; }
template <class T> inline void __stcg(T *p, T v) { *p = v; }

// ---- mathematics

#define ESKER_UNARY(name) \
    extern "C" double name(double) noexcept; \
    extern "C" float name##f(float) noexcept; \
    inline float name(float x) { return name##f(x); }
#define ESKER_BINARY(name) \
    extern "C" double name(double, double) noexcept; \
    extern "C" float name##f(float, float) noexcept; \
    inline float name(float x, float y) { return name##f(x, y); }
ESKER_UNARY(sqrt)
ESKER_UNARY(cbrt)
ESKER_UNARY(exp)
ESKER_UNARY(exp2)
ESKER_UNARY(expm1)
ESKER_UNARY(log)
ESKER_UNARY(log2)
ESKER_UNARY(log10)
ESKER_UNARY(log1p)
ESKER_UNARY(sin)
ESKER_UNARY(cos)
ESKER_UNARY(tan)
ESKER_UNARY(asin)
ESKER_UNARY(acos)
ESKER_UNARY(atan)
ESKER_UNARY(sinh)
ESKER_UNARY(cosh)
ESKER_UNARY(tanh)
ESKER_UNARY(erf)
ESKER_UNARY(erfc)
ESKER_UNARY(lgamma)
ESKER_UNARY(tgamma)
ESKER_UNARY(floor)
ESKER_UNARY(ceil)
ESKER_UNARY(trunc)
ESKER_UNARY(round)
ESKER_UNARY(rint)
ESKER_UNARY(nearbyint)
ESKER_UNARY(fabs)
ESKER_BINARY(atan2)
ESKER_BINARY(pow)
ESKER_BINARY(fmod)
ESKER_BINARY(remainder)
ESKER_BINARY(fmin)
ESKER_BINARY(fmax)
ESKER_BINARY(fdim)
ESKER_BINARY(hypot)
ESKER_BINARY(copysign)
ESKER_BINARY(nextafter)
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
inline float fma(float x, float y, float z) { return fmaf(x, y, z); }
extern "C" double ldexp(double, int) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" double frexp(double, int *) noexcept;
extern "C" float frexpf(float, int *) noexcept;
extern "C" void sincos(double, double *, double *) noexcept;
extern "C" void sincosf(float, float *, float *) noexcept;
extern "C" long long llrint(double) noexcept;
extern "C" long long llrintf(float) noexcept;
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float sinpif(float x) { return (float)sin(3.14159265358979323846 * x); }
inline float cospif(float x) { return (float)cos(3.14159265358979323846 * x); }
inline double sinpi(double x) { return sin(3.14159265358979323846 * x); }
inline double cospi(double x) { return cos(3.14159265358979323846 * x); }
inline void sincospif(float x, float *s, float *c) { *s = sinpif(x), *c = cospif(x); }
inline void sincospi(double x, double *s, double *c) { *s = sinpi(x), *c = cospi(x); }
template <class T> inline bool isnan(T x) { return __builtin_isnan(x); }
template <class T> inline bool isinf(T x) { return __builtin_isinf(x); }
template <class T> inline bool isfinite(T x) { return __builtin_isfinite(x); }
template <class T> inline bool signbit(T x) { return __builtin_signbit(x); }

#define ESKER_ORDERED(T) \
    inline T min(T a, T b) { return b < a ? b : a; } \
    inline T max(T a, T b) { return a < b ? b : a; }
ESKER_ORDERED(int)
ESKER_ORDERED(unsigned)
ESKER_ORDERED(long)
ESKER_ORDERED(unsigned long)
ESKER_ORDERED(long long)
ESKER_ORDERED(unsigned long long)
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline int abs(int x) { return x < 0 ? -x : x; }
inline long long abs(long long x) { return x < 0 ? -x : x; }
inline long long llabs(long long x) { return x < 0 ? -x : x; }
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }

#define ESKER_ROUNDED(T, prefix) \
    inline T prefix##add_rn(T a, T b) { return a + b; } \
    inline T prefix##sub_rn(T a, T b) { return a - b; } \
    inline T prefix##mul_rn(T a, T b) { return a * b; } \
    inline T prefix##div_rn(T a, T b) { return a / b; } \
    inline T prefix##rcp_rn(T a) { return 1 / a; } \
    inline T prefix##sqrt_rn(T a) { return sqrt(a); }
ESKER_ROUNDED(float, __f)
ESKER_ROUNDED(double, __d)
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return expf(x); }
inline float __exp2f(float x) { return exp2f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline int __float2int_rn(float x) { return (int)rintf(x); }
inline int __float2int_rz(float x) { return (int)x; }
inline long long __float2ll_rn(float x) { return llrintf(x); }
inline int __double2int_rn(double x) { return (int)rint(x); }
inline long long __double2ll_rn(double x) { return llrint(x); }
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline float __double2float_rn(double x) { return (float)x; }

// ---- the kernel as the runtime calls it

template <int... I> struct EskerPlaces {};
template <int N, int... I> struct EskerCount : EskerCount<N - 1, N - 1, I...> {};
template <int... I> struct EskerCount<0, I...> { typedef EskerPlaces<I...> type; };

template <class F> struct EskerKernel;
template <class... P> struct EskerKernel<void (*)(P...)> {
    static constexpr int count = sizeof...(P);
    static constexpr unsigned sizes[sizeof...(P) + 1] = {sizeof(P)..., 0};
    template <void (*kernel)(P...), int... I> static inline void call(void **args, EskerPlaces<I...>) {
        kernel(*(P *)args[I]...);
    }
    // Threads that wait leave the rest of the block to another call.
    template <void (*kernel)(P...)> static void threads(EskerLaunch *launch) {
        esker_launch = launch;
        blockIdx = {launch->block[0], launch->block[1], launch->block[2]};
        gridDim = {launch->blocks[0], launch->blocks[1], launch->blocks[2]};
        blockDim = {launch->threads, 1, 1};
        while (launch->next < launch->threads) {
            threadIdx = {launch->next++, 0, 0};
            call<kernel>(launch->args, typename EskerCount<count>::type());
        }
    }
};

struct EskerModule {
    int count;
    const unsigned *sizes;
    void (*threads)(EskerLaunch *launch);
};
#define ESKER_MODULE(kernel) \
    extern "C" __attribute__((visibility("default"))) const EskerModule esker_module = { \
        EskerKernel<decltype(&kernel)>::count, EskerKernel<decltype(&kernel)>::sizes, \
        &EskerKernel<decltype(&kernel)>::threads<&kernel>};
