//! Putting other policies into force.

use std::fmt;

use super::Verdict;
use crate::model::{Operation, Principal, Target};

/// The policies behind an [`Authorizer`](super::Authorizer), as operators change them.
///
/// Some policies are there from the start: the built-in ones and those that the deployment's configuration names. Files
/// that are put into force stand beside them and never take their place.
///
/// # Contract
/// - `replace` swaps the files of the call before for these, whole: a decision is made by one set from beginning to
///   end, and a decision that starts after the call has returned is made by the new set.
/// - A set that is not valid is refused with every problem, by file and line; the set in force stays in force.
/// - `check` and `trial` change nothing.
/// - `version` counts the sets that were in force in this process, from 1.
pub trait PolicyEngine: Send + Sync + 'static {
    /// Reads and validates files as they would be put into force. Gives the policies in them, in order.
    ///
    /// # Errors
    /// [`PolicyProblems`] when they could not be put into force.
    fn check(&self, files: &[PolicyFile]) -> Result<Vec<NamedPolicy>, PolicyProblems>;

    /// What would be decided if these files were in force; a decision that could not be made counts as denied.
    ///
    /// # Errors
    /// [`PolicyProblems`] when they could not be put into force.
    fn trial(
        &self,
        files: &[PolicyFile],
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<Verdict, PolicyProblems>;

    /// Puts files into force. Gives the version that they make.
    ///
    /// # Errors
    /// [`PolicyProblems`]; the set in force stays in force.
    fn replace(&self, files: &[PolicyFile]) -> Result<u64, PolicyProblems>;

    /// Counts the sets that were in force.
    fn version(&self) -> u64;
}

/// A file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name, for problems and for the ids of its policies.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// One policy of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPolicy {
    /// `file#name`, or `file#number` for a policy without a name of its own.
    pub id: String,
    /// Its text without comments, always written the same way.
    pub text: String,
}

/// What is wrong with a set of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyProblem {
    /// In which file.
    pub file: String,
    /// In which line, from 1, if that is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

/// Why a set of policies was refused: everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", told(.0))]
pub struct PolicyProblems(pub Vec<PolicyProblem>);

fn told(problems: &[PolicyProblem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}
