//! The node itself: whether it lives, whether it is ready, its measurements, its document.

use arbiter_core::model::{Operation as Action, Target};
use arbiter_wire::http::{
    AuditSizeView, BackupView, PlacesView, ReadinessPartView, ReadinessView, StatusView, TaskCountsView,
};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::auth::Caller;
use crate::failure::Failure;
use crate::openapi;
use crate::routes::{Operation, Routes};
use crate::state::{Api, ReadinessPart};

/// The content type of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::get("/healthz", "system.health", "Whether the process lives")
                .public()
                .answers_with(200, "text/plain", "It lives"),
            health,
        )
        .add(
            Operation::get(
                "/readyz",
                "system.ready",
                "Whether the node can do its work, part by part",
            )
            .public()
            .answers::<ReadinessView>(200, "It can")
            .answers::<ReadinessView>(503, "It cannot: a part is missing"),
            ready,
        )
        .add(
            Operation::get("/metrics", "system.metrics", "Measurements, as OpenMetrics text")
                .public()
                .answers_with(200, "application/openmetrics-text", "The measurements"),
            metrics,
        )
        .add(
            Operation::get("/v1/system/status", "system.status", "Read how the node stands")
                .answers::<StatusView>(200, "Its state"),
            status,
        )
        .add(
            Operation::post(
                "/v1/system/backup",
                "system.backup",
                "Take a backup into the folder that is configured on the server",
            )
            .waits()
            .answers::<BackupView>(201, "It is taken"),
            backup,
        )
        .add(
            Operation::get("/openapi.json", "system.document", "This document")
                .public()
                .answers::<serde_json::Value>(200, "The document (OpenAPI 3.1)"),
            document,
        )
}

async fn health() -> &'static str {
    "ok\n"
}

async fn ready(State(api): State<Api>) -> Response {
    let readiness = api.parts().readiness.readiness();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let told = ReadinessView {
        ready: readiness.ready,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        parts: parts(readiness.parts),
    };
    (status, Json(told)).into_response()
}

fn parts(parts: Vec<ReadinessPart>) -> Vec<ReadinessPartView> {
    let shown = parts.into_iter().map(|part| ReadinessPartView {
        name: part.name,
        ready: part.ready,
        why: part.why,
    });
    shown.collect()
}

async fn status(State(api): State<Api>, Caller(caller): Caller) -> Result<Json<StatusView>, Failure> {
    api.queue().permit(&caller, Action::SystemStatus).await?;
    let tally = api.parts().reader.tally(caller.tenant).await?;
    let head = api.parts().tree.head().await?;
    let published = api.parts().tree.published().await?;
    let readiness = api.parts().readiness.readiness();
    let places = |free: usize, limit: usize| PlacesView {
        taken: limit.saturating_sub(free) as u64,
        limit: limit as u64,
    };
    let settings = api.settings();
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: api.0.started_at.to_string(),
        now: api.parts().clock.now().to_string(),
        ready: readiness.ready,
        parts: parts(readiness.parts),
        tasks: TaskCountsView {
            open: tally.open,
            queued: tally.queued,
            running: tally.running,
            reviewing: tally.reviewing,
            held: tally.held,
            dead: tally.dead,
        },
        audit: AuditSizeView {
            entries: head.size,
            signed: published.map_or(0, |(signed, _)| signed.size),
        },
        calls: places(api.0.calls.available_permits(), settings.calls),
        waiting: places(api.0.waiting.available_permits(), settings.waiting),
    }))
}

/// A backup is of every tenant.
async fn backup(
    State(api): State<Api>,
    Caller(caller): Caller,
) -> Result<(StatusCode, Json<BackupView>), Failure> {
    api.queue()
        .permit_on(&caller, Action::SystemBackup, &Target::default())
        .await?;
    let Some(backups) = &api.parts().backups else {
        return Err(Failure::new(
            "disabled",
            "no folder for backups is configured; set `backup.folder`",
        ));
    };
    let failed = |detail: &str| Failure::new("unavailable", detail);
    let taken = backups
        .take(caller.id)
        .await
        .map_err(|cause| {
            failed("the backup could not be taken; the server's log says more").caused_by_boxed(cause)
        })?
        .ok_or_else(|| failed("another backup is being taken; try again later"))?;
    let told = BackupView {
        name: taken.name,
        entries: taken.entries,
        root: taken.root.to_string(),
        files: taken.files,
        bytes: taken.bytes,
    };
    Ok((StatusCode::CREATED, Json(told)))
}

async fn metrics(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], api.parts().shown.text()).into_response()
}

async fn document(State(api): State<Api>) -> Json<serde_json::Value> {
    Json(openapi::document(api.settings()))
}
