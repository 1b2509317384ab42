//! Canonical JSON (RFC 8785) written and read directly, without a tree of values.
//!
//! The reader accepts the canonical form and nothing else, so whatever it accepts has exactly one spelling.

use std::borrow::Cow;
use std::io::Write as _;

use arbiter_core::model::Timestamp;

/// 2^53: the largest integer up to which every integer is exact in an IEEE 754 double, which is how RFC 8785 §3.2.2.3
/// prints numbers. Larger ones are written as strings (RFC 8785, appendix D).
pub(crate) const MAX_NUMBER: u64 = 1 << 53;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string (RFC 8785 §3.2.2.2).
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                out.extend_from_slice(b"\\u00");
                write_hex(out, &[byte]);
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Appends an integer: a number up to [`MAX_NUMBER`], a string of digits beyond.
pub(crate) fn write_integer(out: &mut Vec<u8>, value: u64) {
    let quote: &[u8] = if value > MAX_NUMBER { b"\"" } else { b"" };
    out.extend_from_slice(quote);
    // writing into a vector cannot fail
    let _ = write!(out, "{value}");
    out.extend_from_slice(quote);
}

/// Appends lower-case hexadecimal digits.
pub(crate) fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Appends 16 bytes as a quoted, hyphenated, lower-case UUID (RFC 9562 §4).
pub(crate) fn write_uuid(out: &mut Vec<u8>, bytes: &[u8; 16]) {
    out.push(b'"');
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        write_hex(out, &[*byte]);
    }
    out.push(b'"');
}

/// The contents of a JSON string in canonical spelling, escapes still in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escaped<'a> {
    raw: &'a str,
    plain: bool,
}

impl<'a> Escaped<'a> {
    /// The text without its escapes; borrowed when there were none.
    pub fn text(self) -> Cow<'a, str> {
        if self.plain {
            return Cow::Borrowed(self.raw);
        }
        let mut bytes = Vec::with_capacity(self.raw.len());
        self.unescape_into(&mut bytes);
        // every escape stands for an ASCII character, so the bytes are UTF-8 as the raw text is
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Appends the UTF-8 bytes of the text without its escapes.
    pub(crate) fn unescape_into(self, out: &mut Vec<u8>) {
        let mut rest = self.raw.as_bytes();
        loop {
            let (run, after) = rest.split_at(plain_run(rest));
            out.extend_from_slice(run);
            let Some(length) = escape_length(after) else {
                return;
            };
            out.push(unescape(after));
            rest = after.get(length..).unwrap_or_default();
        }
    }

    /// The text if it has no escapes.
    pub(crate) fn plain(self) -> Option<&'a str> {
        self.plain.then_some(self.raw)
    }
}

/// Decodes the canonical escape at the start of `bytes`.
fn unescape(bytes: &[u8]) -> u8 {
    match bytes {
        [_, b'b', ..] => 0x08,
        [_, b'f', ..] => 0x0c,
        [_, b'n', ..] => b'\n',
        [_, b'r', ..] => b'\r',
        [_, b't', ..] => b'\t',
        [_, b'u', _, _, high, low, ..] => nibble(*high) << 4 | nibble(*low),
        [_, other, ..] => *other,
        _ => b'\\',
    }
}

/// The number of bytes before the first quote, backslash or control character.
///
/// Eight bytes at a time: in each byte of `word`, `has_zero(word ^ c)` and `below` set the high bit of the first byte
/// that equals `c` or is below 0x20 (S. E. Anderson, "Bit Twiddling Hacks", "Determine if a word has a zero byte" and
/// "… a byte less than n"; only bits above the first hit can be wrong).
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let below = |word: u64| word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = has_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = has_zero(word ^ (ONES * u64::from(b'\\')));
        let special = quote | backslash | below(word);
        if special != 0 {
            return at * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = rest
        .iter()
        .take_while(|&&b| b >= 0x20 && b != b'"' && b != b'\\')
        .count();
    words.len() * 8 + plain
}

/// The length of a canonical escape, backslash included; `None` for every other spelling.
fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\\', b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        [b'\\', b'u', b'0', b'0', high @ (b'0' | b'1'), low, ..] => {
            let (high, low) = (nibble(*high), nibble(*low));
            let short = matches!(high << 4 | low, 0x08 | 0x09 | 0x0a | 0x0c | 0x0d);
            (low != NO_NIBBLE && !short).then_some(6)
        }
        _ => None,
    }
}

/// What [`NIBBLES`] holds for bytes that are not lower-case hexadecimal digits.
const NO_NIBBLE: u8 = 0xff;

/// The value of each lower-case hexadecimal digit.
const NIBBLES: [u8; 256] = {
    let mut table = [NO_NIBBLE; 256];
    let mut value = 0;
    while value < 16 {
        table[HEX[value] as usize] = value as u8;
        value += 1;
    }
    table
};

fn nibble(byte: u8) -> u8 {
    NIBBLES[usize::from(byte)]
}

/// Decodes exactly `2 N` lower-case hexadecimal digits.
pub(crate) fn read_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    let mut seen = 0;
    for (slot, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (nibble(*high), nibble(*low));
        seen |= high | low;
        *slot = high << 4 | low;
    }
    // digits have values below 16, anything else sets all bits
    (seen < 16).then_some(bytes)
}

/// A strict reader: each method consumes what it names or returns `None`, after which [`Cursor::offset`] tells where
/// reading stopped.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    pub(crate) fn finished(&self) -> bool {
        self.at == self.text.len()
    }

    /// The bytes from `start` up to here.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.text.as_bytes().get(start..self.at).unwrap_or_default()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    pub(crate) fn skips(&mut self, literal: &str) -> bool {
        let found = self.rest().starts_with(literal.as_bytes());
        if found {
            self.at += literal.len();
        }
        found
    }

    pub(crate) fn literal(&mut self, literal: &str) -> Option<()> {
        self.skips(literal).then_some(())
    }

    pub(crate) fn string(&mut self) -> Option<Escaped<'a>> {
        self.literal("\"")?;
        let start = self.at;
        let mut plain = true;
        loop {
            match *self.rest().first()? {
                b'"' => break,
                b'\\' => {
                    plain = false;
                    self.at += escape_length(self.rest())?;
                }
                0..0x20 => return None,
                _ => self.at += plain_run(self.rest()),
            }
        }
        let raw = self.text.get(start..self.at)?;
        self.at += 1;
        Some(Escaped { raw, plain })
    }

    /// A string whose UTF-8 bytes, without escapes, are appended to `out`: one pass where [`Self::string`] and
    /// [`Escaped::unescape_into`] take two.
    pub(crate) fn string_into(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.literal("\"")?;
        loop {
            let rest = self.rest();
            let (run, after) = rest.split_at(plain_run(rest));
            out.extend_from_slice(run);
            self.at += run.len();
            match after.first()? {
                b'"' => break,
                b'\\' => {
                    let length = escape_length(after)?;
                    out.push(unescape(after));
                    self.at += length;
                }
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    /// A quoted run of the bytes that `allowed` admits, at least one and at most `max` of them.
    pub(crate) fn token(&mut self, allowed: fn(u8) -> bool, max: usize) -> Option<&'a str> {
        self.literal("\"")?;
        let length = self.rest().iter().take_while(|&&b| allowed(b)).count();
        if length == 0 || length > max {
            return None;
        }
        let token = self.text.get(self.at..self.at + length)?;
        self.at += length;
        self.literal("\"")?;
        Some(token)
    }

    /// An integer as [`write_integer`] writes it.
    pub(crate) fn integer(&mut self) -> Option<u64> {
        let quoted = self.skips("\"");
        let length = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        let digits = self.text.get(self.at..self.at + length)?;
        if length == 0 || (length > 1 && digits.starts_with('0')) {
            return None;
        }
        let value: u64 = digits.parse().ok()?;
        if quoted != (value > MAX_NUMBER) {
            return None;
        }
        self.at += length;
        if quoted {
            self.literal("\"")?;
        }
        Some(value)
    }

    /// A quoted run of exactly `2 N` lower-case hexadecimal digits.
    pub(crate) fn hex<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.literal("\"")?;
        let bytes = read_hex(self.rest().get(..2 * N)?)?;
        self.at += 2 * N;
        self.literal("\"")?;
        Some(bytes)
    }

    /// A quoted UUID in the form of [`write_uuid`].
    pub(crate) fn uuid(&mut self) -> Option<[u8; 16]> {
        self.literal("\"")?;
        let bytes = read_uuid(self.rest().get(..36)?)?;
        self.at += 36;
        self.literal("\"")?;
        Some(bytes)
    }

    /// A quoted time in the form in which [`Timestamp`] prints itself.
    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        let start = self.at;
        let time = self.string()?.plain().and_then(read_time);
        if time.is_none() {
            self.at = start;
        }
        time
    }
}

/// Decodes the hyphenated, lower-case form of a UUID.
pub(crate) fn read_uuid(text: &[u8]) -> Option<[u8; 16]> {
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|&at| text[at] != b'-') {
        return None;
    }
    let mut digits = [0; 32];
    let mut filled = 0;
    for part in [0..8, 9..13, 14..18, 19..23, 24..36] {
        let part = &text[part];
        digits[filled..filled + part.len()].copy_from_slice(part);
        filled += part.len();
    }
    read_hex(&digits)
}

fn read_time(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() == 27 && bytes[10] == b'T' && bytes[19] == b'.' && bytes[26] == b'Z' {
        return text.parse().ok();
    }
    // years outside of 0–9999 have no RFC 3339 form
    let time = Timestamp::from_micros(text.strip_suffix("us")?.parse().ok()?);
    (time.to_string() == text).then_some(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(value: &impl serde::Serialize) -> Vec<u8> {
        serde_json_canonicalizer::to_vec(value).unwrap()
    }

    proptest! {
        #[test]
        fn strings_are_written_as_rfc_8785_says_and_read_back(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(&out, &canonical(&text));
            let line = String::from_utf8(out).unwrap();
            let mut cursor = Cursor::new(&line);
            prop_assert_eq!(cursor.string().unwrap().text(), text.as_str());
            prop_assert!(cursor.finished());
        }

        #[test]
        fn a_string_that_is_read_is_canonical(raw in "\"([ -~]|\\\\u00[01][0-9a-fA-F]|\\\\[bfnrt/u])*\"") {
            let (mut cursor, mut once) = (Cursor::new(&raw), Cursor::new(&raw));
            let (text, mut unescaped) = (cursor.string(), Vec::new());
            let read = once.string_into(&mut unescaped);
            prop_assert_eq!((read.is_some(), once.offset()), (text.is_some(), cursor.offset()));
            if let Some(text) = text {
                prop_assert_eq!(text.text().into_owned().into_bytes(), unescaped);
            }
            if let Some(text) = text.filter(|_| cursor.finished()) {
                let mut out = Vec::new();
                write_string(&mut out, &text.text());
                prop_assert_eq!(out, raw.as_bytes());
            }
        }

        #[test]
        fn integers_are_read_back(value in any::<u64>()) {
            let mut out = Vec::new();
            write_integer(&mut out, value);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(Cursor::new(&text).integer(), Some(value));
        }

        #[test]
        fn times_are_read_back(micros in any::<i64>()) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(Cursor::new(&format!("\"{time}\"")).time(), Some(time));
        }
    }

    #[test]
    fn control_characters_match_the_canonicalizer() {
        for code in 0..=0x7f_u8 {
            let text = char::from(code).to_string();
            let mut out = Vec::new();
            write_string(&mut out, &text);
            assert_eq!(out, canonical(&text), "{code:#x}");
        }
    }

    #[test]
    fn integers_match_the_canonicalizer_up_to_two_to_the_53() {
        for value in [0, 1, 10, 255, MAX_NUMBER - 1, MAX_NUMBER] {
            let mut out = Vec::new();
            write_integer(&mut out, value);
            assert_eq!(out, canonical(&value), "{value}");
        }
        let mut out = Vec::new();
        write_integer(&mut out, MAX_NUMBER + 1);
        assert_eq!(out, canonical(&"9007199254740993"));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            r#""\/""#,
            r#""\u0041""#,
            r#""\u001F""#,
            r#""\u000a""#,
            "\"\n\"",
            "\"",
            r#""a"#,
            r#""\"#,
        ] {
            assert!(Cursor::new(text).string().is_none(), "{text}");
        }
        for text in [
            "01",
            "\"1\"",
            "9007199254740993",
            "-1",
            "",
            "18446744073709551616",
            "\"18446744073709551616\"",
        ] {
            assert!(Cursor::new(text).integer().is_none(), "{text}");
        }
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.000000z",
            "2026-02-30T12:00:00.000000Z",
            "5us",
        ] {
            assert!(Cursor::new(&format!("\"{text}\"")).time().is_none(), "{text}");
        }
        assert!(
            Cursor::new("\"0190F3C2-7b5e-7c3a-9d41-5f6e8a1b2c3d\"")
                .uuid()
                .is_none()
        );
    }
}
