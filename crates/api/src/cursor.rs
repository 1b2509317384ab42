//! Cursors of lists: opaque to callers, good for the list and the filters that they were given out for.
//!
//! A cursor is base64url of a version, a mark of list and filters, and the place of the last item that was seen. The
//! mark finds mistakes, such as a changed filter; it is no secret, and a cursor gives no right: each page is authorised.

use std::borrow::Cow;

use arbiter_core::model::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::failure::Failure;

const VERSION: u8 = 1;
const MARK_BYTES: usize = 8;
/// The longest cursor that is looked at.
const MAX_CHARS: usize = 255;
/// Items of a page that names no limit.
const LIMIT: usize = 50;
/// The most items of a page.
const MAX_LIMIT: usize = 1_000;

/// The cursors of one list with one set of filters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursors {
    mark: [u8; MARK_BYTES],
}

impl Cursors {
    /// Of the list of an operation, under the filters that a caller gave, in a fixed order.
    pub(crate) fn of(operation: &str, filters: &[Option<&str>]) -> Self {
        let mut named = Vec::new();
        let mut part = |text: Option<&str>| match text {
            Some(text) => {
                named.extend((text.len() as u64 + 1).to_be_bytes());
                named.extend(text.as_bytes());
            }
            None => named.extend(0_u64.to_be_bytes()),
        };
        part(Some(operation));
        filters.iter().copied().for_each(&mut part);
        let mut mark = [0; MARK_BYTES];
        mark.copy_from_slice(&Digest::of(&named).as_bytes()[..MARK_BYTES]);
        Self { mark }
    }

    /// The cursor that goes on after `place`.
    pub(crate) fn after(self, place: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([&[VERSION], self.mark.as_slice(), place].concat())
    }

    /// The place of a cursor, if one is given.
    ///
    /// # Errors
    /// `bad_cursor` for one that was not given out for this list and these filters.
    pub(crate) fn place<const N: usize>(self, cursor: Option<&str>) -> Result<Option<[u8; N]>, Failure> {
        let Some(cursor) = cursor else { return Ok(None) };
        let place = self.bytes(cursor)?;
        place.try_into().map(Some).map_err(|_| unknown())
    }

    fn bytes(self, cursor: &str) -> Result<Vec<u8>, Failure> {
        if cursor.len() > MAX_CHARS {
            return Err(unknown());
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| unknown())?;
        let (head, place) = bytes.split_at_checked(1 + MARK_BYTES).ok_or_else(unknown)?;
        if head[0] != VERSION {
            return Err(unknown());
        }
        if head[1..] != self.mark {
            return Err(refused(
                "the cursor was given out for another list or other filters; begin without a cursor",
            ));
        }
        Ok(place.to_vec())
    }
}

fn unknown() -> Failure {
    refused("the cursor is none that was given out; begin without a cursor")
}

fn refused(detail: &str) -> Failure {
    Failure::new("bad_cursor", detail)
}

/// The size of a page.
///
/// # Errors
/// `invalid_value` when it is none.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, Failure> {
    let limit = asked.unwrap_or(LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(Failure::invalid("limit", format!("must lie in 1..={MAX_LIMIT}")))
    }
}

/// How the document describes a cursor.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct CursorText(pub(crate) String);

impl std::ops::Deref for CursorText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl schemars::JsonSchema for CursorText {
    fn schema_name() -> Cow<'static, str> {
        "Cursor".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "minLength": 1, "maxLength": MAX_CHARS})
    }
}

/// The query of a list that has no filters.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// Where to go on: the cursor of the page before.
    pub(crate) cursor: Option<CursorText>,
    /// At most so many; 50.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) limit: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: Result<T, Failure>) -> Option<String> {
        result.err().map(|failure| failure.into_problem().code)
    }

    #[test]
    fn a_cursor_is_good_for_its_list_and_filters_only() {
        let mine = Cursors::of("task.list", &[Some("held"), None]);
        let cursor = mine.after(&7_u64.to_be_bytes());
        assert_eq!(
            mine.place(Some(&cursor)).ok().flatten(),
            Some(7_u64.to_be_bytes())
        );
        assert_eq!(mine.place::<8>(None).ok(), Some(None));
        for other in [
            Cursors::of("task.list", &[None, Some("held")]),
            Cursors::of("task.list", &[Some("held")]),
            Cursors::of("task.list", &[Some("hel"), Some("d")]),
            Cursors::of("task.list", &[Some("held"), Some("")]),
            Cursors::of("agent.list", &[Some("held"), None]),
        ] {
            assert_eq!(
                code(other.place::<8>(Some(&cursor))).as_deref(),
                Some("bad_cursor")
            );
        }
    }

    #[test]
    fn what_was_not_given_out_is_refused() {
        let mine = Cursors::of("task.list", &[]);
        let cursor = mine.after(&[1; 16]);
        let mut newer = URL_SAFE_NO_PAD.decode(&cursor).expect("base64url");
        newer[0] = 2;
        let newer = URL_SAFE_NO_PAD.encode(newer);
        let long = mine.after(&[1; 300]);
        let padded = format!("{cursor}==");
        for text in [
            "",
            "x",
            "018f1e6a-7b2c-7d3e-8f40-a1b2c3d4e501",
            "12",
            &newer,
            &long,
            &padded,
        ] {
            assert_eq!(
                code(mine.place::<16>(Some(text))).as_deref(),
                Some("bad_cursor"),
                "{text}"
            );
        }
        assert_eq!(
            code(mine.place::<8>(Some(&cursor))).as_deref(),
            Some("bad_cursor")
        );
    }

    #[test]
    fn a_page_has_a_size() {
        assert_eq!(
            (limit(None).ok(), limit(Some(1_000)).ok()),
            (Some(50), Some(1_000))
        );
        for odd in [0, 1_001] {
            assert_eq!(code(limit(Some(odd))).as_deref(), Some("invalid_value"));
        }
    }
}
