//! Secrets that show by their shape alone.

use std::ops::Range;

/// A kind of token with a well-known beginning.
struct Prefix {
    /// As vendors write it; case counts.
    start: &'static str,
    /// How many characters follow at least.
    min: usize,
    alphabet: fn(u8) -> bool,
    /// Whether what follows must look random, because the beginning is also one of plain names.
    random: bool,
}

const fn prefix(start: &'static str, min: usize, alphabet: fn(u8) -> bool) -> Prefix {
    Prefix {
        start,
        min,
        alphabet,
        random: false,
    }
}

const fn random(start: &'static str, min: usize, alphabet: fn(u8) -> bool) -> Prefix {
    Prefix {
        start,
        min,
        alphabet,
        random: true,
    }
}

/// First match decides. Beginnings and lengths are those of the vendors' documentation, lengths on the short side.
const PREFIXES: [Prefix; 30] = [
    prefix("sk-ant-", 8, is_base64_url),
    prefix("sk-proj-", 8, is_base64_url),
    prefix("sk-svcacct-", 8, is_base64_url),
    prefix("sk-admin-", 8, is_base64_url),
    prefix("sk-or-", 8, is_base64_url),
    random("sk-", 16, is_base64_url),
    prefix("sk_live_", 8, is_base64_url),
    prefix("sk_test_", 8, is_base64_url),
    prefix("rk_live_", 8, is_base64_url),
    prefix("rk_test_", 8, is_base64_url),
    random("whsec_", 16, is_base64),
    prefix("AKIA", 16, is_upper),
    prefix("ASIA", 16, is_upper),
    prefix("ghp_", 16, is_alnum),
    prefix("gho_", 16, is_alnum),
    prefix("ghu_", 16, is_alnum),
    prefix("ghs_", 16, is_alnum),
    prefix("ghr_", 16, is_alnum),
    prefix("github_pat_", 16, is_base64_url),
    random("glpat-", 16, is_base64_url),
    random("xapp-", 10, is_base64_url),
    prefix("AIza", 30, is_base64_url),
    prefix("ya29.", 16, is_base64_url),
    prefix("GOCSPX-", 16, is_base64_url),
    random("npm_", 30, is_alnum),
    prefix("pypi-AgE", 16, is_base64_url),
    random("hf_", 30, is_alnum),
    prefix("dop_v1_", 32, is_alnum),
    random("arb_", 16, is_base64_url),
    random("hooks.slack.com/services/", 20, is_path),
];

/// The literals to search for: one of them begins every entry of [`PREFIXES`] and every Slack token.
pub(super) const PREFIX_LITERALS: [&str; 25] = [
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xapp-",
    "AIza",
    "ya29.",
    "GOCSPX-",
    "npm_",
    "pypi-AgE",
    "hf_",
    "dop_v1_",
    "arb_",
    "hooks.slack.com/services/",
];

/// The literals of Slack tokens, `xox` + a letter.
pub(super) const SLACK: &str = "xox";

/// How much of a run is read before it is known to be a token.
const WINDOW: usize = 160;

/// A token with a well-known beginning at `start`.
pub(super) fn prefixed(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if !begins_word(bytes, start) {
        return None;
    }
    let rest = text.get(start..)?;
    let known = PREFIXES.iter().find(|prefix| rest.starts_with(prefix.start))?;
    let from = start + known.start.len();
    token_after(bytes, from, known.min, known.alphabet, known.random).map(|end| start..end)
}

/// A Slack token (`xoxb-…`, `xoxp-…`, `xoxe.xoxp-…`) at `start`.
pub(super) fn slack_token(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let kind = bytes.get(start + SLACK.len())?;
    let dash = bytes.get(start + SLACK.len() + 1)?;
    if !begins_word(bytes, start) || !kind.is_ascii_lowercase() || !b"-.".contains(dash) {
        return None;
    }
    let from = start + SLACK.len() + 2;
    token_after(bytes, from, 10, |b| is_base64_url(b) || b == b'.', true).map(|end| start..end)
}

/// The end of a token whose characteristic part begins at `from`.
fn token_after(
    bytes: &[u8],
    from: usize,
    min: usize,
    alphabet: fn(u8) -> bool,
    random: bool,
) -> Option<usize> {
    let window = run_end(bytes, from, from + WINDOW, alphabet);
    let part = bytes.get(from..window)?;
    if part.len() < min || (random && !looks_random(part)) {
        return None;
    }
    Some(run_end(bytes, window, bytes.len(), alphabet))
}

/// A JSON web token (RFC 7519), signed, unsigned or encrypted, at `start`; also one whose signature was cut off.
///
/// On failure `no_token_before` becomes the end of the first part: whatever begins inside of it fails as well.
pub(super) fn json_web_token(text: &str, start: usize, no_token_before: &mut usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if !text.get(start..)?.starts_with("eyJ") || !begins_word(bytes, start) {
        return None;
    }
    let header = run_end(bytes, start, bytes.len(), is_base64_url);
    *no_token_before = header;
    if header - start < 10 || bytes.get(header) != Some(&b'.') {
        return None;
    }
    let payload = run_end(bytes, header + 1, bytes.len(), is_base64_url);
    let is_claims = text.get(header + 1..)?.starts_with("eyJ");
    if bytes.get(payload) != Some(&b'.') {
        return (is_claims && payload - header > 4).then_some(start..payload);
    }
    let signature = run_end(bytes, payload + 1, bytes.len(), is_base64_url);
    // Encryption has five parts (RFC 7516).
    let part = |end: usize| {
        let after = run_end(bytes, end + 1, bytes.len(), is_base64_url);
        (bytes.get(end) == Some(&b'.') && after > end + 1).then_some(after)
    };
    let encrypted = part(signature).and_then(part);
    Some(start..encrypted.unwrap_or(signature))
}

/// A PEM block of a private key (RFC 7468), whose first dashes are at `start` and whose label begins at `label`;
/// without its end as far as its lines go. A mere mention of the header is none.
pub(super) fn private_key_block(text: &str, start: usize, label: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let label_end = run_end(bytes, label, label + 64, |b| is_alnum(b) || b == b' ');
    let is_private = text.get(label..label_end)?.contains("PRIVATE KEY");
    if !is_private || !text.get(label_end..)?.starts_with("-----") {
        return None;
    }
    let body = label_end + 5;
    let next = text.get(body..)?.find("-----").map_or(text.len(), |at| body + at);
    let closed = text.get(next..)?.starts_with("-----END ");
    if closed && has_long_run(bytes.get(body..next)?) {
        let end_label = run_end(bytes, next + 9, next + 9 + 64, |b| is_alnum(b) || b == b' ');
        return Some(start..run_end(bytes, end_label, end_label + 5, |b| b == b'-'));
    }
    let mut end = body;
    loop {
        let line = after_line_break(bytes, end, next);
        let line_end = run_end(bytes, line, next, is_base64);
        if line_end == line || (line_end - line < 16 && end == body) {
            break;
        }
        end = line_end;
        if line_end - line < 16 {
            break;
        }
    }
    (end > body).then_some(start..end)
}

fn after_line_break(bytes: &[u8], mut at: usize, end: usize) -> usize {
    while at < end {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', Some(b'n' | b'r' | b't')) => at += 2,
            (b'\\', Some(b'\\')) => at += 1,
            (byte, _) if byte.is_ascii_whitespace() => at += 1,
            _ => break,
        }
    }
    at.min(end)
}

fn has_long_run(bytes: &[u8]) -> bool {
    bytes.split(|b| !is_base64(*b)).any(|run| run.len() >= 16)
}

/// The password, or the token in place of the user, of a URL (RFC 3986 §3.2.1) whose `://` is at `start..end`.
pub(super) fn url_password(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if start == 0 || !is_alnum(bytes[start - 1]) {
        return None;
    }
    let limit = end + 512;
    let authority = run_end(bytes, end, limit, |b| !b"/?#".contains(&b) && !ends_url(b));
    let (colon, host) = if let Some(at) = text.get(end..authority)?.rfind('@') {
        (
            text.get(end..end + at)?.find(':').map(|colon| end + colon),
            end + at,
        )
    } else {
        // A password with an unescaped slash; digits before the slash are a port.
        let colon = end + text.get(end..authority)?.find(':')?;
        let run = run_end(bytes, authority, limit, |b| !ends_url(b));
        let at = authority + text.get(authority..run)?.find('@')?;
        if bytes.get(colon + 1..authority)?.iter().all(u8::is_ascii_digit) || bytes[end] == b'[' {
            return None;
        }
        (Some(colon), at)
    };
    let secret = colon.map_or(end, |colon| colon + 1)..host;
    let shown = text.get(secret.clone())?;
    let is_reference = shown.starts_with(['$', '<', '{', '*']) || shown.starts_with(super::REDACTED);
    let is_secret = colon.is_some() || (shown.len() >= 20 && looks_random(shown.as_bytes()));
    (!shown.is_empty() && !is_reference && is_secret).then_some(secret)
}

/// The token after the word `Bearer` (RFC 6750 §2.1), which ends at `end`.
pub(super) fn bearer_token(text: &str, end: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let start = after_spaces(bytes, end)?;
    let window = run_end(bytes, start, start + WINDOW, is_token68);
    let part = bytes.get(start..window)?;
    let has_digit = part.iter().any(u8::is_ascii_digit);
    let has_inner_capital = part.iter().skip(1).any(u8::is_ascii_uppercase);
    let is_token = match part.len() {
        0..6 => false,
        6..16 => has_digit,
        16..28 => has_digit || has_inner_capital,
        _ => true,
    };
    let stop = run_end(bytes, window, bytes.len(), is_token68);
    let trimmed = text.get(start..stop)?.trim_end_matches(['.', '-']).len();
    is_token.then_some(start..start + trimmed)
}

/// The credentials after the word `Basic ` (RFC 7617), which stands at `start..end`: base64 of `user:password`.
pub(super) fn basic_credentials(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let from = run_end(bytes, end, end + 4, |b| b == b' ');
    let run = run_end(bytes, from, from + 1024, is_base64);
    let decoded = decode_base64(bytes.get(from..run)?);
    let is_pair = decoded.contains(&b':') && decoded.iter().all(|b| *b >= b' ');
    (begins_word(bytes, start) && run - from >= 4 && is_pair).then_some(from..run)
}

/// Decodes what can be decoded; whole bytes only.
fn decode_base64(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}

/// The e-mail address around the `@` at `at`, not reaching before `floor`. Remote names of version control
/// (`git@host:path`) are none.
pub(super) fn email(text: &str, at: usize, floor: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut start = at;
    while start > floor && at - start < 64 && is_local_part(bytes[start - 1]) {
        start -= 1;
    }
    let mut end = run_end(bytes, at + 1, at + 254, |b| is_alnum(b) || b == b'.' || b == b'-');
    while end > at + 1 && !is_alnum(bytes[end - 1]) {
        end -= 1;
    }
    let domain = text.get(at + 1..end)?;
    let (name, top) = domain.rsplit_once('.')?;
    let is_domain = !name.is_empty() && top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic());
    let is_remote = text.get(start..at)? == "git" && bytes.get(end) == Some(&b':');
    (start < at && is_domain && !is_remote).then_some(start..end)
}

/// The end of the run of bytes from `from` that `belongs`, at most `limit`.
pub(super) fn run_end(bytes: &[u8], from: usize, limit: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let limit = limit.min(bytes.len());
    let window = bytes.get(from..limit).unwrap_or_default();
    from + window.iter().position(|b| !belongs(*b)).unwrap_or(window.len())
}

/// Whether a word can begin at `at`: after anything but a letter or digit, where a letter that is the end of an
/// escape (`\n`, `%3D`) is none.
pub(super) fn begins_word(bytes: &[u8], at: usize) -> bool {
    match bytes.get(..at).unwrap_or_default() {
        [] | [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => true,
        [.., last] => !is_alnum(*last),
    }
}

fn after_spaces(bytes: &[u8], at: usize) -> Option<usize> {
    let after = run_end(bytes, at, at + 8, |b| b == b' ' || b == b'\t');
    (after > at).then_some(after)
}

/// Whether a run has a digit, or a part without separator that is longer than words of names are.
fn looks_random(run: &[u8]) -> bool {
    run.iter().any(u8::is_ascii_digit) || run.split(|b| !is_alnum(*b)).any(|part| part.len() >= 16)
}

fn ends_url(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_control() || b"\"'`<>\\|".contains(&byte)
}

fn is_alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn is_base64_url(byte: u8) -> bool {
    is_alnum(byte) || byte == b'-' || byte == b'_'
}

fn is_base64(byte: u8) -> bool {
    is_alnum(byte) || b"+/=-_".contains(&byte)
}

fn is_path(byte: u8) -> bool {
    is_alnum(byte) || byte == b'/'
}

/// RFC 7235 §2.1, `token68`.
fn is_token68(byte: u8) -> bool {
    is_alnum(byte) || b"-._~+/=".contains(&byte)
}

fn is_local_part(byte: u8) -> bool {
    is_alnum(byte) || b"._%+-".contains(&byte)
}
