// Normalisation of channels, or of groups of them, and its gradient; twin of crates/cpu/src/norm. X is the element type, A what
// it computes in, PACK the elements of a load, BACK whether it is the gradient, LAST whether channels lie innermost.
//
// Elements are [parts, images, groups, each, size]: a part and a group have a mean and a variance, a group and one of its
// `each` channels a weight and a bias. The `rows` (images * size) of a channel of a part go in pieces. Channels count through
// all parts: part * channels + channel.

#define THREADS 256

typedef Pack<X, PACK> P;

// Of the sums of distances from a centre, and of their squares: the mean, and the squares' sum about it.
__device__ inline void to_moments(double centre, double n, double *a, double *b) {
    double plain = *a;
    *a = centre + plain / n;
    *b = max(*b - plain * plain / n, 0.0) + (*b - *b); // NaN stays.
}

// The sums of pieces, [channels, pieces, 2]: of their mean and squares; backwards, of `dy` and of `dy` times the distance from
// the mean.
#if !LAST
extern "C" __global__ void sums(const X *x, const X *dy, const A *means, double *to, i64 channels, i64 images, i64 each, i64 size,
                                i64 pieces, i64 length) {
    i64 channel = blockIdx.x / pieces, piece = blockIdx.x % pieces;
    i64 part = channel / channels, plane = part * images * channels + channel % channels;
    u32 rows = (u32)(images * size / PACK), run = (u32)(size / PACK);
    u32 start = (u32)(piece * length), end = min(start + (u32)length, rows);
    x += plane * size;
    dy += plane * size;
    i64 apart = channels * size;
#if BACK
    A centre = means[channel / each];
#else
    // The mean of the first elements: near enough to all for squares of distances from it not to cancel.
    u32 few = min(16u, (end - start) * PACK), i = min(threadIdx.x % 16, few - 1) + start * PACK;
    A centre = load(x + i / (u32)size * apart + i % (u32)size);
    centre = fold_lanes<FoldSum, 16>(threadIdx.x % 16 < few ? centre : (A)0) / (A)few;
#endif
    A plain = 0, along = 0;
#pragma unroll 4
    for (u32 p = start + threadIdx.x; p < end; p += THREADS) {
        u32 image = p / run;
        i64 at = image * apart + (i64)(p - image * run) * PACK;
        P v = *(const P *)(x + at);
#if BACK
        P d = *(const P *)(dy + at);
#endif
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            A distance = (A)load(&v.e[l]) - centre;
#if BACK
            A u = load(&d.e[l]);
#else
            A u = distance;
#endif
            plain += u;
            along += u * distance;
        }
    }
    double a = fold_threads<FoldSum, THREADS>((double)plain), b = fold_threads<FoldSum, THREADS>((double)along);
    if (threadIdx.x == 0) {
#if !BACK
        to_moments(centre, (double)(end - start) * PACK, &a, &b);
#endif
        to[blockIdx.x * 2ll] = a;
        to[blockIdx.x * 2ll + 1] = b;
    }
}
#else
// As above: `across` packs of channels (a power of two) by THREADS / across rows.
extern "C" __global__ void sums(const X *x, const X *dy, const A *means, double *to, i64 channels, i64 rows, i64 each, i64 pieces,
                                i64 length, i64 tiles, i64 across) {
    __shared__ A parts[2][THREADS * PACK];
    i64 block = blockIdx.x, tile = block % tiles, piece = block / tiles % pieces, part = block / tiles / pieces;
    int width = (int)across * PACK, down = THREADS / (int)across;
    int tx = threadIdx.x & ((int)across - 1), ty = threadIdx.x / (int)across;
    i64 left = tile * width, column = left + tx * PACK;
    i64 start = piece * length, end = min(start + length, rows);
    i64 from = part * rows * channels + column;
    A centre[PACK], plain[PACK], along[PACK];
#pragma unroll
    for (int l = 0; l < PACK; l++) centre[l] = plain[l] = along[l] = 0;
    if (column < channels) {
#if BACK
#pragma unroll
        for (int l = 0; l < PACK; l++) centre[l] = means[(part * channels + column + l) / each];
#else
        int few = (int)min(8ll, end - start);
        for (int r = 0; r < few; r++) {
            P v = *(const P *)(x + from + (start + r) * channels);
#pragma unroll
            for (int l = 0; l < PACK; l++) centre[l] += (A)load(&v.e[l]);
        }
#pragma unroll
        for (int l = 0; l < PACK; l++) centre[l] /= (A)few;
#endif
#pragma unroll 4
        for (i64 r = start + ty; r < end; r += down) {
            P v = *(const P *)(x + from + r * channels);
#if BACK
            P d = *(const P *)(dy + from + r * channels);
#endif
#pragma unroll
            for (int l = 0; l < PACK; l++) {
                A distance = (A)load(&v.e[l]) - centre[l];
#if BACK
                A u = load(&d.e[l]);
#else
                A u = distance;
#endif
                plain[l] += u;
                along[l] += u * distance;
            }
        }
    }
    __shared__ A centres[THREADS * PACK];
#pragma unroll
    for (int l = 0; l < PACK; l++) {
        parts[0][ty * width + tx * PACK + l] = plain[l];
        parts[1][ty * width + tx * PACK + l] = along[l];
        if (ty == 0) centres[tx * PACK + l] = centre[l];
    }
    __syncthreads();
    for (int c = threadIdx.x; c < width && left + c < channels; c += THREADS) {
        double a = 0, b = 0;
        for (int r = 0; r < down; r++) {
            a += (double)parts[0][r * width + c];
            b += (double)parts[1][r * width + c];
        }
#if !BACK
        to_moments(centres[c], (double)(end - start), &a, &b);
#endif
        i64 at = ((part * channels + left + c) * pieces + piece) * 2;
        to[at] = a;
        to[at + 1] = b;
    }
}
#endif

// How many elements, their mean, the sum of the squares of their distances from it.
struct Moments {
    double count, mean, squares;

    // Those of all elements of both (Chan, Golub and LeVeque 1979).
    __device__ inline void merge(double n, double m, double s) {
        if (n == 0) return;
        double all = count + n, delta = m - mean, share = n / all;
        mean = count == 0 ? m : mean + delta * share;
        squares += s + (count == 0 ? 0 : delta * delta * count * share);
        count = all;
    }
};

// A warp for each group: from the sums, mean and variance (written forwards, read backwards) and the coefficients `centre`, `a`,
// `b` and `k` of each channel: with d = x - centre the result is a d + b; backwards, a dy + (k d + b). Backwards also the
// gradients of weight and bias: of each part, [parts, 2, channels].
extern "C" __global__ void settle(const double *sums, const X *weight, const X *bias, A *means, A *variances, A *coefs,
                                  double *params, i64 groups, i64 channels, i64 each, i64 pieces, i64 rows, i64 length,
                                  i64 weight_step, i64 bias_step, double eps) {
    i64 group = (i64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (group >= groups) return; // Whole warps.
    int lane = threadIdx.x % 32;
    i64 first = group * each, all = groups * each;
    double count = (double)(rows * each);
#if BACK
    double mean = means[group], rstd = 1 / sqrt((double)variances[group] + eps), plain = 0, along = 0;
    for (i64 channel = first; channel < first + each; channel++) {
        double dbias = 0, dweight = 0;
        for (i64 piece = lane; piece < pieces; piece += 32) {
            dbias += sums[(channel * pieces + piece) * 2];
            dweight += sums[(channel * pieces + piece) * 2 + 1] * rstd;
        }
        dbias = fold_lanes<FoldSum, 32>(dbias);
        dweight = fold_lanes<FoldSum, 32>(dweight);
        i64 c = channel % channels;
        double w = load(weight + c * weight_step);
        plain += w * dbias;
        along += w * dweight;
        if (lane == 0) {
            params[channel / channels * 2 * channels + c] = dweight;
            params[channel / channels * 2 * channels + channels + c] = dbias;
        }
    }
    for (i64 channel = first + lane; channel < first + each; channel += 32) {
        double w = load(weight + channel % channels * weight_step);
        coefs[channel] = (A)mean;
        coefs[all + channel] = (A)(rstd * w);
        coefs[2 * all + channel] = (A)(-rstd * plain / count);
        coefs[3 * all + channel] = (A)(-rstd * rstd * along / count);
    }
#else
    Moments m = {0, 0, 0};
    for (i64 i = lane; i < each * pieces; i += 32) {
        i64 start = i % pieces * length;
        m.merge((double)min(length, rows - start), sums[(first * pieces + i) * 2], sums[(first * pieces + i) * 2 + 1]);
    }
#pragma unroll
    for (int half = 16; half > 0; half /= 2) {
        double n = __shfl_down_sync(0xffffffffu, m.count, half), mean = __shfl_down_sync(0xffffffffu, m.mean, half);
        double squares = __shfl_down_sync(0xffffffffu, m.squares, half);
        if (lane < half) m.merge(n, mean, squares);
    }
    double mean = __shfl_sync(0xffffffffu, m.mean, 0), variance = __shfl_sync(0xffffffffu, m.squares, 0) / count;
    if (count == 0) mean = NAN;
    double rstd = 1 / sqrt(variance + eps);
    A centre = (A)mean;
    if (lane == 0) {
        means[group] = centre;
        variances[group] = (A)variance;
    }
    for (i64 channel = first + lane; channel < first + each; channel += 32) {
        i64 c = channel % channels;
        double w = load(weight + c * weight_step), b = load(bias + c * bias_step);
        coefs[channel] = centre;
        coefs[all + channel] = (A)(rstd * w);
        // What rounding took from the mean.
        coefs[2 * all + channel] = (A)(b - (mean - (double)centre) * rstd * w);
    }
#endif
}

__device__ inline A result(A x, A dy, const A *coefs, i64 all, i64 channel) {
    A d = x - coefs[channel], a = coefs[all + channel], b = coefs[2 * all + channel];
#if BACK
    return dy * a + (d * coefs[3 * all + channel] + b);
#else
    return d * a + b;
#endif
}

// The result, element by element as they lie; `all` channels in all parts.
extern "C" __global__ void write(const X *x, const X *dy, X *y, const A *coefs, i64 n, i64 channels, i64 all, i64 images,
                                 i64 size) {
    i64 packs = n / PACK;
    for (i64 p = thread_index(); p < packs; p += thread_count()) {
        P v = ((const P *)x)[p], d = v;
#if BACK
        d = ((const P *)dy)[p];
#endif
        i64 i = p * PACK;
#if LAST
        // The channel, and how far from the next part.
        i64 row = i / channels, channel = i - row * channels, part = all == channels ? 0 : row / (images * size);
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            store(&v.e[l], result(load(&v.e[l]), load(&d.e[l]), coefs, all, part * channels + channel));
            if (++channel == channels) {
                channel = 0;
                row++;
                part = all == channels ? 0 : row / (images * size);
            }
        }
#else
        i64 plane = i / size, left = size - (i - plane * size), channel = plane % channels;
        i64 part = all == channels ? 0 : plane / (images * channels);
#pragma unroll
        for (int l = 0; l < PACK; l++) {
            store(&v.e[l], result(load(&v.e[l]), load(&d.e[l]), coefs, all, part * channels + channel));
            if (--left == 0) {
                left = size;
                plane++;
                if (++channel == channels) channel = 0;
                part = all == channels ? 0 : plane / (images * channels);
            }
        }
#endif
        ((P *)y)[p] = v;
    }
    for (i64 i = packs * PACK + thread_index(); i < n; i += thread_count()) {
#if LAST
        i64 row = i / channels, channel = i - row * channels, part = row / (images * size);
#else
        i64 plane = i / size, channel = plane % channels, part = plane / (images * channels);
#endif
        A slope = 0;
#if BACK
        slope = load(dy + i);
#endif
        store(y + i, result(load(x + i), slope, coefs, all, part * channels + channel));
    }
}
