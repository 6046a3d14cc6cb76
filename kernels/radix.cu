// Stable sorting of long lines of integer keys, eight bits at a time from the lowest. A pass counts the digits of each tile
// of a line, sums the counts up, and moves each key to its place. K is the key, ITEMS how many of a tile a thread has.

#define THREADS 256
#define TILE (THREADS * ITEMS)
#define DIGITS 256

__device__ inline u32 digit_of(K key, i64 shift) { return (u32)(key >> shift) & (DIGITS - 1); }

// How often each digit is in a tile: counts[line][digit][tile]. A block for each tile of each line.
extern "C" __global__ void radix_count(const K *keys, u32 *counts, i64 n, i64 tiles, i64 shift) {
    __shared__ u32 count[DIGITS];
    i64 line = blockIdx.x / tiles, tile = blockIdx.x - line * tiles;
    count[threadIdx.x] = 0;
    __syncthreads();
    const K *from = keys + line * n;
    i64 start = tile * TILE + threadIdx.x;
    K key[ITEMS];
    #pragma unroll
    for (int j = 0; j < ITEMS; j++) key[j] = start + j * THREADS < n ? from[start + j * THREADS] : (K)0;
    #pragma unroll
    for (int j = 0; j < ITEMS; j++)
        if (start + j * THREADS < n) atomicAdd(&count[digit_of(key[j], shift)], 1u);
    __syncthreads();
    counts[(line * DIGITS + threadIdx.x) * tiles + tile] = count[threadIdx.x];
}

// The sum of the threads' values in front of this one's; `sums` is as long as the block has warps, and `total` what all
// are together.
__device__ inline u32 sum_before(u32 v, u32 *sums, u32 &total) {
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, upto = v;
    for (u32 by = 1; by < 32; by *= 2) {
        u32 other = __shfl_up_sync(0xffffffffu, upto, by);
        if (lane >= by) upto += other;
    }
    if (lane == 31) sums[warp] = upto;
    __syncthreads();
    u32 before = 0;
    total = 0;
    for (u32 w = 0; w < THREADS / 32; w++) {
        if (w == warp) before = total;
        total += sums[w];
    }
    __syncthreads();
    return before + upto - v;
}

// The counts of a digit become sums over the tiles in front; a block for each digit of each line.
extern "C" __global__ void radix_sum(u32 *counts, u32 *totals, i64 tiles) {
    __shared__ u32 sums[THREADS / 32];
    u32 *of = counts + (i64)blockIdx.x * tiles, before = 0;
    for (i64 start = 0; start < tiles; start += THREADS) {
        i64 i = start + threadIdx.x;
        u32 v = i < tiles ? of[i] : 0, total;
        u32 sum = sum_before(v, sums, total);
        if (i < tiles) of[i] = before + sum;
        before += total;
    }
    if (threadIdx.x == 0) totals[blockIdx.x] = before;
}

// Moves keys and places (their own, where `places` is null) to where they belong. A warp takes a part of the tile, 32 keys
// at a time, in their order; what the tile sorts goes out through shared memory, so that equal digits are written together.
extern "C" __global__ void radix_move(const K *keys, const u32 *places, K *to_keys, u32 *to_places, const u32 *counts,
                                      const u32 *totals, i64 n, i64 tiles, i64 shift) {
    __shared__ u32 sums[THREADS / 32];
    __shared__ u32 begin[THREADS / 32][DIGITS];
    __shared__ u32 away[DIGITS];
    __shared__ K sorted[TILE];
    i64 line = blockIdx.x / tiles, tile = blockIdx.x - line * tiles;
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (u32 w = 0; w < THREADS / 32; w++) begin[w][threadIdx.x] = 0;
    keys += line * n;
    to_keys += line * n;
    to_places += line * n;
    u32 total;
    u32 first = sum_before(totals[line * DIGITS + threadIdx.x], sums, total);
    first += counts[(line * DIGITS + threadIdx.x) * tiles + tile];

    K key[ITEMS];
    u32 rank[ITEMS];
    i64 start = tile * TILE;
    i64 own = start + warp * (ITEMS * 32) + lane;
    #pragma unroll
    for (int j = 0; j < ITEMS; j++) key[j] = own + j * 32 < n ? keys[own + j * 32] : (K)0;
    #pragma unroll
    for (int j = 0; j < ITEMS; j++) {
        bool inside = own + j * 32 < n;
        u32 digit = inside ? digit_of(key[j], shift) : (u32)DIGITS;
        u32 same = __match_any_sync(0xffffffffu, digit);
        u32 ahead = (u32)__popc(same & ((1u << lane) - 1));
        u32 seen = inside ? begin[warp][digit] : 0;
        __syncwarp();
        if (inside && ahead == 0) begin[warp][digit] = seen + (u32)__popc(same);
        __syncwarp();
        rank[j] = seen + ahead;
    }
    __syncthreads();
    // Where each warp's keys of a digit begin in the tile, and how far they are from there in the line.
    u32 mine = 0;
    for (u32 w = 0; w < THREADS / 32; w++) mine += begin[w][threadIdx.x];
    u32 at = sum_before(mine, sums, total);
    away[threadIdx.x] = first - at;
    for (u32 w = 0; w < THREADS / 32; w++) {
        u32 count = begin[w][threadIdx.x];
        begin[w][threadIdx.x] = at;
        at += count;
    }
    __syncthreads();
    #pragma unroll
    for (int j = 0; j < ITEMS; j++) {
        if (own + j * 32 >= n) continue;
        rank[j] += begin[warp][digit_of(key[j], shift)];
        sorted[rank[j]] = key[j];
    }
    __syncthreads();
    u32 to[ITEMS];
    #pragma unroll
    for (int j = 0; j < ITEMS; j++) {
        u32 i = threadIdx.x + j * THREADS;
        if (i >= total) continue;
        K v = sorted[i];
        to[j] = i + away[digit_of(v, shift)];
        to_keys[to[j]] = v;
    }
    __syncthreads();
    #pragma unroll
    for (int j = 0; j < ITEMS; j++) {
        i64 i = own + j * 32;
        if (i < n) sorted[rank[j]] = (K)(places ? places[line * n + i] : (u32)i);
    }
    __syncthreads();
    #pragma unroll
    for (int j = 0; j < ITEMS; j++) {
        u32 i = threadIdx.x + j * THREADS;
        if (i < total) to_places[to[j]] = (u32)sorted[i];
    }
}
