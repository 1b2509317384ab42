//! Review of reported outputs: stage after stage, leased and fenced like attempts, with a node as holder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_core::lifecycle::{Command, Expect, Refusal, RetryPlan};
use arbiter_core::model::{
    DecisionId, Failure, FailureClass, Holder, NodeId, RecordDraft, Stage, StageOutcome, State, Task,
    TaskKind, TenantScope, Timestamp, Usage, Work,
};
use arbiter_core::ports::{
    Assignment, Candidate, Choice, Chooser, Clock, Effects, Hint, IdSource, LeaseRef, LeaseStatus, Metrics,
    Scope, StoreError, TaskReader, TaskStore, Transition, Wakeups,
};
use arbiter_core::services::{
    AttemptFailure, FailureHandler, ReviewStage, ReviewVerdict, ReviewWork, TrafficRules,
};
use futures_util::{FutureExt as _, pin_mut, select_biased};

use crate::attempt::{REPEAT_AFTER, REPEATS, beat_every};
use crate::stop::Stop;

/// Runs review stages.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct Reviewer {
    /// The node that holds the leases.
    pub node: NodeId,
    /// The installed stages.
    pub stages: Vec<Arc<dyn ReviewStage>>,
    /// Keeps tasks.
    pub store: Arc<dyn TaskStore>,
    /// Reads what was reported.
    pub reader: Arc<dyn TaskReader>,
    /// Says what follows a refused output.
    pub failures: Arc<dyn FailureHandler>,
    /// Tells others what changed.
    pub wakeups: Arc<dyn Wakeups>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
}

impl Reviewer {
    /// Whether any stage is installed here.
    pub fn has_stages(&self) -> bool {
        !self.stages.is_empty()
    }

    /// Whether a stage is installed here.
    pub fn has(&self, stage: Stage) -> bool {
        self.stages.iter().any(|installed| installed.stage() == stage)
    }

    /// Reviews one claimed task at its present stage and stores the verdict.
    ///
    /// An error of the stage's backend is stored as such: the store's rules try it again later and hold the task in
    /// the end. Nothing is ever passed because it could not be reviewed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the lease to end by itself; the stage is then reviewed again.
    pub async fn review(&self, assignment: Assignment, stop: Stop) {
        let task = &assignment.stored.task;
        let State::Reviewing { stage, .. } = task.state else {
            return;
        };
        let work = self.verdict(stage, &assignment);
        let keep = self.keep(&assignment);
        pin_mut!(work, keep);
        let (verdict, plan) = select_biased! {
            // Given back on a stop: another node, or the next start, reviews again.
            () = stop.wait().fuse() => return self.give_back(&assignment).await,
            () = keep.fuse() => return,
            verdict = work.fuse() => verdict,
        };
        let action = Command::Stage {
            outcome: verdict.outcome,
            schema: verdict.schema,
            body: verdict.body,
            plan,
        };
        match self.hand_in(self.transition(&assignment, action)).await {
            Ok(Some(Ok(_))) => self.wakeups.publish(&[Hint::Task(task.id)]),
            Ok(Some(Err(refusal))) => {
                tracing::warn!(event = "verdict_refused", task.id = %task.id, error = %refusal, "a verdict was refused");
            }
            Ok(None) => {}
            // The lease ends by itself and the stage is reviewed again.
            Err(error) => {
                tracing::error!(event = "verdict_lost", task.id = %task.id, error = %error, "a verdict was not stored");
            }
        }
    }

    /// Stores a transition, again and with the same command while the store is away: a review may have been dear.
    async fn hand_in(&self, transition: Transition) -> Result<Option<Result<Task, Refusal>>, StoreError> {
        let mut repeats = 0;
        loop {
            match self.store.apply(vec![transition.clone()]).await {
                Err(error) if repeats < REPEATS && (error.is_transient() || error.may_have_applied()) => {
                    repeats += 1;
                    let until = self.clock.monotonic() + REPEAT_AFTER;
                    self.clock.sleep_until(until).await;
                }
                answer => return answer.map(|mut answers| answers.pop()),
            }
        }
    }

    /// Gives the lease back. When that fails it ends by itself.
    async fn give_back(&self, assignment: &Assignment) {
        let task = assignment.stored.task.id;
        let why = "the node is draining".to_owned();
        let revoke = self.transition(assignment, Command::Revoke { why });
        match self.store.apply(vec![revoke]).await {
            Ok(_) => self.wakeups.publish(&[Hint::Task(task)]),
            Err(error) => {
                tracing::warn!(event = "review_not_returned", task.id = %task, error = %error, "a review was not given back");
            }
        }
    }

    /// A transition asked for as the holder of the lease.
    fn transition(&self, assignment: &Assignment, action: Command) -> Transition {
        Transition {
            command: self.ids.command(),
            task: assignment.stored.task.id,
            tenant: assignment.stored.task.tenant,
            expect: Expect::Lease {
                fence: assignment.fence,
                holder: Holder::Node(self.node),
            },
            action,
            effects: Effects::of(RecordDraft::default()),
        }
    }

    async fn verdict(&self, stage: Stage, assignment: &Assignment) -> (ReviewVerdict, RetryPlan) {
        let task = &assignment.stored.task;
        let verdict = match self.run_stage(stage, assignment).await {
            Ok(verdict) => verdict,
            Err(message) => ReviewVerdict {
                outcome: StageOutcome::Errored { message },
                schema: "error/1".to_owned(),
                body: None,
            },
        };
        let plan = match &verdict.outcome {
            StageOutcome::Failed { reasons } => self.failures.plan(&AttemptFailure {
                task: task.id,
                tenant: task.tenant,
                kind: &assignment.stored.spec.kind,
                agent: task.attempt.as_ref().map(|open| open.agent),
                attempts: task.attempts,
                max_attempts: task.terms.max_attempts,
                failure: &Failure {
                    class: FailureClass::Review,
                    code: Some(stage.word().to_owned()),
                    message: reasons.join("; "),
                    usage: Usage::default(),
                    not_enforced: None,
                },
            }),
            _ => RetryPlan::Retry { after: None },
        };
        (verdict, plan)
    }

    async fn run_stage(&self, stage: Stage, assignment: &Assignment) -> Result<ReviewVerdict, String> {
        let Some(installed) = self.stages.iter().find(|installed| installed.stage() == stage) else {
            return Err(format!("the stage `{}` is not installed", stage.word()));
        };
        let task = &assignment.stored.task;
        let read = self
            .reader
            .history(TenantScope::Tenant(task.tenant), task.id)
            .await;
        let history = read.map_err(|error: StoreError| error.to_string())?;
        let work = ReviewWork {
            stored: assignment.stored.clone(),
            history,
        };
        installed.review(work).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
        })
    }

    /// Extends the lease until it is lost.
    async fn keep(&self, assignment: &Assignment) {
        let task = &assignment.stored.task;
        let every = beat_every(task);
        loop {
            self.clock.sleep_until(self.clock.monotonic() + every).await;
            let lease = LeaseRef {
                task: task.id,
                tenant: task.tenant,
                fence: assignment.fence,
                holder: Holder::Node(self.node),
                progress: None,
                usage: None,
                not_enforced: None,
            };
            match self.store.extend(vec![lease]).await.as_deref() {
                Ok([LeaseStatus::Held { .. }]) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(event = "heartbeat_failed", task.id = %task.id, error = %error, "a heartbeat failed");
                }
            }
        }
    }
}

/// Gives review work to this node and leaves attempts to the allocator's chooser, inside the limits of tenants.
pub(crate) struct ByWork {
    pub(crate) agents: Arc<dyn Chooser>,
    pub(crate) node: NodeId,
    pub(crate) review_slots: u32,
    pub(crate) rules: Arc<TrafficRules>,
    /// Strategy and kind of the choices that explored; not all of them come true.
    pub(crate) explored: Mutex<BTreeMap<DecisionId, (&'static str, TaskKind)>>,
}

impl ByWork {
    /// Counts the assignments whose choice explored, once they are made.
    pub(crate) fn count_explored(&self, assigned: &[Assignment], metrics: &dyn Metrics) {
        let explored = self.explored.lock().unwrap_or_else(PoisonError::into_inner);
        let open = assigned
            .iter()
            .filter_map(|assignment| assignment.stored.task.attempt.as_ref());
        for (policy, kind) in open.filter_map(|open| explored.get(&open.decision)) {
            let labels = [("policy", *policy), ("kind", kind.as_str())];
            metrics.count("routing.explored_total", &labels, 1);
        }
    }

    fn note_explored(&self, candidate: &Candidate, choice: &Choice) {
        if let (Some(decision), Work::Attempt(shape)) = (&choice.decision, &candidate.key.work)
            && decision.explore
        {
            let mut explored = self.explored.lock().unwrap_or_else(PoisonError::into_inner);
            explored.insert(decision.id, (decision.strategy, shape.kind.clone()));
        }
    }

    /// What a running task takes up of its tenant's limits.
    fn limits(&self, candidate: &Candidate) -> impl Iterator<Item = (Scope, u32)> {
        let tenant = candidate.key.tenant;
        let of_kind = match &candidate.key.work {
            Work::Attempt(shape) => Some((tenant, shape.kind.clone())),
            Work::Review(_) => None,
        };
        let of_tenant = self.rules.running_per_tenant.get(&tenant);
        let of_tenant = of_tenant.map(|limit| (Scope::Tenant(tenant), *limit));
        let of_kind = of_kind.and_then(|key| {
            let limit = *self.rules.running_per_kind.get(&key)?;
            Some((Scope::TenantKind(key.0, key.1), limit))
        });
        of_tenant.into_iter().chain(of_kind)
    }
}

impl Chooser for ByWork {
    fn choose(&self, candidates: &[Candidate], now: Timestamp) -> Vec<Option<Choice>> {
        let (review, attempts): (Vec<_>, Vec<_>) = candidates
            .iter()
            .enumerate()
            .partition(|(_, candidate)| matches!(candidate.key.work, Work::Review(_)));
        let mut answers: Vec<Option<Choice>> = vec![None; candidates.len()];
        for (place, _) in review {
            answers[place] = Some(Choice {
                to: Holder::Node(self.node),
                acknowledged: true,
                loads: vec![(Scope::Node(self.node), self.review_slots)],
                decision: None,
            });
        }
        let (places, attempts): (Vec<usize>, Vec<Candidate>) = attempts
            .into_iter()
            .map(|(place, candidate)| (place, candidate.clone()))
            .unzip();
        if !attempts.is_empty() {
            for (place, mut choice) in places.into_iter().zip(self.agents.choose(&attempts, now)) {
                if let Some(choice) = &mut choice {
                    self.note_explored(&candidates[place], choice);
                    for (scope, limit) in self.limits(&candidates[place]) {
                        // Of two limits the stricter holds.
                        match choice.loads.iter_mut().find(|(known, _)| *known == scope) {
                            Some((_, known)) => *known = limit.min(*known),
                            None => choice.loads.push((scope, limit)),
                        }
                    }
                }
                answers[place] = choice;
            }
        }
        answers
    }
}
