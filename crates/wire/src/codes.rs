//! The stable error codes of all interfaces, each with its HTTP status and its exit code.

/// Every task succeeded, every call was done.
pub const EXIT_OK: u8 = 0;
/// Some did not.
pub const EXIT_SOME_FAILED: u8 = 1;
/// The command line or the input is wrong.
pub const EXIT_USAGE: u8 = 2;
/// The configuration is wrong.
pub const EXIT_CONFIGURATION: u8 = 3;
/// The store or the server is not available.
pub const EXIT_UNAVAILABLE: u8 = 4;
/// The principal may not do it.
pub const EXIT_DENIED: u8 = 5;
/// Interrupted by a signal.
pub const EXIT_INTERRUPTED: u8 = 130;

/// What a code means outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The stable word.
    pub word: &'static str,
    /// The HTTP status (RFC 9110).
    pub status: u16,
    /// The exit code of the command line.
    pub exit: u8,
}

const fn code(word: &'static str, status: u16, exit: u8) -> Code {
    Code { word, status, exit }
}

/// Every code, by word.
pub const CODES: &[Code] = &[
    code("auth_failed", 401, EXIT_DENIED),
    code("backlog_full", 503, EXIT_UNAVAILABLE),
    code("bad_cursor", 400, EXIT_USAGE),
    code("disabled", 404, EXIT_CONFIGURATION),
    code("forbidden", 403, EXIT_DENIED),
    code("idempotency_conflict", 409, EXIT_SOME_FAILED),
    code("illegal_transition", 409, EXIT_SOME_FAILED),
    code("in_use", 409, EXIT_SOME_FAILED),
    code("internal", 500, EXIT_UNAVAILABLE),
    code("invalid_request", 400, EXIT_USAGE),
    code("invalid_task", 422, EXIT_USAGE),
    code("invalid_value", 422, EXIT_USAGE),
    code("kind_not_allowed", 422, EXIT_DENIED),
    code("lease_lost", 409, EXIT_SOME_FAILED),
    code("method_not_allowed", 405, EXIT_USAGE),
    code("not_found", 404, EXIT_SOME_FAILED),
    code("over_budget", 409, EXIT_SOME_FAILED),
    code("payload_timeout", 408, EXIT_UNAVAILABLE),
    code("precondition_failed", 412, EXIT_SOME_FAILED),
    code("range_not_satisfiable", 416, EXIT_USAGE),
    code("rate_limited", 429, EXIT_UNAVAILABLE),
    code("registry_full", 503, EXIT_UNAVAILABLE),
    code("registry_unavailable", 503, EXIT_UNAVAILABLE),
    code("suspicious_content", 422, EXIT_USAGE),
    code("too_large", 413, EXIT_USAGE),
    code("unavailable", 503, EXIT_UNAVAILABLE),
    code("unsupported", 400, EXIT_USAGE),
    code("unsupported_field", 400, EXIT_USAGE),
    code("unsupported_media_type", 415, EXIT_USAGE),
];

/// The meaning of a code; an unknown one is treated as `internal`.
pub fn meaning(word: &str) -> Code {
    CODES
        .iter()
        .copied()
        .find(|code| code.word == word)
        .unwrap_or(code("internal", 500, EXIT_UNAVAILABLE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_distinct() {
        assert!(CODES.windows(2).all(|pair| pair[0].word < pair[1].word));
        assert_eq!(
            (meaning("rate_limited").status, meaning("nonsense").word),
            (429, "internal")
        );
    }
}
