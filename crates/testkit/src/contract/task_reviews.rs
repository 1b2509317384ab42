//! Review stages: claimed, leased and fenced like attempts, by nodes.

use std::time::Duration;

use arbiter_core::lifecycle::{Command, Refusal, ReleaseDecision};
use arbiter_core::model::{
    Fence, HoldReason, Holder, LaneKey, Resume, Stage, StageOutcome, State, Task, Work as LaneWork,
};
use arbiter_core::ports::Scope;

use crate::builders::{agent, new_task, new_task_with, node, task};
use crate::choosers::AssignAll;
use crate::contract::desk::{TENANT, cancel_command, name, report_command, review_plan, stage};
use crate::contract::{Desk, Harness, suite};

suite!($ task_reviews_contract, task_reviews, [
    a_report_waits_for_its_first_stage_in_the_lane_of_reviews,
    stages_are_passed_in_order,
    a_refused_output_is_tried_again_by_another_agent,
    a_refused_output_of_the_last_attempt_is_a_dead_letter,
    an_unsure_stage_holds_the_task,
    a_held_output_is_accepted_refused_or_reviewed_again,
    an_error_of_a_stage_is_tried_again_and_then_held,
    a_lost_review_is_claimed_again_and_costs_no_attempt,
    a_stale_verdict_is_refused,
    a_repeated_verdict_gets_the_first_answer,
    only_nodes_review,
    the_slot_of_a_node_comes_back_with_its_verdict,
    a_cancelled_review_keeps_its_slot_until_the_node_is_heard_of,
]);

const TWO: [Stage; 2] = [Stage::Verify, Stage::Comply];

/// A reported task waits for its first stage in the lane of that stage.
pub async fn a_report_waits_for_its_first_stage_in_the_lane_of_reviews(h: &dyn Harness) {
    let desk = Desk::at(h);
    let task = desk.reviewing(new_task(1), &TWO).await;
    let waits = State::Reviewing {
        stage: Stage::Verify,
        lease: None,
        not_before: None,
    };
    assert_eq!((&task.state, task.result), (&waits, Some(Fence(1))));
    let lane = LaneKey {
        tenant: TENANT,
        band: task.band(),
        work: LaneWork::Review(Stage::Verify),
    };
    let lanes = desk.stores().tasks.lanes(None, 9).await.expect("lanes");
    assert_eq!(lanes.len(), 1);
    assert_eq!(
        (&lanes[0].key, lanes[0].lane, Some(lanes[0].first)),
        (&lane, lane.id(), task.order_key)
    );
    let tally = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!((tally.open, tally.reviewing, tally.running), (1, 1, 0));
    let claim = desk.review(&task).await;
    assert_eq!((claim.fence, claim.holder), (Fence(2), Holder::Node(node(1))));
    let held = desk
        .stores()
        .reader
        .held_by(Holder::Node(node(1)))
        .await
        .expect("held");
    assert_eq!(held.len(), 1);
}

/// Stages are passed in their order; after the last one the task has succeeded.
pub async fn stages_are_passed_in_order(h: &dyn Harness) {
    let desk = Desk::at(h);
    let mut task = desk.reviewing(new_task(1), &Stage::ALL).await;
    for stage in Stage::ALL {
        assert!(
            matches!(task.state, State::Reviewing { stage: now, .. } if now == stage),
            "{:?}",
            task.state
        );
        task = desk.verdict(&task, StageOutcome::Passed).await;
    }
    assert_eq!(
        (task.state, task.result, task.attempt),
        (State::Succeeded, Some(Fence(1)), None)
    );
    let history = desk.history(task.id).await;
    let reports: Vec<_> = history
        .stages
        .iter()
        .map(|report| (report.stage, report.fence))
        .collect();
    assert_eq!(reports, Stage::ALL.map(|stage| (stage, Fence(1))));
    assert_eq!(history.attempts.len(), 1, "the attempt is written once");
    desk.check_versions(task.id).await;
}

fn refused_output() -> StageOutcome {
    StageOutcome::Failed {
        reasons: vec!["no tests".to_owned()],
    }
}

/// A refused output is tried again, its agent avoided; earlier reports stay.
pub async fn a_refused_output_is_tried_again_by_another_agent(h: &dyn Harness) {
    let desk = Desk::at(h);
    let reviewed = desk.reviewing(new_task(1), &TWO).await;
    let task = desk.verdict(&reviewed, refused_output()).await;
    assert_eq!((name(&task), task.attempts, task.result), ("queued", 1, None));
    assert_eq!(task.avoid, [agent(1)]);
    let work = desk.start_by(&task, agent(2)).await;
    let again = desk.done(desk.by(work, report_command())).await;
    assert_eq!((name(&again), again.result), ("reviewing", Some(work.fence)));
    desk.verdict(&again, StageOutcome::Passed).await;
    let history = desk.history(task.id).await;
    let reports: Vec<_> = history
        .stages
        .iter()
        .map(|report| (report.fence, &report.outcome))
        .collect();
    assert_eq!(
        reports,
        [(Fence(1), &refused_output()), (work.fence, &StageOutcome::Passed)]
    );
    assert_eq!(history.attempts.len(), 2);
}

/// A refused output of the last attempt dead-letters the task.
pub async fn a_refused_output_of_the_last_attempt_is_a_dead_letter(h: &dyn Harness) {
    let desk = Desk::at(h);
    let new = new_task_with(1, |spec| spec.constraints.max_attempts = 1);
    let reviewed = desk.reviewing(new, &TWO).await;
    let task = desk.verdict(&reviewed, refused_output()).await;
    assert_eq!(
        (name(&task), task.state.reason()),
        ("dead_lettered", Some("attempts_exhausted"))
    );
}

/// A stage that is unsure holds the task, to go on with that stage.
pub async fn an_unsure_stage_holds_the_task(h: &dyn Harness) {
    let desk = Desk::at(h);
    let task = held(&desk, 1).await;
    let expected = State::Held {
        reason: HoldReason::LowConfidence,
        resume: Resume::Stage(Stage::Verify),
    };
    assert_eq!(task.state, expected);
    let tally = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!((tally.open, tally.held, tally.reviewing), (1, 1, 0));
}

async fn held(desk: &Desk<'_>, number: u64) -> Task {
    let reviewed = desk.reviewing(new_task(number), &TWO).await;
    let why = HoldReason::LowConfidence;
    desk.verdict(&reviewed, StageOutcome::Unsure { why }).await
}

/// A held output is accepted, refused, or reviewed again, as the person says.
pub async fn a_held_output_is_accepted_refused_or_reviewed_again(h: &dyn Harness) {
    let desk = Desk::at(h);
    let decisions = [
        (ReleaseDecision::Accept, "succeeded"),
        (ReleaseDecision::Reject, "failed"),
        (ReleaseDecision::Resume, "reviewing"),
    ];
    for (number, (decision, state)) in (1..).zip(decisions) {
        let task = held(&desk, number).await;
        let why = "looked at it".to_owned();
        let release = desk.order(task.id, Command::Release { decision, why });
        let released = desk.done(release).await;
        assert_eq!(name(&released), state);
        assert_eq!(desk.history(task.id).await.attempts.len(), 1);
        desk.check_versions(task.id).await;
    }
    let again = desk.verdict(&desk.get(task(3)).await, StageOutcome::Passed).await;
    assert!(matches!(
        again.state,
        State::Reviewing {
            stage: Stage::Comply,
            ..
        }
    ));
}

/// An error of a stage's backend is tried again after a back-off, and holds the task when it goes on.
pub async fn an_error_of_a_stage_is_tried_again_and_then_held(h: &dyn Harness) {
    let desk = Desk::at(h);
    let mut task = desk.reviewing(new_task(1), &TWO).await;
    let errored = || StageOutcome::Errored {
        message: "down".to_owned(),
    };
    for errors in 1..h.rules().max_stage_errors {
        task = desk.verdict(&task, errored()).await;
        let State::Reviewing {
            lease, not_before, ..
        } = &task.state
        else {
            panic!("{:?}", task.state)
        };
        assert_eq!((lease, task.stage_errors), (&None, errors));
        let wait = not_before.map_or(Duration::ZERO, |at| at.since(task.changed_at));
        assert!(wait <= h.rules().backoff.ceiling(u32::from(errors)), "{wait:?}");
        desk.advance(wait).await;
        desk.due_all().await;
        task = desk.get(task.id).await;
        assert!(task.is_claimable());
    }
    task = desk.verdict(&task, errored()).await;
    assert_eq!(
        (name(&task), task.state.reason()),
        ("held", Some("stage_unavailable"))
    );
    assert_eq!(task.attempts, 1, "the attempt is not to blame");
    desk.check_versions(task.id).await;
}

/// A review whose lease ends is claimed again; it costs no attempt.
pub async fn a_lost_review_is_claimed_again_and_costs_no_attempt(h: &dyn Harness) {
    let desk = Desk::at(h);
    let task = desk.reviewing(new_task(1), &TWO).await;
    let first = desk.review(&task).await;
    desk.advance(h.rules().lease).await;
    desk.due_all().await;
    let task = desk.get(task.id).await;
    assert_eq!((task.is_claimable(), task.attempts, task.losses), (true, 1, 0));
    let second = desk.review(&task).await;
    assert!(second.fence > first.fence);
    assert_eq!(
        desk.refused(desk.by(first, stage(StageOutcome::Passed))).await,
        Refusal::LeaseLost
    );
    desk.done(desk.by(second, stage(StageOutcome::Passed))).await;
}

/// A verdict on a task that was decided meanwhile is refused.
pub async fn a_stale_verdict_is_refused(h: &dyn Harness) {
    let desk = Desk::at(h);
    let task = desk.reviewing(new_task(1), &TWO).await;
    let work = desk.review(&task).await;
    desk.done(desk.order(task.id, cancel_command())).await;
    assert_eq!(
        desk.refused(desk.by(work, stage(StageOutcome::Passed))).await,
        Refusal::LeaseLost
    );
    assert_eq!(desk.history(task.id).await.stages, []);
}

/// A verdict that is sent again gets the task as it is.
pub async fn a_repeated_verdict_gets_the_first_answer(h: &dyn Harness) {
    let desk = Desk::at(h);
    let task = desk.reviewing(new_task(1), &TWO).await;
    let work = desk.review(&task).await;
    let verdict = desk.by(work, stage(StageOutcome::Passed));
    let first = desk.done(verdict.clone()).await;
    desk.review(&first).await;
    let now = desk.get(task.id).await;
    assert_eq!(desk.done(verdict).await, now);
    desk.check_versions(task.id).await;
}

/// Agents get no review work.
pub async fn only_nodes_review(h: &dyn Harness) {
    let desk = Desk::at(h);
    let task = desk.reviewing(new_task(1), &TWO).await;
    let claimed = desk
        .claim(task.lane_now(), 1, AssignAll::to(Holder::Agent(agent(1))))
        .await;
    assert_eq!(claimed.assigned.len(), 0);
    assert_eq!(desk.get(task.id).await, task);
    assert_eq!(review_plan(&TWO).stages(), TWO);
}

async fn reviewed_with_slot(desk: &Desk<'_>, scope: &Scope) -> crate::contract::Work {
    let task = desk.reviewing(new_task(1), &TWO).await;
    let chooser = AssignAll {
        loads: vec![(scope.clone(), 1)],
        ..AssignAll::to(Holder::Node(node(1)))
    };
    let work = desk.start_with(&task, chooser).await;
    assert!(!desk.has_room(101, scope, 1).await);
    work
}

/// The slot of a node comes back with its verdict.
pub async fn the_slot_of_a_node_comes_back_with_its_verdict(h: &dyn Harness) {
    let desk = Desk::at(h);
    let scope = Scope::Node(node(1));
    let work = reviewed_with_slot(&desk, &scope).await;
    desk.done(desk.by(work, stage(StageOutcome::Passed))).await;
    assert!(desk.has_room(102, &scope, 1).await);
}

/// The slot of a cancelled review comes back when its node is heard of.
pub async fn a_cancelled_review_keeps_its_slot_until_the_node_is_heard_of(h: &dyn Harness) {
    let desk = Desk::at(h);
    let scope = Scope::Node(node(1));
    let work = reviewed_with_slot(&desk, &scope).await;
    desk.done(desk.order(work.task, cancel_command())).await;
    assert!(!desk.has_room(102, &scope, 1).await);
    desk.extend(work.beat()).await;
    assert!(desk.has_room(103, &scope, 1).await);
}
