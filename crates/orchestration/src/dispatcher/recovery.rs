//! What is taken up again: attempts that an earlier run left, and claims whose answers were lost.

use std::time::Duration;

use arbiter_core::lifecycle::{Command, Expect, RetryPlan};
use arbiter_core::model::{CommandId, Failure, FailureClass, Holder, RecordDraft, Usage};
use arbiter_core::ports::{Assignment, Effects, StoreError, Transition};

use super::{Dispatcher, lock};
use crate::stop::Stop;

impl Dispatcher {
    /// Ends attempts that an earlier run of this node left behind: the process that ran them is gone. Call it once,
    /// before [`Self::run`], and only where nobody else can run these agents.
    ///
    /// # Errors
    /// The store's.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let mut transitions = Vec::new();
        for id in self.agents.keys() {
            for stored in self.parts.reader.held_by(Holder::Agent(*id)).await? {
                let Some(lease) = stored.task.state.lease() else {
                    continue;
                };
                let failure = Failure {
                    class: FailureClass::Crash,
                    code: Some("node_lost".to_owned()),
                    message: "the node that ran the attempt ended".to_owned(),
                    usage: Usage::default(),
                    not_enforced: None,
                };
                // As for a lost lease: the first loss is tried again at once.
                let after = (stored.task.losses == 0).then_some(Duration::ZERO);
                transitions.push(Transition {
                    command: self.parts.ids.command(),
                    task: stored.task.id,
                    tenant: stored.task.tenant,
                    expect: Expect::Lease {
                        fence: lease.fence,
                        holder: lease.holder,
                    },
                    action: Command::Fail {
                        failure,
                        plan: RetryPlan::Retry { after },
                    },
                    effects: Effects::of(RecordDraft::default()),
                });
            }
        }
        let count = transitions.len();
        if count > 0 {
            self.parts.store.apply(transitions).await?;
            tracing::info!(
                event = "attempts_recovered",
                count,
                "attempts of an earlier run were ended"
            );
        }
        Ok(count)
    }

    /// Starts what claims took whose answers were lost, and gives it to the polls of its agents.
    pub(super) async fn resume(&self, drain: &Stop) -> Result<(), StoreError> {
        let lost = lock(&self.lost).clone();
        if lost.is_empty() {
            return Ok(());
        }
        let mut agents = self.parts.offers.agents();
        agents.extend(self.agents.keys());
        let agents = agents.into_iter().map(Holder::Agent);
        let mut found = Vec::new();
        for holder in agents.chain([Holder::Node(self.parts.node)]) {
            for stored in self.parts.reader.held_by(holder).await? {
                let task = &stored.task;
                let taken = |claim: &CommandId| task.last_command == Some(claim.for_task(task.id));
                if let Some(fence) = task.state.lease().map(|lease| lease.fence)
                    && lost.iter().any(taken)
                {
                    found.push(Assignment {
                        stored,
                        to: holder,
                        fence,
                    });
                }
            }
        }
        lock(&self.lost).clear();
        found
            .into_iter()
            .for_each(|assignment| self.start(assignment, drain));
        Ok(())
    }
}
