//! Rules for one Rust source file.

use crate::finding::Finding;

/// Lines a file may have, its tests not counted.
const MAX_LINES: usize = 500;

/// Text that no source may hold, with the reason. Split, so that this file passes its own check.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    (
        "tidy::ignored-test",
        concat!("#[", "ignore"),
        "a test that does not run must not look green",
    ),
    (
        "tidy::unfinished",
        concat!("todo", "!("),
        "unfinished code is not committed",
    ),
    (
        "tidy::unfinished",
        concat!("unimplemented", "!("),
        "unfinished code is not committed",
    ),
];

/// Checks one file.
pub(crate) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let first = text.lines().next().unwrap_or_default();
    if !first.starts_with("//!") && !first.starts_with("#![doc = include_str!(") {
        let text = "starts without module docs (`//!`)";
        findings.push(Finding::new("tidy::module-docs", path, text));
    }
    let lines = product_lines(text);
    if lines > MAX_LINES && !is_test_code(path) {
        let text = format!("has {lines} lines without its tests, at most {MAX_LINES} are allowed; split it");
        findings.push(Finding::new("tidy::size", path, text));
    }
    for (index, line) in text.lines().enumerate() {
        for (check, needle, reason) in FORBIDDEN {
            if line.contains(needle) {
                let place = format!("{path}:{}", index + 1);
                findings.push(Finding::new(check, place, format!("`{needle}`: {reason}")));
            }
        }
    }
    findings
}

/// The number of lines before the inline tests that end the file.
pub(crate) fn product_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests {"));
    tests.unwrap_or(lines.len())
}

/// Whether the whole file is test or benchmark code.
pub(crate) fn is_test_code(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let file = parts.pop().unwrap_or_default();
    file == "tests.rs"
        || file.ends_with("_tests.rs")
        || parts.iter().any(|part| ["tests", "benches"].contains(part))
        // A contract suite is test cases that stand in a library, so that every adapter can run them.
        || path.starts_with("crates/testkit/src/contract/")
}

#[cfg(test)]
mod tests {
    use super::{MAX_LINES, check, is_test_code, product_lines};

    fn source(product: usize, tests: usize) -> String {
        let body = "//! Docs.\n".to_owned() + &"// line\n".repeat(product - 1);
        body + "#[cfg(test)]\nmod tests {\n" + &"// test\n".repeat(tests) + "}\n"
    }

    #[test]
    fn only_lines_before_the_tests_count() {
        assert_eq!(product_lines(&source(20, 900)), 20);
        assert!(check("src/a.rs", &source(MAX_LINES, 900)).is_empty());
    }

    #[test]
    fn one_line_too_many_is_a_finding() {
        let found = check("src/a.rs", &source(MAX_LINES + 1, 3));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].to_string(),
            "tidy::size: src/a.rs: has 501 lines without its tests, at most 500 are allowed; split it"
        );
    }

    #[test]
    fn test_code_has_no_limit() {
        for path in [
            "src/a/tests.rs",
            "src/a_tests.rs",
            "tests/it/main.rs",
            "crates/a/benches/b.rs",
        ] {
            assert!(is_test_code(path), "{path}");
            assert!(check(path, &source(MAX_LINES + 1, 3)).is_empty());
        }
        assert!(!is_test_code("crates/testkit/src/lib.rs"));
    }
}
