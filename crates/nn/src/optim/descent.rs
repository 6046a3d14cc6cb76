//! The frame that all optimisers share: groups, what is remembered of each parameter, state dicts.

use esker_autograd::{Param, Tensor};
use esker_ops::Array;
use esker_tensor::{Error, Result};

use super::group::once;
use super::update::{copy_like, gradient, snapshot, zeros};
use super::{Optimizer, ParamGroup};
use crate::StateDict;

/// How an optimiser moves one parameter. All optimisers here are a [`Descent`] by such a rule.
///
/// ```
/// use esker_autograd::{Param, Tensor};
/// use esker_nn::optim::{Descent, Memory, Optimizer, ParamGroup, Rule};
/// use esker_ops::{Array, Ops, Value};
/// use esker_tensor::Result;
///
/// /// Moves by the sign of the gradient.
/// #[derive(Debug, Default)]
/// struct SignDescent;
///
/// impl Rule for SignDescent {
///     const NAME: &'static str = "SignDescent";
///
///     fn check(&self, _: &ParamGroup) -> Result<()> {
///         Ok(())
///     }
///
///     fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, _: &mut Memory) -> Result<()> {
///         *p = p.sub(&grad.sign()?.mul(&Array::scalar(group.lr, p.dtype())?)?)?;
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let p = Param::new(&Tensor::from_vec([1.0f32, 2.0])?)?;
/// p.set_grad(Tensor::from_vec([0.3f32, -7.0])?)?;
/// Descent::<SignDescent>::new(vec![p.clone()], 0.5).step()?;
/// assert_eq!(p.tensor().to_vec::<f32>()?, [0.5, 2.5]);
/// # Ok(())
/// # }
/// ```
pub trait Rule {
    /// The optimiser's name in messages.
    const NAME: &'static str;
    /// The weight decay of a new optimiser.
    const WEIGHT_DECAY: f64 = 0.0;
    /// The arrays, shaped as the parameter, that it may remember; the names are those of the state dict.
    const ARRAYS: &'static [&'static str] = &[];
    /// The numbers that it may remember.
    const NUMBERS: &'static [&'static str] = &[];

    /// Checks the settings, the group's momentum included; its learning rate and weight decay have been.
    ///
    /// # Errors
    /// `Kernel` naming the setting that is out of its range.
    fn check(&self, group: &ParamGroup) -> Result<()>;

    /// Moves the parameter `p`, whose gradient is `grad`.
    ///
    /// # Errors
    /// Those of the kernels.
    fn update(&self, group: &ParamGroup, p: &mut Array, grad: &Array, memory: &mut Memory) -> Result<()>;
}

/// What an optimiser remembers of one parameter, see [`Rule::ARRAYS`] and [`Rule::NUMBERS`].
#[derive(Debug, Default)]
pub struct Memory {
    numbers: Vec<Option<f64>>,
    arrays: Vec<Option<Array>>,
}

impl Memory {
    fn of<R: Rule>() -> Self {
        Self { numbers: vec![None; R::NUMBERS.len()], arrays: R::ARRAYS.iter().map(|_| None).collect() }
    }

    /// Number `i`; `first` until it is set.
    ///
    /// # Errors
    /// `Dim` when the rule names fewer numbers.
    pub fn number(&mut self, i: usize, first: f64) -> Result<&mut f64> {
        let count = self.numbers.len();
        let slot = self.numbers.get_mut(i).ok_or_else(|| missing("numbers", i, count))?;
        Ok(slot.get_or_insert(first))
    }

    /// Raises number 0, the count of steps, by one.
    ///
    /// # Errors
    /// `Dim` when the rule names no number.
    pub fn next_step(&mut self) -> Result<f64> {
        let step = self.number(0, 0.0)?;
        *step += 1.0;
        Ok(*step)
    }

    /// Array `i`, if it is there.
    pub fn get(&mut self, i: usize) -> Option<&mut Array> {
        self.arrays.get_mut(i)?.as_mut()
    }

    /// Sets array `i`.
    ///
    /// # Errors
    /// `Dim` when the rule names fewer arrays.
    pub fn set(&mut self, i: usize, array: Array) -> Result<&mut Array> {
        let count = self.arrays.len();
        let slot = self.arrays.get_mut(i).ok_or_else(|| missing("arrays", i, count))?;
        Ok(slot.insert(array))
    }

    /// Array `i`; zeros that lie as `like` does until it is set.
    ///
    /// # Errors
    /// `OutOfMemory`; `Dim` when the rule names fewer arrays.
    pub fn array(&mut self, i: usize, like: &Array) -> Result<&mut Array> {
        let count = self.arrays.len();
        let slot = self.arrays.get_mut(i).ok_or_else(|| missing("arrays", i, count))?;
        match slot {
            Some(array) => Ok(array),
            None => Ok(slot.insert(zeros(like)?)),
        }
    }

    /// Two different arrays, as [`Memory::array`].
    ///
    /// # Errors
    /// As [`Memory::array`].
    pub fn pair(&mut self, i: usize, j: usize, like: &Array) -> Result<[&mut Array; 2]> {
        self.array(i, like)?;
        self.array(j, like)?;
        let count = self.arrays.len();
        match self.arrays.get_disjoint_mut([i, j]) {
            Ok([Some(a), Some(b)]) => Ok([a, b]),
            _ => Err(missing("different arrays", j, count)),
        }
    }
}

fn missing(what: &str, i: usize, count: usize) -> Error {
    Error::dim(format!("the rule remembers {count} {what}, there is no number {i}"))
}

/// An optimiser: groups of parameters, what is remembered of each, and the [`Rule`] that moves one.
#[derive(Debug)]
pub struct Descent<R> {
    groups: Vec<ParamGroup>,
    pub(super) rule: R,
    memory: Vec<Memory>,
}

impl<R: Rule + Default> Descent<R> {
    /// Over parameters, with the rule's own settings.
    pub fn new(params: Vec<Param>, lr: f64) -> Self {
        Self::with_groups(vec![ParamGroup::new(params, lr).weight_decay(R::WEIGHT_DECAY)])
    }

    /// Over groups with settings of their own.
    pub fn with_groups(groups: Vec<ParamGroup>) -> Self {
        Self::by(R::default(), groups)
    }
}

impl<R: Rule> Descent<R> {
    /// By a rule with settings, over groups.
    pub fn by(rule: R, groups: Vec<ParamGroup>) -> Self {
        let groups = once(groups);
        let memory = groups.iter().flat_map(|g| &g.params).map(|_| Memory::of::<R>()).collect();
        Self { groups, rule, memory }
    }

    /// With weight decay in every group.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.groups.iter_mut().for_each(|g| g.weight_decay = weight_decay);
        self
    }

    /// With another group, whose parameters are moved from the next step on; those known already stay in their group.
    pub fn add_param_group(&mut self, group: ParamGroup) {
        self.groups.push(group);
        self.groups = once(std::mem::take(&mut self.groups));
        let params = self.groups.iter().map(|g| g.params.len()).sum();
        self.memory.resize_with(params, Memory::of::<R>);
    }
}

impl<R: Rule> Optimizer for Descent<R> {
    fn step(&mut self) -> Result<()> {
        self.groups.iter().try_for_each(|g| g.check(R::NAME).and_then(|()| self.rule.check(g)))?;
        let params = self.groups.iter().flat_map(|g| g.params.iter().map(move |p| (g, p)));
        for ((group, param), memory) in params.zip(&mut self.memory) {
            if let Some(grad) = gradient(param) {
                param.update(|p| self.rule.update(group, p, grad.array(), memory))?;
            }
        }
        Ok(())
    }

    fn groups(&self) -> &[ParamGroup] {
        &self.groups
    }

    fn groups_mut(&mut self) -> &mut [ParamGroup] {
        &mut self.groups
    }

    fn state_dict(&self) -> Result<StateDict> {
        let mut state = StateDict::new();
        for (i, memory) in self.memory.iter().enumerate() {
            for (array, name) in memory.arrays.iter().zip(R::ARRAYS) {
                if let Some(array) = array {
                    state.insert(format!("{i}.{name}"), snapshot(array)?);
                }
            }
            for (number, name) in memory.numbers.iter().zip(R::NUMBERS) {
                if let Some(number) = number {
                    state.insert(format!("{i}.{name}"), Tensor::from_scalar(*number)?);
                }
            }
        }
        for (i, group) in self.groups.iter().enumerate() {
            let settings =
                [("lr", Some(group.lr)), ("weight_decay", Some(group.weight_decay)), ("momentum", group.momentum)];
            for (name, value) in settings {
                if let Some(value) = value {
                    state.insert(format!("groups.{i}.{name}"), Tensor::from_scalar(value)?);
                }
            }
        }
        Ok(state)
    }

    fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        let mut memory: Vec<Memory> = self.memory.iter().map(|_| Memory::of::<R>()).collect();
        let mut groups = self.groups.clone();
        let params: Vec<&Param> = self.groups.iter().flat_map(|g| &g.params).collect();
        for (name, tensor) in state {
            if let Some(setting) = name.strip_prefix("groups.") {
                set_group(&mut groups, setting, tensor).map_err(|e| e.prefix(R::NAME))?;
                continue;
            }
            let split = name.split_once('.').and_then(|(i, what)| Some((i.parse::<usize>().ok()?, what)));
            let (i, what) = split.unwrap_or((usize::MAX, ""));
            let (array, number) = (place(R::ARRAYS, what), place(R::NUMBERS, what));
            if array.is_none() && number.is_none() {
                let known = [R::ARRAYS, R::NUMBERS].concat().join(", ");
                return Err(Error::format(format!(
                    "{}: {name} is unknown; entries are called by a number and one of {known}",
                    R::NAME
                )));
            }
            let (Some(param), Some(memory)) = (params.get(i), memory.get_mut(i)) else {
                let count = params.len();
                return Err(Error::format(format!("{}: {name} is given, but there are {count} parameters", R::NAME)));
            };
            if let Some(slot) = number.and_then(|n| memory.numbers.get_mut(n)) {
                *slot = Some(tensor.item().map_err(|e| e.prefix(name).prefix(R::NAME))?);
            } else if let Some(slot) = array.and_then(|a| memory.arrays.get_mut(a)) {
                *slot = Some(fitting(tensor, param).map_err(|e| e.prefix(name).prefix(R::NAME))?);
            }
        }
        self.memory = memory;
        self.groups = groups;
        Ok(())
    }
}

fn place(names: &[&str], name: &str) -> Option<usize> {
    names.iter().position(|n| *n == name)
}

/// A copy that the optimiser alone holds and that lies as the parameter does.
fn fitting(tensor: &Tensor, param: &Param) -> Result<Array> {
    if *tensor.shape() != param.shape() || tensor.dtype() != param.dtype() {
        let (shape, dtype) = (tensor.shape(), tensor.dtype());
        return Err(Error::format(format!(
            "{shape:?} {dtype} is given, the parameter is {:?} {}",
            param.shape(),
            param.dtype()
        )));
    }
    copy_like(tensor.array(), param.tensor().array())
}

/// Takes over `0.lr` and the like.
fn set_group(groups: &mut [ParamGroup], setting: &str, value: &Tensor) -> Result<()> {
    let count = groups.len();
    let (i, name) = setting.split_once('.').unwrap_or((setting, ""));
    let group = i.parse::<usize>().ok().and_then(|i| groups.get_mut(i));
    let group =
        group.ok_or_else(|| Error::format(format!("groups.{setting} is given, but there are {count} groups")))?;
    let value = value.item()?;
    match name {
        "lr" => group.lr = value,
        "weight_decay" => group.weight_decay = value,
        "momentum" => group.momentum = Some(value),
        _ => {
            return Err(Error::format(format!(
                "groups.{setting} is unknown; settings are lr, weight_decay and momentum"
            )));
        }
    }
    Ok(())
}
