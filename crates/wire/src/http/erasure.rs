//! Erasures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasureForm {
    /// Of which sort it is.
    pub subject: ErasureSubjectWord,
    /// The id of the task or principal.
    #[schemars(length(max = 36))]
    pub id: String,
    /// Why; it is kept in the audit log. 1–2000 characters.
    pub reason: String,
}

/// What can be erased by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErasureSubjectWord {
    /// A task: its input, attempts and outputs, and what the audit log tells of it beside who did what.
    Task,
    /// A principal: its record and keys, and every task that it submitted.
    Principal,
}

/// An erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasureView {
    /// Its id.
    pub id: String,
    /// In which tenant.
    pub tenant: String,
    /// Of which sort its subject is: `tenant`, `principal`, `task`.
    pub subject: String,
    /// The id of the task or principal; absent for a whole tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_id: Option<String>,
    /// Why.
    pub reason: String,
    /// The principal that asked for it.
    pub requested_by: String,
    /// When.
    pub requested_at: String,
    /// How far it is: `finding`, `tasks`, `records`, `log`, `done`.
    pub stage: String,
    /// When it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

/// A page of erasures, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasurePageView {
    /// The erasures.
    pub erasures: Vec<ErasureView>,
    /// The cursor of the next page, if there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
