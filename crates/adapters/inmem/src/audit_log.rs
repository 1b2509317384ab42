//! The ports `AuditLog` and `AuditTree`.

use arbiter_audit::seal::SealRule;
use arbiter_audit::tile::TILE_WIDTH;
use arbiter_audit::view::LeafView;
use arbiter_core::model::{
    AuditAction, BatchId, Digest, Json, Record, RecordDraft, RecordOutcome, Resource, TenantId, TenantScope,
};
use arbiter_core::ports::{
    AuditDetail, AuditEntry, AuditLog, AuditPage, AuditQuery, AuditTree, Seal, Sealed, StoreError, TreeHead,
};
use async_trait::async_trait;

use crate::store::{InMemoryStore, Transaction, head_of};
use crate::tables::{LeafRow, Tables};

/// A search looks at so many entries, at most, for each that it may give.
const SCAN_FACTOR: usize = 20;

#[async_trait]
impl AuditLog for InMemoryStore {
    async fn append(&self, batch: BatchId, records: Vec<Record>) -> Result<(), StoreError> {
        self.write("append audit records", |transaction| {
            if transaction.tables.batches.contains(&batch) {
                return Ok(());
            }
            transaction.tables.batches.put(batch, ());
            records.iter().try_for_each(|record| transaction.leaf(record))
        })
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.read(|tables, _| {
            let rows = tables.leaves.range(from..).take(limit);
            rows.map(|(index, row)| entry(*index, row)).collect()
        })
    }

    async fn search(&self, scope: TenantScope, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.read(|tables, _| search(tables, scope, &query))
    }

    async fn redact(&self, index: u64, tenant: TenantId, draft: RecordDraft) -> Result<bool, StoreError> {
        self.write("redact an audit entry", |transaction| {
            let row = transaction.tables.leaves.get(&index);
            let row = row.filter(|row| row.leaf.tenant == tenant && row.detail.is_some());
            let Some(row) = row.cloned() else { return Ok(false) };
            transaction
                .tables
                .leaves
                .put(index, LeafRow { detail: None, ..row });
            let resource = Resource::new("audit_entry", index.to_string());
            redacted(transaction, tenant, resource, None, draft)?;
            Ok(true)
        })
    }

    async fn seal(&self, rule: Seal, draft: RecordDraft) -> Result<Sealed, StoreError> {
        self.write("seal audit entries", |transaction| {
            seal(transaction, &rule, draft.clone())
        })
    }
}

fn seal(transaction: &mut Transaction<'_>, rule: &Seal, draft: RecordDraft) -> Result<Sealed, StoreError> {
    let mut matcher = SealRule::new(rule);
    let (mut found, mut sealed, mut looked_at) = (Vec::new(), Sealed::default(), 0);
    for (index, row) in transaction.tables.leaves.range(rule.from..) {
        if looked_at >= rule.limit.max(1) {
            sealed.next = Some(*index);
            break;
        }
        looked_at += 1;
        let leaf = LeafView::parse(&row.bytes).map_err(|error| transaction.failed(error))?;
        if matcher.is_over(&leaf) {
            break;
        }
        // Looked at in any case: it may tell of a task.
        if matcher.takes(&leaf) && row.detail.is_some() {
            found.push((*index, row.clone()));
        }
    }
    sealed.submitted = matcher.submitted();
    for (index, row) in found {
        transaction
            .tables
            .leaves
            .put(index, LeafRow { detail: None, ..row });
        sealed.removed += 1;
    }
    if sealed.removed > 0 {
        let resource = Resource::new("tenant", rule.told.to_string());
        redacted(transaction, rule.told, resource, Some(sealed.removed), draft)?;
    }
    Ok(sealed)
}

/// Records that details were removed.
fn redacted(
    transaction: &mut Transaction<'_>,
    tenant: TenantId,
    resource: Resource,
    count: Option<u64>,
    draft: RecordDraft,
) -> Result<(), StoreError> {
    let mut actions = draft.actions;
    actions.push(AuditAction::Redacted);
    transaction.leaf(&Record {
        at: transaction.now,
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

fn entry(index: u64, row: &LeafRow) -> Result<AuditEntry, StoreError> {
    let damaged = |source: arbiter_core::ports::BoxError| StoreError::Corrupt {
        operation: "read audit entries",
        what: "audit detail",
        source,
    };
    let detail = row.detail.as_ref().map(|detail| {
        let text = std::str::from_utf8(&detail.body).map_err(|error| damaged(error.into()))?;
        let body = Json::parse(text).map_err(|error| damaged(error.into()))?;
        Ok(AuditDetail {
            salt: detail.salt,
            body,
        })
    });
    Ok(AuditEntry {
        index,
        leaf: row.bytes.clone(),
        detail: detail.transpose()?,
    })
}

fn search(tables: &Tables, scope: TenantScope, query: &AuditQuery) -> Result<AuditPage, StoreError> {
    let limit = query.limit.clamp(1, 1000);
    let mut page = AuditPage::default();
    let mut last = None;
    let rows = tables.leaves.range(..query.before.unwrap_or(u64::MAX)).rev();
    for (scanned, (index, row)) in rows.enumerate() {
        if page.entries.len() == limit || scanned == limit * SCAN_FACTOR {
            page.next = last;
            break;
        }
        last = Some(*index);
        if scope.covers(row.leaf.tenant) && matches(row, query) {
            page.entries.push(entry(*index, row)?);
        }
    }
    Ok(page)
}

fn matches(row: &LeafRow, query: &AuditQuery) -> bool {
    let leaf = &row.leaf;
    query.from.is_none_or(|from| leaf.at >= from)
        && query.to.is_none_or(|to| leaf.at < to)
        && query
            .principal
            .is_none_or(|principal| leaf.principal == Some(principal))
        && (query.action.as_ref())
            .is_none_or(|action| leaf.actions.as_slice().iter().any(|word| word.as_str() == action))
        && (query.resource.as_ref())
            .is_none_or(|id| leaf.resource.as_ref().is_some_and(|resource| resource.id == *id))
        && (query.outcome.as_ref()).is_none_or(|outcome| leaf.outcome.as_str() == outcome)
}

#[async_trait]
impl AuditTree for InMemoryStore {
    /// Leaves are placed by the call that writes them, so there is nothing left to place.
    async fn sequence(&self, _: usize) -> Result<TreeHead, StoreError> {
        Ok(self.tree(|tree, _| head_of(tree)))
    }

    async fn head(&self) -> Result<TreeHead, StoreError> {
        Ok(self.tree(|tree, _| head_of(tree)))
    }

    async fn tile(&self, level: u8, index: u64, width: u16) -> Result<Option<Vec<Digest>>, StoreError> {
        if !(1..=TILE_WIDTH).contains(&width) {
            return Ok(None);
        }
        Ok(self.tree(|tree, tables| {
            let complete = tables.tiles.get(&(level, index)).cloned();
            let hashes = complete.or_else(|| {
                let mut edge = tree.partial_tiles().into_iter();
                edge.find(|tile| (tile.id.level(), tile.id.index()) == (level, index))
                    .map(|tile| tile.hashes)
            })?;
            hashes.get(..usize::from(width)).map(<[Digest]>::to_vec)
        }))
    }

    async fn publish(&self, head: TreeHead, note: &str) -> Result<(), StoreError> {
        self.write("publish a tree head", |transaction| {
            let published = transaction.tables.published.get(&());
            if published.is_none_or(|(old, _)| old.size <= head.size) {
                transaction.tables.published.put((), (head, note.to_owned()));
            }
            Ok(())
        })
    }

    async fn published(&self) -> Result<Option<(TreeHead, String)>, StoreError> {
        Ok(self.read(|tables, _| tables.published.get(&()).cloned()))
    }
}
