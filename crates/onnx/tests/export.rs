//! What exported files look like.
#![allow(clippy::unwrap_used)]

use esker_graph::{Graph, InputSpec, Sym, capture};
use esker_onnx::{ExportOptions, export};
use esker_ops::kernel::{Conv2d, Pool2d};
use esker_ops::{Array, Ops};
use esker_tensor::{DType, Result, Shape};

fn weight(shape: &[usize]) -> Sym {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 200.0).collect();
    Sym::new(Array::from_slice(&values, Shape::new(shape).unwrap()).unwrap())
}

/// Conv, relu, max pooling, flatten, two linear layers.
fn net() -> Graph {
    let conv = Conv2d { padding: [1, 1], ..Conv2d::default() };
    let (w1, b1, w2, b2) = (weight(&[8, 1, 3, 3]), weight(&[8, 1, 1]), weight(&[128, 10]), weight(&[10]));
    let model = |x: &Sym| -> Result<Sym> {
        let x = x.conv2d(&w1, conv)?.add(&b1)?.relu()?;
        let (x, _) = x.max_pool2d(Pool2d::square(2))?;
        let n = x.array().shape()[0];
        let x = x.reshape([n, 128])?;
        let x = x.matmul(&w2)?.add(&b2)?.gelu()?;
        x.log_softmax(-1)
    };
    let spec = InputSpec::new("x", DType::F32, &[None, Some(1), Some(8), Some(8)]);
    let mut graph = capture(&[spec], |x| Ok(vec![model(&Sym::new(x[0].clone()))?.into_array()])).unwrap();
    graph.name_consts([("conv.weight", w1.array()), ("fc.weight", w2.array())]);
    graph
}

#[test]
fn a_net_exports() {
    let graph = net();
    println!("{graph}");
    for opset in [13, 17, 20, 23] {
        let bytes = export(&graph, &ExportOptions { opset, ..ExportOptions::default() }).unwrap();
        if let Some(folder) = std::env::var_os("ESKER_TEST_OUT") {
            std::fs::write(std::path::Path::new(&folder).join(format!("net{opset}.onnx")), bytes).unwrap();
        }
    }
}
