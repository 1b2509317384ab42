#![doc = include_str!("../README.md")]

mod attempt;
mod dispatcher;
mod due;
pub mod fair;
mod retry;
mod review;
mod slots;
mod stop;

pub use attempt::{AttemptRunner, HEARTBEAT};
pub use dispatcher::{Dispatcher, DispatcherParts, HostedAgent};
pub use due::DueTimer;
pub use retry::PlainRetry;
pub use review::Reviewer;
pub use stop::{Stop, Stopper};
