//! Principals.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A principal to make.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalForm {
    /// A name for people; it never enters the audit log.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// What sort it is.
    #[serde(default)]
    pub kind: PrincipalKindWord,
    /// Its roles, at least one; none above those that the caller may give.
    #[schemars(with = "Vec<RoleWord>", length(min = 1))]
    pub roles: BTreeSet<RoleWord>,
    /// Which agent it is; an agent that names none gets a new id. Only for the kind or the role `agent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The kinds of tasks that it may submit, 1–64; absent means those of its tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub kinds: Option<BTreeSet<String>>,
    /// The highest band that it may use, 0–3; 3.
    #[serde(default = "highest")]
    #[schemars(range(min = 0, max = 3))]
    pub highest_band: u8,
}

const fn highest() -> u8 {
    3
}

/// The sort of a principal.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum PrincipalKindWord {
    /// A person.
    User,
    /// An agent.
    Agent,
    /// Another program.
    #[default]
    Service,
}

/// A role of a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleWord {
    /// Submits tasks and follows its own.
    Submitter,
    /// Works on what it was assigned.
    Agent,
    /// Decides held tasks, waivers, appeals.
    Reviewer,
    /// Runs one tenant.
    Operator,
    /// Reads everything of its tenant, changes nothing.
    Auditor,
    /// Runs all tenants.
    Admin,
    /// Another control plane whose registry of agents this one is; it counts in the system's own tenant only.
    Peer,
}

/// A change of a principal; what is absent stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalChangeForm {
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub name: Option<String>,
    /// Other roles, at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<RoleWord>>")]
    pub roles: Option<BTreeSet<RoleWord>>,
    /// Other kinds of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub kinds: Option<BTreeSet<String>>,
    /// The kinds of its tenant, from now on; not together with `kinds`.
    #[serde(default)]
    pub all_kinds: bool,
    /// Another highest band, 0–3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3))]
    pub highest_band: Option<u8>,
    /// Disables it, or enables it. The keys of a disabled principal are refused at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrincipalView {
    /// Its id.
    pub id: String,
    /// Where it belongs.
    pub tenant: String,
    /// A name for people.
    pub name: String,
    /// What sort it is.
    pub kind: PrincipalKindWord,
    /// Its roles.
    #[schemars(with = "Vec<RoleWord>")]
    pub roles: BTreeSet<RoleWord>,
    /// Which agent it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The kinds of tasks that it may submit; absent means those of its tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<String>>,
    /// The highest band that it may use.
    pub highest_band: u8,
    /// When it was disabled, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_at: Option<String>,
    /// When it was made, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Who made it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Counts its changes, those of its keys included; also the `ETag`.
    pub revision: u64,
}

/// A page of principals, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrincipalPageView {
    /// The principals.
    pub principals: Vec<PrincipalView>,
    /// Where to go on, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
