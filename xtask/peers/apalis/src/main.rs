//! One round of the work of `cargo xtask bench peers` on apalis-postgres; a line of JSON for each measurement.
//!
//! `peer-apalis TASKS`: makes and removes the schema `apalis` in the database of `ARBITER_TEST_POSTGRES_URL`. TASKS
//! is a multiple of 3200, so that all callers have as many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use apalis::prelude::*;
use apalis_postgres::{Config, PgPool, PostgresStorage};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// Callers that submit one by one, and workers that fetch one by one.
const CALLERS: usize = 32;
/// Callers that submit in batches, and workers that fetch in batches.
const BATCHERS: usize = 4;
const BATCH: usize = 100;
/// Between two looks at whether everything is stored as done.
const LOOK: Duration = Duration::from_millis(2);

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Job {
    kind: String,
    title: String,
    description: String,
    text: String,
}

fn job() -> Job {
    Job {
        kind: "analysis".to_owned(),
        title: "Count the words of a text".to_owned(),
        description: "Count the words of the text in the input and answer with the number of words."
            .to_owned(),
        text: "one two three ".repeat(10),
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    words: u32,
    note: String,
}

/// How many tasks the handlers have seen.
#[derive(Debug, Clone, Default)]
struct Handled {
    count: Arc<AtomicUsize>,
    all: Arc<Notify>,
    wanted: usize,
}

async fn handle(_: Job, handled: Data<Handled>) -> Result<Answer, BoxDynError> {
    if handled.count.fetch_add(1, Ordering::SeqCst) + 1 == handled.wanted {
        handled.all.notify_one();
    }
    Ok(Answer {
        words: 30,
        note: "counted by splitting at white space".to_owned(),
    })
}

fn storage(pool: &PgPool, batch: usize) -> PostgresStorage<Job> {
    PostgresStorage::new(pool).with_config(Config::default().queue("bench").batch_size(batch))
}

async fn submit_single(pool: &PgPool, tasks: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let mut storage = storage(pool, BATCH);
        callers.spawn(async move {
            for _ in 0..tasks / CALLERS {
                storage.push(job()).await?;
            }
            anyhow::Ok(())
        });
    }
    ended(callers).await?;
    Ok(start.elapsed())
}

async fn submit_batch(pool: &PgPool, tasks: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..BATCHERS {
        let mut storage = storage(pool, BATCH);
        callers.spawn(async move {
            for _ in 0..tasks / (BATCHERS * BATCH) {
                storage.push_bulk(vec![job(); BATCH]).await?;
            }
            anyhow::Ok(())
        });
    }
    ended(callers).await?;
    Ok(start.elapsed())
}

/// Workers that run until everything is done; their fetches look again after `pause` when nothing was there.
struct Workers {
    running: JoinSet<anyhow::Result<()>>,
    stop: watch::Sender<bool>,
    handled: Handled,
}

impl Workers {
    /// `name` is told apart from those of earlier workers, which the server remembers.
    fn start(pool: &PgPool, name: &str, (count, batch): (usize, usize), wanted: usize) -> Self {
        let handled = Handled {
            wanted,
            ..Handled::default()
        };
        let (stop, _) = watch::channel(false);
        let mut running = JoinSet::new();
        for number in 0..count {
            let mut stopped = stop.subscribe();
            let backend = storage(pool, batch)
                .with_pubsub()
                .poll_with_interval(Duration::from_millis(20));
            let worker = WorkerBuilder::new(format!("{name}-{number}"))
                .backend(backend)
                .data(handled.clone())
                .build(handle);
            running.spawn(async move {
                worker
                    .run_until(async move {
                        // an error means that the sender is gone, which stops as well
                        let _told_or_gone = stopped.wait_for(|stop| *stop).await;
                        Ok::<(), WorkerError>(())
                    })
                    .await
                    .context("a worker")
            });
        }
        Self {
            running,
            stop,
            handled,
        }
    }

    /// Waits until all tasks are stored as done, and gives that moment; then stops the workers.
    async fn finish(mut self, pool: &PgPool) -> anyhow::Result<Instant> {
        tokio::select! {
            () = self.handled.all.notified() => {}
            Some(ended) = self.running.join_next() => {
                ended??;
                anyhow::bail!("a worker ended before the work");
            }
        }
        while open(pool).await? > 0 {
            tokio::time::sleep(LOOK).await;
        }
        let done = Instant::now();
        self.stop.send_replace(true);
        ended(self.running).await?;
        Ok(done)
    }
}

async fn open(pool: &PgPool) -> anyhow::Result<i64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'");
    Ok(count.fetch_one(pool).await?)
}

async fn ended(mut running: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(one) = running.join_next().await {
        one??;
    }
    Ok(())
}

async fn clear(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("TRUNCATE apalis.jobs").execute(pool).await?;
    Ok(())
}

/// Takes and ends tasks of a backlog, with so many workers that fetch so many at once.
async fn drain(pool: &PgPool, name: &str, workers: (usize, usize), tasks: usize) -> anyhow::Result<Duration> {
    clear(pool).await?;
    submit_batch(pool, tasks).await?;
    let start = Instant::now();
    let workers = Workers::start(pool, name, workers, tasks);
    Ok(workers.finish(pool).await?.duration_since(start))
}

/// Single submitters and workers at the same time.
async fn life(pool: &PgPool, tasks: usize) -> anyhow::Result<Duration> {
    clear(pool).await?;
    let start = Instant::now();
    let workers = Workers::start(pool, "life", (BATCHERS, BATCH), tasks);
    submit_single(pool, tasks).await?;
    Ok(workers.finish(pool).await?.duration_since(start))
}

fn tell(measure: &str, tasks: usize, took: Duration) {
    let line = serde_json::json!({ "measure": measure, "tasks": tasks, "seconds": took.as_secs_f64() });
    println!("{line}");
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let tasks: usize = arguments.next().context("usage: peer-apalis TASKS")?.parse()?;
    let url = std::env::var("ARBITER_TEST_POSTGRES_URL").context("ARBITER_TEST_POSTGRES_URL")?;
    let pool = PgPoolOptions::new().max_connections(64).connect(&url).await?;
    PostgresStorage::setup(&pool).await?;
    let few = tasks / 4;
    anyhow::ensure!(
        few > 0 && tasks.is_multiple_of(3_200),
        "TASKS must be a multiple of 3200"
    );
    tell("submit_single", few, submit_single(&pool, few).await?);
    clear(&pool).await?;
    tell("submit_batch", 2 * tasks, submit_batch(&pool, 2 * tasks).await?);
    tell("life", few, life(&pool, few).await?);
    tell(
        "drain_batch",
        tasks,
        drain(&pool, "batch", (BATCHERS, BATCH), tasks).await?,
    );
    tell(
        "drain_single",
        few,
        drain(&pool, "single", (CALLERS, 1), few).await?,
    );
    sqlx::query("DROP SCHEMA apalis CASCADE").execute(&pool).await?;
    Ok(())
}
