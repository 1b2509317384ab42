//! The contract of `Entropy`.

use std::collections::BTreeSet;
use std::sync::Arc;

use arbiter_core::ports::Entropy;

use crate::contract::suite;

suite!($ entropy_contract, entropy, [
    every_byte_is_filled,
    no_two_fills_are_alike,
    fractions_lie_between_0_and_1,
]);

/// Every byte is filled, whatever the length: in 64 fills none stays the same.
pub async fn every_byte_is_filled(entropy: &Arc<dyn Entropy>) {
    entropy.fill(&mut []);
    for length in [1, 7, 8, 33, 4_096] {
        let mut seen = vec![BTreeSet::new(); length];
        for _ in 0..64 {
            let mut bytes = vec![0; length];
            entropy.fill(&mut bytes);
            seen.iter_mut().zip(bytes).for_each(|(seen, byte)| {
                seen.insert(byte);
            });
        }
        // One value 64 times has a probability of 2^-504.
        assert!(seen.iter().all(|values| values.len() > 1), "{length}");
    }
}

/// No two fills of 16 bytes are alike.
pub async fn no_two_fills_are_alike(entropy: &Arc<dyn Entropy>) {
    let fill = || {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        bytes
    };
    let fills: BTreeSet<[u8; 16]> = (0..1_000).map(|_| fill()).collect();
    assert_eq!(fills.len(), 1_000);
}

/// Fractions lie in 0..1, on both sides of the middle.
pub async fn fractions_lie_between_0_and_1(entropy: &Arc<dyn Entropy>) {
    let drawn: Vec<f64> = (0..1_000).map(|_| entropy.unit()).collect();
    assert!(drawn.iter().all(|unit| (0.0..1.0).contains(unit)));
    let low = drawn.iter().filter(|unit| **unit < 0.5).count();
    // Ten standard deviations of a fair coin.
    assert!((342..=658).contains(&low), "{low}");
}
