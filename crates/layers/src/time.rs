//! Time-outs on the `Clock` port.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use arbiter_core::ports::Clock;
use futures_util::future::{Either, select};

/// The time was over before the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time is over")]
pub struct Elapsed;

/// Runs `future` for at most `limit`, or without an end when there is none. An answer that is there when the time is
/// over counts.
///
/// # Errors
/// [`Elapsed`] when the time was over first; the future was dropped.
///
/// # Cancel safety
/// That of the future.
pub async fn within<F: Future>(
    clock: &dyn Clock,
    limit: Option<Duration>,
    future: F,
) -> Result<F::Output, Elapsed> {
    let Some(limit) = limit else {
        return Ok(future.await);
    };
    let moment = clock.monotonic().saturating_add(limit);
    match select(pin!(future), clock.sleep_until(moment)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(((), _)) => Err(Elapsed),
    }
}
