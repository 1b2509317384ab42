//! Policies that cannot be used.

/// Why a set of policies was refused; the set in force stays in force.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file is not Cedar.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Policies do not fit the schema.
    #[error("the policies do not fit the schema: {}", .0.join("; "))]
    Invalid(Vec<String>),
}
