//! What hooks are told while something is erased.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::TenantScope;
use arbiter_core::ports::{
    Clearance, Document, DocumentError, DocumentKey, DocumentQuery, DocumentWrite, Documents, Effects,
    Outbox, StoreError,
};
use arbiter_queue::erasures::ErasureSubject;
use arbiter_queue::hooks::{FeedError, Feeder, FeederPorts, HookEvent, TOPIC};
use arbiter_testkit::builders::node;

use crate::erasures::{Bench, CANARY, why};
use crate::world::{TENANT, admin, operator, submission_with, submitter};

/// Documents whose feeder is held up just before it stores what it made.
struct HeldUp {
    inner: Arc<dyn Documents>,
    /// Done when the feeder has read.
    has_read: tokio::sync::Notify,
    /// Lets it go on.
    goes_on: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl Documents for HeldUp {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.inner.get(scope, keys).await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        self.has_read.notify_one();
        self.goes_on.notified().await;
        self.inner.write(writes, effects).await
    }

    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError> {
        self.inner.clear(clearance).await
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        self.inner.list(scope, query).await
    }
}

/// What waits in the outbox to be told to hooks.
async fn messages(bench: &Bench) -> String {
    let outbox: &dyn Outbox = &*bench.world.store;
    let taken = outbox.take(TOPIC, 100, Duration::from_secs(1)).await;
    bench.world.clock.advance(Duration::from_secs(2));
    let bodies = taken.expect("taken").into_iter().map(|entry| entry.body.value());
    bodies.map(|body| body.to_string()).collect()
}

#[tokio::test]
async fn a_message_on_its_way_to_the_outbox_is_not_stored_after_its_task_was_erased() {
    let bench = Bench::new().await;
    let hook = crate::hooks::new("https://example.com/x", &[HookEvent::Closed]);
    crate::hooks::desk(&bench.world)
        .create(&operator(), TENANT, hook, None)
        .await
        .expect("a hook");
    bench.world.clock.advance(Duration::from_secs(1));
    let labelled = submission_with(|spec| {
        spec.labels.insert("customer".to_owned(), CANARY.to_owned());
    });
    let task = bench.world.task_of(&submitter(), labelled).await;
    let cancelled = bench
        .world
        .queue
        .cancel(&operator(), task, None, "enough".to_owned())
        .await;
    cancelled.expect("cancelled");
    let held = Arc::new(HeldUp {
        inner: Arc::clone(&bench.world.documents),
        has_read: tokio::sync::Notify::new(),
        goes_on: tokio::sync::Notify::new(),
    });
    let feeder = Feeder::new(FeederPorts {
        node: node(2),
        audit: Arc::clone(&bench.world.store) as _,
        documents: Arc::clone(&held) as _,
        reader: Arc::clone(&bench.world.store) as _,
        leases: Arc::clone(&bench.world.store) as _,
        wakeups: Arc::clone(&bench.world.wakeups) as _,
        clock: Arc::clone(&bench.world.clock) as _,
    });
    let place = feeder.place().await.expect("a place");
    let late = feeder.round(place);
    let erased = async {
        held.has_read.notified().await;
        let subject = ErasureSubject::Task(task);
        bench
            .erasures
            .request(&admin(), TENANT, subject, why())
            .await
            .expect("asked");
        assert_eq!(bench.erase().await.open, 0);
        held.goes_on.notify_one();
    };
    let (late, ()) = futures_util::join!(late, erased);
    assert!(matches!(late, Err(FeedError::Overtaken)), "{late:?}");
    assert!(!messages(&bench).await.contains(CANARY));
    held.goes_on.notify_one();
    feeder
        .round(feeder.place().await.expect("a place"))
        .await
        .expect("fed");
    let told = messages(&bench).await;
    assert!(
        told.contains(&task.to_string()) && !told.contains(CANARY),
        "{told}"
    );
}
