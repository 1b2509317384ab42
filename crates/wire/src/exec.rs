//! Exec protocol 1: what a command gets on standard input and gives on standard output (`docs/exec-protocol.md`).

mod answer;
mod order;
mod progress;

pub use answer::{Answer, AnswerError, Outcome};
pub use order::order;
pub use progress::{Line, parse_line};

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// How many items each list of an answer may have.
pub const MAX_ITEMS: usize = 1_000;
/// How long the class of an error may be.
pub const MAX_CLASS_CHARS: usize = 64;

#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod tests;
