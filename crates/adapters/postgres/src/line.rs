//! Calls that arrive at the same time share a commit.
//!
//! Each kind of call has a line with workers of its own, so that a caller that goes away takes nothing down with it.
//! A worker takes what has arrived while it was busy, waits a moment for the callers of its last group if they are on
//! their way back, decides about all of it in one transaction, and answers after the commit. Small groups follow each
//! other, so that they do not stay small; beside a large one another worker goes on.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arbiter_core::lifecycle::Rules;
use arbiter_core::ports::{Applied, Retry, Spawner, StoreError};
use futures_util::future::BoxFuture;
use futures_util::pin_mut;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use crate::error::{Fault, SharedFault};
use crate::store::Core;
use crate::write::Write;

/// How many calls may wait in a line.
const QUEUE: usize = 4096;

/// How many bytes the calls of a line may carry together; a call that finds the line empty is always taken.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// A group is not made larger than this.
const GROUP_CALLS: usize = 512;
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// From so many bytes on a group is large: about fifty tasks. Its work outweighs its flush, and is worth a second
/// connection.
const LARGE: usize = 64 * 1024;

/// How long a worker waits at most for as many calls as its last group had: a group costs a flush and a few
/// milliseconds of the server's and the driver's time, whatever it holds, and callers that were just answered need
/// tens of microseconds for their next call. A caller that is alone never waits.
const GATHER: Duration = Duration::from_micros(300);
/// How often the worker lets others run meanwhile.
const GATHER_TURNS: usize = 128;

/// How long a small group keeps the line to itself. One that takes longer waits for somebody's lock, or for a server
/// that is far away: nobody else is to wait for it.
const ALONE: Duration = Duration::from_millis(20);

/// How often a group is begun anew that lost a race.
const RACES: usize = 8;

/// When a caller that found the line full should come back.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// Whether a group was begun before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Try {
    /// It was not.
    First,
    /// It was, and lost a race: what may be raced for is locked first.
    Again,
}

/// A kind of call that can share a transaction with others of its kind.
pub(crate) trait Call: Send + Sync + Sized + 'static {
    /// What the caller is told.
    type Answer: Send + 'static;

    /// The operation's name in errors.
    const OPERATION: &'static str;

    /// How much it carries, roughly.
    fn bytes(&self) -> usize;

    /// Does the calls in one transaction; one answer for each, in order.
    fn run<'a>(
        write: &'a mut Write<'_>,
        rules: &'a Rules,
        calls: &'a [Self],
        attempt: Try,
    ) -> BoxFuture<'a, Result<Vec<Self::Answer>, Fault>>;
}

type Answer<C> = Result<<C as Call>::Answer, StoreError>;

struct Waiting<C: Call> {
    call: C,
    bytes: usize,
    answer: oneshot::Sender<Answer<C>>,
}

/// Where calls of a kind wait for a worker.
pub(crate) struct Line<C: Call> {
    sender: mpsc::Sender<Waiting<C>>,
    bytes: Arc<AtomicUsize>,
}

impl<C: Call> std::fmt::Debug for Line<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("operation", &C::OPERATION)
            .finish_non_exhaustive()
    }
}

impl<C: Call> Line<C> {
    /// Starts a worker for each shard; they end when the line is dropped and what waits in it is done.
    pub(crate) fn start(core: &Arc<Core>, spawner: &dyn Spawner, shards: &[i16]) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        let bytes = Arc::new(AtomicUsize::new(0));
        for shard in shards {
            let worker = Worker {
                core: Arc::clone(core),
                receiver: Arc::clone(&receiver),
                bytes: Arc::clone(&bytes),
                shard: *shard,
            };
            spawner.spawn("postgres-line", Box::pin(worker.work()));
        }
        Self { sender, bytes }
    }

    /// Waits in line, and for the answer.
    pub(crate) async fn call(&self, call: C) -> Answer<C> {
        let bytes = call.bytes();
        let busy = StoreError::Busy {
            retry_after: RETRY_AFTER,
        };
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let (answer, receiver) = oneshot::channel();
        let waiting = Waiting { call, bytes, answer };
        if (before > 0 && before + bytes > QUEUE_BYTES) || self.sender.try_send(waiting).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(busy);
        }
        // the worker is gone only if it panicked, or its runtime ended: nobody knows how far it came
        receiver.await.unwrap_or_else(|gone| {
            Err(StoreError::Backend {
                operation: C::OPERATION,
                applied: Applied::Unknown,
                retry: Retry::Transient,
                source: gone.into(),
            })
        })
    }
}

struct Worker<C: Call> {
    core: Arc<Core>,
    receiver: Arc<Mutex<mpsc::Receiver<Waiting<C>>>>,
    bytes: Arc<AtomicUsize>,
    shard: i16,
}

impl<C: Call> Worker<C> {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a server takes is real time, also in tests that set the clock"
    )]
    async fn work(self) {
        let mut last = 0;
        loop {
            let mut receiver = self.receiver.lock().await;
            let Some((waiting, bytes)) = self.next(&mut receiver, last).await else {
                return;
            };
            last = waiting.len();
            // who keeps the receiver makes the other workers, and what arrives for them, wait
            let alone = (bytes < LARGE).then_some(receiver);
            let (mut calls, mut answers) = (Vec::new(), Vec::new());
            for Waiting { call, answer, .. } in waiting {
                // whoever has gone before the work began asks for nothing any more
                if !answer.is_closed() {
                    calls.push(call);
                    answers.push(answer);
                }
            }
            let calls = Arc::new(calls);
            let done = self.done(&calls, answers);
            pin_mut!(done);
            if alone.is_some() && timeout(ALONE, &mut done).await.is_ok() {
                continue;
            }
            drop(alone);
            done.await;
        }
    }

    /// Waits for a call, and takes those that have arrived with it; for the first `expected` it waits a moment. Gives
    /// how many bytes they are.
    async fn next(
        &self,
        receiver: &mut mpsc::Receiver<Waiting<C>>,
        expected: usize,
    ) -> Option<(Vec<Waiting<C>>, usize)> {
        let first = receiver.recv().await?;
        let mut bytes = first.bytes;
        let mut group = vec![first];
        let (begun, mut turns) = (Instant::now(), 0);
        while group.len() < GROUP_CALLS && bytes < GROUP_BYTES {
            if let Ok(next) = receiver.try_recv() {
                bytes += next.bytes;
                group.push(next);
                continue;
            }
            if group.len() >= expected || turns == GATHER_TURNS || begun.elapsed() >= GATHER {
                break;
            }
            turns += 1;
            tokio::task::yield_now().await;
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some((group, bytes))
    }

    /// Does a group and answers. One that fails for what is in it is done call by call.
    async fn done(&self, calls: &Arc<Vec<C>>, answers: Vec<oneshot::Sender<Answer<C>>>) {
        if calls.is_empty() {
            return;
        }
        match self.transact(calls, 0..calls.len()).await {
            Ok(done) => {
                for (answer, done) in answers.into_iter().zip(done) {
                    // a caller that has gone does not want it
                    let _ = answer.send(Ok(done));
                }
            }
            Err(fault) if calls.len() > 1 && fault.is_of_a_call() => {
                for (place, answer) in answers.into_iter().enumerate() {
                    let alone = self.transact(calls, place..place + 1).await;
                    let alone = alone.map_err(|fault| fault.into_store(C::OPERATION));
                    let alone = alone.and_then(|done| {
                        let done = done.into_iter().next();
                        done.ok_or_else(|| Fault::Damaged("answer").into_store(C::OPERATION))
                    });
                    let _ = answer.send(alone);
                }
            }
            Err(fault) => {
                let fault = SharedFault::new(fault);
                for answer in answers {
                    let _ = answer.send(Err(fault.to_store(C::OPERATION)));
                }
            }
        }
    }

    /// Does the calls at these places in one transaction.
    async fn transact(&self, calls: &Arc<Vec<C>>, places: Range<usize>) -> Result<Vec<C::Answer>, Fault> {
        let mut attempt = Try::First;
        for _ in 0..RACES {
            let (calls, places, rules) = (Arc::clone(calls), places.clone(), self.core.rules);
            let done = self.core.transact(self.shard, move |write| {
                Box::pin(async move {
                    let calls = calls.get(places).unwrap_or_default();
                    C::run(write, &rules, calls, attempt).await
                })
            });
            match done.await {
                Err(Fault::Raced) => attempt = Try::Again,
                done => return done,
            }
        }
        Err(Fault::Raced)
    }
}
