//! A transaction whose beginning travels with its first statement.

use std::ops::Deref;

use deadpool_postgres::{ClientWrapper, Object};
use futures_util::FutureExt as _;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reading one snapshot.
    Read,
    /// Reading one snapshot that is taken at a moment at which no batch of leaves is on its way; until [`GO_ON`].
    Copy,
    /// Locking and writing; each statement sees what was committed before it.
    Write,
}

/// Lets batches of leaves be committed again. The snapshot stays.
pub(crate) const GO_ON: &str = "ROLLBACK TO SAVEPOINT quiet";

impl Purpose {
    const fn begin(self) -> &'static str {
        match self {
            Self::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            // a lock takes no snapshot; the first statement after it does
            Self::Copy => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SAVEPOINT quiet; LOCK TABLE audit_batch IN SHARE MODE"
            }
            Self::Write => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }
}

/// A transaction on a connection of the pool. It is rolled back unless it was committed.
///
/// The driver's own waits for the answer to `BEGIN` before anything else can be sent; this one does not have to.
pub(crate) struct Transaction<'c> {
    connection: &'c ClientWrapper,
    is_open: bool,
}

impl<'c> Transaction<'c> {
    /// A transaction that [`Self::begin`] begins. The connection serves nothing else as long as it is there.
    pub(crate) fn new(connection: &'c mut Object) -> Self {
        Self {
            connection,
            is_open: true,
        }
    }

    /// Begins it. Statements that are sent after this was polled once are part of it: they need not wait for its answer.
    pub(crate) async fn begin(&self, purpose: Purpose) -> Result<(), tokio_postgres::Error> {
        self.connection.batch_execute(purpose.begin()).await
    }

    /// Commits it.
    ///
    /// # Cancel safety
    /// Once polled it may commit although the future is dropped.
    pub(crate) async fn commit(mut self) -> Result<(), tokio_postgres::Error> {
        self.is_open = false;
        self.connection.batch_execute("COMMIT").await
    }
}

impl Deref for Transaction<'_> {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // sent at once, and answered to nobody: what is sent on the connection later comes after it
            let _ = self.connection.batch_execute("ROLLBACK").now_or_never();
        }
    }
}
