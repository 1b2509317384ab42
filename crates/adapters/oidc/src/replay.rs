//! Tokens that may be used once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arbiter_core::model::{Digest, Timestamp};
use arbiter_core::ports::AuthenticationError;

/// The ids of tokens that were used, until they end. They are known to this process only, and forgotten with it.
#[derive(Debug)]
pub(crate) struct Used {
    /// The most that are remembered.
    most: usize,
    until: Mutex<BTreeMap<[u8; 32], Timestamp>>,
}

impl Used {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            until: Mutex::default(),
        }
    }

    /// Uses a token up. Of several calls with one id, one succeeds.
    ///
    /// # Errors
    /// `Replayed` when it was used before; `Backend` when so many are remembered that one more cannot be.
    pub(crate) fn use_up(
        &self,
        id: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), AuthenticationError> {
        let key = *Digest::of(id.as_bytes()).as_bytes();
        let mut used = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if used.contains_key(&key) {
            return Err(AuthenticationError::Replayed);
        }
        if used.len() >= self.most {
            used.retain(|_, until| *until > now);
        }
        if used.len() >= self.most {
            return Err(AuthenticationError::Backend(Box::new(Full)));
        }
        used.insert(key, until);
        Ok(())
    }
}

/// No token can be used up now.
#[derive(Debug, thiserror::Error)]
#[error("too many tokens that may be used once are in force")]
struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn when_too_many_are_remembered_none_is_accepted_until_some_have_ended() {
        let used = Used::new(2);
        used.use_up("a", at(10), at(0)).expect("new");
        used.use_up("b", at(20), at(0)).expect("new");
        let full = used.use_up("c", at(30), at(9)).expect_err("no place");
        assert_eq!(full.word(), "unavailable");
        used.use_up("c", at(30), at(10)).expect("the first has ended");
        let again = used.use_up("b", at(20), at(10)).expect_err("used");
        assert_eq!(again.word(), "replayed");
        assert_eq!(used.until.lock().expect("a lock").len(), 2);
    }
}
