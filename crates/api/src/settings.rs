//! What an operator can set.

use std::time::Duration;

/// Limits of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSettings {
    /// Bytes of a request's body, where the operation states no other limit; 4 MiB.
    pub body_bytes: usize,
    /// Bytes of a submit of many tasks; 32 MiB.
    pub batch_bytes: usize,
    /// Bytes of an artifact; 256 MiB.
    pub artifact_bytes: u64,
    /// How long a body may take to arrive; 30 s.
    pub body_timeout: Duration,
    /// How long an answer may wait for its reader to take more of it; 30 s.
    pub write_timeout: Duration,
    /// How long the head of a request may take to arrive, an idle connection's included; 30 s.
    pub head_timeout: Duration,
    /// How long an operation may take, long polls and streams aside; 30 s.
    pub call_timeout: Duration,
    /// Open connections; 10 000.
    pub connections: usize,
    /// Calls under way; 1 024. Long polls and streams are counted by themselves.
    pub calls: usize,
    /// Long polls and streams under way; 8 192.
    pub waiting: usize,
    /// How long open calls may take to end at shutdown; 20 s.
    pub drain: Duration,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            batch_bytes: 32 << 20,
            artifact_bytes: 256 << 20,
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            head_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(30),
            connections: 10_000,
            calls: 1_024,
            waiting: 8_192,
            drain: Duration::from_secs(20),
        }
    }
}
