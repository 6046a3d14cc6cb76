// Pooling of windows; twin of crates/cpu/src/pool.rs and pool/mean.rs. X is the element. Every thread makes one element of
// the output, in the order of its memory, from operands of any layout; no two write one place. PASS says which kernels are
// compiled.

#define MAX 0
#define BACK 1
#define PICK 2
#define MEAN 3

typedef Acc<X>::type A;

// Pairs are (height, width).
struct Pool {
    i32 kernel[2], stride[2], padding[2], dilation[2];
    i32 wide[2];   // the plane of the input
    i32 narrow[2]; // the plane of the output
    i32 divisor;   // 0: taps in the input or its padding, -1: taps in the input, else a number
    i32 channels;
};

// Strides of n, c, h, w.
struct Steps { i64 n, c, h, w; };

// Element number `i` of an output with such a plane; channels last or planes one after the other.
struct Place { i64 n; i32 c, h, w; };
__device__ inline Place place_of(I i, const Pool &pool, const i32 *plane) {
    const I c = (I)pool.channels, h = (I)plane[0], w = (I)plane[1];
    I up;
    Place p;
#if CHANNELS_LAST
    up = i / c; p.c = (i32)(i - up * c); i = up;
    up = i / w; p.w = (i32)(i - up * w); i = up;
    up = i / h; p.h = (i32)(i - up * h); p.n = up;
#else
    up = i / w; p.w = (i32)(i - up * w); i = up;
    up = i / h; p.h = (i32)(i - up * h); i = up;
    up = i / c; p.c = (i32)(i - up * c); p.n = up;
#endif
    return p;
}

__device__ inline i64 at_plane(const Steps &s, const Place &p) { return p.n * s.n + p.c * s.c; }
__device__ inline i64 at(const Steps &s, const Place &p) { return at_plane(s, p) + p.h * s.h + p.w * s.w; }

__device__ inline i32 least(i32 a, i32 b) { return a < b ? a : b; }
__device__ inline i32 most(i32 a, i32 b) { return a > b ? a : b; }

// ---- the largest of each window

#if PASS == MAX
// The taps of a window along an axis that fall inside the input: the first place, and how many.
struct Taps { i32 first, count; };
__device__ inline Taps taps(const Pool &pool, int axis, i32 out) {
    i32 start = out * pool.stride[axis] - pool.padding[axis], d = pool.dilation[axis];
    i32 skip = start < 0 ? (d - 1 - start) / d : 0, first = start + skip * d;
    i32 left = most(pool.wide[axis] - first + d - 1, 0) / d;
    return {most(first, 0), most(least(left, pool.kernel[axis] - skip), 0)};
}

extern "C" __global__ void pool_max(const X *x, X *y, i64 *index, Pool pool, Steps x_steps, Steps y_steps, Steps i_steps,
                                    i64 n) {
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        Place p = place_of(i, pool, pool.narrow);
        Taps down = taps(pool, 0, p.h), across = taps(pool, 1, p.w);
        const X *from = x + at_plane(x_steps, p);
        A best = LOWEST;
        // Of a window without taps, the nearest place.
        i32 h = least(down.first, most(pool.wide[0] - 1, 0)), w = least(across.first, most(pool.wide[1] - 1, 0));
        i64 found = (i64)h * pool.wide[1] + w;
        for (i32 r = 0; r < down.count; r++) {
            h = down.first + r * pool.dilation[0];
            for (i32 s = 0; s < across.count; s++) {
                w = across.first + s * pool.dilation[1];
                A v = load(from + h * x_steps.h + w * x_steps.w);
                if (v > best || (v != v && best == best)) {
                    best = v;
                    found = (i64)h * pool.wide[1] + w;
                }
            }
        }
        store(y + at(y_steps, p), best);
        index[at(i_steps, p)] = found;
    }
}
#endif

// ---- there and back by index

#if PASS == PICK
extern "C" __global__ void pool_pick(const X *x, const i64 *index, X *y, Pool pool, Steps x_steps, Steps i_steps,
                                     Steps y_steps, i64 n, Fault *fault) {
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        Place p = place_of(i, pool, pool.narrow);
        i64 found = index[at(i_steps, p)];
        if (found < 0 || found >= (i64)pool.wide[0] * pool.wide[1]) {
            report(fault, FAULT_PLANE, pool.wide[0], pool.wide[1], 0);
            continue;
        }
        i64 h = found / pool.wide[1], w = found - h * pool.wide[1];
        y[at(y_steps, p)] = x[at_plane(x_steps, p) + h * x_steps.h + w * x_steps.w];
    }
}
#endif

#if PASS == BACK || PASS == MEAN
// The windows along an axis that reach over a place of the input, from `first` on, before `end`.
struct Holding { i32 first, end; };
__device__ inline Holding holding(const Pool &pool, int axis, i32 place) {
    i32 reach = place + pool.padding[axis], far = pool.dilation[axis] * (pool.kernel[axis] - 1);
    i32 first = reach > far ? (reach - far + pool.stride[axis] - 1) / pool.stride[axis] : 0;
    return {first, least(reach / pool.stride[axis] + 1, pool.narrow[axis])};
}
#endif

#if PASS == BACK
__device__ inline bool is_tap(const Pool &pool, int axis, i32 window, i32 place) {
    i32 far = place + pool.padding[axis] - window * pool.stride[axis], d = pool.dilation[axis];
    if (d == 1) return far >= 0 && far < pool.kernel[axis];
    return far >= 0 && far % d == 0 && far / d < pool.kernel[axis];
}

// Whether the place of an index is a tap of the window.
__device__ inline bool is_own(const Pool &pool, i32 r, i32 s, i64 index) {
    i32 h = (i32)(index / pool.wide[1]), w = (i32)(index - (i64)h * pool.wide[1]);
    return is_tap(pool, 0, r, h) && is_tap(pool, 1, s, w);
}

// dx = dy where the index says, for indices that name a tap of their own window; sets `strays` where one does not.
extern "C" __global__ void pool_back(const X *dy, const i64 *index, X *dx, Pool pool, Steps dy_steps, Steps i_steps,
                                     Steps dx_steps, i64 n, u32 *strays, Fault *fault) {
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        Place p = place_of(i, pool, pool.wide);
        Holding down = holding(pool, 0, p.h), across = holding(pool, 1, p.w);
        i64 own = (i64)p.h * pool.wide[1] + p.w, size = (i64)pool.wide[0] * pool.wide[1];
        const X *from = dy + at_plane(dy_steps, p);
        const i64 *found = index + at_plane(i_steps, p);
        A sum = (A)0;
        for (i32 r = down.first; r < down.end; r++) {
            if (!is_tap(pool, 0, r, p.h)) continue;
            for (i32 s = across.first; s < across.end; s++) {
                if (!is_tap(pool, 1, s, p.w)) continue;
                i64 v = found[r * i_steps.h + s * i_steps.w];
                if (v == own) {
                    sum = wrapping_add(sum, load(from + r * dy_steps.h + s * dy_steps.w));
                } else if (v < 0 || v >= size) {
                    report(fault, FAULT_PLANE, pool.wide[0], pool.wide[1], 0);
                } else if (!is_own(pool, r, s, v)) {
                    *strays = 1;
                }
            }
        }
        store(dx + at(dx_steps, p), sum);
    }
}

// Adds what is not of its own window, plane by plane in the order of the windows.
extern "C" __global__ void pool_strays(const X *dy, const i64 *index, X *dx, Pool pool, Steps dy_steps, Steps i_steps,
                                       Steps dx_steps, i64 planes, const u32 *strays, Fault *fault) {
    if (*strays == 0) return;
    i64 size = (i64)pool.wide[0] * pool.wide[1];
    for (i64 i = thread_index(); i < planes; i += thread_count()) {
        Place p = {i / pool.channels, (i32)(i % pool.channels), 0, 0};
        for (i32 r = 0; r < pool.narrow[0]; r++) {
            for (i32 s = 0; s < pool.narrow[1]; s++) {
                i64 v = index[at_plane(i_steps, p) + r * i_steps.h + s * i_steps.w];
                if (v < 0 || v >= size) {
                    report(fault, FAULT_PLANE, pool.wide[0], pool.wide[1], 0);
                    continue;
                }
                if (is_own(pool, r, s, v)) continue;
                i64 h = v / pool.wide[1], w = v - h * pool.wide[1];
                X *to = dx + at_plane(dx_steps, p) + h * dx_steps.h + w * dx_steps.w;
                store(to, wrapping_add(load(to), load(dy + at_plane(dy_steps, p) + r * dy_steps.h + s * dy_steps.w)));
            }
        }
    }
}
#endif

// ---- means: the taps of a window side by side

#if PASS == MEAN
struct Span { i32 first, end; };
__device__ inline Span covers(const Pool &pool, int axis, i32 out) {
    i32 start = out * pool.stride[axis] - pool.padding[axis];
    i32 end = most(least(start + pool.kernel[axis], pool.wide[axis]), 0);
    return {least(most(start, 0), end), end};
}

// What the sum of a window is divided by.
__device__ inline A count_of(const Pool &pool, i32 h, i32 w) {
    if (pool.divisor > 0) return (A)pool.divisor;
    i32 out[2] = {h, w};
    i64 count = 1;
    for (int axis = 0; axis < 2; axis++) {
        if (pool.divisor < 0) {
            Span span = covers(pool, axis, out[axis]);
            count *= span.end - span.first;
        } else {
            i32 start = out[axis] * pool.stride[axis];
            count *= most(least(start + pool.kernel[axis], pool.wide[axis] + 2 * pool.padding[axis]) - start, 0);
        }
    }
    return (A)count;
}

extern "C" __global__ void pool_mean(const X *x, X *y, Pool pool, Steps x_steps, Steps y_steps, i64 n) {
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        Place p = place_of(i, pool, pool.narrow);
        Span down = covers(pool, 0, p.h), across = covers(pool, 1, p.w);
        const X *from = x + at_plane(x_steps, p);
        A sum = (A)0;
        for (i32 h = down.first; h < down.end; h++)
            for (i32 w = across.first; w < across.end; w++) sum += load(from + h * x_steps.h + w * x_steps.w);
        store(y + at(y_steps, p), sum / count_of(pool, p.h, p.w));
    }
}

extern "C" __global__ void pool_mean_back(const X *dy, X *dx, Pool pool, Steps dy_steps, Steps dx_steps, i64 n) {
    for (I i = (I)thread_index(); i < (I)n; i += (I)thread_count()) {
        Place p = place_of(i, pool, pool.wide);
        Holding down = holding(pool, 0, p.h), across = holding(pool, 1, p.w);
        const X *from = dy + at_plane(dy_steps, p);
        A sum = (A)0;
        for (i32 h = down.first; h < down.end; h++)
            for (i32 w = across.first; w < across.end; w++)
                sum += load(from + h * dy_steps.h + w * dy_steps.w) / count_of(pool, h, w);
        store(dx + at(dx_steps, p), sum);
    }
}
#endif
