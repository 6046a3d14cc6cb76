// Folds of rows whose elements lie side by side, column by column; twin of crates/cpu/src/reduce.rs. X and Y are the element
// types, F the fold, PACK the elements of a load, MEAN whether sums are divided.

typedef Wide<X>::type A;
typedef Acc<Y>::type B;

#define THREADS 256
// Loads that are under way at the same time.
#define SIDE 4

// A block folds `length` rows of `across` packs of columns (a power of two) with THREADS / across rows at a time; blocks go
// by tile, piece and the other kept dimensions. With several pieces y is [others, pieces, columns].
extern "C" __global__ void columns(const X *x, Y *y, View kept, View to, View folded, i64 columns, i64 x_step, i64 y_step,
                                   i64 rows, i64 pieces, i64 length, i64 tiles, i64 across, i64 count) {
    __shared__ A sums[THREADS * PACK];
    i64 block = blockIdx.x, tile = block % tiles, piece = block / tiles % pieces, other = block / tiles / pieces;
    int width = (int)across * PACK, down = THREADS / (int)across;
    int tx = threadIdx.x & ((int)across - 1), ty = threadIdx.x / (int)across;
    i64 left = tile * width, column = left + tx * PACK;
    i64 end = min((piece + 1) * length, rows);
    const X *from = x + place(kept, other) + column * x_step;
    A acc[PACK];
#pragma unroll
    for (int l = 0; l < PACK; l++) acc[l] = F::template identity<X>();
    if (column < columns) {
        for (i64 r = piece * length + ty; r < end; r += down * SIDE) {
            Pack<X, PACK> v[SIDE];
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
                i64 row = r + j * down;
                if (row < end) v[j] = *(const Pack<X, PACK> *)(from + place_as<u32>(folded, (u32)row));
            }
#pragma unroll
            for (int j = 0; j < SIDE; j++) {
                if (r + j * down < end) {
#pragma unroll
                    for (int l = 0; l < PACK; l++) acc[l] = F::two(acc[l], (A)load(&v[j].e[l]));
                }
            }
        }
    }
#pragma unroll
    for (int l = 0; l < PACK; l++) sums[ty * width + tx * PACK + l] = acc[l];
    __syncthreads();
    for (int c = threadIdx.x; c < width && left + c < columns; c += THREADS) {
        A all = sums[c];
        for (int r = 1; r < down; r++) all = F::two(all, sums[r * width + c]);
        B b = (B)all;
#if MEAN
        b = b / (B)count;
#endif
        i64 at = pieces > 1 ? (other * pieces + piece) * columns + left + c : place(to, other) + (left + c) * y_step;
        store(y + at, b);
    }
}
