//! The only place where an error of the driver becomes one of the ports.

use std::path::PathBuf;
use std::sync::Arc;

use arbiter_audit::batch::BatchError;
use arbiter_audit::record::RecordError;
use arbiter_audit::tree::FrontierError;
use arbiter_core::model::InvalidJson;
use arbiter_core::ports::{Applied, BoxError, Retry, StoreError};
use arbiter_wire::stored::CodecError;
use rusqlite::ErrorCode;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the database open.
    #[error("the data in `{}` is in use by {}", path.display(), owner(*pid))]
    Owned {
        /// The lock file.
        path: PathBuf,
        /// The process that holds the lock, if its id could be read.
        pid: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("the lock file `{}` cannot be used", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder cannot be made.
    #[error("the folder `{}` cannot be made", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The database was made by a newer program.
    #[error("the database has schema {found}; this program knows schemas up to {known}")]
    NewerSchema {
        /// The schema of the database.
        found: i64,
        /// The newest schema that is known here.
        known: i64,
    },
    /// The database may not be written.
    #[error("the database `{}` is read-only: let its owner write it", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to another application.
    #[error("`{}` is a database of another application", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The audit log does not add up to the root that was stored with it.
    #[error("the audit log of the database is damaged: {problem}")]
    AuditLog {
        /// What does not hold, and at which entry if that can be told.
        problem: String,
    },
    /// SQLite failed.
    #[error("the database cannot be opened during {operation}")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// Why.
        source: BoxError,
    },
    /// A thread cannot be started.
    #[error("the threads of the store cannot be started")]
    Thread(#[source] std::io::Error),
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl OpenError {
    pub(crate) fn database(operation: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self::Database {
            operation,
            source: source.into(),
        }
    }
}

/// What can go wrong inside a job, before the operation's name is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Json(#[from] InvalidJson),
    #[error(transparent)]
    Tree(#[from] FrontierError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("{0} does not hold what it must")]
    Damaged(&'static str),
    #[error("{0}")]
    Misuse(&'static str),
    #[error("the database has rolled the transaction back because of another call in it")]
    Undone,
}

impl From<BatchError> for Fault {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Damaged => Self::Damaged("audit batch"),
            BatchError::NoText => Self::Damaged("audit detail"),
            BatchError::Json(error) => Self::Json(error),
            BatchError::TooLong => Self::Misuse("the detail is too long"),
        }
    }
}

/// What an error means to a caller.
enum Meaning {
    Corrupt(&'static str),
    Retry(Retry),
}

impl Fault {
    /// The error of the port; nothing was applied.
    pub(crate) fn into_store(self, operation: &'static str) -> StoreError {
        let meaning = self.meaning();
        error(operation, Applied::No, meaning, self.into())
    }

    fn meaning(&self) -> Meaning {
        match self {
            Self::Sql(error) => sql_meaning(error),
            Self::Codec(_) => Meaning::Corrupt("body"),
            Self::Json(_) => Meaning::Corrupt("JSON"),
            Self::Tree(_) => Meaning::Corrupt("audit tree"),
            Self::Damaged(what) => Meaning::Corrupt(what),
            Self::Open(OpenError::Database { .. }) | Self::Undone => Meaning::Retry(Retry::Transient),
            Self::Open(_) | Self::Record(_) | Self::Misuse(_) => Meaning::Retry(Retry::Permanent),
        }
    }
}

/// The failure of a whole group, told to each of its callers.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct GroupFailure(Arc<Fault>);

impl GroupFailure {
    pub(crate) fn of(fault: Fault) -> Self {
        Self(Arc::new(fault))
    }

    pub(crate) fn error(&self, operation: &'static str, applied: Applied) -> StoreError {
        error(operation, applied, self.0.meaning(), self.clone().into())
    }
}

fn error(operation: &'static str, applied: Applied, meaning: Meaning, source: BoxError) -> StoreError {
    match meaning {
        // what may have been applied must be sent again, whatever the reason
        Meaning::Corrupt(what) if applied == Applied::No => StoreError::Corrupt {
            operation,
            what,
            source,
        },
        Meaning::Corrupt(_) => StoreError::Backend {
            operation,
            applied,
            retry: Retry::Permanent,
            source,
        },
        Meaning::Retry(retry) => StoreError::Backend {
            operation,
            applied,
            retry,
            source,
        },
    }
}

/// The only place where codes of SQLite are looked at. Unknown codes are permanent.
fn sql_meaning(error: &rusqlite::Error) -> Meaning {
    match (error.sqlite_error_code(), error) {
        (
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::CannotOpen
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed,
            ),
            _,
        ) => Meaning::Retry(Retry::Transient),
        (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => Meaning::Corrupt("database page"),
        (
            None,
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..),
        ) => Meaning::Corrupt("column"),
        _ => Meaning::Retry(Retry::Permanent),
    }
}

/// A failure that is not one of the database.
pub(crate) fn failed(
    operation: &'static str,
    applied: Applied,
    retry: Retry,
    why: &'static str,
) -> StoreError {
    StoreError::Backend {
        operation,
        applied,
        retry,
        source: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn mapped(code: i32, applied: Applied) -> StoreError {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        GroupFailure::of(error.into()).error("test", applied)
    }

    #[test]
    fn every_known_code_says_whether_a_retry_helps() {
        for (code, transient) in [
            (ffi::SQLITE_BUSY, true),
            (ffi::SQLITE_BUSY_SNAPSHOT, true),
            (ffi::SQLITE_LOCKED, true),
            (ffi::SQLITE_IOERR, true),
            (ffi::SQLITE_IOERR_WRITE, true),
            (ffi::SQLITE_IOERR_FSYNC, true),
            (ffi::SQLITE_FULL, true),
            (ffi::SQLITE_NOMEM, true),
            (ffi::SQLITE_CANTOPEN, true),
            (ffi::SQLITE_INTERRUPT, true),
            (ffi::SQLITE_PROTOCOL, true),
            (ffi::SQLITE_READONLY, false),
            (ffi::SQLITE_READONLY_DBMOVED, false),
            (ffi::SQLITE_PERM, false),
            (ffi::SQLITE_CONSTRAINT_CHECK, false),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, false),
            (ffi::SQLITE_TOOBIG, false),
            (ffi::SQLITE_MISUSE, false),
            (ffi::SQLITE_SCHEMA, false),
            (ffi::SQLITE_ERROR, false),
            (99, false),
        ] {
            let error = mapped(code, Applied::No);
            assert_eq!(error.is_transient(), transient, "{code}: {error:?}");
            assert!(!error.may_have_applied(), "{code}");
            assert!(mapped(code, Applied::Unknown).may_have_applied(), "{code}");
        }
    }

    #[test]
    fn damage_is_named_as_such() {
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_CORRUPT_INDEX, ffi::SQLITE_NOTADB] {
            assert!(
                matches!(mapped(code, Applied::No), StoreError::Corrupt { .. }),
                "{code}"
            );
            assert!(mapped(code, Applied::Unknown).may_have_applied(), "{code}");
        }
        let column = rusqlite::Error::InvalidColumnType(0, "id".into(), rusqlite::types::Type::Null);
        let fault = Fault::from(column).into_store("get");
        assert_eq!(fault.to_string(), "stored column cannot be read during get");
        let fault = Fault::Damaged("load").into_store("apply");
        assert_eq!(fault.to_string(), "stored load cannot be read during apply");
    }

    #[test]
    fn display_does_not_repeat_the_source() {
        let error = mapped(ffi::SQLITE_FULL, Applied::No);
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(!error.to_string().contains(&source), "{error}: {source}");
    }
}
