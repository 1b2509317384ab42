//! The service that erases what is to be erased.

use std::sync::Arc;
use std::time::Duration;

use arbiter_orchestration::supervisor::{self, Service};
use arbiter_queue::erasures::{Eraser, EraserParts, EraserSettings};

use crate::app::App;
use crate::exit::Failure;

/// The service that does what erasures ask for.
pub(crate) fn service(app: &App) -> Arc<dyn Service> {
    let eraser = Arc::new(eraser(app, EraserSettings::default()));
    supervisor::service("eraser", move |stop| {
        let eraser = Arc::clone(&eraser);
        Box::pin(async move { eraser.run(&stop).await })
    })
}

/// Erases what can be erased without waiting for attempts to give back their slots: the rest is for a server.
///
/// # Errors
/// The store's.
pub(crate) async fn finish(app: &App) -> Result<(), Failure> {
    let settings = if app.handle.is_shared() {
        EraserSettings::default()
    } else {
        // Nobody else calls: there is nothing to wait for.
        EraserSettings {
            settle: Duration::ZERO,
            ..EraserSettings::default()
        }
    };
    eraser(app, settings).finish().await?;
    Ok(())
}

fn eraser(app: &App, settings: EraserSettings) -> Eraser {
    let parts = EraserParts {
        erasures: Arc::clone(&app.erasures),
        tenants: Arc::clone(&app.tenants),
        keys: Arc::clone(&app.keys),
        store: app.store.clone(),
        reader: app.store.clone(),
        agents: Arc::clone(&app.agents.registry),
        artifacts: Arc::clone(&app.artifacts),
        outbox: app.store.clone(),
        audit: app.store.clone(),
        leases: app.store.clone(),
        wakeups: Arc::clone(&app.wakeups),
        clock: Arc::clone(&app.clock),
        node: app.ids.node(),
    };
    Eraser::new(parts, settings)
}
