//! One round of the work of `cargo xtask bench peers` on graphile_worker; a line of JSON for each measurement.
//!
//! `peer-graphile TASKS`: makes and removes the schema `peer_graphile` in the database of `ARBITER_TEST_POSTGRES_URL`.
//! TASKS is a multiple of 3200, so that all callers have as many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler, Worker, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Callers that submit one by one, and the concurrency of a worker that fetches one by one.
const CALLERS: usize = 32;
/// Callers that submit in batches.
const BATCHERS: usize = 4;
const BATCH: usize = 100;
/// How the project's own bench of throughput (`benches/perf_test.rs`) sets its worker.
const CONCURRENCY: usize = 500;
const LOCAL_QUEUE: usize = 5_000;
const COMPLETE_AFTER: Duration = Duration::from_millis(5);
const POLL: Duration = Duration::from_millis(5);
/// Between two looks at whether everything is stored as done.
const LOOK: Duration = Duration::from_millis(2);
const SCHEMA: &str = "peer_graphile";

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

/// How many tasks the handlers have seen.
#[derive(Debug, Clone, Default)]
struct Handled {
    count: Arc<AtomicUsize>,
    all: Arc<Notify>,
    wanted: usize,
}

impl TaskHandler for Job {
    const IDENTIFIER: &'static str = "bench";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let Some(handled) = context.get_ext::<Handled>() else {
            return Err("the worker has no counter".to_owned());
        };
        if handled.count.fetch_add(1, Ordering::SeqCst) + 1 == handled.wanted {
            handled.all.notify_one();
        }
        Ok(())
    }
}

fn utils(pool: &PgPool) -> WorkerUtils {
    WorkerUtils::new(pool.clone(), SCHEMA)
}

async fn submit_single(pool: &PgPool, tasks: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let utils = utils(pool);
        callers.spawn(async move {
            for _ in 0..tasks / CALLERS {
                utils.add_job(job(), JobSpec::default()).await?;
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
        let utils = utils(pool);
        callers.spawn(async move {
            for _ in 0..tasks / (BATCHERS * BATCH) {
                let mut jobs = Vec::with_capacity(BATCH);
                for _ in 0..BATCH {
                    jobs.push(RawJobSpec {
                        identifier: Job::IDENTIFIER.to_owned(),
                        payload: serde_json::to_value(job())?,
                        spec: JobSpec::default(),
                    });
                }
                utils.add_raw_jobs(&jobs).await?;
            }
            anyhow::Ok(())
        });
    }
    ended(callers).await?;
    Ok(start.elapsed())
}

/// How a worker takes work.
#[derive(Clone, Copy)]
enum Taking {
    /// In batches, with completions in batches.
    Batches,
    /// One by one.
    Singles,
}

async fn worker(pool: &PgPool, taking: Taking, handled: &Handled) -> anyhow::Result<Worker> {
    let options = WorkerOptions::default()
        .pg_pool(pool.clone())
        .schema(SCHEMA)
        .listen_os_shutdown_signals(false)
        .add_extension(handled.clone())
        .define_job::<Job>();
    let options = match taking {
        Taking::Batches => options
            .concurrency(CONCURRENCY)
            .poll_interval(POLL)
            .complete_job_batch_delay(COMPLETE_AFTER)
            .local_queue(LocalQueueConfig::default().with_size(LOCAL_QUEUE)),
        Taking::Singles => options.concurrency(CALLERS),
    };
    Ok(options.init().await?)
}

async fn clear(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("TRUNCATE peer_graphile._private_jobs CASCADE")
        .execute(pool)
        .await?;
    Ok(())
}

/// Waits until the handlers have seen all tasks and none is stored as open.
async fn finish(
    pool: &PgPool,
    handled: &Handled,
    running: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::select! {
        biased;
        () = handled.all.notified() => {}
        Some(ended) = running.join_next() => {
            ended??;
            let (count, wanted) = (handled.count.load(Ordering::SeqCst), handled.wanted);
            anyhow::ensure!(count == wanted, "the worker ended after {count} of {wanted} jobs");
        }
    }
    while open(pool).await? > 0 {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn open(pool: &PgPool) -> anyhow::Result<i64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM peer_graphile._private_jobs");
    Ok(count.fetch_one(pool).await?)
}

async fn ended(mut running: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(one) = running.join_next().await {
        one??;
    }
    Ok(())
}

/// Takes and ends tasks, of a backlog or while they come in one by one.
async fn work(pool: &PgPool, tasks: usize, taking: Taking, at_once: bool) -> anyhow::Result<Duration> {
    clear(pool).await?;
    if !at_once {
        submit_batch(pool, tasks).await?;
    }
    let handled = Handled {
        wanted: tasks,
        ..Handled::default()
    };
    let worker = Arc::new(worker(pool, taking, &handled).await?);
    let start = Instant::now();
    let mut running = JoinSet::new();
    let runner = Arc::clone(&worker);
    match taking {
        Taking::Batches => running.spawn(async move { runner.run().await.context("the worker") }),
        // one that runs on would fetch no more than its concurrency at a look
        Taking::Singles => running.spawn(async move { runner.run_once().await.context("the worker") }),
    };
    if at_once {
        submit_single(pool, tasks).await?;
    }
    finish(pool, &handled, &mut running).await?;
    let took = start.elapsed();
    worker.request_shutdown();
    ended(running).await?;
    Ok(took)
}

fn tell(measure: &str, tasks: usize, took: Duration) {
    let line = serde_json::json!({ "measure": measure, "tasks": tasks, "seconds": took.as_secs_f64() });
    println!("{line}");
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let tasks: usize = arguments.next().context("usage: peer-graphile TASKS")?.parse()?;
    let url = std::env::var("ARBITER_TEST_POSTGRES_URL").context("ARBITER_TEST_POSTGRES_URL")?;
    let pool = PgPoolOptions::new().max_connections(64).connect(&url).await?;
    // makes the schema
    worker(&pool, Taking::Singles, &Handled::default()).await?;
    let few = tasks / 4;
    anyhow::ensure!(
        few > 0 && tasks.is_multiple_of(3_200),
        "TASKS must be a multiple of 3200"
    );
    tell("submit_single", few, submit_single(&pool, few).await?);
    clear(&pool).await?;
    tell("submit_batch", 2 * tasks, submit_batch(&pool, 2 * tasks).await?);
    tell("life", few, work(&pool, few, Taking::Batches, true).await?);
    tell(
        "drain_batch",
        tasks,
        work(&pool, tasks, Taking::Batches, false).await?,
    );
    tell(
        "drain_single",
        few,
        work(&pool, few, Taking::Singles, false).await?,
    );
    sqlx::query("DROP SCHEMA peer_graphile CASCADE")
        .execute(&pool)
        .await?;
    Ok(())
}
