//! The changing part of a task: the hot row.
//!
//! It is read and written with every transition, so keys are short, ids are 32 hexadecimal digits, and a field at its
//! usual value is left out.

use std::borrow::Cow;
use std::sync::Arc;

use arbiter_core::model::{
    AgentId, Budget, CommandId, DeadReason, DecisionId, FailReason, Fence, HoldReason, LaneId, Lease,
    OpenAttempt, OrderKey, PrincipalId, Priority, Progress, Ratio, Release, Resume, Stage, State, StateName,
    Task, TaskId, TenantId, Terms, Timestamp, Version, Wait,
};
use serde::{Deserialize, Serialize};

use super::CodecError;
use super::common::{at, value, version, word};
use super::lane::ratio;
use super::primitive::{Id, Span};
use super::spec::stage;
use super::token::{HolderToken, ScopeToken};

#[derive(Serialize, Deserialize)]
struct Form<'a> {
    v: u32,
    id: Id,
    #[serde(rename = "in")]
    tenant: Id,
    #[serde(rename = "by")]
    submitter: Id,
    lane: i64,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    order_key: Option<i64>,
    #[serde(rename = "t0")]
    submitted: i64,
    #[serde(rename = "t")]
    changed: i64,
    #[serde(rename = "c", borrow)]
    terms: TermsForm<'a>,
    /// The state's word; the six fields below belong to it.
    #[serde(rename = "s", borrow)]
    state: Cow<'a, str>,
    /// The moment that a queued or reviewing task waits for.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    /// How many prerequisites a queued task waits for.
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    open: Option<u32>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    lease: Option<LeaseForm>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    stage: Option<Cow<'a, str>>,
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'a, str>>,
    #[serde(rename = "n")]
    version: u64,
    #[serde(rename = "f", default, skip_serializing_if = "is_default")]
    fence: u64,
    #[serde(rename = "a", default, skip_serializing_if = "is_default")]
    attempts: u16,
    #[serde(rename = "r", default, skip_serializing_if = "is_default")]
    returns: u16,
    #[serde(rename = "m", default, skip_serializing_if = "is_default")]
    losses: u16,
    /// Absent in what was written before it was counted: such a task is tried again at once a second time.
    #[serde(rename = "b", default, skip_serializing_if = "is_default")]
    lost_leases: u16,
    #[serde(rename = "e", default, skip_serializing_if = "is_default")]
    stage_errors: u16,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none", borrow)]
    attempt: Option<OpenForm<'a>>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    result: Option<u64>,
    #[serde(rename = "i", default, skip_serializing_if = "Vec::is_empty")]
    avoid: Vec<Id>,
    #[serde(rename = "z", default, skip_serializing_if = "Vec::is_empty")]
    releases: Vec<LeaseForm>,
    #[serde(rename = "h", default, skip_serializing_if = "is_default")]
    dependants: bool,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressForm<'a>>,
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    command: Option<Id>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Serialize, Deserialize)]
struct TermsForm<'a> {
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    #[serde(rename = "t")]
    timeout: Span,
    #[serde(rename = "a")]
    attempts: u16,
    /// Files, lines, tokens, cost.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    budget: Option<[Option<u64>; 4]>,
    #[serde(rename = "g", default, skip_serializing_if = "Vec::is_empty")]
    stages: Vec<Cow<'a, str>>,
    #[serde(rename = "h", default, skip_serializing_if = "is_default")]
    hold: bool,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    not_before: Option<i64>,
    #[serde(rename = "p")]
    priority: u8,
}

/// A lease, or a slot that outlives one.
#[derive(Serialize, Deserialize)]
struct LeaseForm {
    #[serde(rename = "h")]
    holder: HolderToken,
    #[serde(rename = "f")]
    fence: u64,
    #[serde(rename = "u")]
    until: i64,
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    loads: Vec<ScopeToken>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct OpenForm<'a> {
    #[serde(rename = "n")]
    number: u16,
    #[serde(rename = "a")]
    agent: Id,
    #[serde(rename = "f")]
    fence: u64,
    #[serde(rename = "t")]
    assigned: i64,
    #[serde(rename = "b")]
    started: i64,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    acknowledged: Option<i64>,
    #[serde(rename = "d")]
    decision: Id,
    #[serde(rename = "y", borrow)]
    why: Cow<'a, str>,
    #[serde(rename = "ne", default, skip_serializing_if = "Option::is_none")]
    not_enforced: Option<Cow<'a, [String]>>,
}

#[derive(Serialize, Deserialize)]
struct ProgressForm<'a> {
    #[serde(rename = "t")]
    at: i64,
    /// In millionths.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    fraction: Option<u32>,
    #[serde(rename = "m")]
    message: Cow<'a, str>,
}

/// Writes the changing part of a task.
///
/// # Errors
/// Never for a task that was made by this program.
pub fn encode_status(task: &Task) -> Result<String, CodecError> {
    let (until, open, stage, reason) = state_parts(&task.state);
    let form = Form {
        v: 1,
        id: Id(*task.id.as_bytes()),
        tenant: Id(*task.tenant.as_bytes()),
        submitter: Id(*task.submitter.as_bytes()),
        lane: task.lane.0,
        order_key: task.order_key.map(|key| key.0),
        submitted: task.submitted_at.as_micros(),
        changed: task.changed_at.as_micros(),
        terms: encode_terms(&task.terms),
        state: Cow::Borrowed(task.state.name().word()),
        until,
        open,
        lease: task.state.lease().map(encode_lease),
        stage: stage.map(|stage| Cow::Borrowed(stage.word())),
        reason: reason.map(Cow::Borrowed),
        version: task.version.0,
        fence: task.fence.0,
        attempts: task.attempts,
        returns: task.returns,
        losses: task.losses,
        lost_leases: task.lost_leases,
        stage_errors: task.stage_errors,
        attempt: task.attempt.as_ref().map(encode_open),
        result: task.result.map(|fence| fence.0),
        avoid: task.avoid.iter().map(|agent| Id(*agent.as_bytes())).collect(),
        releases: task.releases.iter().map(encode_release).collect(),
        dependants: task.has_dependants,
        progress: task.progress.as_ref().map(|told| ProgressForm {
            at: told.at.as_micros(),
            fraction: told.fraction.map(Ratio::millionths),
            message: Cow::Borrowed(&told.message),
        }),
        command: task.last_command.map(|command| Id(*command.as_bytes())),
    };
    let mut bytes = Vec::with_capacity(768);
    serde_json::to_writer(&mut bytes, &form)?;
    String::from_utf8(bytes).map_err(|_| value("status", "text that is not UTF-8"))
}

/// Reads the changing part of a task.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_status(text: &str) -> Result<Task, CodecError> {
    let mut form: Form<'_> = match serde_json::from_str(text) {
        Ok(form) => form,
        // a newer version may have another form, which is no damage
        Err(error) => {
            let probe: Result<Probe, _> = serde_json::from_str(text);
            version(probe.map_or(1, |probe| probe.v), 1)?;
            return Err(error.into());
        }
    };
    version(form.v, 1)?;
    Ok(Task {
        state: decode_state(&mut form)?,
        id: TaskId::from_bytes(form.id.0),
        tenant: TenantId::from_bytes(form.tenant.0),
        submitter: PrincipalId::from_bytes(form.submitter.0),
        lane: LaneId(form.lane),
        order_key: form.order_key.map(OrderKey),
        submitted_at: at(form.submitted),
        changed_at: at(form.changed),
        terms: decode_terms(&form.terms)?,
        version: Version(form.version),
        fence: Fence(form.fence),
        attempts: form.attempts,
        returns: form.returns,
        losses: form.losses,
        lost_leases: form.lost_leases,
        stage_errors: form.stage_errors,
        attempt: form.attempt.map(decode_open),
        result: form.result.map(Fence),
        avoid: form
            .avoid
            .into_iter()
            .map(|id| AgentId::from_bytes(id.0))
            .collect(),
        releases: form.releases.into_iter().map(decode_release).collect(),
        has_dependants: form.dependants,
        progress: match form.progress {
            Some(told) => Some(Progress {
                at: at(told.at),
                fraction: told.fraction.map(ratio).transpose()?,
                message: told.message.into_owned(),
            }),
            None => None,
        },
        last_command: form.command.map(|id| CommandId::from_bytes(id.0)),
    })
}

#[derive(Deserialize)]
struct Probe {
    v: u32,
}

fn encode_terms(terms: &Terms) -> TermsForm<'static> {
    let budget = terms.budget;
    TermsForm {
        deadline: terms.deadline.map(Timestamp::as_micros),
        timeout: Span(terms.attempt_timeout),
        attempts: terms.max_attempts,
        budget: (budget != Budget::default()).then_some([
            budget.files,
            budget.lines,
            budget.tokens,
            budget.cost_micros,
        ]),
        stages: terms
            .stages
            .iter()
            .map(|stage| Cow::Borrowed(stage.word()))
            .collect(),
        hold: terms.hold_on_prerequisite_failure,
        not_before: terms.not_before.map(Timestamp::as_micros),
        priority: terms.priority.get(),
    }
}

fn decode_terms(form: &TermsForm<'_>) -> Result<Terms, CodecError> {
    let [files, lines, tokens, cost_micros] = form.budget.unwrap_or_default();
    Ok(Terms {
        deadline: form.deadline.map(at),
        attempt_timeout: form.timeout.0,
        max_attempts: form.attempts,
        budget: Budget {
            files,
            lines,
            tokens,
            cost_micros,
        },
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

type Parts = (Option<i64>, Option<u32>, Option<Stage>, Option<&'static str>);

/// What stands beside the word of a state: moment, count, stage, reason.
fn state_parts(state: &State) -> Parts {
    match state {
        State::Queued {
            wait: Wait::Until(at),
        } => (Some(at.as_micros()), None, None, None),
        State::Queued {
            wait: Wait::Prerequisites(open),
        } => (None, Some(*open), None, None),
        State::Reviewing {
            stage, not_before, ..
        } => (not_before.map(Timestamp::as_micros), None, Some(*stage), None),
        State::Held {
            reason,
            resume: Resume::Stage(next),
        } => (None, None, Some(*next), Some(reason.word())),
        state => (None, None, None, state.reason()),
    }
}

fn decode_state(form: &mut Form<'_>) -> Result<State, CodecError> {
    let missing = |what| move || value(what, "none");
    let lease = form.lease.take().map(decode_lease);
    let at_stage = form.stage.as_deref().map(stage).transpose()?;
    let reason = form.reason.as_deref().unwrap_or_default();
    Ok(match word("state", &form.state, StateName::from_word)? {
        StateName::Queued => State::Queued {
            wait: match (form.until, form.open) {
                (Some(until), _) => Wait::Until(at(until)),
                (None, Some(open)) => Wait::Prerequisites(open),
                (None, None) => Wait::Ready,
            },
        },
        StateName::Assigned => State::Assigned(lease.ok_or_else(missing("lease"))?),
        StateName::Running => State::Running(lease.ok_or_else(missing("lease"))?),
        StateName::Reviewing => State::Reviewing {
            stage: at_stage.ok_or_else(missing("stage"))?,
            lease,
            not_before: form.until.map(at),
        },
        StateName::Held => State::Held {
            reason: word("hold reason", reason, HoldReason::from_word)?,
            resume: at_stage.map_or(Resume::Queue, Resume::Stage),
        },
        StateName::Succeeded => State::Succeeded,
        StateName::Failed => State::Failed {
            reason: word("fail reason", reason, FailReason::from_word)?,
        },
        StateName::Cancelled => State::Cancelled,
        StateName::DeadLettered => State::DeadLettered {
            reason: word("dead-letter reason", reason, DeadReason::from_word)?,
        },
    })
}

fn encode_lease(lease: &Lease) -> LeaseForm {
    LeaseForm {
        holder: HolderToken(lease.holder),
        fence: lease.fence.0,
        until: lease.until.as_micros(),
        loads: lease.loads.iter().cloned().map(ScopeToken).collect(),
    }
}

fn decode_lease(form: LeaseForm) -> Lease {
    Lease {
        holder: form.holder.0,
        fence: Fence(form.fence),
        until: at(form.until),
        loads: form.loads.into_iter().map(|token| token.0).collect(),
    }
}

fn encode_release(release: &Release) -> LeaseForm {
    LeaseForm {
        holder: HolderToken(release.holder),
        fence: release.fence.0,
        until: release.until.as_micros(),
        loads: release.loads.iter().cloned().map(ScopeToken).collect(),
    }
}

fn decode_release(form: LeaseForm) -> Release {
    let Lease {
        holder,
        fence,
        until,
        loads,
    } = decode_lease(form);
    Release {
        fence,
        holder,
        until,
        loads,
    }
}

pub(super) fn encode_open(open: &OpenAttempt) -> OpenForm<'_> {
    OpenForm {
        number: open.number,
        agent: Id(*open.agent.as_bytes()),
        fence: open.fence.0,
        assigned: open.assigned_at.as_micros(),
        started: open.started_at.as_micros(),
        acknowledged: open.acknowledged_at.map(Timestamp::as_micros),
        decision: Id(*open.decision.as_bytes()),
        why: open.rationale.as_ref().into(),
        not_enforced: open.not_enforced.as_deref().map(Cow::Borrowed),
    }
}

pub(super) fn decode_open(form: OpenForm<'_>) -> OpenAttempt {
    OpenAttempt {
        number: form.number,
        agent: AgentId::from_bytes(form.agent.0),
        fence: Fence(form.fence),
        assigned_at: at(form.assigned),
        started_at: at(form.started),
        acknowledged_at: form.acknowledged.map(at),
        decision: DecisionId::from_bytes(form.decision.0),
        rationale: Arc::from(form.why.as_ref()),
        not_enforced: form.not_enforced.map(Cow::into_owned),
    }
}
