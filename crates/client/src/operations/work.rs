//! The agents' side: claim work, keep it, hand it in.

use std::time::Duration;

use arbiter_net::Method;
use arbiter_wire::http::{
    AttemptForm, ClaimForm, ClaimedView, DeclineForm, FailForm, HeartbeatForm, HeartbeatView, LeaseView,
    ReportForm, ToldForm,
};
use serde::Serialize;

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const CLAIM: Operation = ("work.claim", Method::POST, "/v1/work/claim");
pub(super) const ACKNOWLEDGE: Operation = ("work.acknowledge", Method::POST, "/v1/work/acknowledge");
pub(super) const HEARTBEAT: Operation = ("work.heartbeat", Method::POST, "/v1/work/heartbeat");
pub(super) const PROGRESS: Operation = ("work.progress", Method::POST, "/v1/work/progress");
pub(super) const REPORT: Operation = ("work.report", Method::POST, "/v1/work/report");
pub(super) const FAIL: Operation = ("work.fail", Method::POST, "/v1/work/fail");
pub(super) const DECLINE: Operation = ("work.decline", Method::POST, "/v1/work/decline");

/// How much longer than it may wait a claim may take.
const SLACK: Duration = Duration::from_secs(15);

impl Client {
    /// Asks for work and waits for it. An answer that was lost is given again at the next claim, because the server
    /// compares what the agent says that it holds.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    ///
    /// # Cancel safety
    /// What the server has given although the future was dropped is given again at the next claim.
    pub async fn work_claim(&self, claim: &ClaimForm) -> Result<ClaimedView, ClientError> {
        let wait = Duration::from_secs(claim.wait_seconds.into());
        let call = self.call(&CLAIM, &[]).json(claim).repeatable();
        call.waits(wait + SLACK).read().await
    }

    /// Takes an assignment. It is tried again if the form names its command.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn work_acknowledge(&self, attempt: &AttemptForm) -> Result<(), ClientError> {
        self.work_move(&ACKNOWLEDGE, attempt, attempt).await
    }

    /// Keeps leases and tells progress.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn work_heartbeat(&self, beats: &HeartbeatForm) -> Result<HeartbeatView, ClientError> {
        self.call(&HEARTBEAT, &[]).json(beats).repeatable().read().await
    }

    /// Tells progress of one attempt, and keeps its lease.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn work_progress(&self, told: &ToldForm) -> Result<LeaseView, ClientError> {
        self.call(&PROGRESS, &[]).json(told).repeatable().read().await
    }

    /// Hands in an output. It is tried again if the form names its command.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn work_report(&self, report: &ReportForm) -> Result<(), ClientError> {
        self.work_move(&REPORT, &report.attempt, report).await
    }

    /// Reports a failed attempt. It is tried again if the form names its command.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn work_fail(&self, failure: &FailForm) -> Result<(), ClientError> {
        self.work_move(&FAIL, &failure.attempt, failure).await
    }

    /// Gives an assignment back. It is tried again if the form names its command.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn work_decline(&self, decline: &DeclineForm) -> Result<(), ClientError> {
        self.work_move(&DECLINE, &decline.attempt, decline).await
    }

    async fn work_move<T: Serialize + Sync>(
        &self,
        operation: &Operation,
        attempt: &AttemptForm,
        body: &T,
    ) -> Result<(), ClientError> {
        let call = self.call(operation, &[]).json(body);
        let call = match attempt.command {
            Some(_) => call.repeatable(),
            None => call,
        };
        call.done().await
    }
}
