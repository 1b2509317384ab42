//! Agents that fail: what follows for their tasks, and which work they get no more.

mod plans;
mod restricted;
mod restriction;
mod restrictions;

pub use plans::{PlanSettings, RetryPlans};
pub use restricted::RestrictedAllocator;
pub use restriction::{BreakerSettings, Restriction};
pub use restrictions::{InvalidRestrictions, Restrictions};
