//! Texts, cut to what targets take, and theirs as a log takes them.

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

/// What a target says: one line, without the secrets, at most [`MAX_ANSWER_BYTES`].
pub(crate) fn said(text: &str, secrets: &[SecretText]) -> String {
    let hidden = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose(), REDACTED)
        });
    let line: String = hidden.chars().map(spaced).collect();
    let line = line.trim();
    if line.is_empty() {
        return "it says nothing more".to_owned();
    }
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
    }

    #[test]
    fn what_was_said_holds_no_secret_and_has_an_end() {
        let secrets = [SecretText::new("canary"), SecretText::new("")];
        assert_eq!(said("the canary\nsings", &secrets), "the [redacted] sings");
        assert_eq!(said(" \n", &secrets), "it says nothing more");
        let long = format!("{}canary{}", "a".repeat(MAX_ANSWER_BYTES - 3), "ü".repeat(99));
        let said = said(&long, &secrets);
        assert!(
            said.len() <= MAX_ANSWER_BYTES && !said.contains("can") && said.ends_with('…'),
            "{said}"
        );
    }
}
