//! Elements repeated, turned round, cut into parts, picked along diagonals and in windows.

use esker_tensor::{DType, Error, Result};

use super::function;
use super::view::{moved, without};
use crate::{Ops, Value};

/// `x` cut along `dim` into parts of these sizes.
fn parts<V: Value>(x: &V, dim: usize, sizes: impl IntoIterator<Item = usize>) -> Result<Vec<V>> {
    let mut start = 0;
    sizes
        .into_iter()
        .map(|n| {
            let part = x.slice(dim as i64, start, start + n as i64, 1);
            start += n as i64;
            part
        })
        .collect()
}

fn need_dims<V: Value>(x: &V) -> Result<()> {
    if x.meta().shape.is_empty() { Err(Error::dim("a scalar has no dimension to cut")) } else { Ok(()) }
}

function! { Split |op, x| {
    need_dims(x)?;
    let shape = x.meta().shape;
    let dim = shape.dim(op.dim)?;
    let n = shape[dim];
    let sizes: Vec<usize> = match *op.split_size_or_sections.get() {
        [each] if each > 0 => {
            let each = each as usize;
            (0..n.div_ceil(each).max(1)).map(|i| each.min(n - i * each)).collect()
        }
        ref list if list.iter().all(|&s| s >= 0) && list.iter().sum::<i64>() == n as i64 => {
            list.iter().map(|&s| s as usize).collect()
        }
        ref list => {
            return Err(Error::shape(format!("{list:?} do not add up to the {n} of dimension {} of {shape:?}", op.dim)));
        }
    };
    parts(x, dim, sizes)?
} }

function! { Chunk |op, x| {
    need_dims(x)?;
    let shape = x.meta().shape;
    let dim = shape.dim(op.dim)?;
    if op.chunks < 1 {
        return Err(Error::shape(format!("needs at least one chunk, got {}", op.chunks)));
    }
    let n = shape[dim];
    let each = n.div_ceil(op.chunks as usize).max(1);
    parts(x, dim, (0..n.div_ceil(each).max(1)).map(|i| each.min(n - i * each)))?
} }

function! { Flip |op, x| {
    let mut y = x.clone();
    let shape = x.meta().shape;
    for &dim in &*op.dims.in_order(&shape)? {
        y = y.slice(i64::from(dim), -1, i64::MIN, -1)?;
    }
    y
} }

/// `x` turned by `shift` places along `dim`.
fn rolled<V: Value>(x: &V, dim: usize, shift: i64) -> Result<V> {
    let n = x.meta().shape[dim] as i64;
    if n == 0 || shift.rem_euclid(n) == 0 {
        return Ok(x.clone());
    }
    let cut = n - shift.rem_euclid(n);
    V::cat(&[&x.slice(dim as i64, cut, n, 1)?, &x.slice(dim as i64, 0, cut, 1)?], dim as i64)
}

function! { Roll |op, x| {
    let shape = x.meta().shape;
    let (shifts, dims) = (op.shifts.get(), op.dims.get()?);
    if dims.is_empty() && shifts.len() == 1 {
        rolled(&x.reshape([-1])?, 0, shifts[0])?.reshape(shape)?
    } else if dims.len() == shifts.len() {
        let mut y = x.clone();
        for (&dim, &shift) in op.dims.in_order(&shape)?.iter().zip(shifts) {
            y = rolled(&y, usize::from(dim), shift)?;
        }
        y
    } else {
        return Err(Error::dim(format!("{} shifts were given for {} dimensions", shifts.len(), dims.len())));
    }
} }

function! { Repeat |op, x| {
    let (shape, repeats) = (x.meta().shape, op.repeats.shape()?);
    if repeats.len() < shape.len() {
        return Err(Error::shape(format!("{} repeats were given for the {} dimensions of {shape:?}", repeats.len(), shape.len())));
    }
    let lead = repeats.len() - shape.len();
    let sizes: Vec<usize> = [&vec![1; lead][..], &shape[..]].concat();
    let mut y = x.reshape(&sizes[..])?;
    for (dim, &n) in repeats.iter().enumerate() {
        y = match n {
            0 => y.slice(dim as i64, 0, 0, 1)?,
            1 => y,
            n => V::cat(&vec![&y; n], dim as i64)?,
        };
    }
    y
} }

function! { Tile |op, x| {
    let (shape, dims) = (x.meta().shape, op.dims.shape()?);
    let lead = shape.len().saturating_sub(dims.len());
    let repeats: Vec<usize> = [&vec![1; lead][..], &dims[..]].concat();
    x.repeat(&repeats[..])?
} }

function! { RepeatInterleave |op, x| {
    if op.repeats < 0 {
        return Err(Error::shape(format!("repeats must be at least 0, got {}", op.repeats)));
    }
    let x = if op.dim.get().is_some() && !x.meta().shape.is_empty() { x.clone() } else { x.reshape([-1])? };
    let shape = x.meta().shape;
    let dim = shape.dim(op.dim.get().unwrap_or(0))?;
    let mut sizes: Vec<usize> = shape.to_vec();
    sizes.insert(dim + 1, 1);
    let apart = x.reshape(&sizes[..])?;
    sizes[dim + 1] = op.repeats as usize;
    let spread = apart.expand(&sizes[..])?;
    sizes.remove(dim + 1);
    sizes[dim] *= op.repeats as usize;
    spread.reshape(&sizes[..])?
} }

function! { Meshgrid |op, [xs]| {
    let columns = match op.indexing.as_str() {
        "ij" => false,
        "xy" => true,
        other => return Err(Error::kernel(format!("indexing must be \"ij\" or \"xy\", got {other:?}"))),
    };
    if let Some(x) = xs.iter().find(|x| x.meta().shape.len() > 1) {
        return Err(Error::shape(format!("takes vectors and scalars, got {:?}", x.meta().shape)));
    }
    let mut order: Vec<usize> = (0..xs.len()).collect();
    if columns && xs.len() > 1 {
        order.swap(0, 1);
    }
    let sizes: Vec<usize> = order.iter().map(|&i| xs[i].meta().shape.numel()).collect();
    let grid = |(i, x): (usize, &&V)| {
        let mut own = vec![1; sizes.len()];
        if let Some(d) = order.iter().position(|&o| o == i) {
            own[d] = sizes[d];
        }
        x.reshape(&own[..])?.expand(&sizes[..])
    };
    xs.iter().enumerate().map(grid).collect::<Result<Vec<V>>>()?
} }

function! { Diagonal |op, x| {
    let shape = x.meta().shape;
    let (a, b) = (shape.dim(op.dim1)?, shape.dim(op.dim2)?);
    if shape.len() < 2 || a == b {
        return Err(Error::dim(format!("dimensions {} and {} of {shape:?} are not two", op.dim1, op.dim2)));
    }
    let rank = shape.len();
    let (rows, columns) = (shape[a] as i64, shape[b] as i64);
    let x = moved(x, a, rank - 1)?;
    let x = moved(&x, if b > a { b - 1 } else { b }, rank - 1)?;
    let mut sizes: Vec<i64> = x.meta().shape[..rank - 2].iter().map(|&n| n as i64).collect();
    sizes.push(rows * columns);
    let flat = x.reshape(&sizes[..])?;
    let k = op.offset;
    let count = if k >= 0 { rows.min(columns - k) } else { (rows + k).min(columns) }.max(0);
    let start = if k >= 0 { k } else { -k * columns };
    let end = start + (count - 1).max(0) * (columns + 1) + 1;
    if count == 0 { flat.slice(-1, 0, 0, 1)? } else { flat.slice(-1, start, end, columns + 1)? }
} }

function! { Diag |op, x| match x.meta().shape.len() {
    2 => x.diagonal(op.diagonal, 0, 1)?,
    1 => {
        let meta = x.meta();
        let (n, k) = (meta.shape[0] as i64, op.diagonal);
        let m = n + k.abs();
        let zeros = |sizes: [i64; 2]| V::full(0.0, sizes, meta.dtype, meta.device);
        // A row of x_i and m zeros is one place longer than a row of the result, which walks down the diagonal.
        let walk = V::cat(&[&x.reshape([n, 1])?, &zeros([n, m])?], 1)?.reshape([1, n * (m + 1)])?;
        let lead = if k >= 0 { k } else { -k * m };
        let all = V::cat(&[&zeros([1, lead])?, &walk, &zeros([1, m * m])?], 1)?;
        all.slice(1, 0, m * m, 1)?.reshape([m, m])?
    }
    _ => return Err(Error::shape(format!("takes a vector or a matrix, got {:?}", x.meta().shape))),
} }

/// Whether column - row is at most (`lower`) or at least `diagonal`, for the last two dimensions.
fn triangle<V: Value>(x: &V, diagonal: i64, lower: bool) -> Result<V> {
    let meta = x.meta();
    let [.., rows, columns] = meta.shape[..] else {
        return Err(Error::shape(format!("takes matrices, got {:?}", meta.shape)));
    };
    let row = V::iota(diagonal as f64, 1.0, rows as i64, DType::I64, meta.device)?.reshape([rows, 1])?;
    let column = V::iota(0.0, 1.0, columns as i64, DType::I64, meta.device)?;
    let keep = if lower { column.le(&row)? } else { column.ge(&row)? };
    keep.where_cond(x, &V::scalar(0.0, meta.dtype, meta.device)?)
}

function! { Tril |op, x| triangle(x, op.diagonal, true)? }

function! { Triu |op, x| triangle(x, op.diagonal, false)? }

function! { Unfold |op, x| {
    let shape = x.meta().shape;
    let dim = shape.dim(op.dimension)?;
    let n = shape.get(dim).copied().unwrap_or(1) as i64;
    if op.size < 1 || op.step < 1 || op.size > n {
        return Err(Error::shape(format!(
            "windows of {} by steps of {} do not fit dimension {} of {shape:?}", op.size, op.step, op.dimension
        )));
    }
    let count = (n - op.size) / op.step + 1;
    let device = x.meta().device;
    let starts = V::iota(0.0, op.step as f64, count, DType::I64, device)?.reshape([count, 1])?;
    let index = starts.add(&V::iota(0.0, 1.0, op.size, DType::I64, device)?)?.reshape([count * op.size])?;
    let flat = if shape.is_empty() { x.reshape([1])? } else { x.clone() };
    let picked = flat.index_select(&index, dim as i64)?;
    let mut sizes = without(&flat.meta().shape, dim);
    sizes.insert(dim, op.size as usize);
    sizes.insert(dim, count as usize);
    let last = sizes.len() - 1;
    let y = moved(&picked.reshape(&sizes[..])?, dim + 1, last)?;
    if shape.is_empty() { y.reshape([op.size])? } else { y }
} }

function! { AsStrided |op, x| {
    let (sizes, strides) = (op.size.shape()?, op.stride.get());
    if sizes.len() != strides.len() {
        return Err(Error::shape(format!("{} strides were given for {} sizes", strides.len(), sizes.len())));
    }
    let numel = x.meta().shape.numel() as i64;
    let reach = |pick: fn(i64, i64) -> i64| {
        sizes.iter().zip(strides).map(|(&n, &s)| pick(0, (n as i64 - 1).max(0) * s)).sum::<i64>() + op.storage_offset
    };
    if !sizes.contains(&0) && (reach(i64::min) < 0 || reach(i64::max) >= numel) {
        return Err(Error::shape(format!("sizes {sizes:?} with strides {strides:?} reach beyond {numel} elements")));
    }
    let device = x.meta().device;
    let mut index = V::full(op.storage_offset as f64, &vec![1usize; sizes.len()][..], DType::I64, device)?;
    for (d, (&n, &stride)) in sizes.iter().zip(strides).enumerate() {
        let mut own = vec![1; sizes.len()];
        own[d] = n;
        index = index.add(&V::iota(0.0, stride as f64, n as i64, DType::I64, device)?.reshape(&own[..])?)?;
    }
    x.reshape([-1])?.index_select(&index.reshape([-1])?, 0)?.reshape(sizes)?
} }

#[cfg(feature = "spec")]
mod spec {
    use crate::op::*;
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, axis, ints, real, values};

    fn ok(op: impl Into<crate::Op>, shape: &[usize]) -> Sample {
        Sample::new(op, [real(shape)])
    }

    fn cut(x: &RefArray, dim: usize, sizes: &[usize]) -> Vec<RefArray> {
        let mut start = 0;
        let part = |n: &usize| {
            let mut shape = x.shape.clone();
            shape[dim] = *n;
            let y = RefArray::from_fn(&shape, |i| {
                let mut at = i.to_vec();
                at[dim] += start;
                x.at(&at)
            });
            start += n;
            y
        };
        sizes.iter().map(part).collect()
    }

    impl OpSpec for Split {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dim = axis(self.dim, x[0].shape.len());
            let n = x[0].shape[dim];
            let sizes: Vec<usize> = match self.split_size_or_sections.get() {
                [each] => (0..n).collect::<Vec<_>>().chunks(*each as usize).map(<[usize]>::len).collect(),
                list => list.iter().map(|&s| s as usize).collect(),
            };
            cut(&x[0], dim, &sizes)
        }
        fn samples() -> Vec<Sample> {
            let op = |s: Vec<i64>, dim| Split { split_size_or_sections: s.into(), dim };
            vec![
                ok(op(vec![2], 0), &[5, 2]),
                ok(op(vec![1, 3], 1), &[2, 4]).on(Dtypes::All),
                ok(op(vec![0, 2], -1), &[3, 2]),
                ok(op(vec![1, 1], 0), &[3]).fails("Shape", "they do not add up"),
                ok(op(vec![1], 0), &[]).fails("Dim", "a scalar"),
            ]
        }
    }

    impl OpSpec for Chunk {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dim = axis(self.dim, x[0].shape.len());
            let n = x[0].shape[dim];
            let all: Vec<usize> = (0..n).collect();
            let sizes: Vec<usize> = all.chunks(n.div_ceil(self.chunks as usize)).map(<[usize]>::len).collect();
            cut(&x[0], dim, &sizes)
        }
        fn samples() -> Vec<Sample> {
            let op = |chunks, dim| Chunk { chunks, dim };
            vec![
                ok(op(3, 0), &[7, 2]),
                ok(op(4, 1), &[2, 6]).on(Dtypes::All),
                ok(op(1, -1), &[3]),
                ok(op(0, 0), &[3]).fails("Shape", "no chunk"),
            ]
        }
    }

    impl OpSpec for Flip {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dims: Vec<usize> = self.dims.get().unwrap_or(&[]).iter().map(|&d| axis(d, x[0].shape.len())).collect();
            vec![RefArray::from_fn(&x[0].shape, |i| {
                let mut at = i.to_vec();
                dims.iter().for_each(|&d| at[d] = x[0].shape[d] - 1 - at[d]);
                x[0].at(&at)
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |dims: &[i64]| Flip { dims: dims.into() };
            vec![
                ok(op(&[0]), &[3, 2]),
                ok(op(&[-1, 0]), &[3, 4]).on(Dtypes::All),
                ok(op(&[1]), &[2, 0]).rough(),
                ok(op(&[2]), &[2, 3]).fails("Dim", "out of range"),
            ]
        }
    }

    impl OpSpec for Roll {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let x = &x[0];
            let shifts = self.shifts.get();
            let dims = self.dims.get().unwrap_or(&[]);
            if dims.is_empty() {
                let mut data = x.data.clone();
                let n = data.len() as i64;
                data.rotate_right(shifts[0].rem_euclid(n) as usize);
                return vec![RefArray::new(&x.shape, data)];
            }
            vec![RefArray::from_fn(&x.shape, |i| {
                let mut at = i.to_vec();
                for (&d, &s) in dims.iter().zip(shifts) {
                    let d = axis(d, x.shape.len());
                    at[d] = (at[d] as i64 - s).rem_euclid(x.shape[d] as i64) as usize;
                }
                x.at(&at)
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |shifts: &[i64], dims: &[i64]| Roll { shifts: shifts.into(), dims: dims.into() };
            vec![
                ok(op(&[1], &[0]), &[3, 2]),
                ok(op(&[-2, 4], &[-1, 0]), &[3, 4]).on(Dtypes::All),
                ok(op(&[2], &[]), &[2, 3]),
                ok(op(&[1, 2], &[0]), &[2, 3]).fails("Dim", "two shifts for one dimension"),
            ]
        }
    }

    fn repeated(x: &RefArray, repeats: &[usize]) -> RefArray {
        let lead = repeats.len() - x.shape.len();
        let old: Vec<usize> = [&vec![1; lead][..], &x.shape[..]].concat();
        let shape: Vec<usize> = old.iter().zip(repeats).map(|(a, b)| a * b).collect();
        let x = RefArray::new(&old, x.data.clone());
        RefArray::from_fn(&shape, |i| x.at(&i.iter().zip(&old).map(|(i, n)| i % n).collect::<Vec<_>>()))
    }

    impl OpSpec for Repeat {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            vec![repeated(&x[0], &self.repeats.shape().map(|s| s.to_vec()).unwrap_or_default())]
        }
        fn samples() -> Vec<Sample> {
            let op = |r: &[i64]| Repeat { repeats: r.into() };
            vec![
                ok(op(&[2, 3]), &[2, 2]),
                ok(op(&[2, 1, 2]), &[3, 2]).on(Dtypes::All),
                ok(op(&[0, 2]), &[2, 2]).rough(),
                ok(op(&[3]), &[]),
                ok(op(&[2]), &[2, 2]).fails("Shape", "too few"),
            ]
        }
    }

    impl OpSpec for Tile {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let mut repeats = self.dims.shape().map(|s| s.to_vec()).unwrap_or_default();
            while repeats.len() < x[0].shape.len() {
                repeats.insert(0, 1);
            }
            vec![repeated(&x[0], &repeats)]
        }
        fn samples() -> Vec<Sample> {
            let op = |r: &[i64]| Tile { dims: r.into() };
            vec![
                ok(op(&[2]), &[2, 2]),
                ok(op(&[2, 1, 2]), &[3, 2]),
                Sample::new(op(&[2]), [values(&[2], &[1.0, 2.0])]).known(&[&[1.0, 2.0, 1.0, 2.0]], "by hand"),
                ok(op(&[-2]), &[2]).fails("Shape", "a negative count"),
            ]
        }
    }

    impl OpSpec for RepeatInterleave {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let r = self.repeats as usize;
            let flat = RefArray::new(&[x[0].data.len()], x[0].data.clone());
            let (x, dim) = match self.dim.get() {
                Some(dim) if !x[0].shape.is_empty() => (&x[0], axis(dim, x[0].shape.len())),
                _ => (&flat, 0),
            };
            let mut shape = x.shape.clone();
            shape[dim] *= r;
            vec![RefArray::from_fn(&shape, |i| {
                let mut at = i.to_vec();
                at[dim] /= r;
                x.at(&at)
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |repeats, dim: Option<i64>| RepeatInterleave { repeats, dim: dim.into() };
            vec![
                ok(op(2, None), &[2, 2]),
                ok(op(3, Some(1)), &[2, 3]).on(Dtypes::All),
                ok(op(2, Some(-1)), &[2, 1]),
                ok(op(2, Some(2)), &[2, 2]).fails("Dim", "out of range"),
                ok(op(-1, None), &[2]).fails("Shape", "a negative count"),
            ]
        }
    }

    impl OpSpec for Meshgrid {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let mut sizes: Vec<usize> = x.iter().map(|x| x.data.len()).collect();
            let swap = self.indexing == "xy" && x.len() > 1;
            if swap {
                sizes.swap(0, 1);
            }
            let place = |k: usize| if swap && k < 2 { 1 - k } else { k };
            x.iter().enumerate().map(|(k, x)| RefArray::from_fn(&sizes, |i| x.data[i[place(k)]])).collect()
        }
        fn samples() -> Vec<Sample> {
            let op = |s: &str| Meshgrid { indexing: s.into() };
            vec![
                Sample::new(op("ij"), [real(&[2]), real(&[3])]),
                Sample::new(op("xy"), [real(&[2]), real(&[3]), real(&[2])]).on(Dtypes::All),
                Sample::new(op("ij"), [real(&[4]), real(&[])]),
                Sample::new(op("zz"), [real(&[2])]).fails("Kernel", "an unknown word"),
            ]
        }
    }

    impl OpSpec for Diagonal {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let x = &x[0];
            let n = x.shape.len();
            let (a, b) = (axis(self.dim1, n), axis(self.dim2, n));
            let (down, right) = ((-self.offset).max(0) as usize, self.offset.max(0) as usize);
            let count = x.shape[a].saturating_sub(down).min(x.shape[b].saturating_sub(right));
            let mut shape: Vec<usize> = (0..n).filter(|d| *d != a && *d != b).map(|d| x.shape[d]).collect();
            shape.push(count);
            vec![RefArray::from_fn(&shape, |i| {
                let mut rest = i.iter();
                let at: Vec<usize> = (0..n)
                    .map(|d| match d {
                        d if d == a => i[n - 2] + down,
                        d if d == b => i[n - 2] + right,
                        _ => rest.next().copied().unwrap_or(0),
                    })
                    .collect();
                x.at(&at)
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |offset, dim1, dim2| Diagonal { offset, dim1, dim2 };
            vec![
                ok(op(0, 0, 1), &[3, 3]),
                ok(op(1, 0, 1), &[3, 4]).on(Dtypes::All),
                ok(op(-1, 0, 1), &[3, 2]),
                ok(op(0, -1, 0), &[2, 3, 4]),
                ok(op(5, 0, 1), &[3, 3]).rough(),
                ok(op(0, 1, 1), &[3, 3]).fails("Dim", "one dimension twice"),
            ]
        }
    }

    impl OpSpec for Diag {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            if x[0].shape.len() == 2 {
                return Diagonal { offset: self.diagonal, dim1: 0, dim2: 1 }.reference(x);
            }
            let n = x[0].data.len() + self.diagonal.unsigned_abs() as usize;
            let (down, right) = ((-self.diagonal).max(0) as usize, self.diagonal.max(0) as usize);
            vec![RefArray::from_fn(&[n, n], |i| {
                if i[0] + right == i[1] + down && i[0] >= down { x[0].data[i[0] - down] } else { 0.0 }
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |diagonal| Diag { diagonal };
            let mut out: Vec<Sample> = (-3..4).map(|k| ok(op(k), &[3])).collect();
            out.push(ok(op(1), &[3, 4]));
            out.push(Sample::new(op(0), [values(&[2], &[1.0, 2.0])]).known(&[&[1.0, 0.0, 0.0, 2.0]], "by hand"));
            out.push(ok(op(0), &[2, 2, 2]).fails("Shape", "rank 3"));
            out
        }
    }

    macro_rules! triangles {
        ($($Name:ident |$d:ident, $k:ident| $keep:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let $k = self.diagonal;
                    vec![RefArray::from_fn(&x[0].shape, |i| {
                        let $d = i[i.len() - 1] as i64 - i[i.len() - 2] as i64;
                        if $keep { x[0].at(i) } else { 0.0 }
                    })]
                }
                fn samples() -> Vec<Sample> {
                    let op = |diagonal| $Name { diagonal };
                    vec![
                        ok(op(0), &[3, 4]),
                        ok(op(1), &[2, 3, 3]),
                        Sample::new(op(-1), [ints(&[4, 3], -9, 9)]).on(Dtypes::Numbers),
                        ok(op(0), &[3]).fails("Shape", "a vector"),
                    ]
                }
            }
        )*};
    }

    triangles! { Tril |d, k| d <= k; Triu |d, k| d >= k; }

    impl OpSpec for Unfold {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let dim = axis(self.dimension, x[0].shape.len());
            let (size, step) = (self.size as usize, self.step as usize);
            let mut shape = x[0].shape.clone();
            shape[dim] = (shape[dim] - size) / step + 1;
            shape.push(size);
            vec![RefArray::from_fn(&shape, |i| {
                let mut at = i[..i.len() - 1].to_vec();
                at[dim] = at[dim] * step + i[i.len() - 1];
                x[0].at(&at)
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |dimension, size, step| Unfold { dimension, size, step };
            vec![
                ok(op(0, 2, 1), &[5]),
                ok(op(1, 3, 2), &[2, 7]).on(Dtypes::Numbers),
                ok(op(0, 2, 2), &[4, 2]),
                ok(op(0, 4, 1), &[3]).fails("Shape", "a window that is too large"),
            ]
        }
    }

    impl OpSpec for AsStrided {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let sizes = self.size.shape().map(|s| s.to_vec()).unwrap_or_default();
            vec![RefArray::from_fn(&sizes, |i| {
                let at: i64 = i.iter().zip(self.stride.get()).map(|(&i, &s)| i as i64 * s).sum();
                x[0].data[(at + self.storage_offset) as usize]
            })]
        }
        fn samples() -> Vec<Sample> {
            let op = |size: &[i64], stride: &[i64], storage_offset| AsStrided {
                size: size.into(),
                stride: stride.into(),
                storage_offset,
            };
            vec![
                ok(op(&[2, 2], &[1, 2], 0), &[3, 3]),
                ok(op(&[3, 2], &[1, 1], 1), &[5]).on(Dtypes::Numbers),
                ok(op(&[2], &[-1], 3), &[4]),
                ok(op(&[2, 2], &[4, 1], 0), &[5]).fails("Shape", "beyond the end"),
            ]
        }
    }
}
