//! The store: a handle to the writer and the readers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arbiter_core::lifecycle::Rules;
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Applied, Clock, Entropy, Retry, Spawner, StoreError, TreeHead};
use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};

use crate::config::SqliteConfig;
use crate::error::{Fault, OpenError, failed};
use crate::group::Group;
use crate::job::{Job, JobQueue};
use crate::lock::DataLock;
use crate::names::Names;
use crate::reader::Readers;
use crate::writer::{SCRUB_AGAIN, Writer};

/// When a caller that found the queue full should come back: a few commits later.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// How many finished groups may wait for the task that answers them; the writer answers further ones itself.
const GROUPS_UNANSWERED: usize = 16;

/// Every storage port over one SQLite database that this process owns.
///
/// Mutations go to one writer, which commits those that arrived during the last commit together, each of them atomic
/// by itself and answered after the commit. Reads have connections of their own and see every answered mutation.
///
/// Dropping the store commits what waits and closes the database, which blocks for as long as that takes;
/// [`Self::close`] does the same without blocking.
///
/// # Cancel safety
/// Once polled, a mutation may commit although its future is dropped; sending it again with the same ids is safe.
pub struct SqliteStore {
    jobs: RwLock<Option<mpsc::Sender<Job>>>,
    readers: Readers,
    head: Arc<RwLock<TreeHead>>,
    clock: Arc<dyn Clock>,
    pub(crate) database: PathBuf,
    pub(crate) max_agents: usize,
    pub(crate) max_series: usize,
    pub(crate) names: Names,
    writer: Mutex<Option<JoinHandle<()>>>,
    ended: watch::Receiver<bool>,
    answers: Answers,
}

/// Where finished groups go to be answered; empty while the writer answers them itself.
type Answers = Arc<OnceLock<mpsc::Sender<Vec<Job>>>>;

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database, brings its schema up to date and starts the writer and the readers.
    ///
    /// # Errors
    /// [`OpenError::Owned`] when another process has it open, [`OpenError::NewerSchema`] when a newer program made
    /// it, [`OpenError::AuditLog`] when the audit log does not add up; see [`OpenError`].
    pub fn open(
        config: &SqliteConfig,
        rules: Rules,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        let writer = writer(config, rules, entropy)?;
        let head = writer.head();
        let (sender, queue) = JobQueue::new(config.queue);
        let (readers, reader_threads) = Readers::start(&config.database(), config.readers)?;
        let (ended_sender, ended) = watch::channel(false);
        let writer_clock = Arc::clone(&clock);
        let answers = Answers::default();
        let writer_answers = Arc::clone(&answers);
        let thread = std::thread::Builder::new()
            .name("arbiter-sqlite-writer".to_owned())
            .spawn(move || {
                serve(writer, queue, &*writer_clock, &writer_answers, reader_threads);
                ended_sender.send_replace(true);
            })
            .map_err(OpenError::Thread)?;
        Ok(Self {
            jobs: RwLock::new(Some(sender)),
            readers,
            head,
            clock,
            database: config.database(),
            max_agents: config.max_agents,
            max_series: config.max_series,
            names: Names::default(),
            writer: Mutex::new(Some(thread)),
            ended,
            answers,
        })
    }

    /// Opens the database without threads: whoever calls runs the writer with what the queue gives, and reads are
    /// done by their callers. For simulations.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_without_threads(
        config: &SqliteConfig,
        rules: Rules,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, Writer, JobQueue), OpenError> {
        let writer = writer(config, rules, entropy)?;
        let (sender, queue) = JobQueue::new(config.queue);
        let (_, ended) = watch::channel(true);
        let store = Self {
            jobs: RwLock::new(Some(sender)),
            readers: Readers::inline(&config.database())?,
            head: writer.head(),
            clock,
            database: config.database(),
            max_agents: config.max_agents,
            max_series: config.max_series,
            names: Names::default(),
            writer: Mutex::new(None),
            ended,
            answers: Answers::default(),
        };
        Ok((store, writer, queue))
    }

    /// Has callers answered by a task of `spawner` instead of by the writer's thread: it is woken once for each commit,
    /// where the writer would wake the runtime once for each call, which took a quarter of its time. Call it once;
    /// later calls change nothing.
    pub fn answer_on(&self, spawner: &dyn Spawner) {
        let (sender, mut finished) = mpsc::channel::<Vec<Job>>(GROUPS_UNANSWERED);
        if self.answers.set(sender).is_err() {
            return;
        }
        let answer = async move {
            while let Some(jobs) = finished.recv().await {
                jobs.into_iter().for_each(Job::finish);
            }
        };
        spawner.spawn("sqlite-answers", Box::pin(answer));
    }

    /// Commits what waits, empties the write-ahead log, closes the database and gives up its lock. Later calls fail.
    ///
    /// # Cancel safety
    /// Safe: the store closes although the future is dropped.
    pub async fn close(&self) {
        self.stop();
        let mut ended = self.ended.clone();
        // an error means that the writer is gone, which is what is waited for
        let _ = ended.wait_for(|ended| *ended).await;
    }

    fn stop(&self) {
        self.readers.close();
        drop(self.jobs.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The store's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The head of the audit tree as of the last commit.
    pub(crate) fn tree_head(&self) -> TreeHead {
        *self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the writer do something, and waits until it is durable. `bytes` is about how much it writes.
    pub(crate) async fn write<T, F>(
        &self,
        operation: &'static str,
        bytes: usize,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Group<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (job, answer) = Job::new(operation, bytes, work);
        {
            let jobs = self.jobs.read().unwrap_or_else(PoisonError::into_inner);
            match jobs.as_ref().map(|jobs| jobs.try_send(job)) {
                Some(Ok(())) => {}
                Some(Err(TrySendError::Full(_))) => {
                    return Err(StoreError::Busy {
                        retry_after: RETRY_AFTER,
                    });
                }
                Some(Err(TrySendError::Closed(_))) | None => {
                    return Err(failed(
                        operation,
                        Applied::No,
                        Retry::Permanent,
                        "the store is closed",
                    ));
                }
            }
        }
        let gone = || {
            failed(
                operation,
                Applied::Unknown,
                Retry::Permanent,
                "the writer is gone",
            )
        };
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Reads something in one snapshot of the database.
    pub(crate) async fn read<T, F>(&self, operation: &'static str, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        self.readers.read(operation, read).await
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.stop();
        let thread = self
            .writer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the writer of the database panicked");
        }
    }
}

fn writer(config: &SqliteConfig, rules: Rules, entropy: Arc<dyn Entropy>) -> Result<Writer, OpenError> {
    let folder = |source| OpenError::Folder {
        path: PathBuf::from(&config.directory),
        source,
    };
    std::fs::create_dir_all(&config.directory).map_err(folder)?;
    let lock = DataLock::take(&config.lock_file())?;
    Writer::open(config.database(), lock, rules, entropy)
}

/// Answers a group: by the task for it, unless that is missing, behind or gone.
fn answer(answers: &Answers, jobs: Vec<Job>) {
    use mpsc::error::TrySendError::{Closed, Full};
    let left = match answers.get() {
        None => jobs,
        Some(answers) => match answers.try_send(jobs) {
            Ok(()) => return,
            Err(Full(jobs) | Closed(jobs)) => jobs,
        },
    };
    left.into_iter().for_each(Job::finish);
}

/// Waits for the next group. While the log of writes has something that was erased, it looks now and then whether the
/// reader that was in the way is done.
fn next_group(queue: &mut JobQueue, writer: &mut Writer, clock: &dyn Clock) -> Option<Vec<Job>> {
    const LOOK: Duration = Duration::from_millis(10);

    let mut waited = Duration::ZERO;
    while writer.is_to_scrub() && !queue.is_closed() {
        let jobs = queue.try_group();
        if !jobs.is_empty() {
            return Some(jobs);
        }
        std::thread::park_timeout(LOOK);
        waited += LOOK;
        if waited >= SCRUB_AGAIN {
            writer.scrub(clock.now());
            waited = Duration::ZERO;
        }
    }
    queue.blocking_next_group()
}

/// The writer's thread: the next group is taken before the last one is answered, so that its callers' next calls and
/// the next commit go on at the same time.
fn serve(
    mut writer: Writer,
    mut queue: JobQueue,
    clock: &dyn Clock,
    answers: &Answers,
    readers: Vec<JoinHandle<()>>,
) {
    if writer.is_to_scrub() {
        writer.scrub(clock.now());
    }
    while let Some(mut jobs) = next_group(&mut queue, &mut writer, clock) {
        loop {
            let answered = writer.commit(jobs, clock.now());
            jobs = queue.try_group();
            answer(answers, answered);
            if jobs.is_empty() {
                break;
            }
        }
    }
    for reader in readers {
        if reader.join().is_err() {
            tracing::error!("a reader of the database panicked");
        }
    }
    writer.close();
}
