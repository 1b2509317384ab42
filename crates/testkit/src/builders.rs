//! Values with sane defaults, to be changed where a test needs it, and ids that are easy to tell apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arbiter_core::lifecycle::{Command, Expect};
use arbiter_core::model::{
    AgentCost, AgentId, AgentProfile, Band, BatchId, Capabilities, CommandId, ComponentName, DecisionId,
    Digest, Failure, FailureClass, FailureKind, Fence, Holder, IncidentId, IncidentState, IncidentSummary,
    Json, LaneKey, NodeId, Operation, OperationId, OutboxId, Principal, PrincipalId, PrincipalKind,
    RecordDraft, Report, Role, SecurityLevel, Severity, Shape, SilenceId, TaskId, TaskKind, TaskSpec,
    TenantId, Timestamp, Transport, Usage, Work,
};
use arbiter_core::ports::{
    Draw, Effects, Idempotency, IncidentNotice, LeaseRef, NewOutboxEntry, NewTask, NoticeStep, SubmitRequest,
    Transition,
};

macro_rules! ids {
    ($($name:ident -> $id:ident = $sort:literal),+ $(,)?) => {
        $(
            #[doc = concat!("The [`", stringify!($id), "`] with this number; a higher number is a greater id.")]
            pub const fn $name(number: u64) -> $id {
                $id::from_bytes(numbered($sort, number))
            }
        )+
    };
}

ids! {
    task -> TaskId = 1,
    tenant -> TenantId = 2,
    principal -> PrincipalId = 3,
    agent -> AgentId = 4,
    node -> NodeId = 5,
    command -> CommandId = 6,
    batch -> BatchId = 7,
    outbox -> OutboxId = 8,
    decision -> DecisionId = 9,
    incident -> IncidentId = 10,
    operation -> OperationId = 11,
    silence -> SilenceId = 12,
}

/// A UUID of version 7 that names its sort, so that equal numbers of two sorts differ; the last seven bytes are the
/// number.
const fn numbered(sort: u8, number: u64) -> [u8; 16] {
    let mut bytes = *b"\x01\x9b\x00\x00\x00\x00\x70\x00\x80\0\0\0\0\0\0\0";
    bytes[7] = sort;
    let number = number.to_be_bytes();
    let mut at = 1;
    while at < 8 {
        bytes[at + 8] = number[at];
        at += 1;
    }
    bytes
}

/// The kind of task that the builders use: `analysis`.
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "the word is a built-in kind"
)]
pub fn kind() -> TaskKind {
    TaskKind::new("analysis").expect("a built-in kind")
}

/// The component with this name.
///
/// # Panics
/// If the text does not name one.
#[expect(clippy::expect_used, reason = "tests pass literals")]
pub fn component(name: &str) -> ComponentName {
    ComponentName::new(name).expect("the name of a component")
}

/// An open incident of high severity: the component `store` could not be reached, three times, one minute after the
/// epoch.
pub fn incident_summary(number: u64) -> IncidentSummary {
    let at = Timestamp::from_micros(60_000_000);
    IncidentSummary {
        id: incident(number),
        title: "store: could not be reached 3 times in 5 minutes".to_owned(),
        component: component("store"),
        kind: FailureKind::Connection,
        severity: Severity::High,
        state: IncidentState::Open,
        opened_at: at,
        last_failure_at: at,
        failures: 3,
        details: vec![("error".to_owned(), "connection refused".to_owned())],
        links: vec![(
            "Incident".to_owned(),
            "https://arbiter.example/incidents/1".to_owned(),
        )],
    }
}

/// A step of [`incident_summary`].
pub fn notice(number: u64, step: NoticeStep) -> IncidentNotice {
    let mut incident = incident_summary(number);
    incident.state = match step {
        NoticeStep::Open | NoticeStep::Update => IncidentState::Open,
        NoticeStep::Acknowledge => IncidentState::Acknowledged,
        NoticeStep::Resolve => IncidentState::Resolved,
    };
    IncidentNotice {
        id: format!("notice-{number}-{}", step.word()),
        step,
        key: format!("arbiter/incident-{number}"),
        at: incident.opened_at,
        incident,
        why: "a test".to_owned(),
        reference: None,
    }
}

/// JSON of a text that is known to be valid.
///
/// # Panics
/// If it is not.
#[expect(clippy::expect_used, reason = "tests pass literals")]
pub fn json(text: &str) -> Json {
    Json::parse(text).expect("valid JSON")
}

/// A specification with every optional part at its default.
pub fn spec() -> TaskSpec {
    TaskSpec::new(kind(), "Count the words", "Count the words of the input.")
}

/// A task to submit: numbered id and command, tenant 1, submitter 1, [`spec`], no idempotency key, no limit.
pub fn new_task(number: u64) -> NewTask {
    new_task_with(number, |_| {})
}

/// [`new_task`] with a changed specification.
pub fn new_task_with(number: u64, change: impl FnOnce(&mut TaskSpec)) -> NewTask {
    let mut spec = spec();
    change(&mut spec);
    NewTask {
        id: task(number),
        command: command(number),
        tenant: tenant(1),
        submitter: principal(1),
        spec: Arc::new(spec),
        idempotency: None,
        open_limit: None,
        effects: Effects::of(RecordDraft::by(principal(1), Operation::TaskSubmit)),
    }
}

/// An idempotency key with the fingerprint of `content`.
pub fn idempotency(key: &str, content: &str) -> Idempotency {
    Idempotency {
        key: key.to_owned(),
        fingerprint: Digest::of(content.as_bytes()),
    }
}

/// A submit in which each task stands for itself.
pub fn submit_each(tasks: impl Into<Vec<NewTask>>) -> SubmitRequest {
    SubmitRequest {
        tasks: tasks.into(),
        all_or_nothing: false,
    }
}

/// A submit of all or nothing.
pub fn submit_all(tasks: impl Into<Vec<NewTask>>) -> SubmitRequest {
    SubmitRequest {
        tasks: tasks.into(),
        all_or_nothing: true,
    }
}

/// The lane in which agents find a task.
pub fn lane_of(new: &NewTask) -> LaneKey {
    LaneKey {
        tenant: new.tenant,
        band: new.spec.priority.band(),
        work: Work::Attempt(Shape::of(&new.spec)),
    }
}

/// A transition of a task of tenant 1 that expects nothing, named by a numbered command.
pub fn transition(number: u64, task: TaskId, action: Command) -> Transition {
    Transition {
        command: command(number),
        task,
        tenant: tenant(1),
        expect: Expect::Any,
        action,
        effects: Effects::of(RecordDraft {
            principal: Some(principal(1)),
            ..RecordDraft::default()
        }),
    }
}

/// A transition that the holder of a lease asks for.
pub fn leased(number: u64, task: TaskId, fence: Fence, holder: Holder, action: Command) -> Transition {
    Transition {
        expect: Expect::Lease { fence, holder },
        ..transition(number, task, action)
    }
}

/// A heartbeat that tells nothing, for a task of tenant 1.
pub fn lease_ref(task: TaskId, fence: Fence, holder: Holder) -> LeaseRef {
    LeaseRef {
        task,
        tenant: tenant(1),
        fence,
        holder,
        progress: None,
        usage: None,
        not_enforced: None,
    }
}

/// A report with an output and no usage.
pub fn report() -> Report {
    Report {
        output: Some(json("{\"words\":3}")),
        ..Report::default()
    }
}

/// A failure that the agent tells.
pub fn failure() -> Failure {
    Failure {
        class: FailureClass::Agent,
        code: None,
        message: "could not do it".to_owned(),
        usage: Usage::default(),
        not_enforced: None,
    }
}

/// An entry for outside.
pub fn outbox_entry(number: u64, topic: &str) -> NewOutboxEntry {
    NewOutboxEntry {
        id: outbox(number),
        topic: topic.to_owned(),
        about: Some((tenant(1), Some(task(number)))),
        body: json("{\"told\":true}"),
    }
}

/// A draw of one from a bucket of 10 per second and 3 at once.
pub fn draw(bucket: &str) -> Draw {
    Draw {
        bucket: bucket.to_owned(),
        per_second: 10,
        burst: 3,
        cost: 1,
    }
}

/// A pulling agent of tenant 1 with one slot that does [`kind`].
pub fn profile(number: u64) -> AgentProfile {
    AgentProfile {
        id: agent(number),
        tenant: Some(tenant(1)),
        name: format!("agent {number}"),
        model_family: "none".to_owned(),
        model_version: None,
        capabilities: Capabilities {
            kinds: BTreeSet::from([kind()]),
            ..Capabilities::default()
        },
        transport: Transport::Pull,
        slots: 1,
        clearance: SecurityLevel::Internal,
        cost: AgentCost::default(),
        labels: BTreeMap::new(),
    }
}

/// A person of tenant 1 with these roles.
pub fn user(number: u64, roles: impl IntoIterator<Item = Role>) -> Principal {
    Principal {
        id: principal(number),
        tenant: tenant(1),
        kind: PrincipalKind::User,
        roles: roles.into_iter().collect(),
        agent: None,
        kinds: None,
        highest_band: Band::HIGHEST,
    }
}

/// The principal of an agent of tenant 1.
pub fn agent_principal(number: u64, of: AgentId) -> Principal {
    Principal {
        kind: PrincipalKind::Agent,
        agent: Some(of),
        ..user(number, [Role::Agent])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_ids_rise_and_are_version_7() {
        assert!(task(1) < task(2) && task(255) < task(256) && task(65_535) < task(65_536));
        assert!(tenant(0) != TenantId::SYSTEM);
        assert_eq!(task(0x0102).to_string(), "019b0000-0000-7001-8000-000000000102");
        assert_ne!(task(1).as_bytes(), tenant(1).as_bytes());
    }

    #[test]
    fn the_default_profile_keeps_the_rules() {
        assert_eq!(profile(1).validate(), Ok(()));
    }
}
