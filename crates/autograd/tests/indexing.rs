//! Random index expressions against a naive walk over coordinates, values and gradients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use esker_autograd::{Tensor, grad};
use esker_ops::{Index, Indexing, Ops, i};
use esker_tensor::DType;

/// A small generator, so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }
}

/// An item of an index and what it means, dimension by dimension of the result before places are picked.
enum Meaning {
    Fixed(usize),
    Listed(Vec<usize>),
    New,
    /// Places (row-major, of a shape), one list for each dimension that they pick in.
    Picked(Vec<usize>, Vec<Vec<usize>>),
}

fn wrap(i: i64, n: usize) -> usize {
    if i < 0 { (i + n as i64) as usize } else { i as usize }
}

/// Python's slice, place by place.
fn listed(start: Option<i64>, stop: Option<i64>, step: i64, n: usize) -> Vec<usize> {
    let n = n as i64;
    let place = |v: i64, low: i64, high: i64| (if v < 0 { v + n } else { v }).clamp(low, high);
    let (mut at, end) = if step > 0 {
        (start.map_or(0, |v| place(v, 0, n)), stop.map_or(n, |v| place(v, 0, n)))
    } else {
        (start.map_or(n - 1, |v| place(v, -1, n - 1)), stop.map_or(-1, |v| place(v, -1, n - 1)))
    };
    let mut all = Vec::new();
    while if step > 0 { at < end } else { at > end } {
        all.push(at as usize);
        at += step;
    }
    all
}

/// Shapes of places that may meet in one expression.
const SHAPES: [&[&[usize]]; 4] = [&[&[3], &[1]], &[&[2, 1], &[3]], &[&[]], &[&[2]]];

/// A random index for a shape.
fn draw(dice: &mut Dice, shape: &[usize]) -> (Vec<Index<Tensor>>, Vec<Meaning>) {
    let (mut index, mut meaning) = (Vec::new(), Vec::new());
    let whole = |n: usize| Meaning::Listed((0..n).collect());
    let shapes = SHAPES[dice.below(SHAPES.len())];
    let ellipsis = dice.below(shape.len() + 3);
    let mut d = 0;
    while d < shape.len() {
        let n = shape[d];
        if d == ellipsis {
            let rest = dice.below(shape.len() - d + 1);
            // Only what the other items leave; the others must then take all that follows.
            let skip = if index.iter().any(|i| matches!(i, Index::Ellipsis)) { 0 } else { rest };
            if skip > 0 && d + skip == shape.len() {
                index.push(Index::Ellipsis);
                meaning.extend(shape[d..].iter().map(|&n| whole(n)));
                break;
            }
        }
        let signed = |dice: &mut Dice| dice.below(2 * n + 4) as i64 - n as i64 - 2;
        match dice.below(7) {
            0 if n > 0 => {
                let at = dice.below(2 * n) as i64 - n as i64;
                index.push(Index::At(at));
                meaning.push(Meaning::Fixed(wrap(at, n)));
            }
            1 if meaning.iter().filter(|m| matches!(m, Meaning::New)).count() < 2 => {
                index.push(Index::NewAxis);
                meaning.push(Meaning::New);
                continue;
            }
            2 | 3 => {
                let (start, stop) =
                    (Some(signed(dice)).filter(|v| v % 3 != 0), Some(signed(dice)).filter(|v| v % 4 != 0));
                let step = [1, 2, -1, -2, 3][dice.below(5)];
                index.push(Index::Slice { start, stop, step });
                meaning.push(Meaning::Listed(listed(start, stop, step, n)));
            }
            4 | 5 if n > 0 => {
                let of = shapes[dice.below(shapes.len())];
                let places: Vec<i64> = (0..of.iter().product()).map(|_| dice.below(2 * n) as i64 - n as i64).collect();
                index.push(Index::Tensor(Tensor::from_slice(&places, of).unwrap()));
                meaning.push(Meaning::Picked(of.to_vec(), vec![places.iter().map(|&p| wrap(p, n)).collect()]));
            }
            6 if shapes.len() == 1 && shapes[0].is_empty() => {
                let rank = 1 + dice.below(shape.len() - d);
                let sizes = &shape[d..d + rank];
                let mask: Vec<bool> = (0..sizes.iter().product()).map(|_| dice.below(3) == 0).collect();
                let found: Vec<usize> = (0..mask.len()).filter(|&p| mask[p]).collect();
                let step = |k: usize| sizes[k + 1..].iter().product::<usize>();
                let lists = (0..rank).map(|k| found.iter().map(|p| p / step(k) % sizes[k]).collect()).collect();
                index.push(Index::Tensor(Tensor::from_slice(&mask, sizes).unwrap()));
                meaning.push(Meaning::Picked(vec![found.len()], lists));
                // A second mask would not broadcast with the first.
                index.push(Index::Ellipsis);
                meaning.extend(shape[d + rank..].iter().map(|&n| whole(n)));
                break;
            }
            _ => {
                index.push(Index::from(..));
                meaning.push(whole(n));
            }
        }
        d += 1;
    }
    (index, meaning)
}

fn coordinates(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for d in (0..shape.len()).rev() {
        (at[d], flat) = (flat % shape[d], flat / shape[d]);
    }
    at
}

/// The shape of the result, and for each of its elements the row-major place that it comes from.
fn reference(shape: &[usize], meaning: &[Meaning]) -> (Vec<usize>, Vec<usize>) {
    // Shapes broadcast: of one rank at most two.
    let mut by: Option<Vec<usize>> = None;
    for m in meaning {
        if let Meaning::Picked(of, _) = m {
            let old = by.unwrap_or_default();
            let rank = old.len().max(of.len());
            let size = |s: &[usize], k: usize| if k + s.len() < rank { 1 } else { s[k + s.len() - rank] };
            by = Some((0..rank).map(|k| if size(&old, k) == 1 { size(of, k) } else { size(&old, k) }).collect());
        }
    }
    // Dimensions of the result before picking: sizes, and which are picked.
    let mut dims: Vec<Option<usize>> = Vec::new();
    for m in meaning {
        match m {
            Meaning::Fixed(_) => {}
            Meaning::Listed(list) => dims.push(Some(list.len())),
            Meaning::New => dims.push(Some(1)),
            Meaning::Picked(_, lists) => dims.extend(lists.iter().map(|_| None)),
        }
    }
    let picked: Vec<usize> = (0..dims.len()).filter(|&d| dims[d].is_none()).collect();
    let together = picked.windows(2).all(|w| w[0] + 1 == w[1]);
    let start = if together { picked.first().copied().unwrap_or(0) } else { 0 };
    let kept: Vec<usize> = dims.iter().copied().flatten().collect();
    let places = by.clone().unwrap_or_default();
    let sizes = [&kept[..start], &places, &kept[start..]].concat();
    let source = |out: usize| {
        let at = coordinates(out, &sizes);
        let mut own = at[..start].iter().chain(&at[start + places.len()..]);
        let place = &at[start..start + places.len()];
        let mut from = Vec::new();
        for m in meaning {
            match m {
                Meaning::Fixed(i) => from.push(*i),
                Meaning::Listed(list) => from.push(list[*own.next().unwrap()]),
                Meaning::New => assert_eq!(own.next(), Some(&0)),
                Meaning::Picked(of, lists) => {
                    let lead = places.len() - of.len();
                    let flat =
                        of.iter().enumerate().fold(0, |f, (k, &n)| f * n + if n == 1 { 0 } else { place[k + lead] });
                    from.extend(lists.iter().map(|list| list[flat]));
                }
            }
        }
        from.iter().zip(shape).fold(0, |f, (&i, &n)| f * n + i)
    };
    let count = sizes.iter().product();
    (sizes.clone(), (0..count).map(source).collect())
}

#[test]
fn random_indices_agree_with_a_naive_walk() {
    let mut dice = Dice(7);
    for round in 0..1500 {
        let shape: Vec<usize> = (0..1 + dice.below(4)).map(|_| [1, 2, 3, 4, 5][dice.below(5)]).collect();
        let (index, meaning) = draw(&mut dice, &shape);
        let (sizes, from) = reference(&shape, &meaning);
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| i as f64 * 0.25 - 3.0).collect();
        let x = Tensor::from_slice(&values, &shape[..]).unwrap().tracked().unwrap();
        let y = x.index(&index).unwrap_or_else(|e| panic!("round {round} {shape:?} {index:?}: {e}"));
        assert_eq!(y.shape()[..], sizes[..], "round {round} {shape:?} {index:?}");
        let want: Vec<f64> = from.iter().map(|&p| values[p]).collect();
        assert_eq!(y.to_f64_vec().unwrap(), want, "round {round} {shape:?} {index:?}");
        if sizes.is_empty() && n == 0 {
            continue;
        }
        let weights: Vec<f64> = (0..from.len()).map(|i| i as f64 + 1.0).collect();
        let w = Tensor::from_slice(&weights, &sizes[..]).unwrap();
        let mut dx = vec![0.0; n];
        from.iter().zip(&weights).for_each(|(&p, w)| dx[p] += w);
        let got = grad(&[&y.mul(&w).unwrap().sum((), false).unwrap()], &[&x]).unwrap();
        assert_eq!(got[0].to_f64_vec().unwrap(), dx, "gradient of round {round} {shape:?} {index:?}");
        for accumulate in [false, true] {
            let mut want = values.clone();
            from.iter().zip(&weights).for_each(|(&p, w)| want[p] = if accumulate { want[p] + w } else { *w });
            let set = x.detach().index_set(&index, &w, accumulate).unwrap();
            assert_eq!(set.to_f64_vec().unwrap(), want, "round {round} {shape:?} {index:?} {accumulate}");
        }
    }
}

#[test]
fn known_points() {
    let x = Tensor::iota(0.0, 1.0, 24, DType::F32, esker_tensor::Device::Cpu).unwrap().reshape([2, 3, 4]).unwrap();
    let of = |v: &[i64]| Tensor::from_slice(v, [v.len()]).unwrap();
    let (a, b) = (of(&[0, 1]), of(&[1, -1]));
    let sizes = |index: &[Index<Tensor>]| x.index(index).unwrap().shape().to_vec();
    assert_eq!(sizes(&i![1]), [3, 4]);
    assert_eq!(sizes(&i![.., 1..=1, None, Index::by(.., -2)]), [2, 1, 1, 2]);
    assert_eq!(sizes(&i![Index::Ellipsis, 0]), [2, 3]);
    assert_eq!(sizes(&i![&a, .., &b]), [2, 3], "separated places stand in front");
    assert_eq!(sizes(&i![.., &a, &b]), [2, 2], "neighbours stand where they are");
    assert_eq!(sizes(&i![0, .., &a]), [3, 2], "an integer is no place, as in PyTorch");
    assert_eq!(x.index(&i![&a, &b, 0]).unwrap().to_vec::<f32>().unwrap(), [4.0, 20.0]);
    assert_eq!(x.index(&i![-1, -1, -2..]).unwrap().to_vec::<f32>().unwrap(), [22.0, 23.0]);
    let mask = Tensor::from_slice(&[true, false], [2]).unwrap();
    assert_eq!(sizes(&i![&mask]), [1, 3, 4]);
    let two = Tensor::from_slice(&[2.0f32], [1]).unwrap();
    let set = x.index_set(&i![&mask], &two, false).unwrap().to_vec::<f32>().unwrap();
    assert!(set[..12].iter().all(|&v| v == 2.0) && set[12] == 12.0);
    let twice = x.index_set(&i![&of(&[0, 0]), 0, 0], &two, true).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(twice[0], 4.0, "each of two is added");
}

#[test]
fn errors_are_one_sentence() {
    let x = Tensor::zeros([2, 3]).unwrap();
    let of = |v: &[i64]| Tensor::from_slice(v, [v.len()]).unwrap();
    let fails = |index: &[Index<Tensor>]| x.index(index).unwrap_err().to_string();
    assert_eq!(fails(&i![0, 0, 0]), "too many indices: 3 for a tensor of [2, 3]");
    assert_eq!(fails(&i![.., &of(&[0, -4])]), "index -4 is out of range for dimension 1 of size 3");
    assert_eq!(fails(&i![&of(&[0, 1]), &of(&[0, 1, 2])]), "index shapes [2] and [3] do not broadcast");
    let mask = Tensor::from_slice(&[true, false, true], [3]).unwrap();
    assert_eq!(fails(&i![&mask]), "a mask of [3] does not fit [2, 3] from dimension 0 on");
    assert_eq!(fails(&i![&Tensor::zeros([1]).unwrap()]), "an index must be int64 or bool, got float32");
    assert_eq!(fails(&i![Index::Ellipsis, Index::Ellipsis]), "an index has more than one ellipsis");
    assert!(x.index(&i![2]).is_err() && x.index(&i![.., -4]).is_err());
    let set = x.index_set(&i![0], &Tensor::zeros([2]).unwrap(), false).unwrap_err().to_string();
    assert_eq!(set, "a value of [2] does not broadcast to [3]");
}
