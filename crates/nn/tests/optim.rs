//! Optimisers and schedules against PyTorch: `fixtures/optim.json` holds what PyTorch's do (its version stands in the file),
//! `fixtures/generate_optim.py` wrote it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use esker_autograd::{Param, Tensor};
use esker_nn::StateDict;
use esker_nn::optim::*;
use esker_ops::Ops;
use esker_tensor::DType;
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/optim.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn param_of(values: &[f64]) -> Param {
    Param::new(&Tensor::from_slice(values, [values.len()]).unwrap()).unwrap()
}

fn param() -> Param {
    param_of(&[1.0, -2.0, 0.5])
}

fn give(param: &Param, gradient: &[f64]) {
    param.set_grad(Tensor::from_slice(gradient, [gradient.len()]).unwrap()).unwrap();
}

fn values(param: &Param) -> Vec<f64> {
    param.tensor().to_vec::<f64>().unwrap()
}

fn close(given: &[f64], expected: &[f64], what: &str) {
    assert_eq!(given.len(), expected.len(), "{what}");
    for (g, e) in given.iter().zip(expected) {
        assert!((g - e).abs() < 1e-12, "{what}: {given:?} for {expected:?}");
    }
}

type Make = fn(Vec<Param>) -> Box<dyn Optimizer>;

/// The cases of the fixture.
fn optimizers() -> Vec<(&'static str, Make)> {
    vec![
        ("SGD", |p| Box::new(SGD::new(p, 0.1))),
        ("SGD momentum", |p| Box::new(SGD::new(p, 0.1).momentum(0.9))),
        ("SGD dampening", |p| Box::new(SGD::new(p, 0.1).momentum(0.9).dampening(0.5).weight_decay(0.01))),
        ("SGD nesterov", |p| Box::new(SGD::new(p, 0.1).momentum(0.9).weight_decay(0.01).nesterov())),
        ("Adam", |p| Box::new(Adam::new(p, 0.01))),
        ("Adam amsgrad", |p| Box::new(Adam::new(p, 0.1).betas(0.8, 0.9).eps(1e-3).weight_decay(0.1).amsgrad())),
        ("AdamW", |p| Box::new(AdamW::new(p, 0.01))),
        ("AdamW amsgrad", |p| Box::new(AdamW::new(p, 0.1).betas(0.8, 0.9).eps(1e-3).weight_decay(0.1).amsgrad())),
        ("NAdam", |p| Box::new(NAdam::new(p, 0.05).weight_decay(0.1))),
        ("NAdam decoupled", |p| {
            Box::new(NAdam::new(p, 0.05).weight_decay(0.1).momentum_decay(0.1).decoupled_weight_decay())
        }),
        ("RAdam", |p| Box::new(RAdam::new(p, 0.05).weight_decay(0.1))),
        ("RAdam decoupled", |p| {
            Box::new(RAdam::new(p, 0.05).betas(0.8, 0.9).weight_decay(0.1).decoupled_weight_decay())
        }),
        ("Adamax", |p| Box::new(Adamax::new(p, 0.05).weight_decay(0.1))),
        ("RMSprop", |p| Box::new(RMSprop::new(p, 0.05).weight_decay(0.1))),
        ("RMSprop centered", |p| Box::new(RMSprop::new(p, 0.05).alpha(0.9).eps(1e-3).centered())),
        ("RMSprop momentum", |p| Box::new(RMSprop::new(p, 0.05).momentum(0.9).centered())),
        ("Adagrad", |p| Box::new(Adagrad::new(p, 0.1).lr_decay(0.1).weight_decay(0.1).initial_accumulator_value(0.5))),
        ("Adadelta", |p| Box::new(Adadelta::new(p, 1.0).rho(0.8).eps(1e-3).weight_decay(0.1))),
        ("Rprop", |p| Box::new(Rprop::new(p, 0.05).etas(0.4, 1.3).step_sizes(0.01, 0.1))),
    ]
}

#[test]
fn optimisers_follow_pytorch() {
    let fixture = fixture();
    let gradients = fixture["gradients"].as_array().unwrap();
    let cases = optimizers();
    assert_eq!(cases.len(), fixture["optimizers"].as_object().unwrap().len());
    for (name, make) in cases {
        let p = param_of(&numbers(&fixture["start"]));
        let mut optimizer = make(vec![p.clone()]);
        for (step, (gradient, expected)) in
            gradients.iter().zip(fixture["optimizers"][name].as_array().unwrap()).enumerate()
        {
            give(&p, &numbers(gradient));
            optimizer.step().unwrap();
            close(&values(&p), &numbers(expected), &format!("{name}, step {step}"));
        }
    }
}

#[test]
fn lion_follows_its_paper() {
    // Worked out by hand: after (1 - 0.1 * 0.5) p, the step is 0.1 by the sign of 0.9 m + 0.1 g; then m = 0.99 m + 0.01 g.
    let p = param_of(&[1.0, -2.0]);
    let mut lion = Lion::new(vec![p.clone()], 0.1).weight_decay(0.5);
    give(&p, &[1.0, -1.0]);
    lion.step().unwrap();
    close(&values(&p), &[0.85, -1.8], "the first step follows the gradient");
    // m = (0.01, -0.01): 0.9 m + 0.1 g is (0.009 - 0.005, -0.009 + 0.01).
    give(&p, &[-0.05, 0.1]);
    lion.step().unwrap();
    close(&values(&p), &[0.85 * 0.95 - 0.1, -1.8 * 0.95 - 0.1], "the second the blend");
}

#[test]
fn a_tied_parameter_moves_once_and_groups_have_their_own_settings() {
    let (a, b) = (param(), param());
    let groups = vec![
        ParamGroup::new(vec![a.clone(), a.clone()], 0.1),
        ParamGroup::new(vec![b.clone(), a.clone()], 1.0).momentum(0.5).weight_decay(0.1),
    ];
    let mut sgd = SGD::with_groups(groups);
    let gradient = [0.1, -0.2, 0.3];
    give(&a, &gradient);
    give(&b, &gradient);
    sgd.step().unwrap();
    close(&values(&a), &[0.99, -1.98, 0.47], "a");
    close(&values(&b), &[0.8, -1.6, 0.15], "b with decay");
    sgd.step().unwrap();
    close(&values(&b), &[0.8 - 0.1 - 0.18, -1.6 + 0.2 + 0.36, 0.15 - 0.175 - 0.315], "b with momentum");
    sgd.zero_grad();
    assert!(a.grad().is_none());
    let before = values(&a);
    sgd.step().unwrap();
    a.set_trainable(false);
    give(&a, &gradient);
    sgd.step().unwrap();
    close(&values(&a), &before, "neither without a gradient nor frozen");
    let c = param();
    sgd.add_param_group(ParamGroup::new(vec![c.clone(), b], 1.0));
    give(&c, &gradient);
    sgd.step().unwrap();
    close(&values(&c), &[0.9, -1.8, 0.2], "of a later group");
    assert_eq!(sgd.groups()[2].params.len(), 1);
}

#[test]
fn what_an_optimiser_remembers_can_be_taken_over() {
    let fixture = fixture();
    let gradients: Vec<Vec<f64>> = fixture["gradients"].as_array().unwrap().iter().map(numbers).collect();
    for (name, make) in optimizers() {
        let (a, b) = (param_of(&numbers(&fixture["start"])), param_of(&[0.0; 4]));
        let (mut first, mut second) = (make(vec![a.clone()]), make(vec![b.clone()]));
        let half = |optimizer: &mut dyn Optimizer, p: &Param, gradients: &[Vec<f64>]| {
            gradients.iter().for_each(|g| {
                give(p, g);
                optimizer.step().unwrap();
            });
        };
        half(&mut *first, &a, &gradients[..4]);
        first.set_lr(0.03);
        b.set(&a.tensor()).unwrap();
        let state = first.state_dict().unwrap();
        second.load_state_dict(&state).unwrap();
        assert_eq!(second.lr(), 0.03);
        half(&mut *first, &a, &gradients[4..]);
        half(&mut *second, &b, &gradients[4..]);
        assert_eq!(values(&a), values(&b), "{name}");

        let sentence = |optimizer: &mut dyn Optimizer, key: &str| {
            let odd: StateDict = [(key.to_string(), Tensor::from_scalar(1.0).unwrap())].into();
            optimizer.load_state_dict(&odd).unwrap_err().to_string()
        };
        assert!(sentence(&mut *second, "0.nothing").contains("0.nothing is unknown"));
        assert!(sentence(&mut *second, "groups.1.lr").contains("there are 1 groups"));
        let before = values(&b);
        give(&b, &[0.0; 4]);
        half(&mut *first, &a, &gradients[..1]);
        half(&mut *second, &b, &gradients[..1]);
        assert_ne!(values(&b), before, "{name}");
        assert_eq!(values(&a), values(&b), "{name}: a state that does not fit changes nothing");
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let p = param();
    give(&p, &[0.1, -0.2, 0.3]);
    let sentence = |mut o: Box<dyn Optimizer>| o.step().unwrap_err().to_string();
    let one = || vec![p.clone()];
    assert_eq!(
        sentence(Box::new(SGD::new(one(), -0.1))),
        "SGD: the learning rate is -0.1, needed is a number from 0 on"
    );
    let groups = vec![ParamGroup::new(one(), 0.1).momentum(-1.0)];
    assert!(sentence(Box::new(SGD::with_groups(groups))).starts_with("SGD: the momentum is -1"));
    assert!(sentence(Box::new(SGD::new(one(), 0.1).nesterov())).starts_with("SGD: Nesterov needs momentum"));
    assert!(sentence(Box::new(AdamW::new(one(), 0.1).betas(1.0, 0.9))).starts_with("AdamW: beta 1 is 1"));
    assert!(sentence(Box::new(NAdam::new(one(), 0.1).eps(-1.0))).starts_with("NAdam: the eps is -1"));
    assert!(sentence(Box::new(RMSprop::new(one(), 0.1).alpha(1.5))).starts_with("RMSprop: alpha is 1.5"));
    assert!(sentence(Box::new(Rprop::new(one(), 0.1).etas(1.5, 1.2))).starts_with("Rprop: the etas"));
    assert!(sentence(Box::new(Rprop::new(one(), 0.1).weight_decay(0.1))).starts_with("Rprop takes no weight decay"));
    close(&values(&p), &[1.0, -2.0, 0.5], "nothing moved");
}

#[test]
fn clipping_scales_to_the_joint_norm_or_cuts_values() {
    let (a, b) = (param(), param());
    let set = || [&a, &b].iter().for_each(|p| give(p, &[3.0, 0.0, -4.0]));
    set();
    let params = [a.clone(), b.clone(), param()];
    assert!((clip_grad_norm(&params, 1.0).unwrap() - 50f64.sqrt()).abs() < 1e-12);
    assert!((clip_grad_norm(&params, 10.0).unwrap() - 1.0).abs() < 1e-6);
    let clipped = a.grad().unwrap().to_vec::<f64>().unwrap();
    assert!((clipped[0] - 3.0 / 50f64.sqrt()).abs() < 1e-6);
    set();
    assert_eq!(grad_norm(&params, f64::INFINITY).unwrap(), 4.0);
    assert_eq!(clip_grad_norm_of(&params, 7.0, 1.0).unwrap(), 14.0);
    close(&b.grad().unwrap().to_vec::<f64>().unwrap(), &[1.5, 0.0, -2.0].map(|g| g * 14.0 / 14.000001), "L1");
    clip_grad_value(&params, 1.75).unwrap();
    assert_eq!(b.grad().unwrap().to_vec::<f64>().unwrap()[2], -1.75);
    assert!(grad_norm(&params, 0.0).unwrap_err().to_string().contains("above 0, got 0"));
}

/// The cases of the fixture.
fn schedules() -> Vec<(&'static str, Box<dyn Schedule>)> {
    vec![
        ("LambdaLR", Box::new(LambdaLR(|step| 0.95f64.powf(step as f64)))),
        ("MultiplicativeLR", Box::new(MultiplicativeLR(|step| 1.0 - 0.01 * step as f64))),
        ("StepLR", Box::new(StepLR::new(4, 0.3))),
        ("MultiStepLR", Box::new(MultiStepLR::new([3, 5, 5, 12], 0.5))),
        ("ConstantLR", Box::new(ConstantLR::new(0.25, 6))),
        ("LinearLR", Box::new(LinearLR::new(0.2, 0.8, 7))),
        ("ExponentialLR", Box::new(ExponentialLR::new(0.9))),
        ("PolynomialLR", Box::new(PolynomialLR::new(8, 2.0))),
        ("CosineAnnealingLR", Box::new(CosineAnnealingLR::new(6, 0.05))),
        ("CosineAnnealingWarmRestarts", Box::new(CosineAnnealingWarmRestarts::new(3, 2, 0.01))),
        ("CosineAnnealingWarmRestarts same", Box::new(CosineAnnealingWarmRestarts::new(4, 1, 0.0))),
        ("OneCycleLR", Box::new(OneCycleLR::new(2.0, 20))),
        (
            "OneCycleLR three",
            Box::new(
                OneCycleLR::new(2.0, 20)
                    .pct_start(0.4)
                    .anneal(Anneal::Linear)
                    .momentum(0.7, 0.8)
                    .div_factors(10.0, 100.0)
                    .three_phase(),
            ),
        ),
        ("CyclicLR", Box::new(CyclicLR::new(0.1, 0.9, 3).down(5))),
        ("CyclicLR 2", Box::new(CyclicLR::new(0.1, 0.9, 3).mode(CyclicMode::Triangular2).momentum(0.5, 0.6))),
        ("CyclicLR exp", Box::new(CyclicLR::new(0.1, 0.9, 3).mode(CyclicMode::ExpRange(0.9)))),
        (
            "SequentialLR",
            Box::new(
                SequentialLR::new(LinearLR::new(0.25, 1.0, 4))
                    .then(4, StepLR::new(3, 0.5))
                    .then(11, CosineAnnealingLR::new(5, 0.0)),
            ),
        ),
        (
            "ChainedScheduler",
            Box::new(ChainedScheduler::new().with(LinearLR::new(0.25, 1.0, 4)).with(ExponentialLR::new(0.9))),
        ),
    ]
}

#[test]
fn schedules_follow_pytorch_and_go_on_from_their_state() {
    let fixture = fixture();
    let base = fixture["base"].as_f64().unwrap();
    let cases = schedules();
    assert_eq!(cases.len(), fixture["schedules"].as_object().unwrap().len());
    for ((name, schedule), (_, again)) in cases.into_iter().zip(schedules()) {
        let mut sgd = SGD::new(vec![param()], base).momentum(0.9);
        let mut scheduler = Scheduler::new(&mut sgd, schedule);
        let (rates, momenta) = (numbers(&fixture["schedules"][name]["lr"]), &fixture["schedules"][name]["momentum"]);
        for (step, (rate, momentum)) in rates.iter().zip(numbers(momenta)).enumerate() {
            if step > 0 {
                scheduler.step(&mut sgd);
            }
            close(&[sgd.lr()], &[*rate], &format!("{name}, step {step}"));
            close(&[sgd.groups()[0].momentum.unwrap_or(0.9)], &[momentum], &format!("{name}, momentum, step {step}"));
            if step == 9 {
                let state = scheduler.state_dict().unwrap();
                let mut other = SGD::new(vec![param()], 77.0);
                let mut resumed = Scheduler::new(&mut other, &*again);
                resumed.load_state_dict(&state, &mut other).unwrap();
                resumed.step(&mut other);
                close(&[other.lr()], &[rates[10]], &format!("{name}, resumed"));
                assert_eq!(resumed.last_lr(), [other.lr()]);
                assert!(resumed.load_state_dict(&StateDict::new(), &mut other).is_err());
            }
        }
    }
}

#[test]
fn plateaus_lower_the_rate_as_in_pytorch() {
    let fixture = fixture();
    let metrics = numbers(&fixture["metrics"]);
    let max = ReduceLROnPlateau::new(0.1, 1).mode(PlateauMode::Max).threshold(ThresholdMode::Abs(0.3));
    let cases = [("min", ReduceLROnPlateau::new(0.5, 2)), ("max", max.cooldown(2).min_lr(0.001))];
    for (name, mut plateau) in cases {
        let mut sgd = SGD::new(vec![param()], fixture["base"].as_f64().unwrap());
        for (step, (metric, rate)) in metrics.iter().zip(numbers(&fixture["plateaus"][name])).enumerate() {
            let mut resumed = plateau.clone();
            resumed.load_state_dict(&plateau.state_dict().unwrap()).unwrap();
            assert_eq!(resumed, plateau);
            plateau.step(*metric, &mut sgd);
            close(&[sgd.lr()], &[rate], &format!("{name}, step {step}"));
        }
    }
}

/// The optimisers' formulas on single elements, one rounding for each operation.
macro_rules! formulas {
    ($adam:ident, $momentum:ident, $T:ty) => {
        #[allow(clippy::unnecessary_cast)]
        fn $adam(s: &mut [$T; 3], g: $T, t: i32, betas: (f64, f64), eps: f64, decay: f64, decoupled: bool) {
            let lr = 0.01;
            let [p, m, v] = *s;
            let p = if decoupled { p * (1.0 - lr * decay) as $T } else { p };
            let g = if decoupled || decay == 0.0 { g } else { p * decay as $T + g };
            let m = m * betas.0 as $T + g * (1.0 - betas.0) as $T;
            let v = v * betas.1 as $T + g * g * (1.0 - betas.1) as $T;
            let root = 1.0 / (1.0 - betas.1.powf(f64::from(t))).sqrt();
            let rate = lr / (1.0 - betas.0.powf(f64::from(t)));
            *s = [p + m / (v.sqrt() * root as $T + eps as $T) * -rate as $T, m, v];
        }

        #[allow(clippy::unnecessary_cast)]
        fn $momentum(s: &mut [$T; 3], g: $T, t: i32, damp: f64, decay: f64, nesterov: bool) {
            let (lr, momentum) = (0.1, 0.9);
            let [p, v, _] = *s;
            let g = if decay == 0.0 { g } else { p * decay as $T + g };
            let v = if t == 1 { g } else { v * momentum as $T + g * (1.0 - damp) as $T };
            let p = if nesterov { p + g * -lr as $T + v * -(lr * momentum) as $T } else { p + v * -lr as $T };
            *s = [p, v, 0.0];
        }
    };
}

formulas!(adam_f32, momentum_f32, f32);
formulas!(adam_f64, momentum_f64, f64);

#[test]
fn a_step_in_one_pass_gives_the_bits_of_its_operations() {
    type Maker = fn(Vec<Param>) -> Box<dyn Optimizer>;
    type Formula<T> = fn(&mut [T; 3], T, i32);
    let cases: [(Maker, Formula<f32>, Formula<f64>); 5] = [
        (
            |p| Box::new(Adam::new(p, 0.01)),
            |s, g, t| adam_f32(s, g, t, (0.9, 0.999), 1e-8, 0.0, false),
            |s, g, t| adam_f64(s, g, t, (0.9, 0.999), 1e-8, 0.0, false),
        ),
        (
            |p| Box::new(Adam::new(p, 0.01).betas(0.8, 0.9).eps(1e-3).weight_decay(0.1)),
            |s, g, t| adam_f32(s, g, t, (0.8, 0.9), 1e-3, 0.1, false),
            |s, g, t| adam_f64(s, g, t, (0.8, 0.9), 1e-3, 0.1, false),
        ),
        (
            |p| Box::new(AdamW::new(p, 0.01)),
            |s, g, t| adam_f32(s, g, t, (0.9, 0.999), 1e-8, 0.01, true),
            |s, g, t| adam_f64(s, g, t, (0.9, 0.999), 1e-8, 0.01, true),
        ),
        (
            |p| Box::new(SGD::new(p, 0.1).momentum(0.9).dampening(0.2).weight_decay(0.1)),
            |s, g, t| momentum_f32(s, g, t, 0.2, 0.1, false),
            |s, g, t| momentum_f64(s, g, t, 0.2, 0.1, false),
        ),
        (
            |p| Box::new(SGD::new(p, 0.1).momentum(0.9).nesterov()),
            |s, g, t| momentum_f32(s, g, t, 0.0, 0.0, true),
            |s, g, t| momentum_f64(s, g, t, 0.0, 0.0, true),
        ),
    ];
    for (i, (maker, f32s, f64s)) in cases.into_iter().enumerate() {
        for dtype in [DType::F32, DType::F64] {
            let start = Tensor::randn([37, 29]).unwrap().cast(dtype).unwrap();
            let params = [Param::new(&start).unwrap(), Param::new(&start).unwrap()];
            let mut optimizers = params.clone().map(|p| maker(vec![p]));
            let start = start.to_f64_vec().unwrap();
            let mut narrow: Vec<[f32; 3]> = start.iter().map(|&p| [p as f32, 0.0, 0.0]).collect();
            let mut wide: Vec<[f64; 3]> = start.iter().map(|&p| [p, 0.0, 0.0]).collect();
            for step in 1..5 {
                let gradient = Tensor::randn([37, 29]).unwrap().cast(dtype).unwrap();
                let elements = gradient.to_f64_vec().unwrap();
                // The same gradient in the other order of memory.
                let turned = gradient.permute([1, 0]).unwrap().array().contiguous().unwrap();
                let turned = Tensor::from_array(turned).permute([1, 0]).unwrap();
                params[0].set_grad(gradient).unwrap();
                params[1].set_grad(turned).unwrap();
                optimizers.iter_mut().for_each(|o| o.step().unwrap());
                narrow.iter_mut().zip(&elements).for_each(|(s, &g)| f32s(s, g as f32, step));
                wide.iter_mut().zip(&elements).for_each(|(s, &g)| f64s(s, g, step));
                let want: Vec<f64> = match dtype {
                    DType::F32 => narrow.iter().map(|s| f64::from(s[0])).collect(),
                    _ => wide.iter().map(|s| s[0]).collect(),
                };
                for param in &params {
                    let got = param.tensor().to_f64_vec().unwrap();
                    let same = got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{i} {dtype} step {step}");
                }
            }
        }
    }
}
