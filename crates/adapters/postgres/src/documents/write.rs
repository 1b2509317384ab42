//! Writing documents.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{AuditAction, Digest, Record, RecordOutcome, Resource, Timestamp};
use arbiter_core::ports::{
    DocumentContent, DocumentError, DocumentKey, DocumentWrite, Effects, Precondition,
};

use super::Keys;
use crate::error::Fault;
use crate::number::{natural, whole};
use crate::outbox::put_outbox;
use crate::session::{get, id_bytes};
use crate::write::Write;

/// How many expired documents a write clears away.
const SWEEP: i64 = 16;

/// How many locks there are for all keys: the server has room for some thousands, and a call may write as many documents.
const STRIPES: u16 = 1024;

/// Where the numbers of our locks begin ("Arbi", and then some).
const LOCKS: i64 = 0x4172_6269_0000_0000;

/// Locks keys, whether they have a row or not, in the order in which they are given.
const LOCK: &str = "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key";

/// Those of the keys that have a document, locked against being cleared away.
const FIND: &str = "SELECT d.kind, d.tenant, d.id, d.revision
     FROM unnest($1::text[], $2::uuid[], $3::text[]) AS k (kind, tenant, id)
     JOIN document AS d ON d.kind = k.kind AND d.tenant = k.tenant AND d.id = k.id
     WHERE d.expires_at IS NULL OR d.expires_at > $4
     ORDER BY d.kind, d.tenant, d.id FOR UPDATE OF d";

const PUT: &str = "INSERT INTO document (kind, tenant, id, revision, body, entries, expires_at)
     SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[])
     ON CONFLICT (kind, tenant, id) DO UPDATE SET revision = excluded.revision, body = excluded.body,
       entries = excluded.entries, expires_at = excluded.expires_at";

const PUT_ENTRIES: &str = "INSERT INTO document_index (kind, tenant, id, name, value)
     SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING";

/// Documents that have expired and that nobody else is writing.
const DROP_EXPIRED: &str = "WITH expired AS MATERIALIZED (
       SELECT kind, tenant, id FROM document WHERE expires_at <= $1
       ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED),
     gone AS (
       DELETE FROM document AS d USING expired AS e
       WHERE d.kind = e.kind AND d.tenant = e.tenant AND d.id = e.id
       RETURNING d.kind, d.tenant, d.id)
     DELETE FROM document_index AS i USING gone AS g
     WHERE i.kind = g.kind AND i.tenant = g.tenant AND i.id = g.id";

type Written = Result<Vec<u64>, DocumentError>;

/// Checks every precondition, then writes: a broken one leaves nothing behind.
pub(super) async fn write_all(
    write: &mut Write<'_>,
    writes: &[DocumentWrite],
    effects: &Effects,
) -> Result<Written, Fault> {
    let Some(first) = writes.first() else {
        return Ok(Ok(Vec::new()));
    };
    // the last write of each key, with the revision that it leaves
    let mut last: BTreeMap<&DocumentKey, (u64, Option<&DocumentContent>)> =
        writes.iter().map(|write| (&write.key, (0, None))).collect();
    let mut present = lock(write, last.keys().copied()).await?;
    let mut revisions = Vec::with_capacity(writes.len());
    for write in writes {
        let found = present.get(&write.key).copied().unwrap_or(0);
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
        let revision = if write.content.is_some() { found + 1 } else { 0 };
        present.insert(write.key.clone(), revision);
        last.insert(&write.key, (revision, write.content.as_ref()));
        revisions.push(revision);
    }
    forget_entries(write, &Keys::of(last.keys().copied())).await?;
    let deleted = last.iter().filter(|(_, (_, content))| content.is_none());
    delete(write, &Keys::of(deleted.map(|(key, _)| *key))).await?;
    put(write, &last).await?;
    let now = write.session.now.as_micros();
    write.session.execute(DROP_EXPIRED, &[&now, &SWEEP]).await?;
    put_outbox(write, &effects.outbox).await?;
    let record = record(write.session.now, &first.key, effects);
    write.leaf(&record)?;
    Ok(Ok(revisions))
}

/// Locks the keys and gives the revisions of those that are there.
async fn lock<'a>(
    write: &Write<'_>,
    keys: impl Iterator<Item = &'a DocumentKey> + Clone,
) -> Result<BTreeMap<DocumentKey, u64>, Fault> {
    let locks: BTreeSet<i64> = keys.clone().map(lock_key).collect();
    let locks = Vec::from_iter(locks);
    write.session.execute(LOCK, &[&locks]).await?;
    let columns = Keys::of(keys.clone());
    let now = write.session.now.as_micros();
    // a statement of its own: it must see what was committed while this one waited for its locks
    let rows = write
        .session
        .query(FIND, &[&columns.kinds, &columns.tenants, &columns.ids, &now])
        .await?;
    let asked: BTreeMap<_, _> = keys
        .map(|key| ((key.kind, *key.tenant.as_bytes(), key.id.as_str()), key))
        .collect();
    let mut present = BTreeMap::new();
    for row in &rows {
        if let Some(key) = asked.get(&(get(row, 0)?, id_bytes(row, 1)?, get(row, 2)?)) {
            present.insert((*key).clone(), natural(get(row, 3)?));
        }
    }
    Ok(present)
}

/// Equal keys have equal locks. Different ones seldom do, and then one writer waits for the other.
fn lock_key(key: &DocumentKey) -> i64 {
    let mut name = Vec::new();
    name.extend_from_slice(key.tenant.as_bytes());
    name.extend_from_slice(key.kind.as_bytes());
    name.push(0);
    name.extend_from_slice(key.id.as_bytes());
    let [high, low, ..] = *Digest::of(&name).as_bytes();
    LOCKS + i64::from(u16::from_be_bytes([high, low]) % STRIPES)
}

/// Deletes what was declared of documents.
pub(super) async fn forget_entries(write: &Write<'_>, keys: &Keys<'_>) -> Result<(), Fault> {
    write
        .session
        .execute(
            "DELETE FROM document_index AS i USING unnest($1::text[], $2::uuid[], $3::text[]) AS k (kind, tenant, id)
             WHERE i.kind = k.kind AND i.tenant = k.tenant AND i.id = k.id",
            &[&keys.kinds, &keys.tenants, &keys.ids],
        )
        .await?;
    Ok(())
}

/// Deletes documents, but not what was declared of them.
pub(super) async fn delete(write: &Write<'_>, keys: &Keys<'_>) -> Result<(), Fault> {
    if keys.is_empty() {
        return Ok(());
    }
    write
        .session
        .execute(
            "DELETE FROM document AS d USING unnest($1::text[], $2::uuid[], $3::text[]) AS k (kind, tenant, id)
             WHERE d.kind = k.kind AND d.tenant = k.tenant AND d.id = k.id",
            &[&keys.kinds, &keys.tenants, &keys.ids],
        )
        .await?;
    Ok(())
}

async fn put(
    write: &Write<'_>,
    last: &BTreeMap<&DocumentKey, (u64, Option<&DocumentContent>)>,
) -> Result<(), Fault> {
    let (mut keys, mut entry_keys) = (Keys::default(), Keys::default());
    let (mut revisions, mut bodies, mut entries, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (key, (revision, content)) in last {
        let Some(content) = content else { continue };
        keys.push(key.kind, key.tenant.as_bytes(), &key.id);
        revisions.push(whole(*revision));
        bodies.push(content.body.as_str());
        entries.push((!content.index.is_empty()).then(|| serde_json::json!(content.index).to_string()));
        ends.push(content.expires_at.map(Timestamp::as_micros));
        for (name, value) in &content.index {
            entry_keys.push(key.kind, key.tenant.as_bytes(), &key.id);
            names.push(*name);
            values.push(value.as_str());
        }
    }
    if !keys.is_empty() {
        let Keys { kinds, tenants, ids } = &keys;
        write
            .session
            .execute(PUT, &[kinds, tenants, ids, &revisions, &bodies, &entries, &ends])
            .await?;
    }
    if !entry_keys.is_empty() {
        let Keys { kinds, tenants, ids } = &entry_keys;
        write
            .session
            .execute(PUT_ENTRIES, &[kinds, tenants, ids, &names, &values])
            .await?;
    }
    Ok(())
}

/// One record for the whole call, about the first document of it.
fn record(now: Timestamp, first: &DocumentKey, effects: &Effects) -> Record {
    let draft = &effects.record;
    let mut actions = draft.actions.clone();
    if actions.is_empty() {
        actions.push(AuditAction::DocumentWritten);
    }
    Record {
        at: now,
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
