//! Reading: a few connections on threads of their own, so that any executor can wait for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use arbiter_core::ports::{Applied, Retry, StoreError};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{Fault, OpenError, failed};
use crate::schema;

/// How many reads may wait.
const QUEUE: usize = 1024;

/// When a reader that was told that too many wait should come back.
const RETRY_AFTER: Duration = Duration::from_millis(20);

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Where reads are done.
pub(crate) enum Readers {
    /// By threads.
    Threads(RwLock<Option<SyncSender<Read>>>),
    /// By the caller itself, for stores that are run without threads.
    Inline(Mutex<Option<Connection>>),
}

impl Readers {
    /// Starts threads; they end when the readers are closed.
    pub(crate) fn start(path: &Path, count: usize) -> Result<(Self, Vec<JoinHandle<()>>), OpenError> {
        let (sender, receiver) = sync_channel::<Read>(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::new();
        for number in 0..count.max(1) {
            let connection = schema::open_reader(path).map_err(OpenError::database("opening a reader"))?;
            let (receiver, path) = (Arc::clone(&receiver), path.to_owned());
            let thread = std::thread::Builder::new()
                .name(format!("arbiter-sqlite-reader-{number}"))
                .spawn(move || serve(&receiver, connection, &path))
                .map_err(OpenError::Thread)?;
            threads.push(thread);
        }
        Ok((Self::Threads(RwLock::new(Some(sender))), threads))
    }

    /// Opens one connection that callers use by themselves.
    pub(crate) fn inline(path: &Path) -> Result<Self, OpenError> {
        let connection = schema::open_reader(path).map_err(OpenError::database("opening a reader"))?;
        Ok(Self::Inline(Mutex::new(Some(connection))))
    }

    /// Takes no further reads.
    pub(crate) fn close(&self) {
        match self {
            Self::Threads(sender) => drop(sender.write().unwrap_or_else(PoisonError::into_inner).take()),
            Self::Inline(connection) => {
                drop(connection.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
        }
    }

    /// Reads something in one snapshot of the database.
    pub(crate) async fn read<T, F>(&self, operation: &'static str, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    {
        let closed = || failed(operation, Applied::No, Retry::Permanent, "the store is closed");
        let work = move |connection: &Connection| {
            snapshot(connection, read).map_err(|fault| fault.into_store(operation))
        };
        let answer = match self {
            Self::Inline(connection) => {
                let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                return connection.as_ref().map_or_else(|| Err(closed()), work);
            }
            Self::Threads(sender) => {
                let (answer, receiver) = oneshot::channel();
                let job: Read = Box::new(move |connection| {
                    // the caller may have gone: then nobody wants the answer
                    let _ = answer.send(work(connection));
                });
                let sender = sender.read().unwrap_or_else(PoisonError::into_inner);
                match sender.as_ref().map(|sender| sender.try_send(job)) {
                    Some(Ok(())) => {}
                    Some(Err(TrySendError::Full(_))) => {
                        return Err(StoreError::Busy {
                            retry_after: RETRY_AFTER,
                        });
                    }
                    Some(Err(TrySendError::Disconnected(_))) | None => return Err(closed()),
                }
                receiver
            }
        };
        let ended = || failed(operation, Applied::No, Retry::Permanent, "the read panicked");
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

fn snapshot<T>(
    connection: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    let result = read(connection);
    connection.prepare_cached("COMMIT")?.execute([])?;
    result
}

fn serve(receiver: &Mutex<Receiver<Read>>, mut connection: Connection, path: &Path) {
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(read) = next else { return };
        if catch_unwind(AssertUnwindSafe(|| read(&connection))).is_ok() {
            continue;
        }
        // whatever the panic left open ends with its connection
        match schema::open_reader(path) {
            Ok(fresh) => connection = fresh,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a reader's connection could not be opened anew after a panic"
            ),
        }
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Threads(_) => "Readers::Threads",
            Self::Inline(_) => "Readers::Inline",
        })
    }
}
