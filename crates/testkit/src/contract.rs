//! The contracts of the ports as test cases, one per sentence.
//!
//! An adapter makes a [`Harness`] and names it to one macro per port; each case becomes a test of its own:
//!
//! ```text
//! fn harness() -> ManualHarness { … }
//! arbiter_testkit::task_store_contract!(harness());
//! arbiter_testkit::documents_contract!(harness());
//! ```
//!
//! The expression is evaluated once per case and must give a fresh, empty instance. It may await.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unused_async,
    reason = "a case fails by panicking, and is async although its port may not be"
)]

mod desk;
mod harness;
mod outward;

pub mod agent_registry;
pub mod artifact_store;
pub mod audit_log;
pub mod audit_tree;
pub mod authenticator;
pub mod authorizer;
pub mod clock;
pub mod documents;
pub mod entropy;
pub mod id_source;
pub mod incident_notifier;
pub mod infrastructure;
pub mod lease_store;
pub mod metrics;
pub mod model;
pub mod outbox;
pub mod rate_limiter;
pub mod signer;
pub mod spawner;
pub mod task_attempts;
pub mod task_claims;
pub mod task_dependencies;
pub mod task_leases;
pub mod task_leaves;
pub mod task_operators;
pub mod task_races;
pub mod task_reader;
pub mod task_retention;
pub mod task_reviews;
pub mod task_submits;
pub mod task_timers;
pub mod telemetry_model;
pub mod telemetry_store;
pub mod wakeups;

pub use desk::{Desk, Work};
pub use harness::{
    ArtifactHarness, AuthenticatorHarness, Damage, Harness, LimiterHarness, ManualHarness, MetricsHarness,
    Read, SignerHarness, Stores, TelemetryHarness,
};
pub use outward::{
    InfrastructureHarness, NotifierHarness, NotifierTarget, Scene, StubTarget, TargetMood, Told, whole,
};

/// Lists the cases of a module and makes the macro that turns each into a test.
macro_rules! suite {
    ($dollar:tt $name:ident, $module:ident, [$($case:ident),+ $(,)?]) => {
        /// Makes one test of each case. The argument makes a fresh harness.
        #[macro_export]
        macro_rules! $name {
            ($dollar harness:expr) => {
                $(
                    #[tokio::test]
                    async fn $case() {
                        let harness = $dollar harness;
                        $crate::contract::$module::$case(&harness).await;
                    }
                )+
            };
        }

        #[cfg(test)]
        mod listed {
            #[test]
            fn every_case_is_listed_once() {
                let cases = [$(stringify!($case)),+];
                let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/contract/", stringify!($module), ".rs");
                $crate::contract::compare_cases(&cases, path);
            }
        }
    };
}
pub(crate) use suite;

/// Makes one test of each case about `TaskStore`. The argument makes a fresh [`Harness`].
#[macro_export]
macro_rules! task_store_contract {
    ($harness:expr) => {
        $crate::task_submits_contract!($harness);
        $crate::task_claims_contract!($harness);
        $crate::task_leases_contract!($harness);
        $crate::task_attempts_contract!($harness);
        $crate::task_reviews_contract!($harness);
        $crate::task_operators_contract!($harness);
        $crate::task_timers_contract!($harness);
        $crate::task_dependencies_contract!($harness);
        $crate::task_leaves_contract!($harness);
        $crate::task_retention_contract!($harness);
        $crate::task_races_contract!($harness);
    };
}

/// Compares the listed cases with the public functions of a file.
#[cfg(test)]
pub(crate) fn compare_cases(listed: &[&str], path: &str) {
    let text = std::fs::read_to_string(path).expect(path);
    let written = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
    let written: std::collections::BTreeSet<&str> = written.collect();
    let once: std::collections::BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(once.len(), listed.len(), "a case is listed twice in {path}");
    assert_eq!(once, written, "{path}");
}
