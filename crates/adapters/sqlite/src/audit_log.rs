//! The port `AuditLog`.

use std::collections::BTreeSet;

use arbiter_audit::batch::{self, pack_detail};
use arbiter_audit::seal::SealRule;
use arbiter_audit::view::LeafView;
use arbiter_core::model::{
    AuditAction, BatchId, Record, RecordDraft, RecordOutcome, Resource, TenantId, TenantScope,
};
use arbiter_core::ports::{AuditEntry, AuditLog, AuditPage, AuditQuery, Seal, Sealed, StoreError};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::{natural, whole};
use crate::store::SqliteStore;

/// A search looks at so many entries, at most, for each that it may give.
const SCAN_FACTOR: usize = 20;

/// The batch that holds an index, and those after it.
const FROM: &str = "SELECT first, leaves, details FROM audit_batch
     WHERE first >= coalesce((SELECT max(first) FROM audit_batch WHERE first <= ?1), 0) ORDER BY first";

/// The batches that begin before an index, the latest first.
const BEFORE: &str = "SELECT first, leaves, details FROM audit_batch WHERE first < ?1 ORDER BY first DESC";

#[async_trait]
impl AuditLog for SqliteStore {
    async fn append(&self, batch: BatchId, records: Vec<Record>) -> Result<(), StoreError> {
        self.write("append audit records", records.len() * 512, move |group| {
            let new = group
                .statement("INSERT INTO audit_append (batch) VALUES (?1) ON CONFLICT DO NOTHING")?
                .execute([batch.as_bytes()])?;
            if new == 1 {
                records
                    .iter()
                    .cloned()
                    .try_for_each(|record| group.leaf(record))?;
            }
            Ok(())
        })
        .await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.read("read the audit log", move |connection| {
            read(connection, from, limit)
        })
        .await
    }

    async fn search(&self, scope: TenantScope, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.read("search the audit log", move |connection| {
            search(connection, scope, &query)
        })
        .await
    }

    async fn redact(&self, index: u64, tenant: TenantId, draft: RecordDraft) -> Result<bool, StoreError> {
        self.write("redact an audit entry", 4096, move |group| {
            redact(group, index, tenant, draft.clone())
        })
        .await
    }

    /// The log is looked at by a reader; the writer gets what is to be changed, if anything is.
    async fn seal(&self, rule: Seal, draft: RecordDraft) -> Result<Sealed, StoreError> {
        let told = rule.told;
        let found = self.read("look for audit details", move |connection| {
            find(connection, &rule)
        });
        let Found { batches, mut sealed } = found.await?;
        if batches.is_empty() {
            return Ok(sealed);
        }
        let bytes = batches.len().saturating_mul(4096);
        let removed = self.write("seal audit entries", bytes, move |group| {
            seal(group, &batches, told, draft.clone())
        });
        sealed.removed = removed.await?;
        Ok(sealed)
    }
}

/// Takes the entries of a batch apart.
fn entries(row: &Row<'_>) -> Result<Vec<AuditEntry>, Fault> {
    let (first, leaves, details) = columns(row)?;
    Ok(batch::entries(first, leaves, details)?)
}

/// The same, however damaged they are: see [`batch::entries_as_they_stand`].
fn entries_as_they_stand(row: &Row<'_>) -> Result<Vec<AuditEntry>, Fault> {
    let (first, leaves, details) = columns(row)?;
    Ok(batch::entries_as_they_stand(first, leaves, details))
}

/// The columns `first`, `leaves` and `details` of a batch.
type Columns<'a> = (u64, &'a [u8], Option<&'a [u8]>);

fn columns<'a>(row: &'a Row<'_>) -> Result<Columns<'a>, Fault> {
    let leaves = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
    let details = row.get_ref(2)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    Ok((natural(row.get(0)?), leaves, details))
}

fn read(connection: &Connection, from: u64, limit: usize) -> Result<Vec<AuditEntry>, Fault> {
    let mut found = Vec::new();
    let mut statement = connection.prepare_cached(FROM)?;
    let mut rows = statement.query([whole(from)])?;
    while let Some(row) = rows.next()?.filter(|_| found.len() < limit) {
        found.extend(
            entries_as_they_stand(row)?
                .into_iter()
                .filter(|entry| entry.index >= from),
        );
    }
    found.truncate(limit);
    Ok(found)
}

fn search(connection: &Connection, scope: TenantScope, query: &AuditQuery) -> Result<AuditPage, Fault> {
    let limit = query.limit.clamp(1, 1000);
    let before = query.before.unwrap_or(u64::MAX);
    let mut page = AuditPage::default();
    let mut scanned = 0;
    let mut statement = connection.prepare_cached(BEFORE)?;
    let mut rows = statement.query([whole(before)])?;
    while let Some(row) = rows.next()? {
        for entry in entries(row)?
            .into_iter()
            .rev()
            .filter(|entry| entry.index < before)
        {
            if page.entries.len() == limit || scanned == limit * SCAN_FACTOR {
                page.next = Some(entry.index + 1);
                return Ok(page);
            }
            scanned += 1;
            if batch::fits(&entry, scope, query).map_err(|_| Fault::Damaged("audit leaf"))? {
                page.entries.push(entry);
            }
        }
    }
    Ok(page)
}

fn redact(group: &mut Group<'_>, index: u64, tenant: TenantId, draft: RecordDraft) -> Result<bool, Fault> {
    let Some((first, entries)) = batch_of(group, index)? else {
        return Ok(false);
    };
    let target = entries.iter().find(|entry| entry.index == index);
    let Some(target) = target.filter(|entry| entry.detail.is_some()) else {
        return Ok(false);
    };
    let leaf = LeafView::parse(&target.leaf).map_err(|_| Fault::Damaged("audit leaf"))?;
    if leaf.tenant != tenant {
        return Ok(false);
    }
    rewrite(group, first, &entries, |entry| entry.index != index)?;
    let resource = Resource::new("audit_entry", index.to_string());
    redacted(group, tenant, resource, None, draft)?;
    Ok(true)
}

/// What a rule finds.
struct Found {
    /// The entries whose details go, by the first of their batch.
    batches: Vec<(i64, BTreeSet<u64>)>,
    sealed: Sealed,
}

/// Looks for the details that a rule takes, batch by batch.
fn find(connection: &Connection, rule: &Seal) -> Result<Found, Fault> {
    let mut matcher = SealRule::new(rule);
    let (mut sealed, mut looked_at, mut batches) = (Sealed::default(), 0, Vec::new());
    let mut statement = connection.prepare_cached(FROM)?;
    let mut rows = statement.query([whole(rule.from)])?;
    while let Some(row) = rows.next()? {
        let first: i64 = row.get(0)?;
        if looked_at > 0 && looked_at >= rule.limit {
            sealed.next = Some(natural(first));
            break;
        }
        let (mut taken, mut is_over) = (BTreeSet::new(), false);
        for entry in entries(row)?.iter().filter(|entry| entry.index >= rule.from) {
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
            batches.push((first, taken));
        }
        if is_over {
            break;
        }
    }
    sealed.submitted = matcher.submitted();
    Ok(Found { batches, sealed })
}

/// Removes details, batch by batch; gives how many there were yet.
fn seal(
    group: &mut Group<'_>,
    batches: &[(i64, BTreeSet<u64>)],
    told: TenantId,
    draft: RecordDraft,
) -> Result<u64, Fault> {
    let mut removed = 0;
    for (first, taken) in batches {
        let Some((first, entries)) = batch_of(group, natural(*first))? else {
            continue;
        };
        let there = |entry: &&AuditEntry| entry.detail.is_some() && taken.contains(&entry.index);
        let count = entries.iter().filter(there).count() as u64;
        if count > 0 {
            rewrite(group, first, &entries, |entry| !taken.contains(&entry.index))?;
            removed += count;
        }
    }
    if removed > 0 {
        let resource = Resource::new("tenant", told.to_string());
        redacted(group, told, resource, Some(removed), draft)?;
    }
    Ok(removed)
}

/// Rewrites a batch with the details that are kept.
fn rewrite(
    group: &mut Group<'_>,
    first: i64,
    entries: &[AuditEntry],
    keep: impl Fn(&AuditEntry) -> bool,
) -> Result<(), Fault> {
    let mut details = Vec::new();
    for entry in entries {
        let kept = entry.detail.as_ref().filter(|_| keep(entry));
        let kept = kept.map(|detail| arbiter_audit::detail::Detail {
            salt: detail.salt,
            body: detail.body.as_str().as_bytes().to_vec(),
        });
        pack_detail(&mut details, kept.as_ref())?;
    }
    group.scrub();
    group
        .statement("UPDATE audit_batch SET details = ?2 WHERE first = ?1")?
        .execute(params![first, details])?;
    Ok(())
}

/// Records that details were removed.
fn redacted(
    group: &mut Group<'_>,
    tenant: TenantId,
    resource: Resource,
    count: Option<u64>,
    draft: RecordDraft,
) -> Result<(), Fault> {
    let mut actions = draft.actions;
    actions.push(AuditAction::Redacted);
    group.leaf(Record {
        at: group.now,
        tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource,
        outcome: RecordOutcome::Done,
        reason: None,
        count,
        detail: draft.detail,
    })
}

fn batch_of(group: &Group<'_>, index: u64) -> Result<Option<(i64, Vec<AuditEntry>)>, Fault> {
    let mut statement = group.statement(
        "SELECT first, leaves, details FROM audit_batch WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
    )?;
    let mut rows = statement.query([whole(index)])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some((row.get(0)?, entries(row)?)))
}
