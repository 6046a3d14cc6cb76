use super::*;

/// The texts of these tests, some of them wrong, are nobody else's concern.
fn open() -> Emulated {
    let mut gpu = Emulated::open().unwrap();
    gpu.compiler.texts = None;
    gpu
}

fn text(source: &str) -> Text {
    Text { name: "a test".to_owned(), source: source.to_owned(), entry: "k", fuse: false }
}

/// What `source` makes of `n` words that count up, with `threads` in each of `blocks` blocks.
fn run(source: &str, blocks: usize, threads: u32, shared: u32, n: usize) -> Result<Vec<u32>> {
    let gpu = open();
    run_on(&gpu, source, Grid { shared, ..Grid::new(blocks, threads) }, n)
}

fn run_on(gpu: &Emulated, source: &str, grid: Grid, n: usize) -> Result<Vec<u32>> {
    let kernel = gpu.build(&text(source))?;
    let at = gpu.alloc(n * 4)?;
    let mut values: Vec<u32> = (0..n as u32).collect();
    gpu.upload(bytemuck::cast_slice(&values), at)?;
    let result = gpu.launch(kernel, grid, &[bytemuck::bytes_of(&at), bytemuck::bytes_of(&(n as i32))]);
    gpu.download(at, bytemuck::cast_slice_mut(&mut values))?;
    gpu.free(at);
    result.map(|()| values)
}

fn reason(result: Result<Vec<u32>>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn threads_know_their_place() {
    let source = "extern \"C\" __global__ void k(unsigned *x, int n) {
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) x[i] = i % blockDim.x;
    }";
    let wanted: Vec<u32> = (0..1000).map(|i| i % 96).collect();
    assert_eq!(run(source, 3, 96, 0, 1000).unwrap(), wanted);
}

#[test]
fn blocks_wait_for_all_of_their_threads() {
    // Each thread reads what the one at the other end wrote, over and over; a thread waits at a different time each turn.
    let source = "extern \"C\" __global__ void k(unsigned *x, int n) {
        __shared__ unsigned s[128];
        unsigned v = x[blockIdx.x * 128 + threadIdx.x];
        for (int turn = 0; turn < 5; turn++) {
            s[threadIdx.x] = v + turn;
            __syncthreads();
            v = s[127 - threadIdx.x];
            __syncthreads();
        }
        x[blockIdx.x * 128 + threadIdx.x] = v;
    }";
    let wanted: Vec<u32> = (0..384).map(|i| i / 128 * 128 + 127 - i % 128 + 10).collect();
    assert_eq!(run(source, 3, 128, 0, 384).unwrap(), wanted);
}

#[test]
fn lanes_exchange_values() {
    let source = "extern \"C\" __global__ void k(unsigned *x, int n) {
        unsigned t = threadIdx.x, all = 0xffffffffu;
        double sum = x[t];
        for (int m = 16; m > 0; m /= 2) sum += __shfl_xor_sync(all, sum, m);
        unsigned up = __shfl_up_sync(all, x[t], 1), down = __shfl_down_sync(all, x[t], 3), half = __shfl_sync(all, x[t], 5, 16);
        unsigned odd = __popc(__ballot_sync(all, t % 2)), same = __match_any_sync(all, t / 8 % 2);
        bool fine = up == (t % 32 ? t - 1 : t) && down == (t % 32 < 29 ? t + 3 : t) && half == t / 16 * 16 + 5 && odd == 16
            && same == (t / 8 % 2 ? 0xff00ff00u : 0x00ff00ffu) && __all_sync(all, t < 64) && !__any_sync(all, t > 63);
        __syncthreads();
        x[t] = fine ? (unsigned)sum : 0;
    }";
    let wanted: Vec<u32> = (0..64).map(|t| if t < 32 { 496 } else { 496 + 1024 }).collect();
    assert_eq!(run(source, 1, 64, 0, 64).unwrap(), wanted);
}

#[test]
fn shared_memory_of_any_size_is_there() {
    let source = "extern \"C\" __global__ void k(unsigned *x, int n) {
        extern __shared__ unsigned s[];
        s[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        x[threadIdx.x] = s[n - 1 - threadIdx.x];
    }";
    assert_eq!(run(source, 1, 64, 256, 64).unwrap(), (0..64).rev().collect::<Vec<_>>());
    assert!(reason(run(source, 1, 64, 1 << 20, 64)).contains("1048576 bytes of shared memory"));
}

#[test]
fn what_would_hang_is_an_error() {
    let kernel = |body: &str| format!("extern \"C\" __global__ void k(unsigned *x, int n) {{ {body} }}");
    let gpu = open();
    let grid = Grid::new(2, 64);
    let fails = |body: &str| reason(run_on(&gpu, &kernel(body), grid, 128));
    assert!(fails("if (threadIdx.x < 40) __syncthreads();").contains("threads ended while others wait"));
    assert!(fails("if (threadIdx.x >= 40) __syncthreads();").contains("threads ended while others wait"));
    assert!(
        fails("if (threadIdx.x < 5) __syncwarp(); else __syncthreads();").contains("warp and others for the block")
    );
    assert!(fails("if (threadIdx.x < 32) __syncthreads();\nelse __syncthreads();").contains("different lines"));
    assert!(fails("x[n] = __shfl_xor_sync(0xffffu, x[0], 1);").contains("lanes are missing"));
    assert!(reason(run_on(&gpu, &kernel("__syncwarp();"), Grid::new(1, 48), 64)).contains("fewer than 32"));
    assert!(reason(run_on(&gpu, &kernel(""), Grid::new(1, 2000), 64)).contains("1 to 1024 threads"));
    // It goes on with the next kernel.
    assert_eq!(run_on(&gpu, &kernel("__syncthreads(); x[threadIdx.x] = 7;"), grid, 64).unwrap(), [7; 64]);
}

#[test]
fn a_kernel_that_leaves_its_memory_is_found_out() {
    let kernel = |body: &str| format!("extern \"C\" __global__ void k(unsigned *x, int n) {{ {body} }}");
    let gpu = open();
    let fails = |body: &str, n| reason(run_on(&gpu, &kernel(body), Grid::new(2, 32), n));
    assert!(
        fails("x[threadIdx.x + blockIdx.x * 32] = 1;", 60)
            .contains("which is not its memory (in or before thread 28 of block 1")
    );
    assert!(fails("if (threadIdx.x == 9) x[n] = x[-3000];", 20).contains("which is not its memory"));
    assert!(fails("x[0] = 7 / (n - 16);", 16).contains("divided by zero"));
    assert!(fails("__syncthreads(); x[threadIdx.x + blockIdx.x * 32] = 1;", 60).contains("which is not its memory"));
    assert_eq!(run_on(&gpu, &kernel("x[threadIdx.x] = 7;"), Grid::new(2, 32), 32).unwrap(), [7; 32]);
}

#[test]
fn parameters_are_those_of_the_kernel() {
    let gpu = open();
    let kernel = gpu.build(&text("extern \"C\" __global__ void k(unsigned *x, int n) {}")).unwrap();
    let wrong = gpu.launch(kernel, Grid::new(1, 32), &[&[0; 8], &[0; 8]]).unwrap_err();
    assert_eq!(wrong.to_string(), "a test (k) takes parameters of [8, 4] bytes, [8, 8] were given");
}

#[test]
fn texts_that_do_not_compile_are_quoted() {
    let wrong = reason(run("extern \"C\" __global__ void k(unsigned *x, int n) { y = 1; }", 1, 32, 0, 1));
    assert!(
        wrong.starts_with("a test does not compile:\n") && wrong.contains("‘y’") || wrong.contains("'y'"),
        "{wrong}"
    );
    assert!(wrong.lines().count() <= LINES + 1);
}

#[test]
fn copies_stay_within_device_memory() {
    let gpu = open();
    let at = gpu.alloc(100).unwrap();
    let mut all = [0; 100];
    gpu.download(at, &mut all).unwrap();
    assert_eq!(all, [UNWRITTEN; 100]);
    assert!(gpu.upload(&all, at + 1).is_err());
    gpu.free(at);
    assert!(gpu.fill(at, 0, 1).is_err());
}
