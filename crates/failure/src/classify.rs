//! What sort of failure it is, and how bad. From typed errors; a text is never looked at.

use arbiter_core::model::{FailureClass, FailureKind, Impact, Severity};
use arbiter_core::ports::{InfrastructureError, RegistryError, Retry, StoreError, TransportError};

/// How much depends on a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Tier {
    /// Nothing works without it: the store, the audit log.
    Vital,
    /// Much work waits for it.
    Important,
    /// Some work waits for it.
    #[default]
    Normal,
    /// It can be done without: one agent of many.
    Minor,
}

/// The kind of a failed attempt, as a failure of its agent. `None` where the agent did its part: it said itself that it could
/// not do the task.
pub const fn kind_of_attempt(class: FailureClass) -> Option<FailureKind> {
    match class {
        FailureClass::Agent => None,
        FailureClass::Crash => Some(FailureKind::Internal),
        FailureClass::Timeout => Some(FailureKind::Timeout),
        FailureClass::Protocol | FailureClass::Review => Some(FailureKind::InvalidOutput),
        FailureClass::Limit => Some(FailureKind::Policy),
        FailureClass::Transport => Some(FailureKind::Connection),
    }
}

/// The kind of an error of a store.
pub const fn kind_of_store(error: &StoreError) -> FailureKind {
    match error {
        StoreError::Busy { .. } => FailureKind::Capacity,
        StoreError::Backend {
            retry: Retry::Transient,
            ..
        } => FailureKind::Connection,
        _ => FailureKind::Internal,
    }
}

/// The kind of an error of the agent registry.
pub const fn kind_of_registry(error: &RegistryError) -> FailureKind {
    match error {
        RegistryError::Store(error) => kind_of_store(error),
        RegistryError::Full { .. } => FailureKind::Capacity,
        RegistryError::Unavailable { .. } => FailureKind::Connection,
        _ => FailureKind::Policy,
    }
}

/// The kind of an error of a transport to agents.
pub const fn kind_of_transport(error: &TransportError) -> FailureKind {
    match error {
        TransportError::Unreachable { .. } => FailureKind::Connection,
        _ => FailureKind::Dependency,
    }
}

/// The kind of an error of what controls infrastructure.
pub const fn kind_of_infrastructure(error: &InfrastructureError) -> FailureKind {
    match error {
        InfrastructureError::Unavailable { .. } => FailureKind::Connection,
        InfrastructureError::Conflict { .. } => FailureKind::Capacity,
        _ => FailureKind::Policy,
    }
}

/// The kind of an answer by its HTTP status (RFC 9110 §15, RFC 6585 §4); `None` for one that is no failure.
pub const fn kind_of_status(status: u16) -> Option<FailureKind> {
    match status {
        0..=399 => None,
        408 | 504 => Some(FailureKind::Timeout),
        413 | 429 | 503 | 507 => Some(FailureKind::Capacity),
        502 => Some(FailureKind::Dependency),
        401 | 403 | 451 => Some(FailureKind::Policy),
        500..=599 => Some(FailureKind::Internal),
        _ => Some(FailureKind::InvalidOutput),
    }
}

/// The kind of the end of a process: by exit status, or by signal. `None` for a good end.
pub const fn kind_of_exit(status: Option<i32>, signal: Option<i32>) -> Option<FailureKind> {
    match (status, signal) {
        (Some(0), None) => None,
        // SIGKILL: what the kernel sends when memory is short
        (_, Some(9)) => Some(FailureKind::Capacity),
        _ => Some(FailureKind::Internal),
    }
}

/// From how many affected tasks, or people, on a failure is one step worse.
const MANY: u64 = 100;

/// How bad a failure is: by its kind, one step worse for what is vital or touches many, one step better for what is minor.
pub fn severity(kind: FailureKind, tier: Tier, impact: &Impact) -> Severity {
    let by_kind: i8 = match kind {
        FailureKind::InvalidOutput | FailureKind::Policy => 0,
        FailureKind::HealthCheck | FailureKind::Timeout | FailureKind::Capacity | FailureKind::Poison => 1,
        FailureKind::Connection | FailureKind::Internal | FailureKind::Dependency => 2,
    };
    let by_tier: i8 = match tier {
        Tier::Vital => 2,
        Tier::Important => 1,
        Tier::Normal => 0,
        Tier::Minor => -1,
    };
    let touches_many = [impact.users, impact.tasks]
        .into_iter()
        .flatten()
        .any(|count| count >= MANY)
        || impact.services.len() > 1;
    match by_kind + by_tier + i8::from(touches_many) {
        ..=0 => Severity::Low,
        1 => Severity::Medium,
        2 => Severity::High,
        3.. => Severity::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_classified_by_their_class() {
        let kinds = FailureClass::ALL.iter().map(|class| kind_of_attempt(*class));
        let kinds: Vec<_> = kinds.map(|kind| kind.map_or("-", FailureKind::word)).collect();
        assert_eq!(
            kinds,
            [
                "-",
                "internal",
                "timeout",
                "invalid_output",
                "policy",
                "connection",
                "invalid_output"
            ]
        );
    }

    #[test]
    fn answers_and_ends_are_classified_by_their_status() {
        for (status, kind) in [
            (200, None),
            (404, Some(FailureKind::InvalidOutput)),
            (403, Some(FailureKind::Policy)),
            (429, Some(FailureKind::Capacity)),
            (500, Some(FailureKind::Internal)),
            (502, Some(FailureKind::Dependency)),
            (504, Some(FailureKind::Timeout)),
        ] {
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
        assert_eq!(kind_of_exit(Some(0), None), None);
        assert_eq!(kind_of_exit(Some(3), None), Some(FailureKind::Internal));
        assert_eq!(kind_of_exit(None, Some(11)), Some(FailureKind::Internal));
        assert_eq!(kind_of_exit(None, Some(9)), Some(FailureKind::Capacity));
    }

    #[test]
    fn severity_rises_with_the_tier_and_with_what_is_touched() {
        let none = Impact::default();
        let many = Impact {
            tasks: Some(100),
            ..Impact::default()
        };
        for kind in FailureKind::ALL {
            let tiers = [Tier::Minor, Tier::Normal, Tier::Important, Tier::Vital];
            let severities = tiers.map(|tier| severity(*kind, tier, &none));
            assert!(severities.is_sorted(), "{kind:?}: {severities:?}");
            for tier in tiers {
                assert!(severity(*kind, tier, &many) >= severity(*kind, tier, &none));
            }
        }
        assert_eq!(
            severity(FailureKind::Connection, Tier::Vital, &none),
            Severity::Critical
        );
        assert_eq!(
            severity(FailureKind::InvalidOutput, Tier::Minor, &none),
            Severity::Low
        );
    }
}
