//! Texts cut to what somebody else takes.

/// The first so many characters; the last one is `…` where something was cut off.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// As one line of at most so many characters, without white space at its ends: control characters become spaces.
pub fn one_line(text: &str, most: usize) -> String {
    // the ends go first: else a cut that falls on a space would not be shown
    let text = text.trim_matches(|letter: char| letter.is_control() || letter.is_whitespace());
    let line: String = text.chars().map(visible).take(most.saturating_add(1)).collect();
    cut(&line, most)
}

/// The character, or a space for a control character.
pub fn visible(letter: char) -> char {
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
}
