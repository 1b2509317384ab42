//! The store: which adapter serves the storage ports.

#[cfg(feature = "postgres")]
mod clock;

use std::sync::Arc;

use arbiter_adapter_files::FileArtifacts;
use arbiter_adapter_inmem::InProcessWakeups;
use arbiter_adapter_sqlite::{OpenError, SqliteConfig, SqliteStore};
use arbiter_core::ports::{
    AgentRegistry, ArtifactStore, AuditLog, AuditTree, Clock, Documents, Entropy, LeaseStore, Outbox,
    Spawner, TaskReader, TaskStore, TelemetryStore, Wakeups,
};

#[cfg(feature = "postgres")]
pub(crate) use clock::StoreClock;

use crate::config::{Config, StoreConfig};
use crate::exit::Failure;

/// Every storage port, served by one adapter over the same data.
pub(crate) trait Storage:
    TaskStore
    + TaskReader
    + Documents
    + Outbox
    + AuditLog
    + AuditTree
    + LeaseStore
    + AgentRegistry
    + TelemetryStore
{
}

impl<S> Storage for S where
    S: TaskStore
        + TaskReader
        + Documents
        + Outbox
        + AuditLog
        + AuditTree
        + LeaseStore
        + AgentRegistry
        + TelemetryStore
{
}

/// The store of this process.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Storage>,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    pub(crate) handle: Handle,
    /// The time as the store tells it.
    pub(crate) clock: Arc<dyn Clock>,
}

/// What can be done with a store beside the ports.
pub(crate) enum Handle {
    /// A file of this process alone.
    Embedded(Arc<SqliteStore>),
    /// A database that other nodes use at the same time.
    #[cfg(feature = "postgres")]
    Shared {
        store: Arc<arbiter_adapter_postgres::PostgresStore>,
        /// Its time.
        time: Arc<StoreClock>,
    },
}

impl Handle {
    /// The store in the data folder, if it is that.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(clippy::unnecessary_wraps, reason = "this build knows no other store")
    )]
    pub(crate) const fn embedded(&self) -> Option<&Arc<SqliteStore>> {
        match self {
            Self::Embedded(store) => Some(store),
            #[cfg(feature = "postgres")]
            Self::Shared { .. } => None,
        }
    }

    /// Whether other nodes use the store at the same time.
    pub(crate) const fn is_shared(&self) -> bool {
        self.embedded().is_none()
    }

    /// Ends what is under way.
    pub(crate) async fn close(&self) {
        match self {
            Self::Embedded(store) => store.close().await,
            #[cfg(feature = "postgres")]
            Self::Shared { store, .. } => store.close(),
        }
    }
}

/// Artifacts, and the folder that they are in if they are files.
pub(crate) type Artifacts = (Arc<dyn ArtifactStore>, Option<Arc<FileArtifacts>>);

/// Opens the artifacts beside a store: in the data folder, or in the database where nodes share one.
///
/// # Errors
/// A failure that says what could not be opened.
pub(crate) async fn artifacts(
    config: &Config,
    handle: &Handle,
    quota_bytes: u64,
    #[cfg_attr(
        not(feature = "postgres"),
        expect(unused_variables, reason = "files are written by their callers")
    )]
    spawner: &dyn Spawner,
) -> Result<Artifacts, Failure> {
    match handle {
        Handle::Embedded(_) => {
            let files = FileArtifacts::open(config.data_dir.join("artifacts"), quota_bytes)
                .await
                .map_err(|error| {
                    Failure::unavailable("the folder of artifacts could not be opened", error)
                })?;
            let files = Arc::new(files);
            Ok((files.clone(), Some(files)))
        }
        #[cfg(feature = "postgres")]
        Handle::Shared { store, .. } => Ok((Arc::new(store.artifacts(quota_bytes, spawner)), None)),
    }
}

/// Opens the store of the configuration.
///
/// # Errors
/// A failure that says what could not be opened and what to do.
#[cfg_attr(
    not(feature = "postgres"),
    expect(clippy::unused_async, reason = "this build knows no store that is far away")
)]
pub(crate) async fn open(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    spawner: &dyn Spawner,
) -> Result<Opened, Failure> {
    match &config.store {
        StoreConfig::Embedded => embedded(config, clock, entropy, spawner),
        #[cfg(feature = "postgres")]
        StoreConfig::Shared(shared) => shared_by_nodes(config, shared, clock, entropy, spawner).await,
        #[cfg(not(feature = "postgres"))]
        StoreConfig::Shared(_) => Err(Failure::configuration("this build has no shared store")),
    }
}

fn embedded(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    spawner: &dyn Spawner,
) -> Result<Opened, Failure> {
    let settings = SqliteConfig {
        max_agents: config.upkeep.most_agents,
        ..SqliteConfig::new(&config.data_dir)
    };
    let store = SqliteStore::open(&settings, config.rules, Arc::clone(clock), Arc::clone(entropy));
    let store = Arc::new(store.map_err(|error| in_use(error, config))?);
    store.answer_on(spawner);
    Ok(Opened {
        store: store.clone(),
        wakeups: Arc::new(InProcessWakeups::new()),
        handle: Handle::Embedded(store),
        clock: Arc::clone(clock),
    })
}

/// Says where the owner of the data folder can be reached, if it serves.
fn in_use(error: OpenError, config: &Config) -> Failure {
    let owner = match &error {
        OpenError::Owned { .. } => crate::owner::find(&config.data_dir),
        _ => None,
    };
    let mut failure = Failure::from(error);
    if let Some(owner) = owner {
        let told = &failure.message;
        failure.message = format!(
            "{told}, which serves at {}; use it with --server {}",
            owner.url, owner.url
        );
    }
    failure
}

#[cfg(feature = "postgres")]
async fn shared_by_nodes(
    config: &Config,
    shared: &crate::config::SharedStore,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    spawner: &dyn Spawner,
) -> Result<Opened, Failure> {
    use arbiter_adapter_postgres::{PostgresConfig, PostgresParts, PostgresStore, PostgresWakeups};

    let settings = PostgresConfig {
        reader_url: shared.reader_url.clone(),
        reader_role: shared.reader_role.clone(),
        schema: shared.schema.clone(),
        ca_file: shared.ca_file.clone(),
        engine_connections: shared.connections,
        reader_connections: shared.reader_connections,
        max_agents: config.upkeep.most_agents,
        ..PostgresConfig::new(shared.url.clone())
    };
    let parts = PostgresParts {
        entropy: Arc::clone(entropy),
        spawner,
        rules: config.rules,
        clock: None,
    };
    let store = PostgresStore::open(&settings, parts).await?;
    let wakeups = PostgresWakeups::start(&settings, spawner, Arc::clone(clock)).await?;
    let store = Arc::new(store);
    let time = Arc::new(StoreClock::new(Arc::clone(clock), store.clone()));
    time.look().await?;
    Ok(Opened {
        store: store.clone(),
        wakeups: Arc::new(wakeups),
        clock: time.clone(),
        handle: Handle::Shared { store, time },
    })
}
