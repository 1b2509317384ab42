//! `Guarded<Arc<dyn ArtifactStore>>`: the contract holds through the decorator, reads are repeated, puts are not.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arbiter_adapter_inmem::InMemoryArtifacts;
use arbiter_core::mechanism::{Backoff, BreakerSettings, RetryBudgetSettings};
use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{
    ArtifactError, ArtifactPage, ArtifactStore, ArtifactUsage, ByteSource, Bytes, Retry, Stored,
};
use arbiter_layers::{BulkheadSettings, GuardSettings, Guarded, RetrySettings};
use arbiter_testkit::contract::{ArtifactHarness, Damage};
use async_trait::async_trait;

use crate::support::{Bench, SECOND};

const TENANT: TenantId = TenantId::from_bytes([1; 16]);

fn all_parts() -> GuardSettings {
    GuardSettings {
        bulkhead: Some(BulkheadSettings {
            concurrent: 4,
            waiting: 16,
            longest_wait: SECOND,
        }),
        total_timeout: Some(SECOND * 60),
        retry: Some(RetrySettings {
            retries: 2,
            backoff: Backoff::TASK,
            longest_wait: SECOND * 10,
            budget: RetryBudgetSettings::DEFAULT,
        }),
        breaker: Some(BreakerSettings::DEFAULT),
        attempt_timeout: Some(SECOND * 5),
    }
}

struct Inverted(Arc<InMemoryArtifacts>);

#[async_trait]
impl Damage for Inverted {
    async fn damage(&self, tenant: TenantId, digest: Digest) {
        assert!(self.0.damage(tenant, digest));
    }
}

fn harness() -> ArtifactHarness {
    let store = Arc::new(InMemoryArtifacts::new(64));
    let inner: Arc<dyn ArtifactStore> = Arc::clone(&store) as _;
    ArtifactHarness {
        store: Arc::new(Guarded::new(inner, Bench::new(all_parts()).guard)),
        quota_bytes: 64,
        damage: Box::new(Inverted(store)),
    }
}

arbiter_testkit::artifact_store_contract!(harness());

/// Fails so many times before it answers.
struct Shaky {
    failures: AtomicU32,
    retry: Retry,
}

impl Shaky {
    fn ask(&self) -> Result<(), ArtifactError> {
        let fails = |left: u32| left.checked_sub(1);
        match self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails)
        {
            Ok(_) => Err(ArtifactError::Backend {
                operation: "asking",
                retry: self.retry,
                source: "shaky".into(),
            }),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl ArtifactStore for Shaky {
    async fn put(&self, _: TenantId, source: &mut dyn ByteSource, _: u64) -> Result<Stored, ArtifactError> {
        let _bytes = source.next().await.map_err(ArtifactError::Source)?;
        self.ask().map(|()| Stored {
            digest: Digest::of(b""),
            size_bytes: 0,
        })
    }

    async fn get(
        &self,
        _: TenantId,
        _: Digest,
        _: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, ArtifactError> {
        self.ask().map(|()| None)
    }

    async fn size(&self, _: TenantId, _: Digest) -> Result<Option<u64>, ArtifactError> {
        self.ask().map(|()| Some(1))
    }

    async fn delete(&self, _: TenantId, _: Digest) -> Result<bool, ArtifactError> {
        self.ask().map(|()| true)
    }

    async fn list(&self, _: TenantId, _: Option<Digest>, _: usize) -> Result<ArtifactPage, ArtifactError> {
        self.ask().map(|()| ArtifactPage::default())
    }

    async fn usage(&self, _: TenantId) -> Result<ArtifactUsage, ArtifactError> {
        self.ask().map(|()| ArtifactUsage {
            used_bytes: 1,
            quota_bytes: 2,
        })
    }
}

fn shaky(retry: Retry) -> (Arc<Shaky>, Bench, Guarded<Arc<dyn ArtifactStore>>) {
    let failures = AtomicU32::new(2);
    let inner = Arc::new(Shaky { failures, retry });
    let bench = Bench::new(all_parts());
    let guarded = Guarded::new(
        Arc::clone(&inner) as Arc<dyn ArtifactStore>,
        Arc::clone(&bench.guard),
    );
    (inner, bench, guarded)
}

#[test]
fn reads_and_deletions_are_tried_again() {
    let digest = Digest::of(b"");
    let (_, bench, store) = shaky(Retry::Transient);
    assert_eq!(bench.run(store.get(TENANT, digest, None)).0.unwrap(), None);
    let (_, bench, store) = shaky(Retry::Transient);
    assert_eq!(bench.run(store.size(TENANT, digest)).0.unwrap(), Some(1));
    let (inner, bench, store) = shaky(Retry::Transient);
    assert!(bench.run(store.delete(TENANT, digest)).0.unwrap());
    let (_, bench, listing) = shaky(Retry::Transient);
    assert_eq!(
        bench.run(listing.list(TENANT, None, 1)).0.unwrap(),
        ArtifactPage::default()
    );
    let (_, bench, usage) = shaky(Retry::Transient);
    assert_eq!(bench.run(usage.usage(TENANT)).0.unwrap().used_bytes, 1);
    assert_eq!(inner.failures.load(Ordering::SeqCst), 0);
    let (inner, bench, store) = shaky(Retry::Permanent);
    assert!(bench.run(store.size(TENANT, digest)).0.is_err());
    assert_eq!(inner.failures.load(Ordering::SeqCst), 1);
}

#[test]
fn a_put_is_never_repeated_because_its_source_is_used_up() {
    let (inner, bench, store) = shaky(Retry::Transient);
    let mut source = Bytes::new(*b"once");
    let (result, waits) = bench.run(store.put(TENANT, &mut source, 100));
    assert!(matches!(
        result,
        Err(ArtifactError::Backend {
            operation: "asking",
            ..
        })
    ));
    assert!(waits.is_empty());
    assert_eq!(inner.failures.load(Ordering::SeqCst), 1);
}

/// Never answers.
struct Silent;

#[async_trait]
impl ByteSource for Silent {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, arbiter_core::ports::BoxError> {
        std::future::pending().await
    }
}

#[test]
fn what_the_guard_stops_is_a_transient_failure_of_the_backend() {
    let (_, bench, store) = shaky(Retry::Transient);
    let (result, waits) = bench.run(store.put(TENANT, &mut Silent, 100));
    let Err(error @ ArtifactError::Backend { retry, .. }) = result else {
        panic!("{result:?}");
    };
    assert_eq!((retry, waits), (Retry::Transient, vec![Duration::from_secs(5)]));
    assert_eq!(
        error.to_string(),
        "the artifact store failed during artifact_store.put"
    );
    let source = std::error::Error::source(&error).expect("a reason");
    assert_eq!(source.to_string(), "no answer to the last attempt within 5000 ms");
}
