//! Tensors are values: nothing done to one shows in another, and no bytes are lost or copied in secret.

use esker::prelude::*;
use esker::tensor::pool;

#[test]
fn views_do_not_see_updates_of_their_parameter() {
    let p = Param::new(&Tensor::from_vec([1f32, 2.0, 3.0]).unwrap()).unwrap();
    let before = p.tensor();
    let view = before.slice(0, 1, 3, 1).unwrap();
    p.update(|a| {
        esker::ops::backend(a.device())?.run_in_place(
            esker::ops::Map::Value(esker::ops::MapOp::Mul),
            a,
            &[&esker::ops::Array::scalar(10.0, DType::F32)?],
        )
    })
    .unwrap();
    assert_eq!(p.tensor().to_vec::<f32>().unwrap(), [10.0, 20.0, 30.0]);
    assert_eq!(before.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(view.to_vec::<f32>().unwrap(), [2.0, 3.0]);
}

#[test]
fn tensors_cross_threads() {
    fn check<T: Send + Sync>() {}
    check::<Tensor>();
    check::<Param>();
}

#[test]
fn zero_sizes_and_scalars_work() {
    let empty = Tensor::zeros([0, 3]).unwrap();
    assert_eq!(empty.sum((), false).unwrap().item().unwrap(), 0.0);
    assert_eq!(empty.sum(0, false).unwrap().to_vec::<f32>().unwrap(), [0.0; 3]);
    assert_eq!(empty.t().unwrap().shape()[..], [3, 0]);
    assert!(empty.mean((), false).unwrap().item().unwrap().is_nan());
    let product = Tensor::zeros([2, 0]).unwrap().matmul(&empty).unwrap();
    assert_eq!(product.to_vec::<f32>().unwrap(), [0.0; 6]);
    let scalar = Tensor::from_scalar(2f32).unwrap();
    assert_eq!((&scalar * 3.0).item().unwrap(), 6.0);
    assert_eq!(scalar.rank(), 0);
    assert!(empty.max(0, false).is_err());
}

#[test]
fn promotion_is_pytorchs() {
    let ints = Tensor::from_vec([1i32, 2]).unwrap();
    let floats = Tensor::from_vec([0.5f32, 0.5]).unwrap();
    let double = Tensor::from_scalar(2f64).unwrap();
    assert_eq!(ints.add(&floats).unwrap().dtype(), DType::F32);
    assert_eq!(floats.add(&double).unwrap().dtype(), DType::F32, "scalars are weak within their category");
    assert_eq!(ints.add(&double).unwrap().dtype(), DType::F64, "a higher category wins");
    assert_eq!(ints.div(&ints).unwrap().dtype(), DType::F32);
    assert_eq!((&ints + 1.0).dtype(), DType::I32);
    assert_eq!((&ints + 1.5).dtype(), DType::F32);
    assert_eq!(ints.sum((), false).unwrap().dtype(), DType::I64);
}

#[test]
fn printing_is_pytorchs() {
    let t = Tensor::from_slice(&[1f32, 2.5, -3.0, 4.0], [2, 2]).unwrap();
    assert_eq!(t.to_string(), "tensor([[ 1.0000,  2.5000],\n        [-3.0000,  4.0000]])");
    assert_eq!(Tensor::from_vec([1f64, 2.0]).unwrap().to_string(), "tensor([1., 2.], dtype=float64)");
    assert_eq!(Tensor::from_vec([1i64, 20]).unwrap().to_string(), "tensor([ 1, 20])");
    assert_eq!(Tensor::from_vec([true, false]).unwrap().to_string(), "tensor([ true, false])");
    assert_eq!(Tensor::from_scalar(0.5f32).unwrap().to_string(), "tensor(0.5000)");
    assert_eq!(Tensor::zeros([0]).unwrap().to_string(), "tensor([])");
    assert_eq!(Tensor::from_vec([1e-6f32, 1.0]).unwrap().to_string(), "tensor([1.0000e-06, 1.0000e+00])");
    let big = Tensor::iota(0.0, 1.0, 2000, DType::I64, Device::Cpu).unwrap();
    assert_eq!(big.to_string(), "tensor([   0,    1,    2, ..., 1997, 1998, 1999])");
    assert_eq!(Tensor::meta_like(DType::F32, [2, 3]).unwrap().to_string(), "tensor(..., device='meta', size=[2, 3])");
}

#[test]
fn live_bytes_return_to_where_they_were() {
    // Other tests run beside this one, so the bound is on what this test could have leaked.
    let before = pool::stats().live_bytes;
    for _ in 0..100 {
        let p = Param::new(&Tensor::rand([256, 256]).unwrap()).unwrap();
        let y = p.tensor().matmul(&p.tensor()).unwrap().gelu().unwrap();
        y.sum((), false).unwrap().backward().unwrap();
    }
    let after = pool::stats().live_bytes;
    assert!(after < before + 100 * 256 * 256 * 4 / 2, "100 rounds grew the live bytes from {before} to {after}");
}
