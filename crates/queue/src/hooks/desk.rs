//! Whose turn it is: so many deliveries at once, so many of one hook, and one hook after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use arbiter_core::model::HookId;

/// How much may wait and fly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Deliveries under way at once.
    pub(super) concurrent: usize,
    /// Of one hook that answers well; one whose last try failed gets one at a time.
    pub(super) per_hook: usize,
    /// Of one hook waiting here for their turn.
    pub(super) waiting_per_hook: usize,
}

/// Entries that were taken and wait for their turn, by hook.
#[derive(Debug)]
pub(super) struct Desk<T> {
    limits: Limits,
    waiting: BTreeMap<HookId, VecDeque<(Duration, T)>>,
    flying: BTreeMap<HookId, usize>,
    total: usize,
    failing: BTreeSet<HookId>,
    last: Option<HookId>,
}

impl<T> Desk<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            flying: BTreeMap::new(),
            total: 0,
            failing: BTreeSet::new(),
            last: None,
        }
    }

    /// Takes an entry that may begin until the moment `until`. False when too many of this hook wait already: it stays
    /// leased, and is offered again after the lease.
    pub(super) fn offer(&mut self, hook: HookId, until: Duration, entry: T) -> bool {
        let waiting = self.waiting.entry(hook).or_default();
        let fits = waiting.len() < self.limits.waiting_per_hook;
        if fits {
            waiting.push_back((until, entry));
        }
        fits
    }

    /// The next entry to deliver at the moment `now`, if one may begin. Entries whose time is over are dropped.
    pub(super) fn next(&mut self, now: Duration) -> Option<(HookId, T)> {
        if self.total >= self.limits.concurrent {
            return None;
        }
        for waiting in self.waiting.values_mut() {
            waiting.retain(|(until, _)| now < *until);
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        let after_last = self.waiting.keys().filter(|hook| Some(**hook) > self.last);
        let from_start = self.waiting.keys().filter(|hook| Some(**hook) <= self.last);
        let hook = after_last
            .chain(from_start)
            .copied()
            .find(|hook| self.has_room(*hook))?;
        let (_, entry) = self.waiting.get_mut(&hook)?.pop_front()?;
        *self.flying.entry(hook).or_default() += 1;
        self.total += 1;
        self.last = Some(hook);
        Some((hook, entry))
    }

    fn has_room(&self, hook: HookId) -> bool {
        let flying = self.flying.get(&hook).copied().unwrap_or(0);
        let limit = if self.failing.contains(&hook) {
            1
        } else {
            self.limits.per_hook
        };
        flying < limit
    }

    /// A delivery of a hook ended, well or not.
    pub(super) fn ended(&mut self, hook: HookId, well: bool) {
        self.total = self.total.saturating_sub(1);
        if let Some(flying) = self.flying.get_mut(&hook) {
            *flying = flying.saturating_sub(1);
            if *flying == 0 {
                self.flying.remove(&hook);
            }
        }
        if well {
            self.failing.remove(&hook);
        } else {
            self.failing.insert(hook);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        concurrent: 6,
        per_hook: 4,
        waiting_per_hook: 8,
    };
    const LATER: Duration = Duration::from_mins(1);

    fn hook(number: u8) -> HookId {
        HookId::from_bytes([number; 16])
    }

    fn desk(entries: &[(u8, usize)]) -> Desk<u32> {
        let mut desk = Desk::new(LIMITS);
        for (number, count) in entries {
            for entry in 0..*count {
                desk.offer(hook(*number), LATER, entry as u32);
            }
        }
        desk
    }

    fn started(desk: &mut Desk<u32>) -> Vec<u8> {
        let next = std::iter::from_fn(|| desk.next(Duration::ZERO));
        next.map(|(hook, _)| hook.as_bytes()[0]).collect()
    }

    #[test]
    fn hooks_take_turns_within_their_limits() {
        let mut desk = desk(&[(1, 8), (2, 1), (3, 1)]);
        assert_eq!(
            started(&mut desk),
            [1, 2, 3, 1, 1, 1],
            "never more than four of one"
        );
        desk.ended(hook(2), true);
        assert_eq!(started(&mut desk), [0_u8; 0], "hook 1 has four under way");
        desk.ended(hook(1), true);
        assert_eq!(started(&mut desk), [1]);
    }

    #[test]
    fn a_hook_that_fails_gets_one_at_a_time_until_it_answers_well() {
        let mut desk = desk(&[(1, 8)]);
        assert_eq!(started(&mut desk), [1, 1, 1, 1]);
        (0..4).for_each(|_| desk.ended(hook(1), false));
        assert_eq!(started(&mut desk), [1]);
        desk.ended(hook(1), true);
        assert_eq!(started(&mut desk), [1, 1, 1]);
    }

    #[test]
    fn what_waits_is_bounded_and_dropped_when_its_time_is_over() {
        let mut desk = desk(&[(1, 8)]);
        assert!(!desk.offer(hook(1), LATER, 9));
        assert!(desk.offer(hook(2), LATER * 2, 0));
        assert_eq!(desk.next(LATER).map(|(hook, _)| hook), Some(hook(2)));
        assert_eq!(desk.next(LATER), None);
        assert!(desk.offer(hook(1), LATER * 2, 9), "there is room again");
    }
}
