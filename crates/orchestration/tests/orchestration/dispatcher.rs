//! What the dispatcher claims, for whom, and when it looks.

use std::sync::atomic::Ordering;

use arbiter_core::model::{AttemptEnd, Holder, Stage};
use arbiter_core::ports::{AuditLog as _, AuditTree as _, Scope, TaskReader as _};
use arbiter_testkit::builders::{agent, report, task, tenant};
use arbiter_testkit::choosers::AssignAll;
use arbiter_testkit::faulty::Fault;

use crate::agents::Act;
use crate::given::{agents, many_of, millis, of, priority, reviewed, seconds, word};
use crate::watch::lock;
use crate::world::World;

#[tokio::test]
async fn a_claim_takes_at_most_twenty() {
    let mut world = World::new();
    world.host(1, 50);
    world.puppet.acts(|_| Act::Wait);
    world.submit_many(many_of(1, 0..60)).await;
    let _running = world.start().await;
    let asked: Vec<usize> = lock(&world.agents.asked).iter().map(Vec::len).collect();
    assert_eq!(asked, [20, 20, 10]);
    assert_eq!(world.puppet.count(), 50, "as many as there are slots");
}

#[tokio::test]
async fn choices_that_explored_are_counted_when_they_come_true() {
    let mut world = World::new();
    world.host(1, 50);
    world.puppet.acts(|_| Act::Wait);
    world.agents.explores.store(true, Ordering::Relaxed);
    // The store lets one run where the chooser, who sees free slots only, would start all.
    lock(&world.agents.limits).insert(Scope::Tenant(tenant(1)), 1);
    world.submit_many(many_of(1, 0..5)).await;
    let _running = world.start().await;
    let counted = |world: &World| {
        let labels = [("policy", "first"), ("kind", "analysis")];
        world.metrics.counter("routing.explored_total", &labels)
    };
    assert_eq!((world.puppet.count(), counted(&world)), (1, 1));
    assert!(
        lock(&world.agents.decisions).len() > 1,
        "others were chosen and not assigned"
    );
}

#[tokio::test]
async fn of_two_limits_of_a_tenant_the_stricter_holds() {
    for (rule, chooser) in [(1, 3), (3, 1)] {
        let mut world = World::new();
        world.host(1, 50);
        world.puppet.acts(|_| Act::Wait);
        world.rules.running_per_tenant.insert(tenant(1), rule);
        lock(&world.agents.limits).insert(Scope::Tenant(tenant(1)), chooser);
        world.submit_many(many_of(1, 0..5)).await;
        let _running = world.start().await;
        assert_eq!(world.puppet.count(), 1, "{rule} and {chooser}");
    }
}

#[tokio::test]
async fn only_lanes_that_a_free_agent_can_serve_are_asked() {
    let mut world = World::new();
    world.host_for(1, 5, [word("analysis")]);
    world.host_for(2, 1, [word("writing")]);
    world.puppet.acts(|_| Act::Wait);
    let _running = world.start().await;
    for number in 1..=2 {
        world
            .submit_with(number, |spec| spec.kind = word("writing"))
            .await;
    }
    world
        .submit_with(3, |spec| {
            spec.kind = word("research");
            spec.priority = priority(100);
        })
        .await;
    world.submit(4).await;
    world.pass(seconds(3)).await;
    let mut started = world.puppet.tasks();
    started.sort();
    assert_eq!(started, [task(1), task(4)]);
    let mut asked: Vec<_> = lock(&world.agents.asked)
        .iter()
        .flatten()
        .map(|one| one.task)
        .collect();
    asked.sort();
    assert_eq!(
        asked,
        [task(1), task(4)],
        "the busy agent's lane and nobody's lane are not read"
    );
}

#[tokio::test]
async fn a_backlog_that_nobody_can_take_is_stepped_over() {
    let mut world = World::new();
    world.host(1, 5);
    let blocked = (0..500).map(|number| {
        let mut new = of(tenant(1), number);
        let spec = std::sync::Arc::make_mut(&mut new.spec);
        (spec.kind, spec.priority) = (word("research"), priority(100));
        new
    });
    world.submit_many(blocked.collect()).await;
    let wanted = world.submit_with(1_000, |spec| spec.priority = priority(0)).await;
    let _running = world.start().await;
    assert_eq!(world.word(wanted).await, "succeeded");
    assert_eq!(world.watch.calls("claim"), 1);
}

#[tokio::test]
async fn a_tenant_at_its_limit_does_not_keep_a_lower_band_waiting() {
    let mut world = World::new();
    world.host(1, 30);
    lock(&world.agents.limits).insert(Scope::Tenant(tenant(1)), 2);
    world.puppet.acts(|_| Act::Wait);
    for number in 0..40 {
        world
            .submit_with(number, |spec| spec.priority = priority(100))
            .await;
    }
    world.submit_many(many_of(2, 100..103)).await;
    let _running = world.start().await;
    let mut started = world.puppet.tasks();
    started.sort();
    assert_eq!(
        started,
        [task(0), task(1), task(100), task(101), task(102)],
        "two of the urgent ones, and at once all of the tenant that has room"
    );
}

#[tokio::test]
async fn a_submit_wakes_it() {
    let mut world = World::new();
    world.host(1, 1);
    let _running = world.start().await;
    world.pass(millis(500)).await;
    let id = world.submit(1).await;
    world.settle().await;
    assert_eq!(world.word(id).await, "succeeded");
}

#[tokio::test]
async fn a_freed_slot_wakes_it_although_nobody_tells() {
    let mut world = World::new();
    world.host(1, 1);
    // by the store's count there is room for two, so that only the node's own slot is waited for
    lock(&world.agents.known)
        .values_mut()
        .for_each(|skill| skill.slots = 2);
    world.puppet.acts(|_| Act::Wait);
    let first = world.submit(1).await;
    let second = world.submit(2).await;
    let _running = world.start().await;
    assert_eq!(world.puppet.tasks(), [first]);
    // a refused report changes no task, so no hint is published
    lock(&world.desk.refusals).push_back(arbiter_core::services::WorkError::Forbidden);
    world.puppet.reports(first);
    world.settle().await;
    assert_eq!(world.puppet.tasks(), [first, second]);
}

#[tokio::test]
async fn work_that_nobody_told_of_is_found_within_a_second() {
    let mut world = World::new();
    world.host(1, 1);
    let _running = world.start().await;
    world.submit_quietly(vec![of(tenant(1), 1)]).await;
    world.pass(millis(750)).await;
    assert_eq!(world.puppet.count(), 0);
    world.pass(millis(250)).await;
    assert_eq!(world.puppet.count(), 1);
}

#[tokio::test]
async fn a_delayed_task_starts_when_its_time_has_come() {
    let mut world = World::new();
    world.host(1, 1);
    let _running = world.start().await;
    let _timer = world.start_timer().await;
    let at = world.now().plus(millis(2_600));
    world.submit_with(1, |spec| spec.not_before = Some(at)).await;
    world.pass(millis(2_500)).await;
    world.jump(millis(99)).await;
    assert_eq!(world.puppet.count(), 0);
    world.jump(millis(1)).await;
    assert_eq!(world.puppet.count(), 1, "at its moment, not a second later");
}

#[tokio::test]
async fn an_idle_dispatcher_looks_once_a_second_and_asks_nothing_else() {
    let mut world = World::new();
    world.host(1, 3);
    let _running = world.start().await;
    let before = world.watch.all_calls();
    world.pass(seconds(60)).await;
    assert_eq!(world.watch.calls("lanes"), 61, "at the start and once a second");
    assert_eq!(world.watch.all_calls() - before, 60, "and nothing else");
}

#[tokio::test]
async fn a_dispatcher_without_free_slots_asks_nothing_at_all() {
    let mut world = World::new();
    world.host(1, 1);
    world.puppet.acts(|_| Act::Wait);
    world.submit_many(many_of(1, 1..100)).await;
    let _running = world.start().await;
    let before = world.watch.all_calls();
    world.pass(seconds(60)).await;
    let beats = world.watch.calls("extend");
    assert_eq!(beats, 4);
    assert_eq!(world.watch.all_calls() - before, beats, "heartbeats only");
}

#[tokio::test]
async fn a_lost_race_for_a_slot_is_reported_and_the_task_chosen_again() {
    let mut world = World::new();
    world.host(1, 1);
    world.host(2, 1);
    world.puppet.acts(|_| Act::Wait);
    // another node runs an attempt on agent 1, so that only this node believes that it is free
    let elsewhere = world.submit(1).await;
    world.claim(elsewhere, Holder::Agent(agent(1))).await;
    let _running = world.start().await;
    let id = world.submit(2).await;
    world.settle().await;
    assert_eq!(
        world.puppet.agents(),
        agents(&[2]),
        "at once, by the one who is free"
    );
    assert_eq!(world.metrics.total("dispatcher.full_total"), 1);
    assert_eq!(world.metrics.total("dispatcher.assigned_total"), 1);

    // attempt, decision and audit record name the agent that was really reserved
    let open = world.task(id).await.attempt.expect("an attempt is open");
    assert_eq!(open.agent, agent(2));
    let decisions = lock(&world.agents.decisions).clone();
    let [lost, made] = decisions.as_slice() else {
        panic!("it was decided twice: {decisions:?}");
    };
    assert_eq!((lost.agent, made.agent), (agent(1), agent(2)));
    assert_eq!(
        (open.decision, &*open.rationale),
        (made.id, made.rationale.as_str())
    );
    world.inner.sequence(usize::MAX).await.expect("sequence");
    let entries = world.inner.read(0, 100).await.expect("read the log");
    let texts: Vec<String> = entries
        .iter()
        .filter_map(|entry| Some(entry.detail.as_ref()?.body.as_str().to_owned()))
        .filter(|text| text.contains("decision/1"))
        .collect();
    assert_eq!(
        texts.len(),
        1,
        "the decision that came to nothing leaves no record"
    );
    assert!(texts[0].contains(&agent(2).to_string()) && !texts[0].contains(&agent(1).to_string()));
}

#[tokio::test]
async fn a_task_whose_only_agent_is_full_waits_without_spinning_and_starts_when_it_is_free() {
    let mut world = World::new();
    world.host(1, 1);
    world.puppet.acts(|_| Act::Wait);
    let elsewhere = world.submit(1).await;
    let holder = Holder::Agent(agent(1));
    world.claim(elsewhere, holder).await;
    let _running = world.start().await;
    let id = world.submit(2).await;
    world.settle().await;
    let before = world.watch.calls("claim");
    world.pass(seconds(10)).await;
    assert_eq!(world.watch.calls("claim") - before, 10, "once a second");
    assert_eq!(world.word(id).await, "queued");
    world.cancel(elsewhere).await;
    world.jump(seconds(45)).await;
    world.due().await;
    world.pass(seconds(1)).await;
    assert_eq!(world.puppet.tasks(), [id]);
}

#[tokio::test]
async fn while_the_registry_is_down_nothing_is_assigned_and_nobody_invented() {
    let mut world = World::new();
    world.host(1, 3);
    world.agents.down.store(true, Ordering::Relaxed);
    let _running = world.start().await;
    let id = world.submit(1).await;
    world.pass(seconds(30)).await;
    assert_eq!(world.word(id).await, "queued");
    assert_eq!((world.watch.calls("claim"), world.puppet.count()), (0, 0));
    world.agents.down.store(false, Ordering::Relaxed);
    world.pass(seconds(1)).await;
    assert_eq!(world.word(id).await, "succeeded");
}

#[tokio::test]
async fn an_outcome_that_cannot_be_learnt_does_not_cost_the_slot() {
    let mut world = World::new();
    world.host(1, 1);
    world.puppet.acts(|_| Act::Wait);
    let _running = world.start().await;
    let first = world.submit(1).await;
    world.settle().await;
    world.agents.down.store(true, Ordering::Relaxed);
    world.puppet.reports(first);
    world.settle().await;
    world.agents.down.store(false, Ordering::Relaxed);
    let second = world.submit(2).await;
    world.settle().await;
    world.puppet.reports(second);
    world.settle().await;
    let learnt: Vec<_> = lock(&world.agents.learnt)
        .iter()
        .map(|one| (one.task, one.succeeded))
        .collect();
    assert_eq!(learnt, [(second, true)]);
    assert_eq!(world.word(first).await, "succeeded");
}

#[tokio::test]
async fn while_the_store_is_down_it_backs_off_and_goes_on_when_it_is_back() {
    let mut world = World::new();
    world.host(1, 1);
    world.watch.set_down(true);
    let _running = world.start().await;
    let id = world.submit(1).await;
    world.settle().await;
    let before = world.watch.all_calls();
    world.pass(seconds(10)).await;
    assert_eq!(world.watch.all_calls() - before, 20, "twice a second");
    world.watch.set_down(false);
    world.pass(millis(500)).await;
    assert_eq!(world.word(id).await, "succeeded");
}

#[tokio::test]
async fn what_a_claim_took_is_started_although_its_answer_was_lost() {
    let mut world = World::new();
    world.host(1, 3);
    world.puppet.acts(|_| Act::Wait);
    // another node runs an attempt on the same agent: it is none of this node's business
    let elsewhere = world.submit(1).await;
    world.claim(elsewhere, Holder::Agent(agent(1))).await;
    let ids = [world.submit(2).await, world.submit(3).await];
    world.watch.fail("claim", [Fault::UnknownAfter]);
    let _running = world.start().await;
    world.pass(seconds(5)).await;
    assert_eq!(world.puppet.tasks(), ids, "each of them once");
    ids.iter().for_each(|id| world.puppet.reports(*id));
    world.settle().await;
    for id in ids {
        assert_eq!(
            (world.word(id).await.as_str(), world.task(id).await.attempts),
            ("succeeded", 1)
        );
    }
}

#[tokio::test]
async fn a_lost_claim_that_took_nothing_is_made_again() {
    let mut world = World::new();
    world.host(1, 3);
    let id = world.submit(1).await;
    world.watch.fail("claim", [Fault::UnknownBefore]);
    let _running = world.start().await;
    assert_eq!(world.word(id).await, "queued");
    world.pass(millis(500)).await;
    assert_eq!(
        (world.word(id).await.as_str(), world.task(id).await.attempts),
        ("succeeded", 1)
    );
}

#[tokio::test]
async fn an_attempt_that_panics_gives_its_slot_back() {
    let mut world = World::new();
    world.host(1, 1);
    lock(&world.agents.known)
        .values_mut()
        .for_each(|skill| skill.slots = 2);
    let bad = world.submit(1).await;
    world.puppet.acts(move |delivery| {
        assert_ne!(delivery.stored.task.id, bad, "a transport with a fault");
        Act::Report
    });
    let _running = world.start().await;
    let good = world.submit(2).await;
    world.settle().await;
    assert_eq!(world.word(good).await, "succeeded");
    assert_eq!(
        world.word(bad).await,
        "running",
        "until its lease ends, like any lost one"
    );
}

#[tokio::test]
async fn review_work_of_a_stage_that_is_not_installed_is_left_alone() {
    let mut world = World::new();
    world.host(1, 1);
    world.review_slots = 3;
    let _running = world.start().await;
    let id = world
        .submit_with(1, |spec| spec.review = reviewed(&[Stage::Judge]))
        .await;
    world.pass(seconds(10)).await;
    assert_eq!(world.word(id).await, "reviewing");
    assert!(world.state(id).await.lease().is_none());
    assert_eq!(world.watch.calls("claim"), 1, "that of the attempt");
}

#[tokio::test]
async fn attempts_of_an_earlier_run_are_ended_and_tried_again() {
    let mut world = World::new();
    world.host(1, 2);
    world.puppet.acts(|_| Act::Wait);
    let ids = [world.submit(1).await, world.submit(2).await];
    let holder = Holder::Agent(agent(1));
    for id in ids {
        world.claim(id, holder).await;
    }
    let foreign = world.submit(3).await;
    world
        .claim_with(foreign, AssignAll::to(Holder::Agent(agent(9))))
        .await;
    let dispatcher = world.dispatcher();
    assert_eq!(dispatcher.recover().await.expect("recover"), 2);
    for id in ids {
        let task = world.task(id).await;
        assert_eq!((task.attempts, task.losses, task.returns), (1, 1, 0));
        assert!(
            task.is_claimable(),
            "the first loss is tried again at once: {task:?}"
        );
    }
    let held = world.inner.held_by(Holder::Agent(agent(9)));
    assert_eq!(
        held.await.expect("held").len(),
        1,
        "what others run is left alone"
    );
    assert_eq!(dispatcher.recover().await.expect("recover"), 0);
    // the late answer of the earlier run is refused
    let _running = world.start().await;
    assert_eq!(world.puppet.count(), 2);
    assert!(world.puppet.seen().iter().all(|delivery| delivery.number == 2));
}

#[tokio::test]
async fn a_task_that_takes_its_node_down_every_time_is_poison() {
    let mut world = World::new();
    world.host(1, 1);
    let id = world.submit(1).await;
    for restart in 1..=3 {
        let holder = Holder::Agent(agent(1));
        world.claim(id, holder).await;
        assert_eq!(world.dispatcher().recover().await.expect("recover"), 1);
        assert_eq!(world.task(id).await.attempts, restart);
        world.jump(seconds(60)).await;
        world.due().await;
    }
    assert_eq!(world.word(id).await, "dead_lettered: poison");
}

#[tokio::test]
async fn a_task_ends_once_however_the_store_answers() {
    let mut world = World::new();
    world.host(1, 4);
    let _timer = world.start_timer().await;
    let _running = world.start().await;
    let faults = [
        Fault::UnknownAfter,
        Fault::NotApplied,
        Fault::Repeated,
        Fault::UnknownBefore,
    ];
    for operation in ["claim", "apply", "lanes", "due"] {
        world.watch.fail(operation, faults);
    }
    world.submit_many(many_of(1, 1..21)).await;
    world.pass(seconds(120)).await;
    for number in 1..21 {
        let id = task(number);
        let history = world.history(id).await;
        let reported = history
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome == AttemptEnd::Reported(report()))
            .count();
        assert_eq!((world.word(id).await.as_str(), reported), ("succeeded", 1));
    }
    let tally = world.inner.tally(tenant(1)).await.expect("tally");
    assert_eq!((tally.open, tally.running), (0, 0));
}
