//! Whole models out and back in, and the files that they are written to.
#![allow(clippy::unwrap_used)]

mod common;

use common::{filled, net, of, sized};
use esker_graph::{Executor, Graph, Sym};
use esker_onnx::{ExportOptions, ImportOptions, export, import, import_with, load, save};
use esker_ops::Ops;

/// Out, in, and run with the same bits for several batches; returns what was read.
fn survives(graph: &Graph, shape: impl Fn(usize) -> Vec<usize>) -> Graph {
    esker_cpu::register();
    let executor = Executor::new(graph.clone()).unwrap();
    let mut last = None;
    for opset in [13, 17, 23] {
        let back = import(&export(graph, &ExportOptions { opset, ..ExportOptions::default() }).unwrap()).unwrap();
        let again = Executor::new(back.clone()).unwrap();
        for n in [1, 2, 5] {
            let x = [filled(&shape(n))];
            let (a, b) = (executor.run(&x).unwrap(), again.run(&x).unwrap());
            assert_eq!(a.len(), b.len());
            for (a, b) in a.iter().zip(&b) {
                assert_eq!(a.meta(), b.meta(), "opset {opset}:\n{back}");
                assert_eq!(a.to_f64_vec().unwrap(), b.to_f64_vec().unwrap(), "opset {opset}:\n{back}");
            }
        }
        last = Some(back);
    }
    last.unwrap()
}

#[test]
fn a_net_comes_back_op_for_op() {
    let graph = net();
    let back = survives(&graph, |n| vec![n, 1, 8, 8]);
    let names = |g: &Graph| g.nodes.iter().map(|n| n.op.name()).collect::<Vec<_>>();
    assert_eq!(names(&back), names(&graph));
    assert_eq!(back.symbol, "N");
    let consts: Vec<String> = back.consts.iter().map(|c| back.label(c.id)).collect();
    assert!(consts.contains(&"conv.weight".to_string()) && consts.contains(&"fc.weight".to_string()), "{consts:?}");
    assert_eq!(back.outputs[0].name, "output");
}

#[test]
fn sizes_are_computed_in_the_file() {
    survives(&sized(), |n| vec![n, 4]);
}

#[test]
fn inputs_constants_and_doubles_as_results() {
    let c = Sym::new(filled(&[3]));
    survives(
        &of(&[None], |x| {
            let y = x.relu()?;
            Ok(vec![x.clone(), y.clone(), c.clone(), y])
        }),
        |n| vec![n],
    );
}

#[test]
fn unused_results_leave_no_trace() {
    let graph = of(&[None, Some(4)], |x| Ok(vec![x.max(1, false)?.1]));
    let back = survives(&graph, |n| vec![n, 4]);
    assert_eq!(back.nodes.len(), 2, "argmax and its squeeze:\n{back}");
}

#[test]
fn other_opsets_and_ops_without_a_form_are_refused() {
    let refuse =
        |graph: &Graph, opset| export(graph, &ExportOptions { opset, ..ExportOptions::default() }).unwrap_err();
    assert_eq!(refuse(&net(), 12).to_string(), "opset 12 is not written; 13 to 23 are");
    let dropped = of(&[Some(4)], |x| Ok(vec![x.dropout(0.5, true, esker_tensor::philox::Key(1))?]));
    let e = refuse(&dropped, 17);
    assert!(e.to_string().starts_with("dropout_mask has no ONNX form at opset 17: a random mask"), "{e}");
}

#[test]
fn metadata_does_not_disturb() {
    let options = ExportOptions {
        metadata: vec![("classes".into(), "0,1".into())],
        doc: "digits".into(),
        ..ExportOptions::default()
    };
    let bytes = export(&net(), &options).unwrap();
    assert!(import(&bytes).is_ok());
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("classes") && text.contains("digits"));
}

#[test]
fn open_dimensions_can_be_given() {
    let bytes = export(&net(), &ExportOptions::default()).unwrap();
    let fixed = import_with(&bytes, &ImportOptions { sizes: vec![("N".into(), 3)] }).unwrap();
    assert!(!fixed.has_batch());
}

#[test]
fn files_are_whole_or_absent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    save(&net(), &path, &ExportOptions::default()).unwrap();
    assert_eq!(load(&path).unwrap().nodes.len(), net().nodes.len());
    let before = std::fs::read(&path).unwrap();
    let missing = save(&net(), folder.path().join("no/net.onnx"), &ExportOptions::default()).unwrap_err();
    assert_eq!(missing.kind().name(), "Io");
    let bad = ExportOptions { opset: 5, ..ExportOptions::default() };
    assert!(save(&net(), &path, &bad).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}

/// The child of the test below: writes 100 kB where 1 kB is allowed.
#[test]
fn write_into_a_full_disk() {
    let Some(path) = std::env::var_os("ESKER_FULL_DISK") else { return };
    let e = esker_tensor::write_atomic(std::path::Path::new(&path), &[7; 100_000]).unwrap_err();
    assert_eq!(e.kind().name(), "Io");
    assert!(e.to_string().contains("could not be written"), "{e}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.onnx");
    std::fs::write(&path, b"old").unwrap();
    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact write_into_a_full_disk";
    // Its words go through a pipe: the limit would hold for a file that they are redirected to as well.
    let child = std::process::Command::new("sh")
        .args(["-c", limited])
        .arg(std::env::current_exe().unwrap())
        .env("ESKER_FULL_DISK", &path)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}
