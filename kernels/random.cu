// Fills, ranges and random numbers, all functions of the element's row-major index; twin of crates/cpu/src/random, with
// its bits. Y is the element. Where a rounding must not be left out, products and sums are rounded by name.

__device__ inline float add(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double add(double a, double b) { return __dadd_rn(a, b); }
__device__ inline float sub(float a, float b) { return __fsub_rn(a, b); }
__device__ inline double sub(double a, double b) { return __dsub_rn(a, b); }
__device__ inline float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double mul(double a, double b) { return __dmul_rn(a, b); }

// ---- from f64: floats round to nearest, integers truncate and saturate, NaN gives 0

template <class T> struct From;
template <> struct From<double> { static __device__ inline double of(double v) { return v; } };
template <> struct From<float> { static __device__ inline float of(double v) { return (float)v; } };
template <> struct From<f16> { static __device__ inline f16 of(double v) { return Rounded<f16>::of((float)v); } };
template <> struct From<bf16> {
    // The low half of the bits does not take part in the rounding.
    static __device__ inline bf16 of(double v) {
        return Rounded<bf16>::of((float)__longlong_as_double(__double_as_longlong(v) & ~0xffffffffll));
    }
};
template <> struct From<bool8> { static __device__ inline bool8 of(double v) { return Rounded<bool8>::of(v != 0.0); } };

#define WHOLE(T, low, high) \
    template <> struct From<T> { \
        static __device__ inline T of(double v) { \
            return v != v ? (T)0 : v >= (double)(high) ? (T)(high) : v <= (double)(low) ? (T)(low) : (T)v; \
        } \
    };
WHOLE(u8, 0, 255)
WHOLE(i8, -128, 127)
WHOLE(i16, -32768, 32767)
WHOLE(i32, -2147483647 - 1, 2147483647)
WHOLE(i64, -9223372036854775807ll - 1, 9223372036854775807ll)

// ---- Philox 4x32 with ten rounds

struct Words { u32 w[4]; };

__device__ inline Words block_of(u64 key, u64 index) {
    u32 c0 = (u32)index, c1 = (u32)(index >> 32), c2 = 0, c3 = 0, k0 = (u32)key, k1 = (u32)(key >> 32);
    for (int turn = 0; turn < 10; turn++) {
        u64 first = (u64)0xD2511F53u * c0, second = (u64)0xCD9E8D57u * c2;
        c0 = (u32)(second >> 32) ^ c1 ^ k0;
        c2 = (u32)(first >> 32) ^ c3 ^ k1;
        c1 = (u32)second;
        c3 = (u32)first;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// Multiples of 2^-24 and 2^-53 in [0, 1).
__device__ inline float uniform(u32 word) { return mul((float)(word >> 8), 1.0f / 16777216.0f); }
__device__ inline double uniform(u32 high, u32 low) {
    return mul((double)(((u64)high << 32 | low) >> 11), 1.0 / 9007199254740992.0);
}

// ---- normal numbers in f32: logarithm, sine and cosine of crates/cpu/src/vector/math.rs

// ln x of a positive, normal, finite x.
__device__ inline float log_of(float x) {
    u32 bits = __float_as_uint(x);
    float m = __uint_as_float((bits & 0x007fffffu) | 0x3f000000u), e = (float)((i32)(bits >> 23) - 126);
    if (m < (float)0.70710678118654752440) {
        e = sub(e, 1.0f);
        m = add(m, m);
    }
    float f = sub(m, 1.0f), z = mul(f, f), p = (float)7.0376836292e-2;
    p = fmaf(p, f, (float)-1.1514610310e-1);
    p = fmaf(p, f, (float)1.1676998740e-1);
    p = fmaf(p, f, (float)-1.2420140846e-1);
    p = fmaf(p, f, (float)1.4249322787e-1);
    p = fmaf(p, f, (float)-1.6668057665e-1);
    p = fmaf(p, f, (float)2.0000714765e-1);
    p = fmaf(p, f, (float)-2.4999993993e-1);
    p = fmaf(p, f, (float)3.3333331174e-1);
    float y = mul(mul(p, f), z);
    y = fmaf(e, (float)-2.12194440e-4, y);
    y = fmaf(z, -0.5f, y);
    return fmaf(e, 0.693359375f, add(f, y));
}

// cos and sin of so many turns, from 0 to 1.
__device__ inline void cos_sin_turns(float turns, float &cos, float &sin) {
    float quarter = floorf(fmaf(turns, 4.0f, 0.5f));
    float x = mul(fmaf(quarter, -0.25f, turns), (float)6.28318530717958647692), square = mul(x, x);
    float p = (float)-1.9515295891e-4;
    p = fmaf(p, square, (float)8.3321608736e-3);
    p = fmaf(p, square, (float)-1.6666654611e-1);
    float s = fmaf(mul(p, square), x, x);
    p = (float)2.443315711809948e-5;
    p = fmaf(p, square, (float)-1.388731625493765e-3);
    p = fmaf(p, square, (float)4.166664568298827e-2);
    float c = fmaf(mul(p, square), square, fmaf(square, -0.5f, 1.0f));
    cos = quarter == 1.0f ? -s : quarter == 2.0f ? -c : quarter == 3.0f ? s : c;
    sin = quarter == 1.0f ? c : quarter == 2.0f ? -s : quarter == 3.0f ? -c : s;
}

// By Box and Muller's transform of the words of an even element and the next.
__device__ inline void normal_pair(u32 even, u32 odd, float &a, float &b) {
    float radius = __fsqrt_rn(mul(log_of(sub(1.0f, uniform(even))), -2.0f)), cos, sin;
    cos_sin_turns(uniform(odd), cos, sin);
    a = mul(radius, cos);
    b = mul(radius, sin);
}

// ---- normal numbers in f64: the steps of fdlibm (e_log.c, k_sin.c, k_cos.c, e_rem_pio2.c), whose functions every CPU runs
// Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved. Developed at SunSoft, a Sun Microsystems, Inc. business.
// Permission to use, copy, modify, and distribute this software is freely granted, provided that this notice is preserved.

// ln x for x from 2^-53 to 1.
__device__ inline double log_of(double x) {
    u64 bits = (u64)__double_as_longlong(x);
    u32 high = (u32)(bits >> 32);
    if (x == 1.0) return 0.0;
    high += 0x3ff00000u - 0x3fe6a09eu;
    double k = (double)((i32)(high >> 20) - 0x3ff);
    high = (high & 0x000fffffu) + 0x3fe6a09eu;
    x = __longlong_as_double((i64)((u64)high << 32 | (bits & 0xffffffffull)));
    double f = sub(x, 1.0), half_square = mul(mul(0.5, f), f), s = __ddiv_rn(f, add(2.0, f)), z = mul(s, s), w = mul(z, z);
    double even = mul(w, add(3.999999999940941908e-01, mul(w, add(2.222219843214978396e-01, mul(w, 1.531383769920937332e-01)))));
    double odd = add(1.818357216161805012e-01, mul(w, 1.479819860511658591e-01));
    odd = mul(z, add(6.666666666666735130e-01, mul(w, add(2.857142874366239149e-01, mul(w, odd)))));
    double y = add(mul(s, add(half_square, add(odd, even))), mul(k, 1.90821492927058770002e-10));
    return add(add(sub(y, half_square), f), mul(k, 6.93147180369123816490e-01));
}

__device__ inline double sin_near(double x, double rest, bool whole) {
    double z = mul(x, x), w = mul(z, z), v = mul(z, x);
    double r = add(8.33333333332248946124e-03, mul(z, add(-1.98412698298579493134e-04, mul(z, 2.75573137070700676789e-06))));
    r = add(r, mul(mul(z, w), add(-2.50507602534068634195e-08, mul(z, 1.58969099521155010221e-10))));
    const double s1 = -1.66666666666666324348e-01;
    if (whole) return add(x, mul(v, add(s1, mul(z, r))));
    return sub(x, sub(sub(mul(z, sub(mul(0.5, rest), mul(v, r))), rest), mul(v, s1)));
}

__device__ inline double cos_near(double x, double rest) {
    double z = mul(x, x), w = mul(z, z);
    double low = mul(z, add(4.16666666666666019037e-02, mul(z, add(-1.38888888888741095749e-03, mul(z, 2.48015872894767294178e-05)))));
    double high = add(2.08757232129817482790e-09, mul(z, -1.13596475577881948265e-11));
    double r = add(low, mul(mul(w, w), add(-2.75573143513906633035e-07, mul(z, high))));
    double half = mul(0.5, z), one = sub(1.0, half);
    return add(one, add(sub(sub(1.0, one), half), sub(mul(z, r), mul(x, rest))));
}

// What is left of x, from pi/4 to 2 pi, beside the nearest quarter turn: a number and what its rounding lost.
__device__ inline int quarter_of(double x, double &left, double &rest) {
    i64 bits = __double_as_longlong(x);
    u32 high = (u32)((u64)bits >> 32);
    // Near a multiple of pi/2 the difference cancels, and more digits of pi count.
    bool near = high <= 0x400f6a7au ? (high & 0xfffffu) == 0x921fbu : high == 0x4012d97cu || high == 0x401921fbu;
    double n = high <= 0x4002d97cu ? 1.0 : high <= 0x400f6a7au ? 2.0 : high <= 0x4015fdbcu ? 3.0 : 4.0;
    if (near) n = sub(add(mul(x, 6.36619772367581382433e-01), 6755399441055744.0), 6755399441055744.0);
    double r = sub(x, mul(n, 1.57079632673412561417e+00)), w = mul(n, 6.07710050650619224932e-11);
    left = sub(r, w);
    int exponent = (int)(high >> 20);
    if (near && exponent - (int)((u64)__double_as_longlong(left) >> 52 & 0x7ff) > 16) {
        double t = r;
        w = mul(n, 6.07710050630396597660e-11);
        r = sub(t, w);
        w = sub(mul(n, 2.02226624879595063154e-21), sub(sub(t, r), w));
        left = sub(r, w);
        if (exponent - (int)((u64)__double_as_longlong(left) >> 52 & 0x7ff) > 49) {
            t = r;
            w = mul(n, 2.02226624871116645580e-21);
            r = sub(t, w);
            w = sub(mul(n, 8.47842766036889956997e-32), sub(sub(t, r), w));
            left = sub(r, w);
        }
    }
    rest = sub(sub(r, left), w);
    return (int)n & 3;
}

// cos and sin of x from 0 to 2 pi.
__device__ inline void cos_sin(double x, double &cos, double &sin) {
    u32 high = (u32)((u64)__double_as_longlong(x) >> 32);
    if (high <= 0x3fe921fbu) {
        sin = high < 0x3e500000u ? x : sin_near(x, 0.0, true);
        cos = high < 0x3e46a09eu ? 1.0 : cos_near(x, 0.0);
        return;
    }
    double left, rest;
    int quarter = quarter_of(x, left, rest);
    double s = sin_near(left, rest, false), c = cos_near(left, rest);
    sin = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
    cos = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
}

__device__ inline void normal_pair(double even, double odd, double &a, double &b) {
    double radius = __dsqrt_rn(mul(-2.0, log_of(sub(1.0, even)))), cos, sin;
    cos_sin(mul(6.28318530717958647692, odd), cos, sin);
    a = mul(radius, cos);
    b = mul(radius, sin);
}

// ---- kernels: every thread takes the elements of one block of words

template <int N> __device__ inline void put(Y *y, i64 first, i64 n, const Pack<Y, N> &v) {
    if (first + N <= n) {
        *(Pack<Y, N> *)(y + first) = v;
        return;
    }
    for (int l = 0; first + l < n; l++) y[first + l] = v.e[l];
}

// A pattern of 16 bytes over and over: `n` bytes.
extern "C" __global__ void fill(u64 *y, u64 low, u64 high, i64 n) {
    struct alignas(16) Quad { u64 low, high; };
    Quad v = {low, high};
    i64 quads = n / 16;
    for (i64 i = thread_index(); i < quads; i += thread_count()) ((Quad *)y)[i] = v;
    for (i64 i = quads * 16 + thread_index(); i < n; i += thread_count()) ((u8 *)y)[i] = ((const u8 *)&v)[i % 16];
}

extern "C" __global__ void arange(Y *y, double start, double step, i64 n) {
    for (i64 i = thread_index(); i < n; i += thread_count()) y[i] = From<Y>::of(add(start, mul((double)i, step)));
}

extern "C" __global__ void uniform_f32(Y *y, u64 key, double low, double range, i64 n) {
    for (i64 b = thread_index(); 4 * b < n; b += thread_count()) {
        Words words = block_of(key, (u64)b);
        Pack<Y, 4> v;
        for (int l = 0; l < 4; l++) v.e[l] = From<Y>::of(add(low, mul(range, (double)uniform(words.w[l]))));
        put<4>(y, 4 * b, n, v);
    }
}

extern "C" __global__ void uniform_f64(Y *y, u64 key, double low, double range, i64 n) {
    for (i64 b = thread_index(); 2 * b < n; b += thread_count()) {
        Words words = block_of(key, (u64)b);
        Pack<Y, 2> v;
        for (int l = 0; l < 2; l++)
            v.e[l] = From<Y>::of(add(low, mul(range, uniform(words.w[2 * l], words.w[2 * l + 1]))));
        put<2>(y, 2 * b, n, v);
    }
}

extern "C" __global__ void normal_f32(Y *y, u64 key, float mean, float std, i64 n) {
    for (i64 b = thread_index(); 4 * b < n; b += thread_count()) {
        Words words = block_of(key, (u64)b);
        Pack<Y, 4> v;
        for (int l = 0; l < 4; l += 2) {
            float a, c;
            normal_pair(words.w[l], words.w[l + 1], a, c);
            v.e[l] = From<Y>::of((double)fmaf(a, std, mean));
            v.e[l + 1] = From<Y>::of((double)fmaf(c, std, mean));
        }
        put<4>(y, 4 * b, n, v);
    }
}

extern "C" __global__ void normal_f64(Y *y, u64 key, double mean, double std, i64 n) {
    for (i64 b = thread_index(); 2 * b < n; b += thread_count()) {
        Words words = block_of(key, (u64)b);
        double a, c;
        normal_pair(uniform(words.w[0], words.w[1]), uniform(words.w[2], words.w[3]), a, c);
        Pack<Y, 2> v = {{From<Y>::of(add(mean, mul(std, a))), From<Y>::of(add(mean, mul(std, c)))}};
        put<2>(y, 2 * b, n, v);
    }
}

// Elements whose number is at least p, divided by `keep`.
extern "C" __global__ void dropout_f32(const Y *x, Y *y, u64 key, double p, float keep, i64 n) {
    for (i64 b = thread_index(); 4 * b < n; b += thread_count()) {
        Pack<Y, 4> v;
        if (4 * b + 4 <= n) {
            v = *(const Pack<Y, 4> *)(x + 4 * b);
        } else {
            for (int l = 0; l < 4; l++) v.e[l] = x[4 * b + l < n ? 4 * b + l : n - 1];
        }
        Words words = block_of(key, (u64)b);
        for (int l = 0; l < 4; l++) {
            float kept = __fdiv_rn((float)value_of<Y>(v.e[l]), keep);
            v.e[l] = From<Y>::of((double)((double)uniform(words.w[l]) >= p ? kept : 0.0f));
        }
        put<4>(y, 4 * b, n, v);
    }
}

extern "C" __global__ void dropout_f64(const Y *x, Y *y, u64 key, double p, double keep, i64 n) {
    for (i64 b = thread_index(); 2 * b < n; b += thread_count()) {
        Words words = block_of(key, (u64)b);
        Pack<Y, 2> v;
        for (int l = 0; l < 2; l++) {
            double kept = __ddiv_rn((double)value_of<Y>(x[2 * b + l < n ? 2 * b + l : n - 1]), keep);
            v.e[l] = From<Y>::of(uniform(words.w[2 * l], words.w[2 * l + 1]) >= p ? kept : 0.0);
        }
        put<2>(y, 2 * b, n, v);
    }
}
