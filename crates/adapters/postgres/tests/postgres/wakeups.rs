//! Hints between processes.

use std::sync::Arc;

use arbiter_adapter_postgres::PostgresWakeups;
use arbiter_adapter_system::SystemClock;
use arbiter_core::model::LaneId;
use arbiter_core::ports::{Hint, HintStream, Wakeups as _};
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::task;
use futures_util::FutureExt as _;

use crate::support::Place;

async fn node(place: &Place) -> PostgresWakeups {
    let clock = Arc::new(SystemClock::new());
    PostgresWakeups::start(&place.config, &TestSpawner, clock)
        .await
        .unwrap()
}

/// Reads until the hint comes, or the word that everything may have changed.
async fn covers(hints: &mut dyn HintStream, wanted: Hint) -> bool {
    loop {
        let told = hints.next().await;
        if told.is_empty() || told.contains(&wanted) {
            return told.is_empty();
        }
    }
}

#[tokio::test]
async fn hints_reach_other_nodes_and_oneself_once() {
    let place = Place::new().await;
    let (here, there) = (node(&place).await, node(&place).await);
    let (mut own, mut other) = (here.subscribe(), there.subscribe());
    here.publish(&[Hint::Lane(LaneId(-3)), Hint::Task(task(1))]);
    assert_eq!(own.next().await, [Hint::Lane(LaneId(-3)), Hint::Task(task(1))]);
    assert!(!covers(&mut *other, Hint::Task(task(1))).await);
    // what comes back from there was published later than the echo of what was published here
    there.publish(&[Hint::Registry]);
    assert_eq!(own.next().await, [Hint::Registry]);
}

#[tokio::test]
async fn schemas_do_not_hear_each_other() {
    let (place, elsewhere) = (Place::new().await, Place::new().await);
    let (here, there, foreign) = (node(&place).await, node(&place).await, node(&elsewhere).await);
    let (mut other, mut deaf) = (there.subscribe(), foreign.subscribe());
    here.publish(&[Hint::Agents]);
    covers(&mut *other, Hint::Agents).await;
    assert_eq!(deaf.next().now_or_never(), None);
}

#[tokio::test]
async fn many_hints_at_once_arrive_or_are_summed_up() {
    let place = Place::new().await;
    let (here, there) = (node(&place).await, node(&place).await);
    let mut other = there.subscribe();
    for number in 0..5_000 {
        here.publish(&[Hint::Task(task(number))]);
    }
    covers(&mut *other, Hint::Task(task(4_999))).await;
}

#[tokio::test]
async fn a_lost_connection_is_made_anew_and_everybody_looks_at_everything() {
    let place = Place::new().await;
    let (here, there) = (node(&place).await, node(&place).await);
    let mut other = there.subscribe();
    let killer = place.client().await;
    killer
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            &[&place.config.application_name],
        )
        .await
        .unwrap();
    assert_eq!(other.next().await, [], "look at everything");
    // both listen again, or are about to: what is lost meanwhile is told as such
    here.publish(&[Hint::Agents]);
    covers(&mut *other, Hint::Agents).await;
}

#[tokio::test]
async fn a_dropped_handle_ends_its_connection() {
    let place = Place::new().await;
    let client = place.client().await;
    let count = async || {
        let row = client
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1",
                &[&place.config.application_name],
            )
            .await;
        row.unwrap().get::<_, i64>(0)
    };
    let here = node(&place).await;
    assert_eq!(count().await, 1);
    drop(here);
    for _ in 0..10_000 {
        if count().await == 0 {
            return;
        }
    }
    panic!("the connection stays");
}
