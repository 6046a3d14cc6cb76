// Pooling of windows; twin of crates/cpu/src/pool.rs and pool/mean.rs. X is the element. Every thread makes one element of
// the output, in the order of its memory, from operands of any layout; no two write one place.

typedef Acc<X>::type A;

// Pairs are (height, width).
struct Pool {
    i64 kernel[2], stride[2], padding[2], dilation[2];
    i64 wide[2];   // the plane of the input
    i64 narrow[2]; // the plane of the output
    i64 divisor;   // 0: taps in the input or its padding, -1: taps in the input, else a number
};

// Strides of n, c, h, w.
struct Steps { i64 n, c, h, w; };

// Element number `i` of an output with `channels` and a plane; channels last or planes one after the other.
struct Place { i64 n, c, h, w; };
__device__ inline Place place_of(i64 i, i64 channels, const i64 *plane) {
    const I c = (I)channels, h = (I)plane[0], w = (I)plane[1];
    I left = (I)i;
    Place p;
#if CHANNELS_LAST
    I up = left / c; p.c = left - up * c; left = up;
    up = left / w; p.w = left - up * w; left = up;
    up = left / h; p.h = left - up * h; p.n = up;
#else
    I up = left / w; p.w = left - up * w; left = up;
    up = left / h; p.h = left - up * h; left = up;
    up = left / c; p.c = left - up * c; p.n = up;
#endif
    return p;
}

__device__ inline i64 at_plane(const Steps &s, const Place &p) { return p.n * s.n + p.c * s.c; }
__device__ inline i64 at(const Steps &s, const Place &p) { return at_plane(s, p) + p.h * s.h + p.w * s.w; }

__device__ inline i64 least(i64 a, i64 b) { return a < b ? a : b; }
__device__ inline i64 most(i64 a, i64 b) { return a > b ? a : b; }

// ---- the largest of each window

// The taps of a window along an axis that fall inside the input: the first place, and how many.
struct Taps { i64 first, count; };
__device__ inline Taps taps(const Pool &pool, int axis, i64 out) {
    i64 start = out * pool.stride[axis] - pool.padding[axis], d = pool.dilation[axis];
    i64 skip = start < 0 ? (d - 1 - start) / d : 0, first = start + skip * d;
    i64 left = most(pool.wide[axis] - first + d - 1, 0) / d;
    return {most(first, 0), most(least(left, pool.kernel[axis] - skip), 0)};
}

extern "C" __global__ void pool_max(const X *x, X *y, i64 *index, Pool pool, Steps x_steps, Steps y_steps, Steps i_steps,
                                    i64 channels, i64 n) {
    const A lowest = LOWEST;
    for (i64 i = thread_index(); i < n; i += thread_count()) {
        Place p = place_of(i, channels, pool.narrow);
        Taps down = taps(pool, 0, p.h), across = taps(pool, 1, p.w);
        const X *from = x + at_plane(x_steps, p);
        A best = lowest;
        i64 found = least(down.first, most(pool.wide[0] - 1, 0)) * pool.wide[1] + least(across.first, most(pool.wide[1] - 1, 0));
        for (i64 r = 0; r < down.count; r++) {
            i64 h = down.first + r * pool.dilation[0];
            for (i64 s = 0; s < across.count; s++) {
                i64 w = across.first + s * pool.dilation[1];
                A v = load(from + h * x_steps.h + w * x_steps.w);
                if (v > best || (v != v && best == best)) {
                    best = v;
                    found = h * pool.wide[1] + w;
                }
            }
        }
        store(y + at(y_steps, p), best);
        index[at(i_steps, p)] = found;
    }
}

// ---- there and back by index

extern "C" __global__ void pool_pick(const X *x, const i64 *index, X *y, Pool pool, Steps x_steps, Steps i_steps,
                                     Steps y_steps, i64 channels, i64 n, Fault *fault) {
    for (i64 i = thread_index(); i < n; i += thread_count()) {
        Place p = place_of(i, channels, pool.narrow);
        i64 found = index[at(i_steps, p)];
        if (found < 0 || found >= pool.wide[0] * pool.wide[1]) {
            report(fault, FAULT_PLANE, pool.wide[0], pool.wide[1], 0);
            continue;
        }
        i64 h = found / pool.wide[1], w = found - h * pool.wide[1];
        y[at(y_steps, p)] = x[at_plane(x_steps, p) + h * x_steps.h + w * x_steps.w];
    }
}

// The windows along an axis that reach over a place of the input, from `first` on, before `end`.
struct Holding { i64 first, end; };
__device__ inline bool is_tap(const Pool &pool, int axis, i64 window, i64 place) {
    i64 far = place + pool.padding[axis] - window * pool.stride[axis];
    return far >= 0 && far % pool.dilation[axis] == 0 && far / pool.dilation[axis] < pool.kernel[axis];
}
__device__ inline Holding holding(const Pool &pool, int axis, i64 place) {
    i64 reach = place + pool.padding[axis], far = pool.dilation[axis] * (pool.kernel[axis] - 1);
    i64 first = reach > far ? (reach - far + pool.stride[axis] - 1) / pool.stride[axis] : 0;
    return {first, least(reach / pool.stride[axis] + 1, pool.narrow[axis])};
}

// dx = dy where the index says, for indices that name a tap of their own window; sets `strays` where one does not.
extern "C" __global__ void pool_back(const X *dy, const i64 *index, X *dx, Pool pool, Steps dy_steps, Steps i_steps,
                                     Steps dx_steps, i64 channels, i64 n, u32 *strays, Fault *fault) {
    for (i64 i = thread_index(); i < n; i += thread_count()) {
        Place p = place_of(i, channels, pool.wide);
        Holding down = holding(pool, 0, p.h), across = holding(pool, 1, p.w);
        i64 own = p.h * pool.wide[1] + p.w, size = pool.wide[0] * pool.wide[1];
        const X *from = dy + at_plane(dy_steps, p);
        const i64 *found = index + at_plane(i_steps, p);
        A sum = (A)0;
        for (i64 r = down.first; r < down.end; r++) {
            if (!is_tap(pool, 0, r, p.h)) continue;
            for (i64 s = across.first; s < across.end; s++) {
                if (!is_tap(pool, 1, s, p.w)) continue;
                i64 v = found[r * i_steps.h + s * i_steps.w];
                if (v == own) {
                    sum = wrapping_add(sum, load(from + r * dy_steps.h + s * dy_steps.w));
                } else if (v < 0 || v >= size) {
                    report(fault, FAULT_PLANE, pool.wide[0], pool.wide[1], 0);
                } else {
                    i64 h = v / pool.wide[1];
                    if (!is_tap(pool, 0, r, h) || !is_tap(pool, 1, s, v - h * pool.wide[1])) *strays = 1;
                }
            }
        }
        store(dx + at(dx_steps, p), sum);
    }
}

// Adds what is not of its own window, plane by plane in the order of the windows.
extern "C" __global__ void pool_strays(const X *dy, const i64 *index, X *dx, Pool pool, Steps dy_steps, Steps i_steps,
                                       Steps dx_steps, i64 channels, i64 planes, const u32 *strays, Fault *fault) {
    if (*strays == 0) return;
    i64 size = pool.wide[0] * pool.wide[1];
    for (i64 i = thread_index(); i < planes; i += thread_count()) {
        Place p = {i / channels, i % channels, 0, 0};
        for (i64 r = 0; r < pool.narrow[0]; r++) {
            for (i64 s = 0; s < pool.narrow[1]; s++) {
                i64 v = index[at_plane(i_steps, p) + r * i_steps.h + s * i_steps.w];
                if (v < 0 || v >= size) {
                    report(fault, FAULT_PLANE, pool.wide[0], pool.wide[1], 0);
                    continue;
                }
                i64 h = v / pool.wide[1], w = v - h * pool.wide[1];
                if (is_tap(pool, 0, r, h) && is_tap(pool, 1, s, w)) continue;
                X *to = dx + at_plane(dx_steps, p) + h * dx_steps.h + w * dx_steps.w;
                store(to, wrapping_add(load(to), load(dy + at_plane(dy_steps, p) + r * dy_steps.h + s * dy_steps.w)));
            }
        }
    }
}

// ---- means: the taps of a window side by side

#if MEANS
struct Span { i64 first, end; };
__device__ inline Span covers(const Pool &pool, int axis, i64 out) {
    i64 start = out * pool.stride[axis] - pool.padding[axis];
    i64 end = most(least(start + pool.kernel[axis], pool.wide[axis]), 0);
    return {least(most(start, 0), end), end};
}

// What the sum of a window is divided by.
__device__ inline A count_of(const Pool &pool, i64 h, i64 w) {
    if (pool.divisor > 0) return (A)pool.divisor;
    i64 out[2] = {h, w}, count = 1;
    for (int axis = 0; axis < 2; axis++) {
        if (pool.divisor < 0) {
            Span span = covers(pool, axis, out[axis]);
            count *= span.end - span.first;
        } else {
            i64 start = out[axis] * pool.stride[axis];
            count *= most(least(start + pool.kernel[axis], pool.wide[axis] + 2 * pool.padding[axis]) - start, 0);
        }
    }
    return (A)count;
}

extern "C" __global__ void pool_mean(const X *x, X *y, Pool pool, Steps x_steps, Steps y_steps, i64 channels, i64 n) {
    for (i64 i = thread_index(); i < n; i += thread_count()) {
        Place p = place_of(i, channels, pool.narrow);
        Span down = covers(pool, 0, p.h), across = covers(pool, 1, p.w);
        const X *from = x + at_plane(x_steps, p);
        A sum = (A)0;
        for (i64 h = down.first; h < down.end; h++)
            for (i64 w = across.first; w < across.end; w++) sum += load(from + h * x_steps.h + w * x_steps.w);
        store(y + at(y_steps, p), sum / count_of(pool, p.h, p.w));
    }
}

extern "C" __global__ void pool_mean_back(const X *dy, X *dx, Pool pool, Steps dy_steps, Steps dx_steps, i64 channels,
                                          i64 n) {
    for (i64 i = thread_index(); i < n; i += thread_count()) {
        Place p = place_of(i, channels, pool.wide);
        Holding down = holding(pool, 0, p.h), across = holding(pool, 1, p.w);
        const X *from = dy + at_plane(dy_steps, p);
        A sum = (A)0;
        for (i64 h = down.first; h < down.end; h++)
            for (i64 w = across.first; w < across.end; w++)
                sum += load(from + h * dy_steps.h + w * dy_steps.w) / count_of(pool, h, w);
        store(dx + at(dx_steps, p), sum);
    }
}
#endif
