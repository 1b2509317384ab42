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
        let sql = format!("SELECT count(*) FROM {table}");
        let row = session.query_opt(&sql, &[]).await?;
        counts.set(table, natural(get(&row.ok_or(Fault::Damaged("count"))?, 0)?));
    }
    Ok(counts)
}
