// Rows picked by index; twin of crates/cpu/src/gather.rs. Rows move as units of U, I counts them.

struct alignas(16) Quad { u64 low, high; };

// `n` units of y, `units` of them a row; x has `size` rows where y has `count`.
extern "C" __global__ void gather_rows(const U *x, const i64 *index, U *y, i64 size, i64 count, i64 units, i64 n,
                                       Fault *fault) {
    const I per_row = (I)units, rows = (I)count;
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        I row = i / per_row, at = i - row * per_row, outer = row / rows, place = row - outer * rows;
        i64 from = index[place];
        if (from < 0 || from >= size) {
            report(fault, FAULT_INDEX, from, size, place);
            continue;
        }
        y[i] = x[((i64)outer * size + from) * units + at];
    }
}

// `n` units of x, `units` of them a row, to rows `step` units apart.
extern "C" __global__ void put_rows(const U *x, U *y, i64 units, i64 step, i64 n) {
    const I per_row = (I)units;
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        I row = i / per_row;
        y[(i64)row * step + (i - row * per_row)] = x[i];
    }
}
