// Normalisation of channels, or of groups of them, and its gradient; twin of crates/cpu/src/norm. X is the element type, A what
// it computes in, PACK the elements of a load, BACK whether it is the gradient, LAST whether channels lie innermost. Where
// planes lie in one piece: LANES the threads of a plane, RAGGED whether planes begin or end within a pack.
//
// Elements are [parts, images, groups, each, size]: a part and a group have a mean and a variance, a group and one of its
// `each` channels a weight and a bias. The `rows` (images * size) of a channel of a part go in pieces. Channels count through
// all parts: part * channels + channel.

#define THREADS 256

typedef Pack<X, PACK> P;

// Writes the sums of a piece of `count` elements: what they are about, the sum of distances from the centre and that of
// their squares becoming the mean and the squares' sum about it; backwards, the sums of `dy` and of `dy` times the distance from
// the mean.
__device__ inline void finish(double *to, i64 piece, double centre, double count, double plain, double along) {
#if !BACK
    double rest = along - plain * plain / count;
    plain = centre + plain / count;
    along = rest < 0 ? 0 : rest; // NaN stays.
#endif
    to[piece * 3] = plain;
    to[piece * 3 + 1] = along;
    to[piece * 3 + 2] = count;
}

#if !LAST
typedef Packs<X, PACK, RAGGED> Plane;

// Each plane goes in `cuts` of `cut` elements; a piece has `length` of the cuts of a channel's planes, and teams of LANES
// threads sum one after the other.
extern "C" __global__ void __launch_bounds__(THREADS, 4) sums(const X *x, const X *dy, const A *means, double *to, i64 channels,
                                                              i64 images, i64 each, i64 size, i64 cuts, i64 cut, i64 pieces,
                                                              i64 length) {
    i64 channel = blockIdx.x / pieces, piece = blockIdx.x % pieces;
    i64 part = channel / channels, plane = part * images * channels + channel % channels;
    i64 start = piece * length, end = min(start + length, images * cuts), apart = channels * size;
    x += plane * size;
    dy += plane * size;
#if BACK
    A centre = means[channel / each];
#else
    // The mean of the first elements: near enough to all for squares of distances from it not to cancel.
    i64 first = start / cuts * apart + start % cuts * cut;
    int few = (int)min(min(16ll, cut), size - start % cuts * cut), i = threadIdx.x % 16;
    A centre = fold_lanes<FoldSum, 16>(i < few ? (A)load(x + first + i) : (A)0) / (A)few;
#endif
    A plain = 0, along = 0;
    for (i64 item = start + threadIdx.x / LANES; item < end; item += THREADS / LANES) {
        u32 image = (u32)item / (u32)cuts, left = ((u32)item - image * (u32)cuts) * (u32)cut;
        i64 at = image * apart + left, n = min(cut, size - left);
        Plane of_x(x + at, n);
#if BACK
        Plane of_dy(dy + at, n);
#endif
#pragma unroll 4
        for (int pack = threadIdx.x % LANES; pack < of_x.count; pack += LANES) {
            P v = of_x.get(pack, Rounded<X>::of(0));
#if BACK
            P d = of_dy.get(pack, Rounded<X>::of(0));
#endif
#pragma unroll
            for (int l = 0; l < PACK; l++) {
                A distance = (A)load(&v.e[l]) - centre;
#if BACK
                A u = load(&d.e[l]);
#else
                if (!of_x.has(pack, l)) distance = 0;
                A u = distance;
#endif
                plain += u;
                along += u * distance;
            }
        }
    }
    double a = fold_threads<FoldSum, THREADS>((double)plain), b = fold_threads<FoldSum, THREADS>((double)along);
    double count = (double)((end - start) * cut - (end / cuts - start / cuts) * (cuts * cut - size));
    if (threadIdx.x == 0) finish(to, blockIdx.x, centre, count, a, b);
}
#else
// A block sums `across` packs of channels (a power of two) by THREADS / across rows.
extern "C" __global__ void __launch_bounds__(THREADS, 3) sums(const X *x, const X *dy, const A *means, double *to, i64 channels,
                                                              i64 rows, i64 each, i64 pieces, i64 length, i64 tiles,
                                                              i64 across) {
    __shared__ A parts[2][THREADS * PACK], centres[THREADS * PACK];
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
        finish(to, (part * channels + left + c) * pieces + piece, centres[c], (double)(end - start), a, b);
    }
}
#endif

// A warp for each group: from the sums, mean and variance (written forwards, read backwards) and the coefficients `centre`, `a`,
// `b` and `k` of each channel: with d = x - centre the result is a d + b; backwards, a dy + (k d + b). Backwards also the
// gradients of weight and bias: of each part, [parts, 2, channels].
extern "C" __global__ void settle(const double *sums, const X *weight, const X *bias, A *means, A *variances, A *coefs,
                                  double *params, i64 groups, i64 channels, i64 each, i64 pieces, i64 rows, i64 weight_step,
                                  i64 bias_step, double eps) {
    i64 group = (i64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (group >= groups) return; // Whole warps.
    int lane = threadIdx.x % 32;
    i64 first = group * each, all = groups * each;
    double count = (double)(rows * each);
#if BACK
    double mean = means[group], rstd = 1 / sqrt((double)variances[group] + eps), plain = 0, along = 0;
    for (i64 channel = first; channel < first + each; channel++) {
        double dbias = 0, dweight = 0;
#pragma unroll 4
        for (i64 piece = lane; piece < pieces; piece += 32) {
            dbias += sums[(channel * pieces + piece) * 3];
            dweight += sums[(channel * pieces + piece) * 3 + 1] * rstd;
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
    // All about the mean of the first piece.
    double about = count > 0 ? sums[first * pieces * 3] : NAN, plain = 0, squares = 0;
#pragma unroll 4
    for (i64 i = first * pieces + lane; i < (first + each) * pieces; i += 32) {
        double d = sums[i * 3] - about, n = sums[i * 3 + 2];
        plain += n * d;
        squares += sums[i * 3 + 1] + n * d * d;
    }
    plain = fold_lanes<FoldSum, 32>(plain) / count;
    squares = fold_lanes<FoldSum, 32>(squares) / count;
    double mean = about + plain, variance = squares - plain * plain;
    if (variance < 0) variance = 0;
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

// What the elements of a channel become.
struct Coefs {
    A centre, a, b, k;
    __device__ inline void read(const A *coefs, i64 all, i64 channel) {
        centre = coefs[channel];
        a = coefs[all + channel];
        b = coefs[2 * all + channel];
        k = BACK ? coefs[3 * all + channel] : (A)0;
    }
    __device__ inline A of(A x, A dy) const {
        A d = x - centre;
        return BACK ? dy * a + (d * k + b) : d * a + b;
    }
};

#if !LAST
// A team for each cut of a plane.
extern "C" __global__ void __launch_bounds__(THREADS, 3) write(const X *x, const X *dy, X *y, const A *coefs, i64 planes,
                                                               i64 channels, i64 all, i64 images, i64 size, i64 cuts,
                                                               i64 cut) {
    i64 item = (i64)blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES;
    if (item >= planes * cuts) return;
    u32 plane = (u32)(cuts > 1 ? item / cuts : item), image = plane / (u32)channels;
    i64 left = (item - plane * cuts) * cut, at = plane * size + left, n = min(cut, size - left);
    i64 part = all == channels ? 0 : image / images;
    Coefs c;
    c.read(coefs, all, part * channels + (plane - image * (u32)channels));
    Plane of_x(x + at, n), of_dy(dy + at, n), to(y + at, n);
#pragma unroll 4
    for (int pack = threadIdx.x % LANES; pack < of_x.count; pack += LANES) {
        P v = of_x.get(pack, Rounded<X>::of(0)), d = v;
#if BACK
        d = of_dy.get(pack, Rounded<X>::of(0));
#endif
#pragma unroll
        for (int l = 0; l < PACK; l++) store(&v.e[l], c.of(load(&v.e[l]), load(&d.e[l])));
        to.put(pack, v);
    }
}
#else
// A block writes `across` packs of channels (a power of two) by THREADS / across rows, of a piece of `length` rows.
extern "C" __global__ void write(const X *__restrict__ x, const X *__restrict__ dy, X *__restrict__ y, const A *coefs,
                                 i64 channels, i64 all, i64 rows, i64 pieces, i64 length, i64 tiles, i64 across) {
    i64 block = blockIdx.x, tile = block % tiles, piece = block / tiles % pieces, part = block / tiles / pieces;
    int down = THREADS / (int)across, tx = threadIdx.x & ((int)across - 1), ty = threadIdx.x / (int)across;
    i64 column = (tile * across + tx) * PACK, end = min((piece + 1) * length, rows);
    if (column >= channels) return;
    Coefs c[PACK];
#pragma unroll
    for (int l = 0; l < PACK; l++) c[l].read(coefs, all, part * channels + column + l);
    i64 from = part * rows * channels + column;
#pragma unroll 4
    for (i64 r = piece * length + ty; r < end; r += down) {
        i64 at = from + r * channels;
        P v = *(const P *)(x + at), d = v;
#if BACK
        d = *(const P *)(dy + at);
#endif
#pragma unroll
        for (int l = 0; l < PACK; l++) store(&v.e[l], c[l].of(load(&v.e[l]), load(&d.e[l])));
        *(P *)(y + at) = v;
    }
}
#endif
