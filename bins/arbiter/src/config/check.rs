//! Listing problems.

/// All problems of a configuration as one message.
pub(super) fn list(problems: &[String]) -> String {
    match problems {
        [one] => format!("the configuration has a problem: {one}"),
        many => {
            format!(
                "the configuration has {} problems:\n  - {}",
                many.len(),
                many.join("\n  - ")
            )
        }
    }
}
