//! Calls at the same time.

use std::collections::BTreeSet;

use arbiter_core::lifecycle::Refusal;
use arbiter_core::model::Holder;
use arbiter_core::ports::{NewTask, Scope, Submitted};
use futures_util::future::join_all;

use crate::builders::{agent, idempotency, lane_of, new_task, submit_each};
use crate::choosers::AssignAll;
use crate::contract::desk::{cancel_command, report_command};
use crate::contract::{Desk, Harness, Work, suite};

suite!($ task_races_contract, task_races, [
    two_claimers_never_get_the_same_task,
    claimers_together_never_exceed_a_limit,
    of_two_reports_one_is_taken,
    of_a_report_and_a_cancellation_one_wins,
    of_equal_submissions_one_is_stored,
    due_at_the_same_time_does_everything_once,
]);

/// Claimers at the same time never get the same task, and together get all of them.
pub async fn two_claimers_never_get_the_same_task(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many((1..=20).map(new_task).collect()).await;
    let lane = lane_of(&new_task(1)).id();
    let claims = (1..=8).map(|number| desk.claim(lane, 3, AssignAll::to(Holder::Agent(agent(number)))));
    let assigned: Vec<_> = join_all(claims)
        .await
        .into_iter()
        .flat_map(|claimed| claimed.assigned)
        .collect();
    let distinct: BTreeSet<_> = assigned.iter().map(|assigned| assigned.stored.task.id).collect();
    assert_eq!((assigned.len(), distinct.len()), (20, 20));
    for id in distinct {
        desk.check_versions(id).await;
    }
}

/// Claimers at the same time never take more of a scope than it has.
pub async fn claimers_together_never_exceed_a_limit(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many((1..=20).map(new_task).collect()).await;
    let lane = lane_of(&new_task(1)).id();
    let chooser = AssignAll {
        loads: vec![(Scope::Agent(agent(1)), 5)],
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    let claims = (0..6).map(|_| desk.claim(lane, 4, chooser.clone()));
    let assigned: usize = join_all(claims)
        .await
        .iter()
        .map(|claimed| claimed.assigned.len())
        .sum();
    assert_eq!(assigned, 5);
}

/// Of two reports of one attempt one is taken; the other is refused.
pub async fn of_two_reports_one_is_taken(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let reports = (0..5).map(|_| desk.apply(desk.by(work, report_command())));
    let answers = join_all(reports).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(
        answers
            .iter()
            .filter_map(|answer| answer.as_ref().err())
            .all(|refusal| *refusal == Refusal::LeaseLost)
    );
    assert_eq!(desk.history(work.task).await.attempts.len(), 1);
    desk.check_versions(work.task).await;
}

/// Of a report and a cancellation one wins, and the other is refused.
pub async fn of_a_report_and_a_cancellation_one_wins(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in 1..=4 {
        let work: Work = desk.running(new_task(number)).await;
        let (report, cancel) = (
            desk.by(work, report_command()),
            desk.order(work.task, cancel_command()),
        );
        let calls = if number % 2 == 0 {
            [report, cancel]
        } else {
            [cancel, report]
        };
        let answers = join_all(calls.map(|call| desk.apply(call))).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        assert!(desk.get(work.task).await.state.is_closed());
        desk.check_versions(work.task).await;
    }
}

/// Of equal submissions under one key one is stored; the others know it.
pub async fn of_equal_submissions_one_is_stored(h: &dyn Harness) {
    let desk = Desk::at(h);
    let keyed = |number| NewTask {
        idempotency: Some(idempotency("k", "content")),
        ..new_task(number)
    };
    let submits = (1..=8).map(|number| desk.submit_request(submit_each([keyed(number)])));
    let answers: Vec<Submitted> = join_all(submits).await.into_iter().flatten().collect();
    let stored: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Submitted::Stored(task) => Some(task.id),
            _ => None,
        })
        .collect();
    assert_eq!(stored.len(), 1);
    let known = Submitted::Known(stored[0]);
    assert_eq!(answers.iter().filter(|answer| **answer == known).count(), 7);
}

/// What is overdue is done once, however many do it at the same time.
pub async fn due_at_the_same_time_does_everything_once(h: &dyn Harness) {
    let desk = Desk::at(h);
    for number in 1..=6 {
        desk.running(new_task(number)).await;
    }
    desk.advance(h.rules().lease).await;
    let done = join_all((0..4).map(|_| desk.due(4))).await;
    let changed: Vec<_> = done.into_iter().flat_map(|done| done.changed).collect();
    let distinct: BTreeSet<_> = changed.iter().copied().collect();
    assert_eq!((changed.len(), distinct.len()), (6, 6));
    for (id, _) in distinct {
        desk.check_versions(id).await;
        assert_eq!(desk.get(id).await.losses, 1);
    }
}
