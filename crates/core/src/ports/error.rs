//! The error that storage ports share.

use std::time::Duration;

/// An error of a driver, kept for the log.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Whether a mutation that failed may have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It did not.
    No,
    /// It may have: send it again with the same ids.
    Unknown,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Yes, after a while.
    Transient,
    /// No, not without a change.
    Permanent,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store's queue of requests is full.
    #[error("the store has more requests waiting than it takes; try again in {} ms", retry_after.as_millis())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// What is stored cannot be read: it was damaged or written by a newer version.
    #[error("stored {what} cannot be read during {operation}")]
    Corrupt {
        /// What was being done.
        operation: &'static str,
        /// What cannot be read.
        what: &'static str,
        /// Why.
        source: BoxError,
    },
    /// The backend failed.
    #[error("the store failed during {operation}")]
    Backend {
        /// What was being done.
        operation: &'static str,
        /// Whether it may have taken effect.
        applied: Applied,
        /// Whether trying again can help.
        retry: Retry,
        /// Why.
        source: BoxError,
    },
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Backend {
                    retry: Retry::Transient,
                    ..
                }
        )
    }

    /// Whether the call may have taken effect although it failed.
    pub const fn may_have_applied(&self) -> bool {
        matches!(
            self,
            Self::Backend {
                applied: Applied::Unknown,
                ..
            }
        )
    }
}
