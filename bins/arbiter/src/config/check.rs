//! Listing problems.

/// All problems of a configuration as one message.
pub(super) fn list(problems: &[String]) -> String {
    match problems {
        [one] => format!("the configuration has a problem: {one}"),
        many => {
            let lines: String = many.iter().map(|problem| format!("\n  - {problem}")).collect();
            format!("the configuration has {} problems:{lines}", many.len())
        }
    }
}
