//! A change elsewhere has its records here, whatever fails.

use std::sync::atomic::{AtomicUsize, Ordering};

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::BatchId;
use arbiter_core::ports::{
    Applied, AuditEntry, AuditPage, AuditQuery, AuditTree as _, BoxError, Retry, Seal, Sealed, StoreError,
};
use arbiter_testkit::builders::{agent, principal, profile};
use arbiter_testkit::faulty::FaultyRegistry;
use arbiter_testkit::{ManualClock, SeededEntropy, SeededIds};
use serde_json::Value;

use super::*;

/// A log that takes so many batches, and then no more.
struct Log {
    inner: Arc<InMemoryStore>,
    room: AtomicUsize,
}

#[async_trait]
impl AuditLog for Log {
    async fn append(&self, batch: BatchId, records: Vec<Record>) -> Result<(), StoreError> {
        let taken = self
            .room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| room.checked_sub(1));
        if taken.is_err() {
            let why: BoxError = "the disk is full".into();
            return Err(StoreError::Backend {
                operation: "append",
                applied: Applied::No,
                retry: Retry::Transient,
                source: why,
            });
        }
        self.inner.append(batch, records).await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        AuditLog::read(self.inner.as_ref(), from, limit).await
    }

    async fn search(&self, scope: TenantScope, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.inner.search(scope, query).await
    }

    async fn redact(&self, index: u64, tenant: TenantId, draft: RecordDraft) -> Result<bool, StoreError> {
        self.inner.redact(index, tenant, draft).await
    }

    async fn seal(&self, rule: Seal, draft: RecordDraft) -> Result<Sealed, StoreError> {
        AuditLog::seal(self.inner.as_ref(), rule, draft).await
    }
}

/// A record: what happened, how it ended, why, and to which agent by which change.
struct Told {
    what: String,
    outcome: String,
    reason: Option<String>,
    about: (Value, Value),
}

/// An arbiter with its log, and a registry elsewhere.
struct World {
    own: Arc<InMemoryStore>,
    elsewhere: Arc<InMemoryStore>,
    log: Arc<Log>,
    recorded: Recorded,
}

fn store() -> Arc<InMemoryStore> {
    let (clock, entropy) = (Arc::new(ManualClock::new()), Arc::new(SeededEntropy::new(1)));
    Arc::new(InMemoryStore::new(Rules::default(), clock, entropy))
}

impl World {
    /// The registry fails as told, after it did what was asked or instead.
    fn new(fails: fn(&'static str) -> Option<RegistryError>) -> Self {
        let (own, elsewhere) = (store(), store());
        let log = Arc::new(Log {
            inner: Arc::clone(&own),
            room: AtomicUsize::new(usize::MAX),
        });
        let recorded = Recorded {
            inner: Arc::new(FaultyRegistry::new(
                Arc::clone(&elsewhere) as _,
                move |call, _| fails(call),
            )),
            audit: Arc::clone(&log) as _,
            ids: Arc::new(SeededIds::new(2)),
            clock: Arc::new(ManualClock::new()),
        };
        Self {
            own,
            elsewhere,
            log,
            recorded,
        }
    }

    fn takes(&self, batches: usize) {
        self.log.room.store(batches, Ordering::SeqCst);
    }

    /// What the log tells.
    async fn told(&self) -> Vec<Told> {
        self.own.sequence(usize::MAX).await.expect("sequenced");
        let entries = AuditLog::read(self.own.as_ref(), 0, 100).await.expect("read");
        let told = entries.into_iter().map(|entry| {
            let leaf: Value = serde_json::from_slice(&entry.leaf).expect("JSON");
            let detail = entry.detail.expect("a detail");
            let detail = detail.body.value();
            assert_eq!(leaf["principal"], json!(principal(4).to_string()));
            Told {
                what: leaf["actions"][0].as_str().expect("an action").to_owned(),
                outcome: leaf["outcome"].as_str().expect("an outcome").to_owned(),
                reason: leaf["reason"].as_str().map(str::to_owned),
                about: (leaf["resource"]["id"].clone(), detail["change"].clone()),
            }
        });
        told.collect()
    }

    async fn is_registered(&self, number: u64) -> bool {
        let found = self.elsewhere.get(&[agent(number)]).await.expect("read");
        found[0].is_some()
    }
}

fn draft() -> RecordDraft {
    RecordDraft {
        principal: Some(principal(4)),
        ..RecordDraft::default()
    }
}

fn words(told: &[Told]) -> Vec<String> {
    let word = |told: &Told| {
        let reason = told.reason.as_deref().unwrap_or("-");
        format!("{} {} {reason}", told.what, told.outcome)
    };
    told.iter().map(word).collect()
}

#[tokio::test]
async fn that_it_is_asked_is_recorded_before_and_how_it_ended_after() {
    let world = World::new(|_| None);
    let registry = &world.recorded;
    for expected in [Registered::New, Registered::Unchanged] {
        assert_eq!(
            registry.register(profile(1), draft()).await.expect("registered"),
            expected
        );
    }
    assert!(registry.remove(agent(1), draft()).await.expect("removed"));
    assert!(!registry.remove(agent(1), draft()).await.expect("asked"));
    let told = world.told().await;
    assert_eq!(
        words(&told),
        [
            "agent_change_asked done -",
            "agent_registered done -",
            "agent_change_asked done -",
            "agent_change_void done unchanged",
            "agent_change_asked done -",
            "agent_removed done -",
            "agent_change_asked done -",
            "agent_change_void done not_found",
        ]
    );
    for pair in told.chunks(2) {
        assert_eq!(pair[0].about, pair[1].about, "they belong together");
        assert_eq!(pair[0].about.0, json!(agent(1).to_string()));
    }
    assert_ne!(told[0].about.1, told[2].about.1);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_asked() {
    let world = World::new(|_| None);
    world.takes(0);
    let registered = world.recorded.register(profile(1), draft()).await;
    assert!(
        matches!(registered, Err(RegistryError::Store(_))),
        "{registered:?}"
    );
    assert!(!world.is_registered(1).await);
}

#[tokio::test]
async fn a_change_whose_end_cannot_be_recorded_is_on_record_as_asked() {
    let world = World::new(|_| None);
    world.takes(1);
    let registered = world.recorded.register(profile(1), draft()).await;
    assert!(
        matches!(registered, Err(RegistryError::Store(_))),
        "{registered:?}"
    );
    assert!(world.is_registered(1).await);
    assert_eq!(words(&world.told().await), ["agent_change_asked done -"]);
}

#[tokio::test]
async fn a_refusal_and_an_unknown_end_are_recorded_as_such() {
    let full = |call| (call == "register").then_some(RegistryError::Full { limit: 1 });
    let world = World::new(full);
    let registered = world.recorded.register(profile(1), draft()).await;
    assert!(
        matches!(registered, Err(RegistryError::Full { limit: 1 })),
        "{registered:?}"
    );
    assert_eq!(
        words(&world.told().await),
        ["agent_change_asked done -", "rejected refused registry_full"]
    );
    let away = |call| (call == "remove_silent").then(|| FaultyRegistry::away(call));
    let world = World::new(away);
    world.takes(1);
    let removed = world.recorded.remove_silent(Timestamp::default(), draft()).await;
    assert!(
        matches!(removed, Err(RegistryError::Unavailable { .. })),
        "the registry's own error: {removed:?}"
    );
    world.takes(2);
    world
        .recorded
        .remove_silent(Timestamp::default(), draft())
        .await
        .expect_err("away");
    assert_eq!(
        words(&world.told().await),
        [
            "agent_change_asked done -",
            "agent_change_asked done -",
            "agent_change_unknown done registry_unavailable",
        ]
    );
}

#[tokio::test]
async fn a_profile_that_breaks_a_rule_is_nothing_to_ask() {
    let world = World::new(|_| None);
    let mut broken = profile(1);
    broken.slots = 0;
    let registered = world.recorded.register(broken, draft()).await;
    assert!(
        matches!(registered, Err(RegistryError::Invalid(_))),
        "{registered:?}"
    );
    assert_eq!(words(&world.told().await), Vec::<String>::new());
}
