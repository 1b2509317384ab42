//! Agents that are gone for good are removed, so that the registry does not fill up with them.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{AgentId, RecordDraft};
use arbiter_core::ports::{AgentRegistry, Clock, Hint, Metrics, RegistryError, Wakeups};
use futures_util::{FutureExt as _, select_biased};

use crate::stop::Stop;

/// The registry is looked through at least so often, however long agents may be silent.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// Removes agents that nobody has heard of for too long.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct SilentAgents {
    /// Knows the agents.
    pub registry: Arc<dyn AgentRegistry>,
    /// Tells the time, as the registry does.
    pub clock: Arc<dyn Clock>,
    /// Tells others what changed.
    pub wakeups: Arc<dyn Wakeups>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
    /// How long an agent may be silent.
    pub after: Duration,
}

impl SilentAgents {
    /// Runs until told to stop.
    ///
    /// # Cancel safety
    /// Safe: rounds are idempotent.
    pub async fn run(&self, stop: Stop) {
        let wait = (self.after / 4).min(LONGEST_WAIT);
        while !stop.is_stopped() {
            if let Err(error) = self.round().await {
                tracing::error!(event = "registry_failed", error = %error, "silent agents could not be removed");
            }
            let until = self.clock.monotonic() + wait;
            select_biased! {
                () = stop.wait().fuse() => {}
                () = self.clock.sleep_until(until).fuse() => {}
            }
        }
    }

    /// Removes those that are silent for too long now.
    ///
    /// # Errors
    /// The registry's.
    pub async fn round(&self) -> Result<Vec<AgentId>, RegistryError> {
        let since = self.clock.now().minus(self.after);
        let removed = self.registry.remove_silent(since, RecordDraft::default()).await?;
        if !removed.is_empty() {
            self.metrics
                .count("agent_registry.removed_total", &[], removed.len() as u64);
            self.wakeups.publish(&[Hint::Registry]);
            tracing::info!(
                event = "agents_removed",
                count = removed.len(),
                "silent agents were removed"
            );
        }
        Ok(removed)
    }
}
