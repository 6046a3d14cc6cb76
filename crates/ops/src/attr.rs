//! The types of op attributes: compared and hashed by value, floats by bits.

use std::fmt;

use esker_tensor::{Dims, Error, PerDim, Result, Shape};
use smallvec::{SmallVec, smallvec};

/// A float attribute, compared and hashed by its bits, so that ops are `Eq + Hash`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct F64Bits(u64);

impl F64Bits {
    /// The value.
    pub const fn get(self) -> f64 {
        f64::from_bits(self.0)
    }

    /// From a value.
    pub const fn new(value: f64) -> Self {
        Self(value.to_bits())
    }
}

impl From<f64> for F64Bits {
    fn from(value: f64) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for F64Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Sizes as a user writes them: -1 stands for "what is left" in `reshape` and "as it is" in `expand`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sizes(Option<PerDim<i64>>);

/// Dimensions as a user writes them: negative ones count from the end, an empty list means all.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Axes(Option<PerDim<i64>>);

macro_rules! lists {
    ($($t:ty),*) => {$(
        impl $t {
            /// From a slice; a list longer than the highest rank is reported when the op is inferred.
            pub fn new(items: &[i64]) -> Self {
                Self(PerDim::new(items).ok())
            }

            /// The numbers as written.
            ///
            /// # Errors
            /// `Dim` when more than the highest rank were given.
            pub fn get(&self) -> Result<&[i64]> {
                match &self.0 {
                    Some(list) => Ok(list),
                    None => Err(Error::dim(format!(
                        "more than {} dimensions were given, the highest rank", esker_tensor::MAX_RANK
                    ))),
                }
            }
        }

        impl fmt::Debug for $t {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match &self.0 {
                    Some(list) => list.fmt(f),
                    None => f.write_str("[too many]"),
                }
            }
        }

        impl From<&[i64]> for $t {
            fn from(items: &[i64]) -> Self {
                Self::new(items)
            }
        }

        impl From<&[usize]> for $t {
            fn from(items: &[usize]) -> Self {
                Self((items.len() <= esker_tensor::MAX_RANK).then(|| items.iter().map(|&n| n as i64).collect()))
            }
        }

        impl<const N: usize> From<[i64; N]> for $t {
            fn from(items: [i64; N]) -> Self {
                Self::new(&items)
            }
        }

        impl<const N: usize> From<[i32; N]> for $t {
            fn from(items: [i32; N]) -> Self {
                Self::new(&items.map(i64::from))
            }
        }

        impl<const N: usize> From<[usize; N]> for $t {
            fn from(items: [usize; N]) -> Self {
                Self::from(&items[..])
            }
        }

        impl From<Shape> for $t {
            fn from(shape: Shape) -> Self {
                Self::from(&shape[..])
            }
        }

        impl From<&Shape> for $t {
            fn from(shape: &Shape) -> Self {
                Self::from(&shape[..])
            }
        }

        impl From<()> for $t {
            fn from((): ()) -> Self {
                Self::new(&[])
            }
        }
    )*};
}

lists!(Sizes, Axes);

impl Sizes {
    /// A fully stated shape (no -1).
    ///
    /// # Errors
    /// `Shape` for a negative size or more elements than an address can reach.
    pub fn shape(&self) -> Result<Shape> {
        let sizes = self.get()?;
        if let Some(bad) = sizes.iter().find(|&&n| n < 0) {
            return Err(Error::shape(format!("size {bad} in {self:?} is negative")));
        }
        let shape: Shape = sizes.iter().map(|&n| n as usize).collect();
        shape.checked_numel()?;
        Ok(shape)
    }

    /// The shape of `numel` elements that these sizes ask for, one of which may be -1.
    ///
    /// # Errors
    /// `Shape` when the number of elements does not fit.
    pub fn reshape(&self, from: &Shape) -> Result<Shape> {
        let numel = from.checked_numel()?;
        let sizes = self.get()?;
        let misfit = || Error::shape(format!("{from:?} has {numel} elements, which do not fit {self:?}"));
        if sizes.iter().any(|&n| n < -1) || sizes.iter().filter(|&&n| n == -1).count() > 1 {
            return Err(Error::shape(format!("{self:?} may hold at most one -1 and no other negative size")));
        }
        let known = sizes.iter().filter(|&&n| n >= 0).try_fold(1usize, |p, &n| p.checked_mul(n as usize));
        let known = known.ok_or_else(misfit)?;
        let fill = if sizes.contains(&-1) {
            if known == 0 || numel % known != 0 {
                return Err(misfit());
            }
            numel / known
        } else {
            if known != numel {
                return Err(misfit());
            }
            0
        };
        Ok(sizes.iter().map(|&n| if n == -1 { fill } else { n as usize }).collect())
    }

    /// The shape that `from` expands to; -1 keeps a dimension.
    ///
    /// # Errors
    /// `Shape` when a size is neither 1 nor equal.
    pub fn expand(&self, from: &Shape) -> Result<Shape> {
        let sizes = self.get()?;
        let lead = sizes.len().checked_sub(from.len());
        let to: Option<Shape> = lead.and_then(|lead| {
            sizes
                .iter()
                .enumerate()
                .map(|(i, &n)| match (i.checked_sub(lead), n) {
                    (Some(d), -1) => Some(from[d]),
                    (Some(d), n) if n >= 0 && (from[d] == n as usize || from[d] == 1) => Some(n as usize),
                    (None, n) if n >= 0 => Some(n as usize),
                    _ => None,
                })
                .collect::<Option<Vec<usize>>>()
                .map(|v| v.into_iter().collect())
        });
        let to = to.ok_or_else(|| Error::shape(format!("{from:?} cannot be expanded to {self:?}")))?;
        to.checked_numel()?;
        Ok(to)
    }

    /// Calls `f` on each size.
    pub fn visit(&mut self, f: &mut dyn FnMut(&mut i64)) {
        if let Some(list) = &mut self.0 {
            list.iter_mut().for_each(f);
        }
    }
}

impl From<i64> for Axes {
    fn from(dim: i64) -> Self {
        Self::new(&[dim])
    }
}

impl From<i32> for Axes {
    fn from(dim: i32) -> Self {
        Self::new(&[i64::from(dim)])
    }
}

impl From<Dims> for Axes {
    fn from(dims: Dims) -> Self {
        Self(Some(dims.iter().map(|&d| i64::from(d)).collect()))
    }
}

impl Axes {
    /// The dimensions of `shape` that are meant, in rising order; all of them for an empty list.
    ///
    /// # Errors
    /// `Dim` when one is out of range or named twice.
    pub fn of(&self, shape: &Shape) -> Result<Dims> {
        let axes = self.get()?;
        if axes.is_empty() {
            return Ok((0..shape.len() as u8).collect());
        }
        let mut dims: Dims = self.in_order(shape)?;
        if shape.is_empty() {
            return Ok(Dims::empty());
        }
        dims.sort_unstable();
        Ok(dims)
    }

    /// The dimensions in the order written, each at most once.
    ///
    /// # Errors
    /// `Dim` when one is out of range or named twice.
    pub fn in_order(&self, shape: &Shape) -> Result<Dims> {
        let mut dims = Dims::empty();
        for &axis in self.get()? {
            let d = shape.dim(axis)? as u8;
            if dims.contains(&d) {
                return Err(Error::dim(format!("dimension {axis} is named twice in {self:?}")));
            }
            dims = dims.with(d)?;
        }
        Ok(dims)
    }
}

/// Integers for each dimension of a window, where one may stand for all of them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ints(SmallVec<[i64; 4]>);

impl Ints {
    /// The numbers as written.
    pub fn get(&self) -> &[i64] {
        &self.0
    }

    /// One number for each of `N` dimensions, none below `least`.
    ///
    /// # Errors
    /// `Shape` naming `what` when the count or a number does not fit.
    pub fn each<const N: usize>(&self, what: &str, least: i64) -> Result<[usize; N]> {
        let list: [i64; N] = match self.0[..] {
            [one] => [one; N],
            ref list => {
                list.try_into().map_err(|_| Error::shape(format!("{what} takes one number or {N}, got {list:?}")))?
            }
        };
        match list.iter().find(|&&n| n < least) {
            Some(n) => Err(Error::shape(format!("{what} must be at least {least}, got {n}"))),
            None => Ok(list.map(|n| n as usize)),
        }
    }
}

impl From<i64> for Ints {
    fn from(n: i64) -> Self {
        Self(smallvec![n])
    }
}

impl<const N: usize> From<[i64; N]> for Ints {
    fn from(list: [i64; N]) -> Self {
        Self(SmallVec::from_slice(&list))
    }
}

impl From<&[i64]> for Ints {
    fn from(list: &[i64]) -> Self {
        Self(SmallVec::from_slice(list))
    }
}

impl From<Vec<i64>> for Ints {
    fn from(list: Vec<i64>) -> Self {
        Self(list.into())
    }
}

impl From<()> for Ints {
    fn from((): ()) -> Self {
        Self(SmallVec::new())
    }
}

/// Floats for each dimension, where one may stand for all of them.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Floats(SmallVec<[F64Bits; 2]>);

impl Floats {
    /// The numbers as written.
    pub fn get(&self) -> Vec<f64> {
        self.0.iter().map(|x| x.get()).collect()
    }
}

impl From<f64> for Floats {
    fn from(x: f64) -> Self {
        Self(smallvec![x.into()])
    }
}

impl From<&[f64]> for Floats {
    fn from(list: &[f64]) -> Self {
        Self(list.iter().map(|&x| x.into()).collect())
    }
}

/// What surrounds the input of a convolution.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Padding {
    /// So much that, with a stride of 1, the output is as large as the input; an odd rest goes to the end.
    Same,
    /// Nothing.
    Valid,
    /// So many zeros on both sides.
    Sizes(Ints),
}

macro_rules! padding {
    ($($T:ty),*) => {$(
        impl From<$T> for Padding {
            fn from(sizes: $T) -> Self {
                Self::Sizes(sizes.into())
            }
        }
    )*};
}

padding!(Ints, i64, [i64; 1], [i64; 2], [i64; 3], &[i64]);

/// An attribute that may be left out: `()` or `None`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Opt<T>(Option<T>);

impl<T> Opt<T> {
    /// The value, if given.
    pub const fn as_ref(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: Copy> Opt<T> {
    /// The value, if given.
    pub const fn get(&self) -> Option<T> {
        self.0
    }
}

impl<T> From<()> for Opt<T> {
    fn from((): ()) -> Self {
        Self(None)
    }
}

macro_rules! opt {
    ($($from:ty => $T:ty),*) => {$(
        impl From<$from> for Opt<$T> {
            fn from(value: $from) -> Self {
                Self(Some(value.into()))
            }
        }

        impl From<Option<$from>> for Opt<$T> {
            fn from(value: Option<$from>) -> Self {
                Self(value.map(Into::into))
            }
        }
    )*};
}

opt!(f64 => F64Bits, i64 => i64, bool => bool, Ints => Ints, Floats => Floats, esker_tensor::DType => esker_tensor::DType);

impl From<i64> for Opt<Ints> {
    fn from(n: i64) -> Self {
        Self(Some(n.into()))
    }
}

impl<const N: usize> From<[i64; N]> for Opt<Ints> {
    fn from(list: [i64; N]) -> Self {
        Self(Some(list.into()))
    }
}

impl From<f64> for Opt<Floats> {
    fn from(x: f64) -> Self {
        Self(Some(x.into()))
    }
}

impl From<i32> for Opt<i64> {
    fn from(value: i32) -> Self {
        Self(Some(value.into()))
    }
}
