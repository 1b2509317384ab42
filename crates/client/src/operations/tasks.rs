//! Tasks: submit, read, operate.

use arbiter_core::model::TaskId;
use arbiter_net::Method;
use arbiter_wire::http::{
    Because, HistoryView, ReleaseForm, SubmitMany, Submitted, SubmittedMany, TaskEventPageView, TaskPageView,
    TaskView,
};
use arbiter_wire::task::TaskForm;

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;
use crate::events::TaskWatch;

pub(super) const SUBMIT: Operation = ("task.submit", Method::POST, "/v1/tasks");
pub(super) const SUBMIT_MANY: Operation = ("task.submit_many", Method::POST, "/v1/tasks/batch");
pub(super) const LIST: Operation = ("task.list", Method::GET, "/v1/tasks");
pub(super) const GET: Operation = ("task.get", Method::GET, "/v1/tasks/{id}");
pub(super) const ATTEMPTS: Operation = ("task.attempts", Method::GET, "/v1/tasks/{id}/attempts");
pub(super) const EVENTS: Operation = ("task.events", Method::GET, "/v1/tasks/{id}/events");
pub(crate) const WATCH: Operation = ("task.watch", Method::GET, "/v1/tasks/{id}/watch");
pub(super) const CANCEL: Operation = ("task.cancel", Method::POST, "/v1/tasks/{id}/cancel");
pub(super) const RETRY: Operation = ("task.retry", Method::POST, "/v1/tasks/{id}/retry");
pub(super) const RELEASE: Operation = ("task.release", Method::POST, "/v1/tasks/{id}/release");
pub(super) const DEAD_LETTER: Operation = ("task.dead_letter", Method::POST, "/v1/tasks/{id}/dead-letter");
pub(super) const REQUEUE: Operation = ("task.requeue", Method::POST, "/v1/tasks/{id}/requeue");

/// Which tasks to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Where to go on: the cursor of the page before.
    pub cursor: Option<String>,
    /// At most so many, 1–1000; 50.
    pub limit: Option<usize>,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those of this kind.
    pub kind: Option<String>,
    /// Only those with this label: `name=value`.
    pub label: Option<String>,
}

impl Client {
    /// Submits a task. One without an idempotency key gets one, so that a lost answer does not store it twice.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    ///
    /// # Cancel safety
    /// As all calls that change something: the server may act although the future is dropped.
    pub async fn task_submit(&self, task: &TaskForm) -> Result<Submitted, ClientError> {
        let call = self.call(&SUBMIT, &[]).json(task);
        let call = match task.idempotency_key {
            Some(_) => call,
            None => call.header("idempotency-key", &self.fresh_key()),
        };
        call.repeatable().read().await
    }

    /// Submits up to 1000 tasks. Those without an idempotency key get one.
    ///
    /// # Errors
    /// [`ClientError`]. A task that is refused alone is told in the answer.
    pub async fn task_submit_many(&self, mut many: SubmitMany) -> Result<SubmittedMany, ClientError> {
        for task in &mut many.tasks {
            task.idempotency_key.get_or_insert_with(|| self.fresh_key());
        }
        self.call(&SUBMIT_MANY, &[]).json(&many).repeatable().read().await
    }

    /// A page of tasks, oldest first.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn task_list(&self, filter: &TaskFilter) -> Result<TaskPageView, ClientError> {
        let query = [
            ("cursor", filter.cursor.clone()),
            ("limit", filter.limit.map(|limit| limit.to_string())),
            ("state", filter.state.clone()),
            ("kind", filter.kind.clone()),
            ("label", filter.label.clone()),
        ];
        self.call_with(&LIST, &[], &query).read().await
    }

    /// Reads a task.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn task_get(&self, task: TaskId) -> Result<TaskView, ClientError> {
        self.call(&GET, &[&task]).read().await
    }

    /// Reads the finished attempts and stage reports of a task, oldest first.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn task_attempts(&self, task: TaskId) -> Result<HistoryView, ClientError> {
        self.call(&ATTEMPTS, &[&task]).read().await
    }

    /// A page of what was done to a task, newest first.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn task_events(
        &self,
        task: TaskId,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<TaskEventPageView, ClientError> {
        let query = [
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&EVENTS, &[&task], &query).read().await
    }

    /// Follows a task from its present state until it has ended.
    pub fn task_watch(&self, task: TaskId) -> TaskWatch {
        TaskWatch::new(self.clone(), task)
    }

    /// Withdraws a task; with a version, only if the task still has it.
    ///
    /// # Errors
    /// [`ClientError`]. The call is not repeated: whether it was done can be read.
    pub async fn task_cancel(
        &self,
        task: TaskId,
        version: Option<u64>,
        because: &Because,
    ) -> Result<TaskView, ClientError> {
        self.task_move(&CANCEL, task, version, because).await
    }

    /// Queues a failed task again.
    ///
    /// # Errors
    /// As [`Self::task_cancel`].
    pub async fn task_retry(
        &self,
        task: TaskId,
        version: Option<u64>,
        because: &Because,
    ) -> Result<TaskView, ClientError> {
        self.task_move(&RETRY, task, version, because).await
    }

    /// Decides a held task.
    ///
    /// # Errors
    /// As [`Self::task_cancel`].
    pub async fn task_release(
        &self,
        task: TaskId,
        version: Option<u64>,
        decision: &ReleaseForm,
    ) -> Result<TaskView, ClientError> {
        self.task_move(&RELEASE, task, version, decision).await
    }

    /// Gives a task up.
    ///
    /// # Errors
    /// As [`Self::task_cancel`].
    pub async fn task_dead_letter(
        &self,
        task: TaskId,
        version: Option<u64>,
        because: &Because,
    ) -> Result<TaskView, ClientError> {
        self.task_move(&DEAD_LETTER, task, version, because).await
    }

    /// Queues a dead letter again.
    ///
    /// # Errors
    /// As [`Self::task_cancel`].
    pub async fn task_requeue(
        &self,
        task: TaskId,
        version: Option<u64>,
        because: &Because,
    ) -> Result<TaskView, ClientError> {
        self.task_move(&REQUEUE, task, version, because).await
    }

    async fn task_move<T: serde::Serialize + Sync>(
        &self,
        operation: &Operation,
        task: TaskId,
        version: Option<u64>,
        body: &T,
    ) -> Result<TaskView, ClientError> {
        let call = self.call(operation, &[&task]).json(body);
        call.if_match(version).read().await
    }

    /// A key that nobody else uses: 128 random bits.
    pub(crate) fn fresh_key(&self) -> String {
        let mut bytes = [0; 16];
        self.shared.entropy.fill(&mut bytes);
        format!("call:{}", hex::encode(bytes))
    }
}
