//! What a delivery needs: somewhere to tell progress, and a way to be stopped.

use std::sync::{Mutex, PoisonError};

use arbiter_core::model::{Progress, Usage};
use arbiter_core::ports::{ProgressSink, StopSignal};
use async_trait::async_trait;
use tokio::sync::watch;

/// Keeps what it is told.
#[derive(Debug, Default)]
pub struct CollectingProgress(Mutex<Vec<(Option<Progress>, Option<Usage>)>>);

impl CollectingProgress {
    /// Nothing was told yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was told so far, in order.
    pub fn told(&self) -> Vec<(Option<Progress>, Option<Usage>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ProgressSink for CollectingProgress {
    /// What was told of it is not kept.
    fn not_enforced(&self, _: &[String]) {}

    fn tell(&self, progress: Option<Progress>, usage: Option<Usage>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.push((progress, usage));
    }
}

/// A signal that a test gives.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Not stopped yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Gives the signal, for good.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl StopSignal for Stop {
    async fn stopped(&self) {
        // an error would mean that the sender is gone, but `self` is the sender
        let _ = self.0.subscribe().wait_for(|stopped| *stopped).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_signal_reaches_those_who_wait_and_those_who_come_later() {
        let stop = Stop::new();
        let mut waiting = stop.stopped();
        assert!((&mut waiting).now_or_never().is_none());
        stop.stop();
        waiting.await;
        assert!(stop.stopped().now_or_never().is_some());
    }

    #[test]
    fn progress_is_kept_in_order() {
        let progress = CollectingProgress::new();
        let usage = Usage {
            tokens: Some(3),
            ..Usage::default()
        };
        progress.tell(None, None);
        progress.tell(None, Some(usage));
        assert_eq!(progress.told(), [(None, None), (None, Some(usage))]);
    }
}
