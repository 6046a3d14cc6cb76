// Running folds along a dimension; twin of crates/cpu/src/scan.rs. X and Y are the element types, A what is accumulated in, F
// the fold, REVERSE whether from the end. x and y are row-major, [outer, size, inner]. A dimension may go in pieces of
// `length`: `totals` folds each piece, those are scanned in turn, and the scan of a piece begins with the total before it.

#define THREADS 256
// Elements of a thread in one round of a row.
#define EACH 8

__device__ inline A first() { return (A)F::template identity<X>(); }

// Where the element that comes `j`-th lies.
__device__ inline i64 turned(i64 j, i64 size) { return REVERSE ? size - 1 - j : j; }

// The folds of pieces: [outer, pieces, inner].
extern "C" __global__ void totals(const X *x, A *y, i64 size, i64 inner, i64 pieces, i64 length, i64 tiles, i64 across) {
    __shared__ A parts[THREADS];
    i64 block = blockIdx.x, tile = block % tiles, piece = block / tiles % pieces, outer = block / tiles / pieces;
    int tx = threadIdx.x & ((int)across - 1), ty = threadIdx.x / (int)across, down = THREADS / (int)across;
    i64 column = tile * across + tx, end = min((piece + 1) * length, size);
    const X *from = x + outer * size * inner + column;
    A acc = first();
    if (column < inner) {
#pragma unroll 4
        for (i64 r = piece * length + ty; r < end; r += down) acc = F::two(acc, (A)load(from + turned(r, size) * inner));
    }
    parts[threadIdx.x] = acc;
    __syncthreads();
    for (int half = down / 2; half > 0; half /= 2) {
        if (ty < half) parts[threadIdx.x] = F::two(parts[threadIdx.x], parts[threadIdx.x + half * (int)across]);
        __syncthreads();
    }
    if (ty == 0 && column < inner) y[(outer * pieces + piece) * inner + column] = parts[tx];
}

// What comes before a piece.
__device__ inline A before(const A *totals, i64 outer, i64 piece, i64 pieces, i64 inner, i64 column) {
    return piece > 0 ? totals[(outer * pieces + piece - 1) * inner + column] : first();
}

// A thread for each column of a piece.
extern "C" __global__ void columns(const X *x, Y *y, const A *totals, i64 outer, i64 size, i64 inner, i64 pieces, i64 length) {
    for (i64 i = thread_index(); i < outer * pieces * inner; i += thread_count()) {
        i64 column = i % inner, piece = i / inner % pieces, o = i / inner / pieces;
        i64 end = min((piece + 1) * length, size), start = o * size * inner + column;
        A acc = before(totals, o, piece, pieces, inner, column);
#pragma unroll 8
        for (i64 r = piece * length; r < end; r++) {
            i64 at = start + turned(r, size) * inner;
            acc = F::two(acc, (A)load(x + at));
            store(y + at, (Acc<Y>::type)acc);
        }
    }
}

// The folds up to each lane of a warp.
__device__ inline A scan_lanes(A v) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 1; m < 32; m *= 2) {
        A left = __shfl_up_sync(0xffffffffu, v, m);
        if (lane >= m) v = F::two(left, v);
    }
    return v;
}

// A warp for each row: 32 elements at a time.
extern "C" __global__ void short_rows(const X *x, Y *y, i64 outer, i64 size) {
    i64 row = (i64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    bool live = row < outer;
    int lane = threadIdx.x % 32;
    const X *from = x + row * size;
    Y *to = y + row * size;
    A carry = first();
    for (i64 start = 0; start < size; start += 32) {
        i64 j = start + lane;
        bool has = live && j < size;
        A v = scan_lanes(has ? (A)load(from + turned(j, size)) : first());
        v = F::two(carry, v);
        if (has) store(to + turned(j, size), (Acc<Y>::type)v);
        carry = __shfl_sync(0xffffffffu, v, 31);
    }
}

// Element `i` of a round in shared memory, so that neither neighbouring threads nor neighbouring elements meet in a bank.
__device__ inline int slot(int i) { return i + i / EACH; }

// A block for each piece of a row: THREADS * EACH elements at a time, through shared memory.
extern "C" __global__ void __launch_bounds__(THREADS, 2) long_rows(const X *x, Y *y, const A *totals, i64 size, i64 pieces, i64 length) {
    const int round = THREADS * EACH;
    __shared__ A values[round + THREADS];
    __shared__ A parts[THREADS / 32];
    i64 piece = blockIdx.x % pieces, row = blockIdx.x / pieces;
    const X *from = x + row * size;
    Y *to = y + row * size;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    A carry = before(totals, row, piece, pieces, 1, 0);
    i64 end = min((piece + 1) * length, size);
    for (i64 start = piece * length; start < end; start += round) {
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            int i = k * THREADS + threadIdx.x;
            values[slot(i)] = start + i < end ? (A)load(from + turned(start + i, size)) : first();
        }
        __syncthreads();
        A mine[EACH];
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            A v = values[slot(threadIdx.x * EACH + k)];
            mine[k] = k > 0 ? F::two(mine[k > 0 ? k - 1 : 0], v) : v;
        }
        A up_to = scan_lanes(mine[EACH - 1]);
        A left = __shfl_up_sync(0xffffffffu, up_to, 1);
        if (lane == 31) parts[warp] = up_to;
        __syncthreads();
        A base = carry;
#pragma unroll
        for (int w = 0; w < THREADS / 32; w++) {
            if (w < warp) base = F::two(base, parts[w]);
            carry = F::two(carry, parts[w]);
        }
        if (lane > 0) base = F::two(base, left);
#pragma unroll
        for (int k = 0; k < EACH; k++) values[slot(threadIdx.x * EACH + k)] = F::two(base, mine[k]);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < EACH; k++) {
            int i = k * THREADS + threadIdx.x;
            if (start + i < end) store(to + turned(start + i, size), (Acc<Y>::type)values[slot(i)]);
        }
        __syncthreads();
    }
}
