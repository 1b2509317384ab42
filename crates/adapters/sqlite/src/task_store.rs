//! The port `TaskStore`.

use arbiter_core::lifecycle::{Command, Refusal};
use arbiter_core::model::{Json, LaneId, Report, Task};
use arbiter_core::ports::{
    ClaimRequest, Claimed, DueDone, LaneHead, LeaseRef, LeaseStatus, Retention, StoreError, SubmitRequest,
    Submitted, TaskStore, Transition,
};
use async_trait::async_trait;

use crate::store::SqliteStore;
use crate::{claim, due, purge, submit, transition};

#[async_trait]
impl TaskStore for SqliteStore {
    async fn submit(&self, request: SubmitRequest) -> Result<Vec<Submitted>, StoreError> {
        let bytes = request.tasks.iter().map(|new| {
            let input = new.spec.input.as_ref().map_or(0, Json::len_bytes);
            1024 + new.spec.instructions.len() + input
        });
        let bytes = bytes.sum();
        self.write("submit", bytes, move |group| submit::submit(group, &request))
            .await
    }

    async fn lanes(&self, after: Option<LaneId>, limit: usize) -> Result<Vec<LaneHead>, StoreError> {
        self.read("lanes", move |connection| claim::lanes(connection, after, limit))
            .await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        let bytes = request.lanes.iter().map(|quota| quota.take as usize * 1024).sum();
        self.write("claim", bytes, move |group| claim::claim(group, &request))
            .await
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Result<Vec<Result<Task, Refusal>>, StoreError> {
        let bytes = transitions
            .iter()
            .map(|transition| 1024 + carried(&transition.action))
            .sum();
        self.write("apply", bytes, move |group| {
            let results = transitions
                .iter()
                .map(|transition| transition::transit(group, transition));
            results.collect()
        })
        .await
    }

    async fn extend(&self, leases: Vec<LeaseRef>) -> Result<Vec<LeaseStatus>, StoreError> {
        self.write("extend", leases.len() * 512, move |group| {
            leases
                .iter()
                .map(|lease| transition::beat(group, lease))
                .collect()
        })
        .await
    }

    async fn due(&self, limit: usize) -> Result<DueDone, StoreError> {
        self.write("due", limit * 512, move |group| due::due(group, limit))
            .await
    }

    async fn purge(&self, retention: Retention) -> Result<usize, StoreError> {
        self.write("purge", retention.limit * 512, move |group| {
            purge::purge(group, &retention)
        })
        .await
    }
}

/// The bytes of what a command carries.
fn carried(action: &Command) -> usize {
    let json = |json: &Option<Json>| json.as_ref().map_or(0, Json::len_bytes);
    let list = |list: &[Json]| list.iter().map(Json::len_bytes).sum::<usize>();
    match action {
        Command::Report(report) => {
            let Report {
                output,
                claims,
                evidence,
                ..
            } = &**report;
            json(output) + list(claims) + list(evidence)
        }
        Command::Stage { body, .. } => json(body),
        _ => 0,
    }
}
