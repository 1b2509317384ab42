//! Clearing documents away.

use arbiter_core::model::{AuditAction, Record, RecordOutcome, Resource, TenantId, Timestamp};
use arbiter_core::ports::{Clearance, Cleared, DocumentKey};

use super::Keys;
use super::write::{delete, forget_entries};
use crate::error::Fault;
use crate::number::whole;
use crate::outbox::put_outbox;
use crate::session::{get, id_bytes, uuid};
use crate::write::Write;

/// Every kind that there is, found by steps through the primary key.
const KINDS: &str = "WITH RECURSIVE kinds (kind) AS (
       SELECT min(kind) FROM document
       UNION ALL
       SELECT (SELECT min(kind) FROM document WHERE kind > kinds.kind) FROM kinds WHERE kinds.kind IS NOT NULL)
     SELECT kind FROM kinds WHERE kind IS NOT NULL";

const OF_TENANT: &str = "SELECT kind, tenant, id FROM document WHERE kind = $1 AND tenant = $2
     ORDER BY id LIMIT $3 FOR UPDATE";

const NAMED: &str = "SELECT kind, tenant, id FROM document
     WHERE (kind, tenant, id) IN (SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[]))
     ORDER BY kind, tenant, id LIMIT $4 FOR UPDATE";

/// Deletes documents and what is declared of them.
pub(super) async fn clear(write: &mut Write<'_>, clearance: &Clearance) -> Result<usize, Fault> {
    let found = match &clearance.which {
        Cleared::Tenant { tenant, keep } => of_tenant(write, *tenant, keep, clearance.limit).await?,
        Cleared::Keys(keys) => named(write, keys, clearance.limit).await?,
    };
    if found.is_empty() {
        return Ok(0);
    }
    let mut keys = Keys::default();
    for (kind, tenant, id) in &found {
        keys.push(kind, tenant.as_bytes(), id);
    }
    forget_entries(write, &keys).await?;
    delete(write, &keys).await?;
    put_outbox(write, &clearance.effects.outbox).await?;
    let record = cleared(write.session.now, clearance, found.len());
    write.leaf(&record)?;
    Ok(found.len())
}

/// A document by kind, tenant and id.
type Found = (String, TenantId, String);

/// What a tenant has, kind by kind.
async fn of_tenant(
    write: &Write<'_>,
    tenant: TenantId,
    keep: &[&str],
    limit: usize,
) -> Result<Vec<Found>, Fault> {
    let mut found = Vec::new();
    for row in write.session.query(KINDS, &[]).await? {
        let kind: String = get(&row, 0)?;
        let left = limit.saturating_sub(found.len());
        if keep.contains(&kind.as_str()) || left == 0 {
            continue;
        }
        let rows = write
            .session
            .query(OF_TENANT, &[&kind, &uuid(tenant.as_bytes()), &whole(left)])
            .await?;
        for row in &rows {
            found.push(key(row)?);
        }
    }
    Ok(found)
}

/// Those of the keys that are there.
async fn named(write: &Write<'_>, keys: &[DocumentKey], limit: usize) -> Result<Vec<Found>, Fault> {
    let Keys { kinds, tenants, ids } = Keys::of(keys);
    let rows = write
        .session
        .query(NAMED, &[&kinds, &tenants, &ids, &whole(limit)])
        .await?;
    rows.iter().map(key).collect()
}

fn key(row: &tokio_postgres::Row) -> Result<Found, Fault> {
    Ok((
        get(row, 0)?,
        TenantId::from_bytes(id_bytes(row, 1)?),
        get(row, 2)?,
    ))
}

fn cleared(now: Timestamp, clearance: &Clearance, count: usize) -> Record {
    let draft = &clearance.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Erased);
    Record {
        at: now,
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
