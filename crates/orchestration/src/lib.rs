#![doc = include_str!("../README.md")]

mod attempt;
mod context;
mod dispatcher;
mod due;
pub mod fair;
mod offers;
mod pull;
mod retention;
mod retry;
mod review;
mod sequencer;
mod silent;
mod slots;
mod stop;
pub mod supervisor;
mod telemetry;

pub use attempt::{AttemptRunner, HEARTBEAT};
pub use dispatcher::{Dispatcher, DispatcherParts, HostedAgent};
pub use due::DueTimer;
pub use offers::Offers;
pub use pull::{Asked, ClaimError, PullDesk, PullParts, Pulled};
pub use retention::{RetentionSweep, Swept};
pub use retry::PlainRetry;
pub use review::Reviewer;
pub use sequencer::Sequencer;
pub use silent::SilentAgents;
pub use stop::{Stop, Stopper};
pub use telemetry::{
    Aged, OutcomeHistory, Performed, PerformedError, TelemetryAge, TelemetrySampler, performed,
};
