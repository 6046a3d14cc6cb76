// The position of an extreme along a dimension; twin of crates/cpu/src/arg_reduce.rs. X is the element type, LARGEST whether
// the largest is searched, LANES (of `rows`) the threads of a row. NaN wins, ties give the first. x is row-major,
// [outer, size, inner]; value may be null. In pieces, results are [outer, pieces, inner], and `merge` finds the best of them.

typedef Wide<X>::type A;

#define THREADS 256
#define PACK (16 / (int)sizeof(X))
#define NOWHERE 9223372036854775807ll

// An element and where it is.
struct Found {
    A value;
    i64 at;
};

__device__ inline bool is_before(const Found &a, const Found &b) {
    bool nan_a = a.value != a.value, nan_b = b.value != b.value;
    if (nan_a != nan_b) return nan_a;
    if (nan_a || a.value == b.value) return a.at < b.at;
#if LARGEST
    return a.value > b.value;
#else
    return a.value < b.value;
#endif
}

__device__ inline Found nothing() {
    Found f;
#if LARGEST
    f.value = Limits<X>::low();
#else
    f.value = Limits<X>::high();
#endif
    f.at = NOWHERE;
    return f;
}

// Whether a later element takes the place of an earlier one.
__device__ inline bool beats(A v, A best) {
#if LARGEST
    return !(v <= best) && best == best;
#else
    return !(v >= best) && best == best;
#endif
}

template <int lanes> __device__ inline Found best_of_lanes(Found f) {
#pragma unroll
    for (int m = lanes / 2; m > 0; m /= 2) {
        Found other;
        other.value = __shfl_xor_sync(0xffffffffu, f.value, m);
        other.at = __shfl_xor_sync(0xffffffffu, f.at, m);
        if (is_before(other, f)) f = other;
    }
    return f;
}

__device__ inline void write(const Found &f, X *value, i64 *index, i64 to) {
    index[to] = f.at;
    if (value) store(value + to, (Acc<X>::type)f.value);
}

#ifdef LANES
// Pieces of rows, `length` elements each.
extern "C" __global__ void rows(const X *x, X *value, i64 *index, i64 outer, i64 size, i64 pieces, i64 length) {
    i64 item = (i64)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
    bool live = item < outer * pieces;
    i64 row = live ? pieces > 1 ? item / pieces : item : 0, start = live ? (item - row * pieces) * length : 0;
    Packs<X, PACK> from(x + row * size + start, live ? min(length, size - start) : 0);
    Found best = nothing();
    const X fill = Rounded<X>::of((Acc<X>::type)best.value);
    // Where all are as bad as nothing, the first is as good as any.
    int lane = threadIdx.x % LANES, at = lane < from.count ? max(from.at(lane, 0), 0) : -1;
#pragma unroll 4
    for (int p = lane; p < from.count; p += LANES) {
        Pack<X, PACK> v = from.get(p, fill);
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            A e = (A)load(&v.e[l]);
            if (beats(e, best.value)) {
                best.value = e;
                at = from.at(p, l);
            }
        }
    }
    if (at >= 0) best.at = start + at;
    best = best_of_lanes<(LANES < 32 ? LANES : 32)>(best);
#if LANES > 32
    __shared__ Found parts[32];
    int warp = threadIdx.x / 32;
    lane %= 32;
    if (lane == 0) parts[warp] = best;
    __syncthreads();
    best = best_of_lanes<32>(lane < LANES / 32 ? parts[lane] : nothing());
#endif
    if (live && threadIdx.x % LANES == 0) write(best, value, index, item);
}
#else
// Pieces of columns: `across` neighbouring ones (a power of two) by THREADS / across rows at a time.
extern "C" __global__ void columns(const X *x, X *value, i64 *index, i64 size, i64 inner, i64 pieces, i64 length, i64 tiles,
                                   i64 across) {
    __shared__ Found parts[THREADS];
    i64 block = blockIdx.x, tile = block % tiles, piece = block / tiles % pieces, outer = block / tiles / pieces;
    int tx = threadIdx.x & ((int)across - 1), ty = threadIdx.x / (int)across, down = THREADS / (int)across;
    i64 column = tile * across + tx, end = min((piece + 1) * length, size);
    const X *from = x + outer * size * inner + column;
    Found best = nothing();
    if (column < inner) {
#pragma unroll 8
        for (i64 r = piece * length + ty; r < end; r += down) {
            A e = (A)load(from + r * inner);
            if (beats(e, best.value) || best.at == NOWHERE) {
                best.value = e;
                best.at = r;
            }
        }
    }
    parts[threadIdx.x] = best;
    __syncthreads();
    if (ty == 0 && column < inner) {
        for (int r = 1; r < down; r++) {
            Found other = parts[r * (int)across + tx];
            if (is_before(other, best)) best = other;
        }
        write(best, value, index, (outer * pieces + piece) * inner + column);
    }
}

// The best of pieces.
extern "C" __global__ void merge(const X *values, const i64 *at, X *value, i64 *index, i64 outer, i64 pieces, i64 inner) {
    for (i64 i = thread_index(); i < outer * inner; i += thread_count()) {
        i64 from = i / inner * pieces * inner + i % inner;
        Found best = nothing();
        for (i64 p = 0; p < pieces; p++, from += inner) {
            Found other;
            other.value = (A)load(values + from);
            other.at = at[from];
            if (is_before(other, best)) best = other;
        }
        write(best, value, index, i);
    }
}
#endif
