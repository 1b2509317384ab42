//! A leaf read in place: borrows from the line, allocates nothing.

use arbiter_core::model::{Digest, PrincipalId, TenantId, Timestamp};

use crate::json::Cursor;
pub use crate::json::Escaped;
use crate::leaf::{Actions, LEAF_VERSION, Leaf, LeafError, Outcome, Resource};
use crate::word::{MAX_WORD_BYTES, Word, is_word_byte};

/// A leaf that borrows from its line: what scans and the verifier read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafView<'a> {
    /// See [`Leaf::at`].
    pub at: Timestamp,
    /// See [`Leaf::tenant`].
    pub tenant: TenantId,
    /// See [`Leaf::principal`].
    pub principal: Option<PrincipalId>,
    /// See [`Leaf::resource`].
    pub resource: Option<ResourceView<'a>>,
    /// See [`Leaf::outcome`].
    pub outcome: Outcome,
    /// See [`Leaf::reason`].
    pub reason: Option<&'a str>,
    /// See [`Leaf::count`].
    pub count: Option<u64>,
    /// See [`Leaf::detail`].
    pub detail: Option<Digest>,
    // INVARIANT: one word or more, quoted and separated by commas
    actions: &'a str,
}

/// The resource of a [`LeafView`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceView<'a> {
    /// See [`Resource::kind`].
    pub kind: &'a str,
    /// See [`Resource::id`].
    pub id: Escaped<'a>,
    /// See [`Resource::version`].
    pub version: Option<u64>,
}

impl<'a> LeafView<'a> {
    /// Reads a leaf that fills `bytes`, in canonical form only.
    ///
    /// # Errors
    /// Returns a [`LeafError`] if the bytes are not the canonical form of a leaf of a known version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LeafError> {
        let text = std::str::from_utf8(bytes).map_err(|e| LeafError::NotCanonical {
            offset: e.valid_up_to(),
        })?;
        let mut cursor = Cursor::new(text);
        match Self::read(&mut cursor) {
            Some(leaf) if cursor.finished() => Ok(leaf),
            _ => Err(failure(text, cursor.offset())),
        }
    }

    /// The actions, in order.
    pub fn actions(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.actions.split(',').map(|word| word.trim_matches('"'))
    }

    /// Copies the leaf out of its line.
    ///
    /// # Errors
    /// None for a view that [`LeafView::parse`] made; the words are checked once more.
    pub fn to_leaf(&self) -> Result<Leaf, LeafError> {
        let word = |text: &str| Word::new(text.to_owned()).map_err(|_| LeafError::NotCanonical { offset: 0 });
        let actions = self.actions().map(word).collect::<Result<Vec<_>, _>>()?;
        let resource = self.resource.map(|resource| {
            let kind = word(resource.kind)?;
            Ok(Resource {
                kind,
                id: resource.id.text().into_owned(),
                version: resource.version,
            })
        });
        Ok(Leaf {
            at: self.at,
            tenant: self.tenant,
            principal: self.principal,
            actions: Actions::new(actions).map_err(|_| LeafError::NotCanonical { offset: 0 })?,
            resource: resource.transpose()?,
            outcome: self.outcome,
            reason: self.reason.map(word).transpose()?,
            count: self.count,
            detail: self.detail,
        })
    }

    /// Reads a leaf at the cursor and leaves the cursor behind it.
    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        cursor.literal("{\"actions\":[")?;
        let start = cursor.offset();
        word(cursor)?;
        while cursor.skips(",") {
            word(cursor)?;
        }
        let actions = std::str::from_utf8(cursor.since(start)).ok()?;
        cursor.literal("],\"at\":")?;
        let at = cursor.time()?;
        let count = field(cursor, ",\"count\":", Cursor::integer).ok()?;
        let detail = field(cursor, ",\"detail\":", Cursor::hex)
            .ok()?
            .map(Digest::from_bytes);
        cursor.literal(",\"outcome\":")?;
        let outcome = outcome(cursor)?;
        let principal = field(cursor, ",\"principal\":", Cursor::uuid)
            .ok()?
            .map(PrincipalId::from_bytes);
        let reason = field(cursor, ",\"reason\":", word).ok()?;
        let resource = field(cursor, ",\"resource\":", resource).ok()?;
        cursor.literal(",\"tenant\":")?;
        let tenant = TenantId::from_bytes(cursor.uuid()?);
        cursor.literal(",\"version\":1}")?;
        Some(Self {
            at,
            tenant,
            principal,
            resource,
            outcome,
            reason,
            count,
            detail,
            actions,
        })
    }
}

/// A field is there and cannot be read.
struct Malformed;

/// Reads an optional field.
fn field<'a, T>(
    cursor: &mut Cursor<'a>,
    key: &str,
    read: impl Fn(&mut Cursor<'a>) -> Option<T>,
) -> Result<Option<T>, Malformed> {
    if cursor.skips(key) {
        read(cursor).map(Some).ok_or(Malformed)
    } else {
        Ok(None)
    }
}

fn word<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    cursor.token(is_word_byte, MAX_WORD_BYTES)
}

fn outcome(cursor: &mut Cursor<'_>) -> Option<Outcome> {
    [Outcome::Done, Outcome::Refused, Outcome::Failed]
        .into_iter()
        .find(|outcome| match outcome {
            Outcome::Done => cursor.skips("\"done\""),
            Outcome::Refused => cursor.skips("\"refused\""),
            Outcome::Failed => cursor.skips("\"failed\""),
        })
}

fn resource<'a>(cursor: &mut Cursor<'a>) -> Option<ResourceView<'a>> {
    cursor.literal("{\"id\":")?;
    let id = cursor.string()?;
    cursor.literal(",\"kind\":")?;
    let kind = word(cursor)?;
    let version = field(cursor, ",\"version\":", Cursor::integer).ok()?;
    cursor.literal("}")?;
    Some(ResourceView { kind, id, version })
}

/// Tells a leaf of another version from a malformed one: the version is the last field in every version.
fn failure(text: &str, offset: usize) -> LeafError {
    let version = text
        .strip_suffix('}')
        .and_then(|rest| rest.rsplit_once(",\"version\":"))
        .and_then(|(_, digits)| digits.parse().ok())
        .filter(|version| *version != LEAF_VERSION);
    version.map_or(LeafError::NotCanonical { offset }, LeafError::UnknownVersion)
}
