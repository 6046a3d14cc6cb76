//! A value for writing models against the graph alone, without tensors.

use esker_ops::{Array, Meta, Op, Outs, Value, prepare, run};
use esker_tensor::{DType, Device, Result};
use smallvec::SmallVec;

use crate::record::{is_recording, record_op};

/// An array whose ops a capture sees: what [`capture`](crate::capture) is used with where there are no tensors.
#[derive(Clone, Debug)]
pub struct Sym(Array);

impl Sym {
    /// Over an array: one that a capture handed out, or a constant.
    pub fn new(array: Array) -> Self {
        Self(array)
    }

    /// The array below.
    pub fn array(&self) -> &Array {
        &self.0
    }

    /// The array below.
    pub fn into_array(self) -> Array {
        self.0
    }
}

impl Value for Sym {
    fn meta(&self) -> Meta {
        self.0.meta()
    }

    fn apply(op: Op, inputs: &[&Self]) -> Result<Outs<Self>> {
        if let Op::Call(call) = &op
            && !(is_recording() && call.function().has_node())
        {
            return call.run(inputs);
        }
        let (inputs, metas, outs) = prepare(&op, inputs)?;
        let arrays: SmallVec<[&Array; 4]> = inputs.iter().map(|x| &x.0).collect();
        let results = run(&op, &arrays, &metas, &outs)?;
        if is_recording() {
            record_op(&op, &arrays, &results)?;
        }
        Ok(results.into_iter().map(Sym).collect())
    }

    fn values(&self) -> Result<&Array> {
        self.0.values()
    }

    fn of_values(values: Array, device: Device) -> Result<Self> {
        <Array as Value>::of_values(values, device).map(Sym)
    }

    fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self> {
        <Array as Value>::scalar(value, dtype, device).map(Sym)
    }
}
