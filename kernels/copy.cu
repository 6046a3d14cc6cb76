// Copies and conversions between any layouts; twin of crates/cpu/src/copy.rs. X and Y are the element types.

// A value as another accumulator: floats to integers saturate, NaN gives 0, integers wrap.
template <class To> struct Whole;
template <> struct Whole<u8> { static const i64 low = 0, high = 255; };
template <> struct Whole<i8> { static const i64 low = -128, high = 127; };
template <> struct Whole<i16> { static const i64 low = -32768, high = 32767; };
template <> struct Whole<i32> { static const i64 low = -2147483647 - 1, high = 2147483647; };
template <> struct Whole<i64> { static const i64 low = -9223372036854775807ll - 1, high = 9223372036854775807ll; };

template <class T, class F> __device__ inline typename Acc<T>::type saturated(F v) {
    if (v != v) return 0;
    // The greatest i64 is no float; from 2^63 on, all is too large.
    if (v >= (F)Whole<T>::high) return (typename Acc<T>::type)Whole<T>::high;
    if (v <= (F)Whole<T>::low) return (typename Acc<T>::type)Whole<T>::low;
    return (typename Acc<T>::type)v;
}

template <class T> struct IsBool { static const bool value = false; };
template <> struct IsBool<bool8> { static const bool value = true; };

enum Way { PLAIN, SATURATING, TRUTH };

template <class To, class From, Way way> struct Convert {
    static __device__ inline typename Acc<To>::type of(typename Acc<From>::type v) { return (typename Acc<To>::type)v; }
};
template <class To, class From> struct Convert<To, From, SATURATING> {
    static __device__ inline typename Acc<To>::type of(typename Acc<From>::type v) { return saturated<To>(v); }
};
template <class To, class From> struct Convert<To, From, TRUTH> {
    static __device__ inline u8 of(typename Acc<From>::type v) { return v != 0; }
};

__device__ inline void move_element(const X *x, Y *y) {
    const Way way = IsBool<Y>::value ? TRUTH : (IsFloat<X>::value && !IsFloat<Y>::value) ? SATURATING : PLAIN;
    store(y, Convert<Y, X, way>::of(load(x)));
}

// Both without gaps in the same order; N elements at once.
extern "C" __global__ void copy_dense(const X *x, Y *y, i64 n) {
    i64 packs = n / N;
    for (i64 p = thread_index(); p < packs; p += thread_count()) {
        Pack<X, N> from = ((const Pack<X, N> *)x)[p];
        Pack<Y, N> to;
        for (int l = 0; l < N; l++) move_element(from.e + l, to.e + l);
        ((Pack<Y, N> *)y)[p] = to;
    }
    for (i64 i = packs * N + thread_index(); i < n; i += thread_count()) move_element(x + i, y + i);
}

// In the order of y.
extern "C" __global__ void copy_strided(const X *x, Y *y, View from, View to, i64 n) {
    for (i64 i = thread_index(); i < n; i += thread_count()) move_element(x + place(from, i), y + place(to, i));
}

// Matrices whose rows lie one after the other in y and whose columns do in x: through tiles of shared memory, so that both
// sides move whole lines. `rows` x `columns` of y; batches by blockIdx.z. 256 threads.
#define TILE 64
#define STEP 4

extern "C" __global__ void copy_turned(const X *__restrict__ x, Y *__restrict__ y, i64 rows, i64 columns, i64 x_step,
                                       i64 y_step, i64 x_batch, i64 y_batch) {
    __shared__ Y tile[TILE][TILE + 1];
    i64 batch = blockIdx.z, left = (i64)blockIdx.x * TILE, top = (i64)blockIdx.y * TILE;
    int across = threadIdx.x % TILE, down = threadIdx.x / TILE;
    x += batch * x_batch;
    y += batch * y_batch;
#pragma unroll
    for (int r = 0; r < TILE; r += STEP) {
        i64 row = top + across, column = left + r + down;
        if (row < rows && column < columns) move_element(x + row + column * x_step, &tile[r + down][across]);
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < TILE; r += STEP) {
        i64 row = top + r + down, column = left + across;
        if (row < rows && column < columns) y[row * y_step + column] = tile[across][r + down];
    }
}
