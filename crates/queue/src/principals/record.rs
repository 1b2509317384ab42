//! What is kept of a principal.

use std::collections::BTreeSet;

use arbiter_core::model::{
    AgentId, Band, Principal, PrincipalId, PrincipalKind, Role, TaskKind, TenantId, Timestamp,
};
use arbiter_core::ports::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::records::{Kept, VERSION, corrupt};
use crate::repeats::MadeOf;

pub(super) const KIND: &str = "principal";

/// A principal with the name that people know it by. The name never enters the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRecord {
    /// The principal.
    pub principal: Principal,
    /// A name for people.
    pub name: String,
}

/// A principal with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPrincipal {
    /// The principal.
    pub principal: Principal,
    /// A name for people.
    pub name: String,
    /// When it was disabled, if it is: its keys are refused.
    pub disabled_at: Option<Timestamp>,
    /// When it was made; unknown for those that the program itself made.
    pub created_at: Option<Timestamp>,
    /// Who made it; unknown for those that the program itself made.
    pub created_by: Option<PrincipalId>,
    /// Counts its changes, those of its keys included.
    pub revision: u64,
    /// A digest of what it was made of, if the call that made it had an idempotency key.
    pub(crate) made_of: Option<String>,
}

/// A principal to make.
#[derive(Debug, Clone)]
pub struct NewPrincipal {
    /// A name for people, 1–100 characters.
    pub name: String,
    /// What sort it is.
    pub kind: PrincipalKind,
    /// Its roles, at least one.
    pub roles: BTreeSet<Role>,
    /// Which agent it is. An agent that is given none gets a new id.
    pub agent: Option<AgentId>,
    /// The kinds of tasks that it may submit, 1–64, where that differs from its tenant's.
    pub kinds: Option<BTreeSet<TaskKind>>,
    /// The highest band that it may use.
    pub highest_band: Band,
}

impl NewPrincipal {
    /// What a call asks for.
    pub(super) fn asked(&self) -> Value {
        json!({
            "name": self.name,
            "kind": self.kind.word(),
            "roles": self.roles.iter().map(|role| role.word()).collect::<Vec<_>>(),
            "agent": self.agent.map(|agent| agent.to_string()),
            "kinds": self.kinds.as_ref().map(|kinds| kinds.iter().map(TaskKind::as_str).collect::<Vec<_>>()),
            "highest_band": self.highest_band.get(),
        })
    }
}

/// A change of a principal; what is absent stays as it is.
#[derive(Debug, Clone, Default)]
pub struct PrincipalChange {
    /// Another name.
    pub name: Option<String>,
    /// Other roles.
    pub roles: Option<BTreeSet<Role>>,
    /// Other kinds of tasks; `Some(None)` means its tenant's.
    pub kinds: Option<Option<BTreeSet<TaskKind>>>,
    /// Another highest band.
    pub highest_band: Option<Band>,
    /// Disables or enables it.
    pub disabled: Option<bool>,
}

/// The stored form, version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Body {
    version: u32,
    name: String,
    kind: String,
    roles: Vec<String>,
    agent: Option<String>,
    kinds: Option<Vec<String>>,
    highest_band: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disabled_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_of: Option<String>,
}

impl MadeOf for Body {
    fn made_of(&self) -> Option<&str> {
        self.made_of.as_deref()
    }
}

impl Body {
    pub(super) fn of(known: &KnownPrincipal) -> Self {
        let principal = &known.principal;
        Self {
            version: VERSION,
            name: known.name.clone(),
            kind: principal.kind.word().to_owned(),
            roles: principal
                .roles
                .iter()
                .map(|role| role.word().to_owned())
                .collect(),
            agent: principal.agent.map(|agent| agent.to_string()),
            kinds: principal
                .kinds
                .as_ref()
                .map(|kinds| kinds.iter().map(ToString::to_string).collect()),
            highest_band: principal.highest_band.get(),
            disabled_at: known.disabled_at.map(Timestamp::as_micros),
            created_at: known.created_at.map(Timestamp::as_micros),
            created_by: known.created_by.map(|by| by.to_string()),
            made_of: known.made_of.clone(),
        }
    }

    pub(super) fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }
}

/// Reads what is kept.
pub(super) fn known(kept: &Kept<Body>) -> Result<KnownPrincipal, StoreError> {
    let body = &kept.body;
    let unknown = |what: &str, word: &str| corrupt(KIND, format!("unknown {what} `{word}`"));
    let mut roles = BTreeSet::new();
    for word in &body.roles {
        roles.insert(Role::from_word(word).ok_or_else(|| unknown("role", word))?);
    }
    let agent = body.agent.as_ref().map(|text| text.parse::<AgentId>());
    let kinds = body
        .kinds
        .as_ref()
        .map(|words| words.iter().map(|word| TaskKind::new(word)).collect());
    let created_by = body.created_by.as_ref().map(|text| text.parse::<PrincipalId>());
    Ok(KnownPrincipal {
        principal: Principal {
            id: kept.id.parse().map_err(|error| corrupt(KIND, error))?,
            tenant: kept.tenant,
            kind: PrincipalKind::from_word(&body.kind).ok_or_else(|| unknown("kind", &body.kind))?,
            roles,
            agent: agent.transpose().map_err(|error| corrupt(KIND, error))?,
            kinds: kinds
                .transpose()
                .map_err(|error: arbiter_core::model::InvalidKind| corrupt(KIND, error))?,
            highest_band: Band::new(body.highest_band).map_err(|error| corrupt(KIND, error))?,
        },
        name: body.name.clone(),
        disabled_at: body.disabled_at.map(Timestamp::from_micros),
        created_at: body.created_at.map(Timestamp::from_micros),
        created_by: created_by.transpose().map_err(|error| corrupt(KIND, error))?,
        revision: kept.revision,
        made_of: body.made_of.clone(),
    })
}

impl From<KnownPrincipal> for PrincipalRecord {
    fn from(known: KnownPrincipal) -> Self {
        Self {
            principal: known.principal,
            name: known.name,
        }
    }
}

/// The tenant and id of the last principal of a page.
pub(super) type Cursor = (TenantId, String);
