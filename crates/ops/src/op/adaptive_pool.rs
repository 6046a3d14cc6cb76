//! Pooling to a given size: window `i` of `n` covers `floor(i size / n) .. ceil((i + 1) size / n)`.

use esker_tensor::{DType, Device, Error, Result};

use super::function;
use super::pool::over_planes;
use crate::kernel::Pool2d as Window;
use crate::{Divisor, Ints, Meta, Ops, Value};

/// The sizes asked for, of planes; -1 keeps the input's.
fn sizes<const N: usize>(output_size: &Ints, x: &Meta) -> Result<[usize; 2]> {
    let list = output_size.get();
    let wanted: [i64; N] = match list {
        [one] => [*one; N],
        list => {
            list.try_into().map_err(|_| Error::shape(format!("output_size takes one number or {N}, got {list:?}")))?
        }
    };
    let mut sizes = [1, 1];
    for (d, &n) in wanted.iter().enumerate() {
        let own = x.shape.len().checked_sub(N).and_then(|lead| x.shape.get(lead + d)).copied().unwrap_or(0);
        sizes[2 - N + d] = match usize::try_from(n) {
            Ok(n) => n,
            Err(_) if n == -1 => own,
            Err(_) => return Err(Error::shape(format!("output_size must not be negative, got {n}"))),
        };
        if own == 0 {
            return Err(Error::shape(format!("{:?} has no elements to pool in a dimension", x.shape)));
        }
    }
    Ok(sizes)
}

/// The window when all windows are alike and lie side by side.
fn even(x: &Meta, to: [usize; 2]) -> Option<Window> {
    let size = [x.shape[2], x.shape[3]];
    let fits = (0..2).all(|d| to[d] > 0 && size[d].is_multiple_of(to[d]));
    let kernel = fits.then(|| [size[0] / to[0], size[1] / to[1]])?;
    Some(Window { kernel, stride: kernel, padding: [0, 0], dilation: [1, 1], ceil: false })
}

/// Windows along a dimension of `size` elements.
struct Windows<V> {
    /// As many places as the longest window has, `[n, most]` int64; shorter ones repeat their last.
    places: V,
    /// The number of places of each, `[n, 1]` int64.
    lengths: V,
    most: usize,
}

fn windows<V: Value>(size: usize, n: usize, device: Device) -> Result<Windows<V>> {
    let whole = |v: usize| V::scalar(v as f64, DType::I64, device);
    let (start, end) = (|i: usize| i * size / n, |i: usize| ((i + 1) * size).div_ceil(n));
    let most = (0..n).map(|i| end(i) - start(i)).max().unwrap_or(1);
    let at = V::iota(0.0, 1.0, n as i64, DType::I64, device)?.reshape([n, 1])?.mul(&whole(size)?)?;
    let starts = at.floor_divide(&whole(n.max(1))?)?;
    let ends = at.add(&whole(size + n.max(1) - 1)?)?.floor_divide(&whole(n.max(1))?)?;
    let taps = V::iota(0.0, 1.0, most as i64, DType::I64, device)?;
    let places = starts.add(&taps)?.minimum(&ends.sub(&whole(1)?)?)?;
    Ok(Windows { places, lengths: ends.sub(&starts)?, most })
}

/// The elements of the windows along `dim`, as `[.., n, most, ..]`.
fn gathered<V: Value>(x: &V, dim: usize, windows: &Windows<V>, n: usize) -> Result<V> {
    let mut sizes = x.meta().shape.to_vec();
    sizes.splice(dim..=dim, [n, windows.most]);
    x.index_select(&windows.places.reshape([n * windows.most])?, dim as i64)?.reshape(&sizes[..])
}

/// The means of the windows along `dim`, of which repeated places do not count.
fn means<V: Value>(x: &V, dim: usize, n: usize) -> Result<V> {
    let meta = x.meta();
    if meta.shape[dim] == n {
        return Ok(x.clone());
    }
    let windows = windows::<V>(meta.shape[dim], n, meta.device)?;
    let rest = vec![1; meta.shape.len() - dim - 1];
    let taps = V::iota(0.0, 1.0, windows.most as i64, DType::I64, meta.device)?;
    let own = taps.lt(&windows.lengths)?.reshape(&[&[n, windows.most], &rest[..]].concat()[..])?;
    let values = own.where_cond(&gathered(x, dim, &windows, n)?, &V::scalar(0.0, meta.dtype, meta.device)?)?;
    let counts = windows.lengths.cast(meta.dtype)?.reshape(&[&[n], &rest[..]].concat()[..])?;
    values.sum(dim as i64 + 1, false)?.div(&counts)
}

fn mean_to<V: Value>(x: &V, to: [usize; 2]) -> Result<V> {
    super::need_float("the input", x.meta().dtype)?;
    match even(&x.meta(), to) {
        Some(window) => x.mean_pool(window, Divisor::Inside),
        None => means(&means(x, 2, to[0])?, 3, to[1]),
    }
}

/// The first largest of each window, and its place in the plane.
fn max_to<V: Value>(x: &V, to: [usize; 2]) -> Result<(V, V)> {
    let meta = x.meta();
    if let Some(window) = even(&meta, to) {
        return x.max_pool(window);
    }
    let [n, c, h, w] = meta.shape[..] else { return Err(Error::shape("planes have rank 4")) };
    let (down, across) = (windows::<V>(h, to[0], meta.device)?, windows::<V>(w, to[1], meta.device)?);
    let (dm, am) = (down.most, across.most);
    let elements = |x: &V| -> Result<V> {
        let rows = gathered(x, 2, &down, to[0])?;
        let [n, c, ..] = rows.meta().shape[..] else { return Ok(rows) };
        gathered(&rows, 4, &across, to[1])?.permute([0, 1, 2, 4, 3, 5])?.reshape([n, c, to[0], to[1], dm * am])
    };
    // Places take the same way as the elements, so that the chosen one is known.
    let (y, at) = elements(x)?.max(-1, false)?;
    let plane = V::iota(0.0, 1.0, (h * w) as i64, DType::I64, meta.device)?.reshape([1, 1, h, w])?;
    let places = elements(&plane)?.expand([n, c, to[0], to[1], dm * am])?;
    let taps = V::iota(0.0, 1.0, (dm * am) as i64, DType::I64, meta.device)?;
    let chosen = at.reshape([n, c, to[0], to[1], 1])?.eq(&taps)?;
    let index = chosen.where_cond(&places, &V::scalar(0.0, DType::I64, meta.device)?)?.sum(-1, false)?;
    Ok((y, index))
}

macro_rules! adaptive {
    ($($Mean:ident $Max:ident $WithIndices:ident $n:literal;)*) => {$(
        function! { $Mean |op, x| {
            let to = sizes::<$n>(&op.output_size, &x.meta())?;
            over_planes(x, $n, |x| Ok(vec![mean_to(x, to)?]))?
        } }

        function! { $Max |op, x| {
            let to = sizes::<$n>(&op.output_size, &x.meta())?;
            over_planes(x, $n, |x| Ok(vec![max_to(x, to)?.0]))?
        } }

        function! { $WithIndices |op, x| {
            let to = sizes::<$n>(&op.output_size, &x.meta())?;
            over_planes(x, $n, |x| max_to(x, to).map(|(y, index)| vec![y, index]))?
        } }
    )*};
}

adaptive! {
    AdaptiveAvgPool1d AdaptiveMaxPool1d AdaptiveMaxPool1dWithIndices 1;
    AdaptiveAvgPool2d AdaptiveMaxPool2d AdaptiveMaxPool2dWithIndices 2;
}

#[cfg(feature = "spec")]
mod spec {
    use crate::op::{
        AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool1dWithIndices, AdaptiveMaxPool2d,
        AdaptiveMaxPool2dWithIndices,
    };
    use crate::spec::{Dtypes, OpSpec, RefArray, Sample, distinct, ints, values};
    use crate::{Ints, Op};
    use esker_tensor::DType;

    /// What `f` makes of each window: the places in the plane and their values.
    fn pooled(x: &RefArray, spatial: usize, to: &Ints, f: impl Fn(&[(usize, f64)]) -> f64) -> RefArray {
        let lead = x.shape.len() - spatial;
        let wanted = |d: usize| to.get()[if to.get().len() == 1 { 0 } else { d }];
        let size = |d: usize| if wanted(d) < 0 { x.shape[lead + d] } else { wanted(d) as usize };
        let shape: Vec<usize> = x.shape[..lead].iter().copied().chain((0..spatial).map(size)).collect();
        RefArray::from_fn(&shape, |i| {
            let mut window = vec![(0, i[..lead].to_vec())];
            for d in 0..spatial {
                let (n, out) = (x.shape[lead + d] as f64, size(d) as f64);
                let (start, end) = (i[lead + d] as f64 * n / out, (i[lead + d] + 1) as f64 * n / out);
                let along = (start + 1e-9).floor() as usize..(end - 1e-9).ceil() as usize;
                let wider = |(place, at): &(usize, Vec<usize>)| {
                    let (place, at) = (*place, at.clone());
                    along.clone().map(move |p| (place * n as usize + p, [&at[..], &[p]].concat())).collect::<Vec<_>>()
                };
                window = window.iter().flat_map(wider).collect();
            }
            f(&window.iter().map(|(place, at)| (*place, x.at(at))).collect::<Vec<_>>())
        })
    }

    fn mean(w: &[(usize, f64)]) -> f64 {
        w.iter().map(|e| e.1).sum::<f64>() / w.len() as f64
    }

    fn largest(w: &[(usize, f64)]) -> (usize, f64) {
        w.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a }).unwrap_or((0, f64::NAN))
    }

    fn samples(spatial: usize, make: impl Fn(Ints) -> Op) -> Vec<Sample> {
        let shape = |n: usize, c: usize, long: usize| [&[n, c][..], &[5, long][2 - spatial..]].concat();
        let to = |long: i64| if spatial == 1 { Ints::from(long) } else { Ints::from([3, long]) };
        let new = |to: Ints, x: &[usize]| Sample::new(make(to), [distinct(x)]);
        vec![
            new(1.into(), &shape(2, 3, 6)),
            new(to(4), &shape(1, 2, 7)),
            new(to(-1), &shape(2, 1, 4)),
            new(to(9), &shape(1, 1, 4)).note("more windows than elements"),
            new(to(3), &shape(1, 2, 6)[1..]).note("no batch"),
            new(to(3), &shape(0, 2, 6)),
            new(0.into(), &shape(1, 2, 6)),
            new((-2).into(), &shape(1, 2, 6)).fails("Shape", "size -2"),
            new([1, 2, 3].into(), &shape(1, 2, 6)).fails("Shape", "three sizes"),
            new(1.into(), &shape(1, 2, 0)).fails("Shape", "nothing to pool"),
            new(1.into(), &[4]).fails("Shape", "rank 1"),
        ]
    }

    fn shape(spatial: usize) -> &'static [usize] {
        if spatial == 1 { &[1, 1, 4] } else { &[1, 1, 2, 2] }
    }

    macro_rules! means {
        ($($Name:ident $n:literal $known:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    vec![pooled(&x[0], $n, &self.output_size, mean)]
                }
                fn samples() -> Vec<Sample> {
                    let make = |output_size| $Name { output_size }.into();
                    let mut out = samples($n, make);
                    let x = [values(shape($n), &[1.0, 2.0, 6.0, 8.0])];
                    out.push(Sample::new(make(3.into()), x).known(&[&$known], "by hand"));
                    let whole = [ints(shape($n), 0, 3)];
                    out.push(Sample::new(make(1.into()), whole).on(Dtypes::Ints).fails("DType", "integers"));
                    out
                }
            }
        )*};
    }

    means! {
        AdaptiveAvgPool1d 1 [1.5, 4.0, 7.0];
        AdaptiveAvgPool2d 2 [1.0, 1.5, 2.0, 3.5, 4.25, 5.0, 6.0, 7.0, 8.0];
    }

    macro_rules! maxima {
        ($($Name:ident $n:literal $outs:literal;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let value = pooled(&x[0], $n, &self.output_size, |w| largest(w).1);
                    let place = pooled(&x[0], $n, &self.output_size, |w| largest(w).0 as f64);
                    vec![value, place].into_iter().take($outs).collect()
                }
                fn samples() -> Vec<Sample> {
                    let make = |output_size| $Name { output_size }.into();
                    let mut out = samples($n, make);
                    let x = [values(shape($n), &[1.0, 6.0, 6.0, 8.0])];
                    let known: [&[f64]; 2] = if $n == 1 {
                        [&[6.0, 6.0, 8.0], &[1.0, 1.0, 3.0]]
                    } else {
                        [&[1.0, 6.0, 6.0, 6.0, 8.0, 8.0, 6.0, 8.0, 8.0], &[0.0, 1.0, 1.0, 2.0, 3.0, 3.0, 2.0, 3.0, 3.0]]
                    };
                    out.push(Sample::new(make(3.into()), x).known(&known[..$outs], "by hand: the first of equals"));
                    let whole = [ints(shape($n), -9, 9)];
                    out.push(Sample::new(make(1.into()), whole).on(Dtypes::Only(&[DType::I32])));
                    out
                }
            }
        )*};
    }

    maxima! {
        AdaptiveMaxPool1d 1 1;
        AdaptiveMaxPool2d 2 1;
        AdaptiveMaxPool1dWithIndices 1 2;
        AdaptiveMaxPool2dWithIndices 2 2;
    }
}
