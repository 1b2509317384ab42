//! A random call of an operation, made so that it changes nothing: a read, or a write that is refused after it was
//! authorised.

mod everybody;
mod tasks;
mod things;

use arbiter_core::model::Operation;
use serde_json::{Value, json};

use super::random::Random;
use super::world::{Someone, World};
use everybody::{policies, principals, queue, tenants};
use tasks::{tasks, work};
use things::{agents, artifacts, audit, hooks, schedules};

/// Operations that no call covers, each with its reason.
pub(super) const NOT_COVERED: &[(Operation, &str)] = &[(
    Operation::AuditRotate,
    "the interface has no call for it: it is a command on the machine",
)];

/// A revision that nothing reaches here.
const STALE: (&str, &str) = ("if-match", "\"4000000000\"");

/// A call, and what it is about.
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: Vec<u8>,
    /// What it is about, in the script's words.
    pub(super) on: Value,
    /// How the answer begins when it is allowed.
    pub(super) allowed: &'static str,
}

impl Call {
    fn new(method: &'static str, path: impl Into<String>, on: Value, allowed: &'static str) -> Self {
        Self {
            method,
            path: format!("/v1/{}", path.into()),
            headers: Vec::new(),
            body: Vec::new(),
            on,
            allowed,
        }
    }

    fn get(path: impl Into<String>, on: Value) -> Self {
        Self::new("GET", path, on, "200")
    }

    fn send(
        method: &'static str,
        path: impl Into<String>,
        body: &Value,
        on: Value,
        allowed: &'static str,
    ) -> Self {
        let mut call = Self::new(method, path, on, allowed);
        call.body = body.to_string().into_bytes();
        call.headers.push(("content-type", "application/json"));
        call
    }

    fn post(path: impl Into<String>, body: &Value, on: Value, allowed: &'static str) -> Self {
        Self::send("POST", path, body, on, allowed)
    }

    /// A change of a revision that the thing does not have.
    fn stale(method: &'static str, path: impl Into<String>, body: &Value, on: Value) -> Self {
        let mut call = Self::send(method, path, body, on, "412 precondition_failed");
        call.headers.push(STALE);
        call
    }
}

/// A random call of the operation by this caller; none when this one has no call that changes nothing.
pub(super) fn call(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Option<Call> {
    use Operation as O;
    let whole = || json!({"own": true});
    Some(match operation {
        O::TaskSubmit
        | O::TaskGet
        | O::TaskList
        | O::TaskWatch
        | O::TaskCancel
        | O::TaskRetry
        | O::TaskRelease
        | O::TaskDeadLetter
        | O::TaskRequeue
        | O::TaskCancelMany
        | O::TaskRequeueMany
        | O::TaskPurgeMany => tasks(random, world, by, operation),
        O::WorkClaim
        | O::WorkAcknowledge
        | O::WorkHeartbeat
        | O::WorkProgress
        | O::WorkReport
        | O::WorkFail
        | O::WorkDecline => return work(random, world, by, operation),
        O::AgentRegister
        | O::AgentList
        | O::AgentMode
        | O::AgentHeartbeat
        | O::AgentRemove
        | O::AgentLearn => agents(random, world, by, operation),
        O::RoutingRoute => {
            let task = json!({"kind": "analysis", "title": "who would get it"});
            Call::post("routing/route", &task, whole(), "200")
        }
        O::RoutingDecisions => Call::get("routing/decisions?limit=1", whole()),
        O::ArtifactGet | O::ArtifactPut | O::ArtifactList | O::ArtifactDelete => {
            artifacts(random, world, by, operation)
        }
        O::ScheduleCreate | O::ScheduleList | O::ScheduleUpdate | O::ScheduleDelete => {
            schedules(random, world, by, operation)
        }
        O::HookCreate | O::HookList | O::HookUpdate | O::HookDelete | O::HookReplay => {
            hooks(random, world, by, operation)
        }
        O::AuditQuery | O::AuditExport | O::AuditProof | O::AuditRedact => {
            audit(random, world, by, operation)
        }
        O::KeyCreate
        | O::KeyList
        | O::KeyRevoke
        | O::PrincipalCreate
        | O::PrincipalList
        | O::PrincipalUpdate => principals(random, world, by, operation),
        O::TenantCreate | O::TenantList | O::TenantUpdate | O::TenantDelete | O::TenantErase => {
            tenants(random, world, by, operation)
        }
        O::PolicyRead | O::PolicyActivate => policies(random, operation),
        O::QueuePause | O::QueueResume | O::QueueStatus => queue(random, world, by, operation),
        O::SystemStatus => Call::get("system/status", whole()),
        // No folder for backups is configured.
        O::SystemBackup => Call::post(
            "system/backup",
            &json!({}),
            json!({"everything": true}),
            "404 disabled",
        ),
        // See the list above.
        O::AuditRotate => return None,
    })
}
