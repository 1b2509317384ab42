//! What an attempt is told beside its task.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{StoredTask, TaskId, TenantId};
use arbiter_core::ports::{Clock as _, ContextItem};
use arbiter_core::services::ContextSource;
use arbiter_testkit::ManualClock;
use arbiter_testkit::builders::{failure, tenant};
use async_trait::async_trait;

use crate::agents::Act;
use crate::given::seconds;
use crate::world::World;

/// Says one thing, after a while.
struct Slow {
    clock: Arc<ManualClock>,
    after: Duration,
    owner: TenantId,
}

#[async_trait]
impl ContextSource for Slow {
    async fn context(&self, _: &StoredTask, budget_bytes: usize) -> Vec<ContextItem> {
        self.clock.sleep_until(self.clock.monotonic() + self.after).await;
        vec![ContextItem {
            kind: "memory".to_owned(),
            tenant: self.owner,
            text: format!("room for {budget_bytes}"),
        }]
    }
}

async fn with_source(after: Duration) -> (World, TaskId) {
    let mut world = World::new();
    world.host(1, 3);
    world.puppet.acts(|_| Act::Wait);
    let id = world.submit(1).await;
    world.context.push(Arc::new(Slow {
        clock: Arc::clone(&world.clock),
        after,
        owner: tenant(1),
    }));
    (world, id)
}

#[tokio::test]
async fn the_next_attempt_knows_why_the_last_one_failed_and_what_others_add() {
    let (world, id) = with_source(Duration::ZERO).await;
    world.puppet.acts(|delivery| {
        if delivery.number == 1 {
            Act::Fail(failure())
        } else {
            Act::Report
        }
    });
    let _attempt = world.attempt(id).await;
    world.jump(seconds(1)).await;
    world.due().await;
    let _attempt = world.attempt(id).await;
    let told: Vec<Vec<(String, String)>> = world
        .puppet
        .seen()
        .iter()
        .map(|delivery| {
            let items = delivery.context.iter();
            items.map(|item| (item.kind.clone(), item.text.clone())).collect()
        })
        .collect();
    let pair = |kind: &str, text: String| (kind.to_owned(), text);
    let (all, message) = (64 * 1024, failure().message);
    assert_eq!(
        told[0],
        [pair("memory", format!("room for {all}"))],
        "the first has no history"
    );
    assert_eq!(
        told[1],
        [
            pair("failed_attempt", message.clone()),
            pair("memory", format!("room for {}", all - message.len())),
        ]
    );
}

#[tokio::test]
async fn a_slow_source_of_context_does_not_lose_the_lease() {
    let (world, id) = with_source(seconds(100)).await;
    let _timer = world.start_timer().await;
    let _attempt = world.attempt(id).await;
    world.pass(seconds(99)).await;
    assert_eq!((world.puppet.count(), world.task(id).await.losses), (0, 0));
    world.pass(seconds(1)).await;
    world.puppet.reports(id);
    world.settle().await;
    assert_eq!(
        (world.word(id).await.as_str(), world.task(id).await.attempts),
        ("succeeded", 1)
    );
}

#[tokio::test]
async fn an_attempt_that_is_cancelled_while_it_waits_for_context_is_never_delivered() {
    let (world, id) = with_source(seconds(100)).await;
    let attempt = world.attempt(id).await;
    world.cancel(id).await;
    world.pass(seconds(15)).await;
    assert!(attempt.ended().is_some_and(|learnt| learnt.is_empty()));
    assert_eq!(world.puppet.count(), 0);
}
