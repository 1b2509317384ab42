//! What a supervisor runs.

use std::sync::Arc;

use arbiter_core::ports::{BoxError, BoxFuture};
use async_trait::async_trait;

use crate::stop::Stop;

/// Something that starts, and then runs until it is told to stop.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Its name, in logs, measurements and readiness.
    fn name(&self) -> &'static str;

    /// Prepares what [`Self::run`] needs; called again before each restart. It must not leave anything running.
    ///
    /// # Errors
    /// Whatever keeps it from running; the start of everything is undone then.
    async fn start(&self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Runs until told to stop. One that returns earlier, or panics, is started again after a while.
    async fn run(&self, stop: Stop);
}

/// A service out of a function that makes its future.
pub fn service<F>(name: &'static str, run: F) -> Arc<dyn Service>
where
    F: Fn(Stop) -> BoxFuture + Send + Sync + 'static,
{
    Arc::new(Plain { name, run })
}

struct Plain<F> {
    name: &'static str,
    run: F,
}

#[async_trait]
impl<F> Service for Plain<F>
where
    F: Fn(Stop) -> BoxFuture + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, stop: Stop) {
        (self.run)(stop).await;
    }
}
