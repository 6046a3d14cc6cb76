//! The tensor: an array, and where on the tape it comes from.

use esker_ops::{Array, Meta, Op, Ops, Outs, Value};
use esker_tensor::{DType, Device, Element, Error, Layout, Result, Shape};

use crate::GradOptions;
use crate::dispatch::{dispatch, ready};
use crate::tape::{Edge, Kind, Node};

/// An n-dimensional array with a dtype and a device, which remembers how it was computed when a gradient will be
/// asked for. Tensors are values: no operation on one is visible through another. Cloning is a reference count.
#[derive(Clone)]
pub struct Tensor {
    pub(crate) array: Array,
    pub(crate) edge: Option<Edge>,
}

impl Value for Tensor {
    fn meta(&self) -> Meta {
        self.array.meta()
    }

    #[track_caller]
    fn apply(op: Op, inputs: &[&Self]) -> Result<Outs<Self>> {
        dispatch(op, inputs)
    }

    fn values(&self) -> Result<&Array> {
        self.array.values()
    }

    fn of_values(values: Array, device: Device) -> Result<Self> {
        Ok(Self::from_array(<Array as Value>::of_values(values, device)?))
    }

    fn scalar(value: f64, dtype: DType, device: Device) -> Result<Self> {
        ready();
        Ok(Self::from_array(<Array as Value>::scalar(value, dtype, device)?))
    }
}

impl AsRef<Array> for Tensor {
    #[inline]
    fn as_ref(&self) -> &Array {
        &self.array
    }
}

impl Tensor {
    /// A tensor over an array, without history.
    pub fn from_array(array: Array) -> Self {
        Self { array, edge: None }
    }

    /// A CPU tensor with a copy of `data`, row-major.
    ///
    /// # Errors
    /// `Shape` when `data` has another number of elements than `shape`.
    pub fn from_slice<T: Element>(data: &[T], shape: impl Into<esker_ops::Sizes>) -> Result<Self> {
        ready();
        Ok(Self::from_array(Array::from_slice(data, shape.into().shape()?)?))
    }

    /// A CPU tensor of zeros in f32.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for a size that does not fit.
    #[track_caller]
    pub fn zeros(shape: impl Into<esker_ops::Sizes>) -> Result<Self> {
        Self::full(0.0, shape, DType::F32, Device::Cpu)
    }

    /// A CPU tensor of ones in f32.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for a size that does not fit.
    #[track_caller]
    pub fn ones(shape: impl Into<esker_ops::Sizes>) -> Result<Self> {
        Self::full(1.0, shape, DType::F32, Device::Cpu)
    }

    /// Uniform random numbers in [0, 1), f32, from the thread's default generator.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for a size that does not fit.
    #[track_caller]
    pub fn rand(shape: impl Into<esker_ops::Sizes>) -> Result<Self> {
        Self::uniform(0.0, 1.0, esker_tensor::philox::next_key(), shape, DType::F32, Device::Cpu)
    }

    /// Standard normal random numbers, f32, from the thread's default generator.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Shape` for a size that does not fit.
    #[track_caller]
    pub fn randn(shape: impl Into<esker_ops::Sizes>) -> Result<Self> {
        Self::normal(0.0, 1.0, esker_tensor::philox::next_key(), shape, DType::F32, Device::Cpu)
    }

    /// A tensor without data, for shape inference and capture.
    ///
    /// # Errors
    /// `Shape` for a size that does not fit.
    pub fn meta_like(dtype: DType, shape: impl Into<esker_ops::Sizes>) -> Result<Self> {
        let meta = Meta::new(dtype, shape.into().shape()?, Device::Meta);
        Ok(Self::from_array(Array::uninit(&meta, Layout::contiguous(meta.shape))?))
    }

    /// The array below.
    pub fn array(&self) -> &Array {
        &self.array
    }

    /// Sizes.
    pub fn shape(&self) -> &Shape {
        self.array.shape()
    }

    /// Size of one dimension, which may count from the end.
    ///
    /// # Errors
    /// `Dim` when it is out of range.
    pub fn size(&self, dim: i64) -> Result<usize> {
        let shape = self.shape();
        let d = shape.dim(dim)?;
        shape.get(d).copied().ok_or_else(|| Error::dim("a scalar has no dimensions"))
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape().numel()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.array.dtype()
    }

    /// Home.
    pub fn device(&self) -> Device {
        self.array.device()
    }

    /// Whether a gradient can flow through this tensor to something that asked for one.
    pub fn requires_grad(&self) -> bool {
        self.edge.is_some()
    }

    /// The same values as the start of a history of their own: gradients can be asked for with [`crate::grad`].
    ///
    /// # Errors
    /// `Autograd` for a dtype without gradients.
    pub fn tracked(&self) -> Result<Self> {
        if !self.dtype().is_float() {
            return Err(Error::autograd(format!("only floating-point tensors have gradients, not {}", self.dtype())));
        }
        Ok(Self { array: self.array.clone(), edge: Some(Edge::new(Node::leaf(), 0)) })
    }

    /// The same values without history.
    pub fn detach(&self) -> Self {
        Self::from_array(self.array.clone())
    }

    /// Gradients of this scalar reach every [`crate::Param`] upstream and are added to what is there.
    ///
    /// # Errors
    /// `Autograd` when this is no scalar, has no history, or its graph was spent by an earlier call.
    pub fn backward(&self) -> Result<()> {
        crate::grad::backward(self, None, GradOptions::default())
    }

    /// As [`Tensor::backward`] for a tensor of any shape, weighted by `gradient`.
    ///
    /// # Errors
    /// As [`Tensor::backward`]; `Shape` when the gradient's shape differs.
    pub fn backward_with(&self, gradient: &Tensor) -> Result<()> {
        crate::grad::backward(self, Some(gradient), GradOptions::default())
    }

    /// As [`Tensor::backward`], from ones or from `gradient`, keeping or recording the graph as `options` say.
    ///
    /// # Errors
    /// As [`Tensor::backward_with`].
    pub fn backward_from(&self, gradient: Option<&Tensor>, options: GradOptions) -> Result<()> {
        crate::grad::backward(self, gradient, options)
    }

    /// The name of what computed this tensor, when the tape knows it; `None` for tensors that start a history.
    pub fn grad_fn_name(&self) -> Option<String> {
        match &self.edge.as_ref()?.node.kind {
            Kind::Op(applied) => Some(applied.name().to_owned()),
            Kind::Leaf { .. } => None,
        }
    }

    /// The elements, row-major.
    ///
    /// # Errors
    /// `DType` when `T` is not the tensor's type; `Capture` for a tensor without data.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.array.to_vec()
    }

    /// The elements as f64, row-major.
    ///
    /// # Errors
    /// `Capture` for a tensor without data.
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        self.array.to_f64_vec()
    }

    /// The only element, as f64.
    ///
    /// # Errors
    /// `Shape` when there is not exactly one.
    pub fn item(&self) -> Result<f64> {
        match self.to_f64_vec()?[..] {
            [value] => Ok(value),
            _ => Err(Error::shape(format!("item needs exactly one element, got a tensor of {:?}", self.shape()))),
        }
    }

    /// The same elements in row-major memory.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn contiguous(&self) -> Result<Self> {
        Ok(Self { array: self.array.contiguous()?, edge: self.edge.clone() })
    }

    /// The tensor on another device.
    ///
    /// # Errors
    /// `Unavailable` when the device was not opened; `Autograd` for a tensor with history.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        ready();
        if device == self.device() {
            return Ok(self.clone());
        }
        if self.edge.is_some() {
            return Err(Error::autograd("a tensor with history cannot change device; detach it or move its inputs"));
        }
        let cpu = self.array.to_cpu()?.contiguous()?;
        match device {
            Device::Cpu => Ok(Self::from_array(cpu)),
            Device::Meta => Self::meta_like(self.dtype(), self.shape()),
            device => {
                let size = cpu.dtype().size();
                let (start, len) = (cpu.layout().offset() * size, cpu.shape().numel() * size);
                let backend = esker_ops::backend(device)?;
                let mut storage = backend.alloc(len)?;
                backend.write(&cpu.storage().bytes()[start..start + len], &mut storage)?;
                let layout = Layout::contiguous(*cpu.shape());
                Ok(Self::from_array(Array::new(cpu.dtype(), device, layout, storage)?))
            }
        }
    }
}
