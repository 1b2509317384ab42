//! Identifiers of UUID version 7.

use std::sync::{Mutex, PoisonError};

use arbiter_core::ports::{Clock, Entropy, IdSource};

use crate::{OsEntropy, SystemClock};

/// Makes UUIDs of version 7 (RFC 9562 §5.7): 48 bits of milliseconds, a counter in the 12 bits that follow (§6.2
/// method 1), 62 random bits. Later ids of one source are greater, also when the clock is set back.
pub struct UuidV7Ids {
    clock: SystemClock,
    entropy: OsEntropy,
    last: Mutex<(u64, u16)>,
}

impl UuidV7Ids {
    /// A source on the system's clock and randomness.
    pub fn new() -> Self {
        Self {
            clock: SystemClock::new(),
            entropy: OsEntropy::new(),
            last: Mutex::new((0, 0)),
        }
    }

    /// The milliseconds and counter of the next id: never the same pair twice, never a lower one.
    fn place(&self, now_millis: u64) -> (u64, u16) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = match *last {
            (millis, _) if now_millis > millis => (now_millis, 0),
            // The counter is full: borrow the next millisecond.
            (millis, 0x0FFF) => (millis + 1, 0),
            (millis, counter) => (millis, counter + 1),
        };
        *last
    }
}

impl Default for UuidV7Ids {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for UuidV7Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UuidV7Ids")
    }
}

impl IdSource for UuidV7Ids {
    fn next(&self) -> [u8; 16] {
        let now = u64::try_from(self.clock.now().as_micros() / 1_000).unwrap_or(0);
        let (millis, counter) = self.place(now);
        let mut random = [0; 10];
        self.entropy.fill(&mut random[2..]);
        random[..2].copy_from_slice(&counter.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(millis, &random)
            .into_uuid()
            .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_are_of_version_seven() {
        let ids = UuidV7Ids::new();
        let mut last = [0; 16];
        for _ in 0..20_000 {
            let next = ids.next();
            assert!(next > last);
            assert_eq!((next[6] >> 4, next[8] >> 6), (7, 0b10));
            last = next;
        }
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_lower_them() {
        let ids = UuidV7Ids::new();
        let first = ids.place(5_000);
        assert!(ids.place(1_000) > first);
        assert_eq!(ids.place(6_000), (6_000, 0));
    }
}
