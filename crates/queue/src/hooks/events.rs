//! Which messages an audit entry makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arbiter_core::model::{
    HoldReason, HookId, Json, OutboxId, SecurityLevel, StateName, StoredTask, TaskId, TenantId, TenantScope,
    Timestamp,
};
use arbiter_core::ports::{AuditEntry, Clock, Documents, NewOutboxEntry, StoreError, TaskReader};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::TOPIC;
use super::log::About;
use super::record::{self, Hook, HookEvent};
use crate::records::{Shelf, VERSION, corrupt};

/// The version of the message's body.
const PAYLOAD_VERSION: u32 = 1;

/// Turns audit entries into outbox entries of the topic [`TOPIC`](super::TOPIC).
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct Events {
    hooks: Shelf,
    reader: Arc<dyn TaskReader>,
    clock: Arc<dyn Clock>,
}

/// What the outbox keeps of a message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Parcel {
    pub(super) version: u32,
    pub(super) hook: String,
    pub(super) tenant: String,
    /// When the first try became possible, in microseconds: the end of all tries counts from here.
    pub(super) created_at: i64,
    pub(super) about: About,
    pub(super) payload: Value,
    /// The trace of the task's submitter (W3C Trace Context).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) traceparent: Option<String>,
}

/// A transition that hooks may be told of.
#[derive(Debug, Clone)]
struct Turn {
    tenant: TenantId,
    task: TaskId,
    version: u64,
    at: Timestamp,
    state: StateName,
    reason: Option<String>,
}

impl Events {
    /// Events of the hooks in `documents`; what messages tell of tasks comes from `reader`.
    pub fn new(documents: &Arc<dyn Documents>, reader: Arc<dyn TaskReader>, clock: Arc<dyn Clock>) -> Self {
        Self {
            hooks: Shelf::new(documents, record::KIND),
            reader,
            clock,
        }
    }

    /// The messages that these entries of the audit log make. The same entries make messages of the same ids. Entries
    /// that no hook is told of cost no query.
    ///
    /// # Errors
    /// The store's, and [`StoreError::Corrupt`] for a leaf or a hook that cannot be read.
    pub async fn deliveries(&self, entries: &[AuditEntry]) -> Result<Vec<NewOutboxEntry>, StoreError> {
        let mut turns = Vec::new();
        for entry in entries {
            turns.extend(turn(entry)?);
        }
        let tenants: BTreeSet<TenantId> = turns.iter().map(|turn| turn.tenant).collect();
        let mut hooks: BTreeMap<TenantId, Vec<Hook>> = BTreeMap::new();
        for tenant in tenants {
            let kept = self
                .hooks
                .list::<record::Body>(TenantScope::Tenant(tenant), None, None, 1_000)
                .await?;
            let read: Result<Vec<Hook>, StoreError> = kept.iter().map(record::hook).collect();
            hooks.insert(tenant, read?);
        }
        turns.retain(|turn| {
            let listening = hooks.get(&turn.tenant);
            listening.is_some_and(|hooks| hooks.iter().any(|hook| event_for(hook, turn).is_some()))
        });
        if turns.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<TaskId> = turns.iter().map(|turn| turn.task).collect();
        let tasks = self.reader.get(TenantScope::All, &ids).await?;
        let now = self.clock.now();
        let mut made = Vec::new();
        for (turn, task) in turns.iter().zip(tasks) {
            let hooks = hooks.get(&turn.tenant).map_or(&[][..], Vec::as_slice);
            made.extend(of_turn(turn, task.as_ref(), hooks, now));
        }
        Ok(made)
    }
}

/// The messages that one audit entry makes for the hooks of its tenant, given the task as it is stored, if it still
/// is. `now` is when they may first be sent. Pure.
///
/// # Errors
/// [`StoreError::Corrupt`] for a leaf that cannot be read.
pub fn messages(
    entry: &AuditEntry,
    task: Option<&StoredTask>,
    hooks: &[Hook],
    now: Timestamp,
) -> Result<Vec<NewOutboxEntry>, StoreError> {
    Ok(turn(entry)?.map_or_else(Vec::new, |turn| of_turn(&turn, task, hooks, now)))
}

fn of_turn(turn: &Turn, task: Option<&StoredTask>, hooks: &[Hook], now: Timestamp) -> Vec<NewOutboxEntry> {
    let of_tenant = hooks.iter().filter(|hook| hook.tenant == turn.tenant);
    let told = of_tenant.filter(|hook| match (&hook.kinds, task) {
        (None, _) => true,
        (Some(kinds), Some(task)) => kinds.contains(&task.spec.kind),
        (Some(_), None) => false, // purged: nobody knows its kind any more
    });
    told.filter_map(|hook| {
        let event = event_for(hook, turn)?;
        let id = delivery_id(hook.id, turn);
        let about = About {
            delivery: id.to_string(),
            event: event.word().to_owned(),
            at: turn.at.to_string(),
            task: turn.task.to_string(),
            task_version: turn.version,
            state: turn.state.word().to_owned(),
            reason: turn.reason.clone(),
        };
        let body = parcel(hook.id, turn.tenant, about, task, now);
        Some(NewOutboxEntry {
            id,
            topic: TOPIC.to_owned(),
            about: Some((turn.tenant, Some(turn.task))),
            body,
        })
    })
    .collect()
}

/// What the outbox keeps of a message.
pub(super) fn parcel(
    hook: HookId,
    tenant: TenantId,
    about: About,
    task: Option<&StoredTask>,
    now: Timestamp,
) -> Json {
    let payload = payload(&about, tenant, task);
    let trace = task.and_then(|task| task.spec.trace.as_ref());
    let parcel = Parcel {
        version: VERSION,
        hook: hook.to_string(),
        tenant: tenant.to_string(),
        created_at: now.as_micros(),
        about,
        payload,
        traceparent: trace.map(|trace| trace.as_str().to_owned()),
    };
    Json::of(&json!(parcel))
}

/// The body of a message: what `docs/webhooks.md` describes. Never instructions, input or output; of restricted tasks
/// no labels either.
fn payload(about: &About, tenant: TenantId, task: Option<&StoredTask>) -> Value {
    let mut told = json!({
        "id": about.task,
        "state": about.state,
        "version": about.task_version,
    });
    if let (Some(reason), Some(told)) = (&about.reason, told.as_object_mut()) {
        told.insert("reason".to_owned(), json!(reason));
    }
    if let (Some(task), Some(told)) = (task, told.as_object_mut()) {
        told.insert("kind".to_owned(), json!(task.spec.kind.as_str()));
        if task.spec.security != SecurityLevel::Restricted {
            told.insert("labels".to_owned(), json!(task.spec.labels));
        }
    }
    json!({
        "version": PAYLOAD_VERSION,
        "id": about.delivery,
        "type": format!("task.{}", about.event),
        "at": about.at,
        "tenant": tenant.to_string(),
        "task": told,
    })
}

/// The event that a hook is told of, the most telling one that it asked for.
fn event_for(hook: &Hook, turn: &Turn) -> Option<HookEvent> {
    // What happened before it was made is not its business, however late the log is read.
    if !hook.is_active() || turn.at < hook.created_at {
        return None;
    }
    let needs_review = || {
        let reason = turn.reason.as_deref().and_then(HoldReason::from_word);
        matches!(
            reason,
            Some(
                HoldReason::LowConfidence
                    | HoldReason::Contradictory
                    | HoldReason::Unscored
                    | HoldReason::Rule
                    | HoldReason::StageUnavailable
            )
        )
    };
    let candidates: &[HookEvent] = match turn.state {
        StateName::Succeeded | StateName::Failed | StateName::Cancelled => &[HookEvent::Closed],
        StateName::DeadLettered => &[HookEvent::DeadLettered],
        StateName::Held if needs_review() => &[HookEvent::ReviewNeeded, HookEvent::Held],
        StateName::Held => &[HookEvent::Held],
        _ => &[],
    };
    candidates
        .iter()
        .copied()
        .find(|event| hook.events.contains(event))
}

/// Names the message of one hook about one version of a task: the first 16 bytes of SHA-256(hook ‖ task ‖ version).
fn delivery_id(hook: HookId, turn: &Turn) -> OutboxId {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(hook.as_bytes())
        .chain_update(turn.task.as_bytes())
        .chain_update(turn.version.to_be_bytes())
        .finalize()
        .into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    OutboxId::from_bytes(bytes)
}

/// The parts of a leaf that are looked at; see `docs/audit-schema.md`.
#[derive(Deserialize)]
struct Leaf {
    version: u64,
    actions: Vec<String>,
    at: String,
    outcome: String,
    reason: Option<String>,
    resource: Option<LeafResource>,
    tenant: String,
}

#[derive(Deserialize)]
struct LeafResource {
    id: String,
    kind: String,
    version: Option<u64>,
}

/// The transition of a task that hooks may be told of, if the entry is one.
fn turn(entry: &AuditEntry) -> Result<Option<Turn>, StoreError> {
    let leaf: Leaf = serde_json::from_slice(&entry.leaf).map_err(|error| corrupt("audit leaf", error))?;
    if leaf.version != 1 {
        let problem = format!("version {} is not one that this program reads", leaf.version);
        return Err(corrupt("audit leaf", problem));
    }
    let task = leaf
        .resource
        .filter(|resource| resource.kind == "task" && leaf.outcome == "done");
    let Some((task, version)) = task.and_then(|task| Some((task.id, task.version?))) else {
        return Ok(None);
    };
    // the last of these actions says where the task stands
    let state = leaf
        .actions
        .iter()
        .rev()
        .find_map(|action| match action.as_str() {
            "closed" if leaf.reason.is_some() => Some(StateName::Failed),
            "closed" => Some(StateName::Succeeded),
            "cancelled" => Some(StateName::Cancelled),
            "dead_lettered" => Some(StateName::DeadLettered),
            "held" => Some(StateName::Held),
            _ => None,
        });
    let Some(state) = state else {
        return Ok(None);
    };
    Ok(Some(Turn {
        tenant: leaf
            .tenant
            .parse()
            .map_err(|error| corrupt("audit leaf", error))?,
        task: task.parse().map_err(|error| corrupt("audit leaf", error))?,
        version,
        at: leaf.at.parse().map_err(|error| corrupt("audit leaf", error))?,
        state,
        reason: leaf.reason,
    }))
}
