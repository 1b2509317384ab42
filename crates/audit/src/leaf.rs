//! The leaf: one line of canonical JSON that says who did what to which resource, and how it ended.

use arbiter_core::model::{Digest, PrincipalId, TenantId, Timestamp};

use crate::json;
use crate::view::LeafView;
use crate::word::Word;

/// The version that [`Leaf::encode`] writes and [`Leaf::decode`] reads.
pub const LEAF_VERSION: u64 = 1;

/// One entry of the audit log.
///
/// Principals are ids, never names or addresses; everything that may have to be removed one day belongs into the
/// [`Detail`](crate::detail::Detail).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// When it happened, by the store's clock.
    pub at: Timestamp,
    /// The tenant whose resource or request it was.
    pub tenant: TenantId,
    /// Who acted; `None` for a caller that was not authenticated.
    pub principal: Option<PrincipalId>,
    /// What was done, in order.
    pub actions: Actions,
    /// What it was done to.
    pub resource: Option<Resource>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so, as a stable code.
    pub reason: Option<Word>,
    /// How many events this leaf stands for, if it sums a flood.
    pub count: Option<u64>,
    /// The digest of the salted detail, if there is one.
    pub detail: Option<Digest>,
}

/// One action or more: a single transition may do several things at once (`assigned`, `acknowledged`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions(Vec<Word>);

/// A list of actions was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a leaf needs at least one action")]
pub struct NoAction;

impl Actions {
    /// Takes a list that is not empty.
    ///
    /// # Errors
    /// Returns [`NoAction`] for an empty list.
    pub fn new(actions: Vec<Word>) -> Result<Self, NoAction> {
        if actions.is_empty() {
            Err(NoAction)
        } else {
            Ok(Self(actions))
        }
    }

    /// The actions, in order.
    pub fn as_slice(&self) -> &[Word] {
        &self.0
    }
}

impl From<Word> for Actions {
    fn from(action: Word) -> Self {
        Self(vec![action])
    }
}

/// What an action was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The kind of resource, such as `task`.
    pub kind: Word,
    /// Its identifier.
    pub id: String,
    /// The version that the action made; `None` if it made none, as every refusal.
    pub version: Option<u64>,
}

/// How an action ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not allowed, and nothing changed.
    Refused,
    /// It was allowed and did not succeed.
    Failed,
}

impl Outcome {
    /// The word that stands in the leaf.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Bytes that are not a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// The bytes are not a leaf in canonical form.
    #[error("leaf is not in canonical form at byte {offset}")]
    NotCanonical {
        /// Where reading stopped.
        offset: usize,
    },
    /// The leaf has a version that this code does not know.
    #[error("leaf has the unknown version {0}")]
    UnknownVersion(u64),
}

impl Leaf {
    /// Writes the leaf as canonical JSON (RFC 8785), without a newline. Absent fields are left out.
    pub fn encode(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        self.encode_into(&mut line);
        line
    }

    /// Appends what [`Leaf::encode`] returns to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        // INVARIANT: keys stand in the order of their UTF-16 code units (RFC 8785 §3.2.3); words need no escapes.
        for (at, action) in self.actions.as_slice().iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"actions\":[\"" } else { b",\"" });
            out.extend_from_slice(action.as_str().as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b"],\"at\":");
        json::write_string(out, &self.at.to_string());
        if let Some(count) = self.count {
            out.extend_from_slice(b",\"count\":");
            json::write_integer(out, count);
        }
        if let Some(detail) = &self.detail {
            out.extend_from_slice(b",\"detail\":\"");
            json::write_hex(out, detail.as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b",\"outcome\":\"");
        out.extend_from_slice(self.outcome.as_str().as_bytes());
        out.push(b'"');
        if let Some(principal) = &self.principal {
            out.extend_from_slice(b",\"principal\":");
            json::write_uuid(out, principal.as_bytes());
        }
        if let Some(reason) = &self.reason {
            out.extend_from_slice(b",\"reason\":\"");
            out.extend_from_slice(reason.as_str().as_bytes());
            out.push(b'"');
        }
        if let Some(resource) = &self.resource {
            out.extend_from_slice(b",\"resource\":{\"id\":");
            json::write_string(out, &resource.id);
            out.extend_from_slice(b",\"kind\":\"");
            out.extend_from_slice(resource.kind.as_str().as_bytes());
            out.push(b'"');
            if let Some(version) = resource.version {
                out.extend_from_slice(b",\"version\":");
                json::write_integer(out, version);
            }
            out.push(b'}');
        }
        out.extend_from_slice(b",\"tenant\":");
        json::write_uuid(out, self.tenant.as_bytes());
        out.extend_from_slice(b",\"version\":");
        json::write_integer(out, LEAF_VERSION);
        out.push(b'}');
    }

    /// Reads a leaf. Whatever is accepted encodes to the same bytes again.
    ///
    /// # Errors
    /// Returns a [`LeafError`] if the bytes are not the canonical form of a leaf of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, LeafError> {
        let leaf = LeafView::parse(bytes)?.to_leaf()?;
        let again = leaf.encode();
        if again != bytes {
            let offset = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            return Err(LeafError::NotCanonical { offset });
        }
        Ok(leaf)
    }
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
mod tests;
