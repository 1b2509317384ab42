//! A mutation in the making: its transaction, and the audit leaves that are stored with it.

use arbiter_core::model::Record;
use arbiter_core::ports::Entropy;

use crate::error::Fault;
use crate::leaves::Leaves;
use crate::session::Session;
use crate::transaction::Transaction;

/// What a mutation works with.
pub(crate) struct Write<'t> {
    /// The transaction.
    pub(crate) session: Session<'t>,
    /// On which rows it counts where tasks of tenants stand.
    pub(crate) shard: i16,
    leaves: Leaves,
    entropy: &'t dyn Entropy,
}

impl std::fmt::Debug for Write<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl<'t> Write<'t> {
    pub(crate) fn new(session: Session<'t>, entropy: &'t dyn Entropy, shard: i16) -> Self {
        Self {
            session,
            shard,
            leaves: Leaves::default(),
            entropy,
        }
    }

    /// Appends the leaf of a record to those that are stored with the mutation.
    pub(crate) fn leaf(&mut self, record: &Record) -> Result<(), Fault> {
        self.leaves.push(record, || {
            let mut salt = [0; 16];
            self.entropy.fill(&mut salt);
            salt
        })
    }

    /// Takes the leaves out, for who stores them with the last of the mutation's statements: see [`put_leaves`].
    pub(crate) fn take_leaves(&mut self) -> Leaves {
        std::mem::take(&mut self.leaves)
    }

    /// Stores the leaves that nobody took and gives the transaction up, to be committed.
    pub(crate) async fn finish(self) -> Result<Transaction<'t>, Fault> {
        put_leaves(&self.session, &self.leaves).await?;
        Ok(self.session.end())
    }
}

pub(crate) const PUT_LEAVES: &str =
    "INSERT INTO audit_batch (count, at, hashes, leaves, details) VALUES ($1, $2, $3, $4, $5)";

/// Stores the leaves of a mutation, if there are any.
///
/// INVARIANT: this is the last statement that locks or writes, so every lock that the mutation needs is held when its
/// batch takes its number. Of two mutations that touch the same row the later one has the greater number.
pub(crate) async fn put_leaves(session: &Session<'_>, leaves: &Leaves) -> Result<(), Fault> {
    let Leaves {
        packed,
        hashes,
        details,
        count,
        detailed,
    } = leaves;
    if *count > 0 {
        let details = (*detailed > 0).then_some(details);
        let now = session.now.as_micros();
        session
            .execute(PUT_LEAVES, &[count, &now, hashes, packed, &details])
            .await?;
    }
    Ok(())
}
