// Convolutions as products of windows; twin of crates/cpu/src/conv. X is the element; halves are summed in f32. Operands
// lie channels last. The left factor, whose rows are the windows of pixels, is never in memory: tiles of it are read as
// they are multiplied.

typedef Acc<X>::type A;

#define THREADS 256
#define TILE 64
#define DEPTH 16
#define EACH 4 // rows and columns of a thread

// Where windows lie; pairs are (height, width). Tap t of pixel i is at i * step + base + t * shift.
struct Windows {
    i64 size[2];  // the plane that is read
    i64 out[2];   // pixels of the product
    i64 step[2], base[2], shift[2], taps[2];
    i64 channels; // of a pixel that is read
    i64 width;    // of them a group's
};

// Strides of n, c, h, w, and where pixel i of the product goes: to i * step + base.
struct Target { i64 n, c, h, w, step[2], base[2]; };

// A pixel of the product: its image and where its window begins.
struct Pixel {
    i64 image;
    int h, w;
    bool inside;
};

__device__ inline Pixel pixel_of(const Windows &v, i64 m, i64 count) {
    Pixel p;
    i64 row = m / v.out[1], j = m - row * v.out[1];
    p.image = row / v.out[0];
    p.h = (int)((row - p.image * v.out[0]) * v.step[0] + v.base[0]);
    p.w = (int)(j * v.step[1] + v.base[1]);
    p.inside = m < count;
    return p;
}

// A place in the list of taps and channels.
struct Tap {
    int r, s;
    i64 c;
};

__device__ inline void advance(Tap &t, const Windows &v, i64 by) {
    for (t.c += by; t.c >= v.width; t.c -= v.width) {
        if (++t.s == (int)v.taps[1]) {
            t.s = 0;
            t.r++;
        }
    }
}

// What a pixel sees at a tap: zero outside the plane.
__device__ inline A seen(const X *x, const Windows &v, const Pixel &p, const Tap &t) {
    i64 h = p.h + t.r * v.shift[0], w = p.w + t.s * v.shift[1];
    if (h < 0 || h >= v.size[0] || w < 0 || w >= v.size[1]) return (A)0;
    return load(x + ((p.image * v.size[0] + h) * v.size[1] + w) * v.channels + t.c);
}

// A tile's share of the sums, of rows `ty` and columns `tx` on.
__device__ inline void multiply(A (&sum)[EACH][EACH], const A (&left)[DEPTH][TILE + 4], const A (&right)[DEPTH][TILE + 4],
                                int ty, int tx) {
    for (int k = 0; k < DEPTH; k++) {
        A a[EACH], b[EACH];
        for (int i = 0; i < EACH; i++) a[i] = left[k][ty * EACH + i];
        for (int j = 0; j < EACH; j++) b[j] = right[k][tx * EACH + j];
        for (int i = 0; i < EACH; i++)
            for (int j = 0; j < EACH; j++) sum[i][j] += a[i] * b[j];
    }
}

// y = windows times weights [group][k][n]: `m` pixels, `n` channels of a group, `k` taps and channels.
extern "C" __global__ void conv_windows(const X *x, const X *weights, X *y, Windows v, Target to, i64 m, i64 n, i64 k) {
    __shared__ A left[DEPTH][TILE + 4], right[DEPTH][TILE + 4];
    const int thread = threadIdx.x, tx = thread % 16, ty = thread / 16;
    const i64 top = (i64)blockIdx.x * TILE, first = (i64)blockIdx.y * TILE, group = blockIdx.z;
    x += group * v.width;
    weights += group * k * n;
    Pixel pixel[EACH];
    for (int j = 0; j < EACH; j++) pixel[j] = pixel_of(v, top + ty + 16 * j, m);
    Tap tap = {0, 0, 0};
    if (tx < k) advance(tap, v, tx);
    A sum[EACH][EACH] = {};
    for (i64 start = 0; start < k; start += DEPTH) {
        bool inside = start + tx < k;
        for (int j = 0; j < EACH; j++)
            left[tx][ty + 16 * j] = inside && pixel[j].inside ? seen(x, v, pixel[j], tap) : (A)0;
        if (start + DEPTH + tx < k) advance(tap, v, DEPTH);
        for (int j = 0; j < EACH; j++) {
            int row = thread / TILE + j * (THREADS / TILE), column = thread % TILE;
            bool within = start + row < k && first + column < n;
            right[row][column] = within ? load(weights + (start + row) * n + first + column) : (A)0;
        }
        __syncthreads();
        multiply(sum, left, right, ty, tx);
        __syncthreads();
    }
    for (int i = 0; i < EACH; i++) {
        i64 at = top + ty * EACH + i;
        if (at >= m) continue;
        i64 row = at / v.out[1], j = at - row * v.out[1], image = row / v.out[0];
        i64 h = (row - image * v.out[0]) * to.step[0] + to.base[0], w = j * to.step[1] + to.base[1];
        X *target = y + image * to.n + h * to.h + w * to.w + group * n * to.c;
        for (int c = 0; c < EACH; c++) {
            i64 column = first + tx * EACH + c;
            if (column < n) store(target + column * to.c, sum[i][c]);
        }
    }
}

// Windows turned round times the pixels of dy [pixel][group][n], of a slice of `depth` pixels: partial [slice][group][m][n]
// with `m` taps and channels of a group.
extern "C" __global__ void conv_weights(const X *x, const X *dy, A *partial, Windows v, i64 groups, i64 m, i64 n, i64 pixels,
                                        i64 depth) {
    __shared__ A left[DEPTH][TILE + 4], right[DEPTH][TILE + 4];
    const int thread = threadIdx.x, tx = thread % 16, ty = thread / 16;
    const int column = thread % TILE, row = thread / TILE;
    const i64 top = (i64)blockIdx.x * TILE, first = (i64)blockIdx.y * TILE;
    const i64 slice = blockIdx.z / groups, group = blockIdx.z - slice * groups;
    const i64 begin = slice * depth, end = begin + depth < pixels ? begin + depth : pixels;
    x += group * v.width;
    Tap tap = {0, 0, 0};
    bool in_row = top + column < m, in_column = first + column < n;
    if (in_row) advance(tap, v, top + column);
    A sum[EACH][EACH] = {};
    for (i64 start = begin; start < end; start += DEPTH) {
        for (int j = 0; j < EACH; j++) {
            int k = row + j * (THREADS / TILE);
            i64 at = start + k;
            left[k][column] = in_row && at < end ? seen(x, v, pixel_of(v, at, end), tap) : (A)0;
            right[k][column] = in_column && at < end ? load(dy + (at * groups + group) * n + first + column) : (A)0;
        }
        __syncthreads();
        multiply(sum, left, right, ty, tx);
        __syncthreads();
    }
    A *to = partial + (i64)blockIdx.z * m * n;
    for (int i = 0; i < EACH; i++) {
        for (int c = 0; c < EACH; c++) {
            i64 r = top + ty * EACH + i, at = first + tx * EACH + c;
            if (r < m && at < n) to[r * n + at] = sum[i][c];
        }
    }
}

// dw = the sum of the slices, in their order; `total` sums there are in each.
extern "C" __global__ void conv_sum(const A *partial, X *dw, i64 slices, i64 total, i64 m, i64 n, i64 width, i64 taps,
                                    i64 k_step, i64 c_step, i64 r_step, i64 s_step) {
    for (i64 i = thread_index(); i < total; i += thread_count()) {
        A sum = (A)0;
        for (i64 s = 0; s < slices; s++) sum += partial[s * total + i];
        i64 row = i / n, k = i - row * n, group = row / m;
        row -= group * m;
        i64 tap = row / width, c = row - tap * width, r = tap / taps;
        store(dw + (group * n + k) * k_step + c * c_step + r * r_step + (tap - r * taps) * s_step, sum);
    }
}
