//! Stable lower-case words: actions, kinds of resources, reason codes.

use std::borrow::Cow;
use std::fmt;

/// The longest [`Word`], in bytes.
pub const MAX_WORD_BYTES: usize = 64;

/// A stable word of 1–64 characters `a`–`z`, `_` and `.`, such as `task.submitted`.
///
/// Words are part of what is proved later: once one has been written to a log, its meaning never changes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Word(Cow<'static, str>);

/// A text that is not a [`Word`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a word of 1 to 64 characters a-z, `_` and `.`")]
pub struct InvalidWord(pub String);

impl Word {
    /// Checks a text; a `&'static str` is kept without a copy.
    ///
    /// # Errors
    /// Returns the text if it is empty, too long or has other characters.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, InvalidWord> {
        let text = text.into();
        let fits = (1..=MAX_WORD_BYTES).contains(&text.len()) && text.bytes().all(is_word_byte);
        if fits {
            Ok(Self(text))
        } else {
            Err(InvalidWord(text.into_owned()))
        }
    }

    /// The text of the word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Tells whether a byte may stand in a word.
pub(crate) fn is_word_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'_' | b'.')
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Word({})", self.0)
    }
}

impl std::str::FromStr for Word {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_lower_case_words_pass() {
        assert_eq!(
            Word::new("task.rate_limited").unwrap().as_str(),
            "task.rate_limited"
        );
        assert!(Word::new("a".repeat(MAX_WORD_BYTES)).is_ok());
        for bad in ["", "Task", "task 1", "é", "a-b", &"a".repeat(MAX_WORD_BYTES + 1)] {
            assert_eq!(Word::new(bad.to_owned()), Err(InvalidWord(bad.to_owned())));
        }
    }
}
