//! The changing part of a task: the hot row.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{
    CommandId, DeadReason, FailReason, Fence, HoldReason, Holder, LaneId, Lease, OpenAttempt, OrderKey,
    PrincipalId, Priority, Progress, Ratio, Release, Resume, State, Task, TaskId, TenantId, Terms, Timestamp,
    Version, Wait,
};
use serde::{Deserialize, Serialize};

use super::CodecError;
use super::common::{AmountsForm, at, micros, parse, value, version, word};
use super::lane::ratio;
use super::scope::{decode_scope, scope_key};
use super::spec::stage;

#[derive(Serialize, Deserialize)]
struct Form<'a> {
    v: u32,
    id: String,
    tenant: String,
    submitter: String,
    lane: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<i64>,
    submitted: i64,
    changed: i64,
    terms: TermsForm,
    state: StateForm,
    version: u64,
    fence: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    attempts: u16,
    #[serde(default, skip_serializing_if = "is_zero")]
    returns: u16,
    #[serde(default, skip_serializing_if = "is_zero")]
    losses: u16,
    #[serde(default, skip_serializing_if = "is_zero")]
    stage_errors: u16,
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    attempt: Option<OpenForm<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    avoid: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    releases: Vec<LeaseForm>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dependants: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
const fn is_zero(number: &u16) -> bool {
    *number == 0
}

#[derive(Serialize, Deserialize)]
struct TermsForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    timeout: u64,
    attempts: u16,
    #[serde(default, skip_serializing_if = "AmountsForm::is_empty")]
    budget: AmountsForm,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stages: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    hold: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<i64>,
    priority: u8,
}

#[derive(Serialize, Deserialize)]
enum StateForm {
    Ready,
    Until(i64),
    Prerequisites(u32),
    Assigned(LeaseForm),
    Running(LeaseForm),
    Reviewing(String, Option<LeaseForm>, Option<i64>),
    Held(String, Option<String>),
    Succeeded,
    Failed(String),
    Cancelled,
    Dead(String),
}

/// A lease, or a slot that outlives one. The holder is written as a scope: an agent or a node.
#[derive(Serialize, Deserialize)]
struct LeaseForm {
    holder: String,
    fence: u64,
    until: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    loads: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct OpenForm<'a> {
    number: u16,
    agent: String,
    fence: u64,
    assigned: i64,
    started: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acknowledged: Option<i64>,
    decision: String,
    #[serde(borrow)]
    why: std::borrow::Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct ProgressForm {
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fraction: Option<u32>,
    message: String,
}

/// Writes the changing part of a task.
///
/// # Errors
/// Never for a task that was made by this program.
pub fn encode_status(task: &Task) -> Result<String, CodecError> {
    let form = Form {
        v: 1,
        id: task.id.to_string(),
        tenant: task.tenant.to_string(),
        submitter: task.submitter.to_string(),
        lane: task.lane.0,
        key: task.order_key.map(|key| key.0),
        submitted: task.submitted_at.as_micros(),
        changed: task.changed_at.as_micros(),
        terms: encode_terms(&task.terms),
        state: encode_state(&task.state),
        version: task.version.0,
        fence: task.fence.0,
        attempts: task.attempts,
        returns: task.returns,
        losses: task.losses,
        stage_errors: task.stage_errors,
        attempt: task.attempt.as_ref().map(encode_open),
        result: task.result.map(|fence| fence.0),
        avoid: task.avoid.iter().map(ToString::to_string).collect(),
        releases: task.releases.iter().map(encode_release).collect(),
        dependants: task.has_dependants,
        progress: task.progress.as_ref().map(|told| ProgressForm {
            at: told.at.as_micros(),
            fraction: told.fraction.map(Ratio::millionths),
            message: told.message.clone(),
        }),
        command: task.last_command.map(|command| command.to_string()),
    };
    Ok(serde_json::to_string(&form)?)
}

/// Reads the changing part of a task.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_status(text: &str) -> Result<Task, CodecError> {
    let form: Form<'_> = serde_json::from_str(text)?;
    version(form.v, 1)?;
    Ok(Task {
        id: parse::<TaskId>("task id", &form.id)?,
        tenant: parse::<TenantId>("tenant id", &form.tenant)?,
        submitter: parse::<PrincipalId>("principal id", &form.submitter)?,
        lane: LaneId(form.lane),
        order_key: form.key.map(OrderKey),
        submitted_at: at(form.submitted),
        changed_at: at(form.changed),
        terms: decode_terms(&form.terms)?,
        state: decode_state(form.state)?,
        version: Version(form.version),
        fence: Fence(form.fence),
        attempts: form.attempts,
        returns: form.returns,
        losses: form.losses,
        stage_errors: form.stage_errors,
        attempt: form.attempt.map(decode_open).transpose()?,
        result: form.result.map(Fence),
        avoid: form
            .avoid
            .iter()
            .map(|text| parse("agent id", text))
            .collect::<Result<_, _>>()?,
        releases: form
            .releases
            .into_iter()
            .map(decode_release)
            .collect::<Result<_, _>>()?,
        has_dependants: form.dependants,
        progress: match form.progress {
            Some(told) => Some(Progress {
                at: at(told.at),
                fraction: told.fraction.map(ratio).transpose()?,
                message: told.message,
            }),
            None => None,
        },
        last_command: form
            .command
            .map(|text| parse::<CommandId>("command id", &text))
            .transpose()?,
    })
}

fn encode_terms(terms: &Terms) -> TermsForm {
    TermsForm {
        deadline: terms.deadline.map(Timestamp::as_micros),
        timeout: micros(terms.attempt_timeout),
        attempts: terms.max_attempts,
        budget: (&terms.budget).into(),
        stages: terms.stages.iter().map(|stage| stage.word().to_owned()).collect(),
        hold: terms.hold_on_prerequisite_failure,
        not_before: terms.not_before.map(Timestamp::as_micros),
        priority: terms.priority.get(),
    }
}

fn decode_terms(form: &TermsForm) -> Result<Terms, CodecError> {
    Ok(Terms {
        deadline: form.deadline.map(at),
        attempt_timeout: Duration::from_micros(form.timeout),
        max_attempts: form.attempts,
        budget: form.budget.budget(),
        stages: form
            .stages
            .iter()
            .map(|word| stage(word))
            .collect::<Result<_, _>>()?,
        hold_on_prerequisite_failure: form.hold,
        not_before: form.not_before.map(at),
        priority: Priority::new(form.priority).map_err(|_| value("priority", form.priority))?,
    })
}

fn encode_state(state: &State) -> StateForm {
    match state {
        State::Queued { wait: Wait::Ready } => StateForm::Ready,
        State::Queued {
            wait: Wait::Until(at),
        } => StateForm::Until(at.as_micros()),
        State::Queued {
            wait: Wait::Prerequisites(open),
        } => StateForm::Prerequisites(*open),
        State::Assigned(lease) => StateForm::Assigned(encode_lease(lease)),
        State::Running(lease) => StateForm::Running(encode_lease(lease)),
        State::Reviewing {
            stage,
            lease,
            not_before,
        } => StateForm::Reviewing(
            stage.word().to_owned(),
            lease.as_ref().map(encode_lease),
            not_before.map(Timestamp::as_micros),
        ),
        State::Held { reason, resume } => {
            let resume = match resume {
                Resume::Queue => None,
                Resume::Stage(at) => Some(at.word().to_owned()),
            };
            StateForm::Held(reason.word().to_owned(), resume)
        }
        State::Succeeded => StateForm::Succeeded,
        State::Failed { reason } => StateForm::Failed(reason.word().to_owned()),
        State::Cancelled => StateForm::Cancelled,
        State::DeadLettered { reason } => StateForm::Dead(reason.word().to_owned()),
    }
}

fn decode_state(form: StateForm) -> Result<State, CodecError> {
    Ok(match form {
        StateForm::Ready => State::Queued { wait: Wait::Ready },
        StateForm::Until(micros) => State::Queued {
            wait: Wait::Until(at(micros)),
        },
        StateForm::Prerequisites(open) => State::Queued {
            wait: Wait::Prerequisites(open),
        },
        StateForm::Assigned(lease) => State::Assigned(decode_lease(lease)?),
        StateForm::Running(lease) => State::Running(decode_lease(lease)?),
        StateForm::Reviewing(name, lease, not_before) => State::Reviewing {
            stage: stage(&name)?,
            lease: lease.map(decode_lease).transpose()?,
            not_before: not_before.map(at),
        },
        StateForm::Held(reason, resume) => State::Held {
            reason: word("hold reason", &reason, HoldReason::from_word)?,
            resume: match resume {
                Some(name) => Resume::Stage(stage(&name)?),
                None => Resume::Queue,
            },
        },
        StateForm::Succeeded => State::Succeeded,
        StateForm::Failed(reason) => State::Failed {
            reason: word("fail reason", &reason, FailReason::from_word)?,
        },
        StateForm::Cancelled => State::Cancelled,
        StateForm::Dead(reason) => State::DeadLettered {
            reason: word("dead-letter reason", &reason, DeadReason::from_word)?,
        },
    })
}

fn encode_holder(holder: Holder) -> String {
    use arbiter_core::ports::Scope;
    match holder {
        Holder::Agent(agent) => scope_key(&Scope::Agent(agent)),
        Holder::Node(node) => scope_key(&Scope::Node(node)),
    }
}

fn decode_holder(text: &str) -> Result<Holder, CodecError> {
    use arbiter_core::ports::Scope;
    match decode_scope(text)? {
        Scope::Agent(agent) => Ok(Holder::Agent(agent)),
        Scope::Node(node) => Ok(Holder::Node(node)),
        Scope::Tenant(_) | Scope::TenantKind(..) => Err(value("holder", text)),
    }
}

fn encode_lease(lease: &Lease) -> LeaseForm {
    LeaseForm {
        holder: encode_holder(lease.holder),
        fence: lease.fence.0,
        until: lease.until.as_micros(),
        loads: lease.loads.iter().map(scope_key).collect(),
    }
}

fn decode_lease(form: LeaseForm) -> Result<Lease, CodecError> {
    Ok(Lease {
        holder: decode_holder(&form.holder)?,
        fence: Fence(form.fence),
        until: at(form.until),
        loads: form
            .loads
            .iter()
            .map(|key| decode_scope(key))
            .collect::<Result<_, _>>()?,
    })
}

fn encode_release(release: &Release) -> LeaseForm {
    LeaseForm {
        holder: encode_holder(release.holder),
        fence: release.fence.0,
        until: release.until.as_micros(),
        loads: release.loads.iter().map(scope_key).collect(),
    }
}

fn decode_release(form: LeaseForm) -> Result<Release, CodecError> {
    let Lease {
        holder,
        fence,
        until,
        loads,
    } = decode_lease(form)?;
    Ok(Release {
        fence,
        holder,
        until,
        loads,
    })
}

pub(super) fn encode_open(open: &OpenAttempt) -> OpenForm<'_> {
    OpenForm {
        number: open.number,
        agent: open.agent.to_string(),
        fence: open.fence.0,
        assigned: open.assigned_at.as_micros(),
        started: open.started_at.as_micros(),
        acknowledged: open.acknowledged_at.map(Timestamp::as_micros),
        decision: open.decision.to_string(),
        why: open.rationale.as_ref().into(),
    }
}

pub(super) fn decode_open(form: OpenForm<'_>) -> Result<OpenAttempt, CodecError> {
    Ok(OpenAttempt {
        number: form.number,
        agent: parse("agent id", &form.agent)?,
        fence: Fence(form.fence),
        assigned_at: at(form.assigned),
        started_at: at(form.started),
        acknowledged_at: form.acknowledged.map(at),
        decision: parse("decision id", &form.decision)?,
        rationale: Arc::from(form.why.as_ref()),
    })
}
