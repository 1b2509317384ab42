//! What stands where a secret could, and is none: references, masks, types and words of prose.

use super::REDACTED;

/// Values that mean the absence of one, in any kind of assignment.
const ABSENT: [&str; 9] = [
    "null",
    "none",
    "nil",
    "undefined",
    "true",
    "false",
    "nan",
    "empty",
    "unset",
];

/// Schemes of HTTP authentication and words used like them.
const SCHEMES: [&str; 10] = [
    "bearer",
    "basic",
    "token",
    "digest",
    "negotiate",
    "apikey",
    "aws4-hmac-sha256",
    "hawk",
    "ntlm",
    "bot",
];

/// Beginnings of expressions that read a secret from somewhere.
const ROOTS: [&str; 27] = [
    "app", "args", "config", "cfg", "context", "ctx", "data", "env", "inputs", "input", "local", "module",
    "opts", "options", "os", "params", "process", "props", "req", "request", "response", "secrets", "self",
    "settings", "state", "this", "vars",
];

/// Well-known beginnings of paths: a secret in a file is not the file's name.
const PATHS: [&str; 16] = [
    "./",
    "../",
    "~/",
    "/etc/",
    "/home/",
    "/var/",
    "/usr/",
    "/opt/",
    "/root/",
    "/run/",
    "/tmp/",
    "/srv/",
    "/mnt/",
    "/dev/",
    "/app/",
    "/secrets/",
];

/// Types of values, and words that follow a name in prose or in a table of fields.
const PROSE: [&str; 120] = [
    "a",
    "absent",
    "accepted",
    "all",
    "an",
    "and",
    "any",
    "arc",
    "are",
    "argument",
    "array",
    "as",
    "at",
    "auth",
    "authentication",
    "be",
    "blob",
    "bool",
    "boolean",
    "box",
    "but",
    "by",
    "bytes",
    "can",
    "change",
    "char",
    "check",
    "configured",
    "credentials",
    "default",
    "denied",
    "deprecated",
    "do",
    "each",
    "enter",
    "error",
    "every",
    "expired",
    "failed",
    "field",
    "file",
    "flag",
    "for",
    "format",
    "forbidden",
    "from",
    "generated",
    "given",
    "hashed",
    "header",
    "hidden",
    "how",
    "i",
    "if",
    "impl",
    "in",
    "inherit",
    "int",
    "integer",
    "invalid",
    "is",
    "it",
    "its",
    "list",
    "masked",
    "may",
    "missing",
    "must",
    "my",
    "needed",
    "no",
    "not",
    "number",
    "object",
    "ok",
    "on",
    "only",
    "option",
    "optional",
    "or",
    "our",
    "parameter",
    "provided",
    "read",
    "redacted",
    "rejected",
    "required",
    "reset",
    "revoked",
    "rotated",
    "same",
    "scheme",
    "see",
    "set",
    "should",
    "some",
    "str",
    "string",
    "stored",
    "text",
    "that",
    "the",
    "then",
    "they",
    "this",
    "to",
    "token",
    "tokens",
    "type",
    "unknown",
    "use",
    "used",
    "uuid",
    "valid",
    "value",
    "varchar",
    "vec",
    "we",
    "when",
    "with",
];

/// Types that hold secrets.
const TYPES: [&str; 7] = [
    "secretstring",
    "secrettext",
    "secretbytes",
    "secretstr",
    "secretbox",
    "password",
    "yourself",
];

/// Whether a word is a scheme of HTTP authentication.
pub(super) fn is_scheme(word: &str) -> bool {
    SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// Whether the content of quotes only points to a secret, or is no value.
pub(super) fn is_quoted_reference(value: &str) -> bool {
    let value = value.trim();
    value.is_empty()
        || value == REDACTED
        || is_absent(value)
        || is_mask(value)
        || is_variable(value)
        || is_path(value)
}

/// Whether a value without quotes is an expression that only points to a secret, or is no value.
pub(super) fn is_reference(value: &str) -> bool {
    value.is_empty()
        || value == REDACTED
        || is_absent(value)
        || is_mask(value)
        || is_variable(value)
        || is_path(value)
        || is_expression(value)
        || value.starts_with("http://")
        || value.starts_with("https://")
}

/// Whether a value is a type or a word of prose (`Option`, `&str`, `string[]`, `string|null`).
pub(super) fn is_prose(value: &str) -> bool {
    let value = value.trim_matches(['&', '*', '[', ']', '(', ')', '?', '{', '}']);
    value.split(['|', '/']).all(|word| {
        let is = |list: &[&str]| list.iter().any(|known| word.eq_ignore_ascii_case(known));
        word.is_empty() || is(&PROSE) || is(&ABSENT) || is(&TYPES)
    })
}

/// Whether a value is one word of letters, as in `Token: the smallest unit`.
pub(super) fn is_word(value: &str) -> bool {
    let word = value.trim_matches(['(', ')', '[', ']', '{', '}', '*']);
    word.len() < 16
        && word
            .chars()
            .all(|c| c.is_alphabetic() || c == '-' || c == '_' || c == '/')
}

/// Whether a value is a small number, as in `session: 5`.
pub(super) fn is_count(value: &str) -> bool {
    value.len() < 6 && value.bytes().all(|b| b.is_ascii_digit() || b".,%$".contains(&b))
}

fn is_absent(value: &str) -> bool {
    ABSENT.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// `****`, `xxxx`, `...`.
fn is_mask(value: &str) -> bool {
    value.chars().all(|c| "*xX.•…_-#?".contains(c))
}

/// `$NAME`, `${NAME}`, `$(command)`, `{{ name }}`, `<name>`, `%NAME%`, `%(name)s`, `{name}`.
fn is_variable(value: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let is_plain_name = |name: &str| {
        let upper = is_name(name) && !name.bytes().any(|b| b.is_ascii_lowercase());
        upper || (is_name(name) && !name.bytes().any(|b| b.is_ascii_digit()))
    };
    value.starts_with(['<']) && (value.len() == 1 || value.ends_with('>'))
        || ["${", "$(", "{{", "%(", "%{", "@{", "<%"]
            .iter()
            .any(|start| value.starts_with(start))
        || value.strip_prefix('$').is_some_and(is_plain_name)
        || value
            .strip_prefix('%')
            .and_then(|rest| rest.strip_suffix('%'))
            .is_some_and(is_name)
        || value
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .is_some_and(is_plain_name)
}

fn is_path(value: &str) -> bool {
    PATHS.iter().any(|start| value.starts_with(start))
}

/// A call (`read_token()`), a path (`crate::Token`) or a member of a well-known object (`self.token`).
fn is_expression(value: &str) -> bool {
    let value = value.trim_start_matches(['&', '*', '!']);
    let name = value
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || b"_.:!?".contains(b))
        .count();
    let Some((head, rest)) = value.split_at_checked(name) else {
        return false;
    };
    let begins_name = head.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let root = head
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
        .count();
    let (root, member) = head.split_at_checked(root).unwrap_or((head, ""));
    let is_member =
        member.starts_with(['.', ':', '?']) || (member.is_empty() && rest.starts_with(['[', '-']));
    begins_name
        && (rest.starts_with('(')
            || (rest.is_empty() && head.contains("::"))
            || (is_member && ROOTS.iter().any(|known| root.eq_ignore_ascii_case(known))))
}
