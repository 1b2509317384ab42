#![doc = include_str!("../README.md")]

mod limiter;
mod wakeups;

pub use limiter::InProcessRateLimiter;
pub use wakeups::InProcessWakeups;
