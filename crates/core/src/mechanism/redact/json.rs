//! Redaction of JSON text in place: a walk over its tokens that copies everything but the secrets.

use std::borrow::Cow;
use std::iter::Peekable;
use std::ops::Range;

use aho_corasick::FindIter;
use serde::de::IgnoredAny;

use super::shapes::run_end;
use super::{Output, REDACTED, Redactor};

/// The text is not one JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text to redact is not valid JSON")]
pub struct NotJson;

/// Redacts `text`, which stands `depth` strings deep in other JSON.
pub(super) fn redact<'a>(redactor: &Redactor, text: &'a str, depth: usize) -> Result<Cow<'a, str>, NotJson> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| NotJson)?;
    let hits = redactor.literals.find_iter(text).peekable();
    let walk = Walk {
        redactor,
        text,
        depth,
        hits,
        output: Output::new(text),
        at: 0,
    };
    Ok(walk.run()?.map_or(Cow::Borrowed(text), Cow::Owned))
}

struct Walk<'a> {
    redactor: &'a Redactor,
    text: &'a str,
    depth: usize,
    /// The beginnings of possible secrets, over the whole text: most strings have none and need no look of their own.
    hits: Peekable<FindIter<'a, 'a>>,
    output: Output<'a>,
    at: usize,
}

impl<'a> Walk<'a> {
    // INVARIANT: the text was parsed before, so that brackets are paired and strings closed.
    fn run(mut self) -> Result<Option<String>, NotJson> {
        let bytes = self.text.as_bytes();
        let mut in_object = Vec::new();
        let mut key_next = false;
        let mut secret = false;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'{' | b'[' if secret => {
                    self.remove_container();
                    secret = false;
                    continue;
                }
                b'{' | b'[' => {
                    key_next = *byte == b'{';
                    in_object.push(key_next);
                }
                b'}' | b']' => {
                    in_object.pop();
                }
                b',' => key_next = in_object.last() == Some(&true),
                b'"' if key_next => {
                    key_next = false;
                    secret = self.key()?;
                    continue;
                }
                b'"' => {
                    self.string_value(secret)?;
                    secret = false;
                    continue;
                }
                b'-' | b'0'..=b'9' => {
                    let start = self.at;
                    self.at = run_end(bytes, self.at, bytes.len(), |b| b"+-.eE0123456789".contains(&b));
                    if secret {
                        self.output.replace_with(start..self.at, "\"[redacted]\"");
                    }
                    secret = false;
                    continue;
                }
                b't' | b'f' | b'n' => {
                    secret = false;
                    // Past the whole literal, whose other letters mean nothing.
                    self.at += 3;
                }
                _ => {}
            }
            self.at += 1;
        }
        Ok(self.output.finish())
    }

    /// Reads a key; whether it names a secret.
    fn key(&mut self) -> Result<bool, NotJson> {
        let (range, content) = self.string()?;
        if self.may_hold_secret(&range, &content)
            && let Some(clean) = self.redactor.key(&content)
        {
            self.output.replace_with(range, &quoted(&clean));
        }
        Ok(self.redactor.is_sensitive_key(&content))
    }

    fn string_value(&mut self, secret: bool) -> Result<(), NotJson> {
        let (range, content) = self.string()?;
        if secret {
            if !content.is_empty() && content != REDACTED {
                self.output.replace_with(range, "\"[redacted]\"");
            }
        } else if self.may_hold_secret(&range, &content)
            && let Cow::Owned(clean) = self.redactor.nested(&content, self.depth)
        {
            self.output.replace_with(range, &quoted(&clean));
        }
        Ok(())
    }

    /// Whether a string needs a look of its own. What stands in it without escapes stands in the text as it is, so
    /// that its hits are those of the text.
    fn may_hold_secret(&mut self, range: &Range<usize>, content: &str) -> bool {
        while self.hits.next_if(|hit| hit.start() < range.start).is_some() {}
        content.len() + 2 != range.len()
            || !self.redactor.extra_patterns.is_empty()
            || self.hits.peek().is_some_and(|hit| hit.start() < range.end)
    }

    /// Reads a string: its range with the quotes, and what it says.
    fn string(&mut self) -> Result<(Range<usize>, Cow<'a, str>), NotJson> {
        let start = self.at;
        let escaped = self.skip_string();
        let (text, range) = (self.text, start..self.at);
        let content = if escaped {
            let raw = text.get(range.clone()).ok_or(NotJson)?;
            Cow::Owned(serde_json::from_str(raw).map_err(|_| NotJson)?)
        } else {
            Cow::Borrowed(text.get(start + 1..self.at - 1).ok_or(NotJson)?)
        };
        Ok((range, content))
    }

    /// Steps over a string; whether it has escapes.
    fn skip_string(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        let mut at = self.at + 1;
        loop {
            at = run_end(bytes, at, bytes.len(), |b| b != b'"' && b != b'\\');
            if bytes.get(at) != Some(&b'\\') {
                break;
            }
            escaped = true;
            at += 2;
        }
        self.at = at + 1;
        escaped
    }

    /// Steps over the object or array that a secret key names, and removes it unless it is empty.
    fn remove_container(&mut self) {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut depth = 0_usize;
        let mut empty = true;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            empty &= self.at == start || depth == 0 || byte.is_ascii_whitespace();
            if *byte == b'"' {
                self.skip_string();
            } else {
                self.at += 1;
            }
            if depth == 0 {
                break;
            }
        }
        if !empty {
            self.output.replace_with(start..self.at, "\"[redacted]\"");
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
