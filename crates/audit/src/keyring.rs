//! The keys that are trusted for a log, and how trust passes from one to the next.

use arbiter_core::model::Digest;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::key::VerifierKey;
use crate::note::{Note, NoteError};

/// The second line of a hand-over. A checkpoint has a number there, so neither can pass for the other.
const HANDOVER: &str = "arbiter key handover v1";

/// A record that a log goes from one key to the next at a size of its tree, signed by both.
///
/// It is a note with the lines: origin, `arbiter key handover v1`, old key, new key, size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    origin: String,
    old: VerifierKey,
    new: VerifierKey,
    size: u64,
    note: Note,
}

/// A note that is not a hand-over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandoverError {
    /// The text does not have the five lines of a hand-over.
    #[error("note is not a key hand-over")]
    Form,
    /// A signature is missing or wrong.
    #[error("key hand-over is not signed by both keys")]
    Signature(#[source] NoteError),
}

impl Handover {
    /// The note that both keys have to sign: from the tree of `size` leaves on, `new` signs the log's checkpoints.
    ///
    /// # Errors
    /// Returns [`NoteError::Text`] if the origin has control characters.
    pub fn draft(origin: &str, old: &VerifierKey, new: &VerifierKey, size: u64) -> Result<Note, NoteError> {
        Note::new(format!("{origin}\n{HANDOVER}\n{old}\n{new}\n{size}\n"))
    }

    /// Checks a note that both keys have signed.
    ///
    /// This shows that the two keys agree, not that either is trusted: that is for [`Keyring::adopt`].
    ///
    /// # Errors
    /// Returns a [`HandoverError`] if the note is none, or is not signed by both keys.
    pub fn open(note: Note) -> Result<Self, HandoverError> {
        let lines: Vec<&str> = note.text().split('\n').collect();
        let [origin, HANDOVER, old, new, size, ""] = lines[..] else {
            return Err(HandoverError::Form);
        };
        let key = |text: &str| text.parse::<VerifierKey>().map_err(|_| HandoverError::Form);
        let (origin, old, new) = (origin.to_owned(), key(old)?, key(new)?);
        let size = size
            .parse::<u64>()
            .ok()
            .filter(|n| n.to_string() == size)
            .ok_or(HandoverError::Form)?;
        if origin.is_empty() || old == new {
            return Err(HandoverError::Form);
        }
        if note.verify([&old, &new]).map_err(HandoverError::Signature)?.len() < 2 {
            return Err(HandoverError::Signature(NoteError::Unsigned));
        }
        Ok(Self {
            origin,
            old,
            new,
            size,
            note,
        })
    }

    /// The key that gives up signing.
    pub const fn old(&self) -> &VerifierKey {
        &self.old
    }

    /// The key that signs from now on.
    pub const fn new_key(&self) -> &VerifierKey {
        &self.new
    }

    /// The size of the tree at which the key changes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The signed note.
    pub const fn note(&self) -> &Note {
        &self.note
    }
}

/// The keys that are trusted for one log, each for a range of tree sizes.
///
/// A root key is trusted from size 0. A hand-over at size `n` ends the trust in the old key above `n` and begins that
/// in the new key at `n`, so a retired key that leaks later cannot sign a longer log. During an overlap the log signs
/// with both, and verifiers that have not seen the hand-over go on with the old key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    origin: String,
    keys: Vec<TrustedKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct TrustedKey {
    key: VerifierKey,
    from: u64,
    until: Option<Retired>,
}

/// At what size a key was retired, and by which hand-over text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Retired {
    size: u64,
    handover: Digest,
}

/// What a hand-over did to a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// The new key is now trusted.
    Adopted,
    /// The same hand-over was adopted before.
    Known,
    /// The old key is not trusted here, so the hand-over adds nothing.
    Unrelated,
}

/// A hand-over that contradicts the keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdoptError {
    /// It is about another log.
    #[error("key hand-over is for the log `{0}`")]
    Origin(String),
    /// The old key has handed over to another key or at another size before: somebody forks the chain.
    #[error("`{0}` has handed over before")]
    Retired(String),
    /// The new key is trusted already, by another way.
    #[error("`{0}` is trusted already")]
    KnownKey(String),
    /// The old key hands over at a size before its own trust began.
    #[error("key hand-over at size {0} lies before the old key's own beginning")]
    Order(u64),
}

/// A checkpoint note that the keyring does not vouch for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No trusted key has signed it, or a signature is wrong.
    #[error("checkpoint is not vouched for")]
    Note(#[source] NoteError),
    /// The signed text is not a checkpoint.
    #[error("signed text is not a checkpoint")]
    Checkpoint(#[source] CheckpointError),
    /// It is about another log.
    #[error("checkpoint is for the log `{0}`")]
    Origin(String),
    /// Only keys have signed that are not trusted for a tree of this size.
    #[error("no key that is valid at size {0} has signed the checkpoint")]
    Validity(u64),
}

/// A checkpoint that a trusted key vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The trusted keys that have signed it.
    pub signers: Vec<VerifierKey>,
}

impl Keyring {
    /// Trusts `roots` for the log named `origin`.
    pub fn new(origin: impl Into<String>, roots: impl IntoIterator<Item = VerifierKey>) -> Self {
        let mut keys: Vec<TrustedKey> = Vec::new();
        for key in roots {
            if keys.iter().all(|known| known.key != key) {
                keys.push(TrustedKey {
                    key,
                    from: 0,
                    until: None,
                });
            }
        }
        Self {
            origin: origin.into(),
            keys,
        }
    }

    /// The log that the keys are trusted for.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// All keys that are or were trusted, in the order in which they became so.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.keys.iter().map(|trusted| &trusted.key)
    }

    /// Lets trust pass from a trusted key to its successor.
    ///
    /// # Errors
    /// Returns an [`AdoptError`] if the hand-over contradicts what is known; the keyring stays as it was.
    pub fn adopt(&mut self, handover: &Handover) -> Result<Adoption, AdoptError> {
        if handover.origin != self.origin {
            return Err(AdoptError::Origin(handover.origin.clone()));
        }
        let known = self.keys().any(|key| *key == handover.new);
        let Some(old) = self.keys.iter_mut().find(|trusted| trusted.key == handover.old) else {
            return Ok(Adoption::Unrelated);
        };
        let retired = Retired {
            size: handover.size,
            handover: Digest::of(handover.note.text().as_bytes()),
        };
        if let Some(before) = &old.until {
            let same = *before == retired;
            return if same {
                Ok(Adoption::Known)
            } else {
                Err(AdoptError::Retired(old.key.name().to_owned()))
            };
        }
        if known {
            return Err(AdoptError::KnownKey(handover.new.name().to_owned()));
        }
        if handover.size < old.from {
            return Err(AdoptError::Order(handover.size));
        }
        old.until = Some(retired);
        self.keys.push(TrustedKey {
            key: handover.new.clone(),
            from: handover.size,
            until: None,
        });
        Ok(Adoption::Adopted)
    }

    /// Checks a checkpoint note.
    ///
    /// # Errors
    /// Returns an [`OpenError`] unless a key that is trusted for a tree of this size has signed it for this log.
    pub fn open(&self, note: &Note) -> Result<Vouched, OpenError> {
        let signers = note.verify(self.keys()).map_err(OpenError::Note)?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(OpenError::Checkpoint)?;
        if checkpoint.origin() != self.origin {
            return Err(OpenError::Origin(checkpoint.origin().to_owned()));
        }
        let size = checkpoint.size();
        let valid = |trusted: &&TrustedKey| {
            size >= trusted.from && trusted.until.as_ref().is_none_or(|end| size <= end.size)
        };
        let valid = self.keys.iter().filter(valid).map(|trusted| &trusted.key);
        let signers: Vec<_> = valid.filter(|key| signers.contains(key)).cloned().collect();
        if signers.is_empty() {
            Err(OpenError::Validity(size))
        } else {
            Ok(Vouched { checkpoint, signers })
        }
    }
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
