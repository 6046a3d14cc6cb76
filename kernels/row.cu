// Kernels over rows (the last dimension); twin of crates/cpu/src/row. X is the element type, A what rows compute in, LANES the
// threads of a row, CACHE how many packs of a row each of them holds in registers (0: none, rows are read again), PACK the
// elements of a pack, RAGGED whether rows begin or end within one. Operands are row-major, and rows lie alike towards the packs
// in all operands as long as x.

// What kernels compute: one of SOFTMAX (LOG for its logarithm), SOFTMAX_GRAD, NORMALIZE, NORMALIZE_GRAD (CENTRE if the mean is
// taken off), EXTREME_GRAD, CROSS_ENTROPY, CROSS_ENTROPY_GRAD.

typedef Pack<X, PACK> P;
typedef Packs<X, PACK, RAGGED> Row;

// A block is as many threads as a row has, or several warps; enough blocks at a time that some load while others compute.
#define BLOCK (LANES > 32 ? LANES : 256)
#define ROWS __launch_bounds__(BLOCK, (RAGGED || sizeof(A) == 8 || CACHE * PACK > 32 ? 512 : 1024) / BLOCK)

// e^x; in f32 by the power of 2 that the hardware has.
#define LOG2_E 1.44269504f
#ifdef ESKER_EMULATED
__device__ inline float power(float x) { return exp2f(x); }
#else
__device__ inline float power(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
#endif
__device__ inline float exp_of(float x) { return power(x * LOG2_E); }
__device__ inline double exp_of(double x) { return exp(x); }

// The row of this thread, and its place among the threads of the row.
__device__ inline i64 this_row() { return (i64)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES; }
__device__ inline int this_lane() { return threadIdx.x % LANES; }

// Calls f(k, pack) for every pack of this thread; k counts those that it holds.
template <class F> __device__ inline void each_pack(const Row &row, F f) {
#if CACHE
#pragma unroll
    for (int k = 0; k < CACHE; k++) {
        int pack = this_lane() + k * LANES;
        if (pack < row.count) f(k, pack);
    }
#else
#pragma unroll 2
    for (int pack = this_lane(); pack < row.count; pack += LANES) f(0, pack);
#endif
}

// Calls f(v, pack) for every pack of this thread, with several loads under way.
template <class F> __device__ inline void stream(const Row &row, A fill, F f) {
    const int side = 4;
    const X rounded = Rounded<X>::of(fill);
    int pack = this_lane();
    for (; pack + (side - 1) * LANES < row.count; pack += side * LANES) {
        P v[side];
#pragma unroll
        for (int j = 0; j < side; j++) v[j] = row.get(pack + j * LANES, rounded);
#pragma unroll
        for (int j = 0; j < side; j++) f(v[j], pack + j * LANES);
    }
    for (; pack < row.count; pack += LANES) f(row.get(pack, rounded), pack);
}

// The packs that a thread holds of a row, or the row that they are read from again.
struct Held {
    const Row &row;
    X fill;
#if CACHE
    P packs[CACHE];
#endif
    __device__ inline Held(const Row &row, A fill) : row(row), fill(Rounded<X>::of(fill)) {
#if CACHE
        each_pack(row, [&](int k, int pack) { packs[k] = row.get(pack, this->fill); });
#endif
    }
    __device__ inline P get(int k, int pack) const {
#if CACHE
        return packs[k];
#else
        return row.get(pack, fill);
#endif
    }
};

template <class F> __device__ inline A fold(A v) { return fold_threads<F, LANES>(v); }

// The larger; NaN never is, and shows in sums instead.
__device__ inline float above(float a, float b) { return fmaxf(a, b); }
__device__ inline double above(double a, double b) { return fmax(a, b); }
struct Above {
    static __device__ inline A two(A a, A b) { return above(a, b); }
    template <class T> static __device__ inline A identity() { return -INFINITY; }
};

// The sum of e^(x - top), and top, the largest x so far.
struct Tally {
    A top, sum;
    // What to take off: nothing from rows that are minus infinity throughout, so far.
    __device__ inline A base() const { return top == -INFINITY ? (A)0 : top; }
    __device__ inline Tally() : top(-INFINITY), sum(0) {}
    __device__ inline void add(const P &v) {
        A high = top;
#pragma unroll
        for (int l = 0; l < PACK; l++) high = above(high, (A)load(&v.e[l]));
        if (high > top) {
            sum = top == -INFINITY ? sum : sum * exp_of(top - high);
            top = high;
        }
        A from = base(), more = 0;
#pragma unroll
        for (int l = 0; l < PACK; l++) more += exp_of((A)load(&v.e[l]) - from);
        sum += more;
    }
    // Over all threads of the row.
    __device__ inline void join() {
        A own = top;
        top = fold<Above>(top);
        sum = fold<FoldSum>(own == -INFINITY ? sum : sum * exp_of(own - top));
        if (top == -INFINITY) sum = NAN;
    }
};

#ifdef SOFTMAX
// Powers are kept where registers hold them, else computed again.
#define KEEP (CACHE > 0 && CACHE * PACK <= 32 && !LOG)

extern "C" __global__ void ROWS softmax(const X *x, X *y, i64 rows, i64 n) {
    i64 r = this_row();
    i64 length = r < rows ? n : 0;
    Row from(x + r * n, length), to(y + r * n, length);
    Held held(from, -INFINITY);
    Tally all;
#if CACHE
    each_pack(from, [&](int k, int pack) {
        P v = held.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) all.top = above(all.top, (A)load(&v.e[l]));
    });
    all.top = fold<Above>(all.top);
    A base = all.base();
#if KEEP
    A kept[CACHE * PACK];
#endif
    each_pack(from, [&](int k, int pack) {
        P v = held.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            A e = exp_of((A)load(&v.e[l]) - base);
#if KEEP
            kept[k * PACK + l] = e;
#endif
            all.sum += e;
        }
    });
    all.sum = fold<FoldSum>(all.sum);
    if (all.top == -INFINITY) all.sum = NAN;
#else
    stream(from, -INFINITY, [&](const P &v, int pack) { all.add(v); });
    all.join();
#endif
    A top = all.top;
#if LOG
    A rest = log(all.sum);
#else
    A rest = 1 / all.sum;
#endif
    each_pack(from, [&](int k, int pack) {
#if KEEP
        P v;
#pragma unroll
        for (int l = 0; l < PACK; l++) store(&v.e[l], kept[k * PACK + l] * rest);
#else
        P v = held.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            A d = (A)load(&v.e[l]) - top;
#if LOG
            store(&v.e[l], d - rest);
#else
            store(&v.e[l], exp_of(d) * rest);
#endif
        }
#endif
        to.put(pack, v);
    });
}
#endif

#ifdef SOFTMAX_GRAD
extern "C" __global__ void __launch_bounds__(BLOCK, (RAGGED || sizeof(A) == 8 ? 512 : BLOCK > 256 ? 1024 : 768) / BLOCK) softmax_grad(const X *y, const X *dy, X *dx, i64 rows, i64 n) {
    i64 r = this_row();
    i64 length = r < rows ? n : 0;
    Row of_y(y + r * n, length), of_dy(dy + r * n, length), to(dx + r * n, length);
    Held held_y(of_y, 0), held_dy(of_dy, 0);
    A sum = 0;
    each_pack(of_y, [&](int k, int pack) {
        P d = held_dy.get(k, pack);
#if LOG
#pragma unroll
        for (int l = 0; l < PACK; l++) sum += (A)load(&d.e[l]);
#else
        P v = held_y.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) sum += (A)load(&v.e[l]) * (A)load(&d.e[l]);
#endif
    });
    sum = fold<FoldSum>(sum);
    each_pack(of_y, [&](int k, int pack) {
        P v = held_y.get(k, pack), d = held_dy.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            A value = load(&v.e[l]), slope = load(&d.e[l]);
#if LOG
            store(&v.e[l], slope - exp_of(value) * sum);
#else
            store(&v.e[l], value * (slope - sum));
#endif
        }
        to.put(pack, v);
    });
}
#endif

// Numbers of columns, `step` apart (0: one for all), as many as a pack has.
__device__ inline void params(const X *p, i64 step, const Row &row, int pack, A *to) {
    int at = row.at(pack, 0);
    if (PACK > 1 && step == 1 && (u64)(p + at) % sizeof(P) == 0 && row.whole(pack)) {
        P v = *(const P *)(p + at);
#pragma unroll
        for (int l = 0; l < PACK; l++) to[l] = load(&v.e[l]);
        return;
    }
#pragma unroll
    for (int l = 0; l < PACK; l++) to[l] = row.has(pack, l) ? (A)load(p + (at + l) * step) : (A)0;
}

#ifdef NORMALIZE
extern "C" __global__ void ROWS normalize(const X *x, const X *weight, const X *bias, X *y, A *means, A *rstds, i64 rows, i64 n,
                                     i64 weight_step, i64 bias_step, double eps) {
    i64 r = this_row();
    i64 length = r < rows ? n : 0;
    Row from(x + r * n, length), to(y + r * n, length);
    Held held(from, 0);
    A centre = 0, plain = 0, squares = 0;
#if CENTRE
    each_pack(from, [&](int k, int pack) {
        P v = held.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) centre += (A)load(&v.e[l]);
    });
    centre = fold<FoldSum>(centre) / (A)n;
#endif
    each_pack(from, [&](int k, int pack) {
        P v = held.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            A d = (A)load(&v.e[l]) - centre;
            if (CENTRE && !from.has(pack, l)) d = 0;
            plain += d;
            squares += d * d;
        }
    });
    squares = fold<FoldSum>(squares) / (A)n;
    // What rounding took from the mean.
    A rest = 0;
#if CENTRE
    rest = fold<FoldSum>(plain) / (A)n;
#endif
    A rstd = (A)(1 / sqrt((double)(squares - rest * rest) + eps));
    if (r < rows && this_lane() == 0) {
        means[r] = centre + rest;
        rstds[r] = rstd;
    }
    each_pack(from, [&](int k, int pack) {
        P v = held.get(k, pack);
        A w[PACK], b[PACK];
        params(weight, weight_step, from, pack, w);
        params(bias, bias_step, from, pack, b);
#pragma unroll
        for (int l = 0; l < PACK; l++) store(&v.e[l], ((A)load(&v.e[l]) - centre - rest) * rstd * w[l] + b[l]);
        to.put(pack, v);
    });
}
#endif

#ifdef NORMALIZE_GRAD
// Where sums are made, rows come one after the other, and the next is loaded while one is computed.
//
// Block by block some rows, `length` each. dx; and the blocks' sums for weight and bias, [blocks, 2, n], where SUMS says so.
#if SUMS
#define TEAMS (LANES < 128 && 128 % LANES == 0 ? 128 : LANES)
#define RESIDENT (CACHE > 1 ? 512 : TEAMS == 128 ? 896 : 768) // As many as registers hold.
extern "C" __global__ void __launch_bounds__(TEAMS, RESIDENT / TEAMS) normalize_grad(
#else
extern "C" __global__ void __launch_bounds__(BLOCK, RAGGED || sizeof(A) == 8 || CACHE * PACK > 16 ? 1 : 1024 / BLOCK) normalize_grad(
#endif
    const X *x, const X *weight, const A *means, const A *rstds, const X *dy, X *dx, A *sums, i64 rows, i64 n, i64 weight_step,
    i64 length) {
#if SUMS
    A dweight[CACHE * PACK], dbias[CACHE * PACK];
    P next_x[CACHE], next_dy[CACHE];
#pragma unroll
    for (int i = 0; i < CACHE * PACK; i++) dweight[i] = dbias[i] = 0;
#endif
    i64 start = this_row() * length;
#if SUMS
    A next_mean = 0, next_rstd = 0;
    auto fetch = [&](i64 r) {
        if (r >= rows) return;
        Row of_x(x + r * n, n), of_dy(dy + r * n, n);
        each_pack(of_x, [&](int k, int pack) {
            next_x[k] = of_x.get(pack, Rounded<X>::of(0));
            next_dy[k] = of_dy.get(pack, Rounded<X>::of(0));
        });
        next_mean = means[r];
        next_rstd = rstds[r];
    };
    fetch(start);
#endif
    for (i64 r = start; r < start + length; r++) {
        i64 width = r < rows ? n : 0;
        Row of_x(x + r * n, width), to(dx + r * n, width);
#if SUMS
        P held_x[CACHE], held_dy[CACHE];
#pragma unroll
        for (int k = 0; k < CACHE; k++) {
            held_x[k] = next_x[k];
            held_dy[k] = next_dy[k];
        }
        A mean = next_mean, rstd = next_rstd;
        if (r + 1 < start + length) fetch(r + 1);
        auto get_x = [&](int k, int pack) { return held_x[k]; };
        auto get_dy = [&](int k, int pack) { return held_dy[k]; };
#else
        Row of_dy(dy + r * n, width);
        A mean = r < rows ? means[r] : (A)0, rstd = r < rows ? rstds[r] : (A)0;
        Held held_x(of_x, mean), held_dy(of_dy, 0);
        auto get_x = [&](int k, int pack) { return held_x.get(k, pack); };
        auto get_dy = [&](int k, int pack) { return held_dy.get(k, pack); };
#endif
        A plain = 0, along = 0;
        each_pack(of_x, [&](int k, int pack) {
            P v = get_x(k, pack), d = get_dy(k, pack);
            A w[PACK];
            params(weight, weight_step, of_x, pack, w);
#pragma unroll
            for (int l = 0; l < PACK; l++) {
                A slope = load(&d.e[l]), y = ((A)load(&v.e[l]) - mean) * rstd;
                plain += slope * w[l];
                along += slope * w[l] * y;
#if SUMS
                dweight[k * PACK + l] += slope * y;
                dbias[k * PACK + l] += slope;
#endif
            }
        });
        plain = CENTRE ? fold<FoldSum>(plain) / (A)n : (A)0;
        along = fold<FoldSum>(along) / (A)n;
        each_pack(of_x, [&](int k, int pack) {
            P v = get_x(k, pack), d = get_dy(k, pack);
            A w[PACK];
            params(weight, weight_step, of_x, pack, w);
#pragma unroll
            for (int l = 0; l < PACK; l++) {
                A y = ((A)load(&v.e[l]) - mean) * rstd;
                store(&v.e[l], rstd * ((A)load(&d.e[l]) * w[l] - plain - y * along));
            }
            to.put(pack, v);
        });
    }
#if SUMS
    // Rows lie alike: whole packs, or packs of one.
    if (start < rows) {
        A *to = sums + this_row() * 2 * n;
#pragma unroll
        for (int k = 0; k < CACHE; k++) {
            i64 at = (i64)(this_lane() + k * LANES) * PACK;
#pragma unroll
            for (int l = 0; l < PACK; l++) {
                if (at + l >= n) continue;
                to[at + l] = dweight[k * PACK + l];
                to[n + at + l] = dbias[k * PACK + l];
            }
        }
    }
#endif
}
#endif

#ifdef PARAMS_GRAD
// The sums for weight and bias alone, column by column: [pieces, 2, n], of `length` rows each.
extern "C" __global__ void params_grad(const X *x, const A *means, const A *rstds, const X *dy, A *sums, i64 rows, i64 n,
                                       i64 length, i64 tiles) {
    __shared__ A parts[2][LANES];
    i64 piece = blockIdx.x / tiles, column = blockIdx.x % tiles * 32 + threadIdx.x % 32;
    i64 end = min((piece + 1) * length, rows);
    int down = LANES / 32, warp = threadIdx.x / 32;
    A dweight = 0, dbias = 0;
    if (column < n) {
#pragma unroll 4
        for (i64 r = piece * length + warp; r < end; r += down) {
            A slope = load(dy + r * n + column);
            dweight += slope * (((A)load(x + r * n + column) - means[r]) * rstds[r]);
            dbias += slope;
        }
    }
    parts[0][threadIdx.x] = dweight;
    parts[1][threadIdx.x] = dbias;
    __syncthreads();
    if (warp < 2 && column < n) {
        A all = 0;
        for (int w = 0; w < down; w++) all += parts[warp][w * 32 + threadIdx.x % 32];
        sums[(piece * 2 + warp) * n + column] = all;
    }
}
#endif

#ifdef EXTREME_GRAD
extern "C" __global__ void ROWS extreme_grad(const X *x, const X *y, const X *dy, X *dx, i64 rows, i64 n) {
    i64 r = this_row();
    i64 length = r < rows ? n : 0;
    Row from(x + r * n, length), to(dx + r * n, length);
    Held held(from, NAN);
    A extreme = length > 0 ? (A)load(y + r) : (A)0, share = length > 0 ? (A)load(dy + r) : (A)0;
    int count = 0;
    each_pack(from, [&](int k, int pack) {
        P v = held.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) count += (A)load(&v.e[l]) == extreme;
    });
    share = share / (A)fold_threads<FoldSum, LANES>(count);
    each_pack(from, [&](int k, int pack) {
        P v = held.get(k, pack);
#pragma unroll
        for (int l = 0; l < PACK; l++) store(&v.e[l], (A)load(&v.e[l]) == extreme ? share : share * 0);
        to.put(pack, v);
    });
}
#endif

// The class of a row: -1 where it does not count, or is none, which is reported.
__device__ inline i64 class_of(const i64 *classes, i64 r, i64 n, i64 ignore, Fault *fault) {
    i64 c = classes[r];
    if (c == ignore) return -1;
    if (c >= 0 && c < n) return c;
    if (this_lane() == 0) report(fault, FAULT_TARGET, c, n, r);
    return -1;
}

#ifdef CROSS_ENTROPY
extern "C" __global__ void ROWS cross_entropy(const X *x, const i64 *classes, X *loss, X *lse, i64 rows, i64 n, i64 ignore,
                                         Fault *fault) {
    i64 r = this_row();
    Row from(x + r * n, r < rows ? n : 0);
    Tally all;
    stream(from, -INFINITY, [&](const P &v, int pack) { all.add(v); });
    all.join();
    if (r < rows && this_lane() == 0) {
        i64 c = class_of(classes, r, n, ignore, fault);
        A rest = log(all.sum);
        store(loss + r, c < 0 ? (A)0 : rest - ((A)load(x + r * n + c) - all.top));
        store(lse + r, all.top + rest);
    }
}
#endif

#ifdef CROSS_ENTROPY_GRAD
extern "C" __global__ void ROWS cross_entropy_grad(const X *x, const i64 *classes, const X *lse, const X *dloss, X *dx, i64 rows,
                                              i64 n, i64 ignore, Fault *fault) {
    i64 r = this_row();
    bool live = r < rows;
    Row from(x + r * n, live ? n : 0), to(dx + r * n, live ? n : 0);
    i64 c = live ? class_of(classes, r, n, ignore, fault) : -1;
    A total = live ? (A)load(lse + r) : (A)0, scale = live ? (A)load(dloss + r) : (A)0;
    stream(from, 0, [&](P v, int pack) {
        int hot = (int)c - from.at(pack, 0);
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            A p = exp_of((A)load(&v.e[l]) - total) - (l == hot ? (A)1 : (A)0);
            store(&v.e[l], c < 0 ? (A)0 : p * scale);
        }
        to.put(pack, v);
    });
}
#endif
