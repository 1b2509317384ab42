//! x
/// m
pub const REDACTED: &str = "[redacted]";
