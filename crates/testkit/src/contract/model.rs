//! Compares two stores over random operations: the same operations must get the same answers and leave the same
//! tasks, histories, tallies, documents and audit leaves.
//!
//! An adapter draws operations with [`operations`] and runs [`compare`] on a fresh harness of its own and one of the
//! store that is the model, inside a test of `proptest`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::lifecycle::{Command, Expect, ReleaseDecision, RetryPlan};
use arbiter_core::model::{
    DeadReason, FailReason, FailureClass, Fence, HoldReason, Holder, OnPrerequisiteFailure, Priority, Report,
    Stage, StageOutcome, TaskId, TenantScope, Timestamp, Usage,
};
use arbiter_core::ports::StoreError;
use arbiter_core::ports::{
    Candidate, Choice, Chooser, ClaimRequest, Effects, LaneQuota, LeaseRef, NewTask, Purge, Retention, Scope,
    SubmitRequest, TaskPage, TaskQuery, Transition,
};
use proptest::prelude::*;

use super::desk::review_plan;
use super::{Desk, Harness};
use crate::builders::{
    agent, command, failure, idempotency, kind, new_task_with, node, outbox_entry, report, task, tenant,
};

/// How many different tasks the operations name. Few, so that they meet.
const TASKS: u64 = 12;
const TENANTS: u64 = 2;
const AGENTS: u64 = 3;

/// One operation on both stores.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Submits tasks together.
    Submit {
        /// The tasks.
        tasks: Vec<Submission>,
        /// All or none.
        all_or_nothing: bool,
    },
    /// Claims from every lane that has work, some for agents, some for a node.
    Claim {
        /// How many from each lane.
        take: u32,
        /// Which agent gets tasks.
        agent: u64,
        /// Whether it has taken them already.
        acknowledged: bool,
        /// How many tasks the agent and its tenant may have.
        limit: u32,
    },
    /// Applies a command to a task.
    Apply {
        /// The task.
        task: u64,
        /// What is expected.
        expect: Expected,
        /// The command.
        action: Box<Command>,
        /// Whether the command of an earlier operation is sent again, and which.
        repeat: Option<usize>,
    },
    /// Extends the present lease of a task, or a stale one.
    Extend {
        /// The task.
        task: u64,
        /// Whether the token is stale.
        stale: bool,
        /// Tokens used so far.
        tokens: Option<u64>,
    },
    /// Does what is overdue.
    Due {
        /// At most so many.
        limit: usize,
    },
    /// Lets time pass.
    Advance {
        /// So long.
        by: Duration,
    },
    /// Deletes what closed so long ago.
    Purge {
        /// So long.
        age: Duration,
        /// At most so many.
        limit: usize,
    },
}

/// A task to submit.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The number of the task.
    pub number: u64,
    /// The number of its tenant follows from it: see [`Submission::tenant`].
    pub priority: u8,
    /// Tasks that it waits for.
    pub after: Vec<u64>,
    /// What happens when one of them fails.
    pub hold: bool,
    /// Its idempotency key and content.
    pub key: Option<(u8, u8)>,
    /// How many tasks its tenant may have open.
    pub open_limit: Option<u64>,
    /// Its review stages.
    pub stages: Vec<Stage>,
    /// How many attempts it may make.
    pub max_attempts: u16,
    /// How long after its submission its deadline is.
    pub deadline: Option<Duration>,
    /// How long after its submission it may start.
    pub not_before: Option<Duration>,
    /// How long an attempt may run.
    pub attempt_timeout: Duration,
    /// How many tokens it may use.
    pub tokens: Option<u64>,
}

impl Submission {
    /// The number of the tenant of a task: ids belong to one tenant for good.
    pub const fn tenant(number: u64) -> u64 {
        number % TENANTS + 1
    }
}

/// What a transition expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The lease that is open now, if one is.
    Present,
    /// A token that was given out before the present one.
    Stale,
    /// The present version, or one too low.
    Version {
        /// Whether it is the present one.
        present: bool,
    },
    /// Nothing.
    Nothing,
}

/// Draws up to `length` operations.
pub fn operations(length: usize) -> impl Strategy<Value = Vec<Operation>> {
    prop::collection::vec(operation(), 1..=length.max(1))
}

/// Draws one operation.
pub fn operation() -> impl Strategy<Value = Operation> {
    let advance = prop_oneof![
        Just(Duration::from_millis(1)),
        Just(Duration::from_secs(1)),
        Just(Duration::from_secs(10)),
        Just(Duration::from_secs(46)),
        (0_u64..200_000).prop_map(Duration::from_millis),
    ];
    prop_oneof![
        4 => (prop::collection::vec(submission(), 1..5), prop::bool::weighted(0.2))
            .prop_map(|(tasks, all_or_nothing)| Operation::Submit { tasks, all_or_nothing }),
        6 => (1_u32..4, 1..=AGENTS, any::<bool>(), 1_u32..5)
            .prop_map(|(take, agent, acknowledged, limit)| Operation::Claim { take, agent, acknowledged, limit }),
        12 => (1..=TASKS, expected(), action(), prop::option::weighted(0.1, 0_usize..40)).prop_map(
            |(task, expect, action, repeat)| Operation::Apply { task, expect, action: Box::new(action), repeat }
        ),
        3 => (1..=TASKS, prop::bool::weighted(0.3), prop::option::of(0_u64..20))
            .prop_map(|(task, stale, tokens)| Operation::Extend { task, stale, tokens }),
        3 => (1_usize..10).prop_map(|limit| Operation::Due { limit }),
        3 => advance.prop_map(|by| Operation::Advance { by }),
        1 => (0_u64..100, 1_usize..5)
            .prop_map(|(seconds, limit)| Operation::Purge { age: Duration::from_secs(seconds), limit }),
    ]
}

fn submission() -> impl Strategy<Value = Submission> {
    let seconds = |most: u64| (1..most).prop_map(Duration::from_secs);
    let stages = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::sample::subsequence(Stage::ALL.to_vec(), 1..=3),
    ];
    let identity = (
        1..=TASKS,
        prop::sample::select(vec![10_u8, 50, 90]),
        prop::option::weighted(0.2, (0_u8..3, 0_u8..2)),
    );
    let waits = (
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(1..=TASKS + 1, 1..3)],
        any::<bool>(),
        prop::option::weighted(0.2, 1_u64..8),
    );
    let terms = (
        1_u16..4,
        prop::option::weighted(0.15, seconds(120)),
        prop::option::weighted(0.15, seconds(60)),
        seconds(200),
        prop::option::weighted(0.3, 1_u64..15),
    );
    (identity, waits, stages, terms).prop_map(
        |(
            (number, priority, key),
            (after, hold, open_limit),
            stages,
            (max_attempts, deadline, not_before, attempt_timeout, tokens),
        )| Submission {
            number,
            priority,
            after,
            hold,
            key,
            open_limit,
            stages,
            max_attempts,
            deadline,
            not_before,
            attempt_timeout,
            tokens,
        },
    )
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        8 => Just(Expected::Present),
        1 => Just(Expected::Stale),
        1 => any::<bool>().prop_map(|present| Expected::Version { present }),
        3 => Just(Expected::Nothing),
    ]
}

fn plan() -> impl Strategy<Value = RetryPlan> {
    prop_oneof![
        4 => Just(RetryPlan::Retry { after: None }),
        3 => Just(RetryPlan::Retry { after: Some(Duration::ZERO) }),
        1 => Just(RetryPlan::Retry { after: Some(Duration::from_secs(20)) }),
        1 => Just(RetryPlan::Hold(HoldReason::RetryPlan)),
        1 => Just(RetryPlan::Fail(FailReason::Policy)),
        1 => Just(RetryPlan::DeadLetter(DeadReason::Poison)),
    ]
}

/// Draws a command that callers may give.
pub fn action() -> impl Strategy<Value = Command> {
    let why = || "drawn".to_owned();
    let used = |tokens| Usage {
        tokens,
        ..Usage::default()
    };
    let outcome = prop_oneof![
        4 => Just(StageOutcome::Passed),
        1 => Just(StageOutcome::Failed { reasons: vec![why()] }),
        1 => Just(StageOutcome::Unsure { why: HoldReason::LowConfidence }),
        2 => Just(StageOutcome::Errored { message: why() }),
    ];
    let decision = prop::sample::select(vec![
        ReleaseDecision::Resume,
        ReleaseDecision::Accept,
        ReleaseDecision::Reject,
    ]);
    prop_oneof![
        3 => Just(Command::Acknowledge),
        1 => Just(Command::Decline { why: why() }),
        1 => Just(Command::Revoke { why: why() }),
        4 => prop::option::of(0_u64..20).prop_map(move |tokens| {
            Command::Report(Box::new(Report { usage: used(tokens), ..report() }))
        }),
        3 => (plan(), any::<bool>()).prop_map(|(plan, crash)| {
            let class = if crash { FailureClass::Crash } else { FailureClass::Agent };
            Command::Fail { failure: arbiter_core::model::Failure { class, ..failure() }, plan }
        }),
        1 => Just(Command::Exceed { part: "tokens".to_owned(), usage: used(Some(99)) }),
        5 => (outcome, plan()).prop_map(|(outcome, plan)| Command::Stage {
            outcome,
            schema: "drawn/1".to_owned(),
            body: None,
            plan,
        }),
        1 => Just(Command::Cancel { why: why() }),
        2 => decision.prop_map(move |decision| Command::Release { decision, why: why() }),
        1 => Just(Command::Retry { why: why() }),
        1 => Just(Command::DeadLetter { why: why() }),
        1 => Just(Command::Requeue { why: why() }),
        1 => Just(Command::Due),
    ]
}

/// Runs the operations on both harnesses and compares every answer, then everything that can be read.
///
/// # Errors
/// The first difference.
pub async fn compare(
    left: &dyn Harness,
    right: &dyn Harness,
    operations: &[Operation],
) -> Result<(), TestCaseError> {
    compare_after(0, left, right, operations).await
}

/// As [`compare`], for two stores that hold the same already, because `done` operations were [played](play) before.
///
/// # Errors
/// The first difference.
pub async fn compare_after(
    done: usize,
    left: &dyn Harness,
    right: &dyn Harness,
    operations: &[Operation],
) -> Result<(), TestCaseError> {
    let (left, right) = (Runner::at(left), Runner::at(right));
    let mut commands: Vec<u64> = (1..=done as u64).collect();
    for (step, operation) in (done..).zip(operations) {
        let (one, other) = (
            left.run(step, operation, &commands).await,
            right.run(step, operation, &commands).await,
        );
        prop_assert_eq!(&one, &other, "answers to operation {}: {:?}", step, operation);
        commands.push(step as u64 + 1);
        let (one, other) = (left.shown().await, right.shown().await);
        prop_assert_eq!(one, other, "tasks after operation {}: {:?}", step, operation);
    }
    let (one, other) = (left.everything().await, right.everything().await);
    prop_assert_eq!(one, other, "what is left in the end");
    Ok(())
}

/// Runs operations on one harness.
pub async fn play(harness: &dyn Harness, operations: &[Operation]) {
    let runner = Runner::at(harness);
    let commands: Vec<u64> = (1..=operations.len() as u64).collect();
    for (step, operation) in operations.iter().enumerate() {
        runner.run(step, operation, &commands[..step]).await;
    }
}

/// Runs operations on one harness and checks after each that versions have one leaf each, that counts add up and that
/// nothing stays overdue.
pub async fn check(harness: &dyn Harness, operations: &[Operation]) {
    let runner = Runner::at(harness);
    let commands: Vec<u64> = (1..=operations.len() as u64).collect();
    let (mut seen, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for (step, operation) in operations.iter().enumerate() {
        runner
            .run(step, &without(operation.clone(), &gone), &commands[..step])
            .await;
        let here: BTreeSet<_> = runner
            .all()
            .await
            .tasks
            .iter()
            .map(|stored| stored.task.id)
            .collect();
        gone.extend(seen.difference(&here));
        seen = here;
    }
    runner.desk.due_all().await;
    let mut tallies = BTreeMap::new();
    for stored in runner.all().await.tasks {
        runner.desk.check_versions(stored.task.id).await;
        let open = tallies.entry(stored.task.tenant).or_insert(0);
        *open += u64::from(!stored.task.state.is_closed());
    }
    for (owner, open) in tallies {
        let tally = harness.stores().reader.tally(owner).await.expect("tally");
        assert_eq!(tally.open, open);
        assert_eq!(tally.queued + tally.running + tally.reviewing + tally.held, open);
    }
    super::audit_tree::check_proofs(&runner.desk).await;
}

/// The operation without the submission of tasks that were purged: ids are never used again.
fn without(mut operation: Operation, gone: &BTreeSet<TaskId>) -> Operation {
    if let Operation::Submit { tasks, .. } = &mut operation {
        tasks.retain(|submission| !gone.contains(&task(submission.number)));
    }
    operation
}

struct Runner<'a> {
    desk: Desk<'a>,
}

/// Gives review work to node 1 and the rest to one agent.
struct ByWork {
    agent: u64,
    acknowledged: bool,
    limit: u32,
}

impl Chooser for ByWork {
    fn choose(&self, candidates: &[Candidate], _: Timestamp) -> Vec<Option<Choice>> {
        let choose = |candidate: &Candidate| {
            let (to, own) = match candidate.key.work {
                arbiter_core::model::Work::Attempt(_) => {
                    (Holder::Agent(agent(self.agent)), Scope::Agent(agent(self.agent)))
                }
                arbiter_core::model::Work::Review(_) => (Holder::Node(node(1)), Scope::Node(node(1))),
            };
            let owner = candidate.key.tenant;
            let loads = vec![
                (own, self.limit),
                (Scope::Tenant(owner), self.limit + 1),
                (Scope::TenantKind(owner, kind()), self.limit + 2),
            ];
            Some(Choice {
                to,
                acknowledged: self.acknowledged,
                loads,
                decision: None,
            })
        };
        candidates.iter().map(choose).collect()
    }
}

impl<'a> Runner<'a> {
    fn at(harness: &'a dyn Harness) -> Self {
        Self {
            desk: Desk::at(harness),
        }
    }

    /// Runs one operation and gives its answer as text.
    async fn run(&self, step: usize, operation: &Operation, commands: &[u64]) -> String {
        let number = step as u64 + 1;
        let stores = self.desk.stores();
        match operation {
            Operation::Submit {
                tasks,
                all_or_nothing,
            } => {
                let now = self.desk.now().await;
                let tasks = (1..)
                    .zip(tasks)
                    .map(|(place, task)| Self::new_task(number * 100 + place, task, now));
                let request = SubmitRequest {
                    tasks: tasks.collect(),
                    all_or_nothing: *all_or_nothing,
                };
                answer(stores.tasks.submit(request).await)
            }
            Operation::Claim {
                take,
                agent,
                acknowledged,
                limit,
            } => {
                let lanes = stores.tasks.lanes(None, 100).await.expect("lanes");
                let quotas = lanes.iter().map(|head| LaneQuota {
                    lane: head.lane,
                    take: *take,
                });
                let request = ClaimRequest {
                    lanes: quotas.collect(),
                    chooser: Arc::new(ByWork {
                        agent: *agent,
                        acknowledged: *acknowledged,
                        limit: *limit,
                    }),
                    command: command(number),
                    effects: Effects::default(),
                };
                text(&lanes) + &answer(stores.tasks.claim(request).await)
            }
            Operation::Apply {
                task: id,
                expect,
                action,
                repeat,
            } => {
                let named = repeat
                    .and_then(|place| commands.get(place).copied())
                    .unwrap_or(number);
                let transition = self.transition(named, *id, *expect, (**action).clone()).await;
                answer(stores.tasks.apply(vec![transition]).await)
            }
            Operation::Extend {
                task: id,
                stale,
                tokens,
            } => {
                let Some(mut lease) = self.lease(task(*id)).await else {
                    return String::new();
                };
                if *stale {
                    lease.fence = Fence(lease.fence.0.saturating_sub(1));
                }
                lease.tenant = tenant(Submission::tenant(*id));
                lease.usage = tokens.map(|tokens| Usage {
                    tokens: Some(tokens),
                    ..Usage::default()
                });
                answer(stores.tasks.extend(vec![lease]).await)
            }
            Operation::Due { limit } => answer(stores.tasks.due(*limit).await),
            Operation::Advance { by } => {
                self.desk.advance(*by).await;
                String::new()
            }
            Operation::Purge { age, limit } => {
                let retention = Retention {
                    keyed_before: None,
                    which: Purge::ClosedBefore(self.desk.now().await.minus(*age)),
                    limit: *limit,
                    effects: Effects::default(),
                };
                answer(stores.tasks.purge(retention).await)
            }
        }
    }

    fn new_task(entry: u64, submission: &Submission, now: Timestamp) -> NewTask {
        let new = new_task_with(submission.number, |spec| {
            spec.priority = Priority::new(submission.priority).unwrap_or_default();
            spec.after = submission.after.iter().map(|number| task(*number)).collect();
            if submission.hold {
                spec.on_prerequisite_failure = OnPrerequisiteFailure::Hold;
            }
            spec.review = review_plan(&submission.stages);
            spec.constraints.max_attempts = submission.max_attempts;
            spec.constraints.deadline = submission.deadline.map(|after| now.plus(after));
            spec.constraints.attempt_timeout = submission.attempt_timeout;
            spec.constraints.budget.tokens = submission.tokens;
            spec.not_before = submission.not_before.map(|after| now.plus(after));
        });
        let mut effects = new.effects.clone();
        effects.outbox = vec![outbox_entry(entry, "drawn")];
        NewTask {
            tenant: tenant(Submission::tenant(submission.number)),
            command: command(entry),
            idempotency: submission
                .key
                .map(|(key, content)| idempotency(&key.to_string(), &content.to_string())),
            open_limit: submission.open_limit,
            effects,
            ..new
        }
    }

    async fn lease(&self, id: TaskId) -> Option<LeaseRef> {
        let stored = self.desk.find(TenantScope::All, id).await?;
        let open = stored.task.state.lease().map(|lease| (lease.fence, lease.holder));
        let cut = stored
            .task
            .releases
            .first()
            .map(|release| (release.fence, release.holder));
        let (fence, holder) = open.or(cut)?;
        Some(crate::builders::lease_ref(id, fence, holder))
    }

    async fn transition(&self, named: u64, number: u64, expect: Expected, action: Command) -> Transition {
        let id = task(number);
        let lease = self.lease(id).await;
        let version = self
            .desk
            .find(TenantScope::All, id)
            .await
            .map(|stored| stored.task.version);
        let fence = lease.as_ref().map_or(Fence(1), |lease| lease.fence);
        let holder = lease
            .as_ref()
            .map_or(Holder::Agent(agent(1)), |lease| lease.holder);
        let expect = match expect {
            Expected::Present => Expect::Lease { fence, holder },
            Expected::Stale => Expect::Lease {
                fence: Fence(fence.0.saturating_sub(1)),
                holder,
            },
            Expected::Version { present } => {
                let mut version = version.unwrap_or_default();
                version.0 -= u64::from(!present && version.0 > 0);
                Expect::Version(version)
            }
            Expected::Nothing => Expect::Any,
        };
        Transition {
            command: command(named),
            tenant: tenant(Submission::tenant(number)),
            expect,
            ..crate::builders::transition(named, id, action)
        }
    }

    async fn all(&self) -> TaskPage {
        let query = TaskQuery {
            limit: 1_000,
            ..TaskQuery::default()
        };
        self.desk
            .stores()
            .reader
            .list(TenantScope::All, query)
            .await
            .expect("list")
    }

    /// The tasks, as text.
    async fn shown(&self) -> String {
        text(&self.all().await)
    }

    /// Everything that can be read, as text.
    async fn everything(&self) -> String {
        let mut shown = self.shown().await;
        let stores = self.desk.stores();
        for number in 1..=TASKS {
            let _ = writeln!(shown, "{:?}", self.desk.history(task(number)).await);
        }
        for number in 1..=TENANTS {
            let _ = writeln!(shown, "{:?}", stores.reader.tally(tenant(number)).await);
        }
        let holders = (1..=AGENTS).map(|number| Holder::Agent(agent(number)));
        for holder in holders.chain([Holder::Node(node(1))]) {
            let _ = writeln!(shown, "{:?}", stores.reader.held_by(holder).await);
        }
        let _ = writeln!(shown, "{:?}", stores.tasks.lanes(None, 1_000).await);
        for leaf in self.desk.leaves().await {
            // the digest of a detail follows from a salt, which each store draws for itself
            let detailed = leaf.detail.is_some();
            let leaf = arbiter_audit::leaf::Leaf { detail: None, ..leaf };
            let _ = writeln!(shown, "{detailed} {leaf:?}");
        }
        let taken = stores
            .outbox
            .take("drawn", 10_000, Duration::from_secs(1))
            .await
            .expect("take");
        let _ = writeln!(shown, "{taken:?}");
        shown
    }
}

/// An answer as text; of errors only what callers decide by.
fn answer<T: Debug>(answer: Result<T, StoreError>) -> String {
    text(&answer.map_err(|error| (error.is_transient(), error.may_have_applied())))
}

fn text(value: &impl Debug) -> String {
    format!("{value:#?}")
}
