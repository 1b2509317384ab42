//! The node itself.

use arbiter_net::{Method, StatusCode};
use arbiter_wire::http::{BackupView, ReadinessView, StatusView};
use serde_json::Value;

use super::Operation;
use crate::call::read;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const HEALTH: Operation = ("system.health", Method::GET, "/healthz");
pub(super) const READY: Operation = ("system.ready", Method::GET, "/readyz");
pub(super) const STATUS: Operation = ("system.status", Method::GET, "/v1/system/status");
pub(super) const BACKUP: Operation = ("system.backup", Method::POST, "/v1/system/backup");
pub(super) const METRICS: Operation = ("system.metrics", Method::GET, "/metrics");
pub(super) const DOCUMENT: Operation = ("system.document", Method::GET, "/openapi.json");

impl Client {
    /// Whether the process lives: an answer says so.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn system_health(&self) -> Result<(), ClientError> {
        self.call(&HEALTH, &[]).done().await
    }

    /// Whether the node can do its work, part by part. A node that is not ready is an answer, and is not asked again.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn system_ready(&self) -> Result<ReadinessView, ClientError> {
        let call = self.call(&READY, &[]).once();
        let answer = call.answer(&[StatusCode::SERVICE_UNAVAILABLE]).await?;
        let told = read(READY.0, answer.status, &answer.body);
        match told {
            // Not the node, but something in its place.
            Err(_) if !answer.status.is_success() => {
                Err(ClientError::refused(READY.0, &answer, self.shared.clock.now()))
            }
            told => told,
        }
    }

    /// Reads how the node stands.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn system_status(&self) -> Result<StatusView, ClientError> {
        self.call(&STATUS, &[]).read().await
    }

    /// Takes a backup into the folder that is configured on the server.
    ///
    /// # Errors
    /// [`ClientError`]. The call is not repeated: each takes another backup.
    pub async fn system_backup(&self) -> Result<BackupView, ClientError> {
        let call = self.call(&BACKUP, &[]);
        call.waits(self.shared.transfer_timeout).read().await
    }

    /// The node's measurements, as OpenMetrics text.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn system_metrics(&self) -> Result<String, ClientError> {
        let answer = self.call(&METRICS, &[]).header("accept", "*/*").send().await?;
        String::from_utf8(answer.body.to_vec()).map_err(|error| ClientError::Answer {
            operation: METRICS.0,
            status: answer.status.as_u16(),
            source: error.into(),
        })
    }

    /// The document of the interface (OpenAPI 3.1).
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn system_document(&self) -> Result<Value, ClientError> {
        self.call(&DOCUMENT, &[]).read().await
    }
}
