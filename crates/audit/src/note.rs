//! Signed notes as C2SP `signed-note` defines them: a text, an empty line, signature lines.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::{VerifierKey, is_key_name};

/// The largest note that is read, in bytes (the limit of Go's `sumdb/note`).
pub const MAX_NOTE_BYTES: usize = 1_000_000;
/// The most signatures that one note may carry (the limit of Go's `sumdb/note`).
pub const MAX_SIGNATURES: usize = 100;

/// A text and the signatures that were put under it.
///
/// What a note says must not be believed before [`Note::verify`] has named a trusted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A signature line, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The key id.
    pub id: [u8; 4],
    /// The signature.
    pub bytes: Vec<u8>,
}

/// A text that is not a note, or a note that is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is empty, does not end in a newline, has control characters, or is too large.
    #[error("text cannot be signed as a note")]
    Text,
    /// The signature lines are missing or malformed.
    #[error("note has no well-formed signature lines")]
    Form,
    /// A key that is known did not make the signature that carries its name.
    #[error("signature by `{0}` is invalid")]
    Invalid(String),
    /// No known key has signed.
    #[error("note is not signed by any known key")]
    Unsigned,
}

impl Note {
    /// Takes a text to be signed. It must end in a newline and have no other control characters.
    ///
    /// # Errors
    /// Returns [`NoteError::Text`] for any other text.
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        if is_note_text(&text) {
            Ok(Self {
                text,
                signatures: Vec::new(),
            })
        } else {
            Err(NoteError::Text)
        }
    }

    /// Reads a note with one signature or more. Only the form that [`Note`] prints is read.
    ///
    /// # Errors
    /// Returns [`NoteError::Text`] or [`NoteError::Form`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::Text);
        }
        let split = note.rfind("\n\n").ok_or(NoteError::Form)?;
        let (text, lines) = note.split_at_checked(split + 1).ok_or(NoteError::Form)?;
        if !is_note_text(text) {
            return Err(NoteError::Text);
        }
        let lines = lines
            .strip_prefix('\n')
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(NoteError::Form)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::Form);
        }
        let signatures = lines
            .split('\n')
            .map(parse_signature)
            .collect::<Option<_>>()
            .ok_or(NoteError::Form)?;
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// The text, with its last newline: the bytes that are signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, unchecked.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Signs with a key whose secret half `sign` holds.
    ///
    /// # Errors
    /// Returns [`NoteError::Invalid`] if `key` does not verify what `sign` returns.
    pub fn sign(&mut self, key: &VerifierKey, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Result<(), NoteError> {
        let signature = sign(self.text.as_bytes());
        self.add_signature(key, &signature)
    }

    /// Adds a signature over [`Note::text`] that was made elsewhere.
    ///
    /// # Errors
    /// Returns [`NoteError::Invalid`] if `key` does not verify it.
    pub fn add_signature(&mut self, key: &VerifierKey, signature: &[u8; 64]) -> Result<(), NoteError> {
        if !key.verifies(self.text.as_bytes(), signature) {
            return Err(NoteError::Invalid(key.name().to_owned()));
        }
        let (name, bytes) = (key.name().to_owned(), signature.to_vec());
        self.signatures.push(NoteSignature {
            name,
            id: key.id(),
            bytes,
        });
        Ok(())
    }

    /// Returns those of `keys` that have signed the note, in their order. Signatures by other keys are ignored.
    ///
    /// # Errors
    /// Returns [`NoteError::Invalid`] if one of the keys is named by a signature that it did not make, and
    /// [`NoteError::Unsigned`] if none has signed.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signers = Vec::new();
        for key in keys {
            let mut own = self
                .signatures
                .iter()
                .filter(|s| s.name == key.name() && s.id == key.id())
                .peekable();
            if own.peek().is_none() {
                continue;
            }
            let valid = |s: &NoteSignature| {
                let bytes = s.bytes.as_slice().try_into();
                bytes.is_ok_and(|bytes| key.verifies(self.text.as_bytes(), bytes))
            };
            if !own.all(valid) {
                return Err(NoteError::Invalid(key.name().to_owned()));
            }
            signers.push(key);
        }
        if signers.is_empty() {
            Err(NoteError::Unsigned)
        } else {
            Ok(signers)
        }
    }
}

fn is_note_text(text: &str) -> bool {
    text.len() <= MAX_NOTE_BYTES && text.ends_with('\n') && !text.bytes().any(|b| b < 0x20 && b != b'\n')
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    let decoded = STANDARD.decode(encoded).ok()?;
    let (id, bytes) = decoded.split_first_chunk()?;
    let well_formed = is_key_name(name) && !bytes.is_empty();
    well_formed.then(|| NoteSignature {
        name: name.to_owned(),
        id: *id,
        bytes: bytes.to_vec(),
    })
}

/// The text form: text, empty line, signature lines.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let encoded = STANDARD.encode([&signature.id, signature.bytes.as_slice()].concat());
            writeln!(f, "— {} {encoded}", signature.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
