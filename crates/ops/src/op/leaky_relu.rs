//! The leaky rectifier.

use super::{function, scalar_like};
use crate::Ops;

function! { LeakyRelu |op, x| {
    let slope = scalar_like(x, op.negative_slope.get())?;
    x.gt(&scalar_like(x, 0.0)?)?.where_cond(x, &x.mul(&slope)?)?
}}

#[cfg(feature = "spec")]
impl crate::spec::OpSpec for super::LeakyRelu {
    fn reference(&self, x: &[crate::spec::RefArray]) -> Vec<crate::spec::RefArray> {
        let leaky = |&x: &f64| if x > 0.0 { x } else { self.negative_slope.get() * x };
        vec![crate::spec::RefArray::new(&x[0].shape, x[0].data.iter().map(leaky).collect())]
    }
    fn samples() -> Vec<crate::spec::Sample> {
        use crate::spec::{Sample, real, real_in, values};
        let op = |slope: f64| super::LeakyRelu { negative_slope: slope.into() };
        vec![
            Sample::new(op(0.01), [real_in(&[2, 3], 0.1, 2.0)]),
            Sample::new(op(0.2), [real_in(&[2, 3], -2.0, -0.1)]),
            Sample::new(op(0.25), [values(&[3], &[-4.0, 0.0, 2.0])]).known(&[&[-1.0, 0.0, 2.0]], "by hand"),
            Sample::new(op(0.1), [real(&[0, 2])]).rough(),
            Sample::new(op(0.1), [real(&[2]), real(&[2])]).fails("Shape", "two inputs"),
        ]
    }
}
