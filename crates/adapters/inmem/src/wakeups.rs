//! Hints between the parts of one process.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arbiter_core::ports::{Hint, HintStream, Wakeups};
use async_trait::async_trait;
use tokio::sync::Notify;

/// A subscriber that is further behind is told to look at everything.
const MAX_WAITING: usize = 1_024;

/// Hints in memory: coalesced per subscriber, never blocking the publisher.
#[derive(Default)]
pub struct InProcessWakeups {
    subscribers: Mutex<Vec<Weak<Mailbox>>>,
}

#[derive(Default)]
struct Mailbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    hints: Vec<Hint>,
    overflowed: bool,
}

impl std::fmt::Debug for InProcessWakeups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcessWakeups").finish_non_exhaustive()
    }
}

impl InProcessWakeups {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Wakeups for InProcessWakeups {
    fn publish(&self, hints: &[Hint]) {
        if hints.is_empty() {
            return;
        }
        let mut subscribers = self.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(mailbox) => {
                mailbox.put(hints);
                true
            }
            None => false,
        });
    }

    fn subscribe(&self) -> Box<dyn HintStream> {
        let mailbox = Arc::new(Mailbox::default());
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::downgrade(&mailbox));
        Box::new(Hints(mailbox))
    }
}

impl Mailbox {
    fn put(&self, hints: &[Hint]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.hints.len() + hints.len() > MAX_WAITING {
            waiting.hints.clear();
            waiting.overflowed = true;
        }
        if !waiting.overflowed {
            for hint in hints {
                if waiting.hints.last() != Some(hint) {
                    waiting.hints.push(*hint);
                }
            }
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// What has arrived; `None` when nothing has.
    fn take(&self) -> Option<Vec<Hint>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut waiting.overflowed) {
            waiting.hints.clear();
            return Some(Vec::new());
        }
        (!waiting.hints.is_empty()).then(|| std::mem::take(&mut waiting.hints))
    }
}

struct Hints(Arc<Mailbox>);

#[async_trait]
impl HintStream for Hints {
    async fn next(&mut self) -> Vec<Hint> {
        loop {
            if let Some(hints) = self.0.take() {
                return hints;
            }
            self.0.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::TaskId;

    use super::*;

    #[tokio::test]
    async fn hints_are_coalesced_and_none_is_missed_between_two_waits() {
        let wakeups = InProcessWakeups::new();
        let mut hints = wakeups.subscribe();
        wakeups.publish(&[Hint::Agents, Hint::Agents]);
        wakeups.publish(&[Hint::Task(TaskId::from_bytes([1; 16]))]);
        assert_eq!(
            hints.next().await,
            [Hint::Agents, Hint::Task(TaskId::from_bytes([1; 16]))]
        );
        let waiting = hints.next();
        let (told, ()) = tokio::join!(waiting, async { wakeups.publish(&[Hint::Agents]) });
        assert_eq!(told, [Hint::Agents]);
    }

    #[tokio::test]
    async fn a_subscriber_that_is_behind_is_told_to_look_at_everything() {
        let wakeups = InProcessWakeups::new();
        let mut hints = wakeups.subscribe();
        for number in 0..=MAX_WAITING {
            wakeups.publish(&[Hint::Task(TaskId::from_bytes([number as u8; 16]))]);
        }
        assert_eq!(hints.next().await, []);
        drop(hints);
        wakeups.publish(&[Hint::Agents]);
        assert_eq!(wakeups.subscribers.lock().expect("lock").len(), 0);
    }
}
