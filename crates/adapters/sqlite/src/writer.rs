//! The one writer: runs jobs in groups, one commit each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arbiter_core::lifecycle::Rules;
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Applied, Entropy, Retry, StoreError, TreeHead};
use rusqlite::Connection;

use crate::error::{Fault, GroupFailure, OpenError, failed};
use crate::group::{Cache, Group};
use crate::job::Job;
use crate::leaves::Leaves;
use crate::lock::DataLock;
use crate::schema;
use crate::tail::Tail;

/// How long the writer waits for readers when it empties its log of what was erased.
const SCRUB_WAIT: Duration = Duration::from_millis(50);
/// When it tries again after a reader was in the way.
pub(crate) const SCRUB_AGAIN: Duration = Duration::from_secs(1);

/// Runs groups of jobs. A plain struct: [`SqliteStore::open`](crate::SqliteStore::open) puts a thread around it, a
/// simulation calls it from wherever it likes.
///
/// Jobs normally run without savepoints, which would cost a copy of each page that a job touches first. When a job
/// fails after it has written, the whole group is rolled back and run again with savepoints.
pub struct Writer {
    path: PathBuf,
    rules: Rules,
    entropy: Arc<dyn Entropy>,
    head: Arc<RwLock<TreeHead>>,
    open: Option<Open>,
    leaves: Leaves,
    lock: Option<DataLock>,
    /// Something was deleted that the log of writes has yet: it is emptied at this moment, or when a group comes later.
    scrub_at: Option<Timestamp>,
}

/// What belongs to one connection and dies with it.
struct Open {
    connection: Connection,
    cache: Cache,
    tail: Tail,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Why a group did not commit.
enum Stopped {
    /// A job failed after it had written: nothing was applied, run again with savepoints.
    Again,
    /// Nothing was applied.
    NotApplied(Fault),
    /// The commit itself failed.
    Unknown(rusqlite::Error),
}

impl Open {
    fn new(path: &std::path::Path) -> Result<Self, OpenError> {
        let connection = schema::open_writer(path)?;
        let tail = Tail::load(&connection)?;
        Ok(Self {
            connection,
            cache: Cache::default(),
            tail,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Writer {
    pub(crate) fn open(
        path: PathBuf,
        lock: DataLock,
        rules: Rules,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let open = Open::new(&path)?;
        let head = Arc::new(RwLock::new(open.tail.head()));
        Ok(Self {
            path,
            rules,
            entropy,
            head,
            open: Some(open),
            leaves: Leaves::default(),
            lock: Some(lock),
            // What an earlier process erased may be in its log of writes yet.
            scrub_at: Some(Timestamp::from_micros(i64::MIN)),
        })
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.open.as_ref().map(|open| &open.connection)
    }

    /// The head of the audit tree as of the last commit.
    pub(crate) fn head(&self) -> Arc<RwLock<TreeHead>> {
        Arc::clone(&self.head)
    }

    /// Runs jobs as one group and answers each of them after the commit.
    ///
    /// `now` is the store's clock for all of them. A job that fails, or panics, is rolled back alone.
    pub fn run(&mut self, jobs: Vec<Job>, now: Timestamp) {
        self.commit(jobs, now).into_iter().for_each(Job::finish);
    }

    /// Runs jobs as one group and gives them back with their answers.
    pub(crate) fn commit(&mut self, mut jobs: Vec<Job>, now: Timestamp) -> Vec<Job> {
        let mut stopped = self.attempt(&mut jobs, now, false);
        if matches!(stopped, Err(Stopped::Again)) {
            stopped = self.attempt(&mut jobs, now, true);
        }
        if self.scrub_at.is_some_and(|at| at <= now) {
            self.scrub(now);
        }
        let (fault, applied) = match stopped {
            Ok(()) => return jobs,
            Err(Stopped::NotApplied(fault)) => (fault, Applied::No),
            Err(Stopped::Unknown(error)) => (Fault::Sql(error), Applied::Unknown),
            Err(Stopped::Again) => (Fault::Misuse("the group was undone twice"), Applied::No),
        };
        // what is remembered may not be what the database has: start from the file
        self.open = None;
        let failure = GroupFailure::of(fault);
        for job in &mut jobs {
            job.fail(failure.error(job.operation(), applied));
        }
        jobs
    }

    fn attempt(&mut self, jobs: &mut [Job], now: Timestamp, careful: bool) -> Result<(), Stopped> {
        if self.lock.is_none() {
            return Err(Stopped::NotApplied(Fault::Misuse("the store is closed")));
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let opened =
                    Open::new(&self.path).map_err(|error| Stopped::NotApplied(Fault::Open(error)))?;
                none.insert(opened)
            }
        };
        let Open {
            connection,
            cache,
            tail,
        } = open;
        cache.trim();
        let not_applied = |error: rusqlite::Error| Stopped::NotApplied(error.into());
        execute(connection, "BEGIN IMMEDIATE").map_err(not_applied)?;
        let parts = (&self.rules, &*self.entropy);
        let mut group = Group::new(connection, cache, &mut self.leaves, parts, now);
        let start = group.mark();
        let worked = run_all(jobs, &mut group, careful).and_then(|()| {
            let written = group
                .write_counts()
                .and_then(|()| tail.write(connection, group.leaves()));
            written.map_err(Stopped::NotApplied)
        });
        if group.scrubs() {
            self.scrub_at = Some(now);
        }
        if let Err(stopped) = worked {
            if !connection.is_autocommit() {
                execute(connection, "ROLLBACK").map_err(not_applied)?;
            }
            group.back_to(start);
            return Err(stopped);
        }
        let wrote = group.wrote_since(&start);
        execute(connection, "COMMIT").map_err(Stopped::Unknown)?;
        if wrote {
            *self.head.write().unwrap_or_else(PoisonError::into_inner) = tail.head();
        }
        Ok(())
    }

    /// Copies the write-ahead log into the database, closes it and gives up the lock. Jobs that are run later
    /// fail.
    pub fn close(&mut self) {
        self.checkpoint();
        self.open = None;
        self.lock = None;
    }

    /// Whether the log of writes is to be emptied of what was erased.
    pub(crate) const fn is_to_scrub(&self) -> bool {
        self.scrub_at.is_some()
    }

    /// Empties the log of writes of what was erased, or sets a moment at which to try again.
    pub(crate) fn scrub(&mut self, now: Timestamp) {
        self.scrub_at = (!self.empty_log()).then(|| now.plus(SCRUB_AGAIN));
    }

    /// Copies the write-ahead log into the database and empties it, so that it has nothing that was deleted. Gives
    /// false when a reader was in the way.
    fn empty_log(&self) -> bool {
        let Some(open) = &self.open else { return true };
        let emptied = open.connection.busy_timeout(SCRUB_WAIT).and_then(|()| {
            open.connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        });
        let restored = open.connection.busy_timeout(schema::BUSY_TIMEOUT);
        match emptied.and_then(|busy| restored.map(|()| busy)) {
            Ok(busy) => busy == 0,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the write-ahead log could not be emptied of what was erased; it is tried again"
                );
                false
            }
        }
    }

    fn checkpoint(&self) {
        let Some(open) = &self.open else { return };
        let copied = open
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        match copied {
            Ok(0) => {}
            Ok(_) => tracing::warn!("a reader kept the write-ahead log from being emptied at the end"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the write-ahead log could not be copied at the end; it will be at the next start"
            ),
        }
    }
}

fn execute(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn run_all(jobs: &mut [Job], group: &mut Group<'_>, careful: bool) -> Result<(), Stopped> {
    let not_applied = |error: rusqlite::Error| Stopped::NotApplied(error.into());
    for job in jobs {
        let mark = group.mark();
        if careful {
            execute(group.connection, "SAVEPOINT job").map_err(not_applied)?;
        }
        // INVARIANT: what a panic leaves behind in the group is cut back below
        let done = catch_unwind(AssertUnwindSafe(|| job.run(group))).unwrap_or_else(|_| {
            job.fail(panicked(job.operation()));
            false
        });
        if group.connection.is_autocommit() {
            // SQLite has ended the transaction, and with it the work of every job before
            return Err(Stopped::NotApplied(Fault::Undone));
        }
        if !done {
            if !careful && group.wrote_since(&mark) {
                return Err(Stopped::Again);
            }
            group.back_to(mark);
            if careful {
                execute(group.connection, "ROLLBACK TO job").map_err(not_applied)?;
            }
        }
        if careful {
            execute(group.connection, "RELEASE job").map_err(not_applied)?;
        }
    }
    Ok(())
}

fn panicked(operation: &'static str) -> StoreError {
    failed(
        operation,
        Applied::No,
        Retry::Permanent,
        "the work of the call panicked",
    )
}
