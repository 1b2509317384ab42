//! The history of agents' work: how many of their attempts ended how, over time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::model::{
    AgentId, InvalidSample, Labels, RegisteredAgent, SeriesKey, Shape, TaskKind, TenantId, Timestamp,
};
use arbiter_core::ports::{
    Chooser, InvalidQuery, Measurements, RangeQuery, Reading, RegistryError, TelemetryError, TelemetryStore,
};
use arbiter_core::services::{Allocator, AttemptOutcome, Offer};
use async_trait::async_trait;

const ATTEMPTS: &str = "agent.attempts";
const SUCCEEDED: &str = "agent.succeeded";
const LATENCY: &str = "agent.latency_seconds";
const JUDGED: &str = "agent.judged";
const QUALITY: &str = "agent.quality";
const PRICED: &str = "agent.priced";
const COST: &str = "agent.cost_micros";
const AGENT: &str = "agent";
const KIND: &str = "kind";

/// What an agent's attempts at one kind of task came to in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Performed {
    /// Attempts that ended.
    pub attempts: u64,
    /// Those of them that succeeded.
    pub succeeded: u64,
    /// How long they took together, in seconds.
    pub latency_seconds: f64,
    /// Outputs whose quality was measured.
    pub judged: u64,
    /// Their qualities together, each 0–1.
    pub quality: f64,
    /// Attempts that told their cost.
    pub priced: u64,
    /// Their cost together, in millionths of the deployment's currency.
    pub cost_micros: f64,
}

impl Performed {
    fn add(&mut self, outcome: &AttemptOutcome) {
        self.attempts += 1;
        self.succeeded += u64::from(outcome.succeeded);
        self.latency_seconds += outcome.latency.as_secs_f64();
        if let Some(quality) = outcome.quality {
            self.judged += 1;
            self.quality += quality.get();
        }
        if let Some(cost) = outcome.cost_micros {
            self.priced += 1;
            self.cost_micros += cost as f64;
        }
    }

    /// Its sums by the names of their series. What there was nothing of is left out.
    fn sums(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let judged = (self.judged > 0).then_some([(JUDGED, self.judged as f64), (QUALITY, self.quality)]);
        let priced = (self.priced > 0).then_some([(PRICED, self.priced as f64), (COST, self.cost_micros)]);
        [
            (ATTEMPTS, self.attempts as f64),
            (SUCCEEDED, self.succeeded as f64),
            (LATENCY, self.latency_seconds),
        ]
        .into_iter()
        .chain(judged.into_iter().flatten())
        .chain(priced.into_iter().flatten())
    }

    fn count(&mut self, series: &str, sum: f64) {
        // counts are whole: what a mean lost by rounding comes back
        let count = sum.round() as u64;
        match series {
            ATTEMPTS => self.attempts += count,
            SUCCEEDED => self.succeeded += count,
            LATENCY => self.latency_seconds += sum,
            JUDGED => self.judged += count,
            QUALITY => self.quality += sum,
            PRICED => self.priced += count,
            _ => self.cost_micros += sum,
        }
    }
}

/// Has an allocator learn, and sums up what it learns for the history. Each reading gives what came since the one
/// before, so the history costs the same however much is done. What was not read when the process dies is lost.
pub struct OutcomeHistory {
    allocator: Arc<dyn Allocator>,
    since: Mutex<BTreeMap<(AgentId, TaskKind), Performed>>,
}

impl std::fmt::Debug for OutcomeHistory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutcomeHistory").finish_non_exhaustive()
    }
}

impl OutcomeHistory {
    /// Nothing was learnt yet.
    pub fn new(allocator: Arc<dyn Allocator>) -> Self {
        Self {
            allocator,
            since: Mutex::default(),
        }
    }
}

#[async_trait]
impl Allocator for OutcomeHistory {
    fn capacity(&self, shapes: &[(TenantId, Shape)], offers: &[Offer]) -> Vec<u32> {
        self.allocator.capacity(shapes, offers)
    }

    fn chooser(&self, offers: Vec<Offer>) -> Arc<dyn Chooser> {
        self.allocator.chooser(offers)
    }

    async fn learn(&self, outcomes: Vec<AttemptOutcome>) -> Result<(), RegistryError> {
        {
            let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
            for outcome in &outcomes {
                let key = (outcome.agent, outcome.kind.clone());
                since.entry(key).or_default().add(outcome);
            }
        }
        self.allocator.learn(outcomes).await
    }
}

impl Measurements for OutcomeHistory {
    /// What was learnt since the last call: it is given once.
    fn readings(&self) -> Vec<Reading> {
        let since = std::mem::take(&mut *self.since.lock().unwrap_or_else(PoisonError::into_inner));
        let readings = since.into_iter().flat_map(|((agent, kind), performed)| {
            let labels = vec![
                (AGENT.to_owned(), agent.to_string()),
                (KIND.to_owned(), kind.as_str().to_owned()),
            ];
            let sums: Vec<_> = performed.sums().collect();
            sums.into_iter().map(move |(name, value)| Reading {
                name: name.to_owned(),
                labels: labels.clone(),
                value,
            })
        });
        readings.collect()
    }
}

/// Why the history of an agent could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerformedError {
    /// The span of time.
    #[error(transparent)]
    Range(#[from] InvalidQuery),
    /// The labels.
    #[error(transparent)]
    Labels(#[from] InvalidSample),
    /// The history could not be read.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// What an agent's attempts that ended from `from` on and before `to` came to, by kind of task; only of `kind`, if it is
/// given. Kinds that it did not work on are absent. What was down-sampled counts at the beginning of its bucket. What is
/// older than its registration is not told: another agent may have had the id.
///
/// # Errors
/// [`PerformedError`]
///
/// # Cancel safety
/// Safe: it only reads.
pub async fn performed(
    store: &dyn TelemetryStore,
    agent: &RegisteredAgent,
    kind: Option<&TaskKind>,
    (from, to): (Timestamp, Timestamp),
) -> Result<BTreeMap<String, Performed>, PerformedError> {
    if from >= to {
        return Err(InvalidQuery::Range.into());
    }
    let from = from.max(agent.registered_at);
    if from >= to {
        return Ok(BTreeMap::new());
    }
    let mut labels = BTreeMap::from([(AGENT.to_owned(), agent.profile.id.to_string())]);
    if let Some(kind) = kind {
        labels.insert(KIND.to_owned(), kind.as_str().to_owned());
    }
    let labels = Labels::new(labels)?;
    let mut kinds: BTreeMap<String, Performed> = BTreeMap::new();
    for name in [ATTEMPTS, SUCCEEDED, LATENCY, JUDGED, QUALITY, PRICED, COST] {
        let key = SeriesKey::new(name, labels.clone())?;
        let whole = to.since(from).max(Duration::from_micros(1));
        for series in store.series(&RangeQuery::new(key, (from, to), whole)?).await? {
            let Some(kind) = series.key.labels().get(KIND) else {
                continue;
            };
            let sum: f64 = (series.buckets.iter())
                .map(|bucket| bucket.mean * bucket.count as f64)
                .sum();
            kinds.entry(kind.to_owned()).or_default().count(name, sum);
        }
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use arbiter_adapter_inmem::InMemoryTelemetry;
    use arbiter_core::model::{AgentMode, DecisionId, Fence, Ratio, Sample};
    use arbiter_core::ports::Compaction;
    use arbiter_testkit::builders::{agent, profile, task};

    use super::*;

    fn kind(name: &str) -> TaskKind {
        TaskKind::new(name).unwrap()
    }

    struct Deaf;

    #[async_trait]
    impl Allocator for Deaf {
        fn capacity(&self, _: &[(TenantId, Shape)], _: &[Offer]) -> Vec<u32> {
            Vec::new()
        }

        fn chooser(&self, _: Vec<Offer>) -> Arc<dyn Chooser> {
            unreachable!("nothing is claimed")
        }

        async fn learn(&self, _: Vec<AttemptOutcome>) -> Result<(), RegistryError> {
            Err(RegistryError::Full { limit: 1 })
        }
    }

    fn outcome(number: u64, succeeded: bool, seconds: u64) -> AttemptOutcome {
        AttemptOutcome {
            task: task(number),
            fence: Fence(1),
            kind: kind("analysis"),
            agent: agent(1),
            decision: DecisionId::from_bytes([0; 16]),
            succeeded,
            quality: None,
            latency: Duration::from_secs(seconds),
            cost_micros: None,
        }
    }

    /// An agent that was registered at a second.
    fn registered(number: u64, second: i64) -> RegisteredAgent {
        RegisteredAgent {
            profile: profile(number),
            mode: AgentMode::Active,
            registered_at: at(second),
            seen_at: at(second),
            beat: None,
            records: BTreeMap::new(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    /// Puts what was read at a second into the store, as the samplers of all nodes do.
    async fn sample(history: &OutcomeHistory, store: &InMemoryTelemetry, second: i64) {
        let samples = history.readings().into_iter().map(|reading| {
            let labels: BTreeMap<_, _> = reading.labels.into_iter().collect();
            let key = SeriesKey::new(reading.name, Labels::new(labels).unwrap()).unwrap();
            Sample::new(key, at(second), reading.value).unwrap()
        });
        store.record(samples.collect()).await.unwrap();
    }

    #[tokio::test]
    async fn attempts_are_counted_once_by_time_kind_and_over_nodes() {
        let store = InMemoryTelemetry::new(100);
        let (one, two) = (
            OutcomeHistory::new(Arc::new(Deaf)),
            OutcomeHistory::new(Arc::new(Deaf)),
        );
        let priced = AttemptOutcome {
            quality: Ratio::new(0.5).ok(),
            cost_micros: Some(7),
            ..outcome(2, true, 4)
        };
        let learnt = one.learn(vec![outcome(1, false, 2), priced]).await;
        assert!(learnt.is_err(), "what the registry refuses is told");
        sample(&one, &store, 10).await;
        assert_eq!(one.readings(), [], "given once");
        let other = AttemptOutcome {
            kind: kind("translation"),
            ..outcome(3, true, 1)
        };
        let _ = two.learn(vec![outcome(4, true, 6), other]).await;
        sample(&two, &store, 11).await;
        let _ = one.learn(vec![outcome(5, true, 8)]).await;
        sample(&one, &store, 20).await;

        let all = performed(&store, &registered(1, 0), None, (at(0), at(30)))
            .await
            .unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["analysis", "translation"]);
        let expected = Performed {
            attempts: 4,
            succeeded: 3,
            latency_seconds: 20.0,
            judged: 1,
            quality: 0.5,
            priced: 1,
            cost_micros: 7.0,
        };
        assert_eq!(all["analysis"], expected);
        let late = performed(
            &store,
            &registered(1, 0),
            Some(&kind("analysis")),
            (at(12), at(30)),
        )
        .await
        .unwrap();
        assert_eq!((late.len(), late["analysis"].attempts), (1, 1));
        assert_eq!(late["analysis"].judged, 0);
        let other = performed(&store, &registered(2, 0), None, (at(0), at(30)))
            .await
            .unwrap();
        assert!(other.is_empty());
        let again = performed(&store, &registered(1, 12), None, (at(0), at(30)))
            .await
            .unwrap();
        assert_eq!(
            again["analysis"].attempts, 1,
            "nothing from before its registration"
        );
        let later = performed(&store, &registered(1, 40), None, (at(0), at(30)))
            .await
            .unwrap();
        assert!(later.is_empty());
        let nothing = performed(&store, &registered(1, 0), None, (at(5), at(5))).await;
        assert!(matches!(nothing, Err(PerformedError::Range(InvalidQuery::Range))));
    }

    #[tokio::test]
    async fn down_sampling_changes_no_sum() {
        let store = InMemoryTelemetry::new(100);
        let history = OutcomeHistory::new(Arc::new(Deaf));
        for second in 0..7 {
            let outcomes = (0..=second).map(|number| outcome(number, number % 2 == 0, number));
            let _ = history.learn(outcomes.collect()).await;
            sample(&history, &store, second as i64).await;
        }
        let before = performed(&store, &registered(1, 0), None, (at(0), at(60)))
            .await
            .unwrap();
        let rule = Compaction::new(at(60), Duration::from_secs(60), 1_000).unwrap();
        store.compact(rule).await.unwrap();
        let after = performed(&store, &registered(1, 0), None, (at(0), at(60)))
            .await
            .unwrap();
        let (before, after) = (before["analysis"], after["analysis"]);
        assert_eq!((after.attempts, after.succeeded), (28, before.succeeded));
        assert!((after.latency_seconds - before.latency_seconds).abs() < 1e-6);
    }
}
