//! Telling loops to stop.

use arbiter_core::ports::StopSignal;
use async_trait::async_trait;
use tokio::sync::watch;

/// Tells every [`Stop`] that was taken from it.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Knows whether to stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Default for Stopper {
    fn default() -> Self {
        Self(watch::channel(false).0)
    }
}

impl Stopper {
    /// A signal that fires when [`Self::stop`] is called.
    pub fn signal(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    /// Tells all signals, now and later ones. Repeating it is harmless.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether the signal has fired.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the signal fires; at once, if it has.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn wait(&self) {
        let mut told = self.0.clone();
        // An error means that the stopper is gone, which stops as well.
        let _stopped_or_gone = told.wait_for(|stopped| *stopped).await;
    }
}

#[async_trait]
impl StopSignal for Stop {
    async fn stopped(&self) {
        self.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signals_fire_once_told_and_when_the_stopper_is_dropped() {
        let stopper = Stopper::default();
        let (early, orphan) = (stopper.signal(), Stopper::default().signal());
        assert!(!early.is_stopped());
        stopper.stop();
        early.wait().await;
        stopper.signal().stopped().await;
        orphan.wait().await;
        assert!(early.is_stopped());
    }
}
