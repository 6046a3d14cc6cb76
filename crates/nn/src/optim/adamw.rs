//! Adam with decoupled weight decay.

use esker_autograd::{Param, Tensor};
use esker_ops::{Array, MapOp, Ops};
use esker_tensor::{Error, Layout, Result};

use super::group::{at_least_zero, below_one, once};
use super::sgd::own;
use super::update::{add_scaled, each, entries, in_place, number, scale, snapshot};
use super::{Optimizer, ParamGroup};
use crate::StateDict;

/// `torch.optim.AdamW` (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019): the parameter is scaled by
/// `1 - lr weight_decay`; `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`, and at step `t` the parameter moves by
/// `-lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)`.
#[derive(Debug)]
pub struct AdamW {
    groups: Vec<ParamGroup>,
    betas: (f64, f64),
    eps: f64,
    memory: Vec<Moments>,
}

#[derive(Debug, Default)]
struct Moments {
    step: u64,
    /// Means of the gradient and of its square.
    means: Option<[Array; 2]>,
}

impl AdamW {
    /// With PyTorch's defaults: betas 0.9 and 0.999, eps 1e-8, weight decay 0.01.
    pub fn new(params: Vec<Param>, lr: f64) -> Self {
        Self::with_groups(vec![ParamGroup::new(params, lr).weight_decay(0.01)])
    }

    /// Over groups with settings of their own.
    pub fn with_groups(groups: Vec<ParamGroup>) -> Self {
        let groups = once(groups);
        let memory = groups.iter().flat_map(|g| &g.params).map(|_| Moments::default()).collect();
        Self { groups, betas: (0.9, 0.999), eps: 1e-8, memory }
    }

    /// With other decay rates of the means of gradient and square, 0 to below 1.
    #[must_use]
    pub fn betas(mut self, first: f64, second: f64) -> Self {
        self.betas = (first, second);
        self
    }

    /// With another number added to the denominator.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// With weight decay in every group.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.groups.iter_mut().for_each(|g| g.weight_decay = weight_decay);
        self
    }
}

impl Optimizer for AdamW {
    fn step(&mut self) -> Result<()> {
        self.groups.iter().try_for_each(|g| g.check("AdamW"))?;
        let ((b1, b2), eps) = (self.betas, self.eps);
        below_one("AdamW", "beta 1", b1)?;
        below_one("AdamW", "beta 2", b2)?;
        at_least_zero("AdamW", "eps", eps)?;
        each(&self.groups, &mut self.memory, |group, param, grad, moments| {
            param.update(|p| {
                let g = grad.array();
                if group.weight_decay != 0.0 {
                    scale(p, 1.0 - group.lr * group.weight_decay)?;
                }
                let [m, v] = match &mut moments.means {
                    Some(means) => means,
                    None => moments.means.insert([zeros(p)?, zeros(p)?]),
                };
                scale(m, b1)?;
                add_scaled(m, g, 1.0 - b1)?;
                scale(v, b2)?;
                add_scaled(v, &g.square()?, 1.0 - b2)?;
                moments.step += 1;
                let (c1, c2) = (correction(b1, moments.step), correction(b2, moments.step));
                let mut denominator = v.sqrt()?;
                scale(&mut denominator, 1.0 / c2.sqrt())?;
                let eps = number(eps, &denominator)?;
                in_place(MapOp::Add, &mut denominator, &eps)?;
                add_scaled(p, &m.div(&denominator)?, -group.lr / c1)
            })
        })
    }

    fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    fn groups_mut(&mut self) -> &mut [ParamGroup] {
        &mut self.groups
    }

    fn state_dict(&self) -> Result<StateDict> {
        let mut state = StateDict::new();
        for (i, moments) in self.memory.iter().enumerate() {
            if let Some([m, v]) = &moments.means {
                state.insert(format!("{i}.exp_avg"), snapshot(m)?);
                state.insert(format!("{i}.exp_avg_sq"), snapshot(v)?);
                state.insert(format!("{i}.step"), Tensor::from_scalar(moments.step as f64)?);
            }
        }
        Ok(state)
    }

    fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        entries("AdamW", &self.groups, state, &["exp_avg", "exp_avg_sq", "step"])?;
        let mut memory = Vec::with_capacity(self.memory.len());
        for i in 0..self.memory.len() {
            let get = |what: &str| state.get(&format!("{i}.{what}"));
            memory.push(match (get("exp_avg"), get("exp_avg_sq"), get("step")) {
                (Some(m), Some(v), Some(step)) => {
                    Moments { step: step.item()? as u64, means: Some([own(m)?, own(v)?]) }
                }
                (None, None, None) => Moments::default(),
                _ => {
                    return Err(Error::format(format!(
                        "AdamW: parameter {i} needs exp_avg, exp_avg_sq and step together"
                    )));
                }
            });
        }
        self.memory = memory;
        Ok(())
    }
}

/// `1 - beta^step`.
fn correction(beta: f64, step: u64) -> f64 {
    1.0 - beta.powf(step as f64)
}

/// Zeros that lie as `like` does.
fn zeros(like: &Array) -> Result<Array> {
    let layout = match like.layout().dense_order() {
        Some(order) => Layout::dense(*like.shape(), &order),
        None => Layout::contiguous(*like.shape()),
    };
    let mut zeros = [Array::uninit(&like.meta(), layout)?];
    let fill = esker_ops::Kernel::Random(esker_ops::Random::Fill(0.0.into()));
    esker_ops::backend(like.device())?.run(&fill, &[], &mut zeros)?;
    let [zeros] = zeros;
    Ok(zeros)
}
