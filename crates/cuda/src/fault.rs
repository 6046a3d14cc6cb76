//! What kernels find wrong, and what it is called.

use bytemuck::{Pod, Zeroable};

/// As `Fault` in `common.cuh`.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Fault {
    pub(crate) code: u32,
    pad: u32,
    detail: [i64; 3],
}

impl Fault {
    /// One sentence. Kernels run after the call that queued them has returned, so the message comes with the next wait.
    pub(crate) fn message(&self) -> String {
        let [a, b, c] = self.detail;
        match self.code {
            1 => "integer division by zero".to_owned(),
            2 => format!("index {a} at position {c} is out of range for a dimension of size {b}"),
            3 => format!("the target of row {c} is {a}, but there are {b} classes"),
            4 => format!("an index lies outside its plane of {a} x {b}"),
            code => format!("a kernel reported the unknown fault {code} ({a}, {b}, {c})"),
        }
    }
}
