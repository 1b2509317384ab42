//! Attempts: acknowledging, reporting, failing, giving back, losing.

use std::time::Duration;

use arbiter_core::lifecycle::{Command, Expect, Refusal, RetryPlan};
use arbiter_core::model::{
    AttemptEnd, DeadReason, FailReason, Failure, FailureClass, Fence, HoldReason, Holder, Report, State,
    Usage, Version, Wait,
};
use arbiter_core::ports::{Scope, Transition};

use crate::builders::{
    agent, command, failure, new_task, new_task_with, outbox_entry, report, task, transition,
};
use crate::choosers::AssignAll;
use crate::contract::desk::{
    acts, cancel_command, fail_command, fail_with, name, report_command, waits_until,
};
use crate::contract::{Desk, Harness, Work, suite};

suite!($ task_attempts_contract, task_attempts, [
    acknowledging_starts_the_attempt,
    acknowledging_twice_is_no_transition,
    a_report_without_review_closes_the_task,
    a_report_acknowledges_an_assignment,
    a_repeated_report_gets_the_first_answer,
    a_repeated_failure_gets_the_first_answer,
    a_second_report_is_refused,
    a_stale_token_is_refused,
    another_agent_is_refused,
    a_move_of_the_holder_needs_the_lease,
    a_version_that_is_not_the_present_one_is_refused,
    a_task_of_another_tenant_is_not_found,
    what_the_table_does_not_have_is_illegal,
    a_declined_attempt_does_not_count,
    attempts_are_given_back_ten_times_at_most,
    an_assignment_that_was_not_acknowledged_is_given_back,
    a_revoked_attempt_keeps_its_slot_until_it_is_heard_of,
    a_failed_attempt_waits_and_avoids_its_agent,
    a_plan_decides_what_follows_a_failure,
    the_last_failed_attempt_is_the_dead_letter,
    the_first_loss_is_tried_at_once_and_the_second_waits,
    a_task_that_loses_every_attempt_is_poison,
    an_attempt_that_runs_too_long_fails_and_keeps_its_slot,
    a_report_above_the_budget_fails_the_task,
    transitions_of_one_call_apply_in_order,
    one_refused_transition_fails_alone,
    a_refused_transition_sends_nothing_outside,
]);

async fn assigned(desk: &Desk<'_>, new: arbiter_core::ports::NewTask) -> Work {
    let queued = desk.submit(new).await;
    let chooser = AssignAll {
        acknowledged: false,
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    desk.start_with(&queued, chooser).await
}

fn at_once() -> Command {
    fail_with(RetryPlan::Retry {
        after: Some(Duration::ZERO),
    })
}

fn decline() -> Command {
    Command::Decline {
        why: "busy".to_owned(),
    }
}

/// Acknowledging starts the attempt and its lease.
pub async fn acknowledging_starts_the_attempt(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = assigned(&desk, new_task(1)).await;
    desk.advance(Duration::from_secs(4)).await;
    let task = desk.done(desk.by(work, Command::Acknowledge)).await;
    assert_eq!((name(&task), task.version), ("running", Version(3)));
    assert_eq!(
        task.state.lease().map(|lease| lease.until),
        Some(desk.now().await.plus(h.rules().lease))
    );
    let open = task.attempt.expect("an open attempt");
    assert_eq!(
        (open.acknowledged_at, open.started_at),
        (Some(desk.now().await), desk.now().await)
    );
    assert_eq!((open.number, open.fence, open.agent), (1, work.fence, agent(1)));
}

/// Acknowledging what runs already is allowed and makes no transition.
pub async fn acknowledging_twice_is_no_transition(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let before = desk.get(work.task).await;
    assert_eq!(desk.done(desk.by(work, Command::Acknowledge)).await, before);
    desk.check_versions(work.task).await;
}

/// A report of a task without review stages closes it; the attempt is kept with the report.
pub async fn a_report_without_review_closes_the_task(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    desk.advance(Duration::from_secs(2)).await;
    let used = Usage {
        tokens: Some(7),
        ..Usage::default()
    };
    let handed_in = Report {
        usage: used,
        not_enforced: Some(vec!["network".to_owned()]),
        ..report()
    };
    let hand_in = desk.by(work, Command::Report(Box::new(handed_in.clone())));
    let task = desk.done(hand_in.clone()).await;
    assert_eq!(
        (task.state, task.result, task.attempt),
        (State::Succeeded, Some(work.fence), None)
    );
    let history = desk.history(work.task).await;
    assert_eq!(history.attempts.len(), 1);
    let attempt = &history.attempts[0];
    assert_eq!(
        (attempt.ended_at, attempt.command, attempt.usage),
        (desk.now().await, hand_in.command, used)
    );
    assert_eq!(attempt.outcome, AttemptEnd::Reported(handed_in));
    assert_eq!(attempt.not_enforced(), Some(&["network".to_owned()][..]));
    assert_eq!((attempt.open.number, attempt.open.fence), (1, work.fence));
    let tally = desk
        .stores()
        .reader
        .tally(crate::contract::desk::TENANT)
        .await
        .expect("tally");
    assert_eq!((tally.open, tally.running), (0, 0));
    assert_eq!(desk.stores().reader.held_by(work.holder).await.expect("held"), []);
}

/// A report of an agent that has not acknowledged does both in one transition.
pub async fn a_report_acknowledges_an_assignment(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = assigned(&desk, new_task(1)).await;
    let task = desk.done(desk.by(work, report_command())).await;
    assert_eq!((task.state, task.version), (State::Succeeded, Version(3)));
    let leaves = desk.leaves_of(work.task).await;
    assert_eq!(acts(&leaves[2]), ["acknowledged", "reported", "closed"]);
}

/// A report that is sent again gets the task as it is, however much has happened to it since.
pub async fn a_repeated_report_gets_the_first_answer(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let hand_in = desk.by(work, report_command());
    let first = desk.done(hand_in.clone()).await;
    let leaves = desk.leaves().await.len();
    assert_eq!(desk.done(hand_in).await, first);
    assert_eq!(desk.leaves().await.len(), leaves, "a repeat has no leaf");

    let under_review = desk
        .running(new_task_with(2, |spec| {
            spec.review.rubric = Some("clarity".to_owned());
        }))
        .await;
    let hand_in = desk.by(under_review, report_command());
    desk.done(hand_in.clone()).await;
    desk.done(desk.order(under_review.task, cancel_command())).await;
    let again = desk.done(hand_in).await;
    assert_eq!(again, desk.get(under_review.task).await);
    desk.check_versions(under_review.task).await;
}

/// A failure that is sent again gets the task as it is, also when somebody else has it by then.
pub async fn a_repeated_failure_gets_the_first_answer(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let gave_up = desk.by(work, at_once());
    let queued = desk.done(gave_up.clone()).await;
    desk.start_by(&queued, agent(2)).await;
    let again = desk.done(gave_up).await;
    assert_eq!((name(&again), again.attempts), ("running", 2));
    assert_eq!(desk.history(work.task).await.attempts.len(), 1);
    desk.check_versions(work.task).await;
}

/// A second report by another command is refused and audited.
pub async fn a_second_report_is_refused(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    desk.done(desk.by(work, report_command())).await;
    assert_eq!(
        desk.refused(desk.by(work, report_command())).await,
        Refusal::LeaseLost
    );
    assert_eq!(desk.history(work.task).await.attempts.len(), 1);
}

/// A token from before the last assignment is refused, and the present holder goes on.
pub async fn a_stale_token_is_refused(h: &dyn Harness) {
    let desk = Desk::at(h);
    let first = desk.running(new_task(1)).await;
    desk.advance(h.rules().lease).await;
    desk.due_all().await;
    let queued = desk.get(first.task).await;
    let second = desk.start(&queued).await;
    assert!(second.fence > first.fence);
    for late in [report_command(), fail_command(), decline(), Command::Acknowledge] {
        assert_eq!(desk.refused(desk.by(first, late)).await, Refusal::LeaseLost);
    }
    assert_eq!(
        desk.done(desk.by(second, report_command())).await.state,
        State::Succeeded
    );
}

/// Another agent is refused, though it knows the token.
pub async fn another_agent_is_refused(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let other = Work {
        holder: Holder::Agent(agent(2)),
        ..work
    };
    assert_eq!(
        desk.refused(desk.by(other, report_command())).await,
        Refusal::LeaseLost
    );
    desk.done(desk.by(work, report_command())).await;
}

/// What only the holder may do needs the token.
pub async fn a_move_of_the_holder_needs_the_lease(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    for action in [report_command(), fail_command(), decline(), Command::Acknowledge] {
        assert_eq!(
            desk.refused(desk.order(work.task, action)).await,
            Refusal::LeaseRequired
        );
    }
}

/// A transition that expects another version is refused; the right one passes.
pub async fn a_version_that_is_not_the_present_one_is_refused(h: &dyn Harness) {
    let desk = Desk::at(h);
    let task = desk.submit(new_task(1)).await;
    let cancel = |version| Transition {
        expect: Expect::Version(Version(version)),
        ..desk.order(task.id, cancel_command())
    };
    let conflict = Refusal::VersionConflict { current: Version(1) };
    assert_eq!(desk.refused(cancel(2)).await, conflict);
    assert_eq!(desk.done(cancel(1)).await.state, State::Cancelled);
}

/// A task of another tenant, or none at all, is not found; the refusal is audited where the caller belongs.
pub async fn a_task_of_another_tenant_is_not_found(h: &dyn Harness) {
    let desk = Desk::at(h);
    let stored = desk.submit(new_task(1)).await;
    let foreign = desk.in_tenant(2, desk.order(stored.id, cancel_command()));
    assert_eq!(desk.refused(foreign).await, Refusal::NotFound);
    let leaves = desk.leaves_of(stored.id).await;
    assert_eq!(leaves[1].tenant, crate::builders::tenant(2));
    assert_eq!(
        desk.refused(desk.order(task(9), cancel_command())).await,
        Refusal::NotFound
    );
}

/// A move that the state table does not have is refused with its name.
pub async fn what_the_table_does_not_have_is_illegal(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let requeue = Command::Requeue { why: String::new() };
    let illegal = Refusal::Illegal {
        from: arbiter_core::model::StateName::Running,
        command: "requeue",
    };
    assert_eq!(desk.refused(desk.order(work.task, requeue)).await, illegal);
    desk.done(desk.by(work, report_command())).await;
    let cancel = desk.refused(desk.order(work.task, cancel_command())).await;
    assert_eq!(cancel.code(), "illegal_transition");
}

/// A declined attempt does not count, and its agent is avoided.
pub async fn a_declined_attempt_does_not_count(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = assigned(&desk, new_task(1)).await;
    let task = desk.done(desk.by(work, decline())).await;
    assert_eq!(task.state, State::Queued { wait: Wait::Ready });
    assert_eq!(
        (task.attempts, task.returns, task.avoid.as_slice()),
        (0, 1, [agent(1)].as_slice())
    );
    let outcome = &desk.history(work.task).await.attempts[0].outcome;
    assert_eq!(
        *outcome,
        AttemptEnd::Returned {
            why: "busy".to_owned()
        }
    );
}

/// Attempts are given back at most ten times; from then on they count.
pub async fn attempts_are_given_back_ten_times_at_most(h: &dyn Harness) {
    let desk = Desk::at(h);
    let mut task = desk
        .submit(new_task_with(1, |spec| spec.constraints.max_attempts = 2))
        .await;
    for returned in 1..=10 {
        let work = desk.start(&task).await;
        task = desk.done(desk.by(work, decline())).await;
        assert_eq!((task.attempts, task.returns), (0, returned));
    }
    let work = desk.start(&task).await;
    task = desk.done(desk.by(work, decline())).await;
    assert_eq!((task.attempts, task.returns), (1, 10));
    desk.advance(h.rules().backoff.cap).await;
    desk.due_all().await;
    let work = desk.start(&task).await;
    task = desk.done(desk.by(work, decline())).await;
    assert_eq!(
        (name(&task), task.state.reason()),
        ("dead_lettered", Some("attempts_exhausted"))
    );
}

/// An assignment that was not acknowledged in time is given back.
pub async fn an_assignment_that_was_not_acknowledged_is_given_back(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = assigned(&desk, new_task(1)).await;
    desk.advance(
        h.rules()
            .acknowledge_within
            .checked_sub(Duration::from_micros(1))
            .expect("time"),
    )
    .await;
    desk.due_all().await;
    assert_eq!(name(&desk.get(work.task).await), "assigned");
    desk.advance(Duration::from_micros(1)).await;
    desk.due_all().await;
    let task = desk.get(work.task).await;
    assert_eq!(task.state, State::Queued { wait: Wait::Ready });
    assert_eq!((task.attempts, task.returns, task.losses), (0, 1, 0));
    assert_eq!(
        desk.refused(desk.by(work, Command::Acknowledge)).await,
        Refusal::LeaseLost
    );
}

/// An attempt that is taken away does not count; its slot stays until the agent is heard of.
pub async fn a_revoked_attempt_keeps_its_slot_until_it_is_heard_of(h: &dyn Harness) {
    let desk = Desk::at(h);
    let scope = Scope::Agent(agent(1));
    let queued = desk.submit(new_task(1)).await;
    let chooser = AssignAll {
        loads: vec![(scope.clone(), 1)],
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    let work = desk.start_with(&queued, chooser).await;
    let revoke = Command::Revoke {
        why: "drained".to_owned(),
    };
    let task = desk.done(desk.order(work.task, revoke)).await;
    assert_eq!((name(&task), task.attempts, task.returns), ("queued", 0, 1));
    assert!(!desk.has_room(101, &scope, 1).await);
    assert_eq!(
        desk.extend(work.beat()).await,
        arbiter_core::ports::LeaseStatus::Lost
    );
    assert!(desk.has_room(102, &scope, 1).await);
}

/// A failed attempt is tried again after a back-off of at most the rules' ceiling, and its agent is avoided.
pub async fn a_failed_attempt_waits_and_avoids_its_agent(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let task = desk.done(desk.by(work, fail_command())).await;
    let waits = waits_until(&task).since(desk.now().await);
    assert!(waits <= h.rules().backoff.ceiling(1), "{waits:?}");
    assert_eq!((task.attempts, task.avoid.as_slice()), (1, [agent(1)].as_slice()));
    assert_eq!(
        desk.history(work.task).await.attempts[0].outcome,
        AttemptEnd::Failed(failure())
    );
    desk.advance(waits).await;
    desk.due_all().await;
    assert_eq!(
        desk.get(work.task).await.state,
        State::Queued { wait: Wait::Ready }
    );
}

/// The plan decides what follows a failure: a wait of its own, a hold, the end.
pub async fn a_plan_decides_what_follows_a_failure(h: &dyn Harness) {
    let desk = Desk::at(h);
    let after = Duration::from_secs(90);
    let plans = [
        (RetryPlan::Retry { after: Some(after) }, "queued", None),
        (RetryPlan::Hold(HoldReason::RetryPlan), "held", Some("retry_plan")),
        (RetryPlan::Fail(FailReason::Policy), "failed", Some("policy")),
        (
            RetryPlan::DeadLetter(DeadReason::Poison),
            "dead_lettered",
            Some("poison"),
        ),
    ];
    for (number, (plan, state, reason)) in (1..).zip(plans) {
        let work = desk.running(new_task(number)).await;
        let task = desk.done(desk.by(work, fail_with(plan))).await;
        assert_eq!((name(&task), task.state.reason()), (state, reason));
        if number == 1 {
            assert_eq!(waits_until(&task), desk.now().await.plus(after));
        }
    }
}

/// The task is dead-lettered by the failure of its last attempt, not before and not after.
pub async fn the_last_failed_attempt_is_the_dead_letter(h: &dyn Harness) {
    let desk = Desk::at(h);
    for max_attempts in 1..=3_u16 {
        let number = u64::from(max_attempts);
        let new = new_task_with(number, |spec| spec.constraints.max_attempts = max_attempts);
        let mut task = desk.submit(new).await;
        for attempt in 1..=max_attempts {
            assert_eq!(name(&task), "queued");
            let work = desk.start(&task).await;
            task = desk.done(desk.by(work, at_once())).await;
            assert_eq!(task.attempts, attempt);
        }
        assert_eq!(
            (name(&task), task.state.reason()),
            ("dead_lettered", Some("attempts_exhausted"))
        );
    }
}

/// The first lost lease of a task requeues it at once; the second waits.
pub async fn the_first_loss_is_tried_at_once_and_the_second_waits(h: &dyn Harness) {
    let desk = Desk::at(h);
    let first = desk.running(new_task(1)).await;
    desk.advance(
        h.rules()
            .lease
            .checked_sub(Duration::from_micros(1))
            .expect("a lease"),
    )
    .await;
    desk.due_all().await;
    assert_eq!(name(&desk.get(first.task).await), "running");
    desk.advance(Duration::from_micros(1)).await;
    desk.due_all().await;
    let task = desk.get(first.task).await;
    assert_eq!(task.state, State::Queued { wait: Wait::Ready });
    assert_eq!(
        (task.attempts, task.losses, task.avoid.as_slice()),
        (1, 1, [agent(1)].as_slice())
    );
    assert_eq!(
        desk.history(first.task).await.attempts[0].outcome,
        AttemptEnd::Lost
    );
    desk.start(&task).await;
    desk.advance(h.rules().lease).await;
    desk.due(10).await;
    let task = desk.get(first.task).await;
    assert!(waits_until(&task).since(desk.now().await) <= h.rules().backoff.ceiling(2));
    assert_eq!(task.losses, 2);
}

/// A task whose every attempt lost its lease or took its agent down is poison.
pub async fn a_task_that_loses_every_attempt_is_poison(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk
        .submit(new_task_with(1, |spec| spec.constraints.max_attempts = 2))
        .await;
    desk.start(&queued).await;
    desk.advance(h.rules().lease).await;
    desk.due_all().await;
    let work = desk.start(&queued).await;
    let crash = Command::Fail {
        failure: Failure {
            class: FailureClass::Crash,
            ..failure()
        },
        plan: RetryPlan::Retry { after: None },
    };
    let task = desk.done(desk.by(work, crash)).await;
    assert_eq!(
        (name(&task), task.state.reason()),
        ("dead_lettered", Some("poison"))
    );
}

/// An attempt that runs too long fails, however often it is heard of; its slot stays until the agent hears of it.
pub async fn an_attempt_that_runs_too_long_fails_and_keeps_its_slot(h: &dyn Harness) {
    let desk = Desk::at(h);
    let timeout = Duration::from_secs(60);
    let queued = desk
        .submit(new_task_with(1, |spec| {
            spec.constraints.attempt_timeout = timeout;
        }))
        .await;
    let scope = Scope::Agent(agent(1));
    let chooser = AssignAll {
        loads: vec![(scope.clone(), 1)],
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    let work = desk.start_with(&queued, chooser).await;
    for _ in 0..2 {
        desk.advance(timeout / 2).await;
        desk.extend(work.beat()).await;
    }
    desk.due(10).await;
    let task = desk.get(work.task).await;
    assert_eq!((name(&task), task.attempts), ("queued", 1));
    let ended = &desk.history(work.task).await.attempts[0].outcome;
    assert!(
        matches!(ended, AttemptEnd::Failed(failure) if failure.class == FailureClass::Timeout),
        "{ended:?}"
    );
    assert!(!desk.has_room(101, &scope, 1).await);
    assert_eq!(
        desk.refused(desk.by(work, report_command())).await,
        Refusal::LeaseLost
    );
    assert!(desk.has_room(102, &scope, 1).await);
}

/// A report whose usage is above the budget fails the task; usage equal to the budget passes.
pub async fn a_report_above_the_budget_fails_the_task(h: &dyn Harness) {
    let desk = Desk::at(h);
    for (number, used, state) in [(1, 10, "succeeded"), (2, 11, "failed")] {
        let work = desk
            .running(new_task_with(number, |spec| {
                spec.constraints.budget.lines = Some(10);
            }))
            .await;
        let handed_in = Report {
            usage: Usage {
                lines: Some(used),
                ..Usage::default()
            },
            ..report()
        };
        let task = desk
            .done(desk.by(work, Command::Report(Box::new(handed_in))))
            .await;
        assert_eq!(name(&task), state);
        assert_eq!(desk.history(work.task).await.attempts.len(), 1);
    }
    assert_eq!(desk.get(task(2)).await.state.reason(), Some("over_budget"));
}

/// Several transitions of one task in one call apply one after the other.
pub async fn transitions_of_one_call_apply_in_order(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = assigned(&desk, new_task(1)).await;
    let answers = desk
        .apply_all(vec![
            desk.by(work, Command::Acknowledge),
            desk.by(work, report_command()),
        ])
        .await;
    let names: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(name)).collect();
    assert_eq!(names, [Ok("running"), Ok("succeeded")]);
    desk.check_versions(work.task).await;
}

/// A refused transition does not fail its neighbours; the answers stand in order.
pub async fn one_refused_transition_fails_alone(h: &dyn Harness) {
    let desk = Desk::at(h);
    let tasks = desk.submit_many(vec![new_task(1), new_task(2)]).await;
    let answers = desk
        .apply_all(vec![
            desk.order(tasks[0].id, cancel_command()),
            desk.order(task(9), cancel_command()),
            desk.order(tasks[0].id, cancel_command()),
            desk.order(tasks[1].id, cancel_command()),
        ])
        .await;
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().map(name).map_err(Refusal::code))
        .collect();
    assert_eq!(
        codes,
        [
            Ok("cancelled"),
            Err("not_found"),
            Err("illegal_transition"),
            Ok("cancelled")
        ]
    );
}

/// Entries for outside are written with a transition, and not with a refused or repeated one.
pub async fn a_refused_transition_sends_nothing_outside(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit(new_task(1)).await;
    let telling = |number, entry| {
        let mut order = transition(number, queued.id, cancel_command());
        order.effects.outbox = vec![outbox_entry(entry, "ends")];
        order
    };
    let answers = desk
        .apply_all(vec![telling(60, 1), telling(60, 2), telling(61, 3)])
        .await;
    assert!(answers[0].is_ok() && answers[1].is_ok() && answers[2].is_err());
    assert_eq!(
        answers[0].as_ref().ok().and_then(|task| task.last_command),
        Some(command(60))
    );
    let told = desk
        .stores()
        .outbox
        .take("ends", 9, Duration::from_secs(1))
        .await
        .expect("take");
    let told: Vec<_> = told.into_iter().map(|entry| entry.id).collect();
    assert_eq!(told, [outbox_entry(1, "ends").id]);
    assert_eq!(desk.get(queued.id).await.fence, Fence(0));
}
