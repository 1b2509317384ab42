//! The only place where an error of the driver becomes one of the ports.

use std::sync::Arc;
use std::time::Duration;

use arbiter_audit::batch::BatchError;
use arbiter_audit::record::RecordError;
use arbiter_audit::tree::FrontierError;
use arbiter_core::model::InvalidJson;
use arbiter_core::ports::{Applied, ArtifactError, BoxError, Retry, StoreError};
use arbiter_wire::stored::CodecError;
use arbiter_wire::transfer::TransferError;
use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

/// When a caller that found every connection in use should come back.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting cannot be used.
    #[error("the setting `{setting}` of the PostgreSQL store cannot be used: {problem}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it. It never holds the URL.
        problem: String,
    },
    /// The schema was made by a newer program.
    #[error("the database has schema {found}; this program knows schemas up to {known}")]
    NewerSchema {
        /// The version of the schema.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// Readers cannot be kept apart by tenant.
    #[error("the role `{role}` cannot read under row-level security: {problem}")]
    Reader {
        /// The role.
        role: String,
        /// Why.
        problem: String,
    },
    /// PostgreSQL cannot be reached, or failed.
    #[error("the PostgreSQL database cannot be opened during {operation}")]
    Database {
        /// What was being done.
        operation: &'static str,
        /// Why.
        source: BoxError,
    },
}

impl OpenError {
    pub(crate) fn database<E: Into<BoxError>>(operation: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::Database {
            operation,
            source: source.into(),
        }
    }
}

/// What can go wrong inside a call, before the operation's name is known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Sql(#[from] tokio_postgres::Error),
    #[error("the commit failed")]
    Commit(#[source] tokio_postgres::Error),
    #[error("a column does not hold what it must")]
    Column(#[source] tokio_postgres::Error),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Json(#[from] InvalidJson),
    #[error(transparent)]
    Tree(#[from] FrontierError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("{0} does not hold what it must")]
    Damaged(&'static str),
    #[error("{0}")]
    Misuse(&'static str),
    #[error("the upload was given up, because it stood still for too long")]
    GivenUp,
    #[error("others were faster, again and again")]
    Raced,
    #[error(transparent)]
    Transfer(Box<TransferError>),
}

/// A fault that several calls had together.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct SharedFault(Arc<Fault>);

impl SharedFault {
    pub(crate) fn new(fault: Fault) -> Self {
        Self(Arc::new(fault))
    }

    /// The error of one of the calls.
    pub(crate) fn to_store(&self, operation: &'static str) -> StoreError {
        told(self.0.applied(), self.0.meaning(), operation, self.clone())
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Busy,
    Corrupt(&'static str),
    Retry(Retry),
}

impl Fault {
    /// A row that is there already is one that somebody else has stored meanwhile.
    pub(crate) fn or_raced(self) -> Self {
        match self {
            Self::Sql(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Self::Raced,
            other => other,
        }
    }

    /// The error of the port. Nothing was applied, unless a commit failed: only the server can say of one that it did
    /// not apply, and when it says nothing, or is about to go, nobody knows.
    pub(crate) fn into_store(self, operation: &'static str) -> StoreError {
        told(self.applied(), self.meaning(), operation, self)
    }

    /// The error of the port of artifacts, which knows no busy store.
    pub(crate) fn into_artifact(self, operation: &'static str) -> ArtifactError {
        let retry = match self.meaning() {
            Meaning::Busy => Retry::Transient,
            Meaning::Corrupt(_) => Retry::Permanent,
            Meaning::Retry(retry) => retry,
        };
        ArtifactError::Backend {
            operation,
            retry,
            source: self.into(),
        }
    }

    fn applied(&self) -> Applied {
        let is_open = matches!(self, Self::Commit(_)) && (self.is_lost() || self.is_silent());
        if is_open { Applied::Unknown } else { Applied::No }
    }

    /// Whether one call of a group may be at fault, so that the others would pass without it.
    pub(crate) fn is_of_a_call(&self) -> bool {
        !matches!(self, Self::Commit(_) | Self::Pool(_) | Self::Raced)
            && !self.is_lost()
            && self.meaning() != Meaning::Retry(Retry::Transient)
    }

    /// Whether the connection is gone, or about to go: it must serve no other call.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Sql(error) | Self::Commit(error) => {
                error.code().map_or_else(|| is_gone(error), is_connection)
            }
            _ => false,
        }
    }

    /// Whether the server has not answered.
    fn is_silent(&self) -> bool {
        matches!(self, Self::Sql(error) | Self::Commit(error) if error.code().is_none())
    }

    fn meaning(&self) -> Meaning {
        match self {
            Self::Sql(error) | Self::Commit(error) | Self::Pool(PoolError::Backend(error)) => {
                sql_meaning(error)
            }
            Self::Pool(PoolError::Timeout(TimeoutType::Wait)) | Self::Raced => Meaning::Busy,
            Self::Pool(PoolError::Timeout(_)) | Self::GivenUp => Meaning::Retry(Retry::Transient),
            Self::Column(_) => Meaning::Corrupt("column"),
            Self::Codec(_) => Meaning::Corrupt("body"),
            Self::Json(_) => Meaning::Corrupt("JSON"),
            Self::Tree(_) => Meaning::Corrupt("audit tree"),
            Self::Damaged(what) => Meaning::Corrupt(what),
            Self::Pool(_) | Self::Record(_) | Self::Misuse(_) | Self::Transfer(_) => {
                Meaning::Retry(Retry::Permanent)
            }
        }
    }
}

fn told<E: Into<BoxError>>(
    applied: Applied,
    meaning: Meaning,
    operation: &'static str,
    source: E,
) -> StoreError {
    match meaning {
        Meaning::Busy => StoreError::Busy {
            retry_after: RETRY_AFTER,
        },
        Meaning::Corrupt(what) => StoreError::Corrupt {
            operation,
            what,
            source: source.into(),
        },
        Meaning::Retry(retry) => StoreError::Backend {
            operation,
            applied,
            retry,
            source: source.into(),
        },
    }
}

fn sql_meaning(error: &tokio_postgres::Error) -> Meaning {
    if let Some(code) = error.code() {
        return code_meaning(code);
    }
    // the driver has no answer of the server: either the connection is gone, or this program asked for nonsense
    Meaning::Retry(if is_gone(error) {
        Retry::Transient
    } else {
        Retry::Permanent
    })
}

/// Whether an error without an answer of the server tells that the connection is gone.
fn is_gone(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_closed() || source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// What an SQLSTATE means (PostgreSQL documentation, appendix A).
fn code_meaning(code: &SqlState) -> Meaning {
    if [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code) {
        return Meaning::Corrupt("page");
    }
    // 40: serialization, deadlock; 53: memory, disk or connections are used up; 58: the system underneath failed
    let class = ["40", "53", "58"]
        .iter()
        .any(|class| code.code().starts_with(class));
    let single = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        // after a fail-over, until the connections to the former primary are gone
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    let helps = class || is_connection(code) || single.contains(code);
    Meaning::Retry(if helps { Retry::Transient } else { Retry::Permanent })
}

/// Whether a code tells of the end of the connection: class 08, shutdown, crash, start of the server.
fn is_connection(code: &SqlState) -> bool {
    let ends = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
    ];
    code.code().starts_with("08") || ends.contains(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_code_says_whether_a_retry_helps() {
        for (code, transient) in [
            ("40001", true),
            ("40P01", true),
            ("40003", true),
            ("08006", true),
            ("08P01", true),
            ("57P01", true),
            ("57P02", true),
            ("57P03", true),
            ("57014", true),
            ("55P03", true),
            ("53100", true),
            ("53200", true),
            ("53300", true),
            ("58030", true),
            ("25P03", true),
            ("25006", true),
            ("23505", false),
            ("22021", false),
            ("42P01", false),
            ("42501", false),
            ("28P01", false),
            ("54000", false),
            ("XX000", false),
        ] {
            let expected = if transient {
                Retry::Transient
            } else {
                Retry::Permanent
            };
            assert_eq!(
                code_meaning(&SqlState::from_code(code)),
                Meaning::Retry(expected),
                "{code}"
            );
        }
        for code in ["XX001", "XX002"] {
            let meaning = code_meaning(&SqlState::from_code(code));
            assert_eq!(meaning, Meaning::Corrupt("page"), "{code}");
        }
    }

    #[test]
    fn only_the_end_of_a_connection_leaves_a_commit_in_doubt() {
        for (code, ends) in [
            ("08006", true),
            ("57P01", true),
            ("57P02", true),
            ("40003", true),
            ("40001", false),
            ("40P01", false),
            ("57014", false),
            ("23514", false),
        ] {
            assert_eq!(is_connection(&SqlState::from_code(code)), ends, "{code}");
        }
    }
}
