//! What SQLite does by itself, on the same disk and with the same settings.

use std::time::Instant;

use rusqlite::{Connection, params};
use tempfile::TempDir;

fn open(schema: &str) -> (TempDir, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join("raw.db")).unwrap();
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;
             PRAGMA wal_autocheckpoint = 10000;",
        )
        .unwrap();
    connection.execute_batch(schema).unwrap();
    (folder, connection)
}

fn execute(connection: &Connection, sql: &str, parameters: impl rusqlite::Params) {
    connection
        .prepare_cached(sql)
        .unwrap()
        .execute(parameters)
        .unwrap();
}

/// An id of a number, as the store's bench makes them.
fn id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

/// Inserts rows of about 300 bytes with a unique id, so many per commit; gives rows per second.
pub(crate) fn rows(count: u64, per_commit: u64) -> f64 {
    let (_folder, connection) =
        open("CREATE TABLE a (n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, body TEXT NOT NULL) STRICT;");
    let body = "x".repeat(280);
    let start = Instant::now();
    let mut number = 0;
    while number < count {
        execute(&connection, "BEGIN IMMEDIATE", []);
        for _ in 0..per_commit {
            number += 1;
            execute(
                &connection,
                "INSERT INTO a (id, body) VALUES (?1, ?2)",
                params![id(number), body],
            );
        }
        execute(&connection, "COMMIT", []);
    }
    number as f64 / start.elapsed().as_secs_f64()
}

/// The statements of whole lives with bodies of the sizes that the store writes, about `group` calls per commit, and
/// one row of leaves for each commit; gives lives per second.
pub(crate) fn lives(count: u64, group: f64) -> f64 {
    lives_with(count, group, true)
}

/// [`lives`], with or without the rows of leaves.
pub(crate) fn lives_with(count: u64, group: f64, audit: bool) -> f64 {
    let (_folder, connection) = open(include_str!("../../migrations/0001_init.sql"));
    let tenant = [9_u8; 16];
    let holder = [b'a'; 17];
    let (queued, running, closed) = ("x".repeat(340), "x".repeat(670), "x".repeat(360));
    let body = "x".repeat(405);
    let (attempt, leaves) = ("x".repeat(480), vec![7_u8; 420]);
    let lives_per_commit = (group / 3.0).round().max(1.0) as u64;
    let start = Instant::now();
    let mut done = 0;
    while done < count {
        execute(&connection, "BEGIN IMMEDIATE", []);
        for number in done + 1..=done + lives_per_commit {
            let key = number as i64;
            connection
                .prepare_cached("SELECT tenant FROM task WHERE id = ?1")
                .unwrap()
                .exists([id(number)])
                .unwrap();
            execute(
                &connection,
                "INSERT INTO task (id, tenant, lane, order_key, state, due_at, holder, closed_at, status)
                 VALUES (?1, ?2, 5, ?3, 0, NULL, NULL, NULL, ?4)",
                params![id(number), tenant, key, queued],
            );
            execute(
                &connection,
                "INSERT INTO task_spec (n, idempotency_key, body) VALUES (?1, NULL, ?2)",
                params![key, body],
            );
        }
        for number in done + 1..=done + lives_per_commit {
            let n: i64 = connection
                .prepare_cached(
                    "SELECT n, status FROM task INDEXED BY task_claimable
                     WHERE lane = 5 AND state IN (0, 4) ORDER BY order_key, id LIMIT 1",
                )
                .unwrap()
                .query_row([], |row| row.get(0))
                .unwrap();
            execute(
                &connection,
                "UPDATE task SET lane = 5, order_key = ?1, state = 3, due_at = ?1, holder = ?2, closed_at = NULL,
                   status = ?3 WHERE n = ?1",
                params![n, holder, running],
            );
            connection
                .prepare_cached("SELECT n, status FROM task WHERE id = ?1")
                .unwrap()
                .exists([id(number)])
                .unwrap();
            execute(
                &connection,
                "UPDATE task SET lane = 5, order_key = ?1, state = 10, due_at = NULL, holder = NULL, closed_at = ?1,
                   status = ?2 WHERE n = ?1",
                params![n, closed],
            );
            execute(
                &connection,
                "INSERT INTO attempt (n, fence, command, body) VALUES (?1, 1, ?2, ?3)",
                params![n, tenant, attempt],
            );
        }
        if audit {
            execute(
                &connection,
                "INSERT INTO audit_batch (first, count, root, hashes, leaves, details) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    done as i64,
                    lives_per_commit as i64 * 3,
                    [1_u8; 32],
                    vec![7_u8; lives_per_commit as usize * 96],
                    leaves.repeat(lives_per_commit as usize * 3),
                    leaves.repeat(lives_per_commit as usize * 2),
                ],
            );
        }
        execute(&connection, "COMMIT", []);
        done += lives_per_commit;
    }
    done as f64 / start.elapsed().as_secs_f64()
}
