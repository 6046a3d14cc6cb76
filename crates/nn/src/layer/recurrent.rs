//! Recurrent layers, with the names and layouts of `torch.nn`.

use esker_autograd::{Param, Tensor};
use esker_ops::Ops;
use esker_tensor::philox::next_key;
use esker_tensor::{Error, Result};

use crate::{Mode, Module, Scope, Visitor, init};

/// Settings of a recurrent module; the defaults are PyTorch's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Recurrent {
    /// How many layers lie above each other.
    pub layers: usize,
    /// With biases.
    pub bias: bool,
    /// With the batch as the first dimension: `[n, steps, in]` in place of `[steps, n, in]`.
    pub batch_first: bool,
    /// The probability of dropout between layers, in training.
    pub dropout: f64,
    /// From both ends.
    pub bidirectional: bool,
}

impl Default for Recurrent {
    fn default() -> Self {
        Self { layers: 1, bias: true, batch_first: false, dropout: 0.0, bidirectional: false }
    }
}

/// One layer in one direction.
#[derive(Debug, Clone)]
struct Weights {
    /// `[gates * hidden, in]`.
    ih: Param,
    /// `[gates * hidden, hidden]`.
    hh: Param,
    /// `[gates * hidden]` each.
    bias: Option<(Param, Param)>,
}

impl Weights {
    fn new(inputs: usize, hidden: usize, gates: usize, bias: bool) -> Result<Self> {
        let param = |shape: &[usize]| Param::new(&init::within(shape, hidden)?);
        let (ih, hh) = (param(&[gates * hidden, inputs])?, param(&[gates * hidden, hidden])?);
        let bias = if bias { Some((param(&[gates * hidden])?, param(&[gates * hidden])?)) } else { None };
        Ok(Self { ih, hh, bias })
    }

    /// Reports `weight_ih`, `weight_hh` and the biases, each with `suffix`.
    fn visit(&self, suffix: &str, v: &mut Visitor<'_>) {
        v.param(&format!("weight_ih{suffix}"), &self.ih);
        v.param(&format!("weight_hh{suffix}"), &self.hh);
        if let Some((ih, hh)) = &self.bias {
            v.param(&format!("bias_ih{suffix}"), ih);
            v.param(&format!("bias_hh{suffix}"), hh);
        }
    }

    fn bias(&self) -> [Option<Tensor>; 2] {
        match &self.bias {
            Some((ih, hh)) => [Some(ih.tensor()), Some(hh.tensor())],
            None => [None, None],
        }
    }
}

/// A kind of layer: what it remembers from step to step, and how it runs.
trait Kind {
    const GATES: usize;
    /// How many tensors it remembers.
    const STATES: usize;

    /// One layer in one direction over `[steps, n, in]`: the output `[steps, n, hidden]`, then what is remembered.
    fn run(&self, x: &Tensor, states: &[Tensor], w: &Weights, reverse: bool) -> Result<Vec<Tensor>>;
}

#[derive(Debug, Clone)]
struct Plain {
    nonlinearity: &'static str,
}

impl Kind for Plain {
    const GATES: usize = 1;
    const STATES: usize = 1;

    #[track_caller]
    fn run(&self, x: &Tensor, states: &[Tensor], w: &Weights, reverse: bool) -> Result<Vec<Tensor>> {
        let ([h], [b_ih, b_hh]) = (states, w.bias()) else { return Err(states_missing(1)) };
        let (ih, hh) = (w.ih.tensor(), w.hh.tensor());
        let (y, h) = x.rnn_layer(h, &ih, &hh, b_ih.as_ref(), b_hh.as_ref(), self.nonlinearity, reverse)?;
        Ok(vec![y, h])
    }
}

#[derive(Debug, Clone)]
struct Long;

impl Kind for Long {
    const GATES: usize = 4;
    const STATES: usize = 2;

    #[track_caller]
    fn run(&self, x: &Tensor, states: &[Tensor], w: &Weights, reverse: bool) -> Result<Vec<Tensor>> {
        let ([h, c], [b_ih, b_hh]) = (states, w.bias()) else { return Err(states_missing(2)) };
        let (ih, hh) = (w.ih.tensor(), w.hh.tensor());
        let (y, h, c) = x.lstm_layer(h, c, &ih, &hh, b_ih.as_ref(), b_hh.as_ref(), reverse)?;
        Ok(vec![y, h, c])
    }
}

#[derive(Debug, Clone)]
struct Gated;

impl Kind for Gated {
    const GATES: usize = 3;
    const STATES: usize = 1;

    #[track_caller]
    fn run(&self, x: &Tensor, states: &[Tensor], w: &Weights, reverse: bool) -> Result<Vec<Tensor>> {
        let ([h], [b_ih, b_hh]) = (states, w.bias()) else { return Err(states_missing(1)) };
        let (ih, hh) = (w.ih.tensor(), w.hh.tensor());
        let (y, h) = x.gru_layer(h, &ih, &hh, b_ih.as_ref(), b_hh.as_ref(), reverse)?;
        Ok(vec![y, h])
    }
}

fn states_missing(needed: usize) -> Error {
    Error::shape(format!("a recurrent layer needs {needed} states"))
}

/// Layers of one kind above each other, in one or two directions.
#[derive(Debug, Clone)]
struct Stack<K> {
    kind: K,
    /// Layer by layer, forward before reverse.
    weights: Vec<Weights>,
    settings: Recurrent,
    hidden: usize,
    mode: Mode,
}

impl<K: Kind> Stack<K> {
    fn new(kind: K, inputs: usize, hidden: usize, settings: Recurrent) -> Result<Self> {
        let directions = 1 + usize::from(settings.bidirectional);
        let weights = (0..settings.layers * directions).map(|i| {
            let size = if i < directions { inputs } else { hidden * directions };
            Weights::new(size, hidden, K::GATES, settings.bias)
        });
        Ok(Self { kind, weights: weights.collect::<Result<_>>()?, settings, hidden, mode: Mode::new() })
    }

    fn directions(&self) -> usize {
        1 + usize::from(self.settings.bidirectional)
    }

    fn visit(&self, v: &mut Visitor<'_>) {
        for (i, weights) in self.weights.iter().enumerate() {
            let (layer, reverse) = (i / self.directions(), i % self.directions() == 1);
            weights.visit(&format!("_l{layer}{}", if reverse { "_reverse" } else { "" }), v);
        }
        v.mode(&self.mode);
    }

    /// The output of the last layer, and what each layer and direction remembers, `[layers * directions, n, hidden]`.
    #[track_caller]
    fn forward(&self, x: &Tensor, states: Option<&[&Tensor]>) -> Result<(Tensor, Vec<Tensor>)> {
        match x.rank() {
            2 => {
                let batched =
                    states.map(|s| s.iter().map(|s| s.unsqueeze(1)).collect::<Result<Vec<_>>>()).transpose()?;
                let batched: Option<Vec<&Tensor>> = batched.as_ref().map(|s| s.iter().collect());
                let (y, states) = self.layers(&x.unsqueeze(1)?, batched.as_deref())?;
                Ok((y.squeeze(1)?, states.iter().map(|s| s.squeeze(1)).collect::<Result<_>>()?))
            }
            3 if self.settings.batch_first => {
                let (y, states) = self.layers(&x.transpose(0, 1)?, states)?;
                Ok((y.transpose(0, 1)?, states))
            }
            3 => self.layers(x, states),
            _ => Err(Error::shape(format!("a recurrent layer needs two or three dimensions, got {:?}", x.shape()))),
        }
    }

    #[track_caller]
    fn layers(&self, x: &Tensor, states: Option<&[&Tensor]>) -> Result<(Tensor, Vec<Tensor>)> {
        let count = self.weights.len();
        let sizes = [count, x.size(1)?, self.hidden];
        if let Some(wrong) = states.into_iter().flatten().find(|s| s.shape()[..] != sizes) {
            return Err(Error::shape(format!("a state must be {sizes:?}, got {:?}", wrong.shape())));
        }
        let zeros = Tensor::full(0.0, sizes, x.dtype(), x.device())?;
        let start: Vec<Vec<Tensor>> = match states {
            Some(states) => states.iter().map(|s| s.unbind(0)).collect::<Result<_>>()?,
            None => (0..K::STATES).map(|_| zeros.unbind(0)).collect::<Result<_>>()?,
        };
        let mut ends: Vec<Vec<Tensor>> = vec![Vec::with_capacity(count); K::STATES];
        let mut y = x.clone();
        for (layer, pair) in self.weights.chunks(self.directions()).enumerate() {
            if layer > 0 && self.mode.is_training() && self.settings.dropout != 0.0 {
                y = y.dropout(self.settings.dropout, true, next_key())?;
            }
            let mut outputs = Vec::with_capacity(2);
            for (direction, weights) in pair.iter().enumerate() {
                let place = layer * self.directions() + direction;
                let own: Vec<Tensor> = start.iter().filter_map(|s| s.get(place).cloned()).collect();
                let mut results = self.kind.run(&y, &own, weights, direction == 1)?.into_iter();
                outputs.extend(results.next());
                ends.iter_mut().zip(results).for_each(|(ends, end)| ends.push(end));
            }
            y = match &outputs[..] {
                [one] => one.clone(),
                both => Tensor::cat(&both.iter().collect::<Vec<_>>(), -1)?,
            };
        }
        let ends = ends.iter().map(|s| Tensor::stack(&s.iter().collect::<Vec<_>>(), 0));
        Ok((y, ends.collect::<Result<_>>()?))
    }
}

/// The constructors of the three modules.
macro_rules! recurrent {
    ($Name:ident, $Kind:ident, $kind:expr) => {
        impl $Name {
            /// One layer in one direction from `inputs` to `hidden` channels, with biases.
            ///
            /// # Errors
            /// `OutOfMemory`.
            pub fn new(inputs: usize, hidden: usize) -> Result<Self> {
                Self::with(inputs, hidden, Recurrent::default())
            }

            /// With settings; all weights start uniform within `1 / sqrt(hidden)`.
            ///
            /// # Errors
            /// `OutOfMemory`.
            pub fn with(inputs: usize, hidden: usize, settings: Recurrent) -> Result<Self> {
                Ok(Self { stack: Stack::new($kind, inputs, hidden, settings)? })
            }
        }

        impl Module for $Name {
            fn visit(&self, v: &mut Visitor<'_>) {
                self.stack.visit(v);
            }
        }
    };
}

/// Plain recurrent layers, `h = tanh(W x + b + R h + r)`.
#[derive(Debug, Clone)]
pub struct RNN {
    stack: Stack<Plain>,
}

recurrent! { RNN, Plain, Plain { nonlinearity: "tanh" } }

impl RNN {
    /// With `max(x, 0)` in place of the hyperbolic tangent.
    #[must_use]
    pub fn relu(mut self) -> Self {
        self.stack.kind.nonlinearity = "relu";
        self
    }

    /// The output `[steps, n, directions * hidden]` of the last layer, and the last state of each layer and direction,
    /// `[layers * directions, n, hidden]`; the first states are `h0` or 0.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, h0: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let h0 = h0.map(|h| [h]);
        let scope = Scope::of(self);
        scope.gives(self.stack.forward(x, h0.as_ref().map(|h| &h[..])).and_then(with_one))
    }
}

/// Layers of long short-term memory.
///
/// ```
/// use esker_autograd::Tensor;
/// use esker_nn::{LSTM, Recurrent};
///
/// # fn main() -> esker_tensor::Result<()> {
/// let lstm = LSTM::with(8, 16, Recurrent { layers: 2, bidirectional: true, ..Recurrent::default() })?;
/// let (y, (h, c)) = lstm.forward(&Tensor::randn([5, 3, 8])?, None)?;
/// assert_eq!((&y.shape()[..], &h.shape()[..], &c.shape()[..]), (&[5, 3, 32][..], &[4, 3, 16][..], &[4, 3, 16][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LSTM {
    stack: Stack<Long>,
}

recurrent! { LSTM, Long, Long }

impl LSTM {
    /// The output `[steps, n, directions * hidden]` of the last layer, and the last states and cells of each layer and
    /// direction, `[layers * directions, n, hidden]`; the first ones are `(h0, c0)` or 0.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, state: Option<(&Tensor, &Tensor)>) -> Result<(Tensor, (Tensor, Tensor))> {
        let state = state.map(|(h, c)| [h, c]);
        let scope = Scope::of(self);
        scope.gives(self.stack.forward(x, state.as_ref().map(|s| &s[..])).and_then(with_two))
    }
}

/// Layers of gated recurrent units.
#[derive(Debug, Clone)]
pub struct GRU {
    stack: Stack<Gated>,
}

recurrent! { GRU, Gated, Gated }

impl GRU {
    /// The output `[steps, n, directions * hidden]` of the last layer, and the last state of each layer and direction,
    /// `[layers * directions, n, hidden]`; the first states are `h0` or 0.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, h0: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let h0 = h0.map(|h| [h]);
        let scope = Scope::of(self);
        scope.gives(self.stack.forward(x, h0.as_ref().map(|h| &h[..])).and_then(with_one))
    }
}

fn with_one((y, states): (Tensor, Vec<Tensor>)) -> Result<(Tensor, Tensor)> {
    match &states[..] {
        [h] => Ok((y, h.clone())),
        _ => Err(states_missing(1)),
    }
}

fn with_two((y, states): (Tensor, Vec<Tensor>)) -> Result<(Tensor, (Tensor, Tensor))> {
    match &states[..] {
        [h, c] => Ok((y, (h.clone(), c.clone()))),
        _ => Err(states_missing(2)),
    }
}

/// One step of a layer: what is remembered after `x [n, in]` (or `[in]`).
#[track_caller]
fn step<K: Kind>(kind: &K, weights: &Weights, x: &Tensor, states: Option<&[&Tensor]>) -> Result<Vec<Tensor>> {
    if x.rank() == 1 {
        let batched = states.map(|s| s.iter().map(|s| s.unsqueeze(0)).collect::<Result<Vec<_>>>()).transpose()?;
        let batched: Option<Vec<&Tensor>> = batched.as_ref().map(|s| s.iter().collect());
        let ends = step(kind, weights, &x.unsqueeze(0)?, batched.as_deref())?;
        return ends.iter().map(|s| s.squeeze(0)).collect();
    }
    let hidden = weights.hh.shape().last().copied().unwrap_or(0);
    let zeros = Tensor::full(0.0, [x.size(0)?, hidden], x.dtype(), x.device())?;
    let states: Vec<Tensor> = match states {
        Some(states) => states.iter().copied().cloned().collect(),
        None => vec![zeros; K::STATES],
    };
    let mut results = kind.run(&x.unsqueeze(0)?, &states, weights, false)?;
    results.remove(0);
    Ok(results)
}

macro_rules! cells {
    ($($(#[$doc:meta])* $Name:ident $Kind:ident $kind:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $Name {
            kind: $Kind,
            weights: Weights,
        }

        impl $Name {
            /// From `inputs` to `hidden` channels, with biases; all weights start uniform within `1 / sqrt(hidden)`.
            ///
            /// # Errors
            /// `OutOfMemory`.
            pub fn new(inputs: usize, hidden: usize) -> Result<Self> {
                Ok(Self { kind: $kind, weights: Weights::new(inputs, hidden, $Kind::GATES, true)? })
            }

            /// Without biases.
            #[must_use]
            pub fn without_bias(mut self) -> Self {
                self.weights.bias = None;
                self
            }
        }

        impl Module for $Name {
            fn visit(&self, v: &mut Visitor<'_>) {
                self.weights.visit("", v);
            }
        }
    )*};
}

cells! {
    /// One step of a plain recurrent layer.
    RNNCell Plain Plain { nonlinearity: "tanh" };
    /// One step of long short-term memory.
    LSTMCell Long Long;
    /// One step of a gated recurrent unit.
    GRUCell Gated Gated;
}

impl RNNCell {
    /// With `max(x, 0)` in place of the hyperbolic tangent.
    #[must_use]
    pub fn relu(mut self) -> Self {
        self.kind.nonlinearity = "relu";
        self
    }

    /// The state after `x [n, in]`; the state before is `h` or 0.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, h: Option<&Tensor>) -> Result<Tensor> {
        let h = h.map(|h| [h]);
        let scope = Scope::of(self);
        scope.gives(step(&self.kind, &self.weights, x, h.as_ref().map(|h| &h[..])).and_then(only))
    }
}

impl GRUCell {
    /// The state after `x [n, in]`; the state before is `h` or 0.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, h: Option<&Tensor>) -> Result<Tensor> {
        let h = h.map(|h| [h]);
        let scope = Scope::of(self);
        scope.gives(step(&self.kind, &self.weights, x, h.as_ref().map(|h| &h[..])).and_then(only))
    }
}

impl LSTMCell {
    /// State and cell after `x [n, in]`; those before are `(h, c)` or 0.
    ///
    /// # Errors
    /// `Shape` or `DType` when they do not fit.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, state: Option<(&Tensor, &Tensor)>) -> Result<(Tensor, Tensor)> {
        let state = state.map(|(h, c)| [h, c]);
        let scope = Scope::of(self);
        let ends = step(&self.kind, &self.weights, x, state.as_ref().map(|s| &s[..]));
        scope.gives(ends.and_then(|ends| match &ends[..] {
            [h, c] => Ok((h.clone(), c.clone())),
            _ => Err(states_missing(2)),
        }))
    }
}

fn only(ends: Vec<Tensor>) -> Result<Tensor> {
    ends.into_iter().next().ok_or_else(|| states_missing(1))
}
