// Convolutions as products of windows; twin of crates/cpu/src/conv. X is the element; halves are summed in f32. Operands
// lie channels last. The left factor, whose rows are the windows of pixels, is never in memory: tiles of it are read while
// the tile before is multiplied. Tiles have 16 ROWS rows and 64 columns; VEC elements are read at once. PASS says which
// kernels are compiled.

#define WINDOWS 0
#define WEIGHTS 1
#define COLUMNS 2

typedef Acc<X>::type A;

#define THREADS 256
#define DEPTH 16
#define QUADS (ROWS / 4) // of rows that a thread has
#define HIGH (16 * ROWS)
#define WIDE 64

typedef Pack<A, 4> Four;
typedef Pack<X, VEC> Read;

// What is multiplied next; a row of each factor after the other, with a gap so that columns spread over the banks.
struct alignas(32) Tiles {
    A left[DEPTH][HIGH + 4], right[DEPTH][WIDE + 4];
};

// Where windows lie; pairs are (height, width). Tap t of pixel i is at i * step + base + t * shift.
struct Windows {
    i32 size[2];  // the plane that is read
    i32 out[2];   // pixels of the product
    i32 step[2], base[2], shift[2], taps[2];
    i32 channels; // of a pixel that is read
    i32 width;    // of them a group's
};

// Strides of n, c, h, w, and where pixel i of the product goes: to i * step + base.
struct Target { i64 n, c, h, w, step[2], base[2]; };

// A pixel of the product.
struct Pixel {
    i64 image;
    i32 i, j;
};

__device__ inline Pixel pixel_of(const Windows &v, i64 m) {
    i64 row = m / v.out[1], image = row / v.out[0];
    return {image, (i32)(row - image * v.out[0]), (i32)(m - row * v.out[1])};
}

// Where a pixel's window begins, in the plane and in memory.
struct Window {
    const X *from;
    i32 h, w;
};

__device__ inline Window window_of(const X *x, const Windows &v, const Pixel &p) {
    i32 h = p.i * v.step[0] + v.base[0], w = p.j * v.step[1] + v.base[1];
    return {x + ((p.image * v.size[0] + h) * v.size[1] + w) * v.channels, h, w};
}

// A place in the list of taps and channels.
struct Tap { i32 r, s, c; };

__device__ inline void advance(Tap &t, const Windows &v, i32 by) {
    for (t.c += by; t.c >= v.width; t.c -= v.width) {
        if (++t.s == v.taps[1]) {
            t.s = 0;
            t.r++;
        }
    }
}

// What a window sees at a tap, from its channel on: zeros outside the plane.
__device__ inline void see(A *to, const Windows &v, const Window &window, const Tap &t, bool wanted) {
    i32 down = t.r * v.shift[0], across = t.s * v.shift[1], h = window.h + down, w = window.w + across;
    if (wanted && h >= 0 && h < v.size[0] && w >= 0 && w < v.size[1]) {
        Read read = *(const Read *)(window.from + ((i64)down * v.size[1] + across) * v.channels + t.c);
        for (int l = 0; l < VEC; l++) to[l] = value_of<X>(read.e[l]);
    } else {
        for (int l = 0; l < VEC; l++) to[l] = (A)0;
    }
}

__device__ inline void take(A *to, const X *from, bool wanted) {
    if (wanted) {
        Read read = *(const Read *)from;
        for (int l = 0; l < VEC; l++) to[l] = value_of<X>(read.e[l]);
    } else {
        for (int l = 0; l < VEC; l++) to[l] = (A)0;
    }
}

// The sums of a thread: of rows 64 q + 4 ty + i and columns 4 tx + j.
struct Sums { A at[ROWS][4]; };

__device__ inline void multiply(Sums &sum, const Tiles &tiles, int ty, int tx) {
    #pragma unroll
    for (int k = 0; k < DEPTH; k++) {
        Four b = *(const Four *)&tiles.right[k][tx * 4];
        #pragma unroll
        for (int q = 0; q < QUADS; q++) {
            Four a = *(const Four *)&tiles.left[k][q * 64 + ty * 4];
            #pragma unroll
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++) sum.at[q * 4 + i][j] += a.e[i] * b.e[j];
        }
    }
}

#if PASS == WINDOWS

// y = windows times weights [group][k][n]: `m` pixels, `n` channels of a group, `k` taps and channels. Where there are
// `parts` of k, of `depth` each, their sums go to partial [part][pixel][group][n] instead.
extern "C" __global__ void conv_windows(const X *x, const X *weights, X *y, A *partial, Windows v, Target to, i64 m, i64 n,
                                        i64 k, i64 depth, i64 groups) {
    __shared__ Tiles tiles[2];
    const int thread = threadIdx.x, tx = thread % 16, ty = thread / 16;
    const i64 top = (i64)blockIdx.x * HIGH, first = (i64)blockIdx.y * WIDE;
    const i64 part = blockIdx.z / groups, group = blockIdx.z - part * groups;
    const i32 begin = (i32)(part * depth), end = (i32)(begin + depth < k ? begin + depth : k);
    // A thread reads VEC elements of rows of the left tile, and of rows of the right one.
    const int left_k = thread % (DEPTH / VEC) * VEC, left_row = thread / (DEPTH / VEC);
    const int left_step = THREADS / (DEPTH / VEC), lefts = HIGH / left_step;
    const int right_column = thread % (WIDE / VEC) * VEC, right_row = thread / (WIDE / VEC);
    const int right_step = THREADS / (WIDE / VEC), rights = DEPTH / right_step;

    Window window[lefts];
    bool inside[lefts];
    for (int q = 0; q < lefts; q++) {
        i64 at = top + left_row + q * left_step;
        inside[q] = at < m;
        window[q] = window_of(x + group * v.width, v, pixel_of(v, inside[q] ? at : 0));
    }
    Tap tap = {0, 0, 0};
    if (begin < end) advance(tap, v, begin + left_k);
    const bool in_columns = first + right_column < n;
    const X *from = weights + (group * k + begin + right_row) * n + first + right_column;

    A left[lefts][VEC], right[rights][VEC];
    Sums sum = {};
    for (i32 start = begin, turn = 0; start < end + DEPTH; start += DEPTH, turn ^= 1) {
        bool more = start < end;
        if (more) {
            #pragma unroll
            for (int q = 0; q < lefts; q++) see(left[q], v, window[q], tap, inside[q] && start + left_k < end);
            #pragma unroll
            for (int q = 0; q < rights; q++)
                take(right[q], from + (i64)q * right_step * n, in_columns && start + right_row + q * right_step < end);
            advance(tap, v, DEPTH);
            from += DEPTH * n;
        }
        if (start > begin) multiply(sum, tiles[turn ^ 1], ty, tx);
        if (!more) break;
        #pragma unroll
        for (int q = 0; q < lefts; q++)
            for (int l = 0; l < VEC; l++) tiles[turn].left[left_k + l][left_row + q * left_step] = left[q][l];
        #pragma unroll
        for (int q = 0; q < rights; q++)
            for (int l = 0; l < VEC; l++) tiles[turn].right[right_row + q * right_step][right_column + l] = right[q][l];
        __syncthreads();
    }

    #pragma unroll
    for (int r = 0; r < ROWS; r++) {
        i64 at = top + r / 4 * 64 + ty * 4 + r % 4, column = first + tx * 4;
        if (at >= m) continue;
        if (partial) {
            A *row = partial + ((part * m + at) * groups + group) * n;
            for (int c = 0; c < 4; c++)
                if (column + c < n) row[column + c] = sum.at[r][c];
            continue;
        }
        Pixel p = pixel_of(v, at);
        i64 h = p.i * to.step[0] + to.base[0], w = p.j * to.step[1] + to.base[1];
        X *row = y + p.image * to.n + h * to.h + w * to.w + (group * n + column) * to.c;
        if (VEC == 4 && to.c == 1) {
            Pack<X, 4> out;
            for (int c = 0; c < 4; c++) out.e[c] = Rounded<X>::of(sum.at[r][c]);
            if (column < n) *(Pack<X, 4> *)row = out;
        } else {
            for (int c = 0; c < 4; c++)
                if (column + c < n) store(row + c * to.c, sum.at[r][c]);
        }
    }
}

// y = the sum of the parts, in their order; `m` pixels of `channels`.
extern "C" __global__ void conv_join(const A *partial, X *y, Windows v, Target to, i64 parts, i64 m, i64 channels) {
    const i64 total = m * channels;
    for (i64 i = thread_index(); i < total; i += thread_count()) {
        A sum = (A)0;
        for (i64 p = 0; p < parts; p++) sum += partial[p * total + i];
        i64 at = i / channels;
        Pixel p = pixel_of(v, at);
        i64 h = p.i * to.step[0] + to.base[0], w = p.j * to.step[1] + to.base[1];
        store(y + p.image * to.n + h * to.h + w * to.w + (i - at * channels) * to.c, sum);
    }
}

#elif PASS == WEIGHTS

// Windows turned round times the pixels of dy [pixel][group][n], of a slice of `depth` pixels: partial [slice][group][m][n]
// with `m` taps and channels of a group.
extern "C" __global__ void conv_weights(const X *x, const X *dy, A *partial, Windows v, i64 groups, i64 m, i64 n, i64 pixels,
                                        i64 depth) {
    __shared__ Tiles tiles[2];
    const int thread = threadIdx.x, tx = thread % 16, ty = thread / 16;
    const int column = thread % (WIDE / VEC) * VEC, row = thread / (WIDE / VEC);
    const int row_step = THREADS / (WIDE / VEC), rows = DEPTH / row_step, lefts = HIGH / WIDE;
    const i64 top = (i64)blockIdx.x * HIGH, first = (i64)blockIdx.y * WIDE;
    const i64 slice = blockIdx.z / groups, group = blockIdx.z - slice * groups;
    const i64 begin = slice * depth, end = begin + depth < pixels ? begin + depth : pixels;
    x += group * v.width;
    Tap tap[lefts];
    bool in_rows[lefts];
    for (int q = 0; q < lefts; q++) {
        tap[q] = {0, 0, 0};
        in_rows[q] = top + q * WIDE + column < m;
        if (in_rows[q]) advance(tap[q], v, (i32)(top + q * WIDE + column));
    }
    const bool in_columns = first + column < n;
    Pixel pixel[rows];
    for (int r = 0; r < rows; r++) pixel[r] = pixel_of(v, begin + row + r * row_step);

    A left[rows][lefts][VEC], right[rows][VEC];
    Sums sum = {};
    int turn = 0;
    for (i64 start = begin; start < end + DEPTH; start += DEPTH, turn ^= 1) {
        bool more = start < end;
        if (more) {
            #pragma unroll
            for (int r = 0; r < rows; r++) {
                i64 at = start + row + r * row_step;
                Window window = window_of(x, v, pixel[r]);
                #pragma unroll
                for (int q = 0; q < lefts; q++) see(left[r][q], v, window, tap[q], in_rows[q] && at < end);
                take(right[r], dy + (at * groups + group) * n + first + column, in_columns && at < end);
                for (pixel[r].j += DEPTH; pixel[r].j >= v.out[1]; pixel[r].j -= v.out[1]) {
                    if (++pixel[r].i == v.out[0]) {
                        pixel[r].i = 0;
                        pixel[r].image++;
                    }
                }
            }
        }
        if (start > begin) multiply(sum, tiles[turn ^ 1], ty, tx);
        if (!more) break;
        #pragma unroll
        for (int r = 0; r < rows; r++) {
            int k = row + r * row_step;
            for (int l = 0; l < VEC; l++) {
                #pragma unroll
                for (int q = 0; q < lefts; q++) tiles[turn].left[k][q * WIDE + column + l] = left[r][q][l];
                tiles[turn].right[k][column + l] = right[r][l];
            }
        }
        __syncthreads();
    }

    A *to = partial + (i64)blockIdx.z * m * n;
    for (int r = 0; r < ROWS; r++) {
        i64 at = top + r / 4 * 64 + ty * 4 + r % 4;
        for (int c = 0; c < 4; c++) {
            i64 k = first + tx * 4 + c;
            if (at < m && k < n) to[at * n + k] = sum.at[r][c];
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

#elif PASS == COLUMNS

// The windows of pixels as they are, a row each: `n` reads of all.
extern "C" __global__ void conv_columns(const X *x, X *y, Windows v, i64 n) {
    const u32 width = v.width / VEC, row = v.taps[0] * v.taps[1] * width, down = v.out[0], across = v.out[1];
    for (u32 i = (u32)thread_index(); i < (u32)n; i += (u32)thread_count()) {
        u32 pixel = i / row, rest = i - pixel * row, tap = rest / width, r = tap / v.taps[1];
        u32 line = pixel / across, image = line / down;
        i32 h = (i32)(line - image * down) * v.step[0] + v.base[0] + (i32)r * v.shift[0];
        i32 w = (i32)(pixel - line * across) * v.step[1] + v.base[1] + (i32)(tap - r * v.taps[1]) * v.shift[1];
        Read read = {};
        if (h >= 0 && h < v.size[0] && w >= 0 && w < v.size[1]) {
            i64 at = (((i64)image * v.size[0] + h) * v.size[1] + w) * v.channels + (rest - tap * width) * VEC;
            read = *(const Read *)(x + at);
        }
        ((Read *)y)[i] = read;
    }
}

#endif
