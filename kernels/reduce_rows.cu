// Folds whose elements lie one after the other, or one step apart; twin of crates/cpu/src/reduce.rs. X and Y are the element
// types, F the fold, LANES the threads of an output, PACK the elements of a load, MEAN whether sums are divided, I an integer
// that counts the elements of an output.

typedef Wide<X>::type A;
typedef Acc<Y>::type B;

// Loads that are under way at the same time.
#define SIDE (PACK > 8 ? 2 : 4)

__device__ inline void finish(A v, Y *y, i64 count) {
    if (threadIdx.x % LANES != 0) return;
    B b = (B)v;
#if MEAN
    b = b / (B)count;
#endif
    store(y, b);
}

__device__ inline A fold_packs(A *acc) {
#pragma unroll
    for (int half = PACK / 2; half > 0; half /= 2) {
#pragma unroll
        for (int l = 0; l < half; l++) acc[l] = F::two(acc[l], acc[l + half]);
    }
    return fold_threads<F, LANES>(acc[0]);
}

// Output by output, piece by piece (y has them all), `length` elements each: of `n` that lie one after the other.
extern "C" __global__ void __launch_bounds__(256, 3) flat(const X *x, Y *y, View kept, View to, i64 outputs, i64 n, i64 pieces, i64 length, i64 count) {
    i64 item = (i64)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
    bool live = item < outputs * pieces;
    i64 output = live ? pieces > 1 ? item / pieces : item : 0, start = live ? (item - output * pieces) * length : 0;
    Packs<X, PACK> row(x + place(kept, output) + start, live ? min(length, n - start) : 0);
    const X fill = Rounded<X>::of(F::template identity<X>());
    A acc[PACK];
#pragma unroll
    for (int l = 0; l < PACK; l++) acc[l] = F::template identity<X>();
    int begin = row.begin(), end = row.end();
    for (int p = threadIdx.x % LANES; p < row.count; p += LANES * SIDE) {
        Pack<X, PACK> v[SIDE];
        if (p >= begin && p + (SIDE - 1) * LANES < end) {
            // Nearly always: loads that wait for no test.
#pragma unroll
            for (int j = 0; j < SIDE; j++) v[j] = row.get(p + j * LANES);
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
#pragma unroll
                for (int l = 0; l < PACK; l++) acc[l] = F::two(acc[l], (A)load(&v[j].e[l]));
            }
            continue;
        }
#pragma unroll
        for (int j = 0; j < SIDE; j++) {
            if (p + j * LANES < row.count) {
                v[j] = row.get(p + j * LANES, fill);
#pragma unroll
                for (int l = 0; l < PACK; l++) acc[l] = F::two(acc[l], (A)load(&v[j].e[l]));
            }
        }
    }
    A all = fold_packs(acc);
    if (live) finish(all, y + (pieces > 1 ? item : place(to, output)), count);
}

// As `flat`, where the elements of an output are runs of `per_run` packs, which lie as `runs` says, and packs of one element
// lie `step` apart; pieces are `length` packs of all `n`.
extern "C" __global__ void __launch_bounds__(256, 3) runs(const X *x, Y *y, View kept, View to, View runs, i64 outputs, i64 n, i64 per_run, i64 step,
                                i64 pieces, i64 length, i64 count) {
    i64 item = (i64)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
    bool live = item < outputs * pieces;
    i64 output = live ? item / pieces : 0, start = live ? (item - output * pieces) * length : 0;
    const X *from = x + place(kept, output);
    i64 end = live ? min(start + length, n) : 0;
    A acc[PACK];
#pragma unroll
    for (int l = 0; l < PACK; l++) acc[l] = F::template identity<X>();
    for (i64 p = start + threadIdx.x % LANES; p < end; p += LANES * SIDE) {
        Pack<X, PACK> v[SIDE];
#pragma unroll
        for (int j = 0; j < SIDE; j++) {
            I q = (I)(p + j * LANES);
            if (q < (I)end) {
                I run = q / (I)per_run;
                v[j] = *(const Pack<X, PACK> *)(from + place_as<I>(runs, run) + (i64)(q - run * (I)per_run) * PACK * step);
            }
        }
#pragma unroll
        for (int j = 0; j < SIDE; j++) {
            if (p + j * LANES < end) {
#pragma unroll
                for (int l = 0; l < PACK; l++) acc[l] = F::two(acc[l], (A)load(&v[j].e[l]));
            }
        }
    }
    A all = fold_packs(acc);
    if (live) finish(all, y + (pieces > 1 ? item : place(to, output)), count);
}
