//! Products of vectors, matrices and more, in terms of the matrix product.

use std::collections::BTreeMap;

use esker_tensor::{Error, Result};

use super::{function, scalar_like};
use crate::{Ops, Value};

/// Fails unless the ranks are these.
fn need_ranks<V: Value>(x: &[&V], ranks: &[usize], what: &str) -> Result<()> {
    if x.iter().zip(ranks).all(|(x, r)| x.meta().shape.len() == *r) {
        return Ok(());
    }
    let shapes: Vec<String> = x.iter().map(|x| format!("{:?}", x.meta().shape)).collect();
    Err(Error::shape(format!("takes {what}, got {}", shapes.join(" and "))))
}

function! { Mm |_op, a, b| { need_ranks(&[a, b], &[2, 2], "two matrices")?; a.matmul(b)? } }

function! { Bmm |_op, a, b| {
    need_ranks(&[a, b], &[3, 3], "two batches of matrices")?;
    if a.meta().shape[0] != b.meta().shape[0] {
        return Err(Error::shape(format!("the batches differ: {:?} and {:?}", a.meta().shape, b.meta().shape)));
    }
    a.matmul(b)?
} }

function! { Mv |_op, a, v| { need_ranks(&[a, v], &[2, 1], "a matrix and a vector")?; a.matmul(v)? } }

function! { Dot |_op, a, b| { need_ranks(&[a, b], &[1, 1], "two vectors")?; a.matmul(b)? } }

function! { Outer |_op, a, b| {
    need_ranks(&[a, b], &[1, 1], "two vectors")?;
    a.reshape([-1, 1])?.mul(b)?
} }

/// `beta * x + alpha * product`; nothing of `x` is read when `beta` is 0.
fn plus_product<V: Value>(x: &V, product: V, beta: f64, alpha: f64) -> Result<V> {
    let scaled = |v: &V, by: f64| if by == 1.0 { Ok(v.clone()) } else { v.mul(&scalar_like(v, by)?) };
    let product = scaled(&product, alpha)?;
    if beta == 0.0 { Ok(product) } else { scaled(x, beta)?.add(&product) }
}

function! { Addmm |op, x, a, b| plus_product(x, a.mm(b)?, op.beta.get(), op.alpha.get())? }

function! { Baddbmm |op, x, a, b| plus_product(x, a.bmm(b)?, op.beta.get(), op.alpha.get())? }

function! { Trace |_op, x| { need_ranks(&[x], &[2], "a matrix")?; x.diagonal(0, 0, 1)?.sum((), false)? } }

function! { Tensordot |op, a, b| {
    let (x, y) = (a.meta().shape, b.meta().shape);
    let named = !op.dims_a.get()?.is_empty() || !op.dims_b.get()?.is_empty();
    let (from, to): (Vec<i64>, Vec<i64>) = if named {
        let order = |axes: &crate::Axes, shape| axes.in_order(shape).map(|d| d.iter().map(|&d| i64::from(d)).collect());
        (order(&op.dims_a, &x)?, order(&op.dims_b, &y)?)
    } else {
        let (rank, most) = (x.len() as i64, x.len().min(y.len()) as i64);
        if !(0..=most).contains(&op.dims) {
            return Err(Error::shape(format!("{} dimensions of {x:?} and {y:?} cannot meet", op.dims)));
        }
        ((rank - op.dims..rank).collect(), (0..op.dims).collect())
    };
    let sizes = |shape: &esker_tensor::Shape, dims: &[i64]| dims.iter().map(|&d| shape[d as usize]).collect::<Vec<_>>();
    let (met, other) = (sizes(&x, &from), sizes(&y, &to));
    if met != other {
        return Err(Error::shape(format!("the dimensions that meet have sizes {met:?} and {other:?}")));
    }
    let rest = |rank: usize, met: &[i64]| (0..rank as i64).filter(|d| !met.contains(d)).collect::<Vec<_>>();
    let (left, right) = (rest(x.len(), &from), rest(y.len(), &to));
    let (rows, columns) = (sizes(&x, &left), sizes(&y, &right));
    let size = |sizes: &[usize]| sizes.iter().product::<usize>();
    let a = if x.is_empty() { a.clone() } else { a.permute(&[&left[..], &from].concat()[..])? };
    let b = if y.is_empty() { b.clone() } else { b.permute(&[&to[..], &right].concat()[..])? };
    let a = a.reshape([size(&rows), size(&met)])?;
    a.matmul(&b.reshape([size(&met), size(&columns)])?)?.reshape(&[rows, columns].concat()[..])?
} }

/// A tensor with a label for each of its dimensions.
#[derive(Clone)]
struct Labelled<V> {
    x: V,
    labels: Vec<char>,
}

/// The labels of the dimensions that an ellipsis stands for, from the last to the first.
fn hidden(i: usize) -> char {
    char::from_u32(0xE000 + i as u32).unwrap_or('\u{E000}')
}

/// The labels of one term; an ellipsis stands for `extra` dimensions.
fn labels(term: &str, extra: usize, whole: &str) -> Result<Vec<char>> {
    let mut out = Vec::new();
    let mut rest = term.trim();
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            out.extend((0..extra).rev().map(hidden));
            rest = after;
        } else if c.is_ascii_alphabetic() || c == ' ' {
            out.extend(Some(c).filter(|c| *c != ' '));
            rest = &rest[1..];
        } else {
            return Err(Error::kernel(format!("{c:?} has no meaning in {whole:?}; labels are letters")));
        }
    }
    Ok(out)
}

impl<V: Value> Labelled<V> {
    /// Repeated labels become one dimension, their diagonal.
    fn distinct(mut self) -> Result<Self> {
        while let Some((a, b)) = (0..self.labels.len())
            .find_map(|b| self.labels[..b].iter().position(|l| *l == self.labels[b]).map(|a| (a, b)))
        {
            let label = self.labels[b];
            self.x = self.x.diagonal(0, a as i64, b as i64)?;
            self.labels.remove(b);
            self.labels.remove(a);
            self.labels.push(label);
        }
        Ok(self)
    }

    /// Without the labels that `keep` lacks, which are summed.
    fn summed(self, keep: impl Fn(char) -> bool) -> Result<Self> {
        let dims: Vec<i64> = (0..self.labels.len()).filter(|&d| !keep(self.labels[d])).map(|d| d as i64).collect();
        if dims.is_empty() {
            return Ok(self);
        }
        let labels = self.labels.into_iter().filter(|l| keep(*l)).collect();
        Ok(Self { x: self.x.sum(&dims[..], false)?, labels })
    }

    /// With the dimensions in the order of these labels.
    fn ordered(&self, labels: &[char]) -> Result<V> {
        let order: Vec<i64> =
            labels.iter().filter_map(|l| self.labels.iter().position(|o| o == l)).map(|d| d as i64).collect();
        self.x.permute(&order[..])
    }

    /// The product over shared labels, those outside of `keep` being summed.
    fn times(self, other: Self, sizes: &BTreeMap<char, usize>, keep: impl Fn(char) -> bool) -> Result<Self> {
        let (mine, theirs) = (self.labels.clone(), other.labels.clone());
        let a = self.summed(|l| keep(l) || theirs.contains(&l))?;
        let b = other.summed(|l| keep(l) || mine.contains(&l))?;
        let pick = |from: &[char], f: &dyn Fn(char) -> bool| from.iter().copied().filter(|l| f(*l)).collect::<Vec<_>>();
        let shared = |l: char| a.labels.contains(&l) && b.labels.contains(&l);
        let batch = pick(&a.labels, &|l| shared(l) && keep(l));
        let inner = pick(&a.labels, &|l| shared(l) && !keep(l));
        let rows = pick(&a.labels, &|l| !shared(l));
        let columns = pick(&b.labels, &|l| !shared(l));
        let size = |ls: &[char]| ls.iter().map(|l| sizes[l]).product::<usize>();
        let left =
            a.ordered(&[&batch[..], &rows, &inner].concat())?.reshape([size(&batch), size(&rows), size(&inner)])?;
        let right = b.ordered(&[&batch[..], &inner, &columns].concat())?.reshape([
            size(&batch),
            size(&inner),
            size(&columns),
        ])?;
        let labels = [batch, rows, columns].concat();
        let shape: Vec<usize> = labels.iter().map(|l| sizes[l]).collect();
        Ok(Self { x: left.matmul(&right)?.reshape(&shape[..])?, labels })
    }
}

function! { Einsum |op, [xs]| {
    let whole = op.equation.as_str();
    let (given, wanted) = match whole.split_once("->") {
        Some((given, wanted)) => (given, Some(wanted)),
        None => (whole, None),
    };
    let terms: Vec<&str> = given.split(',').collect();
    if terms.len() != xs.len() {
        return Err(Error::shape(format!("{whole:?} names {} operands, got {}", terms.len(), xs.len())));
    }
    // The dimensions that an ellipsis stands for in each operand.
    let spare = |(term, x): (&&str, &&V)| {
        let named = term.chars().filter(char::is_ascii_alphabetic).count();
        let rank = x.meta().shape.len();
        match (term.contains("..."), rank.checked_sub(named)) {
            (true, Some(extra)) => Ok(extra),
            (false, Some(0)) => Ok(0),
            _ => Err(Error::shape(format!("{:?} in {whole:?} does not fit an operand of {:?}", term.trim(), x.meta().shape))),
        }
    };
    let extra: Vec<usize> = terms.iter().zip(xs).map(spare).collect::<Result<_>>()?;
    let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
    let mut uses: BTreeMap<char, usize> = BTreeMap::new();
    let mut operands: Vec<Labelled<V>> = Vec::new();
    for ((term, x), extra) in terms.iter().zip(xs).zip(&extra) {
        let labels = labels(term, *extra, whole)?;
        for (l, &n) in labels.iter().zip(&*x.meta().shape) {
            *uses.entry(*l).or_default() += 1;
            let size = sizes.entry(*l).or_insert(n);
            if *size == 1 {
                *size = n;
            } else if n != 1 && n != *size {
                return Err(Error::shape(format!("label {l:?} of {whole:?} is {size} in one operand and {n} in another")));
            }
        }
        operands.push(Labelled { x: V::clone(x), labels });
    }
    let most = extra.iter().copied().max().unwrap_or(0);
    let wanted = match wanted {
        Some(term) => labels(term, most, whole)?,
        None => {
            let once = uses.iter().filter(|(l, n)| **n == 1 && l.is_ascii()).map(|(l, _)| *l);
            (0..most).rev().map(hidden).chain(once).collect()
        }
    };
    if let Some(l) = wanted.iter().find(|l| !sizes.contains_key(l)) {
        return Err(Error::kernel(format!("the result of {whole:?} has label {l:?}, which no operand has")));
    }
    let mut rest = operands
        .into_iter()
        .map(|o| {
            let shape: Vec<usize> = o.labels.iter().map(|l| sizes[l]).collect();
            let x = if o.x.meta().shape[..] == shape[..] { o.x } else { o.x.expand(&shape[..])? };
            Labelled { x, labels: o.labels }.distinct()
        })
        .collect::<Result<Vec<_>>>()?
        .into_iter();
    let mut product = rest.next().ok_or_else(|| Error::shape("needs at least one operand"))?;
    while let Some(next) = rest.next() {
        let later: Vec<char> = rest.as_slice().iter().flat_map(|o| o.labels.clone()).collect();
        product = product.times(next, &sizes, |l| wanted.contains(&l) || later.contains(&l))?;
    }
    product.summed(|l| wanted.contains(&l))?.ordered(&wanted)?
} }

#[cfg(feature = "spec")]
mod spec {
    use std::collections::BTreeMap;

    use crate::op::*;
    use crate::spec::{OpSpec, RefArray, Sample, each_index, real, values};

    /// Every assignment of the labels, added up at its place in the result.
    fn einsum(equation: &str, x: &[RefArray]) -> RefArray {
        let (given, wanted) = equation.split_once("->").unwrap_or((equation, ""));
        let terms: Vec<Vec<char>> = given.split(',').map(|t| t.trim().chars().collect()).collect();
        let mut sizes = BTreeMap::new();
        terms.iter().zip(x).for_each(|(t, x)| {
            t.iter().zip(&x.shape).for_each(|(l, n)| {
                sizes.insert(*l, *n);
            })
        });
        let all: Vec<char> = sizes.keys().copied().collect();
        let wanted: Vec<char> = wanted.trim().chars().collect();
        let shape: Vec<usize> = wanted.iter().map(|l| sizes[l]).collect();
        let mut out = RefArray::zeros(&shape);
        each_index(&all.iter().map(|l| sizes[l]).collect::<Vec<_>>(), |i| {
            let of = |labels: &[char]| -> Vec<usize> {
                labels.iter().filter_map(|l| all.iter().position(|a| a == l)).map(|p| i[p]).collect()
            };
            *out.at_mut(&of(&wanted)) += terms.iter().zip(x).map(|(t, x)| x.at(&of(t))).product::<f64>();
        });
        out
    }

    macro_rules! products {
        ($($Name:ident $equation:literal $good:expr, $bad:expr, $known:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    vec![einsum($equation, x)]
                }
                fn samples() -> Vec<Sample> {
                    let op = $Name {};
                    let (good, bad): ([[&[usize]; 2]; 2], [[&[usize]; 2]; 2]) = ($good, $bad);
                    let mut out: Vec<Sample> = good.into_iter().map(|s| Sample::new(op.clone(), s.map(real))).collect();
                    out.extend(bad.into_iter().map(|s| Sample::new(op.clone(), s.map(real)).fails("Shape", "shapes")));
                    let (a, b, y): (&[usize], &[usize], &[f64]) = $known;
                    let ramp = |s: &[usize]| values(s, &(1..=s.iter().product::<usize>()).map(|v| v as f64).collect::<Vec<_>>());
                    out.push(Sample::new(op, [ramp(a), ramp(b)]).known(&[y], "by hand"));
                    out
                }
            }
        )*};
    }

    products! {
        Mm "ij,jk->ik" [[&[2, 3], &[3, 4]], [&[1, 5], &[5, 1]]], [[&[2, 3], &[2, 3]], [&[2, 3], &[3]]], (&[2, 2], &[2, 1], &[5.0, 11.0]);
        Bmm "bij,bjk->bik" [[&[2, 2, 3], &[2, 3, 2]], [&[1, 1, 4], &[1, 4, 2]]], [[&[2, 2, 3], &[1, 3, 2]], [&[2, 3], &[3, 2]]], (&[1, 1, 2], &[1, 2, 1], &[5.0]);
        Mv "ij,j->i" [[&[2, 3], &[3]], [&[4, 1], &[1]]], [[&[2, 3], &[2]], [&[3], &[3]]], (&[2, 2], &[2], &[5.0, 11.0]);
        Dot "i,i->" [[&[3], &[3]], [&[7], &[7]]], [[&[3], &[2]], [&[1, 3], &[3]]], (&[3], &[3], &[14.0]);
        Outer "i,j->ij" [[&[3], &[2]], [&[1], &[4]]], [[&[3, 1], &[2]], [&[], &[2]]], (&[2], &[2], &[1.0, 2.0, 2.0, 4.0]);
    }

    macro_rules! plus {
        ($($Name:ident $equation:literal $x:expr, $a:expr, $b:expr;)*) => {$(
            impl OpSpec for $Name {
                fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
                    let product = einsum($equation, &x[1..]);
                    let base = x[0].broadcast_to(&product.shape);
                    let y = base.data.iter().zip(&product.data).map(|(x, p)| self.beta.get() * x + self.alpha.get() * p);
                    vec![RefArray::new(&product.shape, y.collect())]
                }
                fn samples() -> Vec<Sample> {
                    let op = |beta: f64, alpha: f64| $Name { beta: beta.into(), alpha: alpha.into() };
                    vec![
                        Sample::new(op(1.0, 1.0), [real($x), real($a), real($b)]),
                        Sample::new(op(0.5, -2.0), [real($x), real($a), real($b)]),
                        Sample::new(op(1.0, 1.0), [real($x), real($a), real($a)]).fails("Shape", "they do not fit"),
                    ]
                }
            }
        )*};
    }

    plus! {
        Addmm "ij,jk->ik" &[4], &[2, 3], &[3, 4];
        Baddbmm "bij,bjk->bik" &[2, 1, 4], &[2, 2, 3], &[2, 3, 4];
    }

    impl OpSpec for Trace {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let n = x[0].shape[0].min(x[0].shape[1]);
            vec![RefArray::new(&[], vec![(0..n).map(|i| x[0].at(&[i, i])).sum()])]
        }
        fn samples() -> Vec<Sample> {
            vec![
                Sample::new(Trace {}, [real(&[3, 3])]),
                Sample::new(Trace {}, [real(&[2, 4])]),
                Sample::new(Trace {}, [real(&[0, 2])]),
                Sample::new(Trace {}, [values(&[2, 2], &[1.0, 2.0, 3.0, 4.0])]).known(&[&[5.0]], "by hand"),
                Sample::new(Trace {}, [real(&[3])]).fails("Shape", "a vector"),
            ]
        }
    }

    impl OpSpec for Tensordot {
        /// As a sum over labels.
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            let (rank, other) = (x[0].shape.len(), x[1].shape.len());
            let named = |axes: &crate::Axes, rank| crate::spec::axes(axes, rank);
            let (from, to) = if self.dims_a.get().is_ok_and(|d| !d.is_empty()) {
                (named(&self.dims_a, rank), named(&self.dims_b, other))
            } else {
                let n = self.dims as usize;
                ((rank - n..rank).collect::<Vec<_>>(), (0..n).collect())
            };
            let letter = |i: usize| (b'a' + i as u8) as char;
            let left: String = (0..rank).map(letter).collect();
            let right: String =
                (0..other).map(|d| letter(to.iter().position(|t| *t == d).map_or(rank + d, |k| from[k]))).collect();
            let kept = |s: &str, t: &str| s.chars().filter(|c| !t.contains(*c)).collect::<String>();
            vec![einsum(&format!("{left},{right}->{}{}", kept(&left, &right), kept(&right, &left)), x)]
        }
        fn samples() -> Vec<Sample> {
            let op = |dims, a: &[i64], b: &[i64]| Tensordot { dims, dims_a: a.into(), dims_b: b.into() };
            let ramp = || [values(&[2, 2], &[1.0, 2.0, 3.0, 4.0]), values(&[2, 2], &[5.0, 6.0, 7.0, 8.0])];
            vec![
                Sample::new(op(2, &[], &[]), [real(&[2, 3, 4]), real(&[3, 4, 2])]),
                Sample::new(op(1, &[], &[]), [real(&[2, 3]), real(&[3, 2])]),
                Sample::new(op(0, &[], &[]), [real(&[2]), real(&[3, 1])]),
                Sample::new(op(0, &[], &[]), [real(&[]), real(&[3])]),
                Sample::new(op(2, &[2, 0], &[0, -1]), [real(&[2, 3, 4]), real(&[4, 3, 2])]),
                Sample::new(op(2, &[], &[]), ramp()).known(&[&[70.0]], "5 + 12 + 21 + 32"),
                Sample::new(op(2, &[1], &[0]), ramp()).known(&[&[19.0, 22.0, 43.0, 50.0]], "by hand"),
                Sample::new(op(1, &[], &[]), [real(&[2, 3]), real(&[2, 3])]).fails("Shape", "sizes differ"),
                Sample::new(op(3, &[], &[]), [real(&[2, 3]), real(&[2, 3])]).fails("Shape", "too many"),
                Sample::new(op(2, &[0, 0], &[0, 1]), [real(&[2, 3]), real(&[2, 3])]).fails("Dim", "named twice"),
            ]
        }
    }

    impl OpSpec for Einsum {
        fn reference(&self, x: &[RefArray]) -> Vec<RefArray> {
            // What the samples with an ellipsis or without a result stand for.
            let equation = match self.equation.as_str() {
                "...ij,...jk->...ik" => "abij,abjk->abik",
                "ij,jk" => "ij,jk->ik",
                "ii" => "ii->",
                "b...->..." => "bxy->xy",
                other => other,
            };
            vec![einsum(equation, x)]
        }
        fn samples() -> Vec<Sample> {
            let op = |s: &str| Einsum { equation: s.into() };
            let new =
                |s: &str, shapes: &[&[usize]]| Sample::new(op(s), shapes.iter().map(|s| real(s)).collect::<Vec<_>>());
            vec![
                new("ij,jk->ik", &[&[2, 3], &[3, 4]]),
                new("ij,jk", &[&[2, 3], &[3, 2]]),
                new("ii", &[&[3, 3]]),
                new("ii->i", &[&[3, 3]]),
                new("ij->ji", &[&[2, 3]]),
                new("ijk->k", &[&[2, 3, 2]]),
                new("bhqd,bhkd->bhqk", &[&[2, 2, 3, 2], &[2, 2, 2, 2]]),
                new("i,j->ij", &[&[3], &[2]]),
                new("ij,j,k->ik", &[&[2, 3], &[3], &[2]]),
                new("ij,kl->ijkl", &[&[2, 2], &[2, 3]]),
                new("...ij,...jk->...ik", &[&[2, 2, 2, 3], &[2, 2, 3, 2]]),
                new("b...->...", &[&[2, 3, 2]]),
                new("ij,ij->", &[&[2, 3], &[2, 3]]),
                Sample::new(op("i,i->"), [values(&[2], &[1.0, 2.0]), values(&[2], &[3.0, 4.0])])
                    .known(&[&[11.0]], "by hand"),
                new("ij,jk->ik", &[&[2, 3], &[2, 4]]).fails("Shape", "j is 3 and 2"),
                new("ij->i", &[&[2]]).fails("Shape", "two labels for one dimension"),
                new("i->j", &[&[2]]).fails("Kernel", "no operand has j"),
                new("i1->i", &[&[2]]).fails("Kernel", "a digit"),
                new("i,j->ij", &[&[2]]).fails("Shape", "one operand of two"),
            ]
        }
    }
}
