//! Erasures: what was kept about a tenant, a person or a task is deleted, step by step, and stays deleted over a crash.

mod eraser;
mod record;
mod service;
mod steps;

pub use eraser::{Eraser, EraserParts, EraserSettings, ErasureRound};
pub use record::{Erasure, ErasureStage, ErasureSubject};
pub use service::{Erasures, Requested};
