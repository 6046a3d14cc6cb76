//! Weight files: what is written comes back, and no file makes the reader panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;

use esker_autograd::{Param, Tensor};
use esker_nn::{Linear, ModuleExt, ReLU, Sequential, StateDict, parse_state, save_state, sequential, state_bytes};
use esker_ops::Ops;
use esker_tensor::DType;
use proptest::prelude::*;

fn net() -> Sequential {
    sequential![Linear::new(3, 4).unwrap(), ReLU, Linear::new(4, 2).unwrap()]
}

fn values(net: &Sequential) -> Vec<Vec<f32>> {
    net.parameters().iter().map(|p| p.tensor().to_vec().unwrap()).collect()
}

#[test]
fn a_module_comes_back_from_its_file() {
    let folder = tempfile_folder("roundtrip");
    let path = folder.join("net.safetensors");
    let (a, b) = (net(), net());
    esker_nn::save(&a, &path).unwrap();
    assert_ne!(values(&a), values(&b));
    esker_nn::load(&b, &path).unwrap();
    assert_eq!(values(&a), values(&b));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing else is left behind");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_dtype_and_layout_comes_back_and_the_reference_reader_agrees() {
    let mut state = StateDict::new();
    let x = Tensor::from_slice(&[-2.0f64, -1.0, 0.0, 1.0, 2.0, 3.0], [2, 3]).unwrap();
    for dtype in DType::ALL {
        state.insert(format!("t.{dtype}"), x.cast(dtype).unwrap());
    }
    state.insert("turned".to_string(), x.t().unwrap());
    state.insert("scalar".to_string(), Tensor::from_scalar(1.5f32).unwrap());
    state.insert("empty".to_string(), Tensor::zeros([0, 3]).unwrap());
    let bytes = state_bytes(&state).unwrap();
    let back = parse_state(&bytes).unwrap();
    assert_eq!(back.len(), state.len());
    for (name, tensor) in &state {
        let given = &back[name];
        assert_eq!((given.shape(), given.dtype()), (tensor.shape(), tensor.dtype()), "{name}");
        assert_eq!(given.to_f64_vec().unwrap(), tensor.to_f64_vec().unwrap(), "{name}");
    }
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(reference.len(), state.len());
    assert_eq!(reference.tensor("turned").unwrap().shape(), [3, 2]);
}

#[test]
fn strict_loading_lists_every_fault_in_one_sentence_and_changes_nothing() {
    let net = net();
    let before = values(&net);
    let mut state = net.state_dict();
    state.remove("0.bias");
    state.insert("3.weight".to_string(), Tensor::zeros([1]).unwrap());
    state.insert("2.bias".to_string(), Tensor::zeros([5]).unwrap());
    let text = net.load_state_dict(&state, true).unwrap_err().to_string();
    assert_eq!(
        text,
        "the state does not fit the module: missing 0.bias; unexpected 3.weight; of another shape or dtype 2.bias \
         (given [5] float32, needed [2] float32)"
    );
    assert!(net.load_state_dict(&state, false).unwrap_err().to_string().ends_with("needed [2] float32)"));
    assert_eq!(values(&net), before);
    state.remove("2.bias");
    net.load_state_dict(&state, false).unwrap();
}

#[test]
fn tied_weights_are_saved_under_both_names_and_load_tied() {
    let tied = || {
        let weight = Param::new(&Tensor::randn([3, 3]).unwrap()).unwrap();
        sequential![Linear::of(weight.clone(), None), Linear::of(weight, None)]
    };
    let (a, b) = (tied(), tied());
    let bytes = state_bytes(&a.state_dict()).unwrap();
    let mut state = parse_state(&bytes).unwrap();
    assert_eq!(state.keys().collect::<Vec<_>>(), ["0.weight", "1.weight"]);
    b.load_state_dict(&state, true).unwrap();
    assert_eq!(b.parameters().len(), 1);
    assert_eq!(values(&a), values(&b));
    state.insert("1.weight".to_string(), Tensor::zeros([3, 3]).unwrap());
    let text = b.load_state_dict(&state, true).unwrap_err().to_string();
    assert!(text.ends_with("tied in the module but of different values 0.weight and 1.weight"), "{text}");
}

/// A file of this header and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

#[test]
fn hostile_files_are_named_for_what_is_wrong() {
    // Eight tensors of 2^61 bytes each: every size fits an address, their sum does not.
    let far: Vec<String> = (0..8u64)
        .map(|i| {
            let (start, end) = (i << 61, ((i + 1) as u128) << 61);
            let end = end.min(u128::from(u64::MAX - 20)) as u64;
            format!(r#""{i}":{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#, end - start)
        })
        .collect();
    let cases = [
        (Vec::new(), "0 bytes are too few"),
        (b"\x80\x02}q\x00.".to_vec(), "6 bytes are too few"),
        (b"PK\x03\x04 and so on, a zip file".to_vec(), "is this a safetensors file?"),
        (u64::MAX.to_le_bytes().to_vec(), "18446744073709551615 bytes"),
        (file("{\"a\":", 0), "the header: "),
        (file("[]", 0), "the header: "),
        (
            file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 7),
            "describes 8 bytes of data, the file has 7",
        ),
        (
            file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 9),
            "describes 8 bytes of data, the file has 9",
        ),
        (file(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8), "the header: "),
        (file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, 8), "the header: "),
        (file(r#"{"a":{"dtype":"F31","shape":[2],"data_offsets":[0,8]}}"#, 8), "the header: "),
        (file(r#"{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}"#, 2), "tensor a: F8_E4M3 is a dtype"),
        (file(r#"{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}"#, 1), "tensor a: rank 9"),
        (
            file(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}"#, 0),
            "the header: ",
        ),
        (
            file(
                r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#,
                6,
            ),
            "the header: ",
        ),
        (file(&format!("{{{}}}", far.join(",")), 0), "the header"),
    ];
    for (bytes, expected) in cases {
        let error = parse_state(&bytes).unwrap_err();
        assert_eq!(error.kind().name(), "Format", "{error}");
        assert!(error.to_string().contains(expected), "{error} does not say {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(at in 0usize..600, value in any::<u8>(), cut in 0usize..600) {
        let mut bytes = state_bytes(&net().state_dict()).unwrap();
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = parse_state(&bytes);
        bytes.truncate(cut % bytes.len());
        prop_assert!(parse_state(&bytes).is_err());
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_state(&bytes);
    }

    #[test]
    fn any_header_never_panics(
        dtype in "(F32|U8|BOOL|F64|F4)",
        shape in proptest::collection::vec(prop_oneof![0u64..5, any::<u64>()], 0..4),
        start in prop_oneof![Just(0u64), any::<u64>()],
        end in prop_oneof![0u64..20, any::<u64>()],
        data in 0usize..20,
    ) {
        let header = format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}}}"#);
        let _ = parse_state(&file(&header, data));
    }
}

fn tempfile_folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("esker-nn-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

const FULL_DISK: &str = "FULL_DISK_FOLDER";

/// Runs in a process whose files may not grow beyond a few kilobytes; see the next test.
#[test]
fn on_a_full_disk() {
    let Some(folder) = std::env::var_os(FULL_DISK) else { return };
    let large = StateDict::from([("w".to_string(), Tensor::zeros([1 << 16]).unwrap())]);
    let error = save_state(&large, Path::new(&folder).join("net.safetensors")).unwrap_err();
    assert_eq!(error.kind().name(), "Io", "{error}");
    assert!(error.to_string().contains("net.safetensors"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile_folder("full");
    let path = folder.join("net.safetensors");
    esker_nn::save(&net(), &path).unwrap();
    let old = std::fs::read(&path).unwrap();
    // A file size limit stands in for the disk; its signal is ignored, so that writing fails with an error instead.
    let test = std::env::current_exe().unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 16; exec "$0" --exact on_a_full_disk"#])
        .arg(test)
        .env(FULL_DISK, &folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read(&path).unwrap(), old);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left behind");
    std::fs::remove_dir_all(folder).unwrap();
}
