//! Optimisers: they move parameters along their gradients, in place; and schedules of their learning rates.

mod adam;
mod adam_kin;
mod adaptive;
mod clip;
mod descent;
mod group;
mod plateau;
mod schedule;
mod schedules;
mod sgd;
mod update;

use esker_tensor::Result;

pub use adam::{Adam, AdamRule, AdamW};
pub use adam_kin::{Adamax, AdamaxRule, Lion, LionRule, NAdam, NAdamRule, RAdam, RAdamRule};
pub use adaptive::{Adadelta, AdadeltaRule, Adagrad, AdagradRule, RMSprop, RMSpropRule, Rprop, RpropRule};
pub use clip::{clip_grad_norm, clip_grad_norm_of, clip_grad_value, grad_norm};
pub use descent::{Descent, Memory, Rule};
pub use group::ParamGroup;
pub use plateau::{PlateauMode, ReduceLROnPlateau, ThresholdMode};
pub use schedule::{At, ChainedScheduler, LambdaLR, Schedule, Scheduler, SequentialLR};
pub use schedules::{
    Anneal, ConstantLR, CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, CyclicMode, ExponentialLR, LinearLR,
    MultiStepLR, MultiplicativeLR, OneCycleLR, PolynomialLR, StepLR,
};
pub use sgd::{SGD, SgdRule};

use crate::StateDict;

/// Moves parameters along their gradients. Parameters without a gradient, or frozen, stay where they are; a parameter
/// that was given twice is moved once.
pub trait Optimizer {
    /// Moves each parameter once.
    ///
    /// # Errors
    /// `Kernel` for a setting out of its range, naming it; those of the kernels.
    fn step(&mut self) -> Result<()>;

    /// The groups of parameters.
    fn groups(&self) -> &[ParamGroup];

    /// The groups of parameters, to change their settings.
    fn groups_mut(&mut self) -> &mut [ParamGroup];

    /// What the optimiser remembers, by the number of the parameter (`0.exp_avg`), and the settings of its groups
    /// (`groups.0.lr`).
    ///
    /// # Errors
    /// `OutOfMemory`.
    fn state_dict(&self) -> Result<StateDict>;

    /// Takes over what an optimiser over the same parameters remembered.
    ///
    /// # Errors
    /// `Format` naming an entry that is unknown or of another shape; nothing is changed then.
    fn load_state_dict(&mut self, state: &StateDict) -> Result<()>;

    /// Forgets all gradients.
    fn zero_grad(&self) {
        self.groups().iter().flat_map(|g| &g.params).for_each(|p| p.zero_grad());
    }

    /// The learning rate of the first group; 0 without groups.
    fn lr(&self) -> f64 {
        self.groups().first().map_or(0.0, |g| g.lr)
    }

    /// Sets the learning rate of all groups.
    fn set_lr(&mut self, lr: f64) {
        self.groups_mut().iter_mut().for_each(|g| g.lr = lr);
    }
}
