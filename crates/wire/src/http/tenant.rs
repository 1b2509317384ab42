//! Tenants.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object;

/// A tenant to make.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantForm {
    /// A name for people.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Its share inside a band, against those of other tenants; 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// What it may use, where that differs from the settings of the deployment.
    #[serde(default, deserialize_with = "object::one")]
    pub limits: TenantLimitsForm,
}

const fn one() -> u32 {
    1
}

/// A change of a tenant; what is absent stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantChangeForm {
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub name: Option<String>,
    /// Another weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<u32>,
    /// Other limits, in place of all that it has.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "object::optional"
    )]
    pub limits: Option<TenantLimitsForm>,
}

/// What a tenant may use; what is absent is as the settings of the deployment say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantLimitsForm {
    /// How many of its tasks may be open, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub open_tasks: Option<u64>,
    /// How fast it may submit.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "object::optional"
    )]
    pub submit: Option<TenantRateForm>,
    /// How many of its tasks may run at once, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub running: Option<u32>,
    /// How many of its tasks of a kind may run at once, at least 1 each; 256 kinds at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub running_per_kind: BTreeMap<String, u32>,
    /// The kinds that it may submit, 1–256, instead of everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub kinds: Option<BTreeSet<String>>,
}

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantRateForm {
    /// Calls in a second.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_second: u32,
    /// Calls at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: u32,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantView {
    /// Its id.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Its share inside a band, against those of other tenants.
    pub weight: u32,
    /// What it may use; what is absent is as the settings of the deployment say.
    pub limits: TenantLimitsForm,
    /// Why it is suspended, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<SuspensionView>,
    /// When it was deleted, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<DeletionView>,
    /// The principal that made it; absent for the tenant of the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Counts its changes; also the `ETag`.
    pub revision: u64,
}

/// Why a tenant is suspended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SuspensionView {
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: String,
    /// By which principal.
    pub by: String,
}

/// That a tenant was deleted. It is refused for good; what is left of it has neither name nor limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeletionView {
    /// When.
    pub at: String,
    /// By which principal.
    pub by: String,
    /// When the last of its data was erased; absent while that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<String>,
}

/// A page of tenants, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantPageView {
    /// The tenants.
    pub tenants: Vec<TenantView>,
    /// The cursor of the next page, if there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
