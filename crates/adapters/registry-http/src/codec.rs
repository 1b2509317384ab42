//! Between the forms of the interface and the model. What breaks a rule of the model is no agent.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{
    AgentBeat, AgentCost, AgentId, AgentMode, AgentProfile, AgentRecord, AgentSeen, Capabilities,
    OutcomeDelta, Ratio, RegisteredAgent, SecurityLevel, TaskKind, Timestamp, Transport,
};
use arbiter_core::ports::BoxError;
use arbiter_wire::http::{
    AgentBeatForm, AgentForm, AgentHeardView, AgentModeWord, AgentRecordView, AgentView, BeatView,
    OutcomeForm, TransportWord,
};
use arbiter_wire::task::SecurityForm;

/// A value of an answer that the model does not have.
#[derive(Debug, thiserror::Error)]
#[error("`{field}` is `{value}`, which is none")]
struct NoSuch {
    field: &'static str,
    value: String,
}

pub(crate) fn form(profile: &AgentProfile) -> AgentForm {
    let kinds = profile.capabilities.kinds.iter();
    AgentForm {
        id: Some(profile.id.to_string()),
        name: profile.name.clone(),
        model_family: profile.model_family.clone(),
        model_version: profile.model_version.clone(),
        kinds: kinds.map(ToString::to_string).collect(),
        languages: profile.capabilities.languages.clone(),
        specialisations: profile.capabilities.specialisations.clone(),
        tools: profile.capabilities.tools.clone(),
        slots: profile.slots,
        clearance: Some(match profile.clearance {
            SecurityLevel::Internal => SecurityForm::Internal,
            SecurityLevel::Confidential => SecurityForm::Confidential,
            SecurityLevel::Restricted => SecurityForm::Restricted,
        }),
        cost_per_task_micros: profile.cost.per_task_micros,
        cost_per_1k_tokens_micros: profile.cost.per_1k_tokens_micros,
        labels: profile.labels.clone(),
        tenant: profile.tenant.map(|tenant| tenant.to_string()),
        transport: Some(match profile.transport {
            Transport::Pull => TransportWord::Pull,
            Transport::Exec => TransportWord::Exec,
            Transport::Webhook => TransportWord::Webhook,
            Transport::Model => TransportWord::Model,
        }),
    }
}

pub(crate) const fn mode(mode: AgentMode) -> AgentModeWord {
    match mode {
        AgentMode::Active => AgentModeWord::Active,
        AgentMode::Draining => AgentModeWord::Draining,
        AgentMode::Quarantined => AgentModeWord::Quarantined,
    }
}

pub(crate) fn beat_form(beat: &AgentBeat) -> AgentBeatForm {
    AgentBeatForm {
        agent: beat.agent.to_string(),
        able: beat.able,
        cpu: beat.cpu.map(Ratio::get),
        memory: beat.memory.map(Ratio::get),
    }
}

pub(crate) fn outcome(outcome: &OutcomeDelta) -> OutcomeForm {
    let (task, fence) = outcome.attempt;
    OutcomeForm {
        agent: outcome.agent.to_string(),
        kind: outcome.kind.to_string(),
        task: task.to_string(),
        fence: fence.0,
        succeeded: outcome.succeeded,
        quality: outcome.quality.map(Ratio::get),
        latency_micros: u64::try_from(outcome.latency.as_micros()).unwrap_or(u64::MAX),
        cost_micros: outcome.cost_micros,
    }
}

/// An agent as the registry tells of it.
pub(crate) fn agent(view: AgentView) -> Result<RegisteredAgent, BoxError> {
    let id: AgentId = view.id.parse()?;
    let kinds = view.kinds.iter().map(|kind| TaskKind::new(kind));
    let profile = AgentProfile {
        id,
        tenant: view.tenant.map(|tenant| tenant.parse()).transpose()?,
        name: view.name,
        model_family: view.model_family,
        model_version: view.model_version,
        capabilities: Capabilities {
            kinds: kinds.collect::<Result<BTreeSet<_>, _>>()?,
            languages: view.languages,
            specialisations: view.specialisations,
            tools: view.tools,
        },
        transport: word("transport", view.transport, Transport::from_word)?,
        slots: view.slots,
        clearance: word("clearance", view.clearance, SecurityLevel::from_word)?,
        cost: AgentCost {
            per_task_micros: view.cost_per_task_micros,
            per_1k_tokens_micros: view.cost_per_1k_tokens_micros,
        },
        labels: view.labels,
    };
    profile.validate()?;
    let records = view.records.into_iter().map(record);
    Ok(RegisteredAgent {
        profile,
        mode: word("mode", view.mode, AgentMode::from_word)?,
        registered_at: view.registered_at.parse()?,
        seen_at: view.seen_at.parse()?,
        beat: view.beat.map(|told| beat(id, told)).transpose()?,
        records: records.collect::<Result<BTreeMap<_, _>, BoxError>>()?,
    })
}

fn record(view: AgentRecordView) -> Result<(TaskKind, AgentRecord), BoxError> {
    let sums = view
        .sums
        .ok_or("the registry does not tell what its means are made of; it is too old")?;
    let record = AgentRecord {
        count: view.attempts,
        successes: view.succeeded,
        quality: (sums.quality, sums.judged),
        latency_seconds: sums.latency_seconds,
        cost_micros: (sums.cost_micros, sums.costed),
    };
    Ok((TaskKind::new(&view.kind)?, record))
}

pub(crate) fn seen(view: &AgentHeardView) -> Result<AgentSeen, BoxError> {
    let agent: AgentId = view.agent.parse()?;
    let at: Timestamp = view.at.parse()?;
    Ok(AgentSeen {
        agent,
        at,
        beat: view.beat.map(|told| beat(agent, told)).transpose()?,
    })
}

fn beat(agent: AgentId, view: BeatView) -> Result<AgentBeat, BoxError> {
    Ok(AgentBeat {
        agent,
        able: view.able,
        cpu: view.cpu.map(Ratio::new).transpose()?,
        memory: view.memory.map(Ratio::new).transpose()?,
    })
}

pub(crate) fn ids(texts: &[String]) -> Result<Vec<AgentId>, BoxError> {
    let ids = texts.iter().map(|text| text.parse::<AgentId>());
    Ok(ids.collect::<Result<_, _>>()?)
}

fn word<T>(field: &'static str, value: String, read: impl Fn(&str) -> Option<T>) -> Result<T, NoSuch> {
    read(&value).ok_or(NoSuch { field, value })
}

/// A moment as the interface takes it: none where it lies before the year 0, at which nothing was heard of yet.
pub(crate) fn moment(at: Timestamp) -> Option<String> {
    let text = at.to_string();
    text.parse::<Timestamp>().is_ok().then_some(text)
}
