//! What an agent's work has shown in a span of time.

use std::collections::BTreeMap;

use arbiter_core::model::Timestamp;
use arbiter_orchestration::Performed;
use arbiter_wire::http::{KindPeriodView, PeriodView};

/// What an agent's attempts in a span of time came to.
pub fn period((from, to): (Timestamp, Timestamp), performed: BTreeMap<String, Performed>) -> PeriodView {
    let kinds = performed
        .into_iter()
        .filter(|(_, performed)| performed.attempts > 0);
    let kinds = kinds.map(|(kind, performed)| {
        let mean = |sum: f64, count: u64| (count > 0).then(|| sum / count as f64);
        let attempts = performed.attempts as f64;
        KindPeriodView {
            kind,
            attempts: performed.attempts,
            succeeded: performed.succeeded,
            success_rate: performed.succeeded as f64 / attempts,
            latency_seconds: performed.latency_seconds / attempts,
            judged: performed.judged,
            quality: mean(performed.quality, performed.judged),
            mean_cost_micros: mean(performed.cost_micros, performed.priced),
        }
    });
    PeriodView {
        from: from.to_string(),
        to: to.to_string(),
        kinds: kinds.collect(),
    }
}
