//! Policies that operators add: kept in numbered sets, of which one is in force.

mod diff;
mod record;
mod sets;

pub use diff::PolicyDiff;
pub use record::{ActivePolicies, PolicySet};
pub use sets::{CheckedPolicies, PolicyLoadError, PolicySets};
