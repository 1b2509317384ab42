//! Batches of leaves, taken apart into entries.

use arbiter_core::model::Json;
use arbiter_core::ports::{AuditDetail, AuditEntry};
use tokio_postgres::Row;

use crate::error::Fault;
use crate::leaves::{unpack_detail, unpack_leaf};
use crate::number::natural;
use crate::session::get;

/// Takes the entries of a batch apart. The columns of the row are `first`, `leaves` and `details`.
pub(super) fn entries(row: &Row) -> Result<Vec<AuditEntry>, Fault> {
    let first = natural(get(row, 0)?);
    let mut leaves: &[u8] = get(row, 1)?;
    let mut details: Option<&[u8]> = get(row, 2)?;
    let mut entries = Vec::new();
    while !leaves.is_empty() {
        let detail = match &mut details {
            Some(packed) => unpack_detail(packed)?,
            None => None,
        };
        let detail = detail.map(|detail| {
            let body = String::from_utf8(detail.body).map_err(|_| Fault::Damaged("audit detail"))?;
            Ok::<_, Fault>(AuditDetail {
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
pub(super) fn entries_as_they_stand(row: &Row) -> Result<Vec<AuditEntry>, Fault> {
    let first = natural(get(row, 0)?);
    Ok(as_they_stand(first, get(row, 1)?, get(row, 2)?))
}

fn as_they_stand(first: u64, mut leaves: &[u8], mut details: Option<&[u8]>) -> Vec<AuditEntry> {
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
        salt: [0; 16],
        body: Json::of(&serde_json::Value::from("this detail is damaged")),
    }
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
        let sound = as_they_stand(7, &leaves, None);
        assert_eq!(sound.iter().map(|entry| entry.index).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(
            (sound[1].leaf.as_slice(), &sound[1].detail),
            (b"two".as_slice(), &None)
        );
        let cut = as_they_stand(7, &leaves[..leaves.len() - 1], None);
        assert_eq!((cut[0].leaf.as_slice(), cut.len()), (b"one".as_slice(), 2));
        assert_ne!(cut[1].leaf, b"two");
        let torn = as_they_stand(7, &leaves, Some(&[9, 0]));
        assert!(torn.iter().all(|entry| entry.detail == Some(unreadable())));
        let too_long = as_they_stand(7, &leaves, Some(&[0; 9]));
        assert_eq!(
            (&too_long[0].detail, &too_long[1].detail),
            (&None, &Some(unreadable()))
        );
    }
}
