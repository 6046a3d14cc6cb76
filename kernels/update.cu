// Steps of optimisers in one pass; twin of crates/cpu/src/update.rs, to the bit: each product and sum is rounded. X is f32 or
// f64, PACK the elements of a load. Numbers come as f64 and are rounded to X.

__device__ inline float times(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float plus(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double times(double a, double b) { return __dmul_rn(a, b); }
__device__ inline double plus(double a, double b) { return __dadd_rn(a, b); }

typedef Pack<X, PACK> P;

#ifdef ADAM
__device__ inline void step(X &p, X g, X &m, X &v, X keep, X pull, X b1, X rest1, X b2, X rest2, X root, X eps, X rate) {
    if (keep != 1) p = times(p, keep);
    if (pull != 0) g = plus(times(p, pull), g);
    m = plus(times(m, b1), times(g, rest1));
    v = plus(times(v, b2), times(times(g, g), rest2));
    X denominator = plus(times(sqrt(v), root), eps);
    p = plus(p, times(m / denominator, -rate));
}

extern "C" __global__ void adam(X *p, const X *g, X *m, X *v, i64 n, double keep, double pull, double b1, double rest1, double b2,
                                double rest2, double root, double eps, double rate) {
    i64 packs = n / PACK;
    for (i64 i = thread_index(); i < packs; i += thread_count()) {
        P of_p = ((P *)p)[i], of_g = ((const P *)g)[i], of_m = ((P *)m)[i], of_v = ((P *)v)[i];
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            step(of_p.e[l], of_g.e[l], of_m.e[l], of_v.e[l], (X)keep, (X)pull, (X)b1, (X)rest1, (X)b2, (X)rest2, (X)root,
                 (X)eps, (X)rate);
        }
        ((P *)p)[i] = of_p;
        ((P *)m)[i] = of_m;
        ((P *)v)[i] = of_v;
    }
    for (i64 i = packs * PACK + thread_index(); i < n; i += thread_count()) {
        step(p[i], g[i], m[i], v[i], (X)keep, (X)pull, (X)b1, (X)rest1, (X)b2, (X)rest2, (X)root, (X)eps, (X)rate);
    }
}
#endif

#ifdef MOMENTUM
// NESTEROV says whether it looks ahead; `ahead` is -(rate momentum).
__device__ inline void step(X &p, X g, X &v, X pull, X momentum, X fresh, X rate, X ahead) {
    if (pull != 0) g = plus(times(p, pull), g);
    v = plus(times(v, momentum), fresh == 1 ? g : times(g, fresh));
#if NESTEROV
    p = plus(plus(p, times(g, -rate)), times(v, ahead));
#else
    p = plus(p, times(v, -rate));
#endif
}

extern "C" __global__ void momentum(X *p, const X *g, X *v, i64 n, double pull, double keep, double fresh, double rate,
                                    double ahead) {
    i64 packs = n / PACK;
    for (i64 i = thread_index(); i < packs; i += thread_count()) {
        P of_p = ((P *)p)[i], of_g = ((const P *)g)[i], of_v = ((P *)v)[i];
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            step(of_p.e[l], of_g.e[l], of_v.e[l], (X)pull, (X)keep, (X)fresh, (X)rate, (X)ahead);
        }
        ((P *)p)[i] = of_p;
        ((P *)v)[i] = of_v;
    }
    for (i64 i = packs * PACK + thread_index(); i < n; i += thread_count()) {
        step(p[i], g[i], v[i], (X)pull, (X)keep, (X)fresh, (X)rate, (X)ahead);
    }
}
#endif
