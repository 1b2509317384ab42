//! Ports behind guards.
//!
//! A guard stands where a call leaves the process or waits for a device. The embedded store bounds its calls itself, by
//! its queue; outward HTTP has a guard inside `arbiter-net`, which owns its retries.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::{ArtifactStore, Clock, Entropy, Metrics};
use arbiter_layers::{BulkheadSettings, Guard, GuardPorts, GuardSettings, Guarded};

use crate::exit::Failure;

/// Files at once. An upload holds its place until its client has sent everything, so places are many; each is a file
/// handle and a buffer.
const FILES: BulkheadSettings = BulkheadSettings {
    concurrent: 1_024,
    waiting: 1_024,
    longest_wait: Duration::from_secs(5),
};

/// Bounds and measures the calls to the store of files. They have no time-out, because an upload takes as long as its
/// client, whose pace the interface bounds.
///
/// # Errors
/// A failure when the guard cannot work.
pub(crate) fn artifacts(
    inner: Arc<dyn ArtifactStore>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    metrics: &Arc<dyn Metrics>,
) -> Result<Arc<dyn ArtifactStore>, Failure> {
    let settings = GuardSettings {
        bulkhead: Some(FILES),
        ..GuardSettings::default()
    };
    let ports = GuardPorts {
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
        metrics: Arc::clone(metrics),
    };
    let guard = Guard::new("artifacts", settings, ports)
        .map_err(|error| Failure::internal("the guard of the store of files", error))?;
    Ok(Arc::new(Guarded::new(inner, Arc::new(guard))))
}
