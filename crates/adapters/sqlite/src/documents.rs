//! The port `Documents`.

use std::collections::BTreeSet;

use arbiter_core::model::{
    AuditAction, Json, Record, RecordOutcome, Resource, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    Clearance, Cleared, Document, DocumentContent, DocumentError, DocumentKey, DocumentQuery, DocumentWrite,
    Documents, Effects, Precondition, StoreError,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::error::Fault;
use crate::group::Group;
use crate::names::Names;
use crate::number::{natural, whole};
use crate::row::put_outbox;
use crate::store::SqliteStore;

/// How many expired documents a write clears away.
const SWEEP: i64 = 16;

#[async_trait]
impl Documents for SqliteStore {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        let (keys, now, names) = (keys.to_vec(), self.now(), self.names.clone());
        self.read("get documents", move |connection| {
            let found = keys.iter().map(|key| {
                if scope.covers(key.tenant) {
                    find(connection, key, now, &names)
                } else {
                    Ok(None)
                }
            });
            found.collect()
        })
        .await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        let sizes = writes.iter().filter_map(|write| write.content.as_ref());
        let bytes = sizes.map(|content| 256 + content.body.len_bytes()).sum();
        self.write("write documents", bytes, move |group| {
            write_all(group, &writes, &effects)
        })
        .await?
    }

    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError> {
        self.write(
            "clear documents",
            clearance.limit.saturating_mul(256),
            move |group| clear(group, &clearance),
        )
        .await
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        let (now, names) = (self.now(), self.names.clone());
        self.read("list documents", move |connection| {
            list(connection, scope, &query, now, &names)
        })
        .await
    }
}

fn find(
    connection: &Connection,
    key: &DocumentKey,
    now: Timestamp,
    names: &Names,
) -> Result<Option<Document>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT tenant, id, revision, body, entries, expires_at FROM document
         WHERE kind = ?1 AND tenant = ?2 AND id = ?3 AND (expires_at IS NULL OR expires_at > ?4)",
    )?;
    let mut rows = statement.query(params![key.kind, key.tenant.as_bytes(), key.id, now.as_micros()])?;
    let row = rows.next()?;
    row.map(|row| document(row, key.kind, names)).transpose()
}

fn document(row: &Row<'_>, kind: &'static str, names: &Names) -> Result<Document, Fault> {
    let entries: Option<String> = row.get(4)?;
    let index = entries
        .map(|text| read_entries(&text))
        .transpose()?
        .unwrap_or_default();
    let expires_at: Option<i64> = row.get(5)?;
    Ok(Document {
        key: DocumentKey {
            kind,
            tenant: TenantId::from_bytes(row.get(0)?),
            id: row.get(1)?,
        },
        revision: natural(row.get(2)?),
        body: Json::parse(row.get::<_, String>(3)?)?,
        index: index
            .into_iter()
            .map(|(name, value)| (names.keep(&name), value))
            .collect(),
        expires_at: expires_at.map(Timestamp::from_micros),
    })
}

fn read_entries(text: &str) -> Result<Vec<(String, String)>, Fault> {
    serde_json::from_str(text).map_err(|_| Fault::Damaged("document index"))
}

type Written = Result<Vec<u64>, DocumentError>;

/// Checks every precondition, then writes: a broken one leaves nothing behind.
fn write_all(group: &mut Group<'_>, writes: &[DocumentWrite], effects: &Effects) -> Result<Written, Fault> {
    let mut revisions = Vec::with_capacity(writes.len());
    for (place, write) in writes.iter().enumerate() {
        let earlier = writes.iter().zip(&revisions).take(place).rev();
        let mut same = earlier.filter(|(other, _)| other.key == write.key);
        let found = match same.next() {
            Some((_, revision)) => *revision,
            None => revision(group, &write.key)?,
        };
        let holds = match write.precondition {
            Precondition::Absent => found == 0,
            Precondition::Revision(expected) => found == expected && found > 0,
            Precondition::Any => true,
        };
        if !holds {
            return Ok(Err(DocumentError::Precondition {
                key: write.key.clone(),
                found,
            }));
        }
        revisions.push(if write.content.is_some() { found + 1 } else { 0 });
    }
    for (write, revision) in writes.iter().zip(&revisions) {
        delete(group, write.key.kind, write.key.tenant, &write.key.id)?;
        if let Some(content) = &write.content {
            insert(group, &write.key, content, *revision)?;
        }
    }
    sweep(group)?;
    if let Some(first) = writes.first() {
        put_outbox(group, &effects.outbox)?;
        let record = record(group, &first.key, effects);
        group.leaf(record)?;
    }
    Ok(Ok(revisions))
}

/// The revision of a document, 0 when it is absent.
fn revision(group: &Group<'_>, key: &DocumentKey) -> Result<u64, Fault> {
    let found: Option<i64> = group
        .statement(
            "SELECT revision FROM document
             WHERE kind = ?1 AND tenant = ?2 AND id = ?3 AND (expires_at IS NULL OR expires_at > ?4)",
        )?
        .query_row(
            params![key.kind, key.tenant.as_bytes(), key.id, group.now.as_micros()],
            |row| row.get(0),
        )
        .optional()?;
    Ok(found.map_or(0, natural))
}

fn delete(group: &Group<'_>, kind: &str, tenant: TenantId, id: &str) -> Result<(), Fault> {
    let deleted: Option<Option<String>> = group
        .statement("DELETE FROM document WHERE kind = ?1 AND tenant = ?2 AND id = ?3 RETURNING entries")?
        .query_row(params![kind, tenant.as_bytes(), id], |row| row.get(0))
        .optional()?;
    let Some(Some(entries)) = deleted else {
        return Ok(());
    };
    for (name, value) in read_entries(&entries)? {
        group
            .statement(
                "DELETE FROM document_index WHERE kind = ?1 AND name = ?2 AND value = ?3 AND tenant = ?4 AND id = ?5",
            )?
            .execute(params![kind, name, value, tenant.as_bytes(), id])?;
    }
    Ok(())
}

fn insert(
    group: &Group<'_>,
    key: &DocumentKey,
    content: &DocumentContent,
    revision: u64,
) -> Result<(), Fault> {
    let entries = (!content.index.is_empty()).then(|| serde_json::json!(content.index).to_string());
    group
        .statement(
            "INSERT INTO document (kind, tenant, id, revision, body, entries, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            key.kind,
            key.tenant.as_bytes(),
            key.id,
            whole(revision),
            content.body.as_str(),
            entries,
            content.expires_at.map(Timestamp::as_micros),
        ])?;
    for (name, value) in &content.index {
        group
            .statement(
                "INSERT INTO document_index (kind, name, value, tenant, id) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![key.kind, name, value, key.tenant.as_bytes(), key.id])?;
    }
    Ok(())
}

/// Clears away a few documents that have expired, so that they do not pile up.
fn sweep(group: &Group<'_>) -> Result<(), Fault> {
    let mut expired = Vec::new();
    {
        let mut statement = group.statement(
            "SELECT kind, tenant, id FROM document INDEXED BY document_expiry
             WHERE expires_at IS NOT NULL AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        )?;
        let mut rows = statement.query(params![group.now.as_micros(), SWEEP])?;
        while let Some(row) = rows.next()? {
            let key: (String, [u8; 16], String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            expired.push(key);
        }
    }
    for (kind, tenant, id) in expired {
        group
            .statement("DELETE FROM document_index WHERE kind = ?1 AND tenant = ?2 AND id = ?3")?
            .execute(params![kind, tenant, id])?;
        group
            .statement("DELETE FROM document WHERE kind = ?1 AND tenant = ?2 AND id = ?3")?
            .execute(params![kind, tenant, id])?;
    }
    Ok(())
}

/// Every kind that there is, found by steps through the primary key.
const KINDS: &str = "WITH RECURSIVE kinds (kind) AS (
       SELECT min(kind) FROM document
       UNION ALL
       SELECT (SELECT min(kind) FROM document WHERE kind > kinds.kind) FROM kinds WHERE kinds.kind IS NOT NULL)
     SELECT kind FROM kinds WHERE kind IS NOT NULL";

/// Deletes documents and what is declared of them.
fn clear(group: &mut Group<'_>, clearance: &Clearance) -> Result<usize, Fault> {
    let found = match &clearance.which {
        Cleared::Tenant { tenant, keep } => of_tenant(group, *tenant, keep, clearance.limit)?,
        Cleared::Keys(keys) => named(group, keys, clearance.limit)?,
    };
    if found.is_empty() {
        return Ok(0);
    }
    group.scrub();
    for (kind, tenant, id) in &found {
        delete(group, kind, *tenant, id)?;
    }
    put_outbox(group, &clearance.effects.outbox)?;
    let record = cleared(group, clearance, found.len());
    group.leaf(record)?;
    Ok(found.len())
}

/// A document by kind, tenant and id.
type Found = (String, TenantId, String);

/// What a tenant has, kind by kind.
fn of_tenant(group: &Group<'_>, tenant: TenantId, keep: &[&str], limit: usize) -> Result<Vec<Found>, Fault> {
    let mut kinds = group.statement(KINDS)?;
    let kinds: Vec<String> = kinds.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut found = Vec::new();
    for kind in kinds {
        if keep.contains(&kind.as_str()) {
            continue;
        }
        let left = limit.saturating_sub(found.len());
        let mut statement = group
            .statement("SELECT id FROM document WHERE kind = ?1 AND tenant = ?2 ORDER BY id LIMIT ?3")?;
        let ids = statement.query_map(params![kind, tenant.as_bytes(), whole(left)], |row| row.get(0))?;
        for id in ids {
            found.push((kind.clone(), tenant, id?));
        }
    }
    Ok(found)
}

/// Those of the keys that are there.
fn named(group: &Group<'_>, keys: &[DocumentKey], limit: usize) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    for key in keys.iter().collect::<BTreeSet<_>>() {
        let mut statement =
            group.statement("SELECT 1 FROM document WHERE kind = ?1 AND tenant = ?2 AND id = ?3")?;
        if found.len() < limit && statement.exists(params![key.kind, key.tenant.as_bytes(), key.id])? {
            found.push((key.kind.to_owned(), key.tenant, key.id.clone()));
        }
    }
    Ok(found)
}

fn cleared(group: &Group<'_>, clearance: &Clearance, count: usize) -> Record {
    let draft = &clearance.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Erased);
    Record {
        at: group.now,
        tenant: clearance.told,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new("tenant", clearance.told.to_string()),
        outcome: RecordOutcome::Done,
        reason: None,
        count: Some(count as u64),
        detail: draft.detail.clone(),
    }
}

/// One record for the whole call, about the first document of it.
fn record(group: &Group<'_>, first: &DocumentKey, effects: &Effects) -> Record {
    let draft = &effects.record;
    let mut actions = draft.actions.clone();
    if actions.is_empty() {
        actions.push(AuditAction::DocumentWritten);
    }
    Record {
        at: group.now,
        tenant: first.tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new(first.kind, first.id.clone()),
        outcome: RecordOutcome::Done,
        reason: None,
        count: None,
        detail: draft.detail.clone(),
    }
}

fn list(
    connection: &Connection,
    scope: TenantScope,
    query: &DocumentQuery,
    now: Timestamp,
    names: &Names,
) -> Result<Vec<Document>, Fault> {
    let limit = whole(query.limit.clamp(1, 1000));
    let (tenant, id) = match &query.after {
        Some((tenant, id)) => (*tenant.as_bytes(), id.as_str()),
        None => ([0; 16], ""),
    };
    let only = match scope {
        TenantScope::Tenant(tenant) => Some(*tenant.as_bytes()),
        TenantScope::All => None,
    };
    let from = only.map_or((tenant, id), |only| {
        if tenant == only { (tenant, id) } else { (only, "") }
    });
    // a page of one tenant ends where its rows end
    let last = only.unwrap_or([0xff; 16]);
    let mut found = Vec::new();
    match &query.index {
        None => {
            let mut statement = connection.prepare_cached(
                "SELECT tenant, id, revision, body, entries, expires_at FROM document
                 WHERE kind = ?1 AND (tenant, id) > (?2, ?3) AND tenant <= ?4
                   AND (expires_at IS NULL OR expires_at > ?5)
                 ORDER BY tenant, id LIMIT ?6",
            )?;
            let mut rows =
                statement.query(params![query.kind, from.0, from.1, last, now.as_micros(), limit])?;
            while let Some(row) = rows.next()? {
                found.push(document(row, query.kind, names)?);
            }
        }
        Some((name, value)) => {
            let mut statement = connection.prepare_cached(
                "SELECT d.tenant, d.id, d.revision, d.body, d.entries, d.expires_at
                 FROM document_index AS i
                 JOIN document AS d ON d.kind = i.kind AND d.tenant = i.tenant AND d.id = i.id
                 WHERE i.kind = ?1 AND i.name = ?2 AND i.value = ?3 AND (i.tenant, i.id) > (?4, ?5)
                   AND i.tenant <= ?6 AND (d.expires_at IS NULL OR d.expires_at > ?7)
                 ORDER BY i.tenant, i.id LIMIT ?8",
            )?;
            let mut rows = statement.query(params![
                query.kind,
                name,
                value,
                from.0,
                from.1,
                last,
                now.as_micros(),
                limit
            ])?;
            while let Some(row) = rows.next()? {
                found.push(document(row, query.kind, names)?);
            }
        }
    }
    Ok(found)
}
