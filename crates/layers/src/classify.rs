//! What a guard asks an error.

use std::time::Duration;

use arbiter_core::ports::{ArtifactError, Retry, StoreError};

/// Tells a guard what to make of an error.
pub trait Classify {
    /// Whether the same call may succeed later.
    fn retry(&self) -> Retry;

    /// How long the other side asked to be left alone.
    fn retry_after(&self) -> Option<Duration>;

    /// Whether the error speaks against the other side's health. An answer that refuses this one call does not.
    fn counts_as_failure(&self) -> bool;
}

impl Classify for StoreError {
    fn retry(&self) -> Retry {
        if self.is_transient() {
            Retry::Transient
        } else {
            Retry::Permanent
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    fn counts_as_failure(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Backend { .. })
    }
}

impl Classify for ArtifactError {
    fn retry(&self) -> Retry {
        match self {
            Self::Backend { retry, .. } => *retry,
            _ => Retry::Permanent,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        None
    }

    fn counts_as_failure(&self) -> bool {
        matches!(self, Self::Backend { .. })
    }
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::Digest;
    use arbiter_core::ports::Applied;

    use super::*;

    fn backend(retry: Retry) -> StoreError {
        StoreError::Backend {
            operation: "reading",
            applied: Applied::Unknown,
            retry,
            source: "gone".into(),
        }
    }

    #[test]
    fn errors_of_stores_say_what_they_are() {
        let wait = Duration::from_secs(2);
        let busy = StoreError::Busy { retry_after: wait };
        let corrupt = StoreError::Corrupt {
            operation: "reading",
            what: "task",
            source: "bad".into(),
        };
        for (error, retry, after, failure) in [
            (busy, Retry::Transient, Some(wait), true),
            (backend(Retry::Transient), Retry::Transient, None, true),
            (backend(Retry::Permanent), Retry::Permanent, None, true),
            (corrupt, Retry::Permanent, None, false),
        ] {
            let found = (error.retry(), error.retry_after(), error.counts_as_failure());
            assert_eq!(found, (retry, after, failure), "{error}");
        }
    }

    #[test]
    fn errors_of_artifact_stores_say_what_they_are() {
        let backend = |retry| ArtifactError::Backend {
            operation: "reading",
            retry,
            source: "gone".into(),
        };
        for (error, retry, failure) in [
            (backend(Retry::Transient), Retry::Transient, true),
            (backend(Retry::Permanent), Retry::Permanent, true),
            (
                ArtifactError::TooLarge { limit_bytes: 1 },
                Retry::Permanent,
                false,
            ),
            (
                ArtifactError::Damaged {
                    digest: Digest::of(b""),
                },
                Retry::Permanent,
                false,
            ),
            (ArtifactError::Source("gone".into()), Retry::Permanent, false),
        ] {
            assert_eq!(
                (error.retry(), error.counts_as_failure()),
                (retry, failure),
                "{error}"
            );
            assert_eq!(error.retry_after(), None);
        }
    }
}
