//! The audit log: entries, heads, proofs.

use std::sync::Arc;

use arbiter_audit::note::Note;
use arbiter_audit::proof::{ConsistencyProof, InclusionProof};
use arbiter_audit::tile::{Tile, TileId, TileMap};
use arbiter_audit::tree::leaf_hash;
use arbiter_audit::view::LeafView;
use arbiter_core::model::{
    Operation as Action, Principal, PrincipalId, Role, Target, TenantScope, Timestamp,
};
use arbiter_core::ports::{AuditEntry, AuditQuery, TreeHead};
use arbiter_wire::http::{
    AuditEntryView, AuditHeadView, AuditPageView, AuditRedactionView, Because, ConsistencyProofView,
    InclusionProofView,
};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, CursorText, Cursors};
use crate::export::{AuditExport, AuditExportError};
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::get(
                "/v1/audit/entries",
                "audit.query",
                "Find entries of the audit log, newest first",
            )
            .query::<EntriesQuery>()
            .answers::<AuditPageView>(200, "A page of entries")
            .errors(&["bad_cursor"]),
            query,
        )
        .add(
            Operation::get(
                "/v1/audit/export",
                "audit.export",
                "Read the whole log up to the newest signed head, with every key",
            )
            .waits()
            .answers_with(
                200,
                "application/x-ndjson",
                "A header, a line for each entry, the signed head",
            )
            .errors(&["not_found"]),
            export,
        )
        .add(
            Operation::get("/v1/audit/head", "audit.head", "Read the newest signed head")
                .answers::<AuditHeadView>(200, "The head")
                .errors(&["not_found"]),
            head,
        )
        .add(
            Operation::get(
                "/v1/audit/entries/{index}/proof",
                "audit.proof",
                "Prove that an entry stands in the log",
            )
            .answers::<InclusionProofView>(200, "The proof"),
            inclusion,
        )
        .add(
            Operation::post(
                "/v1/audit/entries/{index}/redact",
                "audit.redact",
                "Remove the detail of an entry; the entry and every proof stay as they are",
            )
            .body::<Because>()
            .answers::<AuditRedactionView>(200, "Whether there was a detail")
            .errors(&["invalid_task"]),
            redact,
        )
        .add(
            Operation::get(
                "/v1/audit/consistency",
                "audit.consistency",
                "Prove that the log only grew",
            )
            .query::<ConsistencyQuery>()
            .answers::<ConsistencyProofView>(200, "The proof")
            .errors(&["not_found"]),
            consistency,
        )
}

/// Which entries to find.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EntriesQuery {
    /// At or after this moment (RFC 3339).
    from: Option<String>,
    /// Before this moment (RFC 3339).
    to: Option<String>,
    /// By this principal.
    principal: Option<String>,
    /// With this action.
    action: Option<String>,
    /// About this resource.
    resource: Option<String>,
    /// With this outcome.
    outcome: Option<String>,
    /// Where to go on: the cursor of the page before.
    cursor: Option<CursorText>,
    /// At most so many; 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
}

async fn query(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<EntriesQuery>,
) -> Result<Json<AuditPageView>, Failure> {
    let limit = cursor::limit(asked.limit)?;
    let cursors = Cursors::of(
        "audit.query",
        &[
            asked.from.as_deref(),
            asked.to.as_deref(),
            asked.principal.as_deref(),
            asked.action.as_deref(),
            asked.resource.as_deref(),
            asked.outcome.as_deref(),
        ],
    );
    let before = cursors.place(asked.cursor.as_deref())?.map(u64::from_be_bytes);
    let moment = |field: &'static str, text: Option<String>| {
        text.map(|text| {
            text.parse::<Timestamp>()
                .map_err(|error| Failure::invalid(field, error))
        })
        .transpose()
    };
    let query = AuditQuery {
        from: moment("from", asked.from)?,
        to: moment("to", asked.to)?,
        principal: asked
            .principal
            .map(|text| {
                text.parse::<PrincipalId>()
                    .map_err(|error| Failure::invalid("principal", error))
            })
            .transpose()?,
        action: asked.action,
        resource: asked.resource,
        outcome: asked.outcome,
        before,
        limit,
    };
    api.queue().permit(&caller, Action::AuditQuery).await?;
    let page = api.parts().audit.search(scope(&caller), query).await?;
    Ok(Json(AuditPageView {
        entries: page.entries.iter().map(entry).collect::<Result<_, _>>()?,
        next: page.next.map(|index| cursors.after(&index.to_be_bytes())),
    }))
}

/// Whose entries a caller may read.
pub(super) fn scope(caller: &Principal) -> TenantScope {
    if caller.roles.contains(&Role::Admin) {
        TenantScope::All
    } else {
        TenantScope::Tenant(caller.tenant)
    }
}

fn entry(entry: &AuditEntry) -> Result<AuditEntryView, Failure> {
    Ok(AuditEntryView {
        index: entry.index,
        leaf: leaf(entry)?,
        detail: entry.detail.as_ref().map(|detail| detail.body.value()),
    })
}

fn leaf(entry: &AuditEntry) -> Result<Value, Failure> {
    serde_json::from_slice(&entry.leaf).map_err(|error| {
        Failure::new("internal", "internal error; the server's log says more").caused_by(error)
    })
}

/// The log is of every tenant: who reads it whole must be allowed to read them all.
async fn export(State(api): State<Api>, Caller(caller): Caller) -> Result<Response, Failure> {
    api.queue()
        .permit_on(&caller, Action::AuditExport, &Target::default())
        .await?;
    let (head, checkpoint) = published(&api).await?;
    let note = Note::parse(&checkpoint).map_err(damaged)?;
    let header = api.parts().audit_keys.header(head.size).map_err(|cause| {
        Failure::new("internal", "internal error; the server's log says more").caused_by_boxed(cause)
    })?;
    let log = Arc::clone(&api.parts().audit);
    let tree = Arc::clone(&api.parts().tree);
    let export = AuditExport::new(log, tree, &header, note).map_err(damaged)?;
    let pieces = futures_util::stream::try_unfold(export, async |mut export| {
        let piece = export.piece().await.inspect_err(|error| {
            tracing::error!(event = "audit_export_failed", error = %error, "the audit log could not be exported");
        })?;
        Ok::<_, AuditExportError>(piece.map(|piece| (piece, export)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

async fn head(State(api): State<Api>, Caller(caller): Caller) -> Result<Json<AuditHeadView>, Failure> {
    api.queue().permit(&caller, Action::AuditProof).await?;
    let (head, checkpoint) = published(&api).await?;
    Ok(Json(AuditHeadView {
        size: head.size,
        root: head.root.to_string(),
        checkpoint,
    }))
}

async fn published(api: &Api) -> Result<(TreeHead, String), Failure> {
    let published = api.parts().tree.published().await?;
    published.ok_or_else(|| Failure::new("not_found", "the audit log has no signed head yet"))
}

async fn inclusion(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(index): Path<String>,
) -> Result<Json<InclusionProofView>, Failure> {
    api.queue().permit(&caller, Action::AuditProof).await?;
    let index = place(&index)?;
    let (head, checkpoint) = published(&api).await?;
    if index >= head.size {
        return Err(Failure::not_found());
    }
    let found = api.parts().audit.read(index, 1).await?;
    let entry = found.first().ok_or_else(Failure::not_found)?;
    let leaf = leaf(entry)?;
    // An entry of another tenant looks like one that does not exist.
    let own = leaf["tenant"].as_str() == Some(caller.tenant.to_string().as_str());
    if !own && !caller.roles.contains(&Role::Admin) {
        return Err(Failure::not_found());
    }
    let tiles = tiles(&api, InclusionProof::tiles(index, head.size)).await?;
    let proof = InclusionProof::build(index, head.size, &tiles).map_err(damaged)?;
    Ok(Json(InclusionProofView {
        index,
        size: head.size,
        leaf,
        leaf_bytes: STANDARD.encode(&entry.leaf),
        leaf_hash: leaf_hash(&entry.leaf).to_string(),
        path: proof.path.iter().map(ToString::to_string).collect(),
        root: head.root.to_string(),
        checkpoint,
    }))
}

/// One entry has one name: leading zeros and signs are none.
fn place(index: &str) -> Result<u64, Failure> {
    let number = index.parse::<u64>().ok();
    number
        .filter(|number| number.to_string() == index)
        .ok_or_else(Failure::not_found)
}

async fn redact(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(index): Path<String>,
    JsonBody(because): JsonBody<Because>,
) -> Result<Json<AuditRedactionView>, Failure> {
    let index = place(&index)?;
    // Who may not redact at all is told so before anything is read.
    api.queue().permit(&caller, Action::AuditRedact).await?;
    let found = api.parts().audit.read(index, 1).await?;
    let entry = found.first().filter(|entry| entry.index == index);
    let entry = entry.ok_or_else(Failure::not_found)?;
    let tenant = LeafView::parse(&entry.leaf).map_err(damaged)?.tenant;
    // An entry of another tenant looks like one that does not exist.
    if tenant != caller.tenant && !caller.roles.contains(&Role::Admin) {
        return Err(Failure::not_found());
    }
    let removed = api
        .queue()
        .redact_entry(&caller, tenant, index, because.reason)
        .await?;
    Ok(Json(AuditRedactionView { index, removed }))
}

/// From which head the log only grew.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ConsistencyQuery {
    /// The size of the earlier head.
    from: u64,
}

async fn consistency(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<ConsistencyQuery>,
) -> Result<Json<ConsistencyProofView>, Failure> {
    api.queue().permit(&caller, Action::AuditProof).await?;
    let (head, checkpoint) = published(&api).await?;
    if asked.from == 0 || asked.from > head.size {
        return Err(Failure::invalid("from", format!("must lie in 1..={}", head.size)));
    }
    let tiles = tiles(&api, ConsistencyProof::tiles(asked.from, head.size)).await?;
    let proof = ConsistencyProof::build(asked.from, head.size, &tiles).map_err(damaged)?;
    Ok(Json(ConsistencyProofView {
        from: asked.from,
        to: head.size,
        path: proof.path.iter().map(ToString::to_string).collect(),
        root: head.root.to_string(),
        checkpoint,
    }))
}

async fn tiles(api: &Api, ids: impl IntoIterator<Item = TileId>) -> Result<TileMap, Failure> {
    let mut tiles = TileMap::new();
    for id in ids {
        let hashes = api.parts().tree.tile(id.level(), id.index(), id.width()).await?;
        tiles.insert(Tile {
            id,
            hashes: hashes.unwrap_or_default(),
        });
    }
    Ok(tiles)
}

pub(super) fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new("internal", "internal error; the server's log says more").caused_by(error)
}
