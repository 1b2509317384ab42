//! What cases do again and again, in one word each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbiter_audit::leaf::Leaf;
use arbiter_audit::word::Word;
use arbiter_core::lifecycle::{Command, Expect, Refusal};
use arbiter_core::model::{
    AgentId, AuditAction, Fence, Holder, LaneId, Stage, StageOutcome, State, StoredTask, Task, TaskId,
    TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    AuditEntry, Chooser, ClaimRequest, Claimed, DueDone, Effects, LaneQuota, LeaseRef, LeaseStatus, NewTask,
    Scope, SubmitRequest, Submitted, TaskHistory, Transition,
};

use super::{Harness, Stores};
use crate::builders::{agent, command, failure, lane_of, node, report, submit_each, tenant, transition};
use crate::choosers::AssignAll;

/// A harness with short words for what most cases do. Every error of the store fails the case.
pub struct Desk<'a> {
    harness: &'a dyn Harness,
    commands: AtomicU64,
}

/// A lease that somebody holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// The task.
    pub task: TaskId,
    /// The token.
    pub fence: Fence,
    /// The holder.
    pub holder: Holder,
}

impl Work {
    /// What the holder of a lease says in a transition.
    pub const fn expect(&self) -> Expect {
        Expect::Lease {
            fence: self.fence,
            holder: self.holder,
        }
    }

    /// A heartbeat that tells nothing.
    pub fn beat(&self) -> LeaseRef {
        crate::builders::lease_ref(self.task, self.fence, self.holder)
    }
}

impl std::fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl<'a> Desk<'a> {
    /// A desk at a harness. Commands that it makes up are numbered from 1 000 000.
    pub const fn at(harness: &'a dyn Harness) -> Self {
        Self {
            harness,
            commands: AtomicU64::new(1_000_000),
        }
    }

    /// The ports.
    pub fn stores(&self) -> &'a Stores {
        self.harness.stores()
    }

    /// A number that was not used for a command yet.
    pub fn number(&self) -> u64 {
        self.commands.fetch_add(1, Ordering::Relaxed)
    }

    /// The time.
    pub async fn now(&self) -> Timestamp {
        self.harness.now().await
    }

    /// Lets time pass.
    pub async fn advance(&self, by: Duration) {
        self.harness.advance(by).await;
    }

    /// Submits.
    pub async fn submit_request(&self, request: SubmitRequest) -> Vec<Submitted> {
        self.stores().tasks.submit(request).await.expect("submit")
    }

    /// Submits tasks that must be stored.
    pub async fn submit_many(&self, tasks: Vec<NewTask>) -> Vec<Task> {
        let answers = self.submit_request(submit_each(tasks)).await;
        answers.into_iter().map(stored).collect()
    }

    /// Submits a task that must be stored.
    pub async fn submit(&self, new: NewTask) -> Task {
        self.submit_many(vec![new]).await.remove(0)
    }

    /// Claims.
    pub async fn claim_lanes(&self, lanes: &[(LaneId, u32)], chooser: Arc<dyn Chooser>) -> Claimed {
        let lanes = lanes
            .iter()
            .map(|&(lane, take)| LaneQuota { lane, take })
            .collect();
        let request = ClaimRequest {
            lanes,
            chooser,
            command: command(self.number()),
            effects: Effects::default(),
        };
        self.stores().tasks.claim(request).await.expect("claim")
    }

    /// Claims from one lane.
    pub async fn claim(&self, lane: LaneId, take: u32, chooser: impl Chooser + 'static) -> Claimed {
        self.claim_lanes(&[(lane, take)], Arc::new(chooser)).await
    }

    /// Gives a queued task, which must be the first of its lane, to agent 1, which has taken it already.
    pub async fn start(&self, task: &Task) -> Work {
        self.start_with(task, AssignAll::to(Holder::Agent(agent(1))))
            .await
    }

    /// Gives a queued task, which must be the first of its lane, to an agent, which has taken it already.
    pub async fn start_by(&self, task: &Task, by: AgentId) -> Work {
        self.start_with(task, AssignAll::to(Holder::Agent(by))).await
    }

    /// Gives a task, which must be the first of its lane, to whom the chooser says.
    pub async fn start_with(&self, task: &Task, chooser: AssignAll) -> Work {
        let now = self.get(task.id).await;
        let mut claimed = self.claim(now.lane_now(), 1, chooser).await;
        assert_eq!(claimed.full, [], "the scopes have room");
        let assigned = claimed.assigned.pop().expect("the task is assigned");
        assert_eq!(
            assigned.stored.task.id, task.id,
            "the task is the first of its lane"
        );
        Work {
            task: task.id,
            fence: assigned.fence,
            holder: assigned.to,
        }
    }

    /// Submits a task and gives it to agent 1.
    pub async fn running(&self, new: NewTask) -> Work {
        let task = self.submit(new).await;
        self.start(&task).await
    }

    /// Submits a task with these stages and has it reported, so that it waits for its first stage.
    pub async fn reviewing(&self, mut new: NewTask, stages: &[Stage]) -> Task {
        Arc::make_mut(&mut new.spec).review = review_plan(stages);
        let work = self.running(new).await;
        self.done(self.by(work, Command::Report(Box::new(report()))))
            .await
    }

    /// Gives a task that waits for review to node 1.
    pub async fn review(&self, task: &Task) -> Work {
        self.start_with(task, AssignAll::to(Holder::Node(node(1)))).await
    }

    /// Has node 1 review the task with this outcome.
    pub async fn verdict(&self, task: &Task, outcome: StageOutcome) -> Task {
        let work = self.review(task).await;
        self.done(self.by(work, stage(outcome))).await
    }

    /// A transition asked for by the holder of a lease.
    pub fn by(&self, work: Work, action: Command) -> Transition {
        Transition {
            expect: work.expect(),
            ..self.order(work.task, action)
        }
    }

    /// A transition that expects nothing.
    pub fn order(&self, task: TaskId, action: Command) -> Transition {
        transition(self.number(), task, action)
    }

    /// Applies transitions.
    pub async fn apply_all(&self, transitions: Vec<Transition>) -> Vec<Result<Task, Refusal>> {
        self.stores().tasks.apply(transitions).await.expect("apply")
    }

    /// Applies one transition.
    pub async fn apply(&self, transition: Transition) -> Result<Task, Refusal> {
        self.apply_all(vec![transition]).await.remove(0)
    }

    /// Applies a transition that must be allowed.
    pub async fn done(&self, transition: Transition) -> Task {
        let action = transition.action.word();
        self.apply(transition).await.expect(action)
    }

    /// Applies a transition that must be refused, and checks that the task is as it was and that exactly one leaf
    /// tells of the refusal.
    pub async fn refused(&self, transition: Transition) -> Refusal {
        let (task, leaves) = (transition.task, self.leaves().await.len());
        let before = self
            .stores()
            .reader
            .get(TenantScope::All, &[task])
            .await
            .expect("get");
        let refusal = self.apply(transition).await.expect_err("it must be refused");
        let after = self
            .stores()
            .reader
            .get(TenantScope::All, &[task])
            .await
            .expect("get");
        let added = self.leaves().await.split_off(leaves);
        assert_eq!(added.len(), 1, "a refusal has one leaf");
        let leaf = &added[0];
        assert_eq!(leaf.outcome.as_str(), "refused");
        assert_eq!(leaf.reason.as_ref().map(Word::as_str), Some(refusal.code()));
        let resource = leaf.resource.as_ref().expect("resource");
        assert_eq!(
            (resource.id.as_str(), resource.version),
            (task.to_string().as_str(), None)
        );
        let word = if refusal == Refusal::LeaseLost {
            "lease_lost"
        } else {
            "rejected"
        };
        assert!(acts(leaf).contains(&word), "{leaf:?}");
        // slots of a lost attempt may be given back: that is no transition
        let without_releases = |mut found: Vec<Option<StoredTask>>| {
            found
                .iter_mut()
                .flatten()
                .for_each(|stored| stored.task.releases.clear());
            found
        };
        assert_eq!(
            without_releases(before),
            without_releases(after),
            "a refusal changes nothing"
        );
        refusal
    }

    /// Extends a lease.
    pub async fn extend(&self, lease: LeaseRef) -> LeaseStatus {
        self.stores()
            .tasks
            .extend(vec![lease])
            .await
            .expect("extend")
            .remove(0)
    }

    /// Does what is overdue, once.
    pub async fn due(&self, limit: usize) -> DueDone {
        self.stores().tasks.due(limit).await.expect("due")
    }

    /// Does what is overdue until nothing is.
    pub async fn due_all(&self) {
        for _ in 0..1000 {
            if self.due(100).await.handled == 0 {
                return;
            }
        }
        panic!("something is overdue for ever");
    }

    /// A task that must exist.
    pub async fn get(&self, id: TaskId) -> Task {
        self.find(TenantScope::All, id)
            .await
            .expect("the task exists")
            .task
    }

    /// A task, if it can be seen.
    pub async fn find(&self, scope: TenantScope, id: TaskId) -> Option<StoredTask> {
        self.stores()
            .reader
            .get(scope, &[id])
            .await
            .expect("get")
            .remove(0)
    }

    /// The attempts and verdicts of a task.
    pub async fn history(&self, id: TaskId) -> TaskHistory {
        self.stores()
            .reader
            .history(TenantScope::All, id)
            .await
            .expect("history")
    }

    /// Whether `holder` could take one more with this limit: the only way to look at slots. A task of the numbered
    /// probe is submitted for tenant 9 and given back or left queued.
    pub async fn has_room(&self, probe: u64, scope: &Scope, limit: u32) -> bool {
        let new = NewTask {
            tenant: tenant(9),
            ..crate::builders::new_task(probe)
        };
        let lane = lane_of(&new).id();
        let task = self.submit(new).await;
        let chooser = AssignAll {
            loads: vec![(scope.clone(), limit)],
            ..AssignAll::to(Holder::Agent(agent(999)))
        };
        let claimed = self.claim(lane, 1, chooser).await;
        let room = claimed.full.is_empty();
        if room {
            let work = Work {
                task: task.id,
                fence: claimed.assigned[0].fence,
                holder: Holder::Agent(agent(999)),
            };
            let given_back = self.in_tenant(9, self.by(work, report_command()));
            self.done(given_back).await;
        } else {
            assert_eq!(claimed.full, [(task.id, scope.clone())]);
            let cancel = self.order(
                task.id,
                Command::Cancel {
                    why: "probe".to_owned(),
                },
            );
            self.done(self.in_tenant(9, cancel)).await;
        }
        room
    }

    /// The transition as one of another tenant.
    pub fn in_tenant(&self, number: u64, transition: Transition) -> Transition {
        Transition {
            tenant: tenant(number),
            ..transition
        }
    }

    /// Every entry of the audit log.
    pub async fn entries(&self) -> Vec<AuditEntry> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        self.stores().tree.sequence(usize::MAX).await.expect("sequence");
        loop {
            let more = self
                .stores()
                .log
                .read(entries.len() as u64, 500)
                .await
                .expect("read the log");
            if more.is_empty() {
                return entries;
            }
            entries.extend(more);
        }
    }

    /// Every leaf of the audit log.
    pub async fn leaves(&self) -> Vec<Leaf> {
        let entries = self.entries().await;
        entries
            .iter()
            .map(|entry| Leaf::decode(&entry.leaf).expect("a canonical leaf"))
            .collect()
    }

    /// The leaves about something, by its id.
    pub async fn leaves_of(&self, id: impl ToString) -> Vec<Leaf> {
        let id = id.to_string();
        let about = |leaf: &Leaf| leaf.resource.as_ref().is_some_and(|resource| resource.id == id);
        self.leaves().await.into_iter().filter(about).collect()
    }

    /// Checks that versions 1 to the task's present one have one leaf each, in order.
    pub async fn check_versions(&self, id: TaskId) {
        let leaves = self.leaves_of(id).await;
        let versions = leaves.iter().filter_map(|leaf| leaf.resource.as_ref()?.version);
        let versions: Vec<u64> = versions.collect();
        let expected: Vec<u64> = (1..=self.get(id).await.version.0).collect();
        assert_eq!(versions, expected, "one leaf per version of {id}");
    }
}

/// The task of an answer that must be a stored one.
pub(crate) fn stored(answer: Submitted) -> Task {
    match answer {
        Submitted::Stored(task) => *task,
        other => panic!("the task is stored: {other:?}"),
    }
}

/// The actions of a leaf.
pub(crate) fn acts(leaf: &Leaf) -> Vec<&str> {
    leaf.actions.as_slice().iter().map(Word::as_str).collect()
}

/// Whether a leaf has these actions and no others.
pub(crate) fn is_about(leaf: &Leaf, actions: &[AuditAction]) -> bool {
    let words: Vec<&str> = actions.iter().map(|action| action.word()).collect();
    acts(leaf) == words
}

/// A report.
pub(crate) fn report_command() -> Command {
    Command::Report(Box::new(report()))
}

/// A failure that is tried again after the rules' back-off.
pub(crate) fn fail_command() -> Command {
    fail_with(arbiter_core::lifecycle::RetryPlan::Retry { after: None })
}

/// A failure that is followed by this plan.
pub(crate) fn fail_with(plan: arbiter_core::lifecycle::RetryPlan) -> Command {
    Command::Fail {
        failure: failure(),
        plan,
    }
}

/// A verdict whose failure is tried again at once.
pub(crate) fn stage(outcome: StageOutcome) -> Command {
    Command::Stage {
        outcome,
        schema: "test/1".to_owned(),
        body: Some(crate::builders::json("{\"checked\":1}")),
        plan: arbiter_core::lifecycle::RetryPlan::Retry {
            after: Some(Duration::ZERO),
        },
    }
}

/// Cancels.
pub(crate) fn cancel_command() -> Command {
    Command::Cancel {
        why: "not needed".to_owned(),
    }
}

/// The review plan that asks for these stages.
pub(crate) fn review_plan(stages: &[Stage]) -> arbiter_core::model::ReviewPlan {
    arbiter_core::model::ReviewPlan {
        verification: stages.contains(&Stage::Verify).then(Default::default),
        rubric: stages.contains(&Stage::Judge).then(|| "clarity".to_owned()),
        compliance: stages.contains(&Stage::Comply).then(Default::default),
    }
}

/// The state's name.
pub(crate) fn name(task: &Task) -> &'static str {
    task.state.name().word()
}

/// The moment until which a queued task waits.
pub(crate) fn waits_until(task: &Task) -> Timestamp {
    match task.state {
        State::Queued {
            wait: arbiter_core::model::Wait::Until(at),
        } => at,
        ref other => panic!("the task waits for a moment: {other:?}"),
    }
}

/// The tenant of nearly every case.
pub(crate) const TENANT: TenantId = tenant(1);
