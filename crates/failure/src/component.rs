//! What is stored of a component: its failures in the window, its recovery, its history. Every node reads and writes the
//! same record, by its revision.

mod record;
mod window;

pub(crate) use record::{ComponentRecord, KIND, RECOVERING, Verdict, placed};
pub use record::{Outcome, PastRecovery};
