//! The queue as a whole.

use arbiter_core::model::TenantId;
use arbiter_net::Method;
use arbiter_wire::http::{PauseForm, PauseView, QueueStatusView};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const STATUS: Operation = ("queue.status", Method::GET, "/v1/queue");
pub(super) const PAUSE: Operation = ("queue.pause", Method::POST, "/v1/queue/pause");
pub(super) const RESUME: Operation = ("queue.resume", Method::POST, "/v1/queue/resume");

impl Client {
    /// Reads what is paused, and how many tasks of a tenant stand where; of the caller's own unless one is named.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn queue_status(&self, tenant: Option<TenantId>) -> Result<QueueStatusView, ClientError> {
        let query = [("tenant", tenant.map(|tenant| tenant.to_string()))];
        self.call_with(&STATUS, &[], &query).read().await
    }

    /// Assigns nothing of the queue, a tenant, a kind or to an agent; what runs goes on.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn queue_pause(&self, pause: &PauseForm) -> Result<PauseView, ClientError> {
        self.call(&PAUSE, &[]).json(pause).read().await
    }

    /// Resumes what was paused.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn queue_resume(&self, pause: &PauseForm) -> Result<(), ClientError> {
        self.call(&RESUME, &[]).json(pause).done().await
    }
}
