//! Modules against PyTorch: names and layouts of states, results, gradients. `fixtures/modules.safetensors` holds what
//! PyTorch gives (its version stands in the file), `fixtures/generate_modules.py` wrote it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use esker_autograd::Tensor;
use esker_nn::*;
use esker_ops::{Ops, Value};
use esker_tensor::{DType, Result};

static FIXTURE: LazyLock<StateDict> = LazyLock::new(|| {
    load_state(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/modules.safetensors")).unwrap()
});

/// The entries of one case below a folder, without their prefix.
fn entries(case: &str, folder: &str) -> StateDict {
    let prefix = format!("{case}/{folder}/");
    let found = FIXTURE.iter().filter_map(|(k, v)| Some((k.strip_prefix(&prefix)?.to_string(), v.clone())));
    found.collect()
}

/// The numbered entries of one case.
fn numbered(case: &str, what: &str) -> Vec<Option<Tensor>> {
    (0..6).map(|i| FIXTURE.get(&format!("{case}/{what}{i}")).cloned()).collect()
}

fn close(given: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(given.shape(), expected.shape(), "{what}");
    assert_eq!(given.dtype(), expected.dtype(), "{what}");
    let (given, expected) = (given.to_f64_vec().unwrap(), expected.to_f64_vec().unwrap());
    for (i, (g, e)) in given.iter().zip(&expected).enumerate() {
        assert!((g - e).abs() <= 2e-5 * (1.0 + e.abs()), "{what}[{i}]: {g} for {e}\n{given:?}\n{expected:?}");
    }
}

/// Loads the case's state into the module, calls it, and compares results, gradients and buffers.
fn check<M: Module>(case: &str, module: &M, run: impl Fn(&M, &[Tensor]) -> Result<Vec<Tensor>>) {
    let state = entries(case, "state");
    module.load_state_dict(&state, true).unwrap_or_else(|e| panic!("{case}: {e}"));
    let inputs = numbered(case, "in").into_iter().flatten();
    let inputs: Vec<Tensor> = inputs.map(|x| if x.dtype().is_float() { x.tracked().unwrap() } else { x }).collect();
    let results = run(module, &inputs).unwrap_or_else(|e| panic!("{case}: {e}"));
    let expected: Vec<Tensor> = numbered(case, "out").into_iter().flatten().collect();
    assert_eq!(results.len(), expected.len(), "{case}");
    let mut total = <Tensor as Value>::scalar(0.0, DType::F32, results[0].device()).unwrap();
    for (i, (result, expected)) in results.iter().zip(&expected).enumerate() {
        close(result, expected, &format!("{case}, result {i}"));
        let ramp: Vec<f32> = (0..result.numel()).map(|i| (i as f64).cos() as f32).collect();
        let weighted = result.mul(&Tensor::from_slice(&ramp, result.shape()).unwrap()).unwrap();
        total = total.add(&weighted.sum((), false).unwrap()).unwrap();
    }
    let grads = numbered(case, "grad");
    for (i, (input, expected)) in inputs.iter().zip(&grads).enumerate() {
        if let Some(expected) = expected {
            let options = esker_autograd::GradOptions { retain_graph: true, ..Default::default() };
            let given = esker_autograd::grad_with(&[&total], &[input], options).unwrap();
            close(&given[0], expected, &format!("{case}, gradient of input {i}"));
        }
    }
    module.zero_grad();
    if !module.parameters().is_empty() {
        total.backward().unwrap();
    }
    for (name, expected) in entries(case, "gradient") {
        let (_, param) = module.named_parameters().into_iter().find(|(n, _)| *n == name).unwrap();
        close(&param.grad().unwrap(), &expected, &format!("{case}, gradient of {name}"));
    }
    let after = module.state_dict();
    entries(case, "after").iter().for_each(|(name, e)| close(&after[name], e, &format!("{case}, {name} afterwards")));
}

/// A module of one input.
fn one<M: Forward>(case: &str, module: M) {
    check(case, &module, |m, x| Ok(vec![m.forward(&x[0])?]));
}

#[test]
fn simple_layers_are_pytorchs() {
    one("Linear", Linear::new(3, 4).unwrap());
    one("Linear without bias", Linear::without_bias(3, 4).unwrap());
    check("Bilinear", &Bilinear::new(3, 4, 2).unwrap(), |m, x| Ok(vec![m.forward(&x[0], &x[1])?]));
    one("PReLU", PReLU::new(3).unwrap());
    one("Embedding", Embedding::new(5, 3).unwrap().padding_idx(1).unwrap());
}

#[test]
fn convolutions_and_pools_are_pytorchs() {
    one("Conv1d", Conv1d::grouped(4, 6, 3, 2).unwrap().stride(2).padding(1));
    one("Conv1d same", Conv1d::new(2, 3, 4).unwrap().padding_same().dilation(2).without_bias());
    one("Conv2d", Conv2d::new(2, 3, (3, 2)).unwrap().stride((1, 2)).padding((2, 1)).dilation((2, 1)));
    one("Conv3d", Conv3d::new(2, 2, 2).unwrap().padding(1));
    one("ConvTranspose1d", ConvTranspose1d::grouped(4, 2, 3, 2).unwrap().stride(2).padding(1).output_padding(1));
    let transposed = ConvTranspose2d::new(2, 3, (2, 3)).unwrap().stride((2, 1)).dilation((1, 2)).without_bias();
    one("ConvTranspose2d", transposed);
    one("MaxPool1d", MaxPool1d::new(3).stride(2).padding(1));
    one("MaxPool2d", MaxPool2d::new((2, 3)).stride(2).dilation((2, 1)).ceil_mode());
    one("AvgPool1d", AvgPool1d::new(3).padding(1).without_padding_in_the_mean());
    one("AvgPool2d", AvgPool2d::new(2).stride((1, 2)).ceil_mode().divisor_override(3));
    let error = ConvTranspose1d::grouped(4, 3, 3, 2).unwrap_err().to_string();
    assert_eq!(error, "ConvTranspose1d: 2 groups do not divide 4 input and 3 output channels");
    let net = sequential![ReLU, Conv2d::new(2, 3, 3).unwrap()];
    let error = net.forward(&Tensor::zeros([1, 3, 5, 5]).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("conv2d: ") && error.ends_with("(in 1)"), "{error}");
}

#[test]
fn norms_are_pytorchs() {
    one("BatchNorm1d", BatchNorm1d::new(3).unwrap());
    one("BatchNorm1d cumulative", BatchNorm1d::new(3).unwrap().momentum(None).without_affine());
    one("BatchNorm2d", BatchNorm2d::new(3).unwrap().eps(1e-2).momentum(Some(0.3)));
    let quiet = BatchNorm2d::new(3).unwrap();
    quiet.eval();
    one("BatchNorm2d eval", quiet);
    let untracked = BatchNorm2d::new(3).unwrap().without_running_stats();
    untracked.eval();
    one("BatchNorm2d untracked", untracked);
    one("BatchNorm3d", BatchNorm3d::new(2).unwrap());
    one("LayerNorm", LayerNorm::new([3, 4]).unwrap().eps(1e-3));
    one("LayerNorm bias", LayerNorm::new([4]).unwrap().without_bias());
    one("RMSNorm", RMSNorm::new([4]).unwrap().eps(1e-3));
    one("RMSNorm plain", RMSNorm::new([3, 4]).unwrap().without_affine());
    one("GroupNorm", GroupNorm::new(2, 4).unwrap());
    one("InstanceNorm1d", InstanceNorm1d::new(3));
    one("InstanceNorm2d", InstanceNorm2d::new(3).affine().unwrap().eps(1e-3));
    one("InstanceNorm3d", InstanceNorm3d::new(2));
    one("LocalResponseNorm", LocalResponseNorm { alpha: 0.5, ..LocalResponseNorm::new(3) });
    let wrong = |m: &dyn Forward, shape: &[usize]| m.forward(&Tensor::zeros(shape).unwrap()).unwrap_err().to_string();
    let batch = BatchNorm2d::new(3).unwrap();
    assert_eq!(wrong(&batch, &[2, 3]), "BatchNorm2d: the input must be [n, c, h, w], got [2, 3]");
    assert!(wrong(&batch, &[1, 3, 1, 1]).contains("one value for each channel"));
    assert!(wrong(&InstanceNorm2d::new(3), &[2, 4, 2, 2]).contains("3 channels, got [2, 4, 2, 2]"));
    assert!(GroupNorm::new(3, 4).unwrap_err().to_string().contains("3 groups do not divide 4 channels"));
}

#[test]
fn running_statistics_follow_the_batches() {
    let norm = BatchNorm1d::new(1).unwrap();
    // Mean 2, variance 4 of two values (unbiased: 8), at momentum 0.1.
    let x = Tensor::from_slice(&[0f32, 4.0], [2, 1]).unwrap();
    norm.forward(&x).unwrap();
    let (mean, var) = norm.running_stats().unwrap();
    close(&mean, &Tensor::from_vec([0.2f32]).unwrap(), "mean");
    close(&var, &Tensor::from_vec([0.9 + 0.8f32]).unwrap(), "variance");
    norm.eval();
    norm.forward(&x).unwrap();
    summary(&sequential![norm.clone()], &Tensor::meta_like(DType::F32, [2, 1]).unwrap()).unwrap();
    assert_eq!(norm.state_dict()["num_batches_tracked"].item().unwrap(), 1.0);
    norm.train();
    norm.forward(&Tensor::meta_like(DType::F32, [2, 1]).unwrap()).unwrap();
    assert_eq!(norm.state_dict()["num_batches_tracked"].item().unwrap(), 1.0, "there were no values");
    norm.to_dtype(DType::F64).unwrap();
    norm.forward(&x.cast(DType::F64).unwrap()).unwrap();
    assert_eq!(norm.running_stats().unwrap().0.dtype(), DType::F64);
}

#[test]
fn pads_and_other_sizes_are_pytorchs() {
    one("AdaptiveAvgPool1d", AdaptiveAvgPool1d::new(3));
    one("AdaptiveAvgPool2d", AdaptiveAvgPool2d::new((2, 3)));
    one("AdaptiveMaxPool1d", AdaptiveMaxPool1d::new(4));
    one("AdaptiveMaxPool2d", AdaptiveMaxPool2d::new(2));
    one("ZeroPad2d", ZeroPad2d::new([1, 2, 0, -1]));
    one("ConstantPad1d", ConstantPad1d::new(2, 0.5));
    one("ReflectionPad2d", ReflectionPad2d::new([1, 2, 2, 0]));
    one("ReplicationPad3d", ReplicationPad3d::new(1));
    one("CircularPad1d", CircularPad1d::new([2, 1]));
    one("Upsample", Upsample::by(2.0));
    one("Upsample bilinear", Upsample::to([5, 4]).mode("bilinear").align_corners());
    one("PixelShuffle", PixelShuffle::new(2));
    one("PixelUnshuffle", PixelUnshuffle::new(2));
    let error = ReflectionPad1d::new(4).forward(&Tensor::zeros([1, 1, 3]).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("pad: "), "{error}");
}

#[test]
fn distances_are_pytorchs() {
    check("CosineSimilarity", &CosineSimilarity::default(), |m, x| Ok(vec![m.forward(&x[0], &x[1])?]));
    let distance = PairwiseDistance { p: 3.0, keepdim: true, ..Default::default() };
    check("PairwiseDistance", &distance, |m, x| Ok(vec![m.forward(&x[0], &x[1])?]));
    let (x, rope) = (Tensor::randn([2, 5, 4]).unwrap(), RotaryEmbedding::default());
    let later = rope.forward(&x.narrow(1, 2, 3).unwrap(), 2).unwrap();
    close(&later, &rope.forward(&x, 0).unwrap().narrow(1, 2, 3).unwrap(), "two steps came before");
}

#[test]
fn recurrent_layers_are_pytorchs() {
    let with =
        |layers, bidirectional, batch_first| Recurrent { layers, bidirectional, batch_first, ..Default::default() };
    let plain = |case: &str, m: RNN| {
        check(case, &m, |m, x| m.forward(&x[0], None).map(|(y, h)| vec![y, h]));
    };
    plain("RNN", RNN::new(3, 4).unwrap());
    let relu = Recurrent { bias: false, ..with(2, false, true) };
    plain("RNN relu", RNN::with(3, 4, relu).unwrap().relu());
    let long = |case: &str, m: LSTM| {
        check(case, &m, |m, x| m.forward(&x[0], None).map(|(y, (h, c))| vec![y, h, c]));
    };
    long("LSTM", LSTM::new(3, 4).unwrap());
    long("LSTM bidirectional", LSTM::with(3, 4, with(2, true, false)).unwrap());
    long("LSTM alone", LSTM::new(3, 4).unwrap());
    let gated = |case: &str, m: GRU| {
        check(case, &m, |m, x| m.forward(&x[0], x.get(1)).map(|(y, h)| vec![y, h]));
    };
    gated("GRU", GRU::with(3, 4, with(2, false, false)).unwrap());
    gated("GRU bidirectional", GRU::with(3, 4, with(1, true, true)).unwrap());
    check("RNNCell", &RNNCell::new(3, 4).unwrap(), |m, x| Ok(vec![m.forward(&x[0], Some(&x[1]))?]));
    check("LSTMCell", &LSTMCell::new(3, 4).unwrap().without_bias(), |m, x| {
        m.forward(&x[0], None).map(|(h, c)| vec![h, c])
    });
    check("GRUCell", &GRUCell::new(3, 4).unwrap(), |m, x| Ok(vec![m.forward(&x[0], Some(&x[1]))?]));
}

#[test]
fn recurrent_layers_carry_their_state_and_drop_between_layers() {
    let settings = Recurrent { layers: 2, dropout: 0.5, ..Default::default() };
    let lstm = LSTM::with(3, 4, settings).unwrap();
    let x = Tensor::randn([6, 2, 3]).unwrap();
    let outputs = |m: &LSTM| m.forward(&x, None).unwrap().0.to_vec::<f32>().unwrap();
    assert_ne!(outputs(&lstm), outputs(&lstm), "training drops");
    lstm.eval();
    let (whole, _) = lstm.forward(&x, None).unwrap();
    let (first, (h, c)) = lstm.forward(&x.narrow(0, 0, 4).unwrap(), None).unwrap();
    let (second, _) = lstm.forward(&x.narrow(0, 4, 2).unwrap(), Some((&h, &c))).unwrap();
    close(&Tensor::cat(&[&first, &second], 0).unwrap(), &whole, "in two parts");
    let error = lstm.forward(&x, Some((&h.narrow(0, 0, 1).unwrap(), &c))).unwrap_err().to_string();
    assert!(error.contains("a state must be [2, 2, 4], got [1, 2, 4]"), "{error}");
    assert!(GRU::new(3, 4).unwrap().forward(&Tensor::zeros([3]).unwrap(), None).is_err());
}

fn mask(rows: &[[bool; 3]]) -> Tensor {
    Tensor::from_slice(&rows.concat(), [rows.len(), 3]).unwrap()
}

#[test]
fn attention_is_pytorchs() {
    let itself = |case: &str, module: MultiheadAttention, mask: &AttentionMask<'_>| {
        check(case, &module, |m, x| {
            let (y, weights) = m.forward_with_weights(&x[0], &x[0], &x[0], mask)?;
            close(&m.forward(&x[0], &x[0], &x[0], mask)?, &y, "without the weights");
            close(&m.forward(&x[0], &x[0].clone(), &x[0], mask)?, &y, "with the parts of the weight one by one");
            Ok(vec![y, weights])
        });
    };
    let new = |heads| MultiheadAttention::new(4, heads).unwrap();
    itself("MultiheadAttention", new(2), &AttentionMask::default());
    let hide = mask(&[[false, true, true], [false, false, true], [true, false, false]]);
    let hidden = AttentionMask { attn_mask: Some(&hide), ..Default::default() };
    itself("MultiheadAttention batch_first", new(2).batch_first(), &hidden);
    let ramp: Vec<f32> = (0..9).map(|i| -1.0 + i as f32 / 4.0).collect();
    let bias = Tensor::from_slice(&ramp, [3, 3]).unwrap();
    itself("MultiheadAttention alone", new(1), &AttentionMask { attn_mask: Some(&bias), ..Default::default() });
    itself("MultiheadAttention causal", new(2), &AttentionMask::causal());
    let padding = mask(&[[false, false, true], [false, false, false]]);
    let padded = AttentionMask { key_padding_mask: Some(&padding), ..Default::default() };
    let sizes = MultiheadAttention::sized(4, 2, 3, 5).unwrap().without_bias();
    for (case, module, mask) in
        [("MultiheadAttention sizes", sizes, AttentionMask::default()), ("MultiheadAttention cross", new(4), padded)]
    {
        check(case, &module, |m, x| {
            let (y, weights) = m.forward_with_weights(&x[0], &x[1], &x[2], &mask)?;
            close(&m.forward(&x[0], &x[1], &x[2], &mask)?, &y, "without the weights");
            Ok(vec![y, weights])
        });
    }
    let wrong = new(2).forward(&Tensor::zeros([2, 1, 5]).unwrap(), &bias, &bias, &hidden);
    assert!(wrong.is_err());
    assert!(MultiheadAttention::new(4, 3).unwrap_err().to_string().contains("3 heads do not divide 4 channels"));
}

fn encoder_layer() -> TransformerEncoderLayer {
    TransformerEncoderLayer::new(4, 2, 6).unwrap().dropout(0.0)
}

#[test]
fn transformers_are_pytorchs() {
    one("TransformerEncoderLayer", encoder_layer());
    let layer = encoder_layer().norm_first().activation(GELU).batch_first().layer_norm_eps(1e-3);
    check("TransformerEncoderLayer norm_first", &layer, |m, x| {
        Ok(vec![m.forward_masked(&x[0], &AttentionMask::causal())?])
    });
    let padding = mask(&[[false, false, true], [false, false, false]]);
    let padded = AttentionMask { key_padding_mask: Some(&padding), ..Default::default() };
    let encoder = TransformerEncoder::new(2, || Ok(encoder_layer())).unwrap().norm(LayerNorm::new([4]).unwrap());
    check("TransformerEncoder", &encoder, |m, x| Ok(vec![m.forward_masked(&x[0], &padded)?]));
    let layer = || Ok(TransformerDecoderLayer::new(4, 2, 6)?.dropout(0.0));
    let decoder = TransformerDecoder::new(2, layer).unwrap();
    check("TransformerDecoder", &decoder, |m, x| {
        Ok(vec![m.forward(&x[0], &x[1], &AttentionMask::causal(), &AttentionMask::default())?])
    });
    let error = encoder.forward(&Tensor::zeros([3, 2, 5]).unwrap()).unwrap_err().to_string();
    assert!(error.ends_with("(in layers.0.self_attn)"), "{error}");
}

#[test]
fn decoding_step_by_step_equals_the_whole() {
    let layer = || Ok(TransformerEncoderLayer::new(8, 2, 16)?.batch_first().norm_first());
    let net = TransformerEncoder::new(2, layer).unwrap().norm(LayerNorm::new([8]).unwrap());
    net.eval();
    let x = Tensor::randn([3, 6, 8]).unwrap();
    let whole = net.forward_masked(&x, &AttentionMask::causal()).unwrap();
    // A prompt of three steps, then one by one.
    let mut cache = net.cache();
    let mut parts = vec![net.forward_cached(&x.narrow(1, 0, 3).unwrap(), &mut cache).unwrap()];
    for step in 3..6 {
        parts.push(net.forward_cached(&x.narrow(1, step, 1).unwrap(), &mut cache).unwrap());
    }
    assert_eq!(cache.iter().map(KvCache::len).collect::<Vec<_>>(), [6, 6]);
    close(&Tensor::cat(&parts.iter().collect::<Vec<_>>(), 1).unwrap(), &whole, "all steps");
    assert!(net.forward_cached(&x, &mut []).unwrap_err().to_string().contains("0 caches are given"));
}

#[test]
fn every_activation_is_its_op() {
    let x = Tensor::randn([3, 4]).unwrap();
    macro_rules! each {
        ($($module:expr => $method:ident($($arg:expr),*);)*) => {$(
            let expected = x.$method($($arg),*).unwrap().to_vec::<f32>().unwrap();
            assert_eq!($module.forward(&x).unwrap().to_vec::<f32>().unwrap(), expected, "{}", stringify!($module));
        )*};
    }
    each! {
        ReLU => relu(); ReLU6 => relu6(); GELU => gelu(); GELUTanh => gelu_tanh(); SELU => selu(); SiLU => silu();
        Mish => mish(); Tanh => tanh(); Tanhshrink => tanhshrink(); Sigmoid => sigmoid(); LogSigmoid => logsigmoid();
        Softsign => softsign(); Hardsigmoid => hardsigmoid(); Hardswish => hardswish();
        LeakyReLU::default() => leaky_relu(0.01); ELU::new(0.5) => elu(0.5); CELU::default() => celu(1.0);
        Softplus::default() => softplus(1.0, 20.0); Hardshrink::default() => hardshrink(0.5);
        Softshrink::default() => softshrink(0.5); Hardtanh::default() => hardtanh(-1.0, 1.0);
        Threshold::new(0.1, 7.0) => threshold(0.1, 7.0); GLU::new(1) => glu(1); Softmax::new(0) => softmax(0);
        LogSoftmax::new(1) => log_softmax(1); Identity => add(&Tensor::zeros([3, 4]).unwrap());
        Unflatten::new(1, [2, -1]) => reshape([3, 2, 2]); Flatten { start: 0, end: 1 } => reshape([12]);
    }
    let least = Softmin::new(1).forward(&x).unwrap().argmax(1, false).unwrap();
    assert_eq!(least.to_vec::<i64>().unwrap(), x.argmin(1, false).unwrap().to_vec::<i64>().unwrap());
}

#[test]
fn dropout_drops_channels_and_keeps_moments() {
    let x = Tensor::ones([40, 50, 3, 4]).unwrap();
    let y = Dropout2d::new(0.25).forward(&x).unwrap().reshape([2000, 12]).unwrap();
    let (sums, values) = (y.sum(1, false).unwrap().to_vec::<f32>().unwrap(), y.to_vec::<f32>().unwrap());
    assert!(values.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    assert!(sums.iter().all(|&s| s == 0.0 || (s - 16.0).abs() < 1e-4), "whole channels");
    let dropped = sums.iter().filter(|&&s| s == 0.0).count();
    assert!((400..600).contains(&dropped), "{dropped}");
    let channels = |m: &dyn Forward, shape: &[usize]| {
        let y = m.forward(&Tensor::ones(shape).unwrap()).unwrap();
        let last: Vec<i64> = (2..shape.len() as i64).collect();
        y.amax(&last[..], false).unwrap().sub(&y.amax(&last[..], false).unwrap()).unwrap().to_vec::<f32>().unwrap()
    };
    assert!(channels(&Dropout1d::default(), &[5, 6, 7]).iter().all(|&d| d == 0.0));
    assert!(channels(&Dropout3d::default(), &[2, 6, 2, 2, 2]).iter().all(|&d| d == 0.0));
    assert!(Dropout2d::default().forward(&Tensor::ones([2, 3]).unwrap()).is_err());
    let x = Tensor::randn([40000]).unwrap();
    let y = AlphaDropout::new(0.2).forward(&x).unwrap();
    let (variance, mean) = y.var_mean((), 1.0, false).unwrap();
    assert!(mean.item().unwrap().abs() < 0.03 && (variance.item().unwrap() - 1.0).abs() < 0.05);
    assert!(AlphaDropout::new(1.5).forward(&x).is_err());
    assert_eq!(AlphaDropout::new(1.0).forward(&x).unwrap().amax((), false).unwrap().item().unwrap(), 0.0);
    let quiet = AlphaDropout::new(0.5);
    quiet.eval();
    assert_eq!(quiet.forward(&x).unwrap().to_vec::<f32>().unwrap(), x.to_vec::<f32>().unwrap());
}

#[test]
fn an_embeddings_padding_stays_zero() {
    let table = Embedding::new(4, 2).unwrap().padding_idx(-1).unwrap();
    assert_eq!(table.weight.tensor().to_vec::<f32>().unwrap()[6..], [0.0, 0.0]);
    let y = table.forward(&Tensor::from_vec([0i64, 3]).unwrap()).unwrap();
    y.sum((), false).unwrap().backward().unwrap();
    let gradient = table.weight.grad().unwrap().to_vec::<f32>().unwrap();
    assert_eq!(gradient, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert!(Embedding::new(4, 2).unwrap().padding_idx(4).is_err());
    let x = Tensor::from_vec([1f32]).unwrap();
    assert_eq!(table.forward(&x).unwrap_err().kind().name(), "DType");
}

#[test]
fn every_case_of_the_fixture_has_its_module() {
    let source = include_str!("modules.rs");
    for case in FIXTURE.keys().filter_map(|k| k.split('/').next()).collect::<BTreeSet<_>>() {
        assert!(source.contains(&format!("(\"{case}\"")), "{case}");
    }
}
