//! What the interface needs of the rest.

use std::sync::Arc;

use arbiter_allocation::Explanation;
use arbiter_audit::export::ExportHeader;
use arbiter_core::model::{Digest, PrincipalId, TaskSpec, TenantId, Timestamp};
use arbiter_core::ports::{
    AgentRegistry, ArtifactStore, AuditLog, AuditTree, BoxError, Clock, IdSource, Metrics, RegistryError,
    TaskReader, TelemetryStore, Wakeups,
};
use arbiter_orchestration::{PullDesk, Stop};
use arbiter_queue::erasures::Erasures;
use arbiter_queue::hooks::Hooks;
use arbiter_queue::policies::PolicySets;
use arbiter_queue::schedules::Schedules;
use arbiter_queue::tenants::Tenants;
use arbiter_queue::traffic::Pauses;
use arbiter_queue::{ApiKeys, Directory, KeyDesk, SecureQueue};
use async_trait::async_trait;
use tokio::sync::Semaphore;

use crate::settings::ApiSettings;

/// The interface's state, shared by all calls.
#[derive(Clone)]
pub struct Api(pub(crate) Arc<Inner>);

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) parts: ApiParts,
    pub(crate) settings: ApiSettings,
    pub(crate) started_at: Timestamp,
    /// Bounds calls under way.
    pub(crate) calls: Arc<Semaphore>,
    /// Bounds long polls and streams.
    pub(crate) waiting: Arc<Semaphore>,
}

impl Api {
    /// An interface over these parts.
    pub fn new(parts: ApiParts, settings: ApiSettings) -> Self {
        let calls = Arc::new(Semaphore::new(settings.calls));
        let waiting = Arc::new(Semaphore::new(settings.waiting));
        Self(Arc::new(Inner {
            started_at: parts.clock.now(),
            parts,
            settings,
            calls,
            waiting,
        }))
    }

    pub(crate) fn parts(&self) -> &ApiParts {
        &self.0.parts
    }

    pub(crate) fn queue(&self) -> &SecureQueue {
        &self.0.parts.queue
    }

    pub(crate) fn settings(&self) -> &ApiSettings {
        &self.0.settings
    }
}

/// The services and ports behind the interface.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct ApiParts {
    /// Admission and the operations on tasks.
    pub queue: Arc<SecureQueue>,
    /// The side that agents call.
    pub work: Arc<PullDesk>,
    /// Keys and principals.
    pub keys: Arc<ApiKeys>,
    /// What operators do about principals.
    pub principals: Arc<Directory>,
    /// What operators do about keys.
    pub key_desk: Arc<KeyDesk>,
    /// Policies that operators add.
    pub policies: Arc<PolicySets>,
    /// Completion webhooks.
    pub hooks: Arc<Hooks>,
    /// Tenants.
    pub tenants: Arc<Tenants>,
    /// What is to be erased.
    pub erasures: Arc<Erasures>,
    /// What is paused.
    pub pauses: Arc<Pauses>,
    /// Schedules.
    pub schedules: Arc<Schedules>,
    /// Reads tasks for streams.
    pub reader: Arc<dyn TaskReader>,
    /// Which agents there are.
    pub registry: Arc<dyn AgentRegistry>,
    /// The history of agents' work, where one is kept.
    pub history: Option<Arc<dyn TelemetryStore>>,
    /// Who could do a task.
    pub routing: Arc<dyn RoutingSource>,
    /// Files.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// The audit log.
    pub audit: Arc<dyn AuditLog>,
    /// Its tree.
    pub tree: Arc<dyn AuditTree>,
    /// Its keys.
    pub audit_keys: Arc<dyn AuditKeys>,
    /// Hints of changes.
    pub wakeups: Arc<dyn Wakeups>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
    /// Takes backups, where a folder for them is configured.
    pub backups: Option<Arc<dyn Backups>>,
    /// Shows measurements.
    pub shown: Arc<dyn MetricsText>,
    /// Whether the node is ready.
    pub readiness: Arc<dyn ReadinessSource>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Ends long polls and streams at shutdown.
    pub stop: Stop,
}

/// Knows the keys of the audit log.
pub trait AuditKeys: Send + Sync + 'static {
    /// What an export of so many entries begins with.
    ///
    /// # Errors
    /// Why the keys cannot be told.
    fn header(&self, size: u64) -> Result<ExportHeader, BoxError>;
}

/// Takes backups of everything that the node keeps.
#[async_trait]
pub trait Backups: Send + Sync + 'static {
    /// Takes one, and records it. `None` while another is being taken.
    ///
    /// # Errors
    /// Why it could not be taken; nothing is left then.
    ///
    /// # Cancel safety
    /// Safe: nothing is left then.
    async fn take(&self, by: PrincipalId) -> Result<Option<BackupTaken>, BoxError>;
}

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupTaken {
    /// Its name in the folder of backups.
    pub name: String,
    /// Entries of the audit log that are in it.
    pub entries: u64,
    /// The root of the log's tree.
    pub root: Digest,
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Knows who could do a task.
#[async_trait]
pub trait RoutingSource: Send + Sync + 'static {
    /// Who could do such a task of a tenant now, or why nobody can. Assigns nothing.
    async fn explain(&self, tenant: TenantId, spec: &TaskSpec) -> Result<Explanation, RegistryError>;
}

/// Shows measurements in the text format of Prometheus.
pub trait MetricsText: Send + Sync + 'static {
    /// The text (OpenMetrics 1.0).
    fn text(&self) -> String;
}

/// Knows whether the node can do its work.
pub trait ReadinessSource: Send + Sync + 'static {
    /// How it stands now; never blocks.
    fn readiness(&self) -> Readiness;
}

/// Whether the node can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether every part that it needs is up.
    pub ready: bool,
    /// Each part.
    pub parts: Vec<ReadinessPart>,
}

/// One part of the node, or something that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadinessPart {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub ready: bool,
    /// Why not, or what is degraded.
    pub why: Option<String>,
}
