//! What a store holds, row by row, on its way into a store of another kind.
//!
//! Rows are never stored in this form and never leave the program, so they carry no version. Bodies are the texts that
//! the stores keep, as they stand: they have versions of their own, and nothing that a newer program added to one is lost
//! on the way. What follows from a body (columns of indexes, hashes of labels, the tree of the audit log) is not here:
//! who takes rows makes it by its own rules.
//!
//! A store gives its rows in batches, in any order but for three rules: what was signed comes before the audit log, the
//! pieces of an artifact right behind it, and [`Rows::End`] last. Without that, nothing is kept.

mod check;
mod counts;
mod error;
mod row;

pub use check::{Check, CheckedTask, PlacedBatch};
pub use counts::{Counts, TABLES};
pub use error::{Damage, TransferError};
pub use row::{
    AgentRow, ArtifactRow, BatchRow, Body, DocumentRow, End, LeaseRow, OutboxRow, Piece, PointRow, Rows,
    SeriesRow, SignedRow, TaskRow,
};

/// How many rows a batch has at most.
pub const BATCH_ROWS: usize = 500;

/// A batch with so many bytes takes no further row.
pub const BATCH_BYTES: usize = 1 << 20;

/// Rows on their way into a batch.
#[derive(Debug)]
pub struct Batch<T> {
    rows: Vec<T>,
    bytes: usize,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            bytes: 0,
        }
    }
}

impl<T> Batch<T> {
    /// Adds a row that has about so many bytes. Gives the rows when they are enough for a batch.
    pub fn add(&mut self, row: T, bytes: usize) -> Option<Vec<T>> {
        self.rows.push(row);
        self.bytes = self.bytes.saturating_add(bytes);
        (self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES).then(|| self.take())
    }

    /// The rows that are left.
    pub fn rest(mut self) -> Option<Vec<T>> {
        (!self.rows.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(&mut self.rows)
    }
}
