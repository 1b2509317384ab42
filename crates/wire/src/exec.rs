//! Exec protocol 1: what a command gets on standard input and gives on standard output (`docs/exec-protocol.md`).

mod answer;
mod order;
mod progress;

pub use answer::{Answer, AnswerError, Outcome};
pub use order::order;
pub use progress::{Line, parse_line};

/// The version of the protocol.
pub const VERSION: u32 = 1;

#[cfg(test)]
mod tests;
