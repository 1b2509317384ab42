//! Texts of several lines, as PagerDuty takes them.

use arbiter_core::mechanism::{cut, visible};

/// As lines: control characters other than the end of a line and the tabulator become spaces.
pub(crate) fn lines(text: &str, most: usize) -> String {
    let keep = |letter: char| {
        if matches!(letter, '\n' | '\t') {
            letter
        } else {
            visible(letter)
        }
    };
    let lines: String = text.chars().map(keep).take(most.saturating_add(1)).collect();
    cut(&lines, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_lines_are_kept() {
        assert_eq!(lines("a\n\tb\r\u{7}", 9), "a\n\tb  ");
    }
}
