//! The IDX reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::Write;

use esker_data::{find_data, parse_idx, read_idx};
use esker_tensor::DType;
use proptest::prelude::*;

#[test]
fn arrays_are_read() {
    let bytes = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255];
    let t = parse_idx(&bytes).unwrap();
    assert_eq!((&t.shape()[..], t.dtype()), (&[2usize, 3][..], DType::U8));
    assert_eq!(t.to_vec::<u8>().unwrap(), [1, 2, 3, 4, 5, 255]);
    let t = parse_idx(&[0, 0, 0x0d, 1, 0, 0, 0, 1, 0x3f, 0x80, 0, 0]).unwrap();
    assert_eq!(t.to_vec::<f32>().unwrap(), [1.0]);
    let t = parse_idx(&[0, 0, 0x0b, 1, 0, 0, 0, 1, 0xff, 0xfe]).unwrap();
    assert_eq!(t.to_vec::<i16>().unwrap(), [-2]);
    assert_eq!(parse_idx(&[0, 0, 9, 1, 0, 0, 0, 0]).unwrap().numel(), 0);
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_files_are_unpacked_as_far_as_their_sizes_say() {
    let bytes = [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];
    assert_eq!(parse_idx(&gzipped(&bytes)).unwrap().to_vec::<u8>().unwrap(), [7, 8, 9]);
    let mut two = gzipped(&bytes[..6]);
    two.extend(gzipped(&bytes[6..]));
    assert_eq!(parse_idx(&two).unwrap().to_vec::<u8>().unwrap(), [7, 8, 9]);
    let cut = gzipped(&bytes);
    assert!(parse_idx(&cut[..cut.len() - 9]).unwrap_err().to_string().contains("cannot be unpacked"));
    // Zeros behind an array of three bytes.
    let mut long = bytes.to_vec();
    long.resize(1 << 20, 0);
    assert!(parse_idx(&gzipped(&long)).unwrap_err().to_string().contains("but more bytes follow"));
}

/// MNIST, where it is to be had: 60,000 images, the first of them a 5.
#[test]
fn mnist_is_as_published() {
    let files = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
    let [images, labels] = match find_data("mnist", files) {
        Ok(paths) => paths,
        Err(why) => return println!("skipped: {why}"),
    };
    let (images, labels) = (read_idx(images).unwrap(), read_idx(labels).unwrap());
    assert_eq!((&images.shape()[..], labels.numel()), (&[60_000usize, 28, 28][..], 60_000));
    assert_eq!(labels.to_vec::<u8>().unwrap()[..5], [5, 0, 4, 1, 9]);
    let error = read_idx("nowhere.gz").unwrap_err();
    assert!(error.kind().name() == "Io" && error.to_string().contains("nowhere.gz"), "{error}");
}

#[test]
fn hostile_files_are_named_for_what_is_wrong() {
    let cases: [(&[u8], &str); 9] = [
        (&[], "0 bytes are too few"),
        (&[0x1f, 0x8b, 8, 0, 0], "the file cannot be unpacked: "),
        (&[0, 1, 8, 1], "begins with two zeros"),
        (&[0, 0, 8, 9], "9 dimensions"),
        (&[0, 0, 8, 2, 0, 0, 0, 1, 0, 0], "within the size of dimension 1"),
        (&[0, 0, 7, 0, 0], "0x07 is no IDX element type"),
        (&[0, 0, 8, 1, 0, 0, 0, 3, 1, 2], "3 elements of 1 bytes, but 2 bytes follow"),
        (&[0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3, 4], "3 elements of 1 bytes, but more bytes follow"),
        (&[0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "more elements than"),
    ];
    for (bytes, expected) in cases {
        let error = parse_idx(bytes).unwrap_err();
        assert_eq!(error.kind().name(), "Format", "{error}");
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(code in 0u8..16, rank in 0u8..10, rest in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut bytes = vec![0, 0, code, rank];
        bytes.extend(rest);
        let plain = parse_idx(&bytes).map(|t| t.numel());
        prop_assert_eq!(parse_idx(&gzipped(&bytes)).map(|t| t.numel()), plain);
    }
}
