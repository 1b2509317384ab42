//! Texts as PagerDuty takes them, and its own as a log takes them.

use arbiter_core::mechanism::{REDACTED, SecretText};
use arbiter_core::ports::MAX_ANSWER_BYTES;

/// The first so many characters; the last one is `…` where something was cut off.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// As one line of at most so many characters: control characters become spaces.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    // the ends go first: else a cut that falls on a space would not be shown
    let text = text.trim_matches(|letter: char| letter.is_control() || letter.is_whitespace());
    let line: String = text.chars().map(spaced).take(most.saturating_add(1)).collect();
    cut(&line, most)
}

/// As lines: control characters other than the end of a line and the tabulator become spaces.
pub(crate) fn lines(text: &str, most: usize) -> String {
    let keep = |letter: char| {
        if matches!(letter, '\n' | '\t') {
            letter
        } else {
            spaced(letter)
        }
    };
    let lines: String = text.chars().map(keep).take(most.saturating_add(1)).collect();
    cut(&lines, most)
}

/// What the other side says: one line, without the secret, at most [`MAX_ANSWER_BYTES`].
pub(crate) fn said(text: &str, secret: &SecretText) -> String {
    let hidden = text.replace(secret.expose(), REDACTED);
    let line: String = hidden.chars().map(spaced).collect();
    let line = line.trim();
    if line.len() <= MAX_ANSWER_BYTES {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(MAX_ANSWER_BYTES - '…'.len_utf8());
    format!("{}…", line.get(..end).unwrap_or_default())
}

fn spaced(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(one_line(" a\r\nb\u{0}c ", 9), "a  b c");
        assert_eq!(one_line("ääää", 2), "ä…");
        assert_eq!(lines("a\n\tb\r\u{7}", 9), "a\n\tb  ");
    }

    #[test]
    fn what_was_said_holds_no_secret_and_has_an_end() {
        let secret = SecretText::new("canary");
        assert_eq!(said("the canary\nsings", &secret), "the [redacted] sings");
        // a secret across the place of the cut is hidden before the cut
        let long = format!("{}canary{}", "a".repeat(MAX_ANSWER_BYTES - 3), "ü".repeat(99));
        let said = said(&long, &secret);
        assert!(
            said.len() <= MAX_ANSWER_BYTES && !said.contains("can") && said.ends_with('…'),
            "{said}"
        );
    }
}
