// The scalar vocabulary, for elementwise kernels that are written from expressions; twin of crates/cpu/src/vector. Each
// primitive has one name for every type that has it.

#define PER_TYPE(name, f32_name, f64_name) \
    __device__ inline float p_##name(float x) { return f32_name(x); } \
    __device__ inline double p_##name(double x) { return f64_name(x); }

PER_TYPE(sqrt, sqrtf, sqrt)
PER_TYPE(exp, expf, exp)
PER_TYPE(expm1, expm1f, expm1)
PER_TYPE(log, logf, log)
PER_TYPE(log1p, log1pf, log1p)
PER_TYPE(sin, sinf, sin)
PER_TYPE(cos, cosf, cos)
PER_TYPE(tanh, tanhf, tanh)
PER_TYPE(erf, erff, erf)
PER_TYPE(floor, floorf, floor)
PER_TYPE(abs, fabsf, fabs)

__device__ inline float p_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ inline double p_sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
__device__ inline float p_atan2(float y, float x) { return atan2f(y, x); }
__device__ inline double p_atan2(double y, double x) { return atan2(y, x); }
// The library's power may be off by two units in the last place; of whole numbers it is whole.
__device__ inline float p_pow(float x, float y) {
    float r = powf(x, y);
    bool whole = y >= 0.0f && x == floorf(x) && y == floorf(y) && fabsf(r) < 2097152.0f;
    return whole ? roundf(r) : r;
}
__device__ inline double p_pow(double x, double y) {
    double r = pow(x, y);
    bool whole = y >= 0.0 && x == floor(x) && y == floor(y) && fabs(r) < 1125899906842624.0;
    return whole ? round(r) : r;
}
__device__ inline float p_mul_add(float x, float a, float b) { return fmaf(x, a, b); }
__device__ inline double p_mul_add(double x, double a, double b) { return fma(x, a, b); }
__device__ inline float p_mod(float x, float y) { return fmodf(x, y); }
__device__ inline double p_mod(double x, double y) { return fmod(x, y); }
__device__ inline float p_round(float x) { return roundf(x); }
__device__ inline double p_round(double x) { return round(x); }

// Integers are computed in i32 or i64; they wrap.
__device__ inline i32 p_abs(i32 x) { return x < 0 ? wrapping_sub(0, x) : x; }
__device__ inline i64 p_abs(i64 x) { return x < 0 ? wrapping_sub((i64)0, x) : x; }

#define ARITHMETIC(T) \
    __device__ inline T p_add(T a, T b) { return a + b; } \
    __device__ inline T p_sub(T a, T b) { return a - b; } \
    __device__ inline T p_mul(T a, T b) { return a * b; } \
    __device__ inline T p_neg(T a) { return -a; } \
    __device__ inline T p_div(T a, T b) { return a / b; } \
    __device__ inline T p_square(T a) { return a * a; } \
    __device__ inline T p_floor_div(T a, T b, Fault *) { \
        T rest = p_mod(a, b); \
        if (b == (T)0 || rest != rest) return p_floor(a / b); \
        T quotient = (a - rest) / b - ((rest != (T)0 && (rest < (T)0) != (b < (T)0)) ? (T)1 : (T)0); \
        return p_round(quotient); \
    } \
    __device__ inline T p_remainder(T a, T b, Fault *) { \
        T rest = p_mod(a, b); \
        return (rest != (T)0 && (rest < (T)0) != (b < (T)0)) ? rest + b : rest; \
    }
ARITHMETIC(float)
ARITHMETIC(double)

#define WRAPPING(T) \
    __device__ inline T p_add(T a, T b) { return wrapping_add(a, b); } \
    __device__ inline T p_sub(T a, T b) { return wrapping_sub(a, b); } \
    __device__ inline T p_mul(T a, T b) { return wrapping_mul(a, b); } \
    __device__ inline T p_neg(T a) { return wrapping_sub((T)0, a); } \
    __device__ inline T p_square(T a) { return wrapping_mul(a, a); } \
    __device__ inline T p_floor_div(T a, T b, Fault *fault) { \
        if (b == 0) { report(fault, FAULT_DIVISION, 0, 0, 0); return 0; } \
        if (b == -1) return p_neg(a); \
        T q = a / b, r = a % b; \
        return (r != 0 && (r < 0) != (b < 0)) ? q - 1 : q; \
    } \
    __device__ inline T p_remainder(T a, T b, Fault *fault) { \
        if (b == 0) { report(fault, FAULT_DIVISION, 0, 0, 0); return 0; } \
        if (b == -1) return 0; \
        T r = a % b; \
        return (r != 0 && (r < 0) != (b < 0)) ? r + b : r; \
    }
WRAPPING(i32)
WRAPPING(i64)

// Shifts of any width: 0 on the left beyond it, all sign on the right.
template <class T> __device__ inline T shifted_left(T a, T by) {
    return (by < 0 || by >= (T)(8 * sizeof(T))) ? (T)0 : (T)((typename Unsigned<T>::type)a << (int)by);
}
template <class T> __device__ inline T shifted_right(T a, T by) {
    int most = 8 * (int)sizeof(T) - 1;
    return (by < 0 || by > (T)most) ? (T)((a >> most) >> 1) : (T)(a >> (int)by);
}
