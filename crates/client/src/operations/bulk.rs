//! One operation on every task that a filter finds.

use arbiter_net::Method;
use arbiter_wire::http::{BulkForm, BulkView};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const CANCEL_MANY: Operation = ("task.cancel_many", Method::POST, "/v1/tasks/cancel-many");
pub(super) const REQUEUE_MANY: Operation = ("task.requeue_many", Method::POST, "/v1/tasks/requeue-many");
pub(super) const PURGE_MANY: Operation = ("task.purge_many", Method::POST, "/v1/tasks/purge-many");

impl Client {
    /// Withdraws every open task that a filter finds.
    ///
    /// # Errors
    /// [`ClientError`], as all calls. Unless it is a dry run the call is not repeated: its answer tells what it did.
    pub async fn task_cancel_many(&self, which: &BulkForm) -> Result<BulkView, ClientError> {
        self.many(&CANCEL_MANY, which).await
    }

    /// Queues every failed task and dead letter that a filter finds again.
    ///
    /// # Errors
    /// As [`Self::task_cancel_many`].
    pub async fn task_requeue_many(&self, which: &BulkForm) -> Result<BulkView, ClientError> {
        self.many(&REQUEUE_MANY, which).await
    }

    /// Deletes every closed task that a filter finds, dead letters among them, with its input, attempts and outputs.
    ///
    /// # Errors
    /// As [`Self::task_cancel_many`].
    pub async fn task_purge_many(&self, which: &BulkForm) -> Result<BulkView, ClientError> {
        self.many(&PURGE_MANY, which).await
    }

    async fn many(&self, operation: &Operation, which: &BulkForm) -> Result<BulkView, ClientError> {
        let call = self.call(operation, &[]).json(which);
        let call = if which.dry_run { call.repeatable() } else { call };
        call.read().await
    }
}
