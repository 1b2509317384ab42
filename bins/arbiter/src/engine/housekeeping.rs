//! What is to be done from time to time.

use std::sync::Arc;
use std::time::Duration;

use arbiter_orchestration::supervisor::{Service, service};
use futures_util::{FutureExt as _, select_biased};

use crate::app::App;

/// How often.
const EVERY: Duration = Duration::from_secs(10);

/// Writes the sums of refusals whose window has ended.
pub(super) fn housekeeping(app: &App) -> Arc<dyn Service> {
    let (queue, clock) = (Arc::clone(&app.queue), Arc::clone(&app.clock));
    service("housekeeping", move |stop| {
        let (queue, clock) = (Arc::clone(&queue), Arc::clone(&clock));
        Box::pin(async move {
            while !stop.is_stopped() {
                let until = clock.monotonic() + EVERY;
                select_biased! {
                    () = stop.wait().fuse() => return,
                    () = clock.sleep_until(until).fuse() => {}
                }
                if let Err(error) = queue.flush_refusals(false).await {
                    tracing::warn!(event = "refusals_not_summed", error = %error, "sums of refusals could not be stored; they are tried again");
                }
            }
        })
    })
}
