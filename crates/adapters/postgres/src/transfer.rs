//! Moving: everything that the schema holds, row by row, and a schema that is filled with such rows.

mod artifacts;
mod columns;
mod export;
mod import;
mod tasks;

use arbiter_wire::transfer::{Counts, TABLES};

use crate::error::Fault;
use crate::number::natural;
use crate::session::{Session, get};

const OPERATION: &str = "move rows";

/// How many rows each table has.
async fn counts(session: &Session<'_>) -> Result<Counts, Fault> {
    let mut counts = Counts::default();
    for table in TABLES {
        counts.set(table, count(session, table).await?);
    }
    Ok(counts)
}

async fn count(session: &Session<'_>, table: &str) -> Result<u64, Fault> {
    let sql = format!("SELECT count(*) FROM {table}");
    let row = session.query_opt(&sql, &[]).await?;
    Ok(natural(get(&row.ok_or(Fault::Damaged("count"))?, 0)?))
}
