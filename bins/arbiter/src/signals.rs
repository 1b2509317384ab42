//! Signals: the first one stops in order, the second one ends at once.

use arbiter_core::ports::Spawner;
use arbiter_orchestration::{Stop, Stopper};
use futures_util::{FutureExt as _, select_biased};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Fires at the first SIGINT or SIGTERM. The second one ends the process at once: what was answered is
/// stored, and leases end by themselves.
pub(crate) fn first(spawner: &dyn Spawner) -> Stop {
    let stopper = Stopper::default();
    let stop = stopper.signal();
    let wait = async move {
        let mut terminate = signal(SignalKind::terminate()).ok();
        let mut interrupt = signal(SignalKind::interrupt()).ok();
        next(&mut terminate, &mut interrupt).await;
        tracing::warn!(
            event = "interrupted",
            "stopping: attempts are ended and given back; a second signal ends at once"
        );
        stopper.stop();
        next(&mut terminate, &mut interrupt).await;
        tracing::error!(event = "interrupted_again", "ending at once");
        end();
    };
    spawner.spawn("signals", Box::pin(wait));
    stop
}

#[expect(clippy::disallowed_methods, reason = "a second signal asks for just this")]
fn end() {
    std::process::exit(i32::from(arbiter_wire::codes::EXIT_INTERRUPTED));
}

/// Waits for one of them. Signals that cannot be listened for are not waited for.
async fn next(terminate: &mut Option<Signal>, interrupt: &mut Option<Signal>) {
    let one = async |source: &mut Option<Signal>| {
        let told = match source {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if told.is_none() {
            std::future::pending::<()>().await;
        }
    };
    let (terminate, interrupt) = (one(terminate), one(interrupt));
    futures_util::pin_mut!(terminate, interrupt);
    select_biased! {
        () = terminate.fuse() => {}
        () = interrupt.fuse() => {}
    }
}
