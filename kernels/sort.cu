// Order along lines; twin of crates/cpu/src/sort.rs. X is the element, K the unsigned integer that its keys are; DESCENDING
// is 1 or 0.

// ---- keys: NaN the largest of all, both zeros the same

template <class T> struct Keys { // unsigned integers
    static __device__ inline K of(T v) { return (K)v; }
};
template <> struct Keys<bool8> { static __device__ inline K of(bool8 v) { return v.bits; } };
template <> struct Keys<i8> { static __device__ inline K of(i8 v) { return (K)((u8)v ^ 0x80u); } };
template <> struct Keys<i16> { static __device__ inline K of(i16 v) { return (K)((u16)v ^ 0x8000u); } };
template <> struct Keys<i32> { static __device__ inline K of(i32 v) { return (K)((u32)v ^ 0x80000000u); } };
template <> struct Keys<i64> { static __device__ inline K of(i64 v) { return (K)((u64)v ^ 0x8000000000000000ull); } };

// Negative numbers have all their bits turned round, the others the sign.
template <class B> __device__ inline K float_key(B bits, B sign, B infinity) {
    if ((bits & (B)~sign) > infinity) return (K)(B)~(B)0;
    if (bits == sign) bits = 0;
    return (K)(B)(bits & sign ? ~bits : bits ^ sign);
}
template <> struct Keys<f16> { static __device__ inline K of(f16 v) { return float_key<u16>(v.bits, 0x8000, 0x7c00); } };
template <> struct Keys<bf16> { static __device__ inline K of(bf16 v) { return float_key<u16>(v.bits, 0x8000, 0x7f80); } };
template <> struct Keys<float> {
    static __device__ inline K of(float v) { return float_key<u32>(__float_as_uint(v), 0x80000000u, 0x7f800000u); }
};
template <> struct Keys<double> {
    static __device__ inline K of(double v) {
        return float_key<u64>((u64)__double_as_longlong(v), 0x8000000000000000ull, 0x7ff0000000000000ull);
    }
};

// Of as many bits as the element has.
__device__ inline K key_of(X v) {
    const K all = (K)(~0ull >> (64 - 8 * sizeof(X)));
    K key = Keys<X>::of(v);
    return DESCENDING ? (K)(~key & all) : key;
}

// ---- lines that one block sorts, several at a time

#define ROOM 2048

// `lines` lines of `n`, padded to 2^log_width.
extern "C" __global__ void sort_short(const X *x, X *values, i64 *index, i64 n, i64 lines, i64 log_width) {
    __shared__ K keys[ROOM];
    __shared__ u32 places[ROOM];
    const u32 log = (u32)log_width, width = 1u << log;
    const i64 first = (i64)blockIdx.x * (ROOM >> log);
    for (u32 e = threadIdx.x; e < ROOM; e += blockDim.x) {
        u32 at = e & (width - 1);
        i64 line = first + (e >> log);
        bool inside = at < n && line < lines;
        keys[e] = inside ? key_of(x[line * n + at]) : (K)~(K)0;
        places[e] = at;
    }
    for (u32 run = 2; run <= width; run *= 2) {
        for (u32 step = run / 2; step > 0; step /= 2) {
            __syncthreads();
            for (u32 t = threadIdx.x; t < ROOM / 2; t += blockDim.x) {
                u32 a = 2 * t - (t & (step - 1)), b = a + step;
                K low = keys[a], high = keys[b];
                u32 low_place = places[a], high_place = places[b];
                bool above = low > high || (low == high && low_place > high_place);
                if (above == ((a & (width - 1) & run) == 0)) {
                    keys[a] = high;
                    keys[b] = low;
                    places[a] = high_place;
                    places[b] = low_place;
                }
            }
        }
    }
    __syncthreads();
    for (u32 e = threadIdx.x; e < ROOM; e += blockDim.x) {
        u32 at = e & (width - 1);
        i64 line = first + (e >> log);
        if (at >= n || line >= lines) continue;
        values[line * n + at] = x[line * n + places[e]];
        index[line * n + at] = places[e];
    }
}

// ---- longer lines: their keys, and what is where their places say

extern "C" __global__ void sort_keys(const X *x, K *keys, i64 n) {
    for (i64 i = thread_index(); i < n; i += thread_count()) keys[i] = key_of(x[i]);
}

extern "C" __global__ void sort_values(const X *x, const u32 *places, X *values, i64 *index, i64 n, i64 lines) {
    for (i64 i = thread_index(); i < n * lines; i += thread_count()) {
        i64 line = i / n;
        u32 place = places[i];
        values[i] = x[line * n + place];
        index[i] = place;
    }
}
