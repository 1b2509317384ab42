//! How well an agent fits a task.

use std::collections::BTreeSet;

use arbiter_core::model::{RegisteredAgent, ScorePart, Shape};

/// The parts of the match score: kind 0.3, languages 0.3, specialisations 0.2, record 0.2, of which only those count that
/// the task asks for (its kind and the record always).
pub(crate) fn parts(agent: &RegisteredAgent, shape: &Shape) -> Vec<ScorePart> {
    let has = &agent.profile.capabilities;
    let requires = &shape.requires;
    let mut parts = vec![ScorePart {
        name: "kind",
        weight: 0.3,
        value: if has.kinds.contains(&shape.kind) { 1.0 } else { 0.0 },
    }];
    let part_of = |asked: &BTreeSet<String>, has: &BTreeSet<String>| {
        asked.intersection(has).count() as f64 / asked.len() as f64
    };
    if !requires.languages.is_empty() {
        parts.push(ScorePart {
            name: "languages",
            weight: 0.3,
            value: part_of(&requires.languages, &has.languages),
        });
    }
    if !requires.specialisations.is_empty() {
        let value = part_of(&requires.specialisations, &has.specialisations);
        parts.push(ScorePart {
            name: "specialisations",
            weight: 0.2,
            value,
        });
    }
    let record = agent.records.get(&shape.kind).copied().unwrap_or_default();
    parts.push(ScorePart {
        name: "record",
        weight: 0.2,
        value: record.success_rate(),
    });
    parts
}

/// The weighted mean of parts.
pub(crate) fn mean(parts: &[ScorePart]) -> f64 {
    let weights: f64 = parts.iter().map(|part| part.weight).sum();
    if weights > 0.0 {
        parts.iter().map(|part| part.weight * part.value).sum::<f64>() / weights
    } else {
        0.0
    }
}

/// The match score of an agent.
pub(crate) fn match_score(agent: &RegisteredAgent, shape: &Shape) -> f64 {
    mean(&parts(agent, shape))
}
