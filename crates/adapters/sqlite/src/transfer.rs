//! Moving: everything that the database holds, row by row, and a database that is made of such rows.

mod export;
mod import;

pub use import::import;

use arbiter_wire::transfer::{Counts, TABLES};
use rusqlite::Connection;

use crate::error::Fault;
use crate::number::natural;

const OPERATION: &str = "move rows";

/// How many rows each table has.
fn counts(connection: &Connection) -> Result<Counts, Fault> {
    let mut counts = Counts::default();
    for table in TABLES {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows = connection.query_row(&sql, [], |row| row.get(0))?;
        counts.set(table, natural(rows));
    }
    Ok(counts)
}
