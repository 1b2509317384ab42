#![doc = include_str!("../README.md")]

mod breaker;
mod bulkhead;
mod classify;
mod error;
mod guard;
mod guarded;
mod record;
mod settings;
mod time;

pub use classify::Classify;
pub use error::{GuardError, Stopped};
pub use guard::{Guard, TwoRetryOwners, one_owner};
pub use guarded::Guarded;
pub use settings::{BulkheadSettings, GuardPorts, GuardSettings, InvalidGuard, RetrySettings};
pub use time::{Elapsed, within};
