//! Steps of optimisers as a backend runs them: one pass over a parameter, its gradient and what is remembered of it.

/// Moves a parameter in place. Numbers are of the parameter's dtype; each operation is rounded by itself, as in the
/// composition of elementwise ops that it stands for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Update {
    /// With the states `m` and `v`.
    Adam(AdamUpdate),
    /// With the state `v`.
    Momentum(MomentumUpdate),
}

/// `p = p keep; g = g + pull p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p = p - rate m / (root sqrt(v) + eps)`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AdamUpdate {
    /// What is left of the parameter after decoupled decay; 1 for none.
    pub keep: f64,
    /// The parameter's pull towards 0 in the gradient.
    pub pull: f64,
    /// Decay rates of the two means.
    pub betas: (f64, f64),
    /// One over the root of the second mean's correction.
    pub root: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// The learning rate over the first mean's correction.
    pub rate: f64,
}

/// `g = g + pull p; v = momentum v + fresh g; p = p - rate v`, or with Nesterov `p = p - rate g - rate momentum v`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MomentumUpdate {
    /// The parameter's pull towards 0 in the gradient.
    pub pull: f64,
    /// What is left of the velocity.
    pub momentum: f64,
    /// The gradient's share of the velocity.
    pub fresh: f64,
    /// Whether it looks ahead.
    pub nesterov: bool,
    /// The learning rate.
    pub rate: f64,
}
