//! Datasets, loaders and splits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use esker_autograd::Tensor;
use esker_data::{DataLoader, Dataset, RandomAffine, Subset, TensorDataset, digits, random_split, stratified_split};
use esker_ops::Ops;
use esker_tensor::philox::{Key, block};
use esker_tensor::{Error, Result};

fn numbers(n: i64) -> TensorDataset {
    let x = Tensor::from_vec((0..n).collect::<Vec<_>>()).unwrap();
    TensorDataset::new(vec![x.clone(), x.reshape([n, 1]).unwrap()]).unwrap()
}

fn batches(loader: &DataLoader, epoch: u64) -> Vec<Vec<i64>> {
    loader.epoch(epoch).map(|b| b.unwrap()[0].to_vec().unwrap()).collect()
}

#[test]
fn reading_ahead_changes_nothing() {
    let loader = |prefetch| {
        DataLoader::new(numbers(103), 10).unwrap().shuffle(7).prefetch(prefetch).transform(|mut batch, key| {
            let noise = Tensor::from_scalar(i64::from(block(key, 0)[0]))?;
            batch[0] = batch[0].add(&noise)?;
            Ok(batch)
        })
    };
    for epoch in 0..3 {
        let here = batches(&loader(0), epoch);
        for prefetch in [1, 2, 50] {
            assert_eq!(batches(&loader(prefetch), epoch), here);
        }
    }
    assert_ne!(batches(&loader(0), 0), batches(&loader(0), 1));
}

#[test]
fn an_epoch_has_every_sample_once() {
    let loader = DataLoader::new(numbers(103), 10).unwrap();
    assert_eq!(batches(&loader, 0).concat(), (0..103).collect::<Vec<_>>());
    let shuffled = loader.clone().shuffle(1);
    let mut all = batches(&shuffled, 5).concat();
    assert_ne!(all, (0..103).collect::<Vec<_>>());
    all.sort_unstable();
    assert_eq!(all, (0..103).collect::<Vec<_>>());
    assert_eq!((loader.len(), loader.clone().drop_last(true).len()), (11, 10));
    assert!(batches(&loader.drop_last(true), 0).iter().all(|b| b.len() == 10));
    assert!(DataLoader::new(numbers(3), 0).is_err());
}

/// Fails or panics at sample 12, and counts how many samples were asked for.
struct Broken {
    panics: bool,
    asked: Arc<AtomicUsize>,
}

impl Dataset for Broken {
    fn len(&self) -> usize {
        1000
    }

    fn get(&self, index: usize) -> Result<Vec<Tensor>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match index {
            12 if self.panics => panic!("sample 12 is a trap"),
            12 => Err(Error::format("sample 12 is broken")),
            _ => Ok(vec![Tensor::from_scalar(index as i64)?]),
        }
    }
}

#[test]
fn errors_and_panics_of_the_thread_reach_the_caller() {
    for (panics, prefetch, sentence) in [
        (false, 0, "sample 12 is broken"),
        (false, 3, "sample 12 is broken"),
        (true, 3, "the loader's thread panicked: sample 12 is a trap"),
    ] {
        let loader = DataLoader::new(Broken { panics, asked: Arc::default() }, 5).unwrap().prefetch(prefetch);
        let mut epoch = loader.epoch(0);
        assert_eq!(epoch.next().unwrap().unwrap()[0].to_vec::<i64>().unwrap(), [0, 1, 2, 3, 4]);
        assert!(epoch.next().unwrap().is_ok());
        assert_eq!(epoch.next().unwrap().err().unwrap().to_string(), sentence);
        assert!(epoch.next().is_none(), "an error is the last");
    }
}

#[test]
fn dropping_an_epoch_stops_the_thread() {
    let asked = Arc::new(AtomicUsize::new(0));
    let dataset = Broken { panics: false, asked: Arc::clone(&asked) };
    let loader = DataLoader::new(dataset, 1).unwrap().prefetch(2);
    let mut epoch = loader.epoch(0);
    epoch.next().unwrap().unwrap();
    drop(epoch); // Joins: neither hangs nor reads on.
    let after = asked.load(Ordering::Relaxed);
    assert!(after <= 5, "{after} samples were read");
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(asked.load(Ordering::Relaxed), after);
}

#[test]
fn subsets_and_single_samples() {
    let subset = Subset::new(numbers(10), vec![7, 3, 3]).unwrap();
    assert_eq!(subset.len(), 3);
    assert_eq!(subset.get(1).unwrap()[0].item().unwrap(), 3.0);
    let batch = subset.batch(&[0, 2]).unwrap();
    assert_eq!(batch[1].shape()[..], [2, 1]);
    assert_eq!(batch[0].to_vec::<i64>().unwrap(), [7, 3]);
    assert!(Subset::new(numbers(10), vec![10]).is_err());
    assert!(subset.get(3).is_err() && numbers(2).batch(&[2]).is_err());
    assert!(TensorDataset::new(vec![]).is_err());
    let uneven = vec![Tensor::zeros([2]).unwrap(), Tensor::zeros([3]).unwrap()];
    assert!(TensorDataset::new(uneven).err().unwrap().to_string().contains("[2], [3]"));
    let samples = [vec![Tensor::zeros([2]).unwrap()], vec![Tensor::zeros([3]).unwrap()]];
    assert!(esker_data::stack(&samples).err().unwrap().to_string().contains("column 0"));
}

#[test]
fn splits_keep_the_shares_of_classes() {
    let labels: Vec<i64> = (0..100).map(|i| i64::from(i % 10 == 0)).collect();
    let (rest, held) = stratified_split(&labels, 0.2, 3).unwrap();
    assert_eq!((rest.len(), held.len()), (80, 20));
    assert_eq!(held.iter().filter(|&&i| labels[i] == 1).count(), 2);
    assert_eq!(stratified_split(&labels, 0.2, 3).unwrap(), (rest.clone(), held.clone()));
    assert_ne!(stratified_split(&labels, 0.2, 4).unwrap().1, held);
    let mut all = [rest, held].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    assert_eq!(random_split(10, 0.5, 0).unwrap().0.len(), 5);
    assert!(stratified_split(&labels, 1.5, 0).is_err() && stratified_split(&labels, f64::NAN, 0).is_err());
}

#[test]
fn the_digits_are_those_of_the_archive() {
    let (images, labels) = digits().unwrap();
    assert_eq!(images.shape()[..], [1797, 1, 8, 8]);
    // The first rows of the published table are a 0, a 1, a 2; the counts of the classes are its own as well.
    let labels = labels.to_vec::<i64>().unwrap();
    assert_eq!(labels[..5], [0, 1, 2, 3, 4]);
    let counts: Vec<usize> = (0..10).map(|d| labels.iter().filter(|&&l| l == d).count()).collect();
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    let pixels = images.to_vec::<f32>().unwrap();
    assert_eq!(pixels[..8], [0.0, 0.0, 5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0, 1.0 / 16.0, 0.0, 0.0]);
    assert!(pixels.iter().all(|p| (0.0..=1.0).contains(p)));
}

#[test]
fn affine_changes_are_what_they_say() {
    let none = RandomAffine { degrees: 0.0, shift: 0.0, scale: 0.0, shear: 0.0 };
    let (images, _) = digits().unwrap();
    let images = images.slice(0, 0, 20, 1).unwrap();
    assert_eq!(none.apply(&images, Key(1)).unwrap().to_vec::<f32>().unwrap(), images.to_vec::<f32>().unwrap());
    let some = RandomAffine { degrees: 15.0, shift: 1.0, scale: 0.1, shear: 0.1 };
    let a = some.apply(&images, Key(1)).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(a, some.apply(&images, Key(1)).unwrap().to_vec::<f32>().unwrap());
    assert_ne!(a, some.apply(&images, Key(2)).unwrap().to_vec::<f32>().unwrap());
    assert!(a.iter().all(|p| (0.0..=1.0 + 1e-6).contains(p)));
    // Image i does not depend on its neighbours.
    let first = some.apply(&images.slice(0, 0, 1, 1).unwrap(), Key(1)).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(a[..64], first[..]);
    assert!(some.apply(&Tensor::zeros([3]).unwrap(), Key(1)).is_err());
    assert!(some.apply(&Tensor::zeros([0, 1, 0, 8]).unwrap(), Key(1)).is_ok());
}
