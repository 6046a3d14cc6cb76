// Positions sorted by the row that an index names, so that every row finds its own in rising order.

// Indices as keys; what is out of range goes behind all rows.
extern "C" __global__ void index_keys(const i64 *index, u32 *keys, i64 n, i64 size, Fault *fault) {
    for (i64 i = thread_index(); i < n; i += thread_count()) {
        i64 row = index[i];
        bool inside = row >= 0 && row < size;
        if (!inside) report(fault, FAULT_INDEX, row, size, i);
        keys[i] = (u32)(inside ? row : size);
    }
}

#define MOST 2048

// As many positions as one block sorts: `n` of at most MOST, padded to `width`, a power of two.
extern "C" __global__ void sort_few(const i64 *index, u32 *keys, u32 *places, i64 n, i64 width, i64 size, Fault *fault) {
    __shared__ u64 line[MOST];
    for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
        u64 key = 0xffffffffull;
        if (i < n) {
            i64 row = index[i];
            bool inside = row >= 0 && row < size;
            if (!inside) report(fault, FAULT_INDEX, row, size, i);
            key = (u64)(inside ? row : size);
        }
        line[i] = key << 32 | i;
    }
    for (u32 run = 2; run <= width; run *= 2) {
        for (u32 step = run / 2; step > 0; step /= 2) {
            __syncthreads();
            for (u32 t = threadIdx.x; t < width / 2; t += blockDim.x) {
                u32 a = 2 * t - (t & (step - 1)), b = a + step;
                u64 low = line[a], high = line[b];
                if ((low > high) == ((a & run) == 0)) {
                    line[a] = high;
                    line[b] = low;
                }
            }
        }
    }
    __syncthreads();
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) {
        keys[i] = (u32)(line[i] >> 32);
        places[i] = (u32)line[i];
    }
}

// Where the positions of each row begin among the `n` sorted ones, and where the last one's end.
extern "C" __global__ void bucket_starts(const u32 *keys, u32 *starts, i64 n, i64 size) {
    for (i64 row = thread_index(); row <= size; row += thread_count()) {
        u32 low = 0, high = (u32)n;
        while (low < high) {
            u32 middle = low + (high - low) / 2;
            if (keys[middle] < (u32)row) low = middle + 1;
            else high = middle;
        }
        starts[row] = low;
    }
}
