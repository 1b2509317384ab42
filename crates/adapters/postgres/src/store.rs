//! The store: a handle to the server, and the two ways through it, reading and writing.

use std::sync::Arc;

use arbiter_core::model::{TenantScope, Timestamp};
use arbiter_core::ports::{Clock, Entropy, StoreError};
use deadpool_postgres::{Object, Pool};
use futures_util::future::BoxFuture;
use tokio_postgres::IsolationLevel;

use crate::config::PostgresConfig;
use crate::connect::{Part, pool};
use crate::error::{Fault, OpenError};
use crate::names::Names;
use crate::schema;
use crate::session::Session;
use crate::write::Write;

/// Storage ports over a PostgreSQL database that many nodes share.
///
/// It needs a tokio runtime: connections are driven by tasks of it, which end when the store is dropped or closed.
///
/// # Cancel safety
/// Once polled, a mutation may commit although its future is dropped; sending it again with the same ids is safe. What
/// was not committed is rolled back, and the connection serves the next call.
pub struct PostgresStore {
    engine: Pool,
    reader: Pool,
    entropy: Arc<dyn Entropy>,
    time: Time,
    pub(crate) names: Names,
    pub(crate) max_agents: usize,
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
    pub async fn open(config: &PostgresConfig, entropy: Arc<dyn Entropy>) -> Result<Self, OpenError> {
        let engine = pool(config, Part::Engine)?;
        let reader = pool(config, Part::Reader)?;
        let connecting = OpenError::database("connecting");
        let mut connection = engine.get().await.map_err(&connecting)?;
        schema::migrate(&mut connection, config).await?;
        let connection = reader
            .get()
            .await
            .map_err(OpenError::database("connecting a reader"))?;
        schema::check_reader(&connection, config).await?;
        Ok(Self {
            engine,
            reader,
            entropy,
            time: Time::Server,
            names: Names::default(),
            max_agents: config.max_agents,
        })
    }

    /// Takes the time from `clock` instead of the server, for tests: each call tells its session the time.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.time = Time::Given(clock);
        self
    }

    /// Closes the connections as their calls end. Later calls fail.
    pub fn close(&self) {
        self.engine.close();
        self.reader.close();
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
        let pool = match scope {
            TenantScope::Tenant(_) => &self.reader,
            TenantScope::All => &self.engine,
        };
        let mut connection = taken(pool, operation).await?;
        let done = self.read_on(&mut connection, scope, work).await;
        done.map_err(|fault| given_up(connection, fault, operation))
    }

    async fn read_on<T, F>(&self, connection: &mut Object, scope: TenantScope, work: F) -> Result<T, Fault>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a Session<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let transaction = connection
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let session = Session::begin(transaction, self.given_now(), scope).await?;
        // nothing was written: the end needs no answer, and dropping the transaction asks for none
        work(&session).await
    }

    /// Does a mutation in one transaction, and answers after the commit.
    ///
    /// This is the seam at which calls that arrive at the same time can share a commit later: `work` is given what it
    /// may use and knows nothing of the transaction's beginning and end.
    pub(crate) async fn write<T, F>(&self, operation: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a mut Write<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let mut connection = taken(&self.engine, operation).await?;
        let done = self.write_on(&mut connection, work).await;
        done.map_err(|fault| given_up(connection, fault, operation))
    }

    async fn write_on<T, F>(&self, connection: &mut Object, work: F) -> Result<T, Fault>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a mut Write<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let transaction = connection.transaction().await?;
        let session = Session::begin(transaction, self.given_now(), TenantScope::All).await?;
        let mut write = Write::new(session, &*self.entropy);
        let done = work(&mut write).await?;
        let transaction = write.finish().await?;
        transaction.commit().await.map_err(Fault::Commit)?;
        Ok(done)
    }

    fn given_now(&self) -> Option<Timestamp> {
        match &self.time {
            Time::Server => None,
            Time::Given(clock) => Some(clock.now()),
        }
    }
}

async fn taken(pool: &Pool, operation: &'static str) -> Result<Object, StoreError> {
    pool.get()
        .await
        .map_err(|error| Fault::from(error).into_store(operation))
}

/// The error of a call, whose connection goes back to the pool unless it is lost.
fn given_up(connection: Object, fault: Fault, operation: &'static str) -> StoreError {
    if fault.is_lost() {
        drop(Object::take(connection));
    }
    fault.into_store(operation)
}
