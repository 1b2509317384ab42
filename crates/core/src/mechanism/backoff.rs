//! Exponential backoff with full jitter.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// Exponential backoff with full jitter: the wait before attempt `n + 1` is uniform between zero and
/// `min(cap, base · factorⁿ⁻¹)`.
///
/// Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("Full Jitter").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the wait after the first attempt.
    pub base: Duration,
    /// By how much the bound grows with every attempt; 0 counts as 1.
    pub factor: u32,
    /// The bound never exceeds this.
    pub cap: Duration,
}

impl Backoff {
    /// The backoff of task attempts: 1 s, doubled each time, at most 60 s.
    pub const TASK: Self = Self {
        base: Duration::from_secs(1),
        factor: 2,
        cap: Duration::from_mins(1),
    };

    /// The upper bound of the wait after `attempt` (1 is the first; 0 counts as 1).
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let steps = attempt.saturating_sub(1);
        let growth = u128::from(self.factor.max(1)).saturating_pow(steps);
        let nanos = self.base.as_nanos().saturating_mul(growth);
        if nanos >= self.cap.as_nanos() {
            self.cap
        } else {
            from_nanos(nanos)
        }
    }

    /// The wait after `attempt` (1 is the first; 0 counts as 1). `unit` is 64 uniform random bits, read as a
    /// fraction of the ceiling in [0, 1).
    pub fn delay(&self, attempt: u32, unit: u64) -> Duration {
        let ceiling = self.ceiling(attempt).as_nanos();
        // ceiling · unit / 2⁶⁴ in two halves: the product alone may exceed 128 bits.
        let (high, low) = (ceiling >> 64, ceiling & u128::from(u64::MAX));
        let unit = u128::from(unit);
        from_nanos(high * unit + ((low * unit) >> 64))
    }
}

/// Jitter as a pure function of an identifier and an attempt number: the first 8 bytes, big-endian, of
/// SHA-256(id ‖ attempt as 4 big-endian bytes). A state table can compute it without a source of chance, and every
/// node computes the same.
pub fn keyed_jitter(id: &[u8; 16], attempt: u32) -> u64 {
    let digest = Sha256::new()
        .chain_update(id)
        .chain_update(attempt.to_be_bytes())
        .finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    u64::try_from(nanos / SECOND).map_or(Duration::MAX, |seconds| {
        Duration::new(seconds, (nanos % SECOND) as u32)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceilings_double_up_to_the_cap() {
        let seconds: Vec<u64> = (0..=9).map(|n| Backoff::TASK.ceiling(n).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(Backoff::TASK.ceiling(u32::MAX), Duration::from_mins(1));
    }

    #[test]
    fn the_bits_are_a_fraction_of_the_ceiling() {
        assert_eq!(Backoff::TASK.delay(1, 0), Duration::ZERO);
        assert_eq!(Backoff::TASK.delay(3, 1 << 63), Duration::from_secs(2));
        assert_eq!(
            Backoff::TASK.delay(1, u64::MAX),
            Duration::from_nanos(999_999_999)
        );
    }

    #[test]
    fn extremes_saturate() {
        let huge = Backoff {
            base: Duration::MAX,
            factor: u32::MAX,
            cap: Duration::MAX,
        };
        assert_eq!(huge.ceiling(u32::MAX), Duration::MAX);
        assert!(huge.delay(u32::MAX, u64::MAX) < Duration::MAX);
        let flat = Backoff {
            base: Duration::from_secs(3),
            factor: 0,
            cap: Duration::from_mins(1),
        };
        assert_eq!(flat.ceiling(9), Duration::from_secs(3));
    }

    #[test]
    fn keyed_jitter_is_the_head_of_the_published_hash() {
        // SHA-256 of 20 zero bytes begins de47c9b27eb8d300.
        assert_eq!(keyed_jitter(&[0; 16], 0), 0xde47_c9b2_7eb8_d300);
        assert_ne!(keyed_jitter(&[0; 16], 1), keyed_jitter(&[0; 16], 2));
        assert_ne!(keyed_jitter(&[1; 16], 1), keyed_jitter(&[2; 16], 1));
    }

    #[test]
    fn keyed_jitter_spreads_evenly() {
        let mut quarters = [0_u32; 4];
        for n in 0..4_000_u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let delay = Backoff::TASK.delay(3, keyed_jitter(&id, 3));
            quarters[delay.as_secs() as usize] += 1;
        }
        // 1 000 each is expected; the standard deviation is 27.
        assert!(
            quarters.iter().all(|count| (850..1150).contains(count)),
            "{quarters:?}"
        );
    }

    proptest! {
        #[test]
        fn delay_is_within_its_ceiling(
            base in 0_u64..100_000, factor in 0_u32..10, cap in 0_u64..1_000_000,
            attempt in any::<u32>(), unit in any::<u64>(),
        ) {
            let backoff =
                Backoff { base: Duration::from_millis(base), factor, cap: Duration::from_millis(cap) };
            let ceiling = backoff.ceiling(attempt);
            prop_assert!(ceiling <= backoff.cap);
            prop_assert!(backoff.delay(attempt, unit) <= ceiling);
            prop_assert!(backoff.ceiling(attempt.saturating_add(1)) >= ceiling);
        }
    }
}
