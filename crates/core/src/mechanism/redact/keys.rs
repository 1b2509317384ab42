//! Which names of fields, headers and variables stand for secrets.

/// A key is sensitive when its normal form ends with one of these.
///
/// The normal form is lower case with everything but letters and digits removed, so that `api_key`, `apiKey`,
/// `x-api-key` and `API KEY` are one word.
const WORDS: [&str; 38] = [
    "accesskey",
    "accountkey",
    "apikey",
    "apikeys",
    "authkey",
    "authorization",
    "bearer",
    "connectionstring",
    "connstr",
    "connstring",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "deploykey",
    "encryptionkey",
    "hmackey",
    "jwt",
    "masterkey",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "privatekey",
    "pwd",
    "secret",
    "secretkey",
    "secrets",
    "sessid",
    "session",
    "sessionid",
    "sessionkey",
    "sharedaccesssignature",
    "sharedkey",
    "signingkey",
    "token",
    "xamzsignature",
];

/// The last two letters of every one of [`WORDS`]: most names end otherwise, and need no further look.
const ENDINGS: [[u8; 2]; 21] = [
    *b"al", *b"de", *b"ds", *b"en", *b"er", *b"es", *b"et", *b"ey", *b"id", *b"ie", *b"ls", *b"ng", *b"on",
    *b"rd", *b"re", *b"se", *b"tr", *b"ts", *b"wd", *b"wt", *b"ys",
];

/// `…_token` after one of these words is a counter, a cursor or a marker of a vocabulary.
const BEFORE_HARMLESS_TOKEN: [&str; 29] = [
    "avg",
    "bos",
    "cancel",
    "cancellation",
    "cls",
    "completion",
    "continuation",
    "eos",
    "fence",
    "fencing",
    "first",
    "input",
    "last",
    "mask",
    "max",
    "mean",
    "min",
    "next",
    "output",
    "pad",
    "page",
    "per",
    "previous",
    "prompt",
    "sep",
    "special",
    "stop",
    "total",
    "unk",
];

/// Whole last words that only end like a secret.
const HARMLESS: [&str; 5] = ["betoken", "obsession", "oldpwd", "possession", "repossession"];

/// Longest tail of a key that is compared; no word is longer.
const TAIL: usize = 32;

/// Whether a field, header or variable of this name holds a secret by its name alone, under the built-in words.
///
/// Compared case-insensitively with separators removed, at the end of the name: `token`, `db_password`,
/// `githubToken`, `x-api-key` and `Set-Cookie` are, `tokens`, `token_count`, `max_tokens`, `tokenizer`, `next_token`,
/// `cost_per_token` and `secretary` are not.
pub fn is_sensitive_key(key: &str) -> bool {
    ends_with_word(key) && !is_harmless(key)
}

/// Like [`is_sensitive_key`], with further words in normal form.
pub(super) fn is_sensitive_with(key: &str, extra: &[String]) -> bool {
    if extra.is_empty() {
        return is_sensitive_key(key);
    }
    is_sensitive_key(key) || ends_with_extra(key, extra)
}

/// The normal form of a key.
pub(super) fn normal_form(key: &str) -> String {
    key.chars()
        .filter(|c| !c.is_ascii() || c.is_ascii_alphanumeric())
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn ends_with_extra(key: &str, extra: &[String]) -> bool {
    let key = normal_form(key);
    extra.iter().any(|word| key.ends_with(word.as_str()))
}

fn ends_with_word(key: &str) -> bool {
    let mut letters = key
        .bytes()
        .rev()
        .filter(|b| !b.is_ascii() || b.is_ascii_alphanumeric())
        .map(|b| b.to_ascii_lowercase());
    let (Some(last), Some(before)) = (letters.next(), letters.next()) else {
        return false;
    };
    if !ENDINGS.contains(&[before, last]) {
        return false;
    }
    let mut buffer = [0; TAIL];
    buffer[TAIL - 1] = last;
    buffer[TAIL - 2] = before;
    let mut start = TAIL - 2;
    for (slot, letter) in buffer[..start].iter_mut().rev().zip(letters) {
        *slot = letter;
        start -= 1;
    }
    WORDS
        .iter()
        .any(|word| buffer[start..].ends_with(word.as_bytes()))
}

/// Whether the last words of a sensitive-looking key say that it is none.
fn is_harmless(key: &str) -> bool {
    let (before, last) = last_word(key);
    if HARMLESS.iter().any(|word| last.eq_ignore_ascii_case(word)) {
        return true;
    }
    let (_, previous) = last_word(before);
    last.eq_ignore_ascii_case("token")
        && BEFORE_HARMLESS_TOKEN
            .iter()
            .any(|word| previous.eq_ignore_ascii_case(word))
}

/// Splits off the last word of a key, at separators and at humps (`camelCase`).
fn last_word(key: &str) -> (&str, &str) {
    let key = key.trim_end_matches(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric());
    let bytes = key.as_bytes();
    let mut start = bytes.len();
    while start > 0 {
        let byte = bytes[start - 1];
        if byte.is_ascii() && !byte.is_ascii_alphanumeric() {
            break;
        }
        start -= 1;
        let hump = byte.is_ascii_uppercase() && start > 0 && bytes[start - 1].is_ascii_lowercase();
        if hump {
            break;
        }
    }
    key.split_at_checked(start).unwrap_or((key, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_reachable() {
        for word in WORDS {
            assert!(word.len() <= TAIL && is_sensitive_key(word), "{word}");
        }
        let needed = |ending: &&[u8; 2]| WORDS.iter().any(|word| word.as_bytes().ends_with(*ending));
        assert_eq!(ENDINGS.iter().find(|ending| !needed(ending)), None);
    }

    #[test]
    fn names_of_secrets_are_sensitive() {
        for key in [
            "token",
            "secret",
            "authorization",
            "Authorization",
            "api_key",
            "apiKey",
            "API-KEY",
            "api key",
            "api.key",
            "password",
            "passwd",
            "passphrase",
            "credential",
            "credentials",
            "private_key",
            "access_key",
            "client_secret",
            "clientSecret",
            "session",
            "sessionId",
            "cookie",
            "Set-Cookie",
            "bearer",
            "refresh_token",
            "access_token",
            "id_token",
            "connection_string",
            "ConnectionString",
            "db_password",
            "githubToken",
            "GITHUB_TOKEN",
            "x-api-key",
            "X-Amz-Security-Token",
            "aws_secret_access_key",
            "AccountKey",
            "spring.datasource.password",
            "developer_token",
            "helperToken",
            "DB_PWD",
            "a.p.i.k.e.y",
            "Proxy-Authorization",
            "user[password]",
            "signing_key",
            "csrfToken",
            "_authToken",
            "JSESSIONID_jwt",
            "secrets",
            "pässword_token",
        ] {
            assert!(is_sensitive_key(key), "{key}");
        }
    }

    #[test]
    fn names_of_counters_and_plain_words_are_not() {
        for key in [
            "",
            "_",
            "tokens",
            "token_count",
            "max_tokens",
            "maxTokens",
            "input_tokens",
            "output_tokens",
            "cached_tokens",
            "total_tokens",
            "tokenizer",
            "tokenization",
            "secretary",
            "cost_per_token",
            "costPerToken",
            "next_token",
            "nextPageToken",
            "page_token",
            "eos_token",
            "fencing_token",
            "cancellationToken",
            "key",
            "public_key",
            "primary_key",
            "foreign_key",
            "idempotency_key",
            "sort_key",
            "keyboard",
            "monkey",
            "authorization_url",
            "authorized",
            "author",
            "password_policy",
            "password_length",
            "passwordless",
            "passed",
            "pass_rate",
            "session_count",
            "sessions",
            "obsession",
            "possession",
            "OLDPWD",
            "cookie_policy",
            "credential_type",
            "bearer_of",
            "signature",
            "string",
            "connection",
            "secret_name",
            "apikeyname",
            "tökèn",
        ] {
            assert!(!is_sensitive_key(key), "{key}");
        }
    }

    #[test]
    fn extra_words_join_the_built_in_ones() {
        let extra = [normal_form("Badge-Number")];
        assert!(is_sensitive_with("employee_badge_number", &extra));
        assert!(is_sensitive_with("password", &extra));
        assert!(!is_sensitive_with("badge_numbers", &extra));
    }
}
