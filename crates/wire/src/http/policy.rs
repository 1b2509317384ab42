//! Policies that operators add to the built-in ones.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Files of policies.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFilesForm {
    /// Texts by file name, at most 64 files and 256 KiB together. Names have letters, digits, `.`, `_` and `-`.
    pub files: BTreeMap<String, String>,
}

/// Which set to put into force again.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRollbackForm {
    /// Its number; 0 takes back everything that was ever put into force.
    pub number: u64,
}

/// What a check of files says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyCheckView {
    /// Whether they could be put into force.
    pub valid: bool,
    /// Everything that is wrong with them.
    pub problems: Vec<PolicyProblemView>,
    /// The ids of the policies in them, in order: `file#name`, or `file#number` for one without an `@id`.
    pub policies: Vec<String>,
}

/// What is wrong with a file of policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyProblemView {
    /// The file.
    pub file: String,
    /// The line, from 1, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// What would change, by the ids of policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyDiffView {
    /// They would come into force.
    pub added: Vec<String>,
    /// They would be in force no more.
    pub removed: Vec<String>,
    /// They would say something else.
    pub changed: Vec<String>,
}

/// A stored set of policies; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySetView {
    /// Its number, from 1.
    pub number: u64,
    /// The SHA-256 of its files.
    pub digest: String,
    /// Texts by file name; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeMap<String, String>>,
    /// When it was stored.
    pub created_at: String,
    /// Who stored it.
    pub created_by: String,
}

/// What is in force beside the policies that are built in or configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActivePoliciesView {
    /// The set in force; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<PolicySetView>,
    /// When it was put into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<String>,
    /// Who put it into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_by: Option<String>,
    /// Counts the changes of what is in force; also the `ETag`.
    pub revision: u64,
}

/// A page of stored sets, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicySetPageView {
    /// The sets, without their files.
    pub sets: Vec<PolicySetView>,
    /// Where to go on, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
