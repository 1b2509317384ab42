//! From work as it is sent to an assignment.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{
    AgentId, ArtifactRef, DecisionId, Fence, Holder, Json, LaneKey, Lease, OpenAttempt, PrincipalId,
    SecurityLevel, Shape, State, StoredTask, Task, TaskKind, TaskSpec, Terms, Timestamp, TraceContext,
    Version, Work,
};
use arbiter_core::ports::{Assignment, BoxError};
use arbiter_wire::http::WorkView;
use arbiter_wire::task::ArtifactForm;

/// No lease is shorter, so that a clock that goes ahead of the server's does not make heartbeats race.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);

/// Work that this program does not understand: it was sent by a newer server.
#[derive(Debug, thiserror::Error)]
#[error("`{field}` of the work cannot be read")]
pub struct UnreadableWork {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub source: BoxError,
}

fn or<T, E: Into<BoxError>>(field: &'static str, result: Result<T, E>) -> Result<T, UnreadableWork> {
    result.map_err(|error| UnreadableWork {
        field,
        source: error.into(),
    })
}

/// The assignment of a claimed task, as it would look where it is stored. What agents are not told is empty: the
/// submitter, the decision, everything about reviews.
pub(super) fn assignment(
    work: &WorkView,
    agent: AgentId,
    now: Timestamp,
) -> Result<Assignment, UnreadableWork> {
    let spec = spec(work)?;
    let tenant = or("tenant", work.tenant.parse())?;
    let (fence, holder) = (Fence(work.fence), Holder::Agent(agent));
    let ends_at: Timestamp = or("ends_at", work.ends_at.parse())?;
    let until: Timestamp = or("lease_until", work.lease_until.parse())?;
    let since = now.min(until.minus(SHORTEST_LEASE));
    let lane = LaneKey {
        tenant,
        band: spec.priority.band(),
        work: Work::Attempt(Shape::of(&spec)),
    };
    let task = Task {
        id: or("task", work.task.parse())?,
        tenant,
        submitter: PrincipalId::from_bytes([0; 16]),
        lane: lane.id(),
        order_key: None,
        submitted_at: since,
        changed_at: since,
        terms: Terms {
            deadline: Some(ends_at),
            attempt_timeout: ends_at.since(now),
            ..Terms::of(&spec)
        },
        state: State::Running(Lease {
            holder,
            fence,
            until,
            loads: Vec::new(),
        }),
        version: Version(0),
        fence,
        attempts: work.attempt,
        returns: 0,
        losses: 0,
        lost_leases: 0,
        stage_errors: 0,
        attempt: Some(OpenAttempt {
            number: work.attempt,
            agent,
            fence,
            assigned_at: now,
            started_at: now,
            acknowledged_at: None,
            decision: DecisionId::from_bytes([0; 16]),
            rationale: Arc::from(""),
            not_enforced: None,
        }),
        result: None,
        avoid: Vec::new(),
        releases: Vec::new(),
        has_dependants: false,
        progress: None,
        last_command: None,
    };
    Ok(Assignment {
        stored: StoredTask {
            task,
            spec: Arc::new(spec),
        },
        to: holder,
        fence,
    })
}

fn spec(work: &WorkView) -> Result<TaskSpec, UnreadableWork> {
    let kind = or("kind", TaskKind::new(&work.kind))?;
    let mut spec = TaskSpec::new(kind, work.title.clone(), work.instructions.clone());
    if let Some(input) = &work.input {
        spec.input = Some(or("input", Json::parse(input.get()))?);
    }
    spec.artifacts = work
        .artifacts
        .iter()
        .map(artifact)
        .collect::<Result<_, UnreadableWork>>()?;
    spec.labels.clone_from(&work.labels);
    let unknown = || format!("`{}` is no security level", work.security);
    spec.security = or(
        "security",
        SecurityLevel::from_word(&work.security).ok_or_else(unknown),
    )?;
    // A trace that cannot be read is left out, as everywhere.
    spec.trace = work
        .traceparent
        .as_deref()
        .and_then(|text| TraceContext::parse(text).ok());
    Ok(spec)
}

fn artifact(form: &ArtifactForm) -> Result<ArtifactRef, UnreadableWork> {
    Ok(ArtifactRef {
        name: form.name.clone(),
        digest: or("artifacts.digest", form.digest.parse())?,
        size_bytes: form.size_bytes,
    })
}
