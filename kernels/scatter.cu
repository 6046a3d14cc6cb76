// Rows added up by where they go; twin of crates/cpu/src/gather.rs. X is the element, N of them move at once, I counts such
// packs.

typedef Acc<X>::type A;
typedef Pack<X, N> P;

#define AHEAD 4

__device__ inline void add_to(A *sum, const P &v) {
    for (int l = 0; l < N; l++) sum[l] = wrapping_add(sum[l], value_of<X>(v.e[l]));
}

// y = base (zeros, where it is null), with the slices of src added at their rows. Each row has its positions from
// starts[row] to starts[row + 1] in `places`, rising; `count` positions and `size` rows there are, and `packs` of a slice.
extern "C" __global__ void add_rows(const X *base, const X *src, X *y, const u32 *starts, const u32 *places, i64 count,
                                    i64 size, i64 packs, i64 n) {
    const I per_row = (I)packs, rows = (I)size;
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        I slice = i / per_row, at = i - slice * per_row, outer = slice / rows, row = slice - outer * rows;
        u32 p = starts[row], end = starts[row + 1];
        A sum[N];
        for (int l = 0; l < N; l++) sum[l] = (A)0;
        if (base) {
            P v = ((const P *)base)[i];
            for (int l = 0; l < N; l++) sum[l] = value_of<X>(v.e[l]);
        }
        const P *from = (const P *)src + (i64)outer * count * packs + at;
        for (; p + AHEAD <= end; p += AHEAD) {
            P v[AHEAD];
            for (int k = 0; k < AHEAD; k++) v[k] = from[places[p + k] * packs];
            for (int k = 0; k < AHEAD; k++) add_to(sum, v[k]);
        }
        for (; p < end; p++) add_to(sum, from[places[p] * packs]);
        P r;
        for (int l = 0; l < N; l++) r.e[l] = Rounded<X>::of(sum[l]);
        ((P *)y)[i] = r;
    }
}
