//! What is kept of policies: each set whole, and which one is in force.

use std::collections::BTreeMap;

use arbiter_core::model::{ArtifactRef, Digest, PrincipalId, Timestamp};
use arbiter_core::ports::{PolicyFile, StoreError};
use serde::{Deserialize, Serialize};

use crate::records::{Kept, RecordError, VERSION, corrupt};

pub(super) const KIND: &str = "policy_set";
pub(super) const POINTER: &str = "policy_pointer";
/// The id of the only document of its kind.
pub(super) const ACTIVE: &str = "active";

const FILES: usize = 64;
const BYTES: usize = 256 * 1024;

/// A stored set of policies. It never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    /// Its number, from 1.
    pub number: u64,
    /// The digest of its files.
    pub digest: Digest,
    /// Its files, by name.
    pub files: Vec<PolicyFile>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Who stored it.
    pub created_by: PrincipalId,
}

/// What is in force beside the policies that are built in or configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivePolicies {
    /// The set in force; none when nothing was put into force yet, or it was all taken back.
    pub set: Option<PolicySet>,
    /// When it was put into force.
    pub activated_at: Option<Timestamp>,
    /// Who put it into force.
    pub activated_by: Option<PrincipalId>,
    /// Counts the changes of what is in force.
    pub revision: u64,
}

/// The stored form of a set, version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SetBody {
    version: u32,
    files: BTreeMap<String, String>,
    created_at: i64,
    created_by: String,
}

/// The stored form of what is in force, version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PointerBody {
    version: u32,
    /// The number of the set in force; 0 for none.
    pub(super) number: u64,
    /// The highest number that was given.
    pub(super) last: u64,
    at: i64,
    by: String,
}

impl SetBody {
    pub(super) fn new(files: &[PolicyFile], at: Timestamp, by: PrincipalId) -> Self {
        let texts = files.iter().map(|file| (file.name.clone(), file.text.clone()));
        Self {
            version: VERSION,
            files: texts.collect(),
            created_at: at.as_micros(),
            created_by: by.to_string(),
        }
    }
}

impl PointerBody {
    pub(super) fn new(number: u64, last: u64, at: Timestamp, by: PrincipalId) -> Self {
        Self {
            version: VERSION,
            number,
            last,
            at: at.as_micros(),
            by: by.to_string(),
        }
    }

    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_micros(self.at)
    }

    pub(super) fn by(&self) -> Result<PrincipalId, StoreError> {
        self.by.parse().map_err(|error| corrupt(POINTER, error))
    }
}

/// The id of a set's document: ids and numbers have one order.
pub(super) fn id_of(number: u64) -> String {
    format!("{number:020}")
}

pub(super) fn set(kept: Kept<SetBody>) -> Result<PolicySet, StoreError> {
    let body = kept.body;
    Ok(PolicySet {
        number: kept.id.parse().map_err(|error| corrupt(KIND, error))?,
        digest: digest(&body.files)?,
        files: body
            .files
            .into_iter()
            .map(|(name, text)| PolicyFile { name, text })
            .collect(),
        created_at: Timestamp::from_micros(body.created_at),
        created_by: body.created_by.parse().map_err(|error| corrupt(KIND, error))?,
    })
}

/// The SHA-256 of the files as a JSON object, by name.
fn digest(files: &BTreeMap<String, String>) -> Result<Digest, StoreError> {
    let text = serde_json::to_vec(files).map_err(|error| corrupt(KIND, error))?;
    Ok(Digest::of(&text))
}

/// The digest that a set of these files has.
pub(super) fn digest_of(files: &[PolicyFile]) -> Result<Digest, StoreError> {
    let texts = files.iter().map(|file| (file.name.clone(), file.text.clone()));
    digest(&texts.collect())
}

/// Checks names and sizes, and gives the files in their order.
pub(super) fn files(given: BTreeMap<String, String>) -> Result<Vec<PolicyFile>, RecordError> {
    let refused = |problem: String| Err(RecordError::invalid("files", problem));
    if given.len() > FILES {
        return refused(format!("must be at most {FILES}"));
    }
    if given.values().map(String::len).sum::<usize>() > BYTES {
        return refused(format!("must have at most {BYTES} bytes together"));
    }
    if !given.keys().all(|name| ArtifactRef::is_name(name)) {
        return refused("must have names of letters, digits, `.`, `_` and `-`, without a path".to_owned());
    }
    let files = given.into_iter();
    Ok(files.map(|(name, text)| PolicyFile { name, text }).collect())
}
