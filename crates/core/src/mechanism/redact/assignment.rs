//! Assignments of secrets in prose, code, configuration and headers: `password=hunter2`, `api_key: "…"`,
//! `Authorization: Bearer …`, `--token …`, `<secret>…</secret>`.

use std::ops::Range;

use super::keys::normal_form;
use super::shapes::run_end;
use super::{REDACTED, Redactor, placeholder};

/// Longest name that is looked at on each side of a hit.
const NAME: usize = 64;

/// How name and value are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    /// `name: value`, `name:value`.
    Colon,
    /// `name=value`, `name := value`, `name => value`.
    Equals,
    /// `name == "value"`: a secret only if the value is a literal in quotes.
    Comparison,
    /// `--name value`.
    Flag,
    /// `<name>value</name>`.
    Element,
}

/// What is known about an assignment when its value is judged.
struct Assignment<'a> {
    text: &'a str,
    key: &'a str,
    join: Join,
    /// Whether white space stands before the value.
    spaced: bool,
    /// The quote that the whole assignment stands in, as in `-H "Cookie: a=b"`.
    quoted_in: Option<u8>,
}

/// The value of the assignment whose name contains the hit, if the name is that of a secret.
pub(super) fn find(redactor: &Redactor, text: &str, hit: Range<usize>, floor: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let key_end = run_end(bytes, hit.end, hit.end + NAME, is_name);
    let mut key_start = hit.start;
    while key_start > floor
        && hit.start - key_start < NAME
        && (is_name(bytes[key_start - 1]) || bytes[key_start - 1] == b'.')
    {
        key_start -= 1;
    }
    let before = text.get(floor..key_start)?.as_bytes();
    let (join, after) = join(bytes, before, key_end)?;
    let mut key = text.get(key_start..key_end)?;
    if join == Join::Flag && !key.starts_with("--") {
        return None;
    }
    if !redactor.is_sensitive_key(key) {
        // Words of a name may be apart: `API key: …`.
        let word = before
            .strip_suffix(b" ")?
            .iter()
            .rev()
            .take(NAME)
            .take_while(|b| is_name(**b))
            .count();
        key = text.get(key_start - 1 - word..key_end)?;
        if word == 0 || !redactor.is_sensitive_key(key) {
            return None;
        }
    }
    let quoted_in = before.last().copied().filter(|b| is_quote(*b));
    let start = run_end(bytes, after, after + 8, |b| b == b' ' || b == b'\t');
    let spaced = start > after || join == Join::Flag;
    let start = if quoted_in.is_some() && join == Join::Colon {
        run_end(bytes, start, start + NAME, |b| b.is_ascii_whitespace())
    } else {
        start
    };
    Assignment {
        text,
        key,
        join,
        spaced,
        quoted_in,
    }
    .value(start)
}

/// What stands between a name that ends at `at` and its value: its kind and its end.
fn join(bytes: &[u8], before: &[u8], at: usize) -> Option<(Join, usize)> {
    let mut end = at;
    // The closing quote and bracket of `"name":`, `\"name\":` and `["name"] =`.
    let escapes = run_end(bytes, end, end + 8, |b| b == b'\\');
    if bytes.get(escapes).is_some_and(|b| is_quote(*b)) {
        end = escapes + 1;
        end = run_end(bytes, end, end + 1, |b| b == b']');
    }
    let spaces = end;
    end = run_end(bytes, end, end + 8, |b| b == b' ' || b == b'\t');
    let rest = bytes.get(end..)?;
    match rest {
        [b':', b':', ..] => None,
        [b':', b'=', ..] | [b'=', b'>', ..] => Some((Join::Equals, end + 2)),
        [b'=', b'=', ..] => Some((Join::Comparison, run_end(bytes, end, end + 3, |b| b == b'='))),
        [b'!', b'=', ..] => Some((Join::Comparison, run_end(bytes, end + 1, end + 3, |b| b == b'='))),
        [b':', ..] => Some((Join::Colon, end + 1)),
        [b'=', ..] => Some((Join::Equals, end + 1)),
        [b'%', b'3', b'D' | b'd', ..] => Some((Join::Equals, end + 3)),
        [b'>', ..] if before.last() == Some(&b'<') => Some((Join::Element, end + 1)),
        // The dashes belong to the name.
        [_, ..] if end > spaces && spaces == at => Some((Join::Flag, end)),
        _ => None,
    }
}

impl Assignment<'_> {
    fn value(&self, start: usize) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let escapes = run_end(bytes, start, start + 8, |b| b == b'\\');
        match bytes.get(escapes) {
            Some(quote) if is_quote(*quote) => self.quoted(escapes, escapes - start),
            _ if self.join == Join::Comparison => None,
            _ => self.unquoted(start),
        }
    }

    /// A value in quotes that open at `at` behind `escapes` backslashes.
    fn quoted(&self, at: usize, escapes: usize) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let quote = bytes[at];
        // `"""` opens as `"` does; `""` is empty.
        let opening = run_end(bytes, at, at + 3, |b| b == quote) - at;
        if opening == 2 {
            return None;
        }
        let start = at + opening;
        let mut end = start;
        let mut slashes = 0;
        loop {
            match bytes.get(end) {
                None | Some(b'\n') => break,
                Some(byte) if *byte == quote => {
                    let closes = if escapes == 0 {
                        slashes % 2 == 0
                    } else {
                        slashes <= escapes
                    };
                    if closes {
                        end -= if escapes == 0 { 0 } else { slashes };
                        break;
                    }
                    slashes = 0;
                }
                Some(b'\\') => slashes += 1,
                Some(_) => slashes = 0,
            }
            end += 1;
        }
        let mut range = start..end;
        let mut inner = self.text.get(range.clone())?;
        if let Some((scheme, rest)) = inner
            .split_once(' ')
            .filter(|(scheme, _)| placeholder::is_scheme(scheme))
        {
            range.start += scheme.len() + 1;
            inner = rest;
        }
        let is_prose = self.is_weak() && inner.contains(' ') && !inner.contains('=');
        (!is_prose && !placeholder::is_quoted_reference(inner)).then_some(range)
    }

    fn unquoted(&self, start: usize) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let first_end = run_end(bytes, start, start + NAME, |b| !ends_line(b) && b != b' ');
        let first = self.text.get(start..first_end).unwrap_or_default();
        if self.is_header() && placeholder::is_scheme(first) {
            return self.credentials(first, first_end);
        }
        let is_cookie = normal_form(self.key).ends_with("cookie") && self.join == Join::Colon;
        if is_cookie && first.contains('=') {
            return Some(start..self.line_end(start));
        }
        if placeholder::is_scheme(first) && bytes.get(first_end) == Some(&b' ') {
            return self.credentials(first, first_end);
        }
        let start = match bytes.get(start..start + 2) {
            // `{value}`, `[value]`, `(value)`; a marker is none of them.
            Some([b'{' | b'[' | b'(', inner])
                if inner.is_ascii_alphanumeric() && !self.text.get(start..)?.starts_with(REDACTED) =>
            {
                start + 1
            }
            _ => start,
        };
        let end = self.value_end(start);
        self.judge(
            start..end,
            self.spaced && self.join != Join::Flag && self.is_weak(),
        )
    }

    /// Credentials after the scheme of an `Authorization` header (RFC 7235 §2.1).
    fn credentials(&self, scheme: &str, at: usize) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let start = run_end(bytes, at, at + 8, |b| b == b' ');
        let end = run_end(bytes, start, bytes.len(), |b| {
            !ends_line(b) && b != b' ' && b != b',' && b != b'"'
        });
        let first = self.text.get(start..end)?;
        let has_parameters = !["bearer", "basic", "token"]
            .iter()
            .any(|s| scheme.eq_ignore_ascii_case(s));
        if has_parameters && first.contains('=') {
            return Some(start..self.line_end(start));
        }
        self.judge(start..self.value_end(start), false)
    }

    /// The value, unless it is a word, a reference or something else that cannot be a secret. `may_be_word`: one
    /// word of letters is no secret here.
    fn judge(&self, range: Range<usize>, may_be_word: bool) -> Option<Range<usize>> {
        let value = self.text.get(range.clone())?;
        let kept = value.trim_end_matches(['.', ',', ';', ':', '!', '?']).len();
        let value = value.get(..kept)?;
        let loose = self.spaced || self.join == Join::Colon;
        let is_plain = placeholder::is_reference(value)
            || normal_form(value) == normal_form(self.key.trim_start_matches('-'))
            || (loose && placeholder::is_prose(value))
            || (may_be_word && placeholder::is_word(value))
            || (self.is_weak() && placeholder::is_count(value))
            || (self.join == Join::Flag && value.starts_with('-'));
        (!is_plain).then_some(range.start..range.start + kept)
    }

    /// Whether the name alone is also a common word of prose.
    fn is_weak(&self) -> bool {
        const WEAK: [&str; 10] = [
            "token",
            "session",
            "cookie",
            "cookies",
            "bearer",
            "authorization",
            "credential",
            "credentials",
            "secret",
            "secrets",
        ];
        let key = normal_form(self.key);
        WEAK.contains(&key.as_str())
    }

    fn is_header(&self) -> bool {
        normal_form(self.key).ends_with("authorization")
    }

    /// The end of the line, of the quotes that the assignment stands in, or of an escaped line.
    fn line_end(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut end = start;
        while let Some(byte) = bytes.get(end) {
            let escape = *byte == b'\\' && bytes.get(end + 1).is_some_and(|b| b"nr\"'".contains(b));
            if ends_line(*byte) || escape || Some(*byte) == self.quoted_in {
                break;
            }
            end += 1;
        }
        end
    }

    /// The end of a value without quotes.
    fn value_end(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start;
        while let Some(byte) = bytes.get(at) {
            if *byte == b'[' && self.text.get(at..).is_some_and(|rest| rest.starts_with(REDACTED)) {
                at += REDACTED.len();
                continue;
            }
            let next = bytes.get(at + 1).copied();
            let ends = match byte {
                b'<' => true,
                b'\\' => next.is_some_and(|b| b"nrt\"'`\\".contains(&b)),
                b'&' | b',' | b';' => {
                    next.is_none_or(|b| b.is_ascii_whitespace() || is_quote(b)) || names(bytes, at + 1)
                }
                b')' | b']' | b'}' => next
                    .is_none_or(|b| b.is_ascii_whitespace() || is_quote(b) || b",;.)]}<&:|\\".contains(&b)),
                byte => byte.is_ascii_whitespace() || is_quote(*byte),
            };
            if ends {
                break;
            }
            at += 1;
        }
        at
    }
}

/// Whether a name and `=` or `:` stand at `at`: the next of several assignments.
fn names(bytes: &[u8], at: usize) -> bool {
    let end = run_end(bytes, at, at + NAME, |b| is_name(b) || b == b'.');
    end > at && bytes.get(end).is_some_and(|b| b"=:".contains(b))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_quote(byte: u8) -> bool {
    b"\"'`".contains(&byte)
}

fn ends_line(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}
