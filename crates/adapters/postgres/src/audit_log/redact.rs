//! Removing details: of one entry, or of all that a rule finds.

use std::collections::BTreeSet;

use arbiter_audit::batch::pack_detail;
use arbiter_audit::detail::Detail;
use arbiter_audit::seal::SealRule;
use arbiter_audit::view::LeafView;
use arbiter_core::model::{AuditAction, Record, RecordDraft, RecordOutcome, Resource, TenantId};
use arbiter_core::ports::{AuditEntry, Seal, Sealed};

use super::entries::entries;
use super::search::BATCHES;
use crate::error::Fault;
use crate::number::whole;
use crate::session::get;
use crate::write::Write;

/// The batch that holds an index, if the log goes so far, locked against being rewritten by another call.
const HOLDING: &str = "SELECT first, leaves, details FROM audit_batch
     WHERE first <= $1 ORDER BY first DESC LIMIT 1 FOR UPDATE";

/// The batch that holds an index, and those after it, locked likewise.
const FROM: &str = "SELECT first, leaves, details FROM audit_batch
     WHERE first >= coalesce((SELECT max(first) FROM audit_batch WHERE first <= $1), 0)
     ORDER BY first LIMIT $2 FOR UPDATE";

pub(super) async fn redact(
    write: &mut Write<'_>,
    index: u64,
    tenant: TenantId,
    draft: RecordDraft,
) -> Result<bool, Fault> {
    let Some(row) = write.session.query_opt(HOLDING, &[&whole(index)]).await? else {
        return Ok(false);
    };
    let entries = entries(&row)?;
    let target = entries.iter().find(|entry| entry.index == index);
    let Some(target) = target.filter(|entry| entry.detail.is_some()) else {
        return Ok(false);
    };
    let leaf = LeafView::parse(&target.leaf).map_err(|_| Fault::Damaged("audit leaf"))?;
    if leaf.tenant != tenant {
        return Ok(false);
    }
    rewrite(write, get(&row, 0)?, &entries, |entry| entry.index != index).await?;
    let resource = Resource::new("audit_entry", index.to_string());
    redacted(write, tenant, resource, None, draft)?;
    Ok(true)
}

/// Removes the details that a rule finds, batch by batch.
pub(super) async fn seal(write: &mut Write<'_>, rule: &Seal, draft: RecordDraft) -> Result<Sealed, Fault> {
    let mut matcher = SealRule::new(rule);
    let (mut sealed, mut looked_at, mut next) = (Sealed::default(), 0, rule.from);
    'log: loop {
        let rows = write.session.query(FROM, &[&whole(next), &BATCHES]).await?;
        let start = next;
        for row in &rows {
            let entries = entries(row)?;
            // behind the end of the log its last batch comes once more
            let end = entries.last().map_or(0, |last| last.index + 1);
            if end <= start {
                continue;
            }
            if looked_at > 0 && looked_at >= rule.limit {
                sealed.next = entries.first().map(|entry| entry.index);
                break 'log;
            }
            next = end;
            let (mut taken, mut is_over) = (BTreeSet::new(), false);
            for entry in entries.iter().filter(|entry| entry.index >= rule.from) {
                looked_at += 1;
                let leaf = LeafView::parse(&entry.leaf).map_err(|_| Fault::Damaged("audit leaf"))?;
                is_over = matcher.is_over(&leaf);
                if is_over {
                    break;
                }
                // Looked at in any case: it may tell of a task.
                if matcher.takes(&leaf) && entry.detail.is_some() {
                    taken.insert(entry.index);
                }
            }
            if !taken.is_empty() {
                rewrite(write, get(row, 0)?, &entries, |entry| {
                    !taken.contains(&entry.index)
                })
                .await?;
                sealed.removed += taken.len() as u64;
            }
            if is_over {
                break 'log;
            }
        }
        if next == start {
            break;
        }
    }
    sealed.submitted = matcher.submitted();
    if sealed.removed > 0 {
        let resource = Resource::new("tenant", rule.told.to_string());
        redacted(write, rule.told, resource, Some(sealed.removed), draft)?;
    }
    Ok(sealed)
}

/// Rewrites a batch with the details that are kept.
async fn rewrite(
    write: &Write<'_>,
    first: i64,
    entries: &[AuditEntry],
    keep: impl Fn(&AuditEntry) -> bool + Send,
) -> Result<(), Fault> {
    let mut details = Vec::new();
    for entry in entries {
        let kept = entry.detail.as_ref().filter(|_| keep(entry));
        let kept = kept.map(|detail| Detail {
            salt: detail.salt,
            body: detail.body.as_str().as_bytes().to_vec(),
        });
        pack_detail(&mut details, kept.as_ref())?;
    }
    write
        .session
        .execute(
            "UPDATE audit_batch SET details = $2 WHERE first = $1",
            &[&first, &details],
        )
        .await?;
    Ok(())
}

/// Records that details were removed.
fn redacted(
    write: &mut Write<'_>,
    tenant: TenantId,
    resource: Resource,
    count: Option<u64>,
    draft: RecordDraft,
) -> Result<(), Fault> {
    let mut actions = draft.actions;
    actions.push(AuditAction::Redacted);
    let record = Record {
        at: write.session.now,
        tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource,
        outcome: RecordOutcome::Done,
        reason: None,
        count,
        detail: draft.detail,
    };
    write.leaf(&record)
}
