//! The port `Documents`.

use std::collections::BTreeSet;
use std::ops::Bound;

use arbiter_core::model::{AuditAction, Record, RecordOutcome, Resource, TenantId, TenantScope, Timestamp};
use arbiter_core::ports::{
    Clearance, Cleared, Document, DocumentError, DocumentKey, DocumentQuery, DocumentWrite, Documents,
    Effects, Precondition, StoreError,
};
use async_trait::async_trait;

use crate::store::{InMemoryStore, Transaction};
use crate::tables::Tables;

#[async_trait]
impl Documents for InMemoryStore {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        Ok(self.read(|tables, now| {
            let found = keys
                .iter()
                .map(|key| live(tables, key, now).filter(|_| scope.covers(key.tenant)));
            found.map(Option::<&Document>::cloned).collect()
        }))
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        self.write("write documents", |transaction| {
            let revisions: Result<Vec<u64>, DocumentError> =
                writes.iter().map(|write| put(transaction, write)).collect();
            let revisions = revisions?;
            if let Some(first) = writes.first() {
                transaction.outbox(&effects.outbox);
                transaction.leaf(&record(&first.key, &effects, transaction.now))?;
            }
            Ok(revisions)
        })
    }

    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError> {
        self.write("clear documents", |transaction| clear(transaction, &clearance))
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        Ok(self.read(|tables, now| list(tables, scope, &query, now)))
    }
}

/// A document that has not expired.
fn live<'a>(tables: &'a Tables, key: &DocumentKey, now: Timestamp) -> Option<&'a Document> {
    let document = tables.documents.get(key)?;
    document
        .expires_at
        .is_none_or(|end| now < end)
        .then_some(document)
}

fn put(transaction: &mut Transaction<'_>, write: &DocumentWrite) -> Result<u64, DocumentError> {
    let key = &write.key;
    let found = live(transaction.tables, key, transaction.now).map_or(0, |document| document.revision);
    let holds = match write.precondition {
        Precondition::Absent => found == 0,
        Precondition::Revision(revision) => found == revision && found > 0,
        Precondition::Any => true,
    };
    if !holds {
        return Err(DocumentError::Precondition {
            key: key.clone(),
            found,
        });
    }
    let tables = &mut *transaction.tables;
    if let Some(old) = tables.documents.get(key).cloned() {
        for entry in entries(&old) {
            tables.documents_by_value.remove(&entry);
        }
        tables.documents.remove(key);
    }
    let Some(content) = &write.content else {
        return Ok(0);
    };
    let document = Document {
        key: key.clone(),
        revision: found + 1,
        body: content.body.clone(),
        index: content.index.clone(),
        expires_at: content.expires_at,
    };
    for entry in entries(&document) {
        tables.documents_by_value.put(entry, ());
    }
    tables.documents.put(key.clone(), document);
    Ok(found + 1)
}

fn clear(transaction: &mut Transaction<'_>, clearance: &Clearance) -> Result<usize, StoreError> {
    let tables = &mut *transaction.tables;
    let found: Vec<Document> = match &clearance.which {
        Cleared::Tenant { tenant, keep } => (tables.documents.range(..))
            .map(|(_, document)| document)
            .filter(|document| document.key.tenant == *tenant && !keep.contains(&document.key.kind))
            .take(clearance.limit)
            .cloned()
            .collect(),
        Cleared::Keys(keys) => (keys.iter().collect::<BTreeSet<_>>().into_iter())
            .filter_map(|key| tables.documents.get(key))
            .take(clearance.limit)
            .cloned()
            .collect(),
    };
    for document in &found {
        for entry in entries(document) {
            tables.documents_by_value.remove(&entry);
        }
        tables.documents.remove(&document.key);
    }
    if !found.is_empty() {
        let draft = &clearance.effects.record;
        let mut actions = draft.actions.clone();
        actions.push(AuditAction::Erased);
        transaction.outbox(&clearance.effects.outbox);
        transaction.leaf(&Record {
            at: transaction.now,
            tenant: clearance.told,
            principal: draft.principal,
            operation: draft.operation,
            actions,
            resource: Resource::new("tenant", clearance.told.to_string()),
            outcome: RecordOutcome::Done,
            reason: None,
            count: u64::try_from(found.len()).ok(),
            detail: draft.detail.clone(),
        })?;
    }
    Ok(found.len())
}

type Entry = (&'static str, &'static str, String, TenantId, String);

fn entries(document: &Document) -> impl Iterator<Item = Entry> + '_ {
    let key = &document.key;
    let values = document.index.iter();
    values.map(move |(name, value)| (key.kind, *name, value.clone(), key.tenant, key.id.clone()))
}

/// One record for the whole call, about the first document of it.
fn record(key: &DocumentKey, effects: &Effects, now: Timestamp) -> Record {
    let draft = &effects.record;
    let mut actions = draft.actions.clone();
    if actions.is_empty() {
        actions.push(AuditAction::DocumentWritten);
    }
    Record {
        at: now,
        tenant: key.tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new(key.kind, key.id.clone()),
        outcome: RecordOutcome::Done,
        reason: None,
        count: None,
        detail: draft.detail.clone(),
    }
}

fn list(tables: &Tables, scope: TenantScope, query: &DocumentQuery, now: Timestamp) -> Vec<Document> {
    let lowest = match scope {
        TenantScope::Tenant(tenant) => (tenant, String::new()),
        TenantScope::All => (TenantId::from_bytes([0; 16]), String::new()),
    };
    let from = match &query.after {
        Some(after) if *after >= lowest => Bound::Excluded(after.clone()),
        _ => Bound::Included(lowest),
    };
    let fits = |document: &&Document| document.expires_at.is_none_or(|end| now < end);
    let found: Box<dyn Iterator<Item = &Document>> = match &query.index {
        None => {
            let from = from.map(|(tenant, id)| DocumentKey {
                kind: query.kind,
                tenant,
                id,
            });
            let rows = tables
                .documents
                .range((from, Bound::Unbounded))
                .map(|(_, document)| document);
            Box::new(rows.take_while(|document| document.key.kind == query.kind))
        }
        Some((name, value)) => {
            let from = from.map(|(tenant, id)| (query.kind, *name, value.clone(), tenant, id));
            let rows = tables.documents_by_value.range((from, Bound::Unbounded));
            let of_value = rows.take_while(move |((kind, of, is, ..), ())| {
                (*kind, *of, is.as_str()) == (query.kind, *name, value.as_str())
            });
            Box::new(of_value.filter_map(|((kind, _, _, tenant, id), ())| {
                tables.documents.get(&DocumentKey {
                    kind,
                    tenant: *tenant,
                    id: id.clone(),
                })
            }))
        }
    };
    let visible = found.take_while(|document| scope.covers(document.key.tenant));
    visible
        .filter(fits)
        .take(query.limit.clamp(1, 1000))
        .cloned()
        .collect()
}
