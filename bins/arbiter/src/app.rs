//! The composition root: configuration → adapters → services. The only place that knows which adapter serves which
//! port.

use std::sync::Arc;

use arbiter_adapter_cedar::CedarAuthorizer;
use arbiter_adapter_files::FileArtifacts;
use arbiter_adapter_inmem::InProcessRateLimiter;
use arbiter_adapter_prometheus::PrometheusMetrics;
use arbiter_adapter_system::{FileSigner, OsEntropy, SystemClock, TokioSpawner, UuidV7Ids};
use arbiter_audit::key::VerifierKey;
use arbiter_audit::keyring::Handover;
use arbiter_core::mechanism::{Redactor, SuspicionDetector};
use arbiter_core::model::{AuditAction, Operation, Principal, Record, RecordOutcome, Resource, TenantId};
use arbiter_core::ports::{
    ArtifactStore, Clock, Credential, Documents, Entropy, IdSource, Metrics, Signer, Spawner, TreeHead,
    Wakeups,
};
use arbiter_core::services::FailureHandler;
use arbiter_net::{HttpPorts, SystemResolver};
use arbiter_orchestration::PlainRetry;
use arbiter_queue::erasures::Erasures;
use arbiter_queue::policies::PolicySets;
use arbiter_queue::tenants::{TenantSettings, Tenants};
use arbiter_queue::traffic::TrafficBoard;
use arbiter_queue::{ApiKeys, ContentPolicy, FingerprintKey, Identities, QueuePorts, SecureQueue};

use crate::access;
use crate::agent_registry::{Agents, Own};
use crate::bootstrap;
use crate::checkpoint::Checkpointer;
use crate::config::Config;
use crate::engine::LOG_ORIGIN;
use crate::exit::Failure;
use crate::guarded;
use crate::identities::Vouched;
use crate::log_key::LogKey;
use crate::storage::{self, Handle, Opened, Storage};
use crate::trust::Trust;

/// Artifacts of one tenant may take up so much: 10 GiB.
const ARTIFACT_QUOTA_BYTES: u64 = 10 << 30;

/// Everything that commands use.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Storage>,
    /// The same, for what only one kind of store can.
    pub(crate) handle: Handle,
    pub(crate) queue: Arc<SecureQueue>,
    pub(crate) keys: Arc<ApiKeys>,
    pub(crate) vouched: Vouched,
    /// Which agents there are.
    pub(crate) agents: Agents,
    pub(crate) policies: Arc<PolicySets>,
    pub(crate) board: Arc<TrafficBoard>,
    pub(crate) tenants: Arc<Tenants>,
    pub(crate) erasures: Arc<Erasures>,
    pub(crate) artifacts: Arc<dyn ArtifactStore>,
    /// The same, for copying them as files, where they are in files.
    pub(crate) files: Option<Arc<FileArtifacts>>,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) measurements: Arc<PrometheusMetrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) failures: Arc<dyn FailureHandler>,
    pub(crate) signer: Arc<FileSigner>,
    pub(crate) checkpointer: Checkpointer,
    /// As whom local commands act.
    pub(crate) operator: Principal,
}

impl App {
    /// Opens the store of the configuration and connects everything to it.
    ///
    /// # Errors
    /// A failure that says what could not be opened and what to do.
    pub(crate) async fn open(config: Config) -> Result<Self, Failure> {
        prepare_folder(&config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::new());
        let ids: Arc<dyn IdSource> = Arc::new(UuidV7Ids::new());
        let spawner: Arc<dyn Spawner> = Arc::new(TokioSpawner::new());
        let measurements = Arc::new(PrometheusMetrics::new());
        let metrics: Arc<dyn Metrics> = measurements.clone();
        let Opened {
            store,
            wakeups,
            handle,
            clock,
        } = storage::open(&config, &clock, &entropy, &*spawner).await?;
        let documents: Arc<dyn Documents> = store.clone();
        let (artifacts, files) =
            storage::artifacts(&config, &handle, ARTIFACT_QUOTA_BYTES, &*spawner).await?;
        let signer = FileSigner::open_or_create(config.data_dir.join("audit.key"), LOG_ORIGIN)
            .map_err(|error| Failure::configuration(format!("the key that signs the audit log: {error}")))?;
        let signer = Arc::new(signer);
        let key = verifier_key(signer.as_ref())?;
        let log_key = handle
            .is_shared()
            .then(|| LogKey::new(&documents, key.clone()))
            .map(Arc::new);
        let first_key = match &log_key {
            Some(log_key) => log_key.establish().await?,
            None => key,
        };
        // At the first start, so that nobody can put another key in its place before the log is first verified.
        Trust::open_or_create(&config.data_dir, LOG_ORIGIN, &first_key)?;
        let failures: Arc<dyn FailureHandler> = Arc::new(PlainRetry);
        let keys = Arc::new(ApiKeys::new(
            Arc::clone(&documents),
            Arc::clone(&clock),
            Arc::clone(&entropy),
        ));
        let fingerprints = FingerprintKey::load_or_create(documents.as_ref(), entropy.as_ref()).await?;
        let authorizer = Arc::new(authorizer(&config)?);
        let board = Arc::new(TrafficBoard::new(&documents, Arc::clone(&wakeups)));
        let outward = HttpPorts {
            clock: Arc::clone(&clock),
            entropy: Arc::clone(&entropy),
            metrics: Arc::clone(&metrics),
            spawner: Arc::clone(&spawner),
            resolver: Arc::new(SystemResolver),
        };
        let agents = Agents::of(
            &config,
            &outward,
            Own {
                registry: store.clone(),
                audit: store.clone(),
                ids: Arc::clone(&ids),
            },
        )?;
        let vouched = Vouched::of(&config, outward)?;
        let identities = Identities::new(Arc::clone(&keys), Arc::clone(&board), Arc::clone(&clock));
        let ports = QueuePorts {
            store: store.clone(),
            reader: store.clone(),
            audit: store.clone(),
            authenticator: Arc::new(vouched.join(identities)),
            authorizer: authorizer.clone(),
            limiter: Arc::new(InProcessRateLimiter::new(Arc::clone(&clock))),
            wakeups: Arc::clone(&wakeups),
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
            ids: Arc::clone(&ids),
            failures: Arc::clone(&failures),
        };
        let content = content_policy(&config)?;
        let queue = SecureQueue::new(
            ports,
            config.queue.clone(),
            content,
            fingerprints,
            Vec::new(),
            Vec::new(),
        );
        let queue = Arc::new(queue.with_board(Arc::clone(&board)));
        let erasures = Arc::new(Erasures::new(
            Arc::clone(&queue),
            &documents,
            keys.principals().clone(),
        ));
        let tenants = Arc::new(Tenants::new(
            Arc::clone(&queue),
            Arc::clone(&board),
            &documents,
            Arc::clone(&erasures),
            TenantSettings::of(bootstrap::DEFAULT_TENANT),
        ));
        tenants.establish().await?;
        board.refresh().await?;
        let policies = access::policies(&queue, &documents, authorizer).await?;
        let credential: Credential = bootstrap::operator_key(&config.data_dir, &keys, ids.as_ref()).await?;
        let operator = queue.authenticate(&credential, "local").await.map_err(|error| {
            let path = bootstrap::key_file(&config.data_dir);
            let failure = Failure::from(error);
            let message = format!(
                "the key in `{}` was not accepted: {}",
                path.display(),
                failure.message
            );
            Failure { message, ..failure }
        })?;
        let checkpointer = Checkpointer {
            tree: store.clone(),
            signer: signer.clone() as Arc<dyn Signer>,
            clock: Arc::clone(&clock),
            origin: LOG_ORIGIN.to_owned(),
            log_key: log_key.clone(),
        };
        Ok(Self {
            config,
            store,
            handle,
            queue,
            keys,
            vouched,
            agents,
            policies,
            board,
            tenants,
            erasures,
            artifacts: guarded::artifacts(artifacts, &clock, &entropy, &metrics)?,
            files,
            wakeups,
            metrics,
            measurements,
            clock,
            ids,
            entropy,
            spawner,
            failures,
            signer,
            checkpointer,
            operator,
        })
    }

    /// Signs what was written, and closes the store. Nothing that was answered depends on it.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.queue.flush_refusals(true).await?;
        self.checkpointer
            .sign()
            .await
            .map_err(|error| Failure::unavailable("the audit log's head could not be signed", error))?;
        self.handle.close().await;
        tracing::info!(event = "shutdown_completed", "every service has ended");
        Ok(())
    }

    /// The keys that the audit log is verified with.
    pub(crate) fn trust(&self) -> Result<Trust, Failure> {
        trust(&self.config.data_dir, self.signer.as_ref())
    }

    /// The newest signed head of the audit log, after signing what is not signed yet.
    pub(crate) async fn signed_head(&self) -> Result<Option<(TreeHead, String)>, Failure> {
        self.checkpointer
            .sign()
            .await
            .map_err(|error| Failure::unavailable("the audit log's head could not be signed", error))
    }

    /// Replaces the key that signs the audit log; the old one and the new one sign the hand-over.
    pub(crate) async fn rotate_signer(&self) -> Result<VerifierKey, Failure> {
        let failed = |error: anyhow::Error| Failure::unavailable("the key could not be replaced", error);
        if let Some(log_key) = &self.checkpointer.log_key
            && !log_key.is_ours().await?
        {
            return Err(Failure::usage(
                "another node's key signs the audit log of this store; replace it there",
            ));
        }
        let record = Record {
            at: self.clock.now(),
            tenant: TenantId::SYSTEM,
            principal: Some(self.operator.id),
            operation: Some(Operation::AuditRotate),
            actions: vec![AuditAction::SigningKeyRotated],
            resource: Resource::new("key", ""),
            outcome: RecordOutcome::Done,
            reason: None,
            count: None,
            detail: None,
        };
        self.store.append(self.ids.batch(), vec![record]).await?;
        let size = self.signed_head().await?.map_or(0, |(head, _)| head.size);
        let mut trust = self.trust()?;
        let next = self.signer.prepare_next().map_err(|error| failed(error.into()))?;
        let old = verifier_key(self.signer.as_ref())?;
        let new = VerifierKey::new(self.signer.key_name(), &next.public_key())
            .map_err(|error| failed(error.into()))?;
        let mut note = Handover::draft(LOG_ORIGIN, &old, &new, size).map_err(|error| failed(error.into()))?;
        let signature = self
            .signer
            .sign(note.text().as_bytes())
            .await
            .map_err(|error| failed(error.into()))?;
        note.add_signature(&old, &signature)
            .map_err(|error| failed(error.into()))?;
        let signature = next.sign(note.text().as_bytes());
        note.add_signature(&new, &signature)
            .map_err(|error| failed(error.into()))?;
        let handover = Handover::open(note).map_err(|error| failed(error.into()))?;
        // The hand-over first: a crash between the two leaves a key that is vouched for and not used yet.
        trust.add(handover)?;
        self.signer.adopt(next).map_err(|error| failed(error.into()))?;
        if let Some(log_key) = &self.checkpointer.log_key {
            log_key.replace(&new, self.operator.id).await?;
        }
        Ok(new)
    }
}

/// The keys that the audit log in a data folder is verified with.
pub(crate) fn trust(data_dir: &std::path::Path, signer: &dyn Signer) -> Result<Trust, Failure> {
    Trust::open_or_create(data_dir, LOG_ORIGIN, &verifier_key(signer)?)
}

fn verifier_key(signer: &dyn Signer) -> Result<VerifierKey, Failure> {
    VerifierKey::new(signer.key_name(), &signer.public_key())
        .map_err(|error| Failure::configuration(format!("the key that signs the audit log: {error}")))
}

/// Makes the data folder, for its owner only.
fn prepare_folder(config: &Config) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data_dir).map_err(|error| {
        let shown = config.data_dir.display();
        let message = format!(
            "the data folder `{shown}` (from {}) cannot be made or written; choose another with --data-dir",
            config.data_dir_from
        );
        Failure::unavailable(message, error)
    })
}

pub(crate) fn authorizer(config: &Config) -> Result<CedarAuthorizer, Failure> {
    let mut texts = Vec::new();
    for path in &config.policies {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::configuration(format!(
                "the policy file `{}` cannot be read: {error}",
                path.display()
            ))
        })?;
        texts.push((path.display().to_string(), text));
    }
    CedarAuthorizer::new(&texts).map_err(|error| Failure::configuration(format!("the policies: {error}")))
}

/// The content policy of a configuration.
pub(crate) fn content_policy(config: &Config) -> Result<ContentPolicy, Failure> {
    let redactor = Redactor::new(&config.redaction)
        .map_err(|error| Failure::configuration(format!("redaction: {error}")))?;
    let detector =
        SuspicionDetector::new().map_err(|error| Failure::internal("the content policy", error))?;
    Ok(ContentPolicy::new(redactor, detector))
}
