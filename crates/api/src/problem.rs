//! From an error to status and body: the only place.

use std::time::Duration;

use arbiter_core::lifecycle::Refusal;
use arbiter_core::ports::{ArtifactError, RegistryError, StoreError};
use arbiter_core::services::WorkError;
use arbiter_orchestration::ClaimError;
use arbiter_queue::{QueueError, RecordError};
use arbiter_wire::http::Problem;
use arbiter_wire::task::TaskInputError;

use crate::failure::Failure;

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        let mut problem = Problem::new(error.code(), error.to_string());
        match &error {
            QueueError::RateLimited { retry_after }
            | QueueError::Unavailable { retry_after, .. }
            | QueueError::RegistryUnavailable { retry_after, .. } => {
                problem.retry_after_ms = Some(millis(*retry_after));
            }
            QueueError::BacklogFull { .. } => problem.retry_after_ms = Some(1_000),
            QueueError::InvalidTask { field, .. }
            | QueueError::TooLarge { field, .. }
            | QueueError::SuspiciousContent { field, .. } => problem.field = Some(field.clone()),
            _ => {}
        }
        Self::of(problem).caused_by(error)
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let error = match error {
            RecordError::Queue(error) => return error.into(),
            error => error,
        };
        let mut problem = Problem::new(error.code(), error.to_string());
        if let RecordError::Invalid { field, .. } = &error {
            problem.field = Some((*field).to_owned());
        }
        Self::of(problem)
    }
}

impl From<WorkError> for Failure {
    fn from(error: WorkError) -> Self {
        let code = match &error {
            WorkError::Forbidden => "forbidden",
            WorkError::RateLimited { .. } => "rate_limited",
            WorkError::Invalid { .. } => "invalid_value",
            WorkError::Refused(refusal) => return refusal_of(refusal).caused_by(error),
            WorkError::Store(store) => return store_of(store).caused_by(error),
            _ => "internal",
        };
        let mut problem = Problem::new(code, error.to_string());
        if let WorkError::RateLimited { retry_after } = &error {
            problem.retry_after_ms = Some(millis(*retry_after));
        }
        if let WorkError::Invalid { field, .. } = &error {
            problem.field = Some(field.clone());
        }
        Self::of(problem).caused_by(error)
    }
}

impl From<ClaimError> for Failure {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Work(error) => error.into(),
            ClaimError::Registry(error) => error.into(),
            error => Self::new("not_found", error.to_string()),
        }
    }
}

fn refusal_of(refusal: &Refusal) -> Failure {
    let code = match refusal {
        Refusal::NotFound => "not_found",
        Refusal::LeaseLost | Refusal::LeaseRequired => "lease_lost",
        Refusal::VersionConflict { .. } => "precondition_failed",
        _ => "illegal_transition",
    };
    Failure::new(code, refusal.to_string())
}

fn store_of(error: &StoreError) -> Failure {
    if !error.is_transient() {
        return Failure::new("internal", "internal error; the server's log says more");
    }
    let after = match error {
        StoreError::Busy { retry_after } => *retry_after,
        _ => Duration::from_secs(1),
    };
    let mut problem = Problem::new("unavailable", "the store is unavailable; try again later");
    problem.retry_after_ms = Some(millis(after));
    Failure::of(problem)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        store_of(&error).caused_by(error)
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match &error {
            RegistryError::Invalid(invalid) => Self::new("invalid_value", invalid.to_string()),
            RegistryError::Full { limit } => {
                let mut problem = Problem::new("registry_full", error.to_string());
                problem.retry_after_ms = Some(60_000);
                problem.limit = u64::try_from(*limit).ok();
                Self::of(problem)
            }
            // Whose agent it is, is nobody else's business.
            RegistryError::OtherTenant { .. } => Self::new("forbidden", "the principal may not do this"),
            RegistryError::Refused { source, .. } => Self::new(
                "invalid_value",
                format!("the registry of agents refuses it: {source}"),
            ),
            RegistryError::Store(store) => store_of(store),
            other => {
                let after = match other {
                    RegistryError::Unavailable { retry_after, .. } => *retry_after,
                    _ => None,
                };
                let mut problem = Problem::new(
                    "registry_unavailable",
                    "the registry of agents is unavailable; try again later",
                );
                problem.retry_after_ms = Some(millis(after.unwrap_or(Duration::from_secs(1))));
                Self::of(problem)
            }
        }
        .caused_by(error)
    }
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        match &error {
            ArtifactError::TooLarge { .. } | ArtifactError::QuotaExceeded { .. } => {
                Self::new("too_large", error.to_string())
            }
            ArtifactError::Range { .. } => Self::new("range_not_satisfiable", error.to_string()),
            ArtifactError::Source(_) => Self::new("invalid_request", "the body could not be read to its end"),
            _ => Self::new("internal", "internal error; the server's log says more"),
        }
        .caused_by(error)
    }
}

impl From<TaskInputError> for Failure {
    fn from(error: TaskInputError) -> Self {
        let mut problem = Problem::new(error.code(), error.to_string());
        if let TaskInputError::Invalid { field, .. } = &error {
            problem.field = Some((*field).to_owned());
        }
        Self::of(problem)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
