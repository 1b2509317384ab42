//! Numbers about the running program.

/// Takes measurements. Never blocks and never fails; what cannot be kept is dropped and counted.
///
/// Names have dots (`agent_registry.available_agents`); label names are lower-case words. The set of label values
/// must be small: never an id.
pub trait Metrics: Send + Sync + 'static {
    /// Adds to a counter.
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], add: u64);

    /// Sets a gauge.
    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64);

    /// Adds an observation to a histogram; durations are in seconds.
    fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64);
}

/// Takes measurements and keeps none: for embedders that measure elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn count(&self, _: &'static str, _: &[(&'static str, &str)], _: u64) {}
    fn gauge(&self, _: &'static str, _: &[(&'static str, &str)], _: f64) {}
    fn observe(&self, _: &'static str, _: &[(&'static str, &str)], _: f64) {}
}
