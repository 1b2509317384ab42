//! Batches of leaves, taken apart into entries.

use arbiter_audit::batch;
use arbiter_core::ports::AuditEntry;
use tokio_postgres::Row;

use crate::error::Fault;
use crate::number::natural;
use crate::session::get;

/// Takes the entries of a batch apart. The columns of the row are `first`, `leaves` and `details`.
pub(super) fn entries(row: &Row) -> Result<Vec<AuditEntry>, Fault> {
    Ok(batch::entries(natural(get(row, 0)?), get(row, 1)?, get(row, 2)?)?)
}

/// The same, however damaged they are: see [`batch::entries_as_they_stand`].
pub(super) fn entries_as_they_stand(row: &Row) -> Result<Vec<AuditEntry>, Fault> {
    let first = natural(get(row, 0)?);
    Ok(batch::entries_as_they_stand(first, get(row, 1)?, get(row, 2)?))
}
