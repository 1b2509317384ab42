//! What is kept of an erasure while it goes on, and for a while after it.

use std::time::Duration;

use arbiter_core::model::{Digest, ErasureId, PrincipalId, TaskId, TenantId, Timestamp};
use arbiter_core::ports::{DocumentWrite, Precondition, StoreError};
use serde::{Deserialize, Serialize};

use crate::records::{Kept, Shelf, VERSION, corrupt};

/// What the record's kind is called in the store.
pub(crate) const KIND: &str = "erasure";
/// The declared value of those that go on.
pub(super) const STATE: &str = "state";
pub(super) const OPEN: &str = "open";
/// How long the record of a finished erasure is kept, and found by who asks again.
const KEPT: Duration = Duration::from_hours(24 * 30);

/// What is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureSubject {
    /// Everything of the tenant.
    Tenant,
    /// What a principal submitted, its record and its keys.
    Principal(PrincipalId),
    /// A task.
    Task(TaskId),
}

impl ErasureSubject {
    /// The stable word of its sort.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Principal(_) => "principal",
            Self::Task(_) => "task",
        }
    }

    /// The id of the principal or task; none for a whole tenant.
    pub fn id(self) -> Option<String> {
        match self {
            Self::Tenant => None,
            Self::Principal(id) => Some(id.to_string()),
            Self::Task(id) => Some(id.to_string()),
        }
    }

    /// One word for it, as it is stored: `tenant`, `task/<id>`, `principal/<id>`.
    pub(super) fn key(self) -> String {
        match self.id() {
            Some(id) => format!("{}/{id}", self.word()),
            None => self.word().to_owned(),
        }
    }

    fn read(key: &str) -> Option<Self> {
        match key.split_once('/') {
            None => (key == "tenant").then_some(Self::Tenant),
            Some(("principal", id)) => id.parse().ok().map(Self::Principal),
            Some(("task", id)) => id.parse().ok().map(Self::Task),
            Some(_) => None,
        }
    }
}

/// How far an erasure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureStage {
    /// The next tasks are looked for.
    Finding,
    /// Tasks are withdrawn and deleted, as soon as no attempt at them holds a slot.
    Tasks,
    /// Agents, artifacts, schedules, principals, keys and other records are deleted.
    Records,
    /// Details are removed from the audit log.
    Log,
    /// All is done.
    Done,
}

impl ErasureStage {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Finding => "finding",
            Self::Tasks => "tasks",
            Self::Records => "records",
            Self::Log => "log",
            Self::Done => "done",
        }
    }
}

/// An erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its id.
    pub id: ErasureId,
    /// In which tenant.
    pub tenant: TenantId,
    /// What is erased.
    pub subject: ErasureSubject,
    /// Why; empty when it is finished, because the reason may name what was erased. The audit log of who asked has it.
    pub reason: String,
    /// By whom it was asked for.
    pub requested_by: PrincipalId,
    /// When.
    pub requested_at: Timestamp,
    /// How far it is.
    pub stage: ErasureStage,
    /// When it was finished.
    pub finished_at: Option<Timestamp>,
}

/// The stored form, version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Body {
    pub(super) version: u32,
    pub(super) subject: String,
    pub(super) reason: String,
    pub(super) requested_by: String,
    pub(super) requested_at: i64,
    pub(super) stage: ErasureStage,
    /// The tasks that are being erased.
    #[serde(default)]
    pub(super) tasks: Vec<String>,
    /// Where to look for the next ones.
    pub(super) after: Option<String>,
    /// Whether there are no more.
    #[serde(default)]
    pub(super) last: bool,
    pub(super) finished_at: Option<i64>,
}

impl Body {
    pub(crate) fn new(
        subject: ErasureSubject,
        reason: String,
        requested_by: PrincipalId,
        now: Timestamp,
    ) -> Self {
        let is_whole = subject == ErasureSubject::Tenant;
        Self {
            version: VERSION,
            subject: subject.key(),
            reason,
            requested_by: requested_by.to_string(),
            requested_at: now.as_micros(),
            stage: if is_whole {
                ErasureStage::Tasks
            } else {
                ErasureStage::Finding
            },
            tasks: Vec::new(),
            after: None,
            last: is_whole,
            finished_at: None,
        }
    }

    /// The write that stores it under an id.
    pub(crate) fn write(
        &self,
        records: &Shelf,
        tenant: TenantId,
        id: &str,
        precondition: Precondition,
    ) -> Result<DocumentWrite, StoreError> {
        let mut write = records.put(tenant, id, precondition, self)?;
        if let Some(content) = &mut write.content {
            if let Some(at) = self.finished_at {
                content.expires_at = Some(Timestamp::from_micros(at).plus(KEPT));
            } else {
                content.index.push((STATE, OPEN.to_owned()));
            }
        }
        Ok(write)
    }
}

/// The id of the erasure of a subject, so that asking again finds it: the first 16 bytes of SHA-256(`erasure` ‖ tenant ‖
/// subject).
pub(super) fn id_of(tenant: TenantId, subject: ErasureSubject) -> ErasureId {
    let key = subject.key();
    let digest = Digest::of(&[b"erasure".as_slice(), tenant.as_bytes(), key.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    ErasureId::from_bytes(bytes)
}

/// Reads a stored erasure.
pub(super) fn erasure(kept: &Kept<Body>) -> Result<Erasure, StoreError> {
    let body = &kept.body;
    let subject = ErasureSubject::read(&body.subject);
    Ok(Erasure {
        id: kept.id.parse().map_err(|error| corrupt(KIND, error))?,
        tenant: kept.tenant,
        subject: subject.ok_or_else(|| corrupt(KIND, format!("`{}` is no subject", body.subject)))?,
        reason: body.reason.clone(),
        requested_by: body.requested_by.parse().map_err(|error| corrupt(KIND, error))?,
        requested_at: Timestamp::from_micros(body.requested_at),
        stage: body.stage,
        finished_at: body.finished_at.map(Timestamp::from_micros),
    })
}
