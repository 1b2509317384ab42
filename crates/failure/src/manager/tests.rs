//! The whole domain on the in-memory store with manual time: what is told, what is tried, what is kept.

mod controller;
mod target;
mod world;

use std::time::Duration;

use arbiter_core::model::{FailureKind, IncidentState, Severity};
use arbiter_core::ports::NoticeStep;
use arbiter_core::services::FailureHandler as _;
use arbiter_testkit::builders::{agent, component, kind, principal};

use self::controller::Does;
use self::target::Mood;
use self::world::{World, seconds};
use crate::component::Outcome;
use crate::escalation::{Level, NewSilence, Policy, SilenceKind};
use crate::incident::{IncidentFilter, Move};

fn open() -> IncidentFilter {
    IncidentFilter {
        open: true,
        limit: 200,
        ..IncidentFilter::default()
    }
}

#[tokio::test]
async fn the_third_failure_begins_a_recovery_and_health_ends_it() {
    let world = World::new();
    world.fail("db", FailureKind::HealthCheck, 2).await;
    assert_eq!(
        world.controller.begun(),
        Vec::<String>::new(),
        "below the threshold it is recorded"
    );
    world.fail("db", FailureKind::HealthCheck, 1).await;
    world.drive("db");
    assert_eq!(world.controller.begun(), ["restart_graceful db"]);
    assert_eq!(world.outcomes("db").await, ["recovered"]);
    assert_eq!(world.target.told(), [], "nobody is called for what recovered");
    assert!(world.incidents(open()).await.is_empty());
}

#[tokio::test]
async fn what_no_action_restores_opens_one_incident_and_its_recovery_resolves_it() {
    let world = World::new();
    world.controller.will(Does::Fail);
    world.fail("db", FailureKind::Connection, 3).await;
    world.drive("db");
    assert_eq!(
        world.controller.begun(),
        ["switch_over db", "restart_graceful db"]
    );
    assert_eq!(world.outcomes("db").await, ["exhausted"]);
    let incidents = world.incidents(open()).await;
    let [incident] = &incidents[..] else {
        panic!("one incident, not {incidents:?}");
    };
    assert_eq!(
        (incident.severity, incident.state),
        (Severity::High, IncidentState::Open)
    );
    world.deliver().await;
    assert_eq!(world.target.steps(), [NoticeStep::Open]);
    // it goes on failing, then recovers
    world.controller.will(Does::Succeed);
    world.pass(seconds(60)).await;
    world.fail("db", FailureKind::Connection, 50).await;
    world.drive("db");
    world.deliver().await;
    assert_eq!(world.target.steps(), [NoticeStep::Open, NoticeStep::Resolve]);
    let ended = world.desk.get(incident.id).await.unwrap();
    assert_eq!((ended.state, ended.failures), (IncidentState::Resolved, 50));
    assert!(world.incidents(open()).await.is_empty());
    assert_eq!(world.target.keys().len(), 1, "one key, whatever happened");
}

#[tokio::test]
async fn a_storm_is_one_incident_for_each_key_and_one_trigger() {
    let world = World::new();
    for _ in 0..1_000 {
        world.report("store", FailureKind::Internal, Some(Severity::Critical));
    }
    world.manager.round().await.unwrap();
    world.deliver().await;
    for _ in 0..20 {
        for _ in 0..100 {
            world.report("store", FailureKind::Internal, Some(Severity::Critical));
        }
        world.manager.round().await.unwrap();
        world.deliver().await;
        world.pass(Duration::from_millis(200)).await;
    }
    let incidents = world.incidents(open()).await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].failures, 3_000);
    assert_eq!(world.target.steps(), [NoticeStep::Open], "duplicates are no news");
    assert!(incidents[0].timeline.len() < 10, "{:?}", incidents[0].timeline);
}

#[tokio::test]
async fn a_recovery_that_takes_too_long_is_cancelled_and_told() {
    let world = World::new();
    world.controller.will(Does::Hang);
    world.fail("db", FailureKind::HealthCheck, 3).await;
    world.drive("db");
    assert_eq!(world.controller.cancelled(), 1);
    assert_eq!(world.outcomes("db").await, ["timed_out"]);
    assert_eq!(world.incidents(open()).await.len(), 1);
}

#[tokio::test]
async fn an_operation_that_succeeds_without_health_is_no_recovery() {
    let world = World::new();
    world.controller.will(Does::StaySick);
    world.fail("db", FailureKind::HealthCheck, 3).await;
    world.drive("db");
    assert_eq!(world.outcomes("db").await, ["exhausted"]);
}

#[tokio::test]
async fn recoveries_that_do_not_last_are_told() {
    let world = World::new();
    for _ in 0..3 {
        world.fail("db", FailureKind::HealthCheck, 3).await;
        world.drive("db");
        world.pass(seconds(60)).await;
    }
    assert_eq!(world.outcomes("db").await, ["recovered"; 3]);
    let incidents = world.incidents(open()).await;
    assert_eq!(incidents.len(), 1);
    assert!(
        incidents[0].title.contains("recovered 3 times"),
        "{}",
        incidents[0].title
    );
}

#[tokio::test]
async fn an_isolation_ends_by_itself_also_on_another_node() {
    let world = World::new();
    world.fail("db", FailureKind::Dependency, 3).await;
    world.drive("db");
    assert_eq!(world.outcomes("db").await, ["contained"]);
    let other = world.another_node();
    world.pass(seconds(299)).await;
    other.sweep().await.unwrap();
    assert!(other.to_drive(9).is_empty(), "its time is not over");
    world.pass(seconds(1)).await;
    other.sweep().await.unwrap();
    assert_eq!(other.to_drive(9), [component("db")]);
    world.with_time(other.go_on(&component("db"))).unwrap();
    assert_eq!(world.controller.begun(), ["isolate db", "reinstate db"]);
    other.sweep().await.unwrap();
    assert!(other.to_drive(9).is_empty(), "it is over");
}

#[tokio::test]
async fn another_node_goes_on_with_a_recovery_and_there_is_one_outcome() {
    let world = World::new();
    world.controller.will(Does::Hang);
    world.fail("db", FailureKind::HealthCheck, 3).await;
    // the node dies in the middle: its future is dropped
    world.drive_for("db", seconds(5));
    assert_eq!(world.controller.begun(), ["restart_graceful db"]);
    world.controller.will(Does::Succeed);
    let other = world.another_node();
    other.sweep().await.unwrap();
    assert_eq!(other.to_drive(9), [component("db")]);
    world.pass(seconds(20)).await;
    world.with_time(other.go_on(&component("db"))).unwrap();
    assert_eq!(
        world.controller.begun(),
        ["restart_graceful db"],
        "it is found by its id, not begun again"
    );
    assert_eq!(world.outcomes("db").await, ["recovered"]);
}

#[tokio::test]
async fn two_nodes_never_drive_one_recovery() {
    let world = World::new();
    world.controller.will(Does::Hang);
    world.fail("db", FailureKind::HealthCheck, 3).await;
    world.drive_for("db", seconds(3));
    let other = world.another_node();
    world.with_time(other.go_on(&component("db"))).unwrap();
    assert_eq!(
        world.outcomes("db").await,
        Vec::<String>::new(),
        "the first node has the lease"
    );
}

#[tokio::test]
async fn levels_are_told_in_time_until_somebody_takes_note() {
    let world = World::new();
    world.levels(&[("pager", 0), ("pager", 300)]).await;
    world.report("store", FailureKind::Internal, Some(Severity::High));
    world.manager.round().await.unwrap();
    world.deliver().await;
    assert_eq!(world.target.steps(), [NoticeStep::Open]);
    world.pass(seconds(299)).await;
    world.escalate().await;
    assert_eq!(world.target.steps().len(), 1);
    world.pass(seconds(1)).await;
    world.escalate().await;
    world.escalate().await;
    assert_eq!(
        world.target.steps(),
        [NoticeStep::Open, NoticeStep::Update],
        "once"
    );
    let incident = world.incidents(open()).await.remove(0);
    let acted = world
        .desk
        .act(incident.id, Move::Acknowledge, principal(1), "mine", None)
        .await
        .unwrap();
    assert_eq!(acted.state, IncidentState::Acknowledged);
    world.deliver().await;
    assert_eq!(world.target.steps().last(), Some(&NoticeStep::Acknowledge));
    let again = world
        .desk
        .act(incident.id, Move::Acknowledge, principal(1), "mine", None)
        .await
        .unwrap();
    assert_eq!(again.revision, acted.revision, "a repeat changes nothing");
    let error = world
        .desk
        .act(incident.id, Move::Close, principal(1), "", None)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "illegal_transition");
    let error = world
        .desk
        .act(incident.id, Move::Resolve, principal(1), "", Some(1))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "precondition_failed");
}

#[tokio::test]
async fn two_escalators_tell_a_level_once() {
    let world = World::new();
    world.levels(&[("pager", 10)]).await;
    world.report("store", FailureKind::Internal, Some(Severity::High));
    world.manager.round().await.unwrap();
    world.pass(seconds(10)).await;
    world.documents.interleave();
    let (one, other) = (world.manager.escalator(), world.another_node().escalator());
    let (first, second) = futures_util::future::join(one.round(), other.round()).await;
    first.unwrap();
    second.unwrap();
    let told = world.metrics.total("failure_manager.escalations_total");
    assert_eq!(told, 1, "one of them wrote, the other one saw that");
    world.deliver().await;
    assert_eq!(world.target.steps(), [NoticeStep::Open]);
}

#[tokio::test]
async fn two_nodes_that_see_failures_at_the_same_time_open_one_incident() {
    let world = World::new();
    let other = world.another_node();
    world.documents.interleave();
    world.report("store", FailureKind::Internal, Some(Severity::High));
    let mut failure = world.failure("store", FailureKind::Internal);
    failure.severity = Some(Severity::High);
    other.report(arbiter_core::services::FailureEvent::Component(failure));
    let (first, second) = futures_util::future::join(world.manager.round(), other.round()).await;
    first.unwrap();
    second.unwrap();
    world.deliver().await;
    let incidents = world.incidents(open()).await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].failures, 2);
    assert_eq!(world.target.steps(), [NoticeStep::Open]);
}

#[tokio::test]
async fn nobody_is_told_in_a_silence_but_the_incident_is_there_and_told_afterwards() {
    let world = World::new();
    let now = world.now();
    let silence = NewSilence {
        kind: SilenceKind::Maintenance,
        component: "store".to_owned(),
        failure: None,
        from: now,
        until: now.plus(seconds(600)),
        why: "upgrade".to_owned(),
    };
    world
        .manager
        .policies()
        .silence(silence, principal(1))
        .await
        .unwrap();
    world.report("store", FailureKind::Internal, Some(Severity::High));
    world.manager.round().await.unwrap();
    world.escalate().await;
    assert_eq!(world.incidents(open()).await.len(), 1);
    assert_eq!(world.target.told(), []);
    world.pass(seconds(600)).await;
    world.escalate().await;
    assert_eq!(world.target.steps(), [NoticeStep::Open]);
}

#[tokio::test]
async fn a_target_that_is_away_for_an_hour_is_told_then_and_others_are_told_meanwhile() {
    let world = World::new();
    world
        .policy(&Policy {
            levels: vec![Level {
                targets: ["pager".to_owned(), "mail".to_owned()].into(),
                after_seconds: 0,
                repeat: None,
                hours: None,
            }],
            ..Policy::plain([])
        })
        .await;
    world.target.set(Mood::Away);
    world.report("store", FailureKind::Internal, Some(Severity::High));
    world.manager.round().await.unwrap();
    for _ in 0..120 {
        world.deliver().await;
        world.pass(seconds(30)).await;
    }
    assert_eq!(
        world.mail.steps(),
        [NoticeStep::Open],
        "the other one was told at once"
    );
    assert!(world.target.tries() > 10 && world.target.steps().is_empty());
    let standing = world.manager.targets().all()["pager"].clone();
    assert!(standing.failing.is_some(), "health shows it");
    world.target.set(Mood::Takes);
    for _ in 0..11 {
        world.deliver().await;
        world.pass(seconds(30)).await;
    }
    assert_eq!(world.target.steps(), [NoticeStep::Open], "once, and not lost");
    assert!(world.manager.targets().all()["pager"].failing.is_none());
}

#[tokio::test]
async fn what_a_target_refuses_is_set_aside_and_stands_on_the_time_line() {
    let world = World::new();
    world.target.set(Mood::Refuses);
    world.report("store", FailureKind::Internal, Some(Severity::High));
    world.manager.round().await.unwrap();
    for _ in 0..10 {
        world.deliver().await;
        world.pass(seconds(600)).await;
    }
    assert_eq!(world.target.tries(), 1, "a repeat is of no use");
    let incident = world.incidents(open()).await.remove(0);
    let last = incident.timeline.last().unwrap();
    assert!(last.text.contains("`pager` was not told"), "{last:?}");
}

#[tokio::test]
async fn a_target_that_was_away_does_not_hear_of_what_is_over_unless_it_may_have_heard_of_it() {
    for (tried, expected) in [(false, &[][..]), (true, &[NoticeStep::Resolve][..])] {
        let world = World::new();
        world.target.set(Mood::Away);
        world.report("store", FailureKind::Internal, Some(Severity::High));
        world.manager.round().await.unwrap();
        if tried {
            world.deliver().await;
        }
        let incident = world.incidents(open()).await.remove(0);
        world
            .desk
            .act(incident.id, Move::Resolve, principal(1), "done", None)
            .await
            .unwrap();
        world.target.set(Mood::Takes);
        for _ in 0..5 {
            // the later notice first: its order must not matter
            world.deliver().await;
            world.pass(seconds(30)).await;
        }
        assert_eq!(world.target.steps(), expected, "tried before: {tried}");
    }
}

#[tokio::test]
async fn secrets_reach_no_notice_and_no_record() {
    let world = World::new();
    let canary = "sk-canary0123456789abcdefghijklmnop";
    let mut failure = world.failure("store", FailureKind::Internal);
    failure.severity = Some(Severity::High);
    failure.error = format!("the call with key {canary} failed");
    failure
        .context
        .insert("password".to_owned(), "canary-password".to_owned());
    failure
        .context
        .insert("note".to_owned(), format!("uses {canary}"));
    failure.diagnostics.log = vec![format!("token={canary}")];
    world
        .manager
        .report(arbiter_core::services::FailureEvent::Component(failure));
    world.manager.round().await.unwrap();
    world.deliver().await;
    let shown = format!("{:?} {:?}", world.target.told(), world.incidents(open()).await);
    assert!(shown.contains("[redacted]"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn failures_beyond_the_room_are_counted_and_dropped() {
    let world = World::new();
    for number in 0..2_000 {
        world.report(&format!("part-{number}"), FailureKind::Internal, None);
    }
    assert_eq!(
        world.metrics.total("failure_manager.dropped_total"),
        2_000 - 1_024
    );
}

#[tokio::test]
async fn five_failures_in_a_row_take_an_agent_out_for_all_nodes_and_one_success_brings_it_back() {
    let world = World::new();
    let other = world.another_node();
    for _ in 0..4 {
        world.manager.attempted(agent(1), &kind(), false).await;
    }
    world.manager.attempted(agent(1), &kind(), true).await;
    for _ in 0..5 {
        assert_eq!(world.offered(&world.manager, agent(1)), Some(4));
        world.manager.attempted(agent(1), &kind(), false).await;
    }
    assert_eq!(world.offered(&world.manager, agent(1)), None, "open");
    other.sweep().await.unwrap();
    assert_eq!(world.offered(&other, agent(1)), None, "for the other node too");
    world.pass(seconds(30)).await;
    assert_eq!(world.offered(&other, agent(1)), Some(1), "half-open: one task");
    other.attempted(agent(1), &kind(), false).await;
    world.pass(seconds(30)).await;
    assert_eq!(world.offered(&other, agent(1)), None, "twice as long");
    world.pass(seconds(30)).await;
    other.attempted(agent(1), &kind(), true).await;
    assert_eq!(world.offered(&other, agent(1)), Some(4));
}

#[tokio::test]
async fn invalid_output_keeps_the_kind_away_from_the_agent() {
    let world = World::new();
    for _ in 0..3 {
        world.attempt_fails(agent(1), arbiter_core::model::FailureClass::Protocol);
    }
    world.manager.round().await.unwrap();
    world.drive(&format!("agent/{}", agent(1)));
    assert_eq!(world.without(&world.manager, agent(1)), [kind()]);
    assert_eq!(
        world.outcomes(&format!("agent/{}", agent(1))).await,
        ["contained"]
    );
    world.pass(seconds(900)).await;
    assert_eq!(world.without(&world.manager, agent(1)), []);
}

#[tokio::test]
async fn a_storm_of_dead_letters_is_told() {
    let world = World::new();
    for _ in 0..20 {
        world.plan_last_attempt();
    }
    world.manager.round().await.unwrap();
    let incidents = world.incidents(open()).await;
    assert_eq!(incidents.len(), 1);
    assert_eq!(incidents[0].component, component("tasks/dead-letters"));
    assert_eq!(incidents[0].impact.tasks, Some(20));
}

#[tokio::test]
async fn the_running_service_tells_within_a_second() {
    let world = World::new();
    world
        .running(async |world| {
            world.report("store", FailureKind::Internal, Some(Severity::Critical));
            world.pass(seconds(1)).await;
            assert_eq!(world.target.steps(), [NoticeStep::Open]);
        })
        .await;
}

#[tokio::test]
async fn failures_that_could_not_be_noted_wait_until_the_store_is_back() {
    let world = World::new();
    world.documents.fail(true);
    world.report("store", FailureKind::Internal, Some(Severity::Critical));
    world.manager.round().await.unwrap_err();
    world.report("store", FailureKind::Internal, Some(Severity::Critical));
    world.manager.round().await.unwrap_err();
    world.documents.fail(false);
    world.manager.round().await.unwrap();
    assert_eq!(world.incidents(open()).await[0].failures, 2);
}

#[test]
fn outcomes_that_need_people_are_those_without_health() {
    let by = crate::Action::SwitchOver;
    for (outcome, needs) in [
        (Outcome::Recovered { by }, false),
        (Outcome::Contained { by }, false),
        (Outcome::Exhausted, true),
        (Outcome::TimedOut, true),
        (Outcome::Cancelled, false),
    ] {
        assert_eq!(outcome.needs_people(), needs);
    }
}
