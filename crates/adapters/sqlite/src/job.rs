//! Mutations on their way to the writer.

use std::fmt;

use arbiter_core::ports::{Applied, Retry, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Fault, failed};
use crate::group::Group;

/// At most so many jobs share a commit.
const GROUP_JOBS: usize = 512;

/// A group takes no further job once it holds so many bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// One mutation: atomic by itself, committed together with its neighbours.
///
/// It may be run more than once before it is answered, when a neighbour's failure undoes the group.
pub struct Job {
    work: Box<dyn Work>,
    bytes: usize,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("operation", &self.work.operation())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

trait Work: Send {
    fn operation(&self) -> &'static str;
    /// Does the work; false when it failed.
    fn run(&mut self, group: &mut Group<'_>) -> bool;
    /// Replaces a result that is not an error already.
    fn fail(&mut self, error: StoreError);
    /// Answers the caller.
    fn finish(self: Box<Self>);
}

struct Call<T, F> {
    operation: &'static str,
    work: F,
    result: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Group<'_>) -> Result<T, Fault> + Send,
{
    fn operation(&self) -> &'static str {
        self.operation
    }

    fn run(&mut self, group: &mut Group<'_>) -> bool {
        self.result = None;
        let result = (self.work)(group).map_err(|fault| fault.into_store(self.operation));
        let done = result.is_ok();
        self.result = Some(result);
        done
    }

    fn fail(&mut self, error: StoreError) {
        if !matches!(self.result, Some(Err(_))) {
            self.result = Some(Err(error));
        }
    }

    fn finish(self: Box<Self>) {
        let result = self.result.unwrap_or_else(|| {
            Err(failed(
                self.operation,
                Applied::No,
                Retry::Permanent,
                "the job was not run",
            ))
        });
        // the caller may have gone: then nobody wants the answer
        let _ = self.answer.send(result);
    }
}

impl Job {
    /// A job and where its answer will be.
    pub(crate) fn new<T, F>(
        operation: &'static str,
        bytes: usize,
        work: F,
    ) -> (Self, oneshot::Receiver<Result<T, StoreError>>)
    where
        T: Send + 'static,
        F: FnMut(&mut Group<'_>) -> Result<T, Fault> + Send + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let work = Box::new(Call {
            operation,
            work,
            result: None,
            answer,
        });
        (Self { work, bytes }, receiver)
    }

    pub(crate) fn operation(&self) -> &'static str {
        self.work.operation()
    }

    pub(crate) fn run(&mut self, group: &mut Group<'_>) -> bool {
        self.work.run(group)
    }

    pub(crate) fn fail(&mut self, error: StoreError) {
        self.work.fail(error);
    }

    pub(crate) fn finish(self) {
        self.work.finish();
    }
}

/// The bounded queue in front of the writer.
#[derive(Debug)]
pub struct JobQueue {
    receiver: mpsc::Receiver<Job>,
}

impl JobQueue {
    pub(crate) fn new(capacity: usize) -> (mpsc::Sender<Job>, Self) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (sender, Self { receiver })
    }

    /// Waits for a job and takes it with all that wait behind it, as many as one commit takes. `None` when the store
    /// was closed and nothing is left.
    ///
    /// # Cancel safety
    /// Safe: no job is lost.
    pub async fn next_group(&mut self) -> Option<Vec<Job>> {
        let first = self.receiver.recv().await?;
        Some(self.fill(first))
    }

    /// As [`Self::next_group`], for a thread.
    pub(crate) fn blocking_next_group(&mut self) -> Option<Vec<Job>> {
        let first = self.receiver.blocking_recv()?;
        Some(self.fill(first))
    }

    /// Whether the store was closed. Jobs may be left.
    pub(crate) fn is_closed(&self) -> bool {
        self.receiver.is_closed()
    }

    /// Takes what waits, without waiting; empty when nothing does.
    pub fn try_group(&mut self) -> Vec<Job> {
        self.receiver
            .try_recv()
            .map_or_else(|_| Vec::new(), |first| self.fill(first))
    }

    fn fill(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.bytes;
        let mut group = vec![first];
        while group.len() < GROUP_JOBS && bytes < GROUP_BYTES {
            let Ok(job) = self.receiver.try_recv() else {
                break;
            };
            bytes = bytes.saturating_add(job.bytes);
            group.push(job);
        }
        group
    }
}
