//! Lanes and claims.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::lifecycle::RetryPlan;
use arbiter_core::model::{Fence, Holder, LaneId, OrderKey, Priority, State, TaskId, Wait};
use arbiter_core::ports::{Choice, ClaimRequest, Effects, LaneQuota, NewTask, Scope};

use crate::builders::{agent, command, lane_of, new_task, new_task_with, node, outbox_entry, task, tenant};
use crate::choosers::{AssignAll, Fixed, Panicking, RecordingChooser, WrongLength};
use crate::contract::desk::{cancel_command, fail_with, name, report_command};
use crate::contract::{Desk, Harness, suite};

suite!($ task_claims_contract, task_claims, [
    a_lane_goes_by_ready_time_then_id,
    the_order_is_kept_over_a_retry,
    nothing_starts_before_its_time,
    quotas_are_served_in_order_by_one_choice,
    a_lane_that_is_named_twice_goes_on,
    a_lane_without_work_gives_nothing,
    a_task_that_nobody_is_chosen_for_stays,
    a_full_scope_leaves_the_task_queued,
    every_scope_of_a_choice_must_have_room,
    slots_come_back_with_the_end_of_the_lease,
    an_acknowledged_claim_runs_at_once,
    an_assignment_must_be_acknowledged_in_time,
    every_assignment_raises_the_fence,
    a_candidate_tells_what_the_choice_needs,
    a_chooser_that_breaks_the_rules_fails_the_claim_whole,
    a_claim_whose_answer_was_lost_is_found,
    a_holder_of_the_wrong_sort_gets_nothing,
    a_claim_sends_outside_only_what_it_did,
    lanes_are_listed_by_id,
]);

fn all() -> AssignAll {
    AssignAll::to(Holder::Agent(agent(1)))
}

fn ids(claimed: &arbiter_core::ports::Claimed) -> Vec<TaskId> {
    claimed
        .assigned
        .iter()
        .map(|assigned| assigned.stored.task.id)
        .collect()
}

/// Inside a lane the order is the moment at which a task became claimable, then its id.
pub async fn a_lane_goes_by_ready_time_then_id(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit(new_task(3)).await;
    desk.advance(Duration::from_millis(1)).await;
    desk.submit_many(vec![new_task(2), new_task(1)]).await;
    let claimed = desk.claim(lane_of(&new_task(1)).id(), 10, all()).await;
    assert_eq!(ids(&claimed), [task(3), task(1), task(2)]);
}

/// A task that is tried again keeps its place before those that came later.
pub async fn the_order_is_kept_over_a_retry(h: &dyn Harness) {
    let desk = Desk::at(h);
    let first = desk.running(new_task(2)).await;
    desk.advance(Duration::from_secs(1)).await;
    desk.submit(new_task(1)).await;
    let at_once = RetryPlan::Retry {
        after: Some(Duration::ZERO),
    };
    desk.done(desk.by(first, fail_with(at_once))).await;
    let claimed = desk.claim(lane_of(&new_task(1)).id(), 10, all()).await;
    assert_eq!(ids(&claimed), [task(2), task(1)]);
}

/// A task with an earliest moment is claimable from then on, and takes its place then.
pub async fn nothing_starts_before_its_time(h: &dyn Harness) {
    let desk = Desk::at(h);
    let at = desk.now().await.plus(Duration::from_secs(60));
    let later = desk
        .submit(new_task_with(1, |spec| spec.not_before = Some(at)))
        .await;
    assert_eq!(
        later.state,
        State::Queued {
            wait: Wait::Until(at)
        }
    );
    assert_eq!(later.order_key, None);
    let lane = later.lane;
    assert_eq!(ids(&desk.claim(lane, 1, all()).await), []);
    assert_eq!(desk.stores().tasks.lanes(None, 10).await.expect("lanes"), []);
    desk.advance(Duration::from_secs(60)).await;
    desk.due_all().await;
    assert_eq!(desk.get(task(1)).await.order_key, Some(OrderKey(at.as_micros())));
    assert_eq!(ids(&desk.claim(lane, 1, all()).await), [task(1)]);
}

/// Quotas are served in their order, up to what each takes, and the chooser is asked once about all of them.
pub async fn quotas_are_served_in_order_by_one_choice(h: &dyn Harness) {
    let desk = Desk::at(h);
    let other = |number| NewTask {
        tenant: tenant(2),
        ..new_task(number)
    };
    desk.submit_many(vec![new_task(1), new_task(2), new_task(3), other(4), other(5)])
        .await;
    let (one, two) = (lane_of(&new_task(1)).id(), lane_of(&other(4)).id());
    let chooser = Arc::new(RecordingChooser::new(Arc::new(all())));
    let claimed = desk
        .claim_lanes(&[(two, 1), (one, 2)], Arc::clone(&chooser) as _)
        .await;
    assert_eq!(ids(&claimed), [task(4), task(1), task(2)]);
    let asked = chooser.asked();
    assert_eq!(asked.len(), 1, "one choice per claim");
    let asked: Vec<_> = asked[0]
        .iter()
        .map(|candidate| (candidate.task, candidate.lane))
        .collect();
    assert_eq!(asked, [(task(4), two), (task(1), one), (task(2), one)]);
    let key = desk.get(task(3)).await.order_key;
    assert_eq!(
        claimed.heads,
        [(two, key), (one, key)],
        "the heads of the asked lanes as they are now"
    );
}

/// A lane that two quotas name goes on where the first stopped.
pub async fn a_lane_that_is_named_twice_goes_on(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many((1..=3).map(new_task).collect()).await;
    let lane = lane_of(&new_task(1)).id();
    let claimed = desk.claim_lanes(&[(lane, 1), (lane, 1)], Arc::new(all())).await;
    assert_eq!(ids(&claimed), [task(1), task(2)]);
    assert_eq!(claimed.heads.len(), 1);
}

/// A lane without claimable work, or that never was, gives nothing.
pub async fn a_lane_without_work_gives_nothing(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let empty = desk.get(work.task).await.lane;
    let claimed = desk
        .claim_lanes(&[(empty, 5), (LaneId(42), 5)], Arc::new(all()))
        .await;
    assert_eq!(ids(&claimed), []);
    assert_eq!(claimed.heads, [(empty, None), (LaneId(42), None)]);
}

/// A task for which nobody is chosen stays where it is.
pub async fn a_task_that_nobody_is_chosen_for_stays(h: &dyn Harness) {
    let desk = Desk::at(h);
    let before = desk.submit_many(vec![new_task(1), new_task(2)]).await;
    let choice = Choice {
        to: Holder::Agent(agent(1)),
        acknowledged: true,
        loads: Vec::new(),
        decision: None,
    };
    let chooser = Fixed(BTreeMap::from([(task(2), choice)]));
    let claimed = desk.claim(before[0].lane, 2, chooser).await;
    assert_eq!(ids(&claimed), [task(2)]);
    assert_eq!(claimed.full, []);
    assert_eq!(desk.get(task(1)).await, before[0]);
}

/// A task whose choice names a full scope stays queued and is reported; slots never exceed the limit.
pub async fn a_full_scope_leaves_the_task_queued(h: &dyn Harness) {
    let desk = Desk::at(h);
    let tasks = desk.submit_many((1..=3).map(new_task).collect()).await;
    let scope = Scope::Agent(agent(1));
    let chooser = AssignAll {
        loads: vec![(scope.clone(), 2)],
        ..all()
    };
    let claimed = desk.claim(tasks[0].lane, 10, chooser.clone()).await;
    assert_eq!(ids(&claimed), [task(1), task(2)]);
    assert_eq!(claimed.full, [(task(3), scope.clone())]);
    assert_eq!(desk.get(task(3)).await, tasks[2]);
    assert_eq!(claimed.heads, [(tasks[0].lane, tasks[2].order_key)]);
    let again = desk.claim(tasks[0].lane, 10, chooser).await;
    assert_eq!((ids(&again), again.full), (Vec::new(), vec![(task(3), scope)]));
    desk.check_versions(task(3)).await;
}

/// Every scope of a choice must have room; the first without is reported, and none of the others is taken up.
pub async fn every_scope_of_a_choice_must_have_room(h: &dyn Harness) {
    let desk = Desk::at(h);
    let tasks = desk.submit_many(vec![new_task(1), new_task(2)]).await;
    let (own, of_tenant) = (Scope::Agent(agent(1)), Scope::Tenant(tenant(1)));
    let of_kind = Scope::TenantKind(tenant(1), crate::builders::kind());
    let chooser = AssignAll {
        loads: vec![(own.clone(), 9), (of_tenant.clone(), 1), (of_kind.clone(), 1)],
        ..all()
    };
    let claimed = desk.claim(tasks[0].lane, 10, chooser).await;
    assert_eq!(
        (ids(&claimed), claimed.full),
        (vec![task(1)], vec![(task(2), of_tenant)])
    );
    assert!(!desk.has_room(100, &own, 1).await, "one was taken up");
    assert!(desk.has_room(101, &own, 2).await, "and only one");
    assert!(!desk.has_room(102, &of_kind, 1).await);
}

/// The slots of a lease come back with its end.
pub async fn slots_come_back_with_the_end_of_the_lease(h: &dyn Harness) {
    let desk = Desk::at(h);
    let scope = Scope::Agent(agent(1));
    let chooser = AssignAll {
        loads: vec![(scope.clone(), 1)],
        ..all()
    };
    for number in 1..=3 {
        let task = desk.submit(new_task(number)).await;
        let work = desk.start_with(&task, chooser.clone()).await;
        assert!(!desk.has_room(number + 100, &scope, 1).await);
        let end = if number == 2 {
            fail_with(RetryPlan::Fail(arbiter_core::model::FailReason::Policy))
        } else {
            report_command()
        };
        desk.done(desk.by(work, end)).await;
        assert!(desk.has_room(number + 200, &scope, 1).await);
    }
}

/// A claim that is its own acknowledgement runs at once, in one transition.
pub async fn an_acknowledged_claim_runs_at_once(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let task = desk.get(work.task).await;
    let State::Running(lease) = &task.state else {
        panic!("{:?}", task.state)
    };
    assert_eq!(lease.until, desk.now().await.plus(h.rules().lease));
    assert_eq!(
        (lease.holder, lease.fence, task.version.0),
        (work.holder, Fence(1), 2)
    );
    assert_eq!(
        task.attempt.as_ref().and_then(|open| open.acknowledged_at),
        Some(desk.now().await)
    );
    assert_eq!(task.attempts, 1);
}

/// An assignment that was not acknowledged has the time of the rules for it.
pub async fn an_assignment_must_be_acknowledged_in_time(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit(new_task(1)).await;
    let chooser = AssignAll {
        acknowledged: false,
        ..all()
    };
    desk.start_with(&queued, chooser).await;
    let task = desk.get(task(1)).await;
    let State::Assigned(lease) = &task.state else {
        panic!("{:?}", task.state)
    };
    assert_eq!(lease.until, desk.now().await.plus(h.rules().acknowledge_within));
}

/// Every assignment of a task has a greater fencing token.
pub async fn every_assignment_raises_the_fence(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk
        .submit(new_task_with(1, |spec| spec.constraints.max_attempts = 9))
        .await;
    for fence in 1..=4 {
        let work = desk.start(&queued).await;
        assert_eq!(work.fence, Fence(fence));
        let at_once = RetryPlan::Retry {
            after: Some(Duration::ZERO),
        };
        desk.done(desk.by(work, fail_with(at_once))).await;
    }
}

/// A candidate tells what the choice needs to know.
pub async fn a_candidate_tells_what_the_choice_needs(h: &dyn Harness) {
    let desk = Desk::at(h);
    let deadline = desk.now().await.plus(Duration::from_secs(3600));
    let new = new_task_with(1, |spec| {
        spec.priority = Priority::HIGH;
        spec.constraints.deadline = Some(deadline);
        spec.constraints.attempt_timeout = Duration::from_secs(7);
        spec.constraints.budget.tokens = Some(5);
    });
    let key = lane_of(&new);
    let queued = desk.submit(new).await;
    let work = desk.start_by(&queued, agent(4)).await;
    let at_once = RetryPlan::Retry {
        after: Some(Duration::ZERO),
    };
    desk.done(desk.by(work, fail_with(at_once))).await;
    let chooser = Arc::new(RecordingChooser::new(Arc::new(Fixed::default())));
    desk.claim_lanes(&[(queued.lane, 1)], Arc::clone(&chooser) as _)
        .await;
    let asked = chooser.asked();
    let candidate = &asked[0][0];
    assert_eq!(
        (candidate.task, candidate.lane, &*candidate.key),
        (task(1), key.id(), &key)
    );
    assert_eq!((candidate.priority, candidate.attempts), (Priority::HIGH, 1));
    assert_eq!(
        (candidate.deadline, candidate.attempt_timeout),
        (Some(deadline), Duration::from_secs(7))
    );
    assert_eq!(
        (candidate.budget.tokens, candidate.avoid.as_slice()),
        (Some(5), [agent(4)].as_slice())
    );
}

/// A chooser that panics, or gives another number of answers, fails the claim and changes nothing.
pub async fn a_chooser_that_breaks_the_rules_fails_the_claim_whole(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit(new_task(1)).await;
    let broken: [Arc<dyn arbiter_core::ports::Chooser>; 2] =
        [Arc::new(Panicking), Arc::new(WrongLength(all()))];
    for (number, chooser) in (1..).zip(broken) {
        let lanes = vec![LaneQuota {
            lane: queued.lane,
            take: 1,
        }];
        let request = ClaimRequest {
            lanes,
            chooser,
            command: command(number),
            effects: Effects::default(),
        };
        let error = desk
            .stores()
            .tasks
            .claim(request)
            .await
            .expect_err("the claim fails");
        assert!(!error.is_transient() && !error.may_have_applied(), "{error:?}");
        assert_eq!(desk.get(task(1)).await, queued);
        assert_eq!(desk.leaves().await.len(), 1);
    }
    desk.start(&queued).await;
}

/// A claim whose answer was lost is found by its holder; the same claim again assigns nothing twice.
pub async fn a_claim_whose_answer_was_lost_is_found(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit_many(vec![new_task(1), new_task(2)]).await;
    let lanes = vec![LaneQuota {
        lane: queued[0].lane,
        take: 1,
    }];
    let request = ClaimRequest {
        lanes,
        chooser: Arc::new(all()),
        command: command(50),
        effects: Effects::default(),
    };
    let first = desk.stores().tasks.claim(request.clone()).await.expect("claim");
    assert_eq!(ids(&first), [task(1)]);
    let held = desk
        .stores()
        .reader
        .held_by(Holder::Agent(agent(1)))
        .await
        .expect("held");
    assert_eq!(held, [first.assigned[0].stored.clone()]);
    let second = desk.stores().tasks.claim(request).await.expect("claim");
    assert!(!ids(&second).contains(&task(1)));
    assert_eq!(desk.get(task(1)).await, held[0].task);
    desk.check_versions(task(1)).await;
}

/// A choice of the wrong sort of holder is refused and leaves the task; its neighbours are assigned.
pub async fn a_holder_of_the_wrong_sort_gets_nothing(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit_many(vec![new_task(1), new_task(2)]).await;
    let choice = |to| Choice {
        to,
        acknowledged: true,
        loads: vec![(Scope::Node(node(1)), 1)],
        decision: None,
    };
    let chooser = Fixed(BTreeMap::from([
        (task(1), choice(Holder::Node(node(1)))),
        (task(2), choice(Holder::Agent(agent(1)))),
    ]));
    let claimed = desk.claim(queued[0].lane, 2, chooser).await;
    assert_eq!(ids(&claimed), [task(2)]);
    assert_eq!(desk.get(task(1)).await, queued[0]);
    desk.check_versions(task(1)).await;
    assert_eq!(desk.leaves_of(task(1)).await.len(), 2, "the refusal has a leaf");
}

/// A claim that assigned nothing sends nothing outside.
pub async fn a_claim_sends_outside_only_what_it_did(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit_many(vec![new_task(1), new_task(2)]).await;
    let lane = queued[0].lane;
    let claim = async |number, chooser: Arc<dyn arbiter_core::ports::Chooser>| {
        let mut effects = Effects::default();
        effects.outbox.push(outbox_entry(number, "claims"));
        let request = ClaimRequest {
            lanes: vec![LaneQuota { lane, take: 2 }],
            chooser,
            command: command(number),
            effects,
        };
        desk.stores().tasks.claim(request).await.expect("claim")
    };
    claim(1, Arc::new(Fixed::default())).await;
    assert_eq!(claim(2, Arc::new(all())).await.assigned.len(), 2);
    let told = desk
        .stores()
        .outbox
        .take("claims", 9, Duration::from_secs(1))
        .await
        .expect("take");
    let told: Vec<_> = told.into_iter().map(|entry| entry.id).collect();
    assert_eq!(told, [outbox_entry(2, "claims").id]);
}

/// Lanes with claimable work are listed by id, from a lane on, up to a limit, each with its first key.
pub async fn lanes_are_listed_by_id(h: &dyn Harness) {
    let desk = Desk::at(h);
    let of_tenant = |number, owner| NewTask {
        tenant: tenant(owner),
        ..new_task(number)
    };
    desk.submit(of_tenant(1, 1)).await;
    desk.advance(Duration::from_secs(1)).await;
    desk.submit_many((2..=5).map(|number| of_tenant(number, number)).collect())
        .await;
    desk.submit(of_tenant(6, 1)).await;
    // a lane whose only task is not claimable any more is not listed
    let cancelled = desk.in_tenant(5, desk.order(task(5), cancel_command()));
    assert_eq!(name(&desk.done(cancelled).await), "cancelled");
    let mut expected: Vec<_> = (1..=4)
        .map(|number| lane_of(&of_tenant(number, number)))
        .collect();
    expected.sort_by_key(arbiter_core::model::LaneKey::id);
    let lanes = desk.stores().tasks.lanes(None, 10).await.expect("lanes");
    assert_eq!(
        lanes.iter().map(|head| &head.key).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    for head in &lanes {
        assert_eq!(head.lane, head.key.id());
        let first = if head.key.tenant == tenant(1) {
            task(1)
        } else {
            task(2)
        };
        assert_eq!(Some(head.first), desk.get(first).await.order_key);
    }
    let first = desk.stores().tasks.lanes(None, 1).await.expect("lanes");
    assert_eq!(first, lanes[..1]);
    let rest = desk
        .stores()
        .tasks
        .lanes(Some(lanes[0].lane), 2)
        .await
        .expect("lanes");
    assert_eq!(rest, lanes[1..3]);
    assert_eq!(
        desk.stores()
            .tasks
            .lanes(Some(lanes[3].lane), 2)
            .await
            .expect("lanes"),
        []
    );
}
