//! The state table: every cell, and laws over random lives.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::{
    AgentId, AttemptEnd, DeadReason, Failure, FailureClass, Fence, Holder, LaneId, NodeId, PrincipalId,
    Stage, StageOutcome, StateName, TaskId, TaskKind, TaskSpec, TenantId, Usage, VerificationPlan,
};
use crate::ports::{Effects, LeaseRef, LeaseStatus, Scope};

const AGENT: Holder = Holder::Agent(AgentId::from_bytes([1; 16]));
const NODE: Holder = Holder::Node(NodeId::from_bytes([2; 16]));

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000_000).plus(Duration::from_secs(seconds))
}

fn spec(stages: bool) -> TaskSpec {
    let mut spec = TaskSpec::new(TaskKind::new("analysis").expect("kind"), "t", "i");
    if stages {
        spec.review.verification = Some(VerificationPlan::default());
        spec.review.rubric = Some("r".into());
    }
    spec
}

fn new(spec: TaskSpec) -> Task {
    let new = NewTask {
        id: TaskId::from_bytes([9; 16]),
        command: CommandId::from_bytes([9; 16]),
        tenant: TenantId::from_bytes([8; 16]),
        submitter: PrincipalId::from_bytes([7; 16]),
        spec: spec.into(),
        idempotency: None,
        open_limit: None,
        effects: Effects::default(),
    };
    admit(&new, LaneId(1), 0, false, at(0)).next
}

/// A life in which every call has a command of its own.
struct Life {
    task: Task,
    calls: u8,
    loads: BTreeMap<Scope, i64>,
    ended: Vec<(Fence, AttemptEnd)>,
}

impl Life {
    fn new(spec: TaskSpec) -> Self {
        Self {
            task: new(spec),
            calls: 0,
            loads: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    fn expect(&self) -> Expect {
        self.task
            .state
            .lease()
            .map_or(Expect::Any, |lease| Expect::Lease {
                fence: lease.fence,
                holder: lease.holder,
            })
    }

    fn call(&mut self, action: &Command, expect: Expect, now: Timestamp) -> Result<Change, Refusal> {
        self.calls = self.calls.wrapping_add(1);
        let draft = RecordDraft::default();
        let rules = Rules::default();
        let mut bytes = [self.calls; 16];
        bytes[0] = 0xC0;
        let call = Call {
            command: CommandId::from_bytes(bytes),
            expect,
            draft: &draft,
            rules: &rules,
            now,
        };
        let change = apply(&self.task, action, call)?;
        for delta in &change.loads {
            *self.loads.entry(delta.scope.clone()).or_default() += i64::from(delta.by);
        }
        if let Some(ended) = &change.ended {
            self.ended.push((ended.open.fence, ended.outcome.clone()));
        }
        self.task = change.next.clone();
        Ok(change)
    }

    fn go(&mut self, action: &Command, now: Timestamp) {
        let expect = self.expect();
        self.call(action, expect, now).expect("a legal move");
    }
}

fn assign(to: Holder, acknowledged: bool) -> Command {
    let loads = match to {
        Holder::Agent(agent) => vec![Scope::Agent(agent)],
        Holder::Node(node) => vec![Scope::Node(node)],
    };
    Command::Assign {
        to,
        acknowledged,
        decision: None,
        loads,
    }
}

fn failure(class: FailureClass) -> Failure {
    Failure {
        class,
        code: None,
        message: "m".into(),
        usage: Usage::default(),
        not_enforced: None,
    }
}

fn fail(class: FailureClass) -> Command {
    Command::Fail {
        failure: failure(class),
        plan: RetryPlan::Retry {
            after: Some(Duration::ZERO),
        },
    }
}

fn stage(outcome: StageOutcome) -> Command {
    let plan = RetryPlan::Retry {
        after: Some(Duration::ZERO),
    };
    Command::Stage {
        outcome,
        schema: "s/1".into(),
        body: None,
        plan,
    }
}

fn why() -> String {
    "w".to_owned()
}

/// A task in each state, named.
fn everywhere() -> Vec<(&'static str, Life)> {
    let life = |stages: bool, steps: &[Command]| {
        let mut life = Life::new(spec(stages));
        steps.iter().for_each(|step| life.go(step, at(1)));
        life
    };
    let report = Command::Report(Box::default());
    let running = assign(AGENT, true);
    let mut waiting = spec(false);
    waiting.not_before = Some(at(1_000));
    vec![
        ("ready", life(false, &[])),
        ("waiting", Life::new(waiting)),
        ("assigned", life(false, &[assign(AGENT, false)])),
        ("running", life(false, std::slice::from_ref(&running))),
        ("review_ready", life(true, &[running.clone(), report.clone()])),
        (
            "in_review",
            life(true, &[running.clone(), report.clone(), assign(NODE, true)]),
        ),
        (
            "held",
            life(
                true,
                &[
                    running.clone(),
                    report.clone(),
                    assign(NODE, true),
                    stage(StageOutcome::Unsure {
                        why: HoldReason::Unscored,
                    }),
                ],
            ),
        ),
        ("succeeded", life(false, &[running.clone(), report])),
        (
            "failed",
            life(
                false,
                &[
                    running.clone(),
                    Command::Fail {
                        failure: failure(FailureClass::Agent),
                        plan: RetryPlan::Fail(FailReason::Policy),
                    },
                ],
            ),
        ),
        ("cancelled", life(false, &[Command::Cancel { why: why() }])),
        ("dead", life(false, &[Command::DeadLetter { why: why() }])),
    ]
}

#[test]
fn every_cell_of_the_table_is_as_published() {
    let commands: [(&str, Command, &[&str]); 15] = [
        ("assign agent", assign(AGENT, true), &["ready"]),
        ("assign node", assign(NODE, true), &["review_ready"]),
        ("acknowledge", Command::Acknowledge, &["assigned", "running"]),
        (
            "decline",
            Command::Decline { why: why() },
            &["assigned", "running"],
        ),
        (
            "revoke",
            Command::Revoke { why: why() },
            &["assigned", "running", "in_review"],
        ),
        (
            "report",
            Command::Report(Box::default()),
            &["assigned", "running"],
        ),
        ("fail", fail(FailureClass::Agent), &["assigned", "running"]),
        (
            "exceed",
            Command::Exceed {
                part: why(),
                usage: Usage::default(),
            },
            &["running"],
        ),
        ("stage", stage(StageOutcome::Passed), &["in_review"]),
        (
            "cancel",
            Command::Cancel { why: why() },
            &[
                "ready",
                "waiting",
                "assigned",
                "running",
                "review_ready",
                "in_review",
                "held",
            ],
        ),
        (
            "release",
            Command::Release {
                decision: ReleaseDecision::Resume,
                why: why(),
            },
            &["held"],
        ),
        ("retry", Command::Retry { why: why() }, &["failed"]),
        (
            "dead_letter",
            Command::DeadLetter { why: why() },
            &[
                "ready",
                "waiting",
                "assigned",
                "running",
                "review_ready",
                "in_review",
                "held",
            ],
        ),
        ("requeue", Command::Requeue { why: why() }, &["dead"]),
        (
            "prerequisite",
            Command::Prerequisite {
                id: TaskId::from_bytes([1; 16]),
                succeeded: true,
            },
            &[],
        ),
    ];
    for (word, command, allowed) in &commands {
        for (state, mut life) in everywhere() {
            let before = life.task.clone();
            let expect = life.expect();
            let answer = life.call(command, expect, at(2));
            if allowed.contains(&state) {
                assert!(answer.is_ok(), "{word} in {state}: {answer:?}");
                continue;
            }
            let refusal = answer.expect_err(&format!("{word} in {state}"));
            let expected = match expect {
                Expect::Any if command.needs_lease() => refusal == Refusal::LeaseRequired,
                _ => matches!(refusal, Refusal::Illegal { .. }),
            };
            assert!(expected, "{word} in {state}: {refusal:?}");
            assert_eq!(life.task, before, "a refusal changes nothing");
        }
    }
}

#[test]
fn a_stale_token_another_holder_and_an_old_version_are_refused() {
    let mut life = Life::new(spec(false));
    life.go(&assign(AGENT, true), at(1));
    let report = Command::Report(Box::default());
    for (fence, holder) in [(Fence(0), AGENT), (Fence(2), AGENT), (Fence(1), NODE)] {
        assert_eq!(
            life.call(&report, Expect::Lease { fence, holder }, at(2)),
            Err(Refusal::LeaseLost)
        );
    }
    let conflict = life.call(
        &Command::Cancel { why: why() },
        Expect::Version(Version(1)),
        at(2),
    );
    assert_eq!(conflict, Err(Refusal::VersionConflict { current: Version(2) }));
}

#[test]
fn a_repeated_command_changes_nothing_and_makes_no_record() {
    let task = new(spec(false));
    let (draft, rules) = (RecordDraft::default(), Rules::default());
    let command = CommandId::from_bytes([5; 16]);
    let call = Call {
        command,
        expect: Expect::Any,
        draft: &draft,
        rules: &rules,
        now: at(1),
    };
    let once = apply(&task, &Command::Cancel { why: why() }, call)
        .expect("cancelled")
        .next;
    let again = apply(&once, &Command::Cancel { why: why() }, call).expect("the same answer");
    assert_eq!((again.next, again.record), (once, None));
}

#[test]
fn the_first_loss_is_tried_again_at_once_later_ones_wait_and_the_last_is_poison() {
    let mut life = Life::new(spec(false));
    life.go(&assign(AGENT, true), at(0));
    assert_eq!(life.task.due_at(), Some(at(45)));
    assert_eq!(
        life.call(&Command::Due, Expect::Any, at(44)).map(|_| ()),
        Err(Refusal::NotDue)
    );
    life.go(&Command::Due, at(45));
    assert_eq!(life.task.state, State::Queued { wait: Wait::Ready });
    life.go(&assign(AGENT, true), at(45));
    life.go(&Command::Due, at(90));
    let State::Queued { wait } = life.task.state else {
        panic!("queued: {:?}", life.task.state)
    };
    let until = match wait {
        Wait::Until(until) => until,
        // Full jitter may draw no wait at all.
        Wait::Ready => at(90),
        Wait::Prerequisites(_) => panic!("{wait:?}"),
    };
    assert!(until <= at(92), "the second loss waits up to 2 s");
    if wait != Wait::Ready {
        life.go(&Command::Due, until);
    }
    life.go(&assign(AGENT, true), until);
    life.go(&Command::Due, until.plus(Duration::from_secs(45)));
    assert_eq!(
        life.task.state,
        State::DeadLettered {
            reason: DeadReason::Poison
        }
    );
    assert_eq!(
        life.ended
            .iter()
            .filter(|(_, end)| *end == AttemptEnd::Lost)
            .count(),
        3
    );
    life.go(&Command::Requeue { why: why() }, at(1_000));
    assert_eq!(
        (life.task.attempts, life.task.fence),
        (0, Fence(3)),
        "attempts start again, the fence goes on"
    );
}

#[test]
fn the_first_lost_lease_is_tried_again_at_once_also_after_a_crash() {
    let mut life = Life::new(spec(false));
    life.go(&assign(AGENT, true), at(0));
    life.go(&fail(FailureClass::Crash), at(1));
    let start = match life.task.state {
        State::Queued {
            wait: Wait::Until(until),
        } => {
            life.go(&Command::Due, until);
            until
        }
        _ => at(1),
    };
    life.go(&assign(AGENT, true), start);
    life.go(&Command::Due, start.plus(Duration::from_secs(45)));
    assert_eq!(life.task.state, State::Queued { wait: Wait::Ready });
    assert_eq!((life.task.losses, life.task.lost_leases), (2, 1));
    // Both took the agent down, so a third one makes it poison.
    let again = start.plus(Duration::from_secs(45));
    life.go(&assign(AGENT, true), again);
    life.go(&Command::Due, again.plus(Duration::from_secs(45)));
    let reason = DeadReason::Poison;
    assert_eq!(life.task.state, State::DeadLettered { reason });
}

#[test]
fn an_attempt_is_given_back_ten_times_and_then_counts() {
    let mut life = Life::new(spec(false));
    for _ in 0..10 {
        life.go(&assign(AGENT, false), at(1));
        life.go(&Command::Decline { why: why() }, at(1));
        assert_eq!((life.task.attempts, life.task.is_claimable()), (0, true));
    }
    for round in 1..=3 {
        assert_eq!(life.task.state.name(), StateName::Queued);
        let now = life.task.due_at().unwrap_or(at(2)).max(at(2));
        if !life.task.is_claimable() {
            life.go(&Command::Due, now);
        }
        life.go(&assign(AGENT, false), now);
        // Not acknowledged in time is a return as well.
        life.go(&Command::Due, now.plus(Duration::from_secs(10)));
        assert_eq!(life.task.attempts, round);
    }
    assert_eq!(
        life.task.state,
        State::DeadLettered {
            reason: DeadReason::AttemptsExhausted
        }
    );
}

#[test]
fn a_cancelled_attempt_keeps_its_slot_until_its_agent_is_heard_of_or_its_lease_ends() {
    let scope = Scope::Agent(AgentId::from_bytes([1; 16]));
    let mut life = Life::new(spec(false));
    life.go(&assign(AGENT, true), at(0));
    let Expect::Lease { fence, holder } = life.expect() else {
        panic!("a lease")
    };
    life.call(&Command::Cancel { why: why() }, Expect::Any, at(1))
        .expect("cancelled");
    assert_eq!((life.loads[&scope], life.task.due_at()), (1, Some(at(45))));
    let lease = LeaseRef {
        task: life.task.id,
        tenant: life.task.tenant,
        fence,
        holder,
        progress: None,
        usage: None,
        not_enforced: None,
    };
    let (status, change) = extend(&life.task, &lease, &Rules::default(), at(2));
    assert_eq!(status, LeaseStatus::Cancelled);
    assert_eq!(
        change.map(|change| (change.loads[0].by, change.next.due_at())),
        Some((-1, None))
    );
    life.go(&Command::Due, at(45));
    assert_eq!(
        (life.loads[&scope], life.task.version),
        (0, Version(3)),
        "giving a slot back is no transition"
    );
}

#[test]
fn heartbeats_extend_running_leases_only_and_name_what_is_over_budget() {
    let mut budgeted = spec(false);
    budgeted.constraints.budget.tokens = Some(10);
    let mut life = Life::new(budgeted);
    life.go(&assign(AGENT, false), at(0));
    let Expect::Lease { fence, holder } = life.expect() else {
        panic!("a lease")
    };
    let usage = |tokens| {
        Some(Usage {
            tokens: Some(tokens),
            ..Usage::default()
        })
    };
    let lease = |usage| LeaseRef {
        task: life.task.id,
        tenant: life.task.tenant,
        fence,
        holder,
        progress: None,
        usage,
        not_enforced: None,
    };
    let rules = Rules::default();
    assert_eq!(
        extend(&life.task, &lease(None), &rules, at(5)).0,
        LeaseStatus::Held { until: at(10) }
    );
    let (ten, eleven) = (lease(usage(10)), lease(usage(11)));
    life.go(&Command::Acknowledge, at(5));
    assert_eq!(
        extend(&life.task, &ten, &rules, at(20)).0,
        LeaseStatus::Held { until: at(65) }
    );
    assert_eq!(
        extend(&life.task, &eleven, &rules, at(20)).0,
        LeaseStatus::OverBudget { part: "tokens" }
    );
    let stale = LeaseRef {
        fence: Fence(9),
        ..ten
    };
    assert_eq!(
        extend(&life.task, &stale, &rules, at(20)),
        (LeaseStatus::Lost, None)
    );
}

#[test]
fn review_goes_stage_by_stage_and_an_error_is_never_passed() {
    let mut life = Life::new(spec(true));
    life.go(&assign(AGENT, true), at(0));
    life.go(&Command::Report(Box::default()), at(1));
    for _ in 0..4 {
        life.go(&assign(NODE, true), at(1));
        life.go(&stage(StageOutcome::Errored { message: why() }), at(1));
        let now = life.task.due_at().unwrap_or(at(1));
        if !life.task.is_claimable() {
            life.go(&Command::Due, now);
        }
    }
    life.go(&assign(NODE, true), at(200));
    life.go(&stage(StageOutcome::Errored { message: why() }), at(200));
    let held = State::Held {
        reason: HoldReason::StageUnavailable,
        resume: Resume::Stage(Stage::Verify),
    };
    assert_eq!(life.task.state, held);
    life.go(
        &Command::Release {
            decision: ReleaseDecision::Resume,
            why: why(),
        },
        at(201),
    );
    life.go(&assign(NODE, true), at(202));
    life.go(&stage(StageOutcome::Passed), at(203));
    assert!(matches!(
        life.task.state,
        State::Reviewing {
            stage: Stage::Judge,
            lease: None,
            ..
        }
    ));
    life.go(&assign(NODE, true), at(204));
    life.go(&stage(StageOutcome::Passed), at(205));
    assert_eq!(
        (&life.task.state, life.task.result),
        (&State::Succeeded, Some(Fence(1)))
    );
    assert_eq!(life.ended.len(), 1, "the attempt was written once, at its report");
}

fn any_command() -> impl Strategy<Value = Command> {
    let class = prop::sample::select(FailureClass::ALL);
    let outcome = prop_oneof![
        Just(StageOutcome::Passed),
        Just(StageOutcome::Failed { reasons: vec![why()] }),
        Just(StageOutcome::Unsure {
            why: HoldReason::Rule
        }),
        Just(StageOutcome::Errored { message: why() }),
    ];
    let decision = prop::sample::select(vec![
        ReleaseDecision::Resume,
        ReleaseDecision::Accept,
        ReleaseDecision::Reject,
    ]);
    prop_oneof![
        4 => any::<bool>().prop_map(|acknowledged| assign(AGENT, acknowledged)),
        3 => Just(assign(NODE, true)),
        2 => Just(Command::Acknowledge),
        1 => Just(Command::Decline { why: why() }),
        1 => Just(Command::Revoke { why: why() }),
        3 => Just(Command::Report(Box::default())),
        2 => class.prop_map(fail),
        1 => Just(Command::Exceed { part: why(), usage: Usage::default() }),
        3 => outcome.prop_map(stage),
        1 => Just(Command::Cancel { why: why() }),
        1 => decision.prop_map(|decision| Command::Release { decision, why: why() }),
        1 => Just(Command::Retry { why: why() }),
        1 => Just(Command::DeadLetter { why: why() }),
        1 => Just(Command::Requeue { why: why() }),
        4 => Just(Command::Due),
    ]
}

proptest! {
    #[test]
    fn laws_hold_over_random_lives(
        stages: bool,
        deadline in prop::option::of(1_u64..400),
        steps in prop::collection::vec((any_command(), 0_u64..40), 1..60),
    ) {
        let mut asked = spec(stages);
        asked.constraints.deadline = deadline.map(at);
        let mut life = Life::new(asked);
        let mut now = at(0);
        for (command, seconds) in steps {
            now = now.plus(Duration::from_secs(seconds));
            let before = life.task.clone();
            let expect = life.expect();
            let answer = life.call(&command, expect, now);
            let after = &life.task;
            match &answer {
                Ok(change) if change.record.is_some() => prop_assert_eq!(after.version, before.version.next()),
                _ => prop_assert_eq!(after.version, before.version),
            }
            if let Ok(Change { record: Some(record), .. }) = &answer {
                prop_assert!(!record.actions.is_empty(), "{:?}", command);
                prop_assert_eq!(record.resource.version, Some(after.version));
            }
            prop_assert!(after.fence >= before.fence);
            // The first lost lease is tried again at once, whatever happened before it; a later one never is, but for
            // a draw of no wait.
            prop_assert!(after.lost_leases <= after.losses);
            if after.lost_leases > before.lost_leases {
                prop_assert_eq!(&command, &Command::Due);
                let dead = matches!(after.state, State::DeadLettered { .. });
                if before.lost_leases == 0 {
                    prop_assert!(dead || after.state == State::Queued { wait: Wait::Ready }, "{:?}", after.state);
                } else {
                    let until = now.plus(Rules::default().backoff.ceiling(u32::from(after.attempts)));
                    let waits = matches!(after.state, State::Queued { wait: Wait::Until(at) } if at <= until);
                    prop_assert!(dead || waits, "{:?}", after.state);
                }
            }
            prop_assert!(after.attempts <= after.terms.max_attempts, "{:?}", after);
            prop_assert!(after.returns <= Rules::default().max_returns);
            // What is taken up is what the open lease and the cut ones hold, and never negative.
            let mut held: BTreeMap<Scope, i64> = BTreeMap::new();
            let open = after.state.lease().map(|lease| lease.loads.clone()).unwrap_or_default();
            for scope in open.into_iter().chain(after.releases.iter().flat_map(|release| release.loads.clone())) {
                *held.entry(scope).or_default() += 1;
            }
            let taken: BTreeMap<Scope, i64> =
                life.loads.iter().filter(|(_, count)| **count != 0).map(|(scope, count)| (scope.clone(), *count)).collect();
            prop_assert_eq!(taken, held);
            if before.state.is_closed() && after.version != before.version {
                prop_assert!(matches!(command, Command::Retry { .. } | Command::Requeue { .. }), "{:?}", command);
            }
            // A timer always makes progress at the moment that it was set for, and never before.
            match after.due_at() {
                None => prop_assert_eq!(life.call(&Command::Due, Expect::Any, at(100_000)).map(|_| ()), Err(Refusal::NotDue)),
                Some(due) => {
                    let copy = after.clone();
                    let early = Timestamp::from_micros(due.as_micros() - 1);
                    if early >= now {
                        prop_assert_eq!(life.call(&Command::Due, Expect::Any, early).map(|_| ()), Err(Refusal::NotDue));
                    }
                    let (draft, rules) = (RecordDraft::default(), Rules::default());
                    let command = CommandId::from_bytes([0xD0; 16]);
                    let call = Call { command, expect: Expect::Any, draft: &draft, rules: &rules, now: due.max(now) };
                    let moved = apply(&copy, &Command::Due, call);
                    prop_assert!(moved.is_ok_and(|change| change.next != copy), "stuck: {:?}", copy);
                }
            }
        }
        // Attempts are written once each.
        let mut fences: Vec<Fence> = life.ended.iter().map(|(fence, _)| *fence).collect();
        let count = fences.len();
        fences.sort_unstable();
        fences.dedup();
        prop_assert_eq!(fences.len(), count);
    }
}
