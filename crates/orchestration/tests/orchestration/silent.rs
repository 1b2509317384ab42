//! Agents that are gone for good.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{AgentBeat, RecordDraft};
use arbiter_core::ports::{AgentRegistry, Hint};
use arbiter_orchestration::SilentAgents;
use arbiter_testkit::builders::{agent, profile};
use arbiter_testkit::effects::RecordingWakeups;
use arbiter_testkit::{ManualClock, RecordingMetrics, SeededEntropy};

#[tokio::test]
async fn an_agent_is_removed_after_its_silence_and_not_before() {
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(1));
    let registry: Arc<dyn AgentRegistry> = Arc::new(InMemoryStore::new(
        Rules::default(),
        Arc::clone(&clock) as _,
        entropy,
    ));
    let (wakeups, metrics) = (
        Arc::new(RecordingWakeups::new()),
        Arc::new(RecordingMetrics::new()),
    );
    let silent = SilentAgents {
        registry: Arc::clone(&registry),
        clock: Arc::clone(&clock) as _,
        wakeups: Arc::clone(&wakeups) as _,
        metrics: Arc::clone(&metrics) as _,
        after: Duration::from_hours(2),
    };
    for number in 1..=2 {
        registry
            .register(profile(number), RecordDraft::default())
            .await
            .expect("registered");
    }
    clock.advance(Duration::from_hours(1));
    let beat = AgentBeat {
        agent: agent(2),
        able: true,
        cpu: None,
        memory: None,
    };
    registry.beat(vec![beat]).await.expect("beat");
    clock.advance(Duration::from_hours(1));
    assert_eq!(silent.round().await.expect("round"), []);
    assert_eq!(wakeups.take(), [], "nothing changed");
    clock.advance(Duration::from_micros(1));
    assert_eq!(silent.round().await.expect("round"), [agent(1)]);
    assert_eq!(wakeups.take(), [Hint::Registry]);
    assert_eq!(metrics.total("agent_registry.removed_total"), 1);
    let found = registry.get(&[agent(1), agent(2)]).await.expect("get");
    assert_eq!((found[0].is_some(), found[1].is_some()), (false, true));
}
