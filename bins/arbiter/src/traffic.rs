//! What operators have set about the flow of work: which service keeps it, and how it is kept fresh.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::{Clock, Documents};
use arbiter_orchestration::Stop;
use arbiter_orchestration::supervisor::{self, Service};
use arbiter_queue::traffic::{Pauses, TrafficBoard};
use futures_util::{FutureExt as _, select_biased};

use crate::app::App;

/// How often what other nodes have set is read.
const EVERY: Duration = Duration::from_secs(5);

/// The service that pauses and resumes.
pub(crate) fn pauses(app: &App) -> Arc<Pauses> {
    let documents: Arc<dyn Documents> = app.store.clone();
    Arc::new(Pauses::new(
        Arc::clone(&app.queue),
        Arc::clone(&app.board),
        &documents,
        Arc::clone(&app.agents.registry),
    ))
}

/// The service that keeps the board fresh.
pub(crate) fn service(app: &App) -> Arc<dyn Service> {
    let (board, clock) = (Arc::clone(&app.board), Arc::clone(&app.clock));
    supervisor::service("traffic", move |stop| {
        let (board, clock) = (Arc::clone(&board), Arc::clone(&clock));
        Box::pin(async move { keep(&board, clock.as_ref(), &stop).await })
    })
}

async fn keep(board: &TrafficBoard, clock: &dyn Clock, stop: &Stop) {
    loop {
        let until = clock.monotonic() + EVERY;
        select_biased! {
            () = stop.wait().fuse() => return,
            () = clock.sleep_until(until).fuse() => {}
        }
        if let Err(error) = board.refresh().await {
            tracing::error!(
                event = "traffic_failed",
                error = %error,
                "what operators have set could not be read; it is tried again"
            );
        }
    }
}
