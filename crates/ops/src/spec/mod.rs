//! What every op must do, for tests, documentation and benchmarks: references and samples.
//!
//! A reference is a naive loop in f64 that knows nothing of [`crate::OpRule::lower`], kernels or compositions. A sample is an
//! op with inputs and what must come out: the reference, values from an independent source, or an error of some kind.
//! [`crate::table::rows`] lists them all. A test walks it like this:
//!
//! ```ignore
//! for row in rows() {
//!     for sample in &row.samples {
//!         for &dtype in sample.dtypes.list() {
//!             let x = sample.materialize(dtype, 1)?;
//!             let want = sample.expected(&x)?; // `RefArray`s; `Err` of the declared kind for error samples is up to `op`
//!             let got = Array::apply(sample.op.clone(), &x.iter().collect::<Vec<_>>())?;
//!             // compare each got with each want: `RefArray::differs_from`
//!         }
//!     }
//! }
//! ```
// Test support: a wrong sample should stop the test that meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod layouts;
mod map;
mod reference;
#[cfg(test)]
mod tests;

use std::ops::Range;

use esker_tensor::philox::{Key, block, permutation, uniform_f64};
use esker_tensor::{DType, Device, Element, ErrorKind, Result, Shape};

use crate::array::match_dtype;
use crate::exec::prepare;
use crate::{Array, Described, ElemFn, Meta, Op};

pub use layouts::{spread, variants};
pub use map::{MapSpec, each_value, pointwise};
pub use reference::{RefArray, axes, axis, cast_value, each_index, slope, uniform_at};
pub(crate) use reference::{broadcast, moments};

/// What an op must do.
pub trait OpSpec {
    /// The outputs for inputs `x`, slowly, in f64 and independently of how the op runs. Integer results are the exact
    /// ones; [`Sample::expected`] wraps them to the output's dtype.
    fn reference(&self, x: &[RefArray]) -> Vec<RefArray>;

    /// Inputs to try, of every kind that the op treats differently, and inputs that it must refuse.
    fn samples() -> Vec<Sample>;
}

/// Where an elementwise function is smooth, and what it is at points from an independent source.
pub trait ElemSpec: ElemFn {
    /// Boxes (a range for each input) away from kinks and poles, at least one on each side of a kink.
    const RANGES: &'static [&'static [Range<f64>]];
    /// Inputs and the output, from mpmath at 50 digits (or from IEEE 754 for infinities and NaN).
    const AT: &'static [(&'static [f64], f64)];
}

/// A row of the table for those who walk it.
#[derive(Clone)]
pub struct Row {
    /// The op's name, which is also its method's.
    pub name: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// An op with inputs, and what must come out.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The op.
    pub op: Op,
    /// Its inputs.
    pub inputs: Vec<Input>,
    /// The dtypes to try it with.
    pub dtypes: Dtypes,
    /// What must come out.
    pub expect: Expect,
    /// What it is about; the source of [`Expect::Known`] values.
    pub note: &'static str,
    /// Whether central differences hold at these inputs: float inputs away from kinks, ties and poles.
    pub smooth: bool,
    /// How far the expected values themselves may be off, where they are not exact in f64.
    pub slack: f64,
}

/// An input of a sample.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its values.
    pub fill: Fill,
    /// Its dtype; `None` is the dtype under test.
    pub dtype: Option<DType>,
}

/// Values of an input, before they are rounded to its dtype.
#[derive(Clone, Debug)]
pub enum Fill {
    /// Uniform in a range.
    Range(f64, f64),
    /// Evenly spaced over a range in random order: all different.
    Distinct(f64, f64),
    /// Integers from the first to the last, both included.
    Ints(i64, i64),
    /// These, row-major.
    Values(Vec<f64>),
    /// 0 and 1.
    Bools,
}

/// The dtypes that a sample is for.
#[derive(Clone, Copy, Debug)]
pub enum Dtypes {
    /// All floats.
    Floats,
    /// All integers and floats.
    Numbers,
    /// All, with bool.
    All,
    /// Integers.
    Ints,
    /// These.
    Only(&'static [DType]),
}

/// What must come out.
#[derive(Clone, Debug)]
pub enum Expect {
    /// What [`Op::reference`] says.
    Reference,
    /// These values of each output, from the source that the note states.
    Known(Vec<Vec<f64>>),
    /// An error of this kind, by the name that [`esker_tensor::ErrorKind::name`] gives it.
    Error(&'static str),
}

impl Dtypes {
    /// The dtypes.
    pub fn list(self) -> &'static [DType] {
        match self {
            Dtypes::Floats => &DType::ALL[6..],
            Dtypes::Numbers => &DType::ALL[1..],
            Dtypes::All => &DType::ALL,
            Dtypes::Ints => &DType::ALL[1..6],
            Dtypes::Only(list) => list,
        }
    }
}

/// An input of the dtype under test, in `-2.0..2.0`.
pub fn real(shape: &[usize]) -> Input {
    real_in(shape, -2.0, 2.0)
}

/// An input of the dtype under test, uniform in a range.
pub fn real_in(shape: &[usize], low: f64, high: f64) -> Input {
    Input { shape: shape.to_vec(), fill: Fill::Range(low, high), dtype: None }
}

/// An input of the dtype under test whose elements all differ (as long as the dtype can tell them apart).
pub fn distinct(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), fill: Fill::Distinct(-3.0, 3.0), dtype: None }
}

/// An input of the dtype under test with integers from `first` to `last`.
pub fn ints(shape: &[usize], first: i64, last: i64) -> Input {
    Input { shape: shape.to_vec(), fill: Fill::Ints(first, last), dtype: None }
}

/// An input of the dtype under test with these values.
pub fn values(shape: &[usize], values: &[f64]) -> Input {
    Input { shape: shape.to_vec(), fill: Fill::Values(values.to_vec()), dtype: None }
}

/// A 1-d i64 input.
pub fn index(values: &[i64]) -> Input {
    let fill = Fill::Values(values.iter().map(|&v| v as f64).collect());
    Input { shape: vec![values.len()], fill, dtype: Some(DType::I64) }
}

/// A bool input.
pub fn bools(shape: &[usize]) -> Input {
    Input { shape: shape.to_vec(), fill: Fill::Bools, dtype: Some(DType::Bool) }
}

impl Input {
    /// The same input, always of this dtype.
    pub fn of(self, dtype: DType) -> Self {
        Self { dtype: Some(dtype), ..self }
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// The values before rounding, row-major; a pure function of `seed`.
    pub fn values(&self, seed: u64) -> Vec<f64> {
        let n = self.numel();
        let unit = |i: usize| {
            let [a, b, ..] = block(Key(seed), i as u64);
            uniform_f64(a, b)
        };
        match &self.fill {
            Fill::Range(low, high) => (0..n).map(|i| low + (high - low) * unit(i)).collect(),
            Fill::Distinct(low, high) => {
                let step = (high - low) / n.max(1) as f64;
                permutation(n, Key(seed)).into_iter().map(|place| low + step * (place as f64 + 0.5)).collect()
            }
            Fill::Ints(first, last) => {
                let count = (last - first + 1) as f64;
                (0..n).map(|i| *first as f64 + (unit(i) * count).floor()).collect()
            }
            Fill::Values(values) => {
                assert_eq!(values.len(), n, "a sample's values do not fill {:?}", self.shape);
                values.clone()
            }
            Fill::Bools => (0..n).map(|i| f64::from(u8::from(unit(i) < 0.5))).collect(),
        }
    }

    /// The dtype when `dtype` is under test.
    pub fn dtype(&self, dtype: DType) -> DType {
        self.dtype.unwrap_or(dtype)
    }
}

impl Sample {
    /// A sample for all floats that must agree with the reference, with smooth inputs.
    pub fn new(op: impl Into<Op>, inputs: impl Into<Vec<Input>>) -> Self {
        Self {
            op: op.into(),
            inputs: inputs.into(),
            dtypes: Dtypes::Floats,
            expect: Expect::Reference,
            note: "",
            smooth: true,
            slack: 0.0,
        }
    }

    /// For other dtypes.
    pub fn on(self, dtypes: Dtypes) -> Self {
        Self { dtypes, ..self }
    }

    /// With a word on what it is about.
    pub fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// With values of each output that `note` gives the source of.
    pub fn known(self, outputs: &[&[f64]], note: &'static str) -> Self {
        let expect = Expect::Known(outputs.iter().map(|y| y.to_vec()).collect());
        Self { expect, note, smooth: false, ..self }
    }

    /// Must fail with this kind of error.
    pub fn fails(self, kind: &'static str, note: &'static str) -> Self {
        Self { expect: Expect::Error(kind), note, smooth: false, ..self }
    }

    /// At a kink or tie: no central differences.
    pub fn rough(self) -> Self {
        Self { smooth: false, ..self }
    }

    /// With expected values that are this far off themselves.
    pub fn slack(self, slack: f64) -> Self {
        Self { slack, ..self }
    }

    /// Whether the sample must fail.
    pub fn is_error(&self) -> bool {
        matches!(self.expect, Expect::Error(_))
    }

    /// The op as it runs on `device`: creation ops carry their device.
    pub fn op_on(&self, device: Device) -> Op {
        let mut op = self.op.clone();
        op.place(device);
        op
    }

    /// What is known of the inputs when `dtype` is under test.
    pub fn metas(&self, dtype: DType, device: Device) -> Vec<Meta> {
        self.inputs.iter().map(|x| Meta::new(x.dtype(dtype), shape_of(&x.shape), device)).collect()
    }

    /// The inputs on the CPU, contiguous, rounded to their dtypes.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn materialize(&self, dtype: DType, seed: u64) -> Result<Vec<Array>> {
        let key = |i: usize| seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(i as u64 + 1);
        let inputs = self.inputs.iter().enumerate();
        inputs.map(|(i, x)| array(&x.values(key(i)), x.dtype(dtype), shape_of(&x.shape))).collect()
    }

    /// What the reference gives, in f64.
    fn unrounded(&self, x: &[Array]) -> Result<Vec<RefArray>> {
        match &self.expect {
            Expect::Known(known) => Ok(known.iter().map(|y| RefArray::new(&[y.len()], y.clone())).collect()),
            _ => Ok(self.op.reference(&x.iter().map(RefArray::of).collect::<Result<Vec<_>>>()?)),
        }
    }

    /// What must come out for inputs `x` (of [`Sample::materialize`], or of the same shapes and dtypes with other
    /// values when the reference is asked), rounded to the dtypes of the outputs.
    ///
    /// # Errors
    /// Those of the op's own inference, and of reading `x`.
    pub fn expected(&self, x: &[Array]) -> Result<Vec<RefArray>> {
        let metas: Vec<Described> = x.iter().map(|x| Described(x.meta())).collect();
        let outs = match prepare(&self.op, &metas.iter().collect::<Vec<_>>()) {
            Ok((_, _, outs)) => outs,
            // The size of the result depends on values, so that the reference says it, not the metas.
            Err(e) if matches!(e.kind(), ErrorKind::Capture(_)) => return self.unrounded(x),
            Err(e) => return Err(e),
        };
        let outputs = match &self.expect {
            Expect::Known(known) => {
                known.iter().zip(&outs).map(|(data, m)| RefArray::new(&m.shape, data.clone())).collect()
            }
            _ => self.op.reference(&x.iter().map(RefArray::of).collect::<Result<Vec<_>>>()?),
        };
        assert_eq!(outputs.len(), outs.len(), "{:?} has another number of outputs than its reference", self.op);
        Ok(outputs.into_iter().zip(&outs).map(|(y, m)| y.rounded(m.dtype)).collect())
    }
}

/// Samples of an op that works along one dimension and keeps the shape: every dimension of several shapes, and one that
/// is out of range.
pub fn along_each_dim(op: impl Fn(i64) -> Op) -> Vec<Sample> {
    let shapes: [&[usize]; 6] = [&[5], &[3, 4], &[2, 3, 4], &[0, 3], &[], &[70, 2]];
    let dims = |shape: &[usize]| -(shape.len().max(1) as i64)..shape.len().max(1) as i64;
    let good = shapes.iter().flat_map(|s| dims(s).map(|d| Sample::new(op(d), [real(s)])));
    good.chain([Sample::new(op(2), [real(&[2, 3])]).fails("Dim", "out of range")]).collect()
}

/// A CPU array of `values` rounded to `dtype`.
///
/// # Errors
/// `Shape` when their number differs; `OutOfMemory`.
pub fn array(values: &[f64], dtype: DType, shape: Shape) -> Result<Array> {
    fn make<T: Element>(values: &[f64], shape: Shape) -> Result<Array> {
        Array::from_slice(&values.iter().map(|&v| T::from_f64(v)).collect::<Vec<T>>(), shape)
    }
    match_dtype!(dtype, T => make::<T>(values, shape))
}

/// The tolerance of a dtype: `|got - want| <= tolerance * max(1, |want|)`; 0 for integers and bool.
pub fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-12,
        DType::F32 => 2e-5,
        DType::F16 => 4e-3,
        DType::BF16 => 3e-2,
        _ => 0.0,
    }
}

/// A shape from sizes; samples have at most the highest rank.
pub(crate) fn shape_of(sizes: &[usize]) -> Shape {
    Shape::new(sizes).expect("a sample's rank is too high")
}
