//! One entry: its checks, and its line in an export.

use arbiter_core::model::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::detail::{Detail, SALT_BYTES, digest_of};
use crate::json::{self, Cursor};
use crate::ledger::Observation;
use crate::report::Problem;
use crate::tree::leaf_hash;
use crate::view::LeafView;

/// What remains of an entry that passed its checks.
#[derive(Debug)]
pub(crate) struct CheckedEntry {
    pub(crate) hash: Digest,
    pub(crate) redacted: bool,
    pub(crate) observation: Option<Observation>,
}

/// Checks a leaf against the hash that stands in the tree and against its detail.
pub(crate) fn check(
    index: u64,
    leaf: (&LeafView<'_>, &[u8]),
    hash: &Digest,
    detail: Option<(&[u8; SALT_BYTES], &[u8])>,
) -> Result<CheckedEntry, Problem> {
    let (view, bytes) = leaf;
    if leaf_hash(bytes) != *hash {
        return Err(Problem::Hash);
    }
    match (&view.detail, detail) {
        (None, Some(_)) => return Err(Problem::StrayDetail),
        (Some(digest), Some((salt, body))) if digest_of(salt, body) != *digest => {
            return Err(Problem::Detail);
        }
        _ => {}
    }
    let redacted = view.detail.is_some() && detail.is_none();
    Ok(CheckedEntry {
        hash: *hash,
        redacted,
        observation: Observation::of(index, view),
    })
}

/// Appends the line of an entry, newline included. `leaf` must be canonical.
///
/// The line is canonical JSON, and so is the leaf, which therefore stands in it byte for byte.
pub(crate) fn write_line(out: &mut Vec<u8>, index: u64, leaf: &[u8], hash: &Digest, detail: Option<&Detail>) {
    out.push(b'{');
    if let Some(detail) = detail {
        if let Ok(text) = std::str::from_utf8(&detail.body) {
            out.extend_from_slice(b"\"detail\":");
            json::write_string(out, text);
        } else {
            out.extend_from_slice(b"\"detail64\":\"");
            out.extend_from_slice(STANDARD.encode(&detail.body).as_bytes());
            out.push(b'"');
        }
        out.push(b',');
    }
    out.extend_from_slice(b"\"hash\":\"");
    json::write_hex(out, hash.as_bytes());
    out.extend_from_slice(b"\",\"index\":");
    json::write_integer(out, index);
    out.extend_from_slice(b",\"leaf\":");
    out.extend_from_slice(leaf);
    if let Some(detail) = detail {
        out.extend_from_slice(b",\"salt\":\"");
        json::write_hex(out, &detail.salt);
        out.push(b'"');
    }
    out.extend_from_slice(b"}\n");
}

/// Reads and checks the line, without its newline, of the entry that belongs at `index`. `scratch` is overwritten.
pub(crate) fn check_line(index: u64, line: &[u8], scratch: &mut Vec<u8>) -> Result<CheckedEntry, Problem> {
    let text = std::str::from_utf8(line).map_err(|e| Problem::Malformed {
        offset: e.valid_up_to(),
    })?;
    let mut cursor = Cursor::new(text);
    scratch.clear();
    let entry = EntryLine::read(&mut cursor, scratch).filter(|_| cursor.finished());
    let entry = entry.ok_or(Problem::Malformed {
        offset: cursor.offset(),
    })?;
    if entry.index != index {
        return Err(Problem::Index { found: entry.index });
    }
    let leaf = (&entry.view, entry.leaf);
    match (entry.body, &entry.salt) {
        (None, None) => check(index, leaf, &entry.hash, None),
        (Some(Body::Text), Some(salt)) => check(index, leaf, &entry.hash, Some((salt, scratch))),
        (Some(Body::Binary(body)), Some(salt)) => {
            let body = STANDARD
                .decode(body)
                .map_err(|_| Problem::Malformed { offset: 0 })?;
            // text has one spelling only
            if std::str::from_utf8(&body).is_ok() {
                return Err(Problem::Malformed { offset: 0 });
            }
            check(index, leaf, &entry.hash, Some((salt, &body)))
        }
        _ => Err(Problem::Malformed { offset: line.len() }),
    }
}

struct EntryLine<'a> {
    body: Option<Body<'a>>,
    hash: Digest,
    index: u64,
    leaf: &'a [u8],
    view: LeafView<'a>,
    salt: Option<[u8; SALT_BYTES]>,
}

#[derive(Clone, Copy)]
enum Body<'a> {
    /// Without its escapes in what was given for it.
    Text,
    Binary(&'a str),
}

impl<'a> EntryLine<'a> {
    /// Reads a line; its text, if it has one, goes to the end of `text`.
    fn read(cursor: &mut Cursor<'a>, text: &mut Vec<u8>) -> Option<Self> {
        cursor.literal("{")?;
        let mut body = None;
        if cursor.skips("\"detail\":") {
            cursor.string_into(text)?;
            body = Some(Body::Text);
            cursor.literal(",")?;
        } else if cursor.skips("\"detail64\":") {
            body = Some(Body::Binary(cursor.string()?.plain()?));
            cursor.literal(",")?;
        }
        cursor.literal("\"hash\":")?;
        let hash = Digest::from_bytes(cursor.hex()?);
        cursor.literal(",\"index\":")?;
        let index = cursor.integer()?;
        cursor.literal(",\"leaf\":")?;
        let start = cursor.offset();
        let view = LeafView::read(cursor)?;
        let leaf = cursor.since(start);
        let salt = if cursor.skips(",\"salt\":") {
            Some(cursor.hex()?)
        } else {
            None
        };
        cursor.literal("}")?;
        Some(Self {
            body,
            hash,
            index,
            leaf,
            view,
            salt,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::leaf_strategy;

    proptest! {
        #[test]
        fn lines_are_rfc_8785_and_pass_their_own_check(
            leaf in leaf_strategy(),
            index in 0_u64..1 << 53,
            body in prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()],
            salt in any::<[u8; SALT_BYTES]>(),
        ) {
            let detail = Detail { salt, body };
            let bytes = crate::leaf::Leaf { detail: Some(detail.digest()), ..leaf }.encode();
            for detail in [Some(&detail), None] {
                let mut line = Vec::new();
                write_line(&mut line, index, &bytes, &leaf_hash(&bytes), detail);
                prop_assert_eq!(line.pop(), Some(b'\n'));
                let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
                prop_assert_eq!(&serde_json_canonicalizer::to_vec(&value).unwrap(), &line);
                let checked = check_line(index, &line, &mut Vec::new()).unwrap();
                prop_assert_eq!(checked.redacted, detail.is_none());
                prop_assert_eq!(checked.hash, leaf_hash(&bytes));
                let elsewhere = check_line(index + 1, &line, &mut Vec::new()).err();
                prop_assert_eq!(elsewhere, Some(Problem::Index { found: index }));
            }
        }
    }
}
