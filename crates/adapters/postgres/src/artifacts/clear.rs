//! Clearing away what did not become an artifact, or is none any more.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::Spawner;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::NO_SHARD;
use crate::error::Fault;
use crate::number::whole;
use crate::session::{Session, get};
use crate::store::Core;

/// How many chunks go in one transaction.
pub(super) const CHUNKS_AT_ONCE: i64 = 64;

/// How long an upload may stand still. Its process has ended then, or its client sends nothing.
const IDLE: Duration = Duration::from_hours(1);

/// How many uploads a sweep takes up.
const SWEPT: i64 = 64;

/// How much work may wait; what is more is left to a sweep.
const QUEUE: usize = 1024;

/// Notes chunks that are no artifact's any more.
pub(super) const GIVE_UP: &str = "INSERT INTO artifact_upload (id, touched_at) VALUES ($1, NULL)";

/// From here on nobody adds a chunk. An upload that is none any more, because it became an artifact, is left alone.
const MARK: &str = "UPDATE artifact_upload SET touched_at = NULL WHERE id = $1";

const SOME: &str = "DELETE FROM artifact_chunk WHERE upload = $1 AND place IN (
       SELECT place FROM artifact_chunk WHERE upload = $1 ORDER BY place LIMIT $2)";

const FORGET: &str = "DELETE FROM artifact_upload WHERE id = $1";

const LEFT: &str = "UPDATE artifact_upload SET touched_at = NULL WHERE id IN (
       SELECT id FROM artifact_upload WHERE touched_at < $1 OR touched_at IS NULL
       LIMIT $2 FOR UPDATE SKIP LOCKED)
     RETURNING id";

enum Job {
    Clear(Uuid),
    Sweep,
}

/// The way to the task that clears away.
pub(super) struct Cleaner {
    core: Arc<Core>,
    jobs: mpsc::Sender<Job>,
}

impl Cleaner {
    /// Starts the task; it ends with the handle, when what waits is done.
    pub(super) fn start(core: &Arc<Core>, spawner: &dyn Spawner) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        spawner.spawn("postgres-artifacts", Box::pin(work(Arc::clone(core), waiting)));
        Self {
            core: Arc::clone(core),
            jobs,
        }
    }

    /// Has an upload cleared away soon.
    pub(super) fn clear_later(&self, upload: Uuid) {
        // when too much waits, a sweep finds it
        let _later = self.jobs.try_send(Job::Clear(upload));
    }

    /// Has what was left behind, by whatever node, cleared away soon.
    pub(super) fn sweep(&self) {
        // when too much waits, there is a next one
        let _later = self.jobs.try_send(Job::Sweep);
    }

    /// Clears an upload away now.
    pub(super) async fn clear(&self, upload: Uuid) {
        clear(&self.core, upload)
            .await
            .unwrap_or_else(|fault| tell(&fault));
    }
}

async fn work(core: Arc<Core>, mut waiting: mpsc::Receiver<Job>) {
    while let Some(job) = waiting.recv().await {
        let done = match job {
            Job::Clear(upload) => clear(&core, upload).await,
            Job::Sweep => sweep(&core).await,
        };
        done.unwrap_or_else(|fault| tell(&fault));
    }
}

fn tell(fault: &Fault) {
    tracing::warn!(
        error = fault as &dyn std::error::Error,
        "an unfinished or deleted artifact is not cleared away yet; it is tried again later"
    );
}

async fn sweep(core: &Core) -> Result<(), Fault> {
    let left: Vec<Uuid> = core
        .transact(NO_SHARD, |write| {
            Box::pin(async move {
                let now = write.session.now.as_micros();
                let before = now.saturating_sub(whole(IDLE.as_micros()));
                let rows = write.session.query(LEFT, &[&before, &SWEPT]).await?;
                rows.iter().map(|row| get(row, 0)).collect()
            })
        })
        .await?;
    for upload in left {
        clear(core, upload).await?;
    }
    Ok(())
}

/// Removes the chunks of an upload, some in each transaction, and then what is known of it.
async fn clear(core: &Core, upload: Uuid) -> Result<(), Fault> {
    let mut is_done = false;
    while !is_done {
        let cleared = core.transact(NO_SHARD, move |write| {
            Box::pin(async move { clear_some(&write.session, upload).await })
        });
        is_done = cleared.await?;
    }
    Ok(())
}

async fn clear_some(session: &Session<'_>, upload: Uuid) -> Result<bool, Fault> {
    if session.execute(MARK, &[&upload]).await? == 0 {
        return Ok(true);
    }
    let removed = session.execute(SOME, &[&upload, &CHUNKS_AT_ONCE]).await?;
    let is_done = removed < CHUNKS_AT_ONCE as u64;
    if is_done {
        session.execute(FORGET, &[&upload]).await?;
    }
    Ok(is_done)
}
