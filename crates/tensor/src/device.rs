//! Where a tensor lives.

use std::fmt;

use crate::{Error, Result};

/// Where a tensor's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// Main memory; always there.
    #[default]
    Cpu,
    /// The n-th NVIDIA GPU; it must have been opened.
    Cuda(u32),
    /// Nowhere: a shape and a dtype without data, for capture and shape inference.
    Meta,
}

impl Device {
    /// The device that operands meet on: equal devices meet, and `Meta` meets any (the result has no data either).
    ///
    /// # Errors
    /// `Device` when two different devices hold data.
    pub fn meet(self, other: Device) -> Result<Device> {
        match (self, other) {
            (a, b) if a == b => Ok(a),
            (Device::Meta, _) | (_, Device::Meta) => Ok(Device::Meta),
            (a, b) => Err(Error::device(format!("operands live on {a} and {b}; move one with to_device"))),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(i) => write!(f, "cuda:{i}"),
            Device::Meta => f.write_str("meta"),
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
