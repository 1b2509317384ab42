//! Ids and chance that are the same in every run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arbiter_core::ports::{Entropy, IdSource};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::clock::ManualClock;

/// Chance that follows from a seed (ChaCha with 8 rounds).
#[derive(Debug)]
pub struct SeededEntropy(Mutex<ChaCha8Rng>);

impl SeededEntropy {
    /// The chance of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        lock(&self.0).fill_bytes(bytes);
    }
}

/// Ids that follow from a seed: UUIDs of version 7 (RFC 9562 §5.7), each one millisecond later than the last, so that
/// they strictly rise.
#[derive(Debug)]
pub struct SeededIds(Mutex<(u64, ChaCha8Rng)>);

impl SeededIds {
    /// The ids of `seed`.
    pub fn new(seed: u64) -> Self {
        let start = u64::try_from(ManualClock::START.as_micros() / 1_000).unwrap_or(0);
        Self(Mutex::new((start, ChaCha8Rng::seed_from_u64(seed))))
    }
}

impl IdSource for SeededIds {
    fn next(&self) -> [u8; 16] {
        let mut state = lock(&self.0);
        let (millis, random) = &mut *state;
        *millis += 1;
        let mut bytes = [0; 16];
        random.fill_bytes(&mut bytes[6..]);
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6] = bytes[6] & 0x0F | 0x70;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        bytes
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_follow_from_the_seed() {
        let take = |seed| {
            let ids = SeededIds::new(seed);
            (0..300).map(|_| ids.next()).collect::<Vec<_>>()
        };
        let ids = take(7);
        assert_eq!(ids, take(7));
        assert_ne!(ids, take(8));
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert!(ids.iter().all(|id| id[6] >> 4 == 7 && id[8] >> 6 == 0b10));
    }

    #[test]
    fn chance_follows_from_the_seed() {
        let take = |seed| {
            let mut bytes = [0; 64];
            SeededEntropy::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }
}
