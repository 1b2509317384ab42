//! What is kept of outcomes goes.

use std::time::Duration;

use arbiter_core::model::*;
use arbiter_core::ports::*;
use arbiter_testkit::builders::{agent, kind, profile, task};
use rusqlite::Connection;

use super::support::*;

async fn learn(fixture: &Fixture, number: u64) {
    let outcome = OutcomeDelta {
        agent: agent(1),
        kind: kind(),
        attempt: (task(number), Fence(1)),
        succeeded: true,
        quality: None,
        latency: Duration::from_secs(1),
        cost_micros: None,
    };
    let learnt = AgentRegistry::learn(fixture.store.as_ref(), vec![outcome]).await;
    learnt.unwrap();
}

fn kept(fixture: &Fixture) -> i64 {
    let connection = Connection::open(fixture.config.database()).unwrap();
    let count = connection.query_row("SELECT count(*) FROM agent_outcome", [], |row| row.get(0));
    count.unwrap()
}

#[tokio::test]
async fn outcomes_of_tasks_that_are_not_here_go_after_a_while() {
    let fixture = Fixture::new();
    let registered = fixture.store.register(profile(1), RecordDraft::default()).await;
    registered.unwrap();
    learn(&fixture, 1).await;
    learn(&fixture, 2).await;
    fixture.advance(OUTCOMES_KEPT);
    learn(&fixture, 3).await;
    assert_eq!(kept(&fixture), 3);
    fixture.advance(Duration::from_millis(1));
    learn(&fixture, 4).await;
    assert_eq!(kept(&fixture), 2);
}
