//! Reading documents.

use arbiter_core::model::{Json, TenantId, TenantScope, Timestamp};
use arbiter_core::ports::{Document, DocumentKey, DocumentQuery};
use tokio_postgres::Row;

use super::Keys;
use crate::error::Fault;
use crate::names::Names;
use crate::number::{natural, whole};
use crate::session::{Session, get, id_bytes, uuid};

const GET: &str = "SELECT d.tenant, d.id, d.revision, d.body, d.entries, d.expires_at, k.place
     FROM unnest($1::text[], $2::uuid[], $3::text[]) WITH ORDINALITY AS k (kind, tenant, id, place)
     JOIN document AS d ON d.kind = k.kind AND d.tenant = k.tenant AND d.id = k.id
     WHERE d.expires_at IS NULL OR d.expires_at > $4";

const LIST: &str = "SELECT tenant, id, revision, body, entries, expires_at FROM document
     WHERE kind = $1 AND (tenant, id) > ($2, $3) AND tenant <= $4 AND (expires_at IS NULL OR expires_at > $5)
     ORDER BY tenant, id LIMIT $6";

const LIST_BY: &str = "SELECT d.tenant, d.id, d.revision, d.body, d.entries, d.expires_at
     FROM document_index AS i
     JOIN document AS d ON d.kind = i.kind AND d.tenant = i.tenant AND d.id = i.id
     WHERE i.kind = $1 AND i.name = $7 AND i.value = $8 AND (i.tenant, i.id) > ($2, $3) AND i.tenant <= $4
       AND (d.expires_at IS NULL OR d.expires_at > $5)
     ORDER BY i.tenant, i.id LIMIT $6";

/// Documents in the order of the keys. Row-level security hides those of other tenants.
pub(super) async fn get_all(
    session: &Session<'_>,
    keys: &[DocumentKey],
    names: &Names,
) -> Result<Vec<Option<Document>>, Fault> {
    let mut found = vec![None; keys.len()];
    let Keys { kinds, tenants, ids } = Keys::of(keys);
    let rows = session
        .query(GET, &[&kinds, &tenants, &ids, &session.now.as_micros()])
        .await?;
    for row in &rows {
        // places begin with 1
        let place = usize::try_from(get::<i64>(row, 6)? - 1).unwrap_or(usize::MAX);
        if let (Some(slot), Some(key)) = (found.get_mut(place), keys.get(place)) {
            *slot = Some(document(row, key.kind, names)?);
        }
    }
    Ok(found)
}

pub(super) async fn list(
    session: &Session<'_>,
    scope: TenantScope,
    query: &DocumentQuery,
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
    let last = uuid(&only.unwrap_or([0xff; 16]));
    let (tenant, now) = (uuid(&from.0), session.now.as_micros());
    let rows = match &query.index {
        None => {
            session
                .query(LIST, &[&query.kind, &tenant, &from.1, &last, &now, &limit])
                .await?
        }
        Some((name, value)) => {
            session
                .query(
                    LIST_BY,
                    &[&query.kind, &tenant, &from.1, &last, &now, &limit, name, value],
                )
                .await?
        }
    };
    rows.iter().map(|row| document(row, query.kind, names)).collect()
}

fn document(row: &Row, kind: &'static str, names: &Names) -> Result<Document, Fault> {
    let entries: Option<&str> = get(row, 4)?;
    let index: Vec<(String, String)> = match entries {
        Some(text) => serde_json::from_str(text).map_err(|_| Fault::Damaged("document index"))?,
        None => Vec::new(),
    };
    let expires_at: Option<i64> = get(row, 5)?;
    Ok(Document {
        key: DocumentKey {
            kind,
            tenant: TenantId::from_bytes(id_bytes(row, 0)?),
            id: get(row, 1)?,
        },
        revision: natural(get(row, 2)?),
        body: Json::parse(get::<String>(row, 3)?)?,
        index: index
            .into_iter()
            .map(|(name, value)| (names.keep(&name), value))
            .collect(),
        expires_at: expires_at.map(Timestamp::from_micros),
    })
}
