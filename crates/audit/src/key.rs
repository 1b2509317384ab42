//! Verifier keys of C2SP `signed-note`: a name, a key id, an Ed25519 public key.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

use crate::json::read_hex;

/// The signature type of Ed25519 in C2SP `signed-note`.
pub const ED25519: u8 = 1;

/// A public key that can verify signatures on notes.
///
/// Its text form is `<name>+<key id, 8 hexadecimal digits>+<base64 of 0x01 ‖ public key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

/// A text or key that is not a [`VerifierKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The text does not have the form of a verifier key.
    #[error("`{0}` is not a verifier key of the form name+id+base64")]
    Form(String),
    /// The name is empty or has a space, a control character or a plus sign.
    #[error("`{0}` is not a key name")]
    Name(String),
    /// The key id does not belong to name and key.
    #[error("key id of `{0}` does not match its name and key")]
    Id(String),
    /// The bytes are not a usable Ed25519 public key, or the key is of another type.
    #[error("`{0}` has no usable Ed25519 public key")]
    Key(String),
}

impl VerifierKey {
    /// Makes a verifier key of a name and the 32 bytes of an Ed25519 public key (RFC 8032 §5.1.5).
    ///
    /// # Errors
    /// Returns [`InvalidKey::Name`] or [`InvalidKey::Key`].
    pub fn new(name: &str, public: &[u8; 32]) -> Result<Self, InvalidKey> {
        if !is_key_name(name) {
            return Err(InvalidKey::Name(name.to_owned()));
        }
        let key = VerifyingKey::from_bytes(public).ok().filter(|key| !key.is_weak());
        let key = key.ok_or_else(|| InvalidKey::Key(name.to_owned()))?;
        Ok(Self {
            name: name.to_owned(),
            id: key_id(name, public),
            key,
        })
    }

    /// The name of the key, usually the origin of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: the first 4 bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key).
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The 32 bytes of the public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Tells whether `signature` is this key's over `message` (RFC 8032 §5.1.7, without malleable forms).
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key
            .verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    }
}

/// Tells whether a text may name a key: not empty, no space, no control character, no plus sign.
pub(crate) fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn key_id(name: &str, public: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(public)
        .finalize();
    let mut id = [0; 4];
    id.copy_from_slice(&digest[..4]);
    id
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = [ED25519; 33];
        typed[1..].copy_from_slice(self.public_key());
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            u32::from_be_bytes(self.id),
            STANDARD.encode(typed)
        )
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || InvalidKey::Form(text.to_owned());
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(form());
        };
        let id: [u8; 4] = read_hex(id.as_bytes()).ok_or_else(form)?;
        let typed = STANDARD.decode(key).map_err(|_| form())?;
        let Some((&ED25519, public)) = typed.split_first() else {
            return Err(InvalidKey::Key(name.to_owned()));
        };
        let public = public.try_into().map_err(|_| InvalidKey::Key(name.to_owned()))?;
        let parsed = Self::new(name, public)?;
        if parsed.id == id {
            Ok(parsed)
        } else {
            Err(InvalidKey::Id(parsed.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::GO_KEY;

    #[test]
    fn the_published_key_parses_and_prints() {
        let key: VerifierKey = GO_KEY.parse().unwrap();
        assert_eq!((key.name(), key.id()), ("PeterNeumann", [0xc7, 0x4f, 0x20, 0xa3]));
        assert_eq!(key.to_string(), GO_KEY);
        assert_eq!(VerifierKey::new("PeterNeumann", key.public_key()), Ok(key));
    }

    #[test]
    fn no_part_and_no_changed_byte_of_it_passes() {
        for start in 0..GO_KEY.len() {
            for end in start..=GO_KEY.len() {
                let part = &GO_KEY[start..end];
                assert_eq!(part.parse::<VerifierKey>().is_ok(), part == GO_KEY, "{part}");
            }
        }
        for at in 0..GO_KEY.len() {
            let mut bytes = GO_KEY.as_bytes().to_vec();
            bytes[at] ^= 1;
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.parse::<VerifierKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn unusable_names_and_keys_are_refused() {
        let public = *GO_KEY.parse::<VerifierKey>().unwrap().public_key();
        for name in ["", "a b", "a+b", "a\nb", "a\u{2003}b"] {
            assert_eq!(
                VerifierKey::new(name, &public),
                Err(InvalidKey::Name(name.to_owned()))
            );
        }
        // the neutral element would accept any message of a forger
        let mut weak = [0; 32];
        weak[0] = 1;
        assert_eq!(
            VerifierKey::new("weak", &weak),
            Err(InvalidKey::Key("weak".to_owned()))
        );
    }
}
