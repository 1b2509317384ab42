//! Hints that wait: coalesced, bounded, never blocking who puts them in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arbiter_core::ports::Hint;
use tokio::sync::Notify;

/// Of more than these only the fact is kept that there were some.
const MAX_WAITING: usize = 1_024;

/// Hints for one reader.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    hints: Vec<Hint>,
    overflowed: bool,
    closed: bool,
}

impl Mailbox {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts hints in.
    pub(super) fn put(&self, hints: &[Hint]) {
        let mut waiting = self.waiting();
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

    /// Says that hints were lost.
    pub(super) fn overflow(&self) {
        self.waiting().overflowed = true;
        self.arrived.notify_one();
    }

    /// Says that nothing more will come.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.arrived.notify_one();
    }

    /// Whether nothing more will come.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting().closed
    }

    /// Waits for hints; empty when some were lost, none after the end.
    ///
    /// # Cancel safety
    /// Safe: what was not returned is kept.
    pub(super) async fn next(&self) -> Option<Vec<Hint>> {
        loop {
            {
                let mut waiting = self.waiting();
                if waiting.closed {
                    return None;
                }
                let hints = std::mem::take(&mut waiting.hints);
                if std::mem::take(&mut waiting.overflowed) {
                    return Some(Vec::new());
                }
                if !hints.is_empty() {
                    return Some(hints);
                }
            }
            self.arrived.notified().await;
        }
    }
}

/// The mailboxes of those who listen in this process.
#[derive(Debug, Default)]
pub(super) struct Subscribers(Mutex<Vec<Weak<Mailbox>>>);

impl Subscribers {
    /// A mailbox for hints from now on.
    pub(super) fn add(&self) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(&mailbox));
        mailbox
    }

    /// Gives hints to everybody.
    pub(super) fn put(&self, hints: &[Hint]) {
        self.each(|mailbox| mailbox.put(hints));
    }

    /// Tells everybody that hints were lost.
    pub(super) fn overflow(&self) {
        self.each(Mailbox::overflow);
    }

    fn each(&self, tell: impl Fn(&Mailbox)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|mailbox| mailbox.upgrade().map(|mailbox| tell(&mailbox)).is_some());
    }
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::TaskId;
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn hints_are_coalesced_and_their_loss_is_told_once() {
        let mailbox = Mailbox::default();
        mailbox.put(&[Hint::Agents, Hint::Agents]);
        mailbox.put(&[Hint::Agents, Hint::Registry]);
        let told = mailbox.next().now_or_never().unwrap();
        assert_eq!(told, Some(vec![Hint::Agents, Hint::Registry]));
        for number in 0..=MAX_WAITING {
            mailbox.put(&[Hint::Task(TaskId::from_bytes([number as u8; 16]))]);
        }
        assert_eq!(mailbox.next().now_or_never().unwrap(), Some(Vec::new()));
        assert!(mailbox.next().now_or_never().is_none());
        mailbox.close();
        assert_eq!(mailbox.next().now_or_never().unwrap(), None);
    }

    #[test]
    fn a_subscriber_that_is_gone_is_forgotten() {
        let subscribers = Subscribers::default();
        drop(subscribers.add());
        subscribers.put(&[Hint::Agents]);
        assert_eq!(subscribers.0.lock().unwrap().len(), 0);
    }
}
