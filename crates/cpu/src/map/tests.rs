use esker_ops::scalar::{Dual, Num};
use esker_ops::{ElemFn, Map, MapOp, MapVisitor};
use esker_tensor::{DType, Layout, Shape};

use crate::isa::{self, Isa};
use crate::operand::uninit;
use crate::test::from_f64;

/// The value and the derivatives of an op in f64.
pub(super) struct Reference(pub(super) [f64; 3]);

impl MapVisitor for Reference {
    type Out = (f64, Vec<f64>);
    fn visit<F: ElemFn>(self) -> Self::Out {
        let grads = (0..F::ARITY).map(|wrt| {
            let dual = |i: usize| Dual { v: self.0[i], d: (i == wrt).then_some(1.0) };
            F::f([dual(0), dual(1), dual(2)]).d.unwrap_or(<f64 as Num>::c(0.0))
        });
        (F::f(self.0), grads.collect())
    }
}

fn inputs(op: MapOp, n: usize) -> Vec<Vec<f64>> {
    // Positive, away from poles and kinks; several magnitudes.
    (0..op.info().arity).map(|k| (0..n).map(|i| 0.05 + ((i * 37 + k * 11) % 101) as f64 * 0.03).collect()).collect()
}

#[test]
fn values_and_gradients_agree_with_f64_at_every_length() {
    let _settings = crate::test_settings();
    for isa in [Isa::Avx512, Isa::Avx2, Isa::Portable].into_iter().filter(|i| i.is_available()) {
        isa::force(Some(isa)).unwrap();
        for &op in MapOp::ALL {
            for n in (1..40).chain([1000]) {
                let x = inputs(op, n);
                for (dtype, bound) in [(DType::F32, 1e-5), (DType::F64, 1e-13)] {
                    let mut arrays: Vec<_> = x.iter().map(|x| from_f64(dtype, x, &[n])).collect();
                    let mut y = uninit(dtype, Layout::contiguous(Shape::from([n]))).unwrap();
                    super::run(Map::Value(op), &arrays.iter().collect::<Vec<_>>(), &mut y).unwrap();
                    let rounded: Vec<Vec<f64>> = arrays.iter().map(|a| a.to_f64_vec().unwrap()).collect();
                    let at = |i: usize| Reference(std::array::from_fn(|k| rounded.get(k).map_or(0.0, |x| x[i])));
                    for (i, got) in y.to_f64_vec().unwrap().into_iter().enumerate() {
                        let want = op.visit(at(i)).0;
                        assert!(
                            (got - want).abs() <= bound * want.abs().max(1.0),
                            "{isa} {op:?} {dtype} {i}: {got} {want}"
                        );
                    }
                    arrays.push(from_f64(dtype, &vec![1.0; n], &[n]));
                    for wrt in 0..op.info().arity {
                        let map = Map::Grad { op, wrt: wrt as u8 };
                        super::run(map, &arrays.iter().collect::<Vec<_>>(), &mut y).unwrap();
                        for (i, got) in y.to_f64_vec().unwrap().into_iter().enumerate() {
                            let want = op.visit(at(i)).1[wrt];
                            let near = (got - want).abs() <= 4.0 * bound * want.abs().max(1.0);
                            assert!(near, "{isa} {op:?}' {dtype} {i}: {got} {want}");
                        }
                    }
                }
            }
        }
    }
    isa::force(None).unwrap();
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let _settings = crate::test_settings();
    let x: Vec<f32> = (0..=u32::MAX).step_by(40_961).map(f32::from_bits).collect();
    let y: Vec<f32> = x.iter().rev().copied().collect();
    let shape = Shape::from([x.len()]);
    let (x, y) = (esker_ops::Array::from_slice(&x, shape).unwrap(), esker_ops::Array::from_slice(&y, shape).unwrap());
    for &op in MapOp::ALL {
        let operands = [&x, &y, &x];
        let all = |map: Map, n: usize| {
            let mut results = Vec::new();
            for isa in [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|i| i.is_available()) {
                isa::force(Some(isa)).unwrap();
                let mut out = uninit(DType::F32, Layout::contiguous(shape)).unwrap();
                super::run(map, &operands[..n], &mut out).unwrap();
                results.push((isa, out.to_vec::<f32>().unwrap()));
            }
            isa::force(None).unwrap();
            let inputs = (x.to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap());
            for (isa, result) in &results[1..] {
                for (i, (a, b)) in result.iter().zip(&results[0].1).enumerate() {
                    let same = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
                    assert!(same, "{map:?} {isa}: {a:e} and {b:e} at {:e}, {:e}", inputs.0[i], inputs.1[i]);
                }
            }
        };
        let arity = op.info().arity;
        all(Map::Value(op), arity);
        (0..arity).for_each(|wrt| all(Map::Grad { op, wrt: wrt as u8 }, arity + 1));
    }
}
