//! The export of a log: one canonical JSON line per part, written as a stream.
//!
//! The first line names the log (`format`, `version`, `origin`, `size`, `keys`, `handovers`), then comes one line per
//! entry in order (`index`, `hash`, `leaf`, and unless redacted `salt` and `detail`), then the signed checkpoint.
//! Every line is canonical JSON (RFC 8785), so it has one spelling and a leaf stands in its line byte for byte. A
//! detail that is not UTF-8 stands as base64 under `detail64`. Each entry carries the hash that stands in the tree, so
//! that an entry that was changed can be named.

use std::io::{self, Write};

use arbiter_core::model::Digest;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::detail::Detail;
use crate::entry::write_line;
use crate::json::MAX_NUMBER;
use crate::key::VerifierKey;
use crate::keyring::Handover;
use crate::leaf::LeafError;
use crate::note::Note;
use crate::report::Problem;
use crate::view::LeafView;

/// The value of `format` in the header.
pub const EXPORT_FORMAT: &str = "arbiter-audit-export";
/// The value of `version` in the header.
pub const EXPORT_VERSION: u64 = 1;
/// The longest line that is written or read, in bytes.
pub const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// What the first line of an export says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportHeader {
    /// The name of the log.
    pub origin: String,
    /// The number of entries that follow.
    pub size: u64,
    /// The log's keys, for information: a verifier trusts its own.
    pub keys: Vec<VerifierKey>,
    /// The hand-overs between keys, oldest first.
    pub handovers: Vec<Handover>,
}

/// An export could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output failed.
    #[error("export could not be written")]
    Write(#[source] io::Error),
    /// A stored leaf is damaged: it is the first bad entry.
    #[error("stored entry {index} is not a leaf")]
    Leaf {
        /// The index of the entry.
        index: u64,
        /// What is wrong with it.
        source: LeafError,
    },
    /// A detail is stored beside a leaf that carries no digest.
    #[error("stored entry {index} has a detail but its leaf carries no digest")]
    StrayDetail {
        /// The index of the entry.
        index: u64,
    },
    /// The line would be longer than [`MAX_LINE_BYTES`].
    #[error("entry {index} is too long for an export")]
    TooLong {
        /// The index of the entry, or of the place after the last one for the checkpoint.
        index: u64,
    },
    /// The log has more than 2^53 entries.
    #[error("log of {0} entries is too large for an export")]
    Size(u64),
    /// Another number of entries was given than the header says.
    #[error("export of {expected} entries was given entry number {given}")]
    Count {
        /// The number in the header.
        expected: u64,
        /// The number given so far.
        given: u64,
    },
    /// The checkpoint is not one.
    #[error("note is not a checkpoint")]
    Checkpoint(#[source] CheckpointError),
    /// The checkpoint is of another log or another size.
    #[error("checkpoint does not belong to the export")]
    OtherCheckpoint,
}

/// Writes an export as a stream, in the order header, entries, checkpoint.
#[derive(Debug)]
pub struct ExportWriter<W> {
    out: W,
    line: Vec<u8>,
    origin: String,
    size: u64,
    next: u64,
}

impl<W: Write> ExportWriter<W> {
    /// Writes the header. `out` should be buffered.
    ///
    /// # Errors
    /// Returns [`ExportError::Size`] for a log of more than 2^53 entries, and [`ExportError::Write`].
    pub fn new(out: W, header: &ExportHeader) -> Result<Self, ExportError> {
        if header.size > MAX_NUMBER {
            return Err(ExportError::Size(header.size));
        }
        let (origin, size) = (header.origin.clone(), header.size);
        let mut writer = Self {
            out,
            line: Vec::new(),
            origin,
            size,
            next: 0,
        };
        writer.write_json(&HeaderLine::from(header))?;
        Ok(writer)
    }

    /// Writes the next entry: its leaf, the hash that **stands in the tree**, and its detail unless redacted.
    ///
    /// The hash is not computed here on purpose: computed from a leaf that was changed in the store, it would hide
    /// which entry was changed.
    ///
    /// # Errors
    /// Returns an [`ExportError`] if the leaf is damaged, there are more entries than announced, or the output fails.
    pub fn entry(&mut self, leaf: &[u8], hash: &Digest, detail: Option<&Detail>) -> Result<(), ExportError> {
        let index = self.next;
        if index >= self.size {
            return Err(ExportError::Count {
                expected: self.size,
                given: index + 1,
            });
        }
        let view = LeafView::parse(leaf).map_err(|source| ExportError::Leaf { index, source })?;
        if view.detail.is_none() && detail.is_some() {
            return Err(ExportError::StrayDetail { index });
        }
        self.line.clear();
        write_line(&mut self.line, index, leaf, hash, detail);
        self.write_out()?;
        self.next += 1;
        Ok(())
    }

    /// The output, for whoever takes away what was written so far.
    pub const fn output(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes the signed checkpoint and returns the output, flushed.
    ///
    /// # Errors
    /// Returns an [`ExportError`] if entries are missing, the note is not the checkpoint of this log at this size, or
    /// the output fails.
    pub fn finish(mut self, checkpoint: &Note) -> Result<W, ExportError> {
        if self.next != self.size {
            return Err(ExportError::Count {
                expected: self.size,
                given: self.next,
            });
        }
        let stated = Checkpoint::parse(checkpoint.text()).map_err(ExportError::Checkpoint)?;
        if stated.origin() != self.origin || stated.size() != self.size {
            return Err(ExportError::OtherCheckpoint);
        }
        self.write_json(&CheckpointLine {
            checkpoint: checkpoint.to_string(),
        })?;
        self.out.flush().map_err(ExportError::Write)?;
        Ok(self.out)
    }

    fn write_json(&mut self, line: &impl Serialize) -> Result<(), ExportError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(|error| ExportError::Write(error.into()))?;
        self.line.push(b'\n');
        self.write_out()
    }

    fn write_out(&mut self) -> Result<(), ExportError> {
        if self.line.len() > MAX_LINE_BYTES {
            return Err(ExportError::TooLong { index: self.next });
        }
        self.out.write_all(&self.line).map_err(ExportError::Write)
    }
}

/// The stored form of [`ExportHeader`].
// INVARIANT: fields stand in the order of their names, so that the line is canonical
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    format: String,
    handovers: Vec<String>,
    keys: Vec<String>,
    origin: String,
    size: u64,
    version: u64,
}

impl From<&ExportHeader> for HeaderLine {
    fn from(header: &ExportHeader) -> Self {
        Self {
            format: EXPORT_FORMAT.to_owned(),
            handovers: header
                .handovers
                .iter()
                .map(|handover| handover.note().to_string())
                .collect(),
            keys: header.keys.iter().map(ToString::to_string).collect(),
            origin: header.origin.clone(),
            size: header.size,
            version: EXPORT_VERSION,
        }
    }
}

/// How the line of the checkpoint begins; no other line begins so.
pub(crate) const CHECKPOINT_PREFIX: &[u8] = b"{\"checkpoint\":";

/// The stored form of the checkpoint.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine {
    checkpoint: String,
}

/// Reads a line, without its newline, and refuses all spellings but the one that would be written.
fn read_json<T: Serialize + for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T, Problem> {
    let value: T = serde_json::from_slice(line).map_err(|e| Problem::Malformed { offset: e.column() })?;
    let again = serde_json::to_vec(&value).map_err(|_| Problem::Malformed { offset: 0 })?;
    if again != line {
        let offset = again.iter().zip(line).take_while(|(a, b)| a == b).count();
        return Err(Problem::Malformed { offset });
    }
    Ok(value)
}

/// Reads the header line.
pub(crate) fn read_header(line: &[u8]) -> Result<ExportHeader, Problem> {
    let header: HeaderLine = read_json(line)?;
    if header.format != EXPORT_FORMAT || header.version != EXPORT_VERSION {
        return Err(Problem::Format {
            format: header.format,
            version: header.version,
        });
    }
    if header.size > MAX_NUMBER {
        return Err(Problem::Size { stated: header.size });
    }
    let keys = header
        .keys
        .iter()
        .map(|key| key.parse().map_err(Problem::Key))
        .collect::<Result<_, _>>()?;
    let handover = |text: &String| {
        let note = Note::parse(text).map_err(Problem::Note)?;
        Handover::open(note).map_err(Problem::Handover)
    };
    let handovers = header.handovers.iter().map(handover).collect::<Result<_, _>>()?;
    Ok(ExportHeader {
        origin: header.origin,
        size: header.size,
        keys,
        handovers,
    })
}

/// Reads the line of the checkpoint.
pub(crate) fn read_checkpoint(line: &[u8]) -> Result<Note, Problem> {
    let line: CheckpointLine = read_json(line)?;
    Note::parse(&line.checkpoint).map_err(Problem::Note)
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;
