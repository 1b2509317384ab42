//! Reviews: what follows a verdict, and what a crash, a pause or an absent store leave of one.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::lifecycle::{RetryPlan, Rules};
use arbiter_core::model::{
    AttemptEnd, FailureClass, HoldReason, Holder, Stage, StageOutcome, State, TaskId, TaskSpec, Wait,
};
use arbiter_core::ports::{Scope, Spawner as _};
use arbiter_orchestration::Stopper;
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::{agent, node, report};
use arbiter_testkit::faulty::Fault;

use crate::given::{reviewed, seconds};
use crate::panel::{Panel, Say};
use crate::world::{Running, World};

/// A node with one agent that reports at once, and these panels.
fn with_panels(panels: &[&Arc<Panel>]) -> World {
    with_panels_in(World::new(), panels)
}

fn with_panels_in(mut world: World, panels: &[&Arc<Panel>]) -> World {
    world.host(1, 5);
    world.review_slots = 2;
    for panel in panels {
        world.stages.push(Arc::clone(panel) as _);
    }
    world
}

fn verify(spec: &mut TaskSpec) {
    spec.review = reviewed(&[Stage::Verify]);
}

async fn verdicts(world: &World, id: TaskId) -> Vec<(Stage, StageOutcome)> {
    let stages = world.history(id).await.stages;
    stages
        .into_iter()
        .map(|report| (report.stage, report.outcome))
        .collect()
}

/// A world whose one task waits for this panel's decision.
async fn deciding() -> (World, Arc<Panel>, Running, TaskId) {
    let panel = Panel::new(Stage::Verify, [Say::Wait]);
    let world = with_panels(&[&panel]);
    let running = world.start().await;
    let id = world.submit_with(1, verify).await;
    world.settle().await;
    assert_eq!(panel.waiting(), 1);
    (world, panel, running, id)
}

#[tokio::test]
async fn an_output_that_passes_every_stage_succeeds() {
    let panels = Stage::ALL.map(|stage| Panel::new(stage, []));
    let world = with_panels(&panels.each_ref());
    let _running = world.start().await;
    let id = world
        .submit_with(1, |spec| spec.review = reviewed(&Stage::ALL))
        .await;
    world.settle().await;
    assert_eq!(world.word(id).await, "succeeded");
    let expected = Stage::ALL.map(|stage| (stage, StageOutcome::Passed));
    assert_eq!(verdicts(&world, id).await, expected);
    for (panel, earlier) in panels.iter().zip(0..) {
        let seen = panel.seen();
        assert_eq!(seen.len(), 1);
        let history = &seen[0].history;
        assert_eq!(history.stages.len(), earlier, "the verdicts so far are there");
        assert_eq!(history.attempts[0].outcome, AttemptEnd::Reported(report()));
    }
}

#[tokio::test]
async fn only_the_stages_that_the_task_asks_for_are_run() {
    let panels = Stage::ALL.map(|stage| Panel::new(stage, []));
    let world = with_panels(&panels.each_ref());
    let _running = world.start().await;
    world
        .submit_with(1, |spec| spec.review = reviewed(&[Stage::Verify, Stage::Comply]))
        .await;
    world.settle().await;
    assert_eq!(panels.each_ref().map(|panel| panel.seen().len()), [1, 0, 1]);
}

#[tokio::test]
async fn a_refused_output_is_tried_again_with_the_reasons() {
    let panel = Panel::new(Stage::Verify, [Say::Failed("the count is wrong")]);
    let (world, failures) = World::recording(RetryPlan::Retry {
        after: Some(Duration::ZERO),
    });
    let world = with_panels_in(world, &[&panel]);
    let _running = world.start().await;
    let id = world.submit_with(1, verify).await;
    world.settle().await;
    assert_eq!(world.word(id).await, "succeeded");
    let seen = world.puppet.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[0].context.is_empty());
    let told: Vec<_> = seen[1]
        .context
        .iter()
        .map(|item| (item.kind.as_str(), item.text.as_str()))
        .collect();
    assert_eq!(told, [("review", "the count is wrong")]);
    let asked = failures.asked();
    assert_eq!((asked.len(), asked[0].0, asked[0].1), (1, id, 1));
    let failure = &asked[0].2;
    assert_eq!(
        (failure.class, failure.code.as_deref(), failure.message.as_str()),
        (FailureClass::Review, Some("verify"), "the count is wrong")
    );
}

#[tokio::test]
async fn an_output_that_is_refused_every_time_is_dead_lettered_after_the_last_attempt() {
    let panel = Panel::new(Stage::Verify, vec![Say::Failed("no"); 9]);
    let world = with_panels(&[&panel]);
    let (_running, _timer) = (world.start().await, world.start_timer().await);
    let id = world.submit_with(1, verify).await;
    world.pass(seconds(10)).await;
    assert_eq!(world.word(id).await, "dead_lettered: attempts_exhausted");
    assert_eq!((world.puppet.count(), panel.seen().len()), (3, 3));
}

#[tokio::test]
async fn an_output_that_a_person_must_decide_about_is_held() {
    for why in [
        HoldReason::LowConfidence,
        HoldReason::Contradictory,
        HoldReason::Unscored,
    ] {
        let first = Panel::new(Stage::Verify, [Say::Unsure(why)]);
        let second = Panel::new(Stage::Judge, []);
        let world = with_panels(&[&first, &second]);
        let _running = world.start().await;
        let id = world
            .submit_with(1, |spec| spec.review = reviewed(&[Stage::Verify, Stage::Judge]))
            .await;
        world.pass(seconds(5)).await;
        assert_eq!(world.word(id).await, format!("held: {}", why.word()));
        assert_eq!(second.seen().len(), 0, "nothing goes on before it is decided");
    }
}

#[tokio::test]
async fn a_stage_whose_backend_fails_is_tried_again_after_a_while() {
    let panel = Panel::new(Stage::Verify, [Say::Broken, Say::Broken]);
    let world = with_panels(&[&panel]);
    let (_running, _timer) = (world.start().await, world.start_timer().await);
    let id = world.submit_with(1, verify).await;
    world.settle().await;
    let State::Reviewing {
        lease: None,
        not_before: Some(at),
        ..
    } = world.state(id).await
    else {
        panic!("the stage waits: {:?}", world.state(id).await);
    };
    assert!(
        at.since(world.now()) <= seconds(1),
        "the first wait is at most a second"
    );
    assert_eq!(panel.seen().len(), 1, "not before it has waited");
    world.pass(seconds(4)).await;
    assert_eq!(world.word(id).await, "succeeded");
    assert_eq!(panel.seen().len(), 3);
    assert_eq!(world.task(id).await.attempts, 1, "the agent is not asked again");
}

#[tokio::test]
async fn a_stage_whose_backend_keeps_failing_holds_the_task_and_never_passes_it() {
    let panel = Panel::new(Stage::Verify, vec![Say::Broken; 100]);
    let world = with_panels(&[&panel]);
    let (_running, _timer) = (world.start().await, world.start_timer().await);
    let id = world.submit_with(1, verify).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.word(id).await, "held: stage_unavailable");
    assert_eq!(panel.seen().len(), usize::from(Rules::default().max_stage_errors));
    let said = verdicts(&world, id).await;
    assert!(
        said.iter().all(|(_, outcome)| matches!(
            outcome,
            StageOutcome::Errored { message } if message.contains("the backend is away")
        )),
        "{said:?}"
    );
}

#[tokio::test]
async fn after_a_crash_between_two_stages_review_goes_on_with_the_second() {
    let first = Panel::new(Stage::Verify, []);
    let second = Panel::new(Stage::Judge, [Say::Wait]);
    let world = with_panels(&[&first, &second]);
    let id = world
        .submit_with(1, |spec| spec.review = reviewed(&[Stage::Verify, Stage::Judge]))
        .await;
    world.attempt(id).await;
    world.puppet.seen();
    for expected in [Stage::Verify, Stage::Judge] {
        let assignment = world.claim(id, Holder::Node(world.node)).await;
        assert!(matches!(assignment.stored.task.state, State::Reviewing { stage, .. } if stage == expected));
        let (reviewer, stopper) = (world.reviewer(), Stopper::default());
        let signal = stopper.signal();
        let review = TestSpawner.spawn(
            "review",
            Box::pin(async move { reviewer.review(assignment, signal).await }),
        );
        world.settle().await;
        if expected == Stage::Judge {
            let stored = verdicts(&world, id).await;
            assert_eq!(
                stored,
                [(Stage::Verify, StageOutcome::Passed)],
                "stored before the next stage begins"
            );
            review.abort();
        }
    }
    world.settle().await;
    assert_eq!(second.waiting(), 0, "the review is gone");

    let again = [Panel::new(Stage::Verify, []), Panel::new(Stage::Judge, [])];
    let mut other = world.another_node(2);
    other.review_slots = 1;
    other.stages = again.iter().map(|panel| Arc::clone(panel) as _).collect();
    let (_running, _timer) = (other.start().await, other.start_timer().await);
    world.pass(seconds(46)).await;
    assert_eq!(world.word(id).await, "succeeded");
    assert_eq!([again[0].seen().len(), again[1].seen().len()], [0, 1]);
    assert_eq!(world.task(id).await.attempts, 1);
}

#[tokio::test]
async fn no_more_reviews_run_at_once_than_there_are_slots() {
    let panel = Panel::new(Stage::Verify, vec![Say::Wait; 9]);
    let world = with_panels(&[&panel]);
    let _running = world.start().await;
    for number in 0..9 {
        world.submit_with(number, verify).await;
    }
    for decided in 0..9 {
        world.settle().await;
        assert_eq!(panel.waiting(), 2.min(9 - decided));
        panel.decide(Say::Passed);
    }
    world.settle().await;
    for number in 0..9 {
        let id = arbiter_testkit::builders::task(number);
        assert_eq!(world.word(id).await, "succeeded");
    }
}

#[tokio::test]
async fn the_holder_of_a_review_is_its_node_and_heartbeats_keep_it() {
    let (world, panel, _running, id) = deciding().await;
    let _timer = world.start_timer().await;
    let before = world.state(id).await.lease().cloned().expect("a lease");
    assert_eq!(before.holder, Holder::Node(node(1)));
    assert_eq!(before.loads, [Scope::Node(node(1))]);
    world.pass(seconds(200)).await;
    let after = world.state(id).await.lease().cloned().expect("still a lease");
    assert_eq!(after.fence, before.fence);
    panel.decide(Say::Passed);
    world.settle().await;
    assert_eq!(world.word(id).await, "succeeded");
}

#[tokio::test]
async fn after_a_pause_another_node_continues_and_the_late_verdict_is_refused() {
    let (world, panel, _running, id) = deciding().await;
    let there = Panel::new(Stage::Verify, [Say::Wait]);
    let mut other = world.another_node(2);
    other.review_slots = 1;
    other.stages = vec![Arc::clone(&there) as _];
    // the first node gets no turn while its lease ends and the other one looks
    world.clock.advance(seconds(46));
    world.due().await;
    let second = world.claim(id, Holder::Node(other.node)).await;
    panel.decide(Say::Failed("too late"));
    world.settle().await;
    assert_eq!(verdicts(&world, id).await, [], "the late verdict is not recorded");
    let state = world.state(id).await;
    assert_eq!(
        state.lease().map(|lease| (lease.holder, lease.fence)),
        Some((Holder::Node(node(2)), second.fence))
    );
    let stopper = Stopper::default();
    let (reviewer, signal) = (other.reviewer(), stopper.signal());
    TestSpawner.spawn(
        "review",
        Box::pin(async move { reviewer.review(second, signal).await }),
    );
    world.settle().await;
    there.decide(Say::Passed);
    world.settle().await;
    assert_eq!(world.word(id).await, "succeeded");
}

#[tokio::test]
async fn a_review_whose_lease_is_lost_is_ended() {
    let (world, panel, _running, id) = deciding().await;
    world.cancel(id).await;
    world.pass(seconds(15)).await;
    assert_eq!(panel.waiting(), 0);
    assert_eq!(world.state(id).await, State::Cancelled);
}

#[tokio::test]
async fn a_verdict_is_stored_when_the_store_is_back_without_another_review() {
    let (world, panel, _running, id) = deciding().await;
    let _timer = world.start_timer().await;
    world.watch.set_down(true);
    panel.decide(Say::Passed);
    world.pass(seconds(20)).await;
    assert_eq!(world.word(id).await, "reviewing");
    world.watch.set_down(false);
    world.pass(seconds(1)).await;
    assert_eq!(world.word(id).await, "succeeded");
    assert_eq!(panel.seen().len(), 1);
}

#[tokio::test]
async fn a_verdict_whose_answer_was_lost_is_recorded_once() {
    for fault in [Fault::UnknownAfter, Fault::UnknownBefore, Fault::Repeated] {
        let (world, panel, _running, id) = deciding().await;
        world.watch.fail("apply", [fault]);
        panel.decide(Say::Failed("no"));
        world.pass(seconds(1)).await;
        assert_eq!(
            verdicts(&world, id).await,
            [(
                Stage::Verify,
                StageOutcome::Failed {
                    reasons: vec!["no".to_owned()]
                }
            )],
            "{fault:?}"
        );
        let task = world.task(id).await;
        assert!(
            matches!(
                task.state,
                State::Queued {
                    wait: Wait::Until(_) | Wait::Ready
                }
            ),
            "{fault:?}: {task:?}"
        );
        assert_eq!((task.attempts, task.avoid), (1, vec![agent(1)]), "{fault:?}");
    }
}

#[tokio::test]
async fn a_review_frees_its_slot_in_the_store_whatever_it_says() {
    for say in [
        Say::Passed,
        Say::Failed("no"),
        Say::Unsure(HoldReason::Rule),
        Say::Broken,
    ] {
        let (mut world, panel, _running, id) = deciding().await;
        panel.decide(say.clone());
        world.settle().await;
        assert!(world.state(id).await.lease().is_none(), "{say:?}");
        // were a slot still taken, a node with two of them could not hold two reviews
        world.stages.clear();
        let after = Panel::new(Stage::Verify, [Say::Wait, Say::Wait]);
        world.stages.push(Arc::clone(&after) as _);
        let _second = world.start().await;
        for number in 10..12 {
            world.submit_with(number, verify).await;
        }
        world.settle().await;
        assert!(
            panel.waiting() + after.waiting() + panel.seen().len() >= 3,
            "{say:?}"
        );
    }
}
