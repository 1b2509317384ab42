//! What a submitter hands in, and what it gets back.

use arbiter_core::model::{TaskId, TaskSpec};

/// A task to submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// What is asked. Its `after` must be empty: prerequisites stand in [`Self::after`].
    pub spec: TaskSpec,
    /// What must have succeeded first.
    pub after: Vec<Prerequisite>,
    /// Recognises a repeat: the same key and content give the first answer again.
    pub idempotency_key: Option<String>,
}

impl Submission {
    /// A submission without prerequisites and idempotency key.
    pub fn new(spec: TaskSpec) -> Self {
        Self {
            spec,
            after: Vec::new(),
            idempotency_key: None,
        }
    }
}

/// A task that must have succeeded first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prerequisite {
    /// A task that exists already.
    Task(TaskId),
    /// Another task of the same submit, by its place from 0.
    Sibling(usize),
}

/// A task that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub task: TaskId,
    /// Whether it had been accepted before: this is the first answer again.
    pub repeated: bool,
}
