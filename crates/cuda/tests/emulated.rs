//! Copies and elementwise kernels on the emulated device, against the CPU.
#![cfg(feature = "emulate")]
#![allow(clippy::unwrap_used)]

use std::slice;

use esker_ops::{Array, Kernel, Map, MapOp, Value, backend};
use esker_tensor::{DType, Device, Dims, Layout, Shape};

const DEVICE: Device = Device::Cuda(0);

fn open() {
    esker_cpu::register();
    esker_cuda::open_emulated(0).unwrap();
}

fn shape(sizes: &[usize]) -> Shape {
    Shape::new(sizes).unwrap()
}

/// Values of every sign, some beyond the small integers, some not whole.
fn values(dtype: DType, sizes: &[usize]) -> Array {
    let n: usize = sizes.iter().product();
    let all: Vec<f64> = (0..n).map(|i| (i as f64 - n as f64 / 2.0) * 7.75).collect();
    let x = Array::from_slice(&all, shape(sizes)).unwrap();
    run(&Kernel::Copy, &[&x], dtype, Layout::contiguous(shape(sizes)))
}

/// The output of a kernel where its inputs are.
fn run(kernel: &Kernel, x: &[&Array], dtype: DType, layout: Layout) -> Array {
    let device = x[0].device();
    let meta = esker_ops::Meta::new(dtype, *layout.shape(), device);
    let mut y = [Array::uninit(&meta, layout).unwrap()];
    backend(device).unwrap().run(kernel, x, &mut y).unwrap();
    let [y] = y;
    y
}

fn to_device(x: &Array) -> Array {
    Array::of_values(x.clone(), DEVICE).unwrap()
}

fn bits(x: &Array) -> Vec<u8> {
    x.to_cpu().unwrap().storage().bytes().to_vec()
}

fn same(name: &str, kernel: &Kernel, x: &[Array], on_device: &[Array], dtype: DType, sizes: &[usize]) {
    let layout = Layout::contiguous(shape(sizes));
    let wanted = run(kernel, &x.iter().collect::<Vec<_>>(), dtype, layout);
    let found = run(kernel, &on_device.iter().collect::<Vec<_>>(), dtype, layout);
    assert_eq!(bits(&found), bits(&wanted), "{name}");
}

#[test]
fn dtypes_convert_as_on_the_cpu() {
    open();
    for from in DType::ALL {
        let x = values(from, &[37]);
        let there = to_device(&x);
        for to in DType::ALL {
            same(&format!("{from} to {to}"), &Kernel::Copy, slice::from_ref(&x), slice::from_ref(&there), to, &[37]);
        }
    }
}

#[test]
fn copies_take_any_layout() {
    open();
    let views = [
        esker_ops::View::Permute(Dims::new(&[2, 0, 1]).unwrap()),
        esker_ops::View::Permute(Dims::new(&[0, 2, 1]).unwrap()),
        esker_ops::View::Slice { dim: 1, start: 39, step: -2, len: 20 },
        esker_ops::View::Reshape(shape(&[12, 350])),
    ];
    for dtype in [DType::F32, DType::I8, DType::BF16, DType::F64] {
        let x = values(dtype, &[3, 40, 35]);
        let there = to_device(&x);
        for view in &views {
            let (x, there) = (x.view(view).unwrap(), there.view(view).unwrap());
            let sizes = x.shape().to_vec();
            same(&format!("{view:?} of {dtype}"), &Kernel::Copy, &[x], &[there], dtype, &sizes);
        }
    }
}

#[test]
fn maps_run_on_packs_scalars_and_strides() {
    open();
    let less = Kernel::Map(Map::Compare(esker_ops::Cmp::Lt));
    for dtype in [DType::F32, DType::F16, DType::I64] {
        let (x, y) = (values(dtype, &[19, 21]), values(dtype, &[21, 19]));
        let one = values(dtype, &[1]);
        let turned = esker_ops::View::Permute(Dims::new(&[1, 0]).unwrap());
        let (there_x, there_y, there_one) = (to_device(&x), to_device(&y), to_device(&one));
        let sizes = [19, 21];
        same("scalar", &less, &[x.clone(), one], &[there_x.clone(), there_one], DType::Bool, &sizes);
        let (y, there_y) = (y.view(&turned).unwrap(), there_y.view(&turned).unwrap());
        same("strides", &less, &[x, y], &[there_x, there_y], DType::Bool, &sizes);
    }
}

#[test]
fn what_a_kernel_finds_wrong_is_an_error_of_the_next_read() {
    open();
    let x = to_device(&values(DType::I32, &[5]));
    let zero = to_device(&Array::filled(0.0, DType::I32, shape(&[5])).unwrap());
    let layout = Layout::contiguous(shape(&[5]));
    let y = run(&Kernel::Map(Map::Value(MapOp::FloorDivide)), &[&x, &zero], DType::I32, layout);
    assert_eq!(y.to_cpu().unwrap_err().to_string(), "integer division by zero");
    assert!(y.to_cpu().is_ok(), "an error is told once");
}
