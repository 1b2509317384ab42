//! Which agents get which tasks.

use arbiter_core::model::TaskId;
use arbiter_net::Method;
use arbiter_wire::http::{DecisionPageView, RouteView};
use arbiter_wire::task::TaskForm;

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const ROUTE: Operation = ("routing.route", Method::POST, "/v1/routing/route");
pub(super) const DECISIONS: Operation = ("routing.decisions", Method::GET, "/v1/routing/decisions");

impl Client {
    /// Asks who would get such a task now, and why; nothing is stored.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn routing_route(&self, task: &TaskForm) -> Result<RouteView, ClientError> {
        self.call(&ROUTE, &[]).json(task).repeatable().read().await
    }

    /// A page of decisions, newest first: which agents were chosen and why, perhaps only those about a task.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn routing_decisions(
        &self,
        task: Option<TaskId>,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<DecisionPageView, ClientError> {
        let query = [
            ("task", task.map(|task| task.to_string())),
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&DECISIONS, &[], &query).read().await
    }
}
