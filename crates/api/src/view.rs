//! From the model to its JSON form: the same for the interface and for commands on the local store.

mod bulk;
mod erasures;
mod hooks;
mod period;
mod policies;
mod principals;
mod queue;
mod schedules;
mod spec;
mod tenants;

use arbiter_core::model::{
    AgentBeat, ArtifactRef, Attempt, AttemptEnd, Holder, Progress, Ratio, RegisteredAgent, SecurityLevel,
    State, StoredTask, Timestamp, Usage, Wait,
};
use arbiter_core::ports::TaskHistory;
use arbiter_orchestration::Pulled;
use arbiter_wire::http::{
    AgentRecordView, AgentView, AttemptView, BeatView, HistoryView, KindPerformanceView, PerformanceView,
    ProgressView, RecordSumsView, StageView, TaskView, UsageForm, WorkView,
};
use arbiter_wire::task::ArtifactForm;
use serde_json::value::RawValue;

pub use bulk::bulk;
pub use erasures::erasure;
pub use hooks::{delivery, hook, hook_event, hook_secret};
pub use period::period;
pub use policies::{policies, policy_set};
pub use principals::{key, principal};
pub use queue::{pause, queue_status};
pub use schedules::{instants, schedule};
pub use tenants::tenant;

/// How often an agent should be heard of.
pub(crate) const HEARTBEAT: std::time::Duration = std::time::Duration::from_secs(15);

/// A task as it stands.
pub fn task(stored: &StoredTask) -> TaskView {
    let (task, spec) = (&stored.task, &stored.spec);
    TaskView {
        id: task.id.to_string(),
        tenant: task.tenant.to_string(),
        submitter: task.submitter.to_string(),
        kind: spec.kind.as_str().to_owned(),
        title: spec.title.clone(),
        priority: spec.priority.get(),
        security: security(spec.security).to_owned(),
        labels: spec.labels.clone(),
        state: task.state.name().word().to_owned(),
        reason: task.state.reason().map(str::to_owned),
        waits_for: waits_for(&task.state),
        version: task.version.0,
        attempts: task.attempts,
        agent: task.state.lease().and_then(|lease| match lease.holder {
            Holder::Agent(agent) => Some(agent.to_string()),
            Holder::Node(_) => None,
        }),
        submitted_at: task.submitted_at.to_string(),
        changed_at: task.changed_at.to_string(),
        deadline: task.terms.deadline.map(|at| at.to_string()),
        progress: task.progress.as_ref().map(progress),
        spec: None,
    }
}

/// The same with what was asked.
pub(crate) fn whole_task(stored: &StoredTask) -> TaskView {
    TaskView {
        spec: Some(Box::new(spec::view(&stored.spec))),
        ..task(stored)
    }
}

fn progress(told: &Progress) -> ProgressView {
    ProgressView {
        at: told.at.to_string(),
        fraction: told.fraction.map(Ratio::get),
        message: told.message.clone(),
    }
}

fn waits_for(state: &State) -> Option<String> {
    match state {
        State::Queued {
            wait: Wait::Until(at),
        } => Some(format!("until {at}")),
        State::Queued {
            wait: Wait::Prerequisites(count),
        } => Some(format!("{count} prerequisites")),
        _ => None,
    }
}

pub(crate) fn security(level: SecurityLevel) -> &'static str {
    level.word()
}

/// The finished attempts and stage reports of a task.
pub fn history(history: &TaskHistory) -> HistoryView {
    HistoryView {
        attempts: history.attempts.iter().map(attempt).collect(),
        stages: history
            .stages
            .iter()
            .map(|report| StageView {
                stage: report.stage.word().to_owned(),
                fence: report.fence.0,
                at: report.at.to_string(),
                outcome: report.outcome.word().to_owned(),
                schema: report.schema.clone(),
            })
            .collect(),
    }
}

fn attempt(attempt: &Attempt) -> AttemptView {
    let (outcome, message) = match &attempt.outcome {
        AttemptEnd::Reported(_) => ("reported", None),
        AttemptEnd::Failed(failure) => (failure.class.word(), Some(failure.message.clone())),
        AttemptEnd::Lost => (
            "lost",
            Some("the lease ended without a word from the agent".to_owned()),
        ),
        AttemptEnd::Returned { why } => ("returned", Some(why.clone())),
        AttemptEnd::Ended { why } => ("ended", Some(why.clone())),
    };
    let report = match &attempt.outcome {
        AttemptEnd::Reported(report) => Some(report),
        _ => None,
    };
    AttemptView {
        number: attempt.open.number,
        agent: attempt.open.agent.to_string(),
        fence: attempt.open.fence.0,
        assigned_at: attempt.open.assigned_at.to_string(),
        ended_at: attempt.ended_at.to_string(),
        chosen_because: attempt.open.rationale.to_string(),
        outcome: outcome.to_owned(),
        message,
        output: report.and_then(|report| report.output.as_ref().map(arbiter_core::model::Json::value)),
        artifacts: report
            .map(|report| report.artifacts.iter().map(artifact).collect())
            .unwrap_or_default(),
        usage: usage(&attempt.usage),
        not_enforced: attempt.not_enforced().map(<[String]>::to_vec),
    }
}

pub(crate) fn artifact(reference: &ArtifactRef) -> ArtifactForm {
    ArtifactForm {
        name: reference.name.clone(),
        digest: reference.digest.to_string(),
        size_bytes: reference.size_bytes,
    }
}

fn usage(usage: &Usage) -> UsageForm {
    UsageForm {
        files: usage.files,
        lines: usage.lines,
        tokens: usage.tokens,
        cost_micros: usage.cost_micros,
        duration_ms: usage
            .duration
            .map(|taken| u64::try_from(taken.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// A task as its agent sees it.
pub(crate) fn work(pulled: &Pulled) -> WorkView {
    let (task, spec) = (&pulled.stored.task, &pulled.stored.spec);
    let input = spec.input.as_ref();
    WorkView {
        task: task.id.to_string(),
        tenant: task.tenant.to_string(),
        fence: pulled.fence.0,
        attempt: task.attempt.as_ref().map_or(task.attempts, |open| open.number),
        kind: spec.kind.as_str().to_owned(),
        title: spec.title.clone(),
        instructions: spec.instructions.clone(),
        input: input.and_then(|input| RawValue::from_string(input.as_str().to_owned()).ok()),
        artifacts: spec.artifacts.iter().map(artifact).collect(),
        security: security(spec.security).to_owned(),
        labels: spec.labels.clone(),
        ends_at: pulled.ends_at.to_string(),
        lease_until: task
            .state
            .lease()
            .map_or(pulled.ends_at, |lease| lease.until)
            .to_string(),
        context: pulled.context.iter().map(|item| item.text.clone()).collect(),
        traceparent: spec.trace.as_ref().map(|trace| trace.as_str().to_owned()),
    }
}

/// A registered agent, as it is at `now`.
pub fn agent(agent: &RegisteredAgent, now: Timestamp) -> AgentView {
    let profile = &agent.profile;
    AgentView {
        id: profile.id.to_string(),
        tenant: profile.tenant.map(|tenant| tenant.to_string()),
        name: profile.name.clone(),
        model_family: profile.model_family.clone(),
        model_version: profile.model_version.clone(),
        kinds: profile
            .capabilities
            .kinds
            .iter()
            .map(|kind| kind.as_str().to_owned())
            .collect(),
        languages: profile.capabilities.languages.clone(),
        specialisations: profile.capabilities.specialisations.clone(),
        tools: profile.capabilities.tools.clone(),
        slots: profile.slots,
        transport: profile.transport.word().to_owned(),
        mode: agent.mode.word().to_owned(),
        clearance: security(profile.clearance).to_owned(),
        cost_per_task_micros: profile.cost.per_task_micros,
        cost_per_1k_tokens_micros: profile.cost.per_1k_tokens_micros,
        labels: profile.labels.clone(),
        registered_at: agent.registered_at.to_string(),
        seen_at: agent.seen_at.to_string(),
        beat: agent.beat.as_ref().map(beat),
        health: agent.health(now, HEARTBEAT).word().to_owned(),
        records: agent
            .records
            .iter()
            .map(|(kind, record)| AgentRecordView {
                kind: kind.as_str().to_owned(),
                attempts: record.count,
                succeeded: record.successes,
                success_rate: record.success_rate(),
                latency_seconds: record.mean_latency_seconds(),
                sums: Some(RecordSumsView {
                    judged: record.quality.1,
                    quality: record.quality.0,
                    latency_seconds: record.latency_seconds,
                    costed: record.cost_micros.1,
                    cost_micros: record.cost_micros.0,
                }),
            })
            .collect(),
    }
}

/// What an agent told with a heartbeat.
pub(crate) fn beat(beat: &AgentBeat) -> BeatView {
    BeatView {
        able: beat.able,
        cpu: beat.cpu.map(Ratio::get),
        memory: beat.memory.map(Ratio::get),
    }
}

/// What an agent's work has shown in all.
pub fn performance(agent: &RegisteredAgent) -> PerformanceView {
    let kinds = agent.records.iter().map(|(kind, record)| {
        let (cost, told) = record.cost_micros;
        KindPerformanceView {
            kind: kind.as_str().to_owned(),
            attempts: record.count,
            succeeded: record.successes,
            success_rate: record.success_rate(),
            judged: record.quality.1,
            quality: record.mean_quality(),
            latency_seconds: record.mean_latency_seconds(),
            mean_cost_micros: cost.checked_div(told),
        }
    });
    PerformanceView {
        agent: agent.profile.id.to_string(),
        kinds: kinds.collect(),
        period: None,
    }
}
