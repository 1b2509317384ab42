//! What is kept of a tenant.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{PrincipalId, TaskKind, TenantId, Timestamp};
use arbiter_core::ports::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::records::{Kept, RecordError, VERSION, corrupt};
use crate::repeats::MadeOf;
use crate::settings::RateLimit;

/// What the record's kind is called in the store.
pub(crate) const KIND: &str = "tenant";

/// The weights that a tenant may have.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=1_000;
/// The most that a rate or a burst may be.
const MAX_RATE: u32 = 1_000_000;
/// How many kinds a tenant may name.
const MAX_KINDS: usize = 256;
/// How long a name may be, in characters.
const MAX_NAME: usize = 100;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// A name for people. It never enters the audit log.
    pub name: String,
    /// Its share inside a band, 1–1000, against those of other tenants.
    pub weight: u32,
    /// What it may use, where that differs from the settings of the deployment.
    pub limits: TenantLimits,
    /// Why it is suspended, if it is: none of its principals may do anything, and none of its tasks is assigned.
    pub suspended: Option<Suspension>,
    /// By whom it was deleted, if it was. It stays refused for good; its name and limits are gone.
    pub deleted: Option<Deletion>,
    /// Who made it; none for the tenant of the first start.
    pub created_by: Option<PrincipalId>,
    /// When; none for the tenant of the first start while nothing is stored of it.
    pub created_at: Option<Timestamp>,
    /// Counts its changes; the `ETag`. 0 while nothing is stored of it.
    pub revision: u64,
}

/// What a tenant may use; what is absent is as the settings say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantLimits {
    /// How many of its tasks may be open.
    pub open_tasks: Option<u64>,
    /// How fast it may submit.
    pub submit: Option<RateLimit>,
    /// How many of its tasks may run at once.
    pub running: Option<u32>,
    /// How many of its tasks of a kind may run at once.
    pub running_per_kind: BTreeMap<TaskKind, u32>,
    /// The kinds that it may submit, 1–256, instead of everybody's.
    pub kinds: Option<BTreeSet<TaskKind>>,
}

/// Why a tenant is suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspension {
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: PrincipalId,
}

/// That a tenant was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: PrincipalId,
    /// When the last of its data was erased; none while that goes on.
    pub erased_at: Option<Timestamp>,
}

/// A tenant to make.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// A name for people.
    pub name: String,
    /// Its share inside a band; 1.
    pub weight: u32,
    /// What it may use.
    pub limits: TenantLimits,
}

/// A change of a tenant; what is absent stays as it is.
#[derive(Debug, Clone, Default)]
pub struct TenantChange {
    /// Another name.
    pub name: Option<String>,
    /// Another weight.
    pub weight: Option<u32>,
    /// Other limits, in place of all that it has.
    pub limits: Option<TenantLimits>,
}

impl TenantChange {
    /// Checks the fields that are there.
    pub(super) fn check(&self) -> Result<(), RecordError> {
        if let Some(name) = &self.name {
            let fits = (1..=MAX_NAME).contains(&name.chars().count());
            if !fits || name.trim().is_empty() || name.chars().any(char::is_control) {
                let problem = "must have 1 to 100 characters, none of them a control character";
                return Err(RecordError::invalid("name", problem));
            }
        }
        if self.weight.is_some_and(|weight| !WEIGHTS.contains(&weight)) {
            return Err(RecordError::invalid("weight", "must lie in 1..=1000"));
        }
        self.limits.as_ref().map_or(Ok(()), TenantLimits::check)
    }

    /// The words of what changes, for the audit log.
    pub(super) fn fields(&self) -> Vec<&'static str> {
        let parts = [
            ("name", self.name.is_some()),
            ("weight", self.weight.is_some()),
            ("limits", self.limits.is_some()),
        ];
        parts
            .into_iter()
            .filter_map(|(word, is_there)| is_there.then_some(word))
            .collect()
    }
}

impl TenantLimits {
    fn check(&self) -> Result<(), RecordError> {
        let invalid = |problem: &str| Err(RecordError::invalid("limits", problem));
        if let Some(RateLimit { per_second, burst }) = self.submit
            && !((1..=MAX_RATE).contains(&per_second) && (1..=MAX_RATE).contains(&burst))
        {
            return invalid("have a submit rate whose parts must lie in 1..=1000000");
        }
        if self.open_tasks == Some(0) || self.running == Some(0) {
            return invalid("must be at least 1; suspend or pause the tenant to stop it");
        }
        if self.running_per_kind.values().any(|limit| *limit == 0) {
            return invalid("must be at least 1; pause the kind to stop it");
        }
        if self.running_per_kind.len() > MAX_KINDS {
            return invalid("may name 256 kinds at most");
        }
        let kinds = self.kinds.as_ref().map(BTreeSet::len);
        if kinds.is_some_and(|count| !(1..=MAX_KINDS).contains(&count)) {
            return invalid("must name 1 to 256 kinds, or none at all for everybody's");
        }
        Ok(())
    }
}

/// The stored form, version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Body {
    version: u32,
    name: String,
    weight: u32,
    #[serde(default)]
    limits: LimitsBody,
    #[serde(default)]
    pub(super) suspended: Option<SuspendedBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deleted: Option<DeletedBody>,
    created_by: Option<String>,
    created_at: Option<i64>,
    /// A digest of what it was made of, if the call that made it had an idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made_of: Option<String>,
}

impl MadeOf for Body {
    fn made_of(&self) -> Option<&str> {
        self.made_of.as_deref()
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct LimitsBody {
    open_tasks: Option<u64>,
    submit: Option<RateBody>,
    running: Option<u32>,
    running_per_kind: BTreeMap<String, u32>,
    kinds: Option<Vec<String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct RateBody {
    per_second: u32,
    burst: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SuspendedBody {
    pub(super) reason: String,
    pub(super) at: i64,
    pub(super) by: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DeletedBody {
    pub(super) at: i64,
    pub(super) by: String,
    pub(super) erased_at: Option<i64>,
}

impl Body {
    /// What stays of a deleted tenant: that it was there, and may do nothing.
    pub(super) fn delete(&mut self, at: Timestamp, by: PrincipalId) {
        self.name.clear();
        self.weight = 1;
        self.limits = LimitsBody::default();
        self.suspended = None;
        // Whoever has the store's key could guess the name by it.
        self.made_of = None;
        self.deleted = Some(DeletedBody {
            at: at.as_micros(),
            by: by.to_string(),
            erased_at: None,
        });
    }

    pub(super) fn new(new: NewTenant, by: Option<PrincipalId>, at: Option<Timestamp>) -> Self {
        Self {
            version: VERSION,
            name: new.name,
            weight: new.weight,
            limits: LimitsBody::of(&new.limits),
            suspended: None,
            deleted: None,
            created_by: by.map(|by| by.to_string()),
            created_at: at.map(Timestamp::as_micros),
            made_of: None,
        }
    }

    pub(super) fn change(&mut self, change: TenantChange) {
        if let Some(name) = change.name {
            self.name = name;
        }
        if let Some(weight) = change.weight {
            self.weight = weight;
        }
        if let Some(limits) = change.limits {
            self.limits = LimitsBody::of(&limits);
        }
    }
}

impl LimitsBody {
    fn of(limits: &TenantLimits) -> Self {
        Self {
            open_tasks: limits.open_tasks,
            submit: limits.submit.map(|rate| RateBody {
                per_second: rate.per_second,
                burst: rate.burst,
            }),
            running: limits.running,
            running_per_kind: limits
                .running_per_kind
                .iter()
                .map(|(kind, limit)| (kind.as_str().to_owned(), *limit))
                .collect(),
            kinds: limits
                .kinds
                .as_ref()
                .map(|kinds| kinds.iter().map(|kind| kind.as_str().to_owned()).collect()),
        }
    }

    fn read(&self) -> Result<TenantLimits, StoreError> {
        let kind = |word: &String| TaskKind::new(word).map_err(|error| corrupt(KIND, error));
        Ok(TenantLimits {
            open_tasks: self.open_tasks,
            submit: self.submit.as_ref().map(|rate| RateLimit {
                per_second: rate.per_second,
                burst: rate.burst,
            }),
            running: self.running,
            running_per_kind: self
                .running_per_kind
                .iter()
                .map(|(word, limit)| Ok((kind(word)?, *limit)))
                .collect::<Result<_, StoreError>>()?,
            kinds: self
                .kinds
                .as_ref()
                .map(|words| words.iter().map(kind).collect())
                .transpose()?,
        })
    }
}

/// What a call asks for.
pub(super) fn asked(new: &NewTenant) -> Value {
    json!({"name": new.name, "weight": new.weight, "limits": LimitsBody::of(&new.limits)})
}

/// The tenant that is stored.
pub(crate) fn tenant(kept: &Kept<Body>) -> Result<Tenant, StoreError> {
    let by = |text: &String| text.parse().map_err(|error| corrupt(KIND, error));
    let suspended = kept.body.suspended.as_ref().map(|stored| {
        Ok::<_, StoreError>(Suspension {
            reason: stored.reason.clone(),
            at: Timestamp::from_micros(stored.at),
            by: by(&stored.by)?,
        })
    });
    let deleted = kept.body.deleted.as_ref().map(|stored| {
        Ok::<_, StoreError>(Deletion {
            at: Timestamp::from_micros(stored.at),
            by: by(&stored.by)?,
            erased_at: stored.erased_at.map(Timestamp::from_micros),
        })
    });
    Ok(Tenant {
        id: kept.tenant,
        name: kept.body.name.clone(),
        weight: kept.body.weight,
        limits: kept.body.limits.read()?,
        suspended: suspended.transpose()?,
        deleted: deleted.transpose()?,
        created_by: kept.body.created_by.as_ref().map(by).transpose()?,
        created_at: kept.body.created_at.map(Timestamp::from_micros),
        revision: kept.revision,
    })
}
