//! Texts as Slack takes them.
//!
//! Source: Slack, "Formatting text for app surfaces": the three characters that are escaped, and mentions.

/// What calls everybody, where it stands as plain text.
const MENTIONS: [&str; 3] = ["@here", "@channel", "@everyone"];
/// Breaks a mention without being seen: WORD JOINER.
const JOINER: &str = "\u{2060}";

/// A text that says itself and nothing else, of at most so many UTF-16 units once it is escaped; ends in `…` where it was
/// cut off. Control characters other than the end of a line become spaces.
pub(crate) fn escaped(text: &str, most: usize) -> String {
    let mut out = String::new();
    let (mut units, mut end) = (0, 0);
    for (place, letter) in text.char_indices() {
        let mut buffer = [0; 4];
        let piece = match letter {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\n' => "\n",
            letter if letter.is_control() => " ",
            letter => &*letter.encode_utf8(&mut buffer),
        };
        let breaks = letter == '@' && text.get(place..).is_some_and(calls_everybody);
        let joiner = if breaks { JOINER } else { "" };
        units += length(piece) + length(joiner);
        if units > most {
            out.truncate(end);
            out.push('…');
            return out;
        }
        out.push_str(piece);
        out.push_str(joiner);
        if units < most {
            // room for the sign of the cut is left
            end = out.len();
        }
    }
    out
}

/// As [`escaped`], in one line.
pub(crate) fn line(text: &str, most: usize) -> String {
    // more characters than units never fit, so a long text is not copied whole
    let line: String = text.trim().chars().take(most + 1).collect();
    escaped(&line.replace(['\n', '\r'], " "), most)
}

/// Length in UTF-16 units.
pub(crate) fn length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

fn calls_everybody(rest: &str) -> bool {
    MENTIONS.iter().any(|word| {
        rest.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_becomes_a_link_or_a_mention() {
        assert_eq!(
            escaped("<!channel> & <@U1|x>", 99),
            "&lt;!channel&gt; &amp; &lt;@U1|x&gt;"
        );
        assert_eq!(
            escaped("@here @Channel @everyone", 99),
            "@\u{2060}here @\u{2060}Channel @\u{2060}everyone"
        );
        assert_eq!(escaped("ada@example.com @ ü", 99), "ada@example.com @ ü");
        assert_eq!(escaped("a\r\n\u{0}b", 99), "a \n b");
        assert_eq!(line("\n a\r\nb\n", 99), "a  b");
    }

    #[test]
    fn a_cut_leaves_characters_and_escapes_whole() {
        assert_eq!(escaped("ab&", 7), "ab&amp;");
        assert_eq!(escaped("ab&", 6), "ab…");
        assert_eq!(escaped("abc", 2), "a…");
        assert_eq!(escaped("\u{1F525}\u{1F525}", 4), "\u{1F525}\u{1F525}");
        assert_eq!(escaped("\u{1F525}\u{1F525}", 3), "\u{1F525}…");
        assert_eq!(line(&"x".repeat(9_000), 150).chars().count(), 150);
    }

    proptest! {
        #[test]
        fn no_text_is_longer_or_more_than_itself(text in "[ -~@<>&üa-e\u{1F525}]{0,60}", most in 1_usize..80) {
            let told = escaped(&text, most);
            prop_assert!(length(&told) <= most, "{told}");
            prop_assert!(!told.contains(['<', '>']));
            prop_assert!(!MENTIONS.iter().any(|word| told.to_ascii_lowercase().contains(word)), "{told}");
            let whole = ["&amp;", "&lt;", "&gt;"].iter().fold(told.clone(), |text, escape| text.replace(escape, ""));
            prop_assert!(!whole.contains('&'), "{told}");
        }
    }
}
