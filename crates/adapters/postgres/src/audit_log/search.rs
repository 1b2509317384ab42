//! Reading and searching entries.

use arbiter_audit::batch::fits;
use arbiter_core::model::TenantScope;
use arbiter_core::ports::{AuditEntry, AuditPage, AuditQuery};

use super::entries::{entries, entries_as_they_stand};
use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::{Session, get};

/// A search looks at so many entries, at most, for each that it may give.
const SCAN_FACTOR: usize = 20;

/// How many batches are fetched at once; each holds the leaves of a commit.
pub(super) const BATCHES: i64 = 16;

/// The batch that holds an index, and those after it.
const FROM: &str = "SELECT first, leaves, details FROM audit_batch
     WHERE first >= coalesce((SELECT max(first) FROM audit_batch WHERE first <= $1), 0) ORDER BY first LIMIT $2";

/// The batches that begin before an index, the latest first.
const BEFORE: &str =
    "SELECT first, leaves, details FROM audit_batch WHERE first < $1 ORDER BY first DESC LIMIT $2";

pub(super) async fn read(session: &Session<'_>, from: u64, limit: usize) -> Result<Vec<AuditEntry>, Fault> {
    let mut found: Vec<AuditEntry> = Vec::new();
    let mut next = from;
    while found.len() < limit {
        // every batch has an entry, so more than these are never needed
        let batches = whole(limit - found.len()).min(BATCHES);
        let rows = session.query(FROM, &[&whole(next), &batches]).await?;
        for row in &rows {
            // behind the end of the log its last batch comes once more
            let entries = entries_as_they_stand(row)?;
            found.extend(entries.into_iter().filter(|entry| entry.index >= next));
        }
        let end = found.last().map_or(from, |last| last.index + 1);
        if end == next {
            break;
        }
        next = end;
    }
    found.truncate(limit);
    Ok(found)
}

pub(super) async fn search(
    session: &Session<'_>,
    scope: TenantScope,
    query: &AuditQuery,
) -> Result<AuditPage, Fault> {
    let limit = query.limit.clamp(1, 1000);
    let before = query.before.unwrap_or(u64::MAX);
    let (mut page, mut scanned, mut next) = (AuditPage::default(), 0, before);
    loop {
        let rows = session.query(BEFORE, &[&whole(next), &BATCHES]).await?;
        let Some(last) = rows.last() else { return Ok(page) };
        next = natural(get(last, 0)?);
        for row in &rows {
            let entries = entries(row)?.into_iter().rev();
            for entry in entries.filter(|entry| entry.index < before) {
                if page.entries.len() == limit || scanned == limit * SCAN_FACTOR {
                    page.next = Some(entry.index + 1);
                    return Ok(page);
                }
                scanned += 1;
                if fits(&entry, scope, query).map_err(|_| Fault::Damaged("audit leaf"))? {
                    page.entries.push(entry);
                }
            }
        }
    }
}
