//! The timer: what is overdue is done in time, by the store's clock.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::{Clock, Hint, Metrics, StoreError, TaskStore, Wakeups};
use futures_util::{FutureExt as _, select_biased};

use crate::stop::Stop;

/// How many overdue tasks one round handles.
const ROUND: usize = 256;
/// The timer looks at least this often: another node may have stored something that is due earlier.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long to wait after an error of the store.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// Does what is overdue.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct DueTimer {
    /// Keeps tasks.
    pub store: Arc<dyn TaskStore>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Tells others what changed.
    pub wakeups: Arc<dyn Wakeups>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
}

impl DueTimer {
    /// Runs until told to stop.
    ///
    /// # Cancel safety
    /// Safe: rounds are idempotent.
    pub async fn run(&self, stop: Stop) {
        let mut hints = self.wakeups.subscribe();
        while !stop.is_stopped() {
            let wait = match self.round().await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(event = "due_failed", error = %error, "overdue tasks could not be handled");
                    AFTER_ERROR
                }
            };
            if wait.is_zero() {
                continue;
            }
            let until = self.clock.monotonic() + wait;
            select_biased! {
                () = stop.wait().fuse() => {}
                () = self.clock.sleep_until(until).fuse() => {}
                // A change may have made something due earlier. What is due now was handled above, so a hint alone
                // cannot make this loop spin: the next round finds nothing and waits again.
                _ = hints.next().fuse() => {}
            }
        }
    }

    /// One bounded round. Gives how long to wait before the next one.
    ///
    /// # Errors
    /// The store's.
    pub async fn round(&self) -> Result<Duration, StoreError> {
        let done = self.store.due(ROUND).await?;
        if !done.changed.is_empty() {
            self.metrics
                .count("queue.due_handled_total", &[], done.changed.len() as u64);
            let hints: Vec<Hint> = done.changed.iter().map(|(task, _)| Hint::Task(*task)).collect();
            self.wakeups.publish(&hints);
        }
        if done.handled >= ROUND {
            return Ok(Duration::ZERO);
        }
        let next = done
            .next
            .map_or(LONGEST_WAIT, |next| next.since(self.clock.now()));
        Ok(next.clamp(Duration::from_millis(1), LONGEST_WAIT))
    }
}
