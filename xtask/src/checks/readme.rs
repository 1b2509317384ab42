//! Checks that README.md shows the two commands that a newcomer needs.

use crate::finding::Finding;

/// Starts the demonstration.
const DEMO: &str = "cargo run --release -- demo";
/// Runs every test.
pub(crate) const TEST: &str = "cargo xtask test";

/// Checks the text of README.md: each command stands alone on a line of a code block.
pub(crate) fn check(readme: &str) -> Vec<Finding> {
    let commands = code_lines(readme);
    [DEMO, TEST]
        .into_iter()
        .filter(|command| !commands.contains(command))
        .map(|command| {
            let text = format!("no code block has the line `{command}`");
            Finding::new("readme::command", "README.md", text)
        })
        .collect()
}

fn code_lines(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside {
            let command = line.split(" #").next().unwrap_or(line).trim_end();
            lines.push(command.strip_prefix("$ ").unwrap_or(command));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{check, code_lines};
    use crate::checks::fixtures;

    #[test]
    fn a_command_outside_a_code_block_is_not_enough() {
        let found = check(&fixtures::text("readme/without-test-command.md"));
        fixtures::assert_findings(&found, "readme/without-test-command.expected");
    }

    #[test]
    fn both_commands_in_code_blocks_pass() {
        let readme = "# A\n```sh\ncargo run --release -- demo\n```\n\n```console\n$ cargo xtask test  # every test\n```\n";
        assert_eq!(check(readme), []);
        assert_eq!(
            code_lines(readme),
            ["cargo run --release -- demo", "cargo xtask test"]
        );
    }
}
