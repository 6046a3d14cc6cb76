// Stable sorting of long lines of integer keys, eight bits at a time from the lowest. A pass counts the digits of each tile
// of a line, sums the counts up, and moves each key to its place. K is the key.

#define THREADS 256
#define ITEMS 16
#define TILE (THREADS * ITEMS)
#define DIGITS 256

__device__ inline u32 digit_of(K key, i64 shift) { return (u32)(key >> shift) & (DIGITS - 1); }

// How often each digit is in a tile: counts[line][digit][tile]. A block for each tile of each line.
extern "C" __global__ void radix_count(const K *keys, u32 *counts, i64 n, i64 tiles, i64 shift) {
    __shared__ u32 count[DIGITS];
    i64 line = blockIdx.x / tiles, tile = blockIdx.x - line * tiles;
    count[threadIdx.x] = 0;
    __syncthreads();
    i64 start = tile * TILE, end = start + TILE < n ? start + TILE : n;
    for (i64 i = start + threadIdx.x; i < end; i += THREADS) atomicAdd(&count[digit_of(keys[line * n + i], shift)], 1u);
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
// at a time, in their order.
extern "C" __global__ void radix_move(const K *keys, const u32 *places, K *to_keys, u32 *to_places, const u32 *counts,
                                      const u32 *totals, i64 n, i64 tiles, i64 shift) {
    __shared__ u32 sums[THREADS / 32];
    __shared__ u32 begin[THREADS / 32][DIGITS];
    i64 line = blockIdx.x / tiles, tile = blockIdx.x - line * tiles;
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (u32 w = 0; w < THREADS / 32; w++) begin[w][threadIdx.x] = 0;
    u32 total;
    u32 first = sum_before(totals[line * DIGITS + threadIdx.x], sums, total);
    first += counts[(line * DIGITS + threadIdx.x) * tiles + tile];

    K key[ITEMS];
    u32 rank[ITEMS];
    i64 start = tile * TILE + warp * (ITEMS * 32) + lane;
    for (int j = 0; j < ITEMS; j++) {
        i64 i = start + j * 32;
        bool inside = i < n;
        key[j] = inside ? keys[line * n + i] : (K)0;
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
    for (u32 w = 0; w < THREADS / 32; w++) {
        u32 count = begin[w][threadIdx.x];
        begin[w][threadIdx.x] = first;
        first += count;
    }
    __syncthreads();
    for (int j = 0; j < ITEMS; j++) {
        i64 i = start + j * 32;
        if (i >= n) continue;
        i64 to = line * n + begin[warp][digit_of(key[j], shift)] + rank[j];
        to_keys[to] = key[j];
        to_places[to] = places ? places[line * n + i] : (u32)i;
    }
}
