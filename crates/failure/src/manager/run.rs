//! The loop: failures as they come, recoveries side by side, what other nodes left.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arbiter_core::model::ComponentName;
use arbiter_core::ports::{StopSignal, StoreError};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, select_biased};

use super::FailureManager;
use crate::component::{ComponentRecord, RECOVERING};

/// Rounds follow each other no faster: failures of a storm are summed up meanwhile.
const PACE: Duration = Duration::from_millis(200);
/// How long failures wait that could not be noted.
const AFTER_ERROR: Duration = Duration::from_secs(2);
/// How often it is looked for recoveries that nobody drives, isolations that are over, and restrictions of other nodes.
const SWEEP: Duration = Duration::from_secs(5);
/// How many recoveries one node drives at once. More wait for the next sweep.
const AT_ONCE: usize = 64;

/// A recovery or reinstatement that came to an end here.
struct Driven {
    component: ComponentName,
    result: Result<(), StoreError>,
}

impl FailureManager {
    /// Runs until told to stop. A recovery under way then is gone on with by another node, or after the next start.
    ///
    /// # Cancel safety
    /// Safe: everything is stored before it has an effect, and found again by its id.
    pub async fn run(self: &Arc<Self>, stop: &dyn StopSignal) {
        let mut driving: FuturesUnordered<BoxFuture<'_, Driven>> = FuturesUnordered::new();
        let mut stopped = stop.stopped().fuse();
        let clock = &self.ports.clock;
        let (mut next_round, mut next_sweep) = (clock.monotonic(), clock.monotonic());
        loop {
            let now = clock.monotonic();
            if now >= next_sweep {
                next_sweep = now + SWEEP;
                if let Err(error) = self.sweep().await {
                    tracing::error!(event = "recoveries_not_found", error = %error, "the store could not be asked for recoveries");
                }
            }
            if now >= next_round {
                next_round = now + PACE;
                if let Err(error) = self.round().await {
                    next_round = now + AFTER_ERROR;
                    tracing::error!(event = "failures_not_noted", error = %error, "failures could not be noted; they wait");
                    self.work.notify_one();
                }
            }
            for component in self.to_drive(AT_ONCE.saturating_sub(driving.len())) {
                driving.push(self.driven(component).boxed());
            }
            select_biased! {
                () = stopped => break,
                driven = driving.select_next_some() => self.landed(driven),
                () = self.work.notified().fuse() => {
                    // a storm is summed up until the next round is due
                    let wait = next_round.saturating_sub(clock.monotonic());
                    if !wait.is_zero() {
                        self.pause(wait, &mut driving).await;
                    }
                    next_round = clock.monotonic();
                }
                () = clock.sleep_until(next_sweep).fuse() => {}
            }
        }
        // What is under way is stored step by step; to wait for it could take as long as the longest recovery.
        drop(driving);
        self.driven.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits, while recoveries go on.
    async fn pause(&self, wait: Duration, driving: &mut FuturesUnordered<BoxFuture<'_, Driven>>) {
        let until = self.ports.clock.monotonic() + wait;
        loop {
            select_biased! {
                driven = driving.select_next_some() => self.landed(driven),
                () = self.ports.clock.sleep_until(until).fuse() => return,
            }
        }
    }

    /// Finds what is under way in the store and not driven here, and reads the restrictions of agents.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn sweep(&self) -> Result<(), StoreError> {
        self.restrictions.refresh().await?;
        let index = Some((RECOVERING.0, RECOVERING.1.to_owned()));
        let kept = self
            .components
            .list::<ComponentRecord>(index, None, 1_000)
            .await?;
        let now = self.ports.clock.now();
        for record in kept {
            let due = record.body.recovery.is_some()
                || record.body.isolated_until.is_some_and(|until| until <= now);
            if due && let Ok(component) = ComponentName::new(&record.id) {
                self.drive_soon(component);
            }
        }
        Ok(())
    }

    /// The component's recovery, or the end of its isolation, is to be driven by this node, if no other one does.
    pub(super) fn drive_soon(&self, component: ComponentName) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(component);
    }

    /// Takes components to drive, none of which is driven here already.
    pub(crate) fn to_drive(&self, room: usize) -> Vec<ComponentName> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        waiting.retain(|component| {
            if driven.contains(component) {
                return false;
            }
            if taken.len() >= room {
                return true;
            }
            driven.insert(component.clone());
            taken.push(component.clone());
            false
        });
        taken
    }

    async fn driven(&self, component: ComponentName) -> Driven {
        let result = self.go_on(&component).await;
        Driven { component, result }
    }

    /// Goes on with what is under way for a component.
    pub(crate) async fn go_on(&self, component: &ComponentName) -> Result<(), StoreError> {
        let kept = self.component(component).await?;
        if kept.body.recovery.is_some() {
            return self.recover(component).await;
        }
        let now = self.ports.clock.now();
        if kept.body.isolated_until.is_some_and(|until| until <= now) {
            return self.reinstate(component).await;
        }
        Ok(())
    }

    fn landed(&self, driven: Driven) {
        self.driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&driven.component);
        if let Err(error) = driven.result {
            tracing::error!(
                event = "recovery_interrupted",
                component = %driven.component,
                error = %error,
                "a recovery could not go on; it is taken up again"
            );
        }
    }
}
