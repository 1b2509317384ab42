//! The salted body that stands beside a leaf and can be removed without touching the log.

use std::fmt;

use arbiter_core::model::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes of a salt: enough that a short body cannot be guessed from its digest.
pub const SALT_BYTES: usize = 16;

/// What happened, in full, with the random salt of its digest.
///
/// The leaf carries only [`Detail::digest`]. Redaction deletes the detail with its salt; leaf, tree and proofs stay as
/// they are, and nothing about the body can be learned from the digest that remains.
#[derive(Clone, PartialEq, Eq)]
pub struct Detail {
    /// 16 random bytes, drawn anew for every detail.
    pub salt: [u8; SALT_BYTES],
    /// The body; any bytes, usually JSON text.
    pub body: Vec<u8>,
}

impl Detail {
    /// The digest that the leaf carries: SHA-256(salt ‖ body).
    pub fn digest(&self) -> Digest {
        digest_of(&self.salt, &self.body)
    }

    /// Tells whether a leaf's digest was made of this detail.
    pub fn matches(&self, digest: &Digest) -> bool {
        self.digest() == *digest
    }
}

/// SHA-256(salt ‖ body).
pub(crate) fn digest_of(salt: &[u8; SALT_BYTES], body: &[u8]) -> Digest {
    Digest::from_bytes(
        Sha256::new()
            .chain_update(salt)
            .chain_update(body)
            .finalize()
            .into(),
    )
}

/// Shows sizes only: a body may hold what a log must not.
impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Detail({} bytes)", self.body.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_covers_salt_then_body() {
        let detail = Detail {
            salt: [3; 16],
            body: b"{\"a\":1}".to_vec(),
        };
        let mut joined = vec![3; 16];
        joined.extend_from_slice(b"{\"a\":1}");
        assert_eq!(detail.digest(), Digest::of(&joined));
        assert!(detail.matches(&Digest::of(&joined)));
        assert!(
            !Detail {
                salt: [4; 16],
                ..detail.clone()
            }
            .matches(&Digest::of(&joined))
        );
        assert!(!format!("{detail:?}").contains("\"a\""));
    }
}
