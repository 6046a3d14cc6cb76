//! The IDX reader.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use esker_data::parse_idx;
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

#[test]
fn hostile_files_are_named_for_what_is_wrong() {
    let cases: [(&[u8], &str); 8] = [
        (&[], "0 bytes are too few"),
        (&[0x1f, 0x8b, 8, 0, 0], "compressed with gzip"),
        (&[0, 1, 8, 1], "begins with two zeros"),
        (&[0, 0, 8, 9], "9 dimensions"),
        (&[0, 0, 8, 2, 0, 0, 0, 1, 0, 0], "within the size of dimension 1"),
        (&[0, 0, 7, 0, 0], "0x07 is no IDX element type"),
        (&[0, 0, 8, 1, 0, 0, 0, 3, 1, 2], "3 elements of 1 bytes, but 2 bytes follow"),
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
        let _ = parse_idx(&bytes);
    }
}
