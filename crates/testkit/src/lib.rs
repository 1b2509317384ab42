#![doc = include_str!("../README.md")]

pub mod builders;
mod chance;
pub mod choosers;
mod clock;
pub mod contract;
mod delivery;
pub mod effects;
pub mod faulty;
mod http_stub;
mod metrics;
pub mod mocks;
mod spawner;

/// The form in which the real stores keep specifications.
pub use arbiter_wire::stored::StoredSpecs;
pub use chance::{SeededEntropy, SeededIds};
pub use clock::ManualClock;
pub use delivery::{CollectingProgress, Stop};
pub use http_stub::{HttpStub, SeenRequest, StubAnswer};
pub use metrics::RecordingMetrics;
pub use spawner::{InstantSpawner, TestSpawner};
