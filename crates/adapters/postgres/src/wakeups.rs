//! The port `Wakeups`: hints between nodes by `LISTEN` and `NOTIFY`.

mod connection;
mod mailbox;
mod payload;

use std::sync::Arc;

use arbiter_core::ports::{Clock, Hint, HintStream, Spawner, Wakeups};
use async_trait::async_trait;

use crate::config::PostgresConfig;
use crate::error::OpenError;
use connection::Line;
use mailbox::{Mailbox, Subscribers};

/// Hints in this process and to every other one with the same schema.
///
/// Subscribers here are told at once; one connection tells the others, with at most one `NOTIFY` on its way: what is
/// published meanwhile goes with the next one. While the connection is lost, hints reach this process only; when it is
/// back, everybody is told to look at everything.
pub struct PostgresWakeups {
    shared: Arc<Shared>,
}

/// What the handle and the task of the connection share.
#[derive(Debug, Default)]
struct Shared {
    subscribers: Subscribers,
    outward: Mailbox,
}

impl std::fmt::Debug for PostgresWakeups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresWakeups").finish_non_exhaustive()
    }
}

impl PostgresWakeups {
    /// Connects and listens. A task that ends with the handle keeps the connection; `clock` says when it tries again
    /// after it was lost.
    ///
    /// # Errors
    /// As for [`PostgresStore::open`](crate::PostgresStore::open), when the first connection cannot be made.
    ///
    /// # Cancel safety
    /// Safe: nothing was started.
    pub async fn start(
        config: &PostgresConfig,
        spawner: &dyn Spawner,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::default());
        let line = Line::connect(config, Arc::clone(&shared)).await?;
        spawner.spawn("postgres-wakeups", Box::pin(line.keep(clock)));
        Ok(Self { shared })
    }
}

impl Drop for PostgresWakeups {
    fn drop(&mut self) {
        self.shared.outward.close();
    }
}

impl Wakeups for PostgresWakeups {
    fn publish(&self, hints: &[Hint]) {
        if hints.is_empty() {
            return;
        }
        self.shared.subscribers.put(hints);
        self.shared.outward.put(hints);
    }

    fn subscribe(&self) -> Box<dyn HintStream> {
        Box::new(Hints(self.shared.subscribers.add()))
    }
}

struct Hints(Arc<Mailbox>);

#[async_trait]
impl HintStream for Hints {
    async fn next(&mut self) -> Vec<Hint> {
        match self.0.next().await {
            Some(hints) => hints,
            // nobody closes the mailbox of a subscriber
            None => std::future::pending().await,
        }
    }
}
