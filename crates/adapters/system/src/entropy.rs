//! Randomness of the operating system.

use std::sync::{Mutex, PoisonError};

use arbiter_core::ports::Entropy;
use zeroize::Zeroize as _;

/// How many bytes are asked for at once: one system call serves many salts.
const POOL: usize = 4_096;

/// Random bytes from the operating system, drawn in blocks and wiped when used.
pub struct OsEntropy(Mutex<Pool>);

struct Pool {
    bytes: Box<[u8; POOL]>,
    used: usize,
}

impl OsEntropy {
    /// A source with an empty pool.
    pub fn new() -> Self {
        Self(Mutex::new(Pool {
            bytes: Box::new([0; POOL]),
            used: POOL,
        }))
    }
}

impl Default for OsEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for OsEntropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OsEntropy")
    }
}

/// Fills `bytes` from the operating system.
///
/// A system without a source of randomness cannot run this program at all: every key and salt would be guessable.
#[expect(
    clippy::panic,
    reason = "there is no safe way to go on without randomness, and no caller could do better"
)]
fn draw(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        panic!("the operating system gives no randomness: {error}");
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > POOL / 8 {
            draw(bytes);
            return;
        }
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if POOL - pool.used < bytes.len() {
            draw(pool.bytes.as_mut_slice());
            pool.used = 0;
        }
        let range = pool.used..pool.used + bytes.len();
        pool.used = range.end;
        let slice = &mut pool.bytes[range];
        bytes.copy_from_slice(slice);
        slice.zeroize();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_block_is_given_twice() {
        let entropy = OsEntropy::new();
        let mut seen = BTreeSet::new();
        for _ in 0..2_000 {
            let mut bytes = [0; 16];
            entropy.fill(&mut bytes);
            assert!(seen.insert(bytes));
        }
        let mut large = vec![0; 10_000];
        entropy.fill(&mut large);
        let zeros = large.iter().map(|byte| u32::from(*byte == 0)).sum::<u32>();
        assert!(zeros < 200, "{zeros}");
    }
}
