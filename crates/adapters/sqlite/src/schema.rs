//! Opening connections, and the migrations that bring a database to the present schema.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::OpenError;

/// The migrations in order; the schema's version is their number. They only ever go forward.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_init.sql"),
    include_str!("../migrations/0002_agent_seen.sql"),
    include_str!("../migrations/0003_outbox_about.sql"),
    include_str!("../migrations/0004_telemetry.sql"),
    include_str!("../migrations/0005_agent_heard.sql"),
    include_str!("../migrations/0006_outcome_at.sql"),
];

/// Marks the file as ours ("Arbi").
const APPLICATION_ID: i32 = 0x4172_6269;

/// How many pages the write-ahead log grows to before a commit copies it into the database: longer logs make fewer and
/// larger copies.
const CHECKPOINT_PAGES: u32 = 10_000;

/// How long a connection waits for a lock of another one.
pub(crate) const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// More statements than the store has.
const STATEMENTS: usize = 256;

/// Opens the connection of the writer and migrates the database.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = OpenError::database("opening");
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(&failed)?;
    // SQLite opens what it must not write for reading, and would leave files beside it that are in the way later
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(&failed)? {
        return Err(OpenError::ReadOnly {
            path: path.to_owned(),
        });
    }
    let is_new = user_version(&connection).map_err(&failed)? == 0;
    check_owner(&connection, path, is_new)?;
    set_writer(&connection).map_err(OpenError::database("setting up"))?;
    migrate(&mut connection, MIGRATIONS)?;
    Ok(connection)
}

fn set_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // plans are the same for every parameter: otherwise a statement is prepared anew at each binding, because its
    // value might decide whether a partial index can be used
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // what is deleted or replaced is overwritten in its page at once: nothing can find it again when it is to be erased
    connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", false)?;
    // of the size that is given in KiB when negative
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 * 1024 * 1024, |_| Ok(()))
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // plans are the same for every parameter: otherwise a statement is prepared anew at each binding, because its
    // value might decide whether a partial index can be used
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -2 * 1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))?;
    Ok(connection)
}

pub(crate) fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Refuses a file that some other program made.
pub(crate) fn check_owner(connection: &Connection, path: &Path, is_new: bool) -> Result<(), OpenError> {
    let failed = OpenError::database("opening");
    let found: i32 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(&failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(&failed)?;
    if found == APPLICATION_ID || (is_new && found == 0 && tables == 0) {
        return Ok(());
    }
    Err(OpenError::Foreign {
        path: path.to_owned(),
    })
}

/// Brings the schema to the version after the last of `migrations`, each in a transaction of its own.
fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), OpenError> {
    let failed = OpenError::database("migrating");
    let known = migrations.len() as i64;
    loop {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        let found = user_version(&transaction).map_err(&failed)?;
        if found > known {
            return Err(OpenError::NewerSchema { found, known });
        }
        let next = usize::try_from(found).ok().and_then(|at| migrations.get(at));
        let Some(next) = next else {
            return Ok(());
        };
        transaction.execute_batch(next).map_err(&failed)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION_ID)
            .map_err(&failed)?;
        transaction
            .pragma_update(None, "user_version", found + 1)
            .map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_run_once_each_and_forward_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        drop(open_writer(&path).unwrap());
        let mut connection = open_writer(&path).unwrap();
        let known = MIGRATIONS.len() as i64;
        let with_another = [MIGRATIONS, &["CREATE TABLE later (a INTEGER) STRICT;"]].concat();
        migrate(&mut connection, &with_another).unwrap();
        migrate(&mut connection, &with_another).unwrap();
        assert_eq!(user_version(&connection).unwrap(), known + 1);
        drop(connection);
        match open_writer(&path) {
            Err(OpenError::NewerSchema { found, known: told }) => {
                assert_eq!((found, told), (known + 1, known));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before() {
        let mut connection = Connection::open_in_memory().unwrap();
        let broken = ["CREATE TABLE a (x) ;", "CREATE TABLE b (x); CREATE TABLE a (y);"];
        assert!(migrate(&mut connection, &broken).is_err());
        assert_eq!(user_version(&connection).unwrap(), 1);
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_foreign_database_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE mine (a)").unwrap();
        drop(other);
        assert!(matches!(open_writer(&path), Err(OpenError::Foreign { .. })));
        std::fs::write(
            &path,
            "a text that is no database at all, and long enough to be one",
        )
        .unwrap();
        assert!(matches!(open_writer(&path), Err(OpenError::Database { .. })));
    }

    #[test]
    fn commits_are_flushed_to_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("a.db")).unwrap();
        let number = |pragma| {
            connection
                .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
                .unwrap()
        };
        assert_eq!(number("synchronous"), 2);
        let mode: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        assert_eq!(mode, "wal");
    }
}
