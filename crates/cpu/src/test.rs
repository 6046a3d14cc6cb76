//! Helpers of this crate's tests.

use esker_ops::Array;
use esker_tensor::{DType, Dims, Element, Layout, Shape};
use half::{bf16, f16};

use crate::isa::{self, Isa};
use crate::{operand, threads};

fn list(shape: &[usize]) -> Shape {
    Shape::new(shape).unwrap()
}

/// An output to fill, row-major, with garbage in it.
pub(crate) fn out(dtype: DType, shape: &[usize]) -> Array {
    let filled = Array::filled(77.0, dtype, list(shape)).unwrap();
    let mut y = operand::uninit(dtype, Layout::contiguous(list(shape))).unwrap();
    y.storage_mut().make_mut().unwrap().copy_from_slice(filled.storage().bytes());
    y
}

/// A channels-last output.
pub(crate) fn out_last(dtype: DType, shape: &[usize]) -> Array {
    operand::uninit(dtype, Layout::dense(list(shape), &operand::channels_last())).unwrap()
}

/// Values between -2 and 2 (whole ones for integers), the same for the same shape.
pub(crate) fn signal(dtype: DType, shape: &[usize]) -> Array {
    seeded(dtype, shape, 1)
}

/// As [`signal`], from a seed.
pub(crate) fn seeded(dtype: DType, shape: &[usize], seed: u64) -> Array {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f64> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 11) as f64 / (1u64 << 53) as f64;
            if dtype.is_float() {
                unit * 4.0 - 2.0
            } else {
                (unit * 20.0).floor() - if dtype == DType::U8 { 0.0 } else { 10.0 }
            }
        })
        .collect();
    from_f64(dtype, &values, shape)
}

/// An array of these values.
pub(crate) fn from_f64(dtype: DType, values: &[f64], shape: &[usize]) -> Array {
    fn make<T: Element>(values: &[f64], shape: &[usize]) -> Array {
        let values: Vec<T> = values.iter().map(|&v| T::from_f64(v)).collect();
        Array::from_slice(&values, list(shape)).unwrap()
    }
    match dtype {
        DType::Bool => make::<bool>(values, shape),
        DType::U8 => make::<u8>(values, shape),
        DType::I8 => make::<i8>(values, shape),
        DType::I16 => make::<i16>(values, shape),
        DType::I32 => make::<i32>(values, shape),
        DType::I64 => make::<i64>(values, shape),
        DType::F16 => make::<f16>(values, shape),
        DType::BF16 => make::<bf16>(values, shape),
        DType::F32 => make::<f32>(values, shape),
        DType::F64 => make::<f64>(values, shape),
    }
}

/// The same values under layouts that kernels may meet: as given, with dimensions lying in reverse order, reversed
/// along the first dimension, every other element of a wider last dimension.
pub(crate) fn layouts(x: &Array) -> Vec<Array> {
    let (shape, rank) = (*x.shape(), x.shape().len());
    let mut all = vec![x.clone()];
    if rank == 0 || shape.numel() == 0 {
        return all;
    }
    let order: Dims = (0..rank as u8).rev().collect();
    all.push(copied(x, Layout::dense(shape, &order)));
    let mut strides = shape.contiguous_strides();
    let back = strides[0] * (shape[0] as isize - 1);
    strides[0] = -strides[0];
    all.push(copied(x, Layout::new(shape, strides, back as usize)));
    let mut strides = shape.contiguous_strides();
    for s in strides.iter_mut() {
        *s *= 2;
    }
    all.push(copied(x, Layout::new(shape, strides, 1)));
    all
}

/// The values of a row-major array under another layout.
pub(crate) fn copied(x: &Array, layout: Layout) -> Array {
    let size = x.dtype().size();
    let mut bytes = vec![0u8; layout.extent().end * size];
    for (from, to) in x.layout().indices().zip(layout.indices()) {
        bytes[to * size..(to + 1) * size].copy_from_slice(&x.storage().bytes()[from * size..(from + 1) * size]);
    }
    let storage = esker_tensor::Storage::from_bytes(&bytes).unwrap();
    Array::new(x.dtype(), x.device(), layout, storage).unwrap()
}

/// Row-major bytes, to compare bits.
pub(crate) fn bits(x: &Array) -> Vec<u8> {
    let size = x.dtype().size();
    x.layout().indices().flat_map(|i| x.storage().bytes()[i * size..(i + 1) * size].to_vec()).collect()
}

/// Runs `f` under every instruction set that there is and with 1, 2 and 3 threads, and requires equal bits.
pub(crate) fn same_bits(f: impl Fn() -> Vec<Array>) {
    let _settings = crate::test_settings();
    let want: Vec<Vec<u8>> = f().iter().map(bits).collect();
    for choice in [Isa::Avx512, Isa::Avx2, Isa::Portable] {
        if isa::force(Some(choice)).is_ok() {
            let got: Vec<Vec<u8>> = f().iter().map(bits).collect();
            assert!(got == want, "{choice} gives other bits");
        }
    }
    isa::force(None).unwrap();
    let before = threads::num_threads();
    for n in [1, 2, 3] {
        threads::set_num_threads(n);
        let got: Vec<Vec<u8>> = f().iter().map(bits).collect();
        assert!(got == want, "{n} threads give other bits");
    }
    threads::set_num_threads(before);
}
