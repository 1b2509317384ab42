//! What the cases need of an adapter.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{Digest, Principal, TenantId, Timestamp};
use arbiter_core::ports::{
    AgentRegistry, ArtifactStore, AuditLog, AuditTree, Authenticator, Clock as _, Credential, Documents,
    LeaseStore, Metrics, Outbox, RateLimiter, Signer, TaskReader, TaskStore, TelemetryStore,
};
use async_trait::async_trait;

use crate::clock::ManualClock;

/// The ports under test, all over the same data.
#[derive(Clone)]
pub struct Stores {
    /// Tasks.
    pub tasks: Arc<dyn TaskStore>,
    /// Reading them.
    pub reader: Arc<dyn TaskReader>,
    /// Documents.
    pub documents: Arc<dyn Documents>,
    /// What goes outside.
    pub outbox: Arc<dyn Outbox>,
    /// The audit log.
    pub log: Arc<dyn AuditLog>,
    /// Its tree.
    pub tree: Arc<dyn AuditTree>,
    /// Named leases.
    pub leases: Arc<dyn LeaseStore>,
    /// Agents.
    pub agents: Arc<dyn AgentRegistry>,
}

impl Stores {
    /// The ports of one store that implements all of them.
    pub fn of<S>(store: &Arc<S>) -> Self
    where
        S: TaskStore + TaskReader + Documents + Outbox + AuditLog + AuditTree + LeaseStore + AgentRegistry,
    {
        Self {
            tasks: Arc::clone(store) as _,
            reader: Arc::clone(store) as _,
            documents: Arc::clone(store) as _,
            outbox: Arc::clone(store) as _,
            log: Arc::clone(store) as _,
            tree: Arc::clone(store) as _,
            leases: Arc::clone(store) as _,
            agents: Arc::clone(store) as _,
        }
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

/// A fresh, empty instance of the ports under test, with its time.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The ports.
    fn stores(&self) -> &Stores;

    /// The rules that the task store was made with. The cases count on [`Rules::default`] in everything but the
    /// back-off.
    fn rules(&self) -> Rules;

    /// How many agents the registry takes; the cases fill it, so it should be small.
    fn max_agents(&self) -> usize;

    /// The time by the stores' clock.
    async fn now(&self) -> Timestamp;

    /// Moves the stores' clock forward.
    async fn advance(&self, by: Duration);
}

/// A harness for stores that take the injected clock.
pub struct ManualHarness {
    stores: Stores,
    clock: Arc<ManualClock>,
    rules: Rules,
    max_agents: usize,
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl ManualHarness {
    /// Stores over `clock`, made with default rules, whose registry takes `max_agents` agents.
    pub fn new(stores: Stores, clock: Arc<ManualClock>, max_agents: usize) -> Self {
        Self {
            stores,
            clock,
            rules: Rules::default(),
            max_agents,
            kept: Vec::new(),
        }
    }

    /// Keeps something, such as a folder, until the harness is dropped, which it is after the stores.
    pub fn keeping(mut self, what: impl Any + Send + Sync) -> Self {
        self.kept.push(Box::new(what));
        self
    }

    /// The clock of the stores.
    pub const fn clock(&self) -> &Arc<ManualClock> {
        &self.clock
    }
}

impl std::fmt::Debug for ManualHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ManualHarness")
            .field("clock", &self.clock)
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Harness for ManualHarness {
    fn stores(&self) -> &Stores {
        &self.stores
    }

    fn rules(&self) -> Rules {
        self.rules
    }

    fn max_agents(&self) -> usize {
        self.max_agents
    }

    async fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

/// An empty artifact store.
pub struct ArtifactHarness {
    /// The store.
    pub store: Arc<dyn ArtifactStore>,
    /// How many bytes each tenant may keep, at least 64.
    pub quota_bytes: u64,
    /// Damages what is kept.
    pub damage: Box<dyn Damage>,
}

impl std::fmt::Debug for ArtifactHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArtifactHarness")
            .field("quota_bytes", &self.quota_bytes)
            .finish_non_exhaustive()
    }
}

/// Changes kept artifacts behind the store's back.
#[async_trait]
pub trait Damage: Send + Sync {
    /// Changes a byte of an artifact's content without changing its length.
    async fn damage(&self, tenant: TenantId, digest: Digest);
}

/// A rate limiter with full buckets, and its clock.
pub struct LimiterHarness {
    /// The limiter.
    pub limiter: Arc<dyn RateLimiter>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
}

impl std::fmt::Debug for LimiterHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LimiterHarness")
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

/// A signer, and what tells whether a signature is sound.
pub struct SignerHarness {
    /// The signer.
    pub signer: Arc<dyn Signer>,
    /// Verifies an Ed25519 signature of a message with a public key, by other code than the signer's.
    pub verifies: fn(&[u8; 32], &[u8], &[u8; 64]) -> bool,
    /// Kept until the harness is dropped.
    pub kept: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for SignerHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignerHarness").finish_non_exhaustive()
    }
}

/// Reads a value by the name of its metric and its only label.
pub type Read<T> = Box<dyn Fn(&str, (&str, &str)) -> Option<T> + Send + Sync>;

/// Metrics that nothing was measured with, and how they are read.
pub struct MetricsHarness {
    /// The metrics.
    pub metrics: Arc<dyn Metrics>,
    /// Reads a counter.
    pub counter: Read<f64>,
    /// Reads a gauge.
    pub gauge: Read<f64>,
    /// Reads how many observations a histogram has.
    pub observed: Read<u64>,
}

impl std::fmt::Debug for MetricsHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsHarness").finish_non_exhaustive()
    }
}

/// An authenticator with credentials that it knows.
pub struct AuthenticatorHarness {
    /// The authenticator.
    pub authenticator: Arc<dyn Authenticator>,
    /// A credential that is accepted.
    pub live: Credential,
    /// Whose it is.
    pub principal: Principal,
    /// One that was revoked.
    pub revoked: Credential,
    /// One that has expired.
    pub expired: Credential,
}

impl std::fmt::Debug for AuthenticatorHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthenticatorHarness")
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// An empty telemetry store.
pub struct TelemetryHarness {
    /// The store.
    pub store: Arc<dyn TelemetryStore>,
    /// How many series it has room for: a few more than a query reads.
    pub max_series: usize,
    /// Kept until the harness is dropped.
    pub kept: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for TelemetryHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TelemetryHarness")
            .field("max_series", &self.max_series)
            .finish_non_exhaustive()
    }
}
