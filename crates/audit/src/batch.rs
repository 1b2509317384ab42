//! Leaves and details of one commit as stores keep them: packed into two columns, and taken apart again.
//!
//! Of each leaf its length (4 bytes, little-endian) and its bytes; of each detail the length of its body plus one (0: there
//! is none), the salt, the body.

use arbiter_core::model::{InvalidJson, Json, TenantScope};
use arbiter_core::ports::{AuditDetail, AuditEntry, AuditQuery};

use crate::detail::{Detail, SALT_BYTES};
use crate::leaf::LeafError;
use crate::view::LeafView;

/// A batch that cannot be packed or taken apart.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The bytes are no packed batch.
    #[error("the audit batch does not hold what it must")]
    Damaged,
    /// A detail is no text.
    #[error("the audit detail does not hold what it must")]
    NoText,
    /// A detail is no JSON.
    #[error(transparent)]
    Json(#[from] InvalidJson),
    /// A detail is longer than its length can say.
    #[error("the detail is too long")]
    TooLong,
}

/// Appends a detail in its packed form.
///
/// # Errors
/// [`BatchError::TooLong`]
pub fn pack_detail(out: &mut Vec<u8>, detail: Option<&Detail>) -> Result<(), BatchError> {
    let Some(detail) = detail else {
        out.extend_from_slice(&[0; 4]);
        return Ok(());
    };
    let length = u32::try_from(detail.body.len() + 1).map_err(|_| BatchError::TooLong)?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&detail.salt);
    out.extend_from_slice(&detail.body);
    Ok(())
}

/// Takes the next leaf off packed ones.
///
/// # Errors
/// [`BatchError::Damaged`]
pub fn unpack_leaf<'a>(packed: &mut &'a [u8]) -> Result<&'a [u8], BatchError> {
    let length = take_length(packed)?;
    take(packed, length)
}

/// Takes the next detail off packed ones.
fn unpack_detail(packed: &mut &[u8]) -> Result<Option<Detail>, BatchError> {
    let Some(length) = take_length(packed)?.checked_sub(1) else {
        return Ok(None);
    };
    let (salt, rest) = packed
        .split_first_chunk::<SALT_BYTES>()
        .ok_or(BatchError::Damaged)?;
    *packed = rest;
    Ok(Some(Detail {
        salt: *salt,
        body: take(packed, length)?.to_vec(),
    }))
}

fn take_length(packed: &mut &[u8]) -> Result<usize, BatchError> {
    let (length, rest) = packed.split_first_chunk::<4>().ok_or(BatchError::Damaged)?;
    *packed = rest;
    Ok(u32::from_le_bytes(*length) as usize)
}

fn take<'a>(packed: &mut &'a [u8], length: usize) -> Result<&'a [u8], BatchError> {
    let (bytes, rest) = packed.split_at_checked(length).ok_or(BatchError::Damaged)?;
    *packed = rest;
    Ok(bytes)
}

/// Takes the entries of a batch apart. `first` is the index of its first leaf.
///
/// # Errors
/// [`BatchError`]
pub fn entries(
    first: u64,
    mut leaves: &[u8],
    mut details: Option<&[u8]>,
) -> Result<Vec<AuditEntry>, BatchError> {
    let mut entries = Vec::new();
    while !leaves.is_empty() {
        let detail = match &mut details {
            Some(packed) => unpack_detail(packed)?,
            None => None,
        };
        let detail = detail.map(|detail| {
            let body = String::from_utf8(detail.body).map_err(|_| BatchError::NoText)?;
            Ok::<_, BatchError>(AuditDetail {
                salt: detail.salt,
                body: Json::parse(body)?,
            })
        });
        entries.push(AuditEntry {
            index: first + entries.len() as u64,
            leaf: unpack_leaf(&mut leaves)?.to_vec(),
            detail: detail.transpose()?,
        });
    }
    Ok(entries)
}

/// Takes the entries of a batch apart, however damaged: each has what stands in its place, so that a verifier names the
/// first that is not what was written.
pub fn entries_as_they_stand(first: u64, mut leaves: &[u8], mut details: Option<&[u8]>) -> Vec<AuditEntry> {
    let mut entries: Vec<AuditEntry> = Vec::new();
    while !leaves.is_empty() {
        let detail = details.as_mut().and_then(|packed| match unpack_detail(packed) {
            Ok(detail) => detail.map(|detail| {
                let body = String::from_utf8(detail.body)
                    .ok()
                    .and_then(|text| Json::parse(text).ok());
                body.map_or_else(unreadable, |body| AuditDetail {
                    salt: detail.salt,
                    body,
                })
            }),
            Err(_) => Some(unreadable()),
        });
        let rest = leaves;
        let leaf = unpack_leaf(&mut leaves).unwrap_or_else(|_| {
            leaves = &[];
            rest
        });
        entries.push(AuditEntry {
            index: first + entries.len() as u64,
            leaf: leaf.to_vec(),
            detail,
        });
    }
    if let (Some(last), Some([_, ..])) = (entries.last_mut(), details) {
        last.detail = Some(unreadable());
    }
    entries
}

/// Stands for a detail that cannot be read. No leaf carries its digest.
fn unreadable() -> AuditDetail {
    AuditDetail {
        salt: [0; SALT_BYTES],
        body: Json::of(&serde_json::Value::from("this detail is damaged")),
    }
}

/// Whether an entry may be seen in `scope` and is what `query` asks for; its cursor and limit are the caller's.
///
/// # Errors
/// [`LeafError`] when the entry's leaf cannot be read.
pub fn fits(entry: &AuditEntry, scope: TenantScope, query: &AuditQuery) -> Result<bool, LeafError> {
    let leaf = LeafView::parse(&entry.leaf)?;
    let resource = || leaf.resource.map(|resource| resource.id.text());
    Ok(scope.covers(leaf.tenant)
        && query.from.is_none_or(|from| leaf.at >= from)
        && query.to.is_none_or(|to| leaf.at < to)
        && query
            .principal
            .is_none_or(|principal| leaf.principal == Some(principal))
        && query
            .action
            .as_ref()
            .is_none_or(|action| leaf.actions().any(|found| found == action))
        && query
            .resource
            .as_ref()
            .is_none_or(|id| resource().is_some_and(|found| found == *id))
        && query
            .outcome
            .as_ref()
            .is_none_or(|outcome| leaf.outcome.as_str() == outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_batch_gives_what_stands_in_each_place() {
        let mut leaves = Vec::new();
        for leaf in [b"one".as_slice(), b"two"] {
            leaves.extend_from_slice(&(leaf.len() as u32).to_le_bytes());
            leaves.extend_from_slice(leaf);
        }
        let sound = entries_as_they_stand(7, &leaves, None);
        assert_eq!(sound.iter().map(|entry| entry.index).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(
            (sound[1].leaf.as_slice(), &sound[1].detail),
            (b"two".as_slice(), &None)
        );
        let cut = entries_as_they_stand(7, &leaves[..leaves.len() - 1], None);
        assert_eq!((cut[0].leaf.as_slice(), cut.len()), (b"one".as_slice(), 2));
        assert_ne!(cut[1].leaf, b"two");
        let torn = entries_as_they_stand(7, &leaves, Some(&[9, 0]));
        assert!(torn.iter().all(|entry| entry.detail == Some(unreadable())));
        let too_long = entries_as_they_stand(7, &leaves, Some(&[0; 9]));
        assert_eq!(
            (&too_long[0].detail, &too_long[1].detail),
            (&None, &Some(unreadable()))
        );
    }
}
