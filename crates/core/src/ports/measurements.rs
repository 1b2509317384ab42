//! Reading what was measured.

/// Where the present readings of all measurements are.
pub trait Measurements: Send + Sync + 'static {
    /// Every counter and gauge as it stands, and of every histogram its count and sum, as `<name>_count` and
    /// `<name>_sum`. What was never measured is absent.
    fn readings(&self) -> Vec<Reading>;
}

/// What one measurement reads now.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The name of the metric, with dots.
    pub name: String,
    /// Names and values of its labels.
    pub labels: Vec<(String, String)>,
    /// The value: a counter's total since the start of the process.
    pub value: f64,
}
