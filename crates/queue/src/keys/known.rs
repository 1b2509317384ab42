//! Principals that were authenticated a moment ago, so that a busy caller does not cost two reads a call.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::model::{Digest, Principal, Timestamp};
use subtle::ConstantTimeEq as _;

/// How long what was read is taken for true. What this process changes is forgotten at once; what another node changes
/// is in force here after this time, well within the second that a revoked key may be accepted.
const TRUSTED: Duration = Duration::from_millis(500);
/// More keys than this are not remembered: all are forgotten then.
const MOST: usize = 4_096;

/// Keys that were accepted lately, with whose they are.
#[derive(Default)]
pub(crate) struct Known {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rises whenever something is forgotten: what was read before that is not remembered after it.
    generation: u64,
    keys: BTreeMap<String, Entry>,
}

struct Entry {
    secret_sha256: Digest,
    principal: Principal,
    expires_at: Option<Timestamp>,
    /// On the monotonic clock.
    until: Duration,
}

/// A moment before reading; what changed since is not remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before(u64);

impl Known {
    /// Call it before reading what is remembered then.
    pub(crate) fn before(&self) -> Before {
        Before(self.state().generation)
    }

    /// Whose key this is, if it was accepted lately with the same secret.
    pub(crate) fn find(
        &self,
        id: &str,
        secret_sha256: &Digest,
        now: Timestamp,
        monotonic: Duration,
    ) -> Option<Principal> {
        let state = self.state();
        let entry = state.keys.get(id)?;
        let is_same = bool::from(entry.secret_sha256.as_bytes().ct_eq(secret_sha256.as_bytes()));
        let is_live = entry.expires_at.is_none_or(|at| now < at);
        (is_same && is_live && monotonic < entry.until).then(|| entry.principal.clone())
    }

    /// Remembers a key that was accepted.
    pub(crate) fn remember(
        &self,
        before: Before,
        id: &str,
        secret_sha256: Digest,
        (principal, expires_at): (&Principal, Option<Timestamp>),
        monotonic: Duration,
    ) {
        let mut state = self.state();
        if state.generation != before.0 {
            return;
        }
        if state.keys.len() >= MOST {
            state.keys.clear();
        }
        let entry = Entry {
            secret_sha256,
            principal: principal.clone(),
            expires_at,
            until: monotonic + TRUSTED,
        };
        state.keys.insert(id.to_owned(), entry);
    }

    /// Forgets everything when what is given is dropped: a key or a principal is being changed.
    pub(crate) const fn forgetting(&self) -> Forgetting<'_> {
        Forgetting(self)
    }

    fn forget(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.keys.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets everything when it is dropped, whatever came of the change, and also when its future was dropped.
pub(crate) struct Forgetting<'a>(&'a Known);

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        self.0.forget();
    }
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::Role;
    use arbiter_testkit::builders::user;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    fn known() -> (Known, Digest) {
        let (known, secret) = (Known::default(), Digest::of(b"secret"));
        let who = user(1, [Role::Submitter]);
        known.remember(known.before(), "a", secret, (&who, None), Duration::ZERO);
        (known, secret)
    }

    #[test]
    fn a_key_is_known_for_half_a_second_with_its_own_secret() {
        let (known, secret) = known();
        let at = |time| known.find("a", &secret, NOW, time).map(|who| who.id);
        assert_eq!(at(Duration::from_millis(499)), Some(user(1, []).id));
        assert_eq!(at(Duration::from_millis(500)), None);
        let other = Digest::of(b"other");
        assert_eq!(known.find("a", &other, NOW, Duration::ZERO), None);
        assert_eq!(known.find("b", &secret, NOW, Duration::ZERO), None);
    }

    #[test]
    fn what_is_changed_is_forgotten_also_by_who_read_it_before() {
        let (known, secret) = known();
        let before = known.before();
        drop(known.forgetting());
        assert_eq!(known.find("a", &secret, NOW, Duration::ZERO), None);
        let who = user(1, [Role::Submitter]);
        known.remember(before, "a", secret, (&who, None), Duration::ZERO);
        assert_eq!(
            known.find("a", &secret, NOW, Duration::ZERO),
            None,
            "it was read before the change"
        );
    }

    #[test]
    fn a_key_ends_at_its_time() {
        let (known, secret) = (Known::default(), Digest::of(b"secret"));
        let who = user(1, [Role::Submitter]);
        known.remember(known.before(), "a", secret, (&who, Some(NOW)), Duration::ZERO);
        assert_eq!(known.find("a", &secret, NOW, Duration::ZERO), None);
        let earlier = NOW.minus(Duration::from_micros(1));
        assert!(known.find("a", &secret, earlier, Duration::ZERO).is_some());
    }

    #[test]
    fn so_many_keys_are_remembered_and_no_more() {
        let (known, secret) = known();
        let who = user(1, [Role::Submitter]);
        for number in 0..MOST * 2 {
            let id = number.to_string();
            known.remember(known.before(), &id, secret, (&who, None), Duration::ZERO);
        }
        assert!(known.state().keys.len() <= MOST);
    }
}
