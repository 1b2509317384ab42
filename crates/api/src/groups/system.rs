//! The node itself: whether it lives, whether it is ready, its measurements, its document.

use arbiter_wire::http::{ReadinessPartView, ReadinessView};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::openapi;
use crate::routes::{Operation, Routes};
use crate::state::Api;

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
        parts: readiness
            .parts
            .into_iter()
            .map(|part| ReadinessPartView {
                name: part.name,
                ready: part.ready,
                why: part.why,
            })
            .collect(),
    };
    (status, Json(told)).into_response()
}

async fn metrics(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], api.parts().shown.text()).into_response()
}

async fn document() -> Json<serde_json::Value> {
    Json(openapi::document())
}
