//! What operators set about the flow of work: pauses, and the board that tells of them and of tenants' limits.

mod board;
mod pause;
mod service;

pub use board::TrafficBoard;
pub use pause::{Pause, PauseTarget};
pub use service::{Pauses, QueueStatus};

pub(crate) use board::Terms;
