// Elements picked and put one by one along a dimension; twin of crates/cpu/src/elements.rs.

#ifdef U
// `n` elements of y, each from where the index says, `step` elements apart, in a dimension of x of `size`.
extern "C" __global__ void gather_elements(const U *x, const i64 *index, U *y, View to, View places, View from, i64 step,
                                           i64 size, i64 n, Fault *fault) {
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        I left = i;
        i64 y_at = 0, place = 0, x_at = 0;
        for (int d = to.rank - 1; d >= 0; d--) {
            I up = d > 0 ? left / (I)to.size[d] : 0, at = left - up * (I)to.size[d];
            y_at += (i64)at * to.stride[d];
            place += (i64)at * places.stride[d];
            x_at += (i64)at * from.stride[d];
            left = up;
        }
        i64 row = index[place];
        if (row < 0 || row >= size) {
            report(fault, FAULT_INDEX, row, size, place);
            continue;
        }
        y[y_at] = x[x_at + row * step];
    }
}
#else
template <class T> __device__ inline T replace(T, T b) { return b; }
template <class T> __device__ inline T larger(T a, T b) { return (b > a || b != b) ? b : a; }
template <class T> __device__ inline T smaller(T a, T b) { return (b < a || b != b) ? b : a; }

// Every thread walks a line of the index from its start: `count` elements, `i_step`, `s_step` apart, each put where the
// index says, `y_step` apart, in a dimension of `size`.
extern "C" __global__ void put_elements(const i64 *index, const X *src, Y *y, View places, View from, View to, i64 i_step,
                                        i64 s_step, i64 y_step, i64 count, i64 size, i64 lines, Fault *fault) {
    for (i64 line = thread_index(); line < lines; line += thread_count()) {
        i64 i_at = place(places, line), s_at = place(from, line), y_at = place(to, line);
        for (i64 i = 0; i < count; i++, i_at += i_step, s_at += s_step) {
            i64 row = index[i_at];
            if (row < 0 || row >= size) {
                report(fault, FAULT_INDEX, row, size, i_at);
                continue;
            }
            Y *target = y + y_at + row * y_step;
            store(target, PUT<Acc<Y>::type>(load(target), (Acc<Y>::type)load(src + s_at)));
        }
    }
}
#endif
