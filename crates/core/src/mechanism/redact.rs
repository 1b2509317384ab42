//! Removes secrets from text, JSON and maps: by the name of the field and by the shape of the value.
//!
//! One pass of an Aho-Corasick automaton (Aho and Corasick, "Efficient string matching", CACM 1975) finds the
//! literals that every secret shape begins with; only around a hit does a small rule look closer. Clean text costs
//! that one pass and is given back borrowed. Everything is linear in the length of the input.

mod assignment;
mod json;
mod keys;
mod output;
mod placeholder;
mod shapes;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::Regex;
use serde_json::Value;

use output::{Output, replace_matches};

pub use json::NotJson;
pub use keys::is_sensitive_key;

/// What stands in place of a secret. Stable: stored texts hold it.
pub const REDACTED: &str = "[redacted]";

/// How deep JSON is looked into that stands in a string of JSON that stands in a string, and so on.
const MAX_NESTING: usize = 4;

/// One replacement can make another rule apply (an assignment whose value was a URL, say); passes are repeated until
/// nothing changes. Two are the rule.
const MAX_PASSES: usize = 8;

/// Parts of names of secret fields: around each hit the whole name decides. Every built-in word contains one.
const NAME_PARTS: [&str; 16] = [
    "token",
    "secret",
    "authoriz",
    "key",
    "passw",
    "passp",
    "passc",
    "pwd",
    "credential",
    "session",
    "sessid",
    "cookie",
    "connstr",
    "string",
    "jwt",
    "signature",
];

/// What a deployment adds to the built-in rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedactionRules {
    /// Further names of secret fields, compared as the built-in ones are: at the end of the name, without case and
    /// separators.
    pub extra_keys: Vec<String>,
    /// Whether e-mail addresses are removed too.
    pub emails: bool,
    /// Further patterns (syntax of the `regex` crate; an empty match is no match).
    pub extra_patterns: Vec<String>,
}

/// Rules that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRules {
    /// A key without a letter or digit.
    #[error("the redaction key `{0}` has no letter or digit")]
    Key(String),
    /// A pattern that is not a regular expression, or too large a one.
    #[error("the redaction pattern number {number} is not a usable regular expression")]
    Pattern {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The literals do not fit the automaton.
    #[error("the redaction rules are too large")]
    TooLarge(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[derive(Clone, Copy)]
enum Kind {
    /// A token with a well-known beginning.
    Prefixed,
    Slack,
    Jwt,
    Pem,
    Url,
    Email,
    Bearer,
    Basic,
    /// A part of a secret field's name.
    Name,
}

/// Removes secrets. Build it once and share it.
///
/// Every method is idempotent under the built-in rules, leaves text without secrets as it is, and puts [`REDACTED`]
/// in place of a secret. `Debug` shows no rules.
pub struct Redactor {
    literals: AhoCorasick,
    /// The kind of each literal.
    kinds: Vec<Kind>,
    /// In normal form.
    extra_keys: Vec<String>,
    extra_patterns: Vec<Regex>,
}

impl Redactor {
    /// Compiles the built-in rules and `rules`.
    ///
    /// # Errors
    /// [`InvalidRules`] for the first rule that cannot be used.
    pub fn new(rules: &RedactionRules) -> Result<Self, InvalidRules> {
        let mut extra_keys = Vec::new();
        let mut literals: Vec<(&str, Kind)> = vec![
            ("eyJ", Kind::Jwt),
            (shapes::SLACK, Kind::Slack),
            ("-----BEGIN ", Kind::Pem),
            ("://", Kind::Url),
            ("bearer", Kind::Bearer),
            ("basic ", Kind::Basic),
        ];
        literals.extend(NAME_PARTS.iter().map(|part| (*part, Kind::Name)));
        literals.extend(
            shapes::PREFIX_LITERALS
                .iter()
                .map(|prefix| (*prefix, Kind::Prefixed)),
        );
        if rules.emails {
            literals.push(("@", Kind::Email));
        }
        for key in &rules.extra_keys {
            let normal = keys::normal_form(key);
            if normal.is_empty() {
                return Err(InvalidRules::Key(key.clone()));
            }
            extra_keys.push(normal);
        }
        // The last word of an extra key, as it may be written with separators.
        for key in &rules.extra_keys {
            let last = key
                .split(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric())
                .rfind(|word| !word.is_empty());
            literals.extend(last.map(|word| (word, Kind::Name)));
        }
        let extra_patterns = rules.extra_patterns.iter().enumerate().map(|(index, pattern)| {
            Regex::new(pattern).map_err(|error| InvalidRules::Pattern {
                number: index + 1,
                source: error.into(),
            })
        });
        Ok(Self {
            extra_patterns: extra_patterns.collect::<Result<_, _>>()?,
            kinds: literals.iter().map(|(_, kind)| *kind).collect(),
            literals: AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .kind(Some(AhoCorasickKind::DFA))
                .build(literals.iter().map(|(literal, _)| literal))
                .map_err(|error| InvalidRules::TooLarge(error.into()))?,
            extra_keys,
        })
    }

    /// Whether a field of this name is secret by its name, under the built-in and the extra words.
    pub fn is_sensitive_key(&self, key: &str) -> bool {
        keys::is_sensitive_with(key, &self.extra_keys)
    }

    /// Removes secrets from a text; borrowed if there are none. A text that is a JSON object or array is treated
    /// as [`json_text`](Self::json_text) does.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.nested(text, 0)
    }

    /// Removes secrets from JSON text, changing nothing else of it: order, spacing and numbers stay as they were.
    /// Borrowed if there are none.
    ///
    /// The value of a secret field becomes the string [`REDACTED`], whatever it was, except for `null`, booleans
    /// and empty values. Strings, and keys, are treated as [`text`](Self::text) is.
    ///
    /// # Errors
    /// [`NotJson`] if the text is not one JSON value.
    pub fn json_text<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, NotJson> {
        json::redact(self, text, 0)
    }

    /// Removes secrets from a value in memory, by the rules of [`json_text`](Self::json_text); the number of places
    /// that changed. Two keys that become equal keep one of their values.
    pub fn value(&self, value: &mut Value) -> usize {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            Value::String(text) => self.string(text),
            Value::Array(items) => items.iter_mut().map(|item| self.value(item)).sum(),
            Value::Object(entries) => {
                let mut count = 0;
                for (key, value) in entries.iter_mut() {
                    count += if !self.is_sensitive_key(key) {
                        self.value(value)
                    } else if is_removable(value) {
                        *value = Value::from(REDACTED);
                        1
                    } else {
                        0
                    };
                }
                let changed: Vec<(String, String)> = entries
                    .keys()
                    .filter_map(|key| Some((key.clone(), self.key(key)?)))
                    .collect();
                for (old, new) in changed {
                    if let Some(value) = entries.remove(&old) {
                        entries.insert(new, value);
                        count += 1;
                    }
                }
                count
            }
        }
    }

    /// Removes secrets from a flat map, such as labels or variables; the number of values that changed. Keys stay.
    pub fn map(&self, map: &mut BTreeMap<String, String>) -> usize {
        let mut count = 0;
        for (key, value) in map {
            if !self.is_sensitive_key(key) {
                count += self.string(value);
            } else if !value.is_empty() && value != REDACTED {
                REDACTED.clone_into(value);
                count += 1;
            }
        }
        count
    }

    fn string(&self, text: &mut String) -> usize {
        let Cow::Owned(clean) = self.text(text) else {
            return 0;
        };
        *text = clean;
        1
    }

    /// The key without the secrets that stand in it, if there are any.
    fn key(&self, key: &str) -> Option<String> {
        // Shorter ones cannot hold a secret of any shape.
        if key.len() < 8 { None } else { self.plain(key) }
    }

    /// A text at some depth of JSON in strings.
    fn nested<'a>(&self, text: &'a str, depth: usize) -> Cow<'a, str> {
        let mut current = Cow::Borrowed(text);
        for _ in 0..MAX_PASSES {
            if depth < MAX_NESTING && looks_like_json(&current) {
                let changed = match json::redact(self, &current, depth + 1) {
                    Ok(Cow::Borrowed(_)) => return current,
                    Ok(Cow::Owned(changed)) => Some(changed),
                    Err(NotJson) => None,
                };
                if let Some(changed) = changed {
                    return Cow::Owned(changed);
                }
            }
            match self.pass(&current) {
                Some(changed) => current = Cow::Owned(changed),
                None => return current,
            }
        }
        current
    }

    /// A text that is not taken for JSON.
    fn plain(&self, text: &str) -> Option<String> {
        let mut current = self.pass(text)?;
        for _ in 1..MAX_PASSES {
            match self.pass(&current) {
                Some(changed) => current = changed,
                None => break,
            }
        }
        Some(current)
    }

    /// One pass over a text with all rules; `None` if nothing was found.
    fn pass(&self, text: &str) -> Option<String> {
        let mut changed = self.pass_built_in(text);
        for pattern in &self.extra_patterns {
            let current = changed.as_deref().unwrap_or(text);
            if let Some(next) = replace_matches(pattern, current) {
                changed = Some(next);
            }
        }
        changed
    }

    fn pass_built_in(&self, text: &str) -> Option<String> {
        let mut output = Output::new(text);
        // INVARIANT: no JSON web token begins before this.
        let mut no_token_before = 0;
        for hit in self.literals.find_iter(text) {
            if hit.start() < output.copied {
                continue;
            }
            let (start, end) = (hit.start(), hit.end());
            let secret = match self.kinds[hit.pattern().as_usize()] {
                Kind::Prefixed => shapes::prefixed(text, start),
                Kind::Slack => shapes::slack_token(text, start),
                Kind::Jwt if start < no_token_before => None,
                Kind::Jwt => shapes::json_web_token(text, start, &mut no_token_before),
                Kind::Pem => shapes::private_key_block(text, start, end),
                Kind::Url => shapes::url_password(text, start, end),
                Kind::Email => shapes::email(text, start, output.copied),
                Kind::Basic => shapes::basic_credentials(text, start, end),
                Kind::Bearer => shapes::bearer_token(text, end)
                    .or_else(|| assignment::find(self, text, hit.range(), output.copied)),
                Kind::Name => assignment::find(self, text, hit.range(), output.copied),
            };
            if let Some(secret) = secret {
                output.replace(secret);
            }
        }
        output.finish()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// Whether there is something to remove in the value of a secret field.
fn is_removable(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => false,
        Value::Number(_) => true,
        Value::String(text) => !text.is_empty() && text != REDACTED,
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
    }
}

fn looks_like_json(text: &str) -> bool {
    let text = text.trim_matches([' ', '\n', '\r', '\t']);
    (text.starts_with('{') && text.ends_with('}')) || (text.starts_with('[') && text.ends_with(']'))
}

#[cfg(test)]
mod tests;
