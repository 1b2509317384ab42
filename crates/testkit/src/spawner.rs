//! Spawning in tests.

use std::panic::AssertUnwindSafe;

use arbiter_core::ports::{BoxFuture, Ended, Spawner, TaskHandle};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::task::{AbortHandle, JoinHandle};

/// Runs a future as far as it goes without waiting, at once, and drops it when it would wait.
///
/// For code whose spawned work never waits in a test; a future that waited counts as aborted.
#[derive(Debug, Clone, Copy, Default)]
pub struct InstantSpawner;

impl Spawner for InstantSpawner {
    fn spawn(&self, _: &'static str, future: BoxFuture) -> Box<dyn TaskHandle> {
        let ended = match AssertUnwindSafe(future).catch_unwind().now_or_never() {
            Some(Ok(())) => Ended::Finished,
            Some(Err(_)) => Ended::Panicked,
            None => Ended::Aborted,
        };
        Box::new(Over(ended))
    }
}

struct Over(Ended);

#[async_trait]
impl TaskHandle for Over {
    async fn join(&mut self) -> Ended {
        self.0
    }

    fn abort(&self) {}
}

/// Runs futures on the tokio runtime of the test.
#[derive(Debug, Clone, Copy, Default)]
pub struct TestSpawner;

impl Spawner for TestSpawner {
    fn spawn(&self, _: &'static str, future: BoxFuture) -> Box<dyn TaskHandle> {
        #[expect(clippy::disallowed_methods, reason = "this is the spawner of tests")]
        let task = tokio::spawn(future);
        Box::new(Spawned {
            abort: task.abort_handle(),
            task: Some(task),
            ended: Ended::Finished,
        })
    }
}

struct Spawned {
    abort: AbortHandle,
    task: Option<JoinHandle<()>>,
    ended: Ended,
}

#[async_trait]
impl TaskHandle for Spawned {
    async fn join(&mut self) -> Ended {
        if let Some(task) = &mut self.task {
            self.ended = match task.await {
                Ok(()) => Ended::Finished,
                Err(error) if error.is_panic() => Ended::Panicked,
                Err(_) => Ended::Aborted,
            };
            self.task = None;
        }
        self.ended
    }

    fn abort(&self) {
        self.abort.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ends(spawner: &dyn Spawner) -> [Ended; 3] {
        let mut finished = spawner.spawn("finishes", Box::pin(async {}));
        let mut panicked = spawner.spawn("panics", Box::pin(async { panic!("on purpose") }));
        let mut waiting = spawner.spawn("waits", Box::pin(std::future::pending()));
        waiting.abort();
        let first = [finished.join().await, panicked.join().await, waiting.join().await];
        let again = [finished.join().await, panicked.join().await, waiting.join().await];
        assert_eq!(first, again, "a later call gets the same answer");
        first
    }

    #[tokio::test]
    async fn every_end_is_told() {
        let expected = [Ended::Finished, Ended::Panicked, Ended::Aborted];
        assert_eq!(ends(&InstantSpawner).await, expected);
        assert_eq!(ends(&TestSpawner).await, expected);
    }
}
