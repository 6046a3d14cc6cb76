//! State dicts: a module's values by path.

use std::collections::{BTreeMap, HashMap, HashSet};

use esker_autograd::{Param, Tensor};
use esker_tensor::{DType, Error, Result, Shape};

use crate::{Buffer, Item, Visitor};

/// Tensors by path.
pub type StateDict = BTreeMap<String, Tensor>;

pub(crate) fn collect(visit: &mut dyn FnMut(&mut Visitor<'_>)) -> StateDict {
    let mut state = StateDict::new();
    visit(&mut Visitor::new(&mut |path, part| {
        let value = match part {
            Item::Param(p) => p.tensor().detach(),
            Item::Buffer(b) => b.tensor(),
            Item::Mode(_) | Item::Module(_) => return,
        };
        state.insert(path.to_string(), value);
    }));
    state
}

/// What takes a value over.
enum Place {
    Param(Param),
    Buffer(Buffer),
}

impl Place {
    fn meta(&self) -> (Shape, DType) {
        match self {
            Place::Param(p) => (p.shape(), p.dtype()),
            Place::Buffer(b) => (*b.tensor().shape(), b.tensor().dtype()),
        }
    }

    fn set(&self, value: &Tensor) -> Result<()> {
        match self {
            Place::Param(p) => p.set(value),
            Place::Buffer(b) => b.set(value),
        }
    }
}

pub(crate) fn distribute(visit: &mut dyn FnMut(&mut Visitor<'_>), state: &StateDict, strict: bool) -> Result<()> {
    let mut places: Vec<(String, Place)> = Vec::new();
    visit(&mut Visitor::new(&mut |path, part| match part {
        Item::Param(p) => places.push((path.to_string(), Place::Param(p.clone()))),
        Item::Buffer(b) => places.push((path.to_string(), Place::Buffer(b.clone()))),
        Item::Mode(_) | Item::Module(_) => {}
    }));
    let (mut missing, mut unfit, mut untied) = (Vec::new(), Vec::new(), Vec::new());
    let mut owner: HashMap<usize, &str> = HashMap::new();
    let mut plan = Vec::new();
    for (name, place) in &places {
        let Some(value) = state.get(name) else {
            missing.push(name.as_str());
            continue;
        };
        let (shape, dtype) = place.meta();
        if *value.shape() != shape || value.dtype() != dtype {
            unfit.push(format!("{name} (given {:?} {}, needed {shape:?} {dtype})", value.shape(), value.dtype()));
            continue;
        }
        if let Place::Param(p) = place
            && let Some(first) = owner.insert(p.id(), name)
            && let Some(before) = state.get(first)
            && !same_values(before, value)?
        {
            untied.push(format!("{first} and {name}"));
        }
        plan.push((place, value));
    }
    let known: HashSet<&str> = places.iter().map(|(name, _)| name.as_str()).collect();
    let unexpected: Vec<&str> = state.keys().map(String::as_str).filter(|name| !known.contains(name)).collect();
    let mut faults = Vec::new();
    if strict && !missing.is_empty() {
        faults.push(format!("missing {}", listed(&missing)));
    }
    if strict && !unexpected.is_empty() {
        faults.push(format!("unexpected {}", listed(&unexpected)));
    }
    if !unfit.is_empty() {
        faults.push(format!("of another shape or dtype {}", listed(&unfit)));
    }
    if !untied.is_empty() {
        faults.push(format!("tied in the module but of different values {}", listed(&untied)));
    }
    if !faults.is_empty() {
        return Err(Error::format(format!("the state does not fit the module: {}", faults.join("; "))));
    }
    plan.into_iter().try_for_each(|(place, value)| place.set(value))
}

fn same_values(a: &Tensor, b: &Tensor) -> Result<bool> {
    if a.array().storage().id() == b.array().storage().id() && a.array().layout() == b.array().layout() {
        return Ok(true);
    }
    let (a, b) = (a.to_f64_vec()?, b.to_f64_vec()?);
    Ok(a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits())))
}

/// Names for a sentence; a long list is cut and counted.
fn listed(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 20;
    let mut text = names.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
