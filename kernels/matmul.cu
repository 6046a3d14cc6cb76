// Matrix products of types that the vendor's library does not know, and of all types where it is missing; twin of
// crates/cpu/src/matmul.rs. T is the element type. y [batch, m, n] = a [batch, m, k] b [batch, k, n] (+ bias [n]).

typedef Acc<T>::type A;

// Sums of integers wrap in 64 bits, of which the element type keeps the low ones.
template <bool whole> struct Sum { typedef i64 type; };
template <> struct Sum<true> { typedef A type; };
typedef Sum<IsFloat<T>::value>::type S;

__device__ inline float times(float a, float b, float sum) { return fmaf(a, b, sum); }
__device__ inline double times(double a, double b, double sum) { return fma(a, b, sum); }
__device__ inline i64 times(i64 a, i64 b, i64 sum) { return wrapping_add(sum, wrapping_mul(a, b)); }

#define TILE 64
#define DEPTH 16
#define EACH 4 // rows and columns of a thread

// 256 threads make a tile of 64 x 64 from slices of 64 x 16 and 16 x 64.
extern "C" __global__ void matmul(const T *a, const T *b, const T *bias, T *y, i64 m, i64 n, i64 k, i64 a_row, i64 a_column,
                                  i64 b_row, i64 b_column, View a_batch, View b_batch) {
    __shared__ S left[DEPTH][TILE + 1];
    __shared__ S right[DEPTH][TILE + 1];
    i64 batch = blockIdx.z, top = (i64)blockIdx.y * TILE, first = (i64)blockIdx.x * TILE;
    a += place(a_batch, batch);
    b += place(b_batch, batch);
    y += batch * m * n;
    int across = threadIdx.x % (TILE / EACH), down = threadIdx.x / (TILE / EACH);
    S sum[EACH][EACH];
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) sum[i][j] = 0;
    for (i64 from = 0; from < k; from += DEPTH) {
        for (int e = threadIdx.x; e < TILE * DEPTH; e += blockDim.x) {
            // Neighbouring threads read along whichever side of a lies together.
            int r = a_column == 1 ? e / DEPTH : e % TILE, c = a_column == 1 ? e % DEPTH : e / TILE;
            bool inside = top + r < m && from + c < k;
            left[c][r] = inside ? (S)load(a + (top + r) * a_row + (from + c) * a_column) : (S)0;
        }
        for (int e = threadIdx.x; e < TILE * DEPTH; e += blockDim.x) {
            int r = b_row == 1 ? e % DEPTH : e / TILE, c = b_row == 1 ? e / DEPTH : e % TILE;
            bool inside = from + r < k && first + c < n;
            right[r][c] = inside ? (S)load(b + (from + r) * b_row + (first + c) * b_column) : (S)0;
        }
        __syncthreads();
        for (int p = 0; p < DEPTH; p++)
            for (int i = 0; i < EACH; i++)
                for (int j = 0; j < EACH; j++)
                    sum[i][j] = times(left[p][down * EACH + i], right[p][across * EACH + j], sum[i][j]);
        __syncthreads();
    }
    for (int i = 0; i < EACH; i++)
        for (int j = 0; j < EACH; j++) {
            i64 row = top + down * EACH + i, column = first + across * EACH + j;
            if (row >= m || column >= n) continue;
            S v = bias ? sum[i][j] + (S)load(bias + column) : sum[i][j];
            store(y + row * n + column, (A)v);
        }
}
