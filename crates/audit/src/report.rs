//! What a verification found: the first thing that is wrong, its place, and findings about the log's meaning.

use std::fmt;

use arbiter_core::model::Digest;

use crate::checkpoint::Checkpoint;
use crate::key::{InvalidKey, VerifierKey};
use crate::keyring::{AdoptError, HandoverError, OpenError};
use crate::leaf::LeafError;
use crate::ledger::Finding;
use crate::note::NoteError;

/// The most findings that a [`Report`] lists; all of them are counted.
pub const MAX_FINDINGS: usize = 100;

/// The result of verifying a log or an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many entries were checked and found sound, counted from the first.
    pub entries: u64,
    /// How many of them have lost their detail to redaction.
    pub redacted: u64,
    /// The root of the tree over these entries.
    pub root: Digest,
    /// The checkpoint, if a trusted key vouches for it.
    pub checkpoint: Option<Checkpoint>,
    /// The trusted keys that have signed it.
    pub signers: Vec<VerifierKey>,
    /// The first thing that is wrong.
    pub fault: Option<Fault>,
    /// The first [`MAX_FINDINGS`] breaches of the order of task versions.
    pub findings: Vec<Finding>,
    /// How many such breaches there are.
    pub finding_count: u64,
}

impl Report {
    /// Tells whether every byte is vouched for and the versions of every task are complete and in order.
    pub const fn is_sound(&self) -> bool {
        self.fault.is_none() && self.finding_count == 0 && self.checkpoint.is_some()
    }
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Fault {
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub problem: Problem,
}

/// A part of a log or export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The first line of an export.
    Header,
    /// The entry with this index, starting at 0.
    Entry(u64),
    /// The signed checkpoint.
    Checkpoint,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Entry(index) => write!(f, "entry {index}"),
            Self::Checkpoint => f.write_str("checkpoint"),
        }
    }
}

/// What is wrong with a header, an entry or a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The line is not in the canonical form of its kind.
    #[error("line is malformed at byte {offset}")]
    Malformed {
        /// Where reading stopped, in bytes from the start of the line.
        offset: usize,
    },
    /// The line is longer than is read.
    #[error("line is too long")]
    TooLong,
    /// The data ends here.
    #[error("data ends too early")]
    Truncated,
    /// There is more after the end.
    #[error("data goes on after the checkpoint")]
    Trailing,
    /// The leaf is not in canonical form or of an unknown version.
    #[error("{0}")]
    Leaf(LeafError),
    /// Another index stands where this one belongs: entries are missing, repeated or swapped.
    #[error("index {found} stands in its place")]
    Index {
        /// The index that was found.
        found: u64,
    },
    /// The leaf is not the one that was hashed into the tree.
    #[error("leaf does not match its hash")]
    Hash,
    /// The detail is not the one whose digest the leaf carries.
    #[error("detail does not match its digest")]
    Detail,
    /// There is a detail although the leaf carries no digest.
    #[error("detail stands beside a leaf without digest")]
    StrayDetail,
    /// The tree cannot grow further.
    #[error("log is full")]
    Full,
    /// The export is of a format or version that this code does not know.
    #[error("export has the unknown format `{format}` version {version}")]
    Format {
        /// The format stated.
        format: String,
        /// The version stated.
        version: u64,
    },
    /// The export is of another log.
    #[error("export is of the log `{0}`")]
    Origin(String),
    /// The header states another size than the signed checkpoint.
    #[error("size {stated} is not that of the log")]
    Size {
        /// The size that the header states.
        stated: u64,
    },
    /// A key in the header is malformed.
    #[error("{0}")]
    Key(InvalidKey),
    /// A hand-over or the checkpoint is not a signed note.
    #[error("{0}")]
    Note(NoteError),
    /// A hand-over in the header is invalid.
    #[error("{0}")]
    Handover(HandoverError),
    /// A hand-over in the header contradicts the trusted keys.
    #[error("{0}")]
    Adopt(AdoptError),
    /// No trusted key vouches for the checkpoint.
    #[error("{0}")]
    Open(OpenError),
    /// The entries are sound one by one, but are not those that were signed: hashes were changed together with leaves.
    #[error("entries have the root {computed}, signed is {signed}")]
    Root {
        /// The root of the entries.
        computed: Digest,
        /// The root in the checkpoint.
        signed: Digest,
    },
}

impl Problem {
    pub(crate) fn at(self, place: Place) -> Fault {
        Fault { place, problem: self }
    }
}
