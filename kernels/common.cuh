// What every kernel begins with. No includes, so that the run-time compiler needs no include path.
//
// Types: kernels name element types by the macros that they are compiled with (T, T0, Y ..), each one of
//   bool8 u8 i8 i16 i32 i64 f16 bf16 f32 f64
// `Acc<T>::type` is what arithmetic happens in: float for half types, the type itself otherwise. `load(p)` reads an element
// as that, `store(p, v)` rounds to it. Integers wrap: add, subtract and multiply them with `wrapping_*`.

typedef unsigned char u8;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif

struct bool8 { u8 bits; };
struct f16 { u16 bits; };
struct bf16 { u16 bits; };

template <class T> struct Acc { typedef T type; };
template <> struct Acc<bool8> { typedef u8 type; };
template <> struct Acc<f16> { typedef float type; };
template <> struct Acc<bf16> { typedef float type; };

// Whether the type is a float, whole or half.
template <class T> struct IsFloat { static const bool value = false; };
template <> struct IsFloat<f16> { static const bool value = true; };
template <> struct IsFloat<bf16> { static const bool value = true; };
template <> struct IsFloat<float> { static const bool value = true; };
template <> struct IsFloat<double> { static const bool value = true; };

// ---- half types

#ifdef ESKER_EMULATED
__device__ inline float f16_to_f32(u16 bits) { _Float16 h; __builtin_memcpy(&h, &bits, 2); return (float)h; }
__device__ inline u16 f32_to_f16(float x) { _Float16 h = (_Float16)x; u16 bits; __builtin_memcpy(&bits, &h, 2); return bits; }
#else
__device__ inline float f16_to_f32(u16 bits) { float x; asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits)); return x; }
__device__ inline u16 f32_to_f16(float x) { u16 bits; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); return bits; }
#endif

__device__ inline float bf16_to_f32(u16 bits) { return __uint_as_float((u32)bits << 16); }

// Rounds to nearest, ties to even; a NaN stays a NaN.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
__device__ inline u16 f32_to_bf16(float x) { u16 bits; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x)); return bits; }
#else
__device__ inline u16 f32_to_bf16(float x) {
    u32 bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (u16)((bits >> 16) | 0x40u);
    return (u16)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#endif

// ---- loads and stores

template <class T> __device__ inline typename Acc<T>::type value_of(T x) { return x; }
template <> __device__ inline u8 value_of<bool8>(bool8 x) { return x.bits; }
template <> __device__ inline float value_of<f16>(f16 x) { return f16_to_f32(x.bits); }
template <> __device__ inline float value_of<bf16>(bf16 x) { return bf16_to_f32(x.bits); }

// The element type nearest to a value of its accumulator.
template <class T> struct Rounded { static __device__ inline T of(typename Acc<T>::type v) { return v; } };
template <> struct Rounded<bool8> { static __device__ inline bool8 of(u8 v) { bool8 x; x.bits = v != 0; return x; } };
template <> struct Rounded<f16> { static __device__ inline f16 of(float v) { f16 x; x.bits = f32_to_f16(v); return x; } };
template <> struct Rounded<bf16> { static __device__ inline bf16 of(float v) { bf16 x; x.bits = f32_to_bf16(v); return x; } };

template <class T> __device__ inline typename Acc<T>::type load(const T *p) { return value_of<T>(*p); }
template <class T> __device__ inline void store(T *p, typename Acc<T>::type v) { *p = Rounded<T>::of(v); }

// ---- integers that wrap (signed overflow is undefined in C++, so they go through unsigned)

template <class T> struct Unsigned { typedef T type; };
template <> struct Unsigned<i8> { typedef u32 type; };
template <> struct Unsigned<u8> { typedef u32 type; };
template <> struct Unsigned<i16> { typedef u32 type; };
template <> struct Unsigned<i32> { typedef u32 type; };
template <> struct Unsigned<i64> { typedef u64 type; };

template <class A> __device__ inline A wrapping_add(A a, A b) {
    typedef typename Unsigned<A>::type U;
    return (A)((U)a + (U)b);
}
template <class A> __device__ inline A wrapping_sub(A a, A b) {
    typedef typename Unsigned<A>::type U;
    return (A)((U)a - (U)b);
}
template <class A> __device__ inline A wrapping_mul(A a, A b) {
    typedef typename Unsigned<A>::type U;
    return (A)((U)a * (U)b);
}

// ---- strided views; strides count elements, the pointer is that of the first element

struct View {
    i32 rank;
    i32 pad;
    i64 size[8];
    i64 stride[8];
};

// Where element number `i` (row-major) of the view lies.
__device__ inline i64 place(const View &v, i64 i) {
    i64 at = 0;
    for (int d = v.rank - 1; d > 0; d--) {
        i64 up = i / v.size[d];
        at += (i - up * v.size[d]) * v.stride[d];
        i = up;
    }
    return v.rank > 0 ? at + i * v.stride[0] : 0;
}

// As `place`, with a number that fits an integer whose divisions may be cheaper.
template <class I> __device__ inline i64 place_as(const View &v, I i) {
    i64 at = 0;
    for (int d = v.rank - 1; d > 0; d--) {
        I up = i / (I)v.size[d];
        at += (i64)(i - up * (I)v.size[d]) * v.stride[d];
        i = up;
    }
    return v.rank > 0 ? at + (i64)i * v.stride[0] : 0;
}

// ---- what a kernel found wrong; the host looks at it whenever it waits for the device

struct Fault {
    u32 code;      // 0: nothing
    u32 pad;
    i64 detail[3]; // what the message quotes
};

__device__ inline void report(Fault *fault, u32 code, i64 a, i64 b, i64 c) {
    if (atomicCAS(&fault->code, 0u, code) == 0u) {
        fault->detail[0] = a;
        fault->detail[1] = b;
        fault->detail[2] = c;
    }
}

#define FAULT_DIVISION 1u // integer division by zero
#define FAULT_INDEX 2u    // index detail[0] at position detail[2] where there are 0..detail[1]
#define FAULT_TARGET 3u   // target detail[0] in row detail[2] where there are classes 0..detail[1]
#define FAULT_PLANE 4u    // an index outside a plane of detail[0] x detail[1]

// ---- this thread's place

__device__ inline i64 thread_index() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline i64 thread_count() { return (i64)gridDim.x * blockDim.x; }

// ---- several elements at once

template <class T, int N> struct alignas(sizeof(T) * N) Pack { T e[N]; };

// A row of n elements as packs of N that lie aligned: the first and the last may reach beyond the row (never beyond the
// memory that it lies in, which is aligned too), where it is `ragged`.
template <class T, int N, bool ragged = true> struct Packs {
    const T *first;
    int shift, count, n;

    __device__ inline Packs(const T *row, i64 length) {
        shift = ragged ? (int)((u64)row / sizeof(T) % N) : 0;
        first = row - shift;
        n = (int)length;
        count = n > 0 ? (n + shift + N - 1) / N : 0;
    }
    // Where element `lane` of a pack lies in the row.
    __device__ inline int at(int pack, int lane) const { return pack * N + lane - shift; }
    __device__ inline bool has(int pack, int lane) const { return !ragged || (u32)at(pack, lane) < (u32)n; }
    __device__ inline bool whole(int pack) const { return has(pack, 0) && has(pack, N - 1); }
    // A pack, with `fill` for what is not of the row.
    __device__ inline Pack<T, N> get(int pack, T fill) const {
        Pack<T, N> v = *(const Pack<T, N> *)(first + (i64)pack * N);
        if (!whole(pack)) {
#pragma unroll
            for (int l = 0; l < N; l++) {
                if (!has(pack, l)) v.e[l] = fill;
            }
        }
        return v;
    }
    // A pack that is `whole`.
    __device__ inline Pack<T, N> get(int pack) const { return *(const Pack<T, N> *)(first + (i64)pack * N); }
    // The first pack that is whole, and the first behind those.
    __device__ inline int begin() const { return shift > 0 ? 1 : 0; }
    __device__ inline int end() const { return !ragged || has(count - 1, N - 1) ? count : count - 1; }
    // Writes a pack, but for what is not of the row.
    __device__ inline void put(int pack, const Pack<T, N> &v) const {
        T *to = (T *)first + (i64)pack * N;
        if (whole(pack)) {
            *(Pack<T, N> *)to = v;
            return;
        }
#pragma unroll
        for (int l = 0; l < N; l++) {
            if (has(pack, l)) to[l] = v.e[l];
        }
    }
};

// ---- folds

// What elements fold in: as `Acc`, but no integer is smaller than i32.
template <class T> struct Wide { typedef typename Acc<T>::type type; };
template <> struct Wide<bool8> { typedef i32 type; };
template <> struct Wide<u8> { typedef i32 type; };
template <> struct Wide<i8> { typedef i32 type; };
template <> struct Wide<i16> { typedef i32 type; };

// The least and the greatest value of a type.
template <class T> struct Limits {
    static __device__ inline T low() { return -INFINITY; }
    static __device__ inline T high() { return INFINITY; }
};
#define INTEGER_LIMITS(T, least, greatest) \
    template <> struct Limits<T> { \
        static __device__ inline Acc<T>::type low() { return least; } \
        static __device__ inline Acc<T>::type high() { return greatest; } \
    };
INTEGER_LIMITS(bool8, 0, 1)
INTEGER_LIMITS(u8, 0, 255)
INTEGER_LIMITS(i8, -128, 127)
INTEGER_LIMITS(i16, -32768, 32767)
INTEGER_LIMITS(i32, -2147483647 - 1, 2147483647)
INTEGER_LIMITS(i64, -9223372036854775807ll - 1, 9223372036854775807ll)
template <> struct Limits<f16> : Limits<float> {};
template <> struct Limits<bf16> : Limits<float> {};

struct FoldSum {
    template <class A> static __device__ inline A two(A a, A b) { return wrapping_add(a, b); }
    template <class T> static __device__ inline typename Acc<T>::type identity() { return 0; }
};
struct FoldProd {
    template <class A> static __device__ inline A two(A a, A b) { return wrapping_mul(a, b); }
    template <class T> static __device__ inline typename Acc<T>::type identity() { return 1; }
};
// NaN wins.
struct FoldMax {
    template <class A> static __device__ inline A two(A a, A b) { return b > a || b != b ? b : a; }
    template <class T> static __device__ inline typename Acc<T>::type identity() { return Limits<T>::low(); }
};
struct FoldMin {
    template <class A> static __device__ inline A two(A a, A b) { return b < a || b != b ? b : a; }
    template <class T> static __device__ inline typename Acc<T>::type identity() { return Limits<T>::high(); }
};

// Folds over neighbouring lanes of a warp, `lanes` of them; each gets the result.
template <class F, int lanes, class A> __device__ inline A fold_lanes(A v) {
#pragma unroll
    for (int m = lanes / 2; m > 0; m /= 2) v = F::two(v, __shfl_xor_sync(0xffffffffu, v, m));
    return v;
}

// Folds over neighbouring threads: lanes of a warp, or all of a block when they are more than 32.
template <class F, int threads, class A> __device__ inline A fold_threads(A v) {
    if (threads <= 32) return fold_lanes<F, threads < 32 ? threads : 32>(v);
    __shared__ A parts[32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    v = fold_lanes<F, 32>(v);
    __syncthreads(); // An earlier fold may still be read.
    if (lane == 0) parts[warp] = v;
    __syncthreads();
    return fold_lanes<F, 32>(lane < threads / 32 ? parts[lane] : (A)F::template identity<A>());
}
