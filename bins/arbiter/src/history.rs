//! The history of measurements: what adds to it, and what keeps it bounded.

use std::sync::Arc;

use arbiter_core::ports::Measurements;
use arbiter_orchestration::supervisor::{Service, service};
use arbiter_orchestration::{TelemetryAge, TelemetrySampler};

use crate::app::App;
use crate::engine::Engine;

/// What the label `node` says where one node has the store for itself: its series go on over restarts.
const ALONE: &str = "local";

/// The services of a server.
pub(crate) fn services(app: &App, engine: &Engine) -> Vec<Arc<dyn Service>> {
    let mut services = vec![age(app)];
    services.extend(sampler(app, engine));
    services
}

fn sampler(app: &App, engine: &Engine) -> Option<Arc<dyn Service>> {
    let node = if app.handle.is_shared() {
        app.ids.node().to_string()
    } else {
        ALONE.to_owned()
    };
    let outcomes = engine.outcomes.clone();
    let sampler = Arc::new(TelemetrySampler {
        source: app.measurements.clone(),
        common: outcomes.map(|outcomes| outcomes as Arc<dyn Measurements>),
        store: app.store.clone(),
        clock: Arc::clone(&app.clock),
        metrics: Arc::clone(&app.metrics),
        node,
        every: app.config.telemetry.sample_every?,
    });
    Some(service("telemetry-sampler", move |stop| {
        let sampler = Arc::clone(&sampler);
        Box::pin(async move { sampler.run(stop).await })
    }))
}

fn age(app: &App) -> Arc<dyn Service> {
    let age = Arc::new(TelemetryAge {
        store: app.store.clone(),
        leases: app.store.clone(),
        clock: Arc::clone(&app.clock),
        node: app.ids.node(),
        whole: app.config.telemetry.whole,
        kept: app.config.telemetry.kept,
    });
    service("telemetry-age", move |stop| {
        let age = Arc::clone(&age);
        Box::pin(async move { age.run(stop).await })
    })
}
