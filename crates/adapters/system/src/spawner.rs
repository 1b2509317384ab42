//! Spawning on tokio.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arbiter_core::ports::{BoxFuture, Ended, Spawner, TaskHandle};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::task::AbortHandle;

/// Runs futures on the tokio runtime in which it is used, and counts those that run.
#[derive(Debug, Clone, Default)]
pub struct TokioSpawner {
    running: Arc<AtomicUsize>,
}

impl TokioSpawner {
    /// A spawner that runs nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many futures run now.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Spawner for TokioSpawner {
    fn spawn(&self, name: &'static str, future: BoxFuture) -> Box<dyn TaskHandle> {
        self.running.fetch_add(1, Ordering::AcqRel);
        let running = Running(Arc::clone(&self.running));
        let future = async move {
            let _running = running;
            future.await;
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "this adapter is the one place that spawns on tokio"
        )]
        let task = tokio::spawn(future);
        let abort = task.abort_handle();
        let ended: EndedFuture = Box::pin(async move {
            match task.await {
                Ok(()) => Ended::Finished,
                Err(error) if error.is_panic() => {
                    tracing::error!(event = "task_panicked", task = name, "a background task panicked");
                    Ended::Panicked
                }
                Err(_) => Ended::Aborted,
            }
        });
        Box::new(Handle {
            abort,
            ended: ended.shared(),
        })
    }
}

type EndedFuture = std::pin::Pin<Box<dyn Future<Output = Ended> + Send>>;

struct Handle {
    abort: AbortHandle,
    ended: Shared<EndedFuture>,
}

#[async_trait]
impl TaskHandle for Handle {
    async fn join(&mut self) -> Ended {
        self.ended.clone().await
    }

    fn abort(&self) {
        self.abort.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_end_is_told_and_counted() {
        let spawner = TokioSpawner::new();
        let mut finished = spawner.spawn("finishes", Box::pin(async {}));
        let mut panicked = spawner.spawn("panics", Box::pin(async { panic!("on purpose") }));
        let mut aborted = spawner.spawn("waits", Box::pin(std::future::pending()));
        assert_eq!(finished.join().await, Ended::Finished);
        assert_eq!(
            finished.join().await,
            Ended::Finished,
            "a later call gets the same answer"
        );
        assert_eq!(panicked.join().await, Ended::Panicked);
        assert_eq!(spawner.running(), 1);
        aborted.abort();
        assert_eq!(aborted.join().await, Ended::Aborted);
        assert_eq!(spawner.running(), 0);
    }
}
