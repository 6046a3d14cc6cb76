//! An array: storage, layout, dtype and device, without a tape. What kernels read and write.

use std::sync::{Arc, LazyLock};

use bytemuck::{cast_slice, cast_slice_mut};
use esker_tensor::{DType, Device, Element, Error, Layout, Result, Shape, Storage};

use crate::{Kernel, Meta, View, backend};

/// All of an array but its bytes: dtype, device, and how it lies. Arrays that are alike share it, so that they are small to
/// move and to clone, and quick to compare.
#[derive(Clone)]
pub struct Form(Arc<Parts>);

struct Parts {
    dtype: DType,
    device: Device,
    layout: Layout,
}

impl Form {
    fn new(dtype: DType, device: Device, layout: Layout) -> Self {
        Self(Arc::new(Parts { dtype, device, layout }))
    }

    /// Of a contiguous array; that of scalars on the CPU is shared by all.
    pub(crate) fn contiguous(meta: &Meta) -> Self {
        static SCALARS: LazyLock<Vec<Form>> = LazyLock::new(|| {
            let scalar = |dtype: &DType| Form::new(*dtype, Device::Cpu, Layout::contiguous(Shape::empty()));
            DType::ALL.iter().map(scalar).collect()
        });
        let known = SCALARS.get(meta.dtype as usize).filter(|form| form.0.dtype == meta.dtype);
        match known {
            Some(form) if meta.shape.is_empty() && meta.device == Device::Cpu => form.clone(),
            _ => Self::new(meta.dtype, meta.device, Layout::contiguous(meta.shape)),
        }
    }

    /// Of an array that lies as `layout` says.
    pub(crate) fn lying(meta: &Meta, layout: Layout) -> Self {
        Self::new(meta.dtype, meta.device, layout)
    }

    /// Dtype, shape and device.
    #[inline]
    pub fn meta(&self) -> Meta {
        Meta::new(self.0.dtype, *self.0.layout.shape(), self.0.device)
    }

    /// Whether another is the same, as far as can be seen without a look at it.
    #[inline]
    pub fn is_shared_by(&self, other: &Form) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A value without a tape: bytes, how they lie, what they are and where.
#[derive(Clone)]
pub struct Array {
    form: Form,
    storage: Storage,
}

impl Array {
    /// An array over a storage.
    ///
    /// # Errors
    /// `Shape` when the layout reaches beyond the storage (not checked on `Meta`, which has no bytes).
    pub fn new(dtype: DType, device: Device, layout: Layout, storage: Storage) -> Result<Self> {
        let needed = layout.extent().end.checked_mul(dtype.size());
        if device == Device::Meta || needed.is_some_and(|n| n <= storage.len()) {
            return Ok(Self { form: Form::new(dtype, device, layout), storage });
        }
        Err(Error::shape(format!(
            "a layout of {:?} {dtype} with strides {:?} at {} does not fit a storage of {} bytes",
            layout.shape(),
            layout.strides(),
            layout.offset(),
            storage.len()
        )))
    }

    /// An array of the meta's shape with arbitrary contents, lying as `layout` says (dense, offset 0).
    ///
    /// # Errors
    /// `OutOfMemory`; `Unavailable` for a device that was not opened.
    pub fn uninit(meta: &Meta, layout: Layout) -> Result<Self> {
        Self::uninit_as(meta, Form::lying(meta, layout))
    }

    /// As [`Array::uninit`], of a form that has the meta.
    pub(crate) fn uninit_as(meta: &Meta, form: Form) -> Result<Self> {
        let bytes = meta.shape.checked_numel()?.checked_mul(meta.dtype.size());
        let bytes = bytes.ok_or_else(|| Error::shape(format!("{:?} does not fit an address space", meta.shape)))?;
        let storage = match meta.device {
            Device::Meta => Storage::meta(),
            device => backend(device)?.alloc(bytes)?,
        };
        Ok(Self { form, storage })
    }

    /// An array on the CPU with a copy of `data`, row-major.
    ///
    /// # Errors
    /// `Shape` when the number of elements differs.
    pub fn from_slice<T: Element>(data: &[T], shape: Shape) -> Result<Self> {
        let numel = shape.checked_numel()?;
        if numel != data.len() {
            return Err(Error::shape(format!("{} elements were given for {shape:?}, which has {numel}", data.len())));
        }
        let mut storage = Storage::alloc(size_of_val(data))?;
        let stored = cast_slice_mut::<u8, T::Stored>(storage.make_mut()?);
        for (to, &from) in stored.iter_mut().zip(data) {
            *to = from.store();
        }
        Ok(Self { form: Form::contiguous(&Meta::new(T::DTYPE, shape, Device::Cpu)), storage })
    }

    /// A scalar.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn scalar(value: f64, dtype: DType) -> Result<Self> {
        let mut storage = Storage::alloc(dtype.size())?;
        let bytes = storage.make_mut()?;
        match_dtype!(dtype, T => bytes.copy_from_slice(bytemuck::bytes_of(&T::from_f64(value).store())));
        Ok(Self { form: Form::contiguous(&Meta::new(dtype, Shape::empty(), Device::Cpu)), storage })
    }

    /// A CPU array of one repeated value.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn filled(value: f64, dtype: DType, shape: Shape) -> Result<Self> {
        fn fill<T: Element>(value: f64, shape: Shape) -> Result<Array> {
            Array::from_slice(&vec![T::from_f64(value); shape.checked_numel()?], shape)
        }
        match_dtype!(dtype, T => fill::<T>(value, shape))
    }

    /// Dtype, shape and device.
    pub fn meta(&self) -> Meta {
        self.form.meta()
    }

    /// All but the bytes.
    #[inline]
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.form.0.dtype
    }

    /// Home.
    #[inline]
    pub fn device(&self) -> Device {
        self.form.0.device
    }

    /// Sizes.
    #[inline]
    pub fn shape(&self) -> &Shape {
        self.layout().shape()
    }

    /// How the elements lie.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.form.0.layout
    }

    /// Whether another array is of the same dtype and device.
    #[inline]
    pub(crate) fn is_of(&self, other: &Array) -> bool {
        self.dtype() == other.dtype() && self.device() == other.device()
    }

    /// Whether another array is of the same dtype and device and lies alike.
    #[inline]
    pub(crate) fn lies_like(&self, other: &Array) -> bool {
        self.form.is_shared_by(&other.form) || (self.is_of(other) && self.layout() == other.layout())
    }

    /// An array of the same form with arbitrary contents; `None` on `Meta`. For forms that begin at offset 0.
    #[inline]
    pub(crate) fn uninit_like(&self) -> Option<Result<Self>> {
        if self.device() == Device::Meta {
            return None;
        }
        let bytes = self.shape().numel() * self.dtype().size(); // As many as `self` has.
        let storage = backend(self.device()).and_then(|b| b.alloc(bytes));
        Some(storage.map(|storage| Self { form: self.form.clone(), storage }))
    }

    /// Another view of the same bytes.
    fn lying(&self, layout: Layout) -> Self {
        Self { form: Form::new(self.dtype(), self.device(), layout), storage: self.storage.clone() }
    }

    /// The bytes.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The bytes, for writing.
    pub fn storage_mut(&mut self) -> &mut Storage {
        &mut self.storage
    }

    /// The address of the first element; valid for reads within [`Layout::extent`].
    pub fn as_ptr(&self) -> *const u8 {
        self.storage.as_ptr().wrapping_add(self.layout().offset() * self.dtype().size())
    }

    /// The address of the first element for writing; `None` when the storage has other owners.
    pub fn as_mut_ptr(&mut self) -> Option<*mut u8> {
        let start = self.layout().offset() * self.dtype().size();
        self.storage.get_mut().map(|b| b.as_mut_ptr().wrapping_add(start))
    }

    /// Another view of the same storage; a contiguous copy first where strides do not allow it.
    ///
    /// # Errors
    /// Those of [`View::of`] and of the copy.
    pub fn view(&self, view: &View) -> Result<Self> {
        if self.device() == Device::Meta {
            let layout = match view.of(self.layout())? {
                Some(layout) => Layout::contiguous(*layout.shape()),
                None => Layout::contiguous(match view {
                    View::Reshape(shape) => *shape,
                    _ => *self.shape(),
                }),
            };
            return Self::uninit(&self.meta().with_shape(*layout.shape()), layout);
        }
        if let Some(layout) = view.of(self.layout())? {
            return Ok(self.lying(layout));
        }
        let copy = self.contiguous()?;
        match view.of(copy.layout())? {
            Some(layout) => Ok(copy.lying(layout)),
            None => Err(Error::shape(format!("{view:?} does not fit {:?}", self.shape()))),
        }
    }

    /// The same elements in row-major order; the array itself when they lie so already.
    ///
    /// # Errors
    /// Those of the copy.
    pub fn contiguous(&self) -> Result<Self> {
        if self.layout().is_contiguous() { Ok(self.clone()) } else { self.copied() }
    }

    /// A row-major copy in storage of its own.
    ///
    /// # Errors
    /// Those of the copy.
    pub fn copied(&self) -> Result<Self> {
        let mut out = [Self::uninit(&self.meta(), Layout::contiguous(*self.shape()))?];
        if self.device() != Device::Meta {
            backend(self.device())?.run(&Kernel::Copy, &[self], &mut out)?;
        }
        let [out] = out;
        Ok(out)
    }

    /// Makes this the only owner of its bytes, by a copy where there are others.
    ///
    /// # Errors
    /// Those of the copy.
    pub fn own(&mut self) -> Result<()> {
        if self.storage.is_unique() {
            return Ok(());
        }
        if !self.storage.is_on_device() {
            return self.storage.make_mut().map(|_| ());
        }
        let order = self.layout().dense_order();
        let layout =
            order.map_or_else(|| Layout::contiguous(*self.shape()), |order| Layout::dense(*self.shape(), &order));
        let mut copy = [Self::uninit(&self.meta(), layout)?];
        backend(self.device())?.run(&Kernel::Copy, &[self], &mut copy)?;
        [*self] = copy;
        esker_tensor::pool::note_copy_on_write();
        Ok(())
    }

    /// The same values on the CPU.
    ///
    /// # Errors
    /// `Capture` on `Meta`, which has no values.
    pub fn to_cpu(&self) -> Result<Self> {
        match self.device() {
            Device::Cpu => Ok(self.clone()),
            Device::Meta => Err(Error::capture(format!(
                "the values of a {:?} meta tensor were asked for; it has none (is the code under capture reading data?)",
                self.shape()
            ))),
            device => {
                let mut dense = self.contiguous()?;
                if dense.storage.len() != dense.shape().numel() * dense.dtype().size() {
                    dense = dense.copied()?; // Only these elements cross.
                }
                let mut storage = Storage::alloc(dense.storage.len())?;
                backend(device)?.read(&dense.storage, storage.make_mut()?)?;
                Self::new(self.dtype(), Device::Cpu, *dense.layout(), storage)
            }
        }
    }

    /// The elements, row-major.
    ///
    /// # Errors
    /// `DType` when `T` is not the array's type.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype() {
            return Err(Error::dtype(format!("the values are {}, not {}; cast first", self.dtype(), T::DTYPE)));
        }
        let cpu = self.to_cpu()?;
        let all: &[T::Stored] = cast_slice(cpu.storage.bytes());
        if cpu.layout().is_contiguous() {
            let start = cpu.layout().offset();
            let n = cpu.shape().numel();
            return Ok(all.get(start..start + n).unwrap_or(&[]).iter().map(|&s| T::load(s)).collect());
        }
        Ok(cpu.layout().indices().map(|i| T::load(all[i])).collect())
    }

    /// The elements as f64, row-major.
    ///
    /// # Errors
    /// As [`Array::to_vec`].
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        match_dtype!(self.dtype(), T => Ok(self.to_vec::<T>()?.into_iter().map(Element::to_f64).collect()))
    }
}

impl AsRef<Array> for Array {
    #[inline]
    fn as_ref(&self) -> &Array {
        self
    }
}

impl std::fmt::Debug for Array {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Array({:?}, {}, {})", self.shape(), self.dtype(), self.device())
    }
}

/// Runs an expression with `T` as the element type of a run-time dtype.
#[macro_export]
macro_rules! match_dtype {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::tensor::DType::Bool => {
                type $T = bool;
                $body
            }
            $crate::tensor::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::tensor::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::tensor::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::tensor::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::tensor::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::tensor::DType::F16 => {
                type $T = $crate::half::f16;
                $body
            }
            $crate::tensor::DType::BF16 => {
                type $T = $crate::half::bf16;
                $body
            }
            $crate::tensor::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::tensor::DType::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}
pub(crate) use match_dtype;
