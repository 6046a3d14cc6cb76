//! Bad input gives one sentence: the op, what was given, what was needed. Nothing panics.

use esker::prelude::*;

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape).unwrap()
}

/// The error's kind and sentence.
fn sentence<T>(result: Result<T>) -> (&'static str, String) {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(e) => (e.kind().name(), e.to_string()),
    }
}

#[test]
fn each_mistake_has_its_sentence() {
    let cases = [
        (
            sentence(zeros(&[2, 3]).matmul(&zeros(&[4, 5]))),
            "Shape",
            "matmul: inner sizes differ: [2, 3] x [4, 5] (3 != 4)",
        ),
        (
            sentence(zeros(&[2, 3]).add(&zeros(&[2]))),
            "Shape",
            "add: [2, 3] and [2] do not broadcast: dimension -1 is 3 and 2, and neither is 1",
        ),
        (
            sentence(zeros(&[2, 3]).sum(2, false)),
            "Dim",
            "sum: dimension 2 is out of range for [2, 3] (rank 2, expected -2 to 1)",
        ),
        (sentence(zeros(&[2]).sum([0, 0], false)), "Dim", "sum: dimension 0 is named twice in [0, 0]"),
        (
            sentence(zeros(&[2, 3]).reshape([4, -1])),
            "Shape",
            "reshape: [2, 3] has 6 elements, which do not fit [4, -1]",
        ),
        (sentence(zeros(&[2, 3]).permute([0])), "Dim", "permute: [0] does not name every dimension of [2, 3] once"),
        (sentence(Tensor::zeros([1; 9])), "Dim", "full: more than 8 dimensions were given, the highest rank"),
        (
            sentence(Tensor::from_vec([1i64]).unwrap().mean((), false)),
            "DType",
            "mean: the input must be a floating-point tensor, got int64; cast it first",
        ),
        (
            sentence(zeros(&[2]).index_select(&zeros(&[1]), 0)),
            "DType",
            "index_select: the index must be int64, got float32",
        ),
        (
            sentence(zeros(&[1, 1, 2, 2]).conv2d(&zeros(&[1, 1, 3, 3]), None, 1, 0, 1, 1)),
            "Shape",
            "conv2d: convolution: the window spans 3 but the padded input has only 2 (2 + 2 x 0)",
        ),
        (
            sentence(Tensor::full(0.0, [usize::MAX, 4], DType::F32, Device::Cpu)),
            "Shape",
            "full: size -1 in [-1, 4] is negative",
        ),
        (sentence(Tensor::from_slice(&[1f32], [2])), "Shape", "1 elements were given for [2], which has 2"),
        (sentence(zeros(&[2]).to_vec::<f64>()), "DType", "the values are float32, not float64; cast first"),
        (
            sentence(Tensor::meta_like(DType::F32, [2]).unwrap().item()),
            "Capture",
            "the values of a [2] meta tensor were asked for; it has none (is the code under capture reading data?)",
        ),
    ];
    for ((kind, text), expected_kind, expected) in cases {
        assert_eq!((kind, text.as_str()), (expected_kind, expected));
    }
}

#[test]
fn integer_division_by_zero_is_an_error_value() {
    let a = Tensor::from_vec([1i32, 2]).unwrap();
    let b = Tensor::from_vec([1i32, 0]).unwrap();
    for result in [a.floor_divide(&b), a.remainder(&b)] {
        let (kind, text) = sentence(result);
        assert_eq!(kind, "Kernel");
        assert!(text.contains("division by zero"), "{text}");
    }
    let floats = Tensor::from_vec([1f32, -1.0]).unwrap().div(&Tensor::from_vec([0f32, 0.0]).unwrap()).unwrap();
    assert_eq!(floats.to_vec::<f32>().unwrap(), [f32::INFINITY, f32::NEG_INFINITY]);
}

#[test]
fn an_index_out_of_range_is_an_error_value() {
    let index = Tensor::from_vec([0i64, 5]).unwrap();
    let (kind, text) = sentence(zeros(&[3, 2]).index_select(&index, 0));
    assert_eq!(kind, "Kernel");
    assert!(text.contains('5') && text.contains('3'), "{text}");
}

#[test]
fn a_device_that_was_not_opened_is_unavailable() {
    let (kind, text) = sentence(Tensor::full(0.0, [2], DType::F32, Device::Cuda(0)));
    assert_eq!(kind, "Unavailable", "{text}");
    assert!(text.contains("cuda:0 was not opened"), "{text}");
    let (kind, text) = sentence(esker::cuda(0));
    assert_eq!(kind, "Unavailable");
    assert!(text.len() > 20, "the reason is given: {text}");
}

#[test]
fn operators_panic_with_the_sentence() {
    let result = std::panic::catch_unwind(|| &zeros(&[2]) + &zeros(&[3]));
    let payload = result.unwrap_err();
    let text = payload.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("add: [2] and [3] do not broadcast"), "{text}");
}

#[test]
fn allocation_beyond_memory_is_out_of_memory() {
    let (kind, text) = sentence(Tensor::full(0.0, [1usize << 50], DType::F32, Device::Cpu));
    assert_eq!(kind, "OutOfMemory", "{text}");
}
