//! What the host asks of a GPU, on one that only writes it down.

use std::sync::Arc;

use esker_ops::{Array, Cmp, Kernel, Map, MapOp, Meta, View, backend};
use esker_tensor::{DType, Device, Dims, ErrorKind, Layout, Shape};

use crate::driver::recorded::{Event, Launch, Recorded};
use crate::driver::{Driver, Text, compile};
use crate::gpu::{Gpu, address};
use crate::memory::Memory;
use crate::view::View as Strides;

/// A recorded GPU of its own for each test.
fn open(index: u32) -> (Arc<Recorded>, Arc<Gpu>) {
    let recorded = Arc::new(Recorded::default());
    let driver = Arc::clone(&recorded);
    crate::open_with(index, || Ok(driver as Arc<dyn Driver>)).unwrap();
    (recorded, crate::opened(index).unwrap())
}

fn pool() -> (Arc<Recorded>, Arc<Memory>) {
    let recorded = Arc::new(Recorded::default());
    let memory = Arc::new(Memory::new(Arc::clone(&recorded) as Arc<dyn Driver>));
    (recorded, memory)
}

fn shape(sizes: &[usize]) -> Shape {
    Shape::new(sizes).unwrap()
}

fn array(index: u32, dtype: DType, sizes: &[usize]) -> Array {
    let shape = shape(sizes);
    Array::uninit(&Meta::new(dtype, shape, Device::Cuda(index)), Layout::contiguous(shape)).unwrap()
}

fn permuted(x: &Array, order: &[u8]) -> Array {
    x.view(&View::Permute(Dims::new(order).unwrap())).unwrap()
}

/// Runs a kernel into a new row-major array.
fn run(kernel: &Kernel, x: &[&Array], dtype: DType, sizes: &[usize]) -> Array {
    let Device::Cuda(index) = x[0].device() else { panic!("an array elsewhere") };
    let mut y = [array(index, dtype, sizes)];
    backend(x[0].device()).unwrap().run(kernel, x, &mut y).unwrap();
    let [y] = y;
    y
}

fn copied(x: &Array) -> Array {
    run(&Kernel::Copy, &[x], x.dtype(), x.shape())
}

const ADD: Kernel = Kernel::Map(Map::Value(MapOp::Add));

/// The only kernel that was queued since the last look.
fn only(recorded: &Recorded) -> Launch {
    let mut all = recorded.launches();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

impl Launch {
    fn word(&self, arg: usize) -> i64 {
        bytemuck::pod_read_unaligned(&self.args[arg])
    }
    fn address(&self, arg: usize) -> usize {
        self.word(arg) as usize
    }
    fn view(&self, arg: usize) -> Strides {
        bytemuck::pod_read_unaligned(&self.args[arg])
    }
}

fn walk(view: &Strides) -> Vec<(i64, i64)> {
    let rank = view.rank as usize;
    view.size.iter().copied().zip(view.stride).take(rank).collect()
}

#[test]
fn blocks_of_a_size_are_used_again() {
    let (recorded, memory) = pool();
    let first = memory.take(1000).unwrap();
    let (at, other) = (first.address, memory.take(1000).unwrap());
    assert_ne!(other.address, at);
    drop(first);
    assert_eq!(memory.take(1020).unwrap().address, at);
    let large = memory.take(100 << 20).unwrap();
    let at = large.address;
    drop(large);
    assert_eq!(memory.take((100 << 20) - 5).unwrap().address, at);
    assert_eq!(recorded.take().len(), 2, "one slab, one large block");
    assert_eq!(memory.stats().requests, 2);
}

#[test]
fn blocks_are_little_larger_than_asked_and_do_not_overlap() {
    let (_recorded, memory) = pool();
    let mut spans = Vec::new();
    let sizes = (0..2000).map(|i| 1 + i * 211).chain((20..27).flat_map(|p| [(1 << p) - 1, 1 << p, (1 << p) + 1]));
    let mut blocks = Vec::new();
    for bytes in sizes {
        let before = memory.stats().live;
        let block = memory.take(bytes).unwrap();
        let size = memory.stats().live - before;
        assert!(size >= bytes && size <= bytes + (bytes / 4).max(511), "{size} for {bytes}");
        assert!(block.address.is_multiple_of(512));
        spans.push((block.address, size));
        blocks.push(block);
    }
    spans.sort_unstable();
    assert!(spans.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
}

#[test]
fn statistics_count_what_is_used_and_what_waits() {
    let (_recorded, memory) = pool();
    let (a, b) = (memory.take(2 << 20).unwrap(), memory.take(4 << 20).unwrap());
    assert_eq!((memory.stats().live, memory.stats().peak, memory.stats().cached), (6 << 20, 6 << 20, 0));
    drop(a);
    assert_eq!((memory.stats().live, memory.stats().peak, memory.stats().cached), (4 << 20, 6 << 20, 2 << 20));
    drop(b);
    memory.trim();
    assert_eq!((memory.stats().live, memory.stats().peak, memory.stats().cached), (0, 6 << 20, 0));
}

#[test]
fn memory_that_waits_goes_back_before_an_error_is_raised() {
    let (recorded, memory) = pool();
    recorded.limit(100 << 20);
    let waits = memory.take(40 << 20).unwrap();
    let at = waits.address;
    drop(waits);
    let live = memory.take(80 << 20).unwrap();
    let events = recorded.take();
    let kinds = [matches!(events[0], Event::Alloc(_, Some(_))), matches!(events[1], Event::Alloc(_, None))];
    assert_eq!(kinds, [true, true], "{events:?}");
    assert!(matches!(events[2], Event::Free(address) if address == at), "{events:?}");
    assert!(matches!(events[3], Event::Alloc(_, Some(_))), "{events:?}");
    let error = memory.take(60 << 20).err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::OutOfMemory(_)));
    let text = error.to_string();
    assert!(text.contains(&(60 << 20).to_string()) && text.contains(&(80 << 20).to_string()), "{text}");
    assert_eq!(recorded.take().len(), 2, "tried twice, and given up");
    drop(live);
    assert!(memory.take(60 << 20).is_ok(), "the pool goes on");
}

#[test]
fn a_kernel_is_built_once_for_each_kind() {
    let (recorded, _gpu) = open(900);
    let x = array(900, DType::F32, &[100]);
    for _ in 0..3 {
        run(&ADD, &[&x, &x], DType::F32, &[100]);
        copied(&permuted(&array(900, DType::F32, &[16, 16]), &[1, 0]));
    }
    assert_eq!(recorded.built().len(), 2);
    let halves = array(900, DType::F16, &[100]);
    run(&ADD, &[&halves, &halves], DType::F16, &[100]);
    run(&Kernel::Map(Map::Value(MapOp::Mul)), &[&x, &x], DType::F32, &[100]);
    run(&Kernel::Map(Map::Compare(Cmp::Lt)), &[&x, &x], DType::Bool, &[100]);
    assert_eq!(recorded.built().len(), 5);
    let names: Vec<String> = recorded.built().iter().map(|text| text.source.clone()).collect();
    assert!((0..5).all(|i| names[..i].iter().all(|name| *name != names[i])), "no text twice");
}

#[test]
fn dense_maps_move_packs() {
    let (recorded, gpu) = open(901);
    let (x, y) = (array(901, DType::F32, &[40, 25]), array(901, DType::F32, &[40, 25]));
    let sum = run(&ADD, &[&x, &y], DType::F32, &[40, 25]);
    let launch = only(&recorded);
    assert!(launch.text.source.contains("n / 4"), "{}", launch.text.source);
    assert!(!launch.text.fuse, "sums and products are rounded one by one, as on the CPU");
    assert_eq!((launch.grid.blocks, launch.grid.threads), ([1, 1, 1], 256));
    let addresses = [address(&x), address(&y), address(&sum)];
    assert_eq!([0, 1, 2].map(|arg| launch.address(arg)), addresses);
    assert_eq!((launch.word(3), launch.address(4)), (1000, gpu.fault()));
    assert_eq!(launch.args.len(), 5);
    // The same order of dimensions in all operands is as good as row-major.
    let (x, y) = (permuted(&x, &[1, 0]), permuted(&y, &[1, 0]));
    let layout = Layout::dense(shape(&[25, 40]), &Dims::new(&[1, 0]).unwrap());
    let mut out = [Array::uninit(&Meta::new(DType::F32, shape(&[25, 40]), Device::Cuda(901)), layout).unwrap()];
    backend(Device::Cuda(901)).unwrap().run(&ADD, &[&x, &y], &mut out).unwrap();
    assert!(only(&recorded).text.source == launch.text.source);
}

#[test]
fn packs_need_aligned_operands() {
    let (recorded, _gpu) = open(902);
    let x = array(902, DType::F32, &[1001]);
    let from = |start| x.view(&View::Slice { dim: 0, start, step: 1, len: 997 }).unwrap();
    run(&ADD, &[&from(1), &from(0)], DType::F32, &[997]);
    assert!(!only(&recorded).text.source.contains("i64 packs"));
    run(&ADD, &[&from(4), &from(0)], DType::F32, &[997]);
    assert!(only(&recorded).text.source.contains("i64 packs"));
}

#[test]
fn scalars_are_read_once() {
    let (recorded, _gpu) = open(903);
    let (x, one) = (array(903, DType::F32, &[4096]), array(903, DType::F32, &[]));
    run(&ADD, &[&x, &one], DType::F32, &[4096]);
    let launch = only(&recorded);
    assert!(launch.text.source.contains("const T1 one1 = *x1;") && launch.text.source.contains("n / 4"));
    assert_eq!(launch.grid.blocks, [4, 1, 1]);
}

#[test]
fn strided_maps_walk_as_few_dimensions_as_there_are() {
    let (recorded, _gpu) = open(904);
    let (x, row) = (array(904, DType::F32, &[5, 3, 4]), array(904, DType::F32, &[3, 4]));
    run(&ADD, &[&x, &row], DType::F32, &[5, 3, 4]);
    let launch = only(&recorded);
    assert!(launch.text.source.contains("typedef u32 I;"));
    assert_eq!(walk(&launch.view(5)), [(5, 12), (12, 1)]);
    assert_eq!(walk(&launch.view(6)), [(5, 0), (12, 1)]);
    assert_eq!(walk(&launch.view(7)), [(5, 12), (12, 1)]);
    let turned = permuted(&array(904, DType::F32, &[7, 1, 6]), &[2, 1, 0]);
    run(&ADD, &[&turned, &turned], DType::F32, &[6, 1, 7]);
    assert_eq!(walk(&only(&recorded).view(5)), [(6, 1), (7, 6)]);
}

#[test]
fn sizes_beyond_32_bits_are_counted_in_64() {
    let (recorded, _gpu) = open(905);
    let sizes = [1 << 16, 1 << 16];
    let x = permuted(&array(905, DType::U8, &sizes), &[1, 0]);
    let y = array(905, DType::U8, &sizes);
    run(&Kernel::Map(Map::Compare(Cmp::Eq)), &[&x, &y], DType::Bool, &sizes);
    let launch = only(&recorded);
    assert!(launch.text.source.contains("typedef i64 I;"));
    assert_eq!(launch.word(3), 1 << 32);
    assert_eq!(launch.grid.blocks, [132 * 8 * 8, 1, 1], "as many as keep the device full");
}

#[test]
fn copies_choose_their_kernel_by_layout() {
    let (recorded, _gpu) = open(906);
    let x = array(906, DType::F32, &[100, 70]);
    let y = run(&Kernel::Copy, &[&x], DType::F16, &[100, 70]);
    let launch = only(&recorded);
    assert_eq!((launch.text.entry, launch.grid.threads), ("copy_dense", 256));
    assert_eq!((launch.address(0), launch.address(1), launch.word(2)), (address(&x), address(&y), 7000));
    assert!(launch.text.source.contains("#define X f32") && launch.text.source.contains("#define Y f16"));

    copied(&permuted(&x, &[1, 0]));
    let launch = only(&recorded);
    assert_eq!((launch.text.entry, launch.grid.blocks), ("copy_turned", [2, 2, 1]));
    assert_eq!([2, 3, 4, 5].map(|arg| launch.word(arg)), [70, 100, 70, 100]);

    // From channels-last to channels-first: a batch of matrices.
    copied(&permuted(&array(906, DType::F32, &[2, 9, 11, 64]), &[0, 3, 1, 2]));
    let launch = only(&recorded);
    assert_eq!((launch.text.entry, launch.grid.blocks), ("copy_turned", [2, 1, 2]));

    let backwards = x.view(&View::Slice { dim: 1, start: 69, step: -3, len: 20 }).unwrap();
    copied(&backwards);
    let launch = only(&recorded);
    assert_eq!(launch.text.entry, "copy_strided");
    assert_eq!(walk(&launch.view(2)), [(100, 70), (20, -3)]);
    assert_eq!(launch.address(0), address(&x) + 69 * 4);
}

#[test]
fn nothing_is_queued_for_no_elements() {
    let (recorded, _gpu) = open(907);
    let x = array(907, DType::F32, &[0, 5]);
    run(&ADD, &[&x, &x], DType::F32, &[0, 5]);
    copied(&permuted(&x, &[1, 0]));
    run(&Kernel::MatMul, &[&x, &array(907, DType::F32, &[5, 0])], DType::F32, &[0, 0]);
    assert!(recorded.take().iter().all(|event| !matches!(event, Event::Launch(_) | Event::Product(_))));
}

#[test]
fn a_steady_loop_asks_the_driver_for_kernels_alone() {
    let (recorded, _gpu) = open(908);
    let (w, x) = (array(908, DType::F32, &[300, 700]), array(908, DType::F32, &[64, 700]));
    let step = || {
        let y = run(&Kernel::Affine, &[&x, &w], DType::F32, &[64, 300]);
        let z = run(&ADD, &[&y, &y], DType::F32, &[64, 300]);
        copied(&permuted(&z, &[1, 0]));
    };
    step();
    recorded.take();
    (0..5).for_each(|_| step());
    let events = recorded.take();
    assert_eq!(events.len(), 15, "{events:?}");
    assert!(events.iter().all(|event| matches!(event, Event::Launch(_) | Event::Product(_))), "{events:?}");
}

#[test]
fn values_are_waited_for_when_they_are_read() {
    let (recorded, _gpu) = open(909);
    let x = array(909, DType::F32, &[10]);
    let y = run(&ADD, &[&x, &x], DType::F32, &[10]);
    assert_eq!(crate::counts(909).unwrap(), (1, 0));
    recorded.take();
    y.to_cpu().unwrap();
    let events = recorded.take();
    assert!(matches!(events[1], Event::Download(from, 40) if from == address(&y)), "{events:?}");
    assert_eq!((events.len(), crate::counts(909).unwrap()), (2, (1, 1)), "the fault, then the values");
}

#[test]
fn texts_become_machine_code() {
    // A text of its own each time, so that it is not found on disk.
    let text = |body: &str| Text {
        name: "a test".to_owned(),
        source: format!("// {}\nextern \"C\" __global__ void k(float *x) {{ {body} }}", std::process::id()),
        entry: "k",
        fuse: false,
    };
    let code = match compile::machine_code(&text("x[threadIdx.x] *= 2.0f;"), "sm_90a") {
        Err(e) if matches!(e.kind(), ErrorKind::Unavailable(_)) => {
            let required = std::env::var("ESKER_REQUIRE").unwrap_or_default();
            assert!(required.split(',').all(|r| r != "nvrtc"), "{e}");
            return println!("skipped: {e}");
        }
        code => code.unwrap(),
    };
    assert!(code.starts_with(b"\x7fELF"));
    assert_eq!(compile::machine_code(&text("x[threadIdx.x] *= 2.0f;"), "sm_90a").unwrap(), code, "from disk");
    let wrong = compile::machine_code(&text("y[0] = 1;"), "sm_90a").unwrap_err();
    assert!(matches!(wrong.kind(), ErrorKind::Kernel(_)));
    let said = wrong.to_string();
    assert!(said.starts_with("a test does not compile: ") && said.contains("\"y\""), "{said}");
}
