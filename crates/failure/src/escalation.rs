//! Who is told of an incident, and when.

mod escalator;
mod hours;
mod policy;
mod silence;
mod step;
mod store;

pub use escalator::Escalator;
pub use hours::{Hours, InvalidHours, Weekday};
pub use policy::{Level, Policy, Repeat};
pub use silence::{NewSilence, Silence, SilenceKind};
pub(crate) use step::{advance, begin, end_of_silences};
pub use store::{KeptPolicy, Policies};
