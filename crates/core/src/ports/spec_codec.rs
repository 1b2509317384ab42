//! Specifications of tasks inside of other documents.

use super::BoxError;
use crate::model::{Json, TaskSpec};

/// Writes a specification as JSON and reads it back: the form that stores keep tasks in, for domains that keep a task
/// which is not submitted yet.
///
/// # Contract
/// - What was written reads as the same specification.
/// - An unknown version is an error, never a guess.
pub trait SpecCodec: Send + Sync + 'static {
    /// Writes it.
    ///
    /// # Errors
    /// Never for a specification that was made by this program.
    fn encode(&self, spec: &TaskSpec) -> Result<Json, BoxError>;

    /// Reads it.
    ///
    /// # Errors
    /// When it is damaged, or was written by a newer program.
    fn decode(&self, body: &Json) -> Result<TaskSpec, BoxError>;
}
