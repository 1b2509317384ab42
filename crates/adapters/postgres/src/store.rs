//! The store: a handle to the server, and the two ways through it, reading and writing.

use std::sync::Arc;

use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{TenantScope, Timestamp};
use arbiter_core::ports::{Clock, Entropy, Spawner, StoreError};
use deadpool_postgres::{Object, Pool};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use crate::config::PostgresConfig;
use crate::connect::{Part, pool};
use crate::error::{Fault, OpenError};
use crate::line::Line;
use crate::names::Names;
use crate::schema;
use crate::session::{Session, uuid};
use crate::tasks::{Apply, Extend, LaneNames, Submit};
use crate::tls::Tls;
use crate::transaction::Purpose;
use crate::write::Write;

/// Storage ports over a PostgreSQL database that many nodes share.
///
/// It needs a tokio runtime: connections are driven by tasks of it, which end when the store is dropped or closed.
///
/// # Cancel safety
/// Once polled, a mutation may commit although its future is dropped; sending it again with the same ids is safe. What
/// was not committed is rolled back, and the connection serves the next call.
pub struct PostgresStore {
    pub(crate) core: Arc<Core>,
    pub(crate) lines: Lines,
    pub(crate) lanes: LaneNames,
    pub(crate) names: Names,
    pub(crate) max_agents: usize,
    pub(crate) max_series: usize,
    shard: i16,
}

/// What a store works with.
pub struct PostgresParts<'a> {
    /// Where salts of audit details come from.
    pub entropy: Arc<dyn Entropy>,
    /// What runs the workers of the store; it must be of a tokio runtime.
    pub spawner: &'a dyn Spawner,
    /// The rules of leases and retries. All nodes of a store should have the same.
    pub rules: Rules,
    /// The time, instead of the server's, for tests: each call tells its session the time.
    pub clock: Option<Arc<dyn Clock>>,
}

impl std::fmt::Debug for PostgresParts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresParts")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// The calls that share commits with others of their kind.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) submits: Line<Submit>,
    pub(crate) applies: Line<Apply>,
    pub(crate) extends: Line<Extend>,
}

/// The rows on which submissions of all nodes count: one that comes close to a limit locks it.
const SUBMIT_SHARD: i16 = 0;

/// How many groups of rows there are for other calls of nodes, and how many rows a group has.
const NODE_SHARDS: i16 = 16;
const SHARDS_PER_NODE: i16 = 4;

/// The connections and settings that calls need.
pub(crate) struct Core {
    engine: Pool,
    reader: Pool,
    entropy: Arc<dyn Entropy>,
    time: Time,
    pub(crate) rules: Rules,
}

/// The store's clock.
#[derive(Clone)]
enum Time {
    /// The server's, moved by the session's offset.
    Server,
    /// One that tests move.
    Given(Arc<dyn Clock>),
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, brings the schema up to date and checks that readers are kept apart by tenant.
    ///
    /// # Errors
    /// [`OpenError::Setting`] when a setting cannot be used, [`OpenError::NewerSchema`] when a newer program made the
    /// schema, [`OpenError::Reader`] when the reader's role is missing or not under row-level security,
    /// [`OpenError::Database`] when the server cannot be reached or fails.
    ///
    /// # Cancel safety
    /// Safe: a migration that was begun is rolled back.
    pub async fn open(config: &PostgresConfig, parts: PostgresParts<'_>) -> Result<Self, OpenError> {
        let tls = Tls::new(config)?;
        let engine = pool(config, Part::Engine, &tls)?;
        let reader = pool(config, Part::Reader, &tls)?;
        let connecting = OpenError::database("connecting");
        let mut connection = engine.get().await.map_err(&connecting)?;
        schema::migrate(&mut connection, config).await?;
        let connection = reader
            .get()
            .await
            .map_err(OpenError::database("connecting a reader"))?;
        schema::check_reader(&connection, config).await?;
        let mut word = [0; 1];
        parts.entropy.fill(&mut word);
        let shard = 1 + i16::from(word[0]) % NODE_SHARDS * SHARDS_PER_NODE;
        let core = Arc::new(Core {
            engine,
            reader,
            entropy: parts.entropy,
            time: parts.clock.map_or(Time::Server, Time::Given),
            rules: parts.rules,
        });
        let lines = Lines {
            submits: Line::start(&core, parts.spawner, &[SUBMIT_SHARD, SUBMIT_SHARD]),
            applies: Line::start(&core, parts.spawner, &[shard + 1, shard + 2]),
            extends: Line::start(&core, parts.spawner, &[shard + 3]),
        };
        Ok(Self {
            core,
            lines,
            lanes: LaneNames::default(),
            names: Names::default(),
            max_agents: config.max_agents,
            max_series: config.max_series,
            shard,
        })
    }

    /// The store's clock, by which leases, due times and heartbeats are measured.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when the server cannot be asked, [`StoreError::Busy`] when no connection is free in time.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        self.read("read the time", TenantScope::All, |session| {
            Box::pin(async move { Ok(session.now) })
        })
        .await
    }

    /// Closes the connections as their calls end. Later calls fail.
    pub fn close(&self) {
        self.core.engine.close();
        self.core.reader.close();
    }

    /// Reads something in one snapshot. What one tenant may see is read under row-level security, what all may see by
    /// the engine.
    pub(crate) async fn read<T, F>(
        &self,
        operation: &'static str,
        scope: TenantScope,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a Session<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let read = self.core.read(scope, work).await;
        read.map_err(|fault| fault.into_store(operation))
    }

    /// Does a mutation in one transaction, and answers after the commit.
    pub(crate) async fn write<T, F>(&self, operation: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a mut Write<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let done = self.core.transact(self.shard, work).await;
        done.map_err(|fault| fault.into_store(operation))
    }
}

impl Core {
    pub(crate) async fn read<T, F>(&self, scope: TenantScope, work: F) -> Result<T, Fault>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a Session<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let pool = match scope {
            TenantScope::Tenant(_) => &self.reader,
            TenantScope::All => &self.engine,
        };
        let mut connection = pool.get().await?;
        let done = self.read_on(&mut connection, scope, work).await;
        given_back(connection, done)
    }

    async fn read_on<T, F>(&self, connection: &mut Object, scope: TenantScope, work: F) -> Result<T, Fault>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a Session<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let session = Session::begin(connection, Purpose::Read, self.given_now(), scope).await?;
        // nothing was written: the end needs no answer, and dropping the transaction asks for none
        work(&session).await
    }

    /// Runs `work` in one transaction and commits it. `work` knows nothing of the transaction's beginning and end.
    pub(crate) async fn transact<T, F>(&self, shard: i16, work: F) -> Result<T, Fault>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a mut Write<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let mut connection = self.engine.get().await?;
        let done = self.transact_on(&mut connection, shard, work).await;
        given_back(connection, done)
    }

    async fn transact_on<T, F>(&self, connection: &mut Object, shard: i16, work: F) -> Result<T, Fault>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a mut Write<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let all = TenantScope::All;
        let session = Session::begin(connection, Purpose::Write, self.given_now(), all).await?;
        let mut write = Write::new(session, &*self.entropy, shard);
        let done = work(&mut write).await?;
        let transaction = write.finish().await?;
        transaction.commit().await.map_err(Fault::Commit)?;
        Ok(done)
    }

    /// A connection of the engine.
    pub(crate) async fn connection(&self) -> Result<Object, Fault> {
        Ok(self.engine.get().await?)
    }

    /// An id that nobody else draws.
    pub(crate) fn random_id(&self) -> Uuid {
        let mut id = [0; 16];
        self.entropy.fill(&mut id);
        uuid(&id)
    }

    fn given_now(&self) -> Option<Timestamp> {
        match &self.time {
            Time::Server => None,
            Time::Given(clock) => Some(clock.now()),
        }
    }
}

/// Gives a connection back to its pool, unless it is lost.
fn given_back<T>(connection: Object, done: Result<T, Fault>) -> Result<T, Fault> {
    if done.as_ref().is_err_and(Fault::is_lost) {
        drop(Object::take(connection));
    }
    done
}
