//! How well an agent fits a task.

use std::collections::BTreeSet;

use arbiter_core::model::{AgentRecord, RegisteredAgent, ScorePart, Shape};

/// The parts of the match score: kind 0.3, languages 0.3, specialisations 0.2, record 0.2, of which only those count that
/// the task asks for (its kind and the record always).
pub(crate) fn parts(
    agent: &RegisteredAgent,
    record: AgentRecord,
    shape: &Shape,
) -> impl Iterator<Item = ScorePart> + Clone {
    let has = &agent.profile.capabilities;
    let requires = &shape.requires;
    let part = |name, weight, value| Some(ScorePart { name, weight, value });
    let part_of = |name, weight, asked: &BTreeSet<String>, has: &BTreeSet<String>| {
        let asked_for = !asked.is_empty();
        let value = || asked.intersection(has).count() as f64 / asked.len() as f64;
        asked_for.then(value).and_then(|value| part(name, weight, value))
    };
    let kind = if has.kinds.contains(&shape.kind) { 1.0 } else { 0.0 };
    let parts = [
        part("kind", 0.3, kind),
        part_of("languages", 0.3, &requires.languages, &has.languages),
        part_of(
            "specialisations",
            0.2,
            &requires.specialisations,
            &has.specialisations,
        ),
        part("record", 0.2, record.success_rate()),
    ];
    parts.into_iter().flatten()
}

/// What an agent has shown of a class's kind of task.
pub(crate) fn record(agent: &RegisteredAgent, shape: &Shape) -> AgentRecord {
    agent.records.get(&shape.kind).copied().unwrap_or_default()
}

/// The weighted mean of parts.
pub(crate) fn mean(parts: impl Iterator<Item = ScorePart> + Clone) -> f64 {
    let weights: f64 = parts.clone().map(|part| part.weight).sum();
    if weights > 0.0 {
        parts.map(|part| part.weight * part.value).sum::<f64>() / weights
    } else {
        0.0
    }
}
