//! A registered agent.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{
    AgentBeat, AgentCost, AgentMode, AgentProfile, AgentRecord, Capabilities, Ratio, RegisteredAgent,
    TaskKind, Transport,
};
use serde::{Deserialize, Serialize};

use super::CodecError;
use super::common::{Labels, at, parse, value, version, word};
use super::lane::ratio;
use super::spec::{security, security_word};

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    id: String,
    tenant: Option<String>,
    name: String,
    model_family: String,
    model_version: Option<String>,
    kinds: BTreeSet<String>,
    languages: BTreeSet<String>,
    specialisations: BTreeSet<String>,
    tools: BTreeSet<String>,
    transport: String,
    slots: u32,
    clearance: String,
    cost_per_task: Option<u64>,
    cost_per_1k_tokens: Option<u64>,
    labels: Labels,
    mode: String,
    registered: i64,
    seen: i64,
    beat: Option<BeatForm>,
    records: BTreeMap<String, RecordForm>,
}

#[derive(Serialize, Deserialize)]
struct BeatForm {
    able: bool,
    cpu: Option<u32>,
    memory: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct RecordForm {
    count: u64,
    successes: u64,
    quality: (f64, u64),
    latency: f64,
    cost: (u64, u64),
}

/// Writes an agent.
///
/// # Errors
/// Never for an agent that was made by this program.
pub fn encode_agent(agent: &RegisteredAgent) -> Result<String, CodecError> {
    let profile = &agent.profile;
    let form = Form {
        v: 1,
        id: profile.id.to_string(),
        tenant: profile.tenant.map(|tenant| tenant.to_string()),
        name: profile.name.clone(),
        model_family: profile.model_family.clone(),
        model_version: profile.model_version.clone(),
        kinds: profile
            .capabilities
            .kinds
            .iter()
            .map(ToString::to_string)
            .collect(),
        languages: profile.capabilities.languages.clone(),
        specialisations: profile.capabilities.specialisations.clone(),
        tools: profile.capabilities.tools.clone(),
        transport: profile.transport.word().to_owned(),
        slots: profile.slots,
        clearance: security_word(profile.clearance).to_owned(),
        cost_per_task: profile.cost.per_task_micros,
        cost_per_1k_tokens: profile.cost.per_1k_tokens_micros,
        labels: profile.labels.clone(),
        mode: agent.mode.word().to_owned(),
        registered: agent.registered_at.as_micros(),
        seen: agent.seen_at.as_micros(),
        beat: agent.beat.map(|beat| BeatForm {
            able: beat.able,
            cpu: beat.cpu.map(Ratio::millionths),
            memory: beat.memory.map(Ratio::millionths),
        }),
        records: agent
            .records
            .iter()
            .map(|(kind, record)| (kind.to_string(), encode_record(record)))
            .collect(),
    };
    Ok(serde_json::to_string(&form)?)
}

const fn encode_record(record: &AgentRecord) -> RecordForm {
    RecordForm {
        count: record.count,
        successes: record.successes,
        quality: record.quality,
        latency: record.latency_seconds,
        cost: record.cost_micros,
    }
}

/// Reads an agent.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_agent(text: &str) -> Result<RegisteredAgent, CodecError> {
    let form: Form = serde_json::from_str(text)?;
    version(form.v, 1)?;
    let id = parse("agent id", &form.id)?;
    let mut records = BTreeMap::new();
    for (name, record) in form.records {
        let record = AgentRecord {
            count: record.count,
            successes: record.successes,
            quality: record.quality,
            latency_seconds: record.latency,
            cost_micros: record.cost,
        };
        records.insert(kind(&name)?, record);
    }
    let beat = match form.beat {
        Some(beat) => Some(AgentBeat {
            agent: id,
            able: beat.able,
            cpu: beat.cpu.map(ratio).transpose()?,
            memory: beat.memory.map(ratio).transpose()?,
        }),
        None => None,
    };
    Ok(RegisteredAgent {
        profile: AgentProfile {
            id,
            tenant: form.tenant.map(|text| parse("tenant id", &text)).transpose()?,
            name: form.name,
            model_family: form.model_family,
            model_version: form.model_version,
            capabilities: Capabilities {
                kinds: form
                    .kinds
                    .iter()
                    .map(|name| kind(name))
                    .collect::<Result<_, _>>()?,
                languages: form.languages,
                specialisations: form.specialisations,
                tools: form.tools,
            },
            transport: word("transport", &form.transport, Transport::from_word)?,
            slots: form.slots,
            clearance: security(&form.clearance)?,
            cost: AgentCost {
                per_task_micros: form.cost_per_task,
                per_1k_tokens_micros: form.cost_per_1k_tokens,
            },
            labels: form.labels,
        },
        mode: word("mode", &form.mode, AgentMode::from_word)?,
        registered_at: at(form.registered),
        seen_at: at(form.seen),
        beat,
        records,
    })
}

fn kind(name: &str) -> Result<TaskKind, CodecError> {
    TaskKind::new(name).map_err(|_| value("task kind", name))
}
