//! Policies.

use arbiter_core::model::Timestamp;
use arbiter_queue::policies::{ActivePolicies, PolicySet};
use arbiter_wire::http::{ActivePoliciesView, PolicySetView};

/// What is in force.
pub fn policies(active: &ActivePolicies) -> ActivePoliciesView {
    ActivePoliciesView {
        set: active.set.as_ref().map(|set| policy_set(set, true)),
        activated_at: active.activated_at.as_ref().map(Timestamp::to_string),
        activated_by: active.activated_by.map(|by| by.to_string()),
        revision: active.revision,
    }
}

/// A stored set, with its files when `whole`.
pub fn policy_set(set: &PolicySet, whole: bool) -> PolicySetView {
    let texts = set
        .files
        .iter()
        .map(|file| (file.name.clone(), file.text.clone()));
    PolicySetView {
        number: set.number,
        digest: set.digest.to_string(),
        files: whole.then(|| texts.collect()),
        created_at: set.created_at.to_string(),
        created_by: set.created_by.to_string(),
    }
}
