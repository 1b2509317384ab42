//! The time without the registry: what was read may be given until it is stale, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arbiter_core::model::{AgentMode, RecordDraft};
use arbiter_core::ports::{AgentRegistry as _, HeardFrom, RegistryError, Revision};
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::{agent, profile};
use serde_json::json;

use crate::support::{World, json_answer, problem, registered, view};

const STALE: Duration = Duration::from_mins(5);

/// A registry that was asked for agent 1, and does not answer now.
async fn asked() -> World {
    let world = World::saying(json_answer(200, &view(1))).await;
    assert_eq!(
        world.registry.get(&[agent(1)]).await.unwrap(),
        [Some(registered(profile(1)))]
    );
    world.says(problem("unavailable"));
    world
}

fn is_unavailable<T: std::fmt::Debug>(answer: Result<T, RegistryError>) {
    assert!(
        matches!(answer, Err(RegistryError::Unavailable { .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_profile_is_given_until_it_is_stale() {
    let world = asked().await;
    world.clock.advance(STALE);
    let found = world.registry.get(&[agent(1), agent(1)]).await.unwrap();
    assert_eq!(
        found,
        [Some(registered(profile(1))), Some(registered(profile(1)))]
    );
    assert!(
        world.registry.status().problem.is_some(),
        "it is away all the same"
    );
    world.clock.advance(Duration::from_millis(1));
    is_unavailable(world.registry.get(&[agent(1)]).await);
}

#[tokio::test]
async fn nobody_is_called_absent_while_the_registry_is_away() {
    let world = asked().await;
    is_unavailable(world.registry.get(&[agent(2)]).await);
    is_unavailable(world.registry.get(&[agent(1), agent(2)]).await);
}

#[tokio::test]
async fn every_sort_of_being_away_counts_and_a_refusal_does_not() {
    for answer in [
        problem("rate_limited"),
        problem("internal"),
        problem("registry_unavailable"),
        StubAnswer::Raw(Vec::new()),
        StubAnswer::reply(200, "<html>").with("content-type", "text/html"),
    ] {
        let world = asked().await;
        world.says(answer);
        assert!(world.registry.get(&[agent(1)]).await.unwrap()[0].is_some());
    }
    for answer in [
        problem("auth_failed"),
        problem("forbidden"),
        StubAnswer::reply(404, "no such page"),
        StubAnswer::reply(302, ""),
    ] {
        let world = asked().await;
        world.says(answer.clone());
        is_unavailable(world.registry.get(&[agent(1)]).await);
    }
}

#[tokio::test]
async fn what_was_removed_or_changed_is_not_given() {
    // Said to be absent.
    let world = asked().await;
    world.says(problem("not_found"));
    assert_eq!(world.registry.get(&[agent(1)]).await.unwrap(), [None]);
    world.says(problem("unavailable"));
    is_unavailable(world.registry.get(&[agent(1)]).await);
    // Named as removed.
    let world = asked().await;
    let removed = json!({"agents": [], "removed": [agent(1).to_string()], "revision": 2, "more": false});
    world.says(json_answer(200, &removed));
    world.registry.changes(Revision(1), 10).await.unwrap();
    world.says(problem("unavailable"));
    is_unavailable(world.registry.get(&[agent(1)]).await);
    // Perhaps put into quarantine: the answer was lost.
    let world = asked().await;
    let mode = AgentMode::Quarantined;
    let set = world
        .registry
        .set_mode(agent(1), mode, RecordDraft::default())
        .await;
    is_unavailable(set);
    is_unavailable(world.registry.get(&[agent(1)]).await);
}

#[tokio::test]
async fn while_a_mode_is_being_set_the_one_before_is_not_given() {
    let away = Arc::new(AtomicBool::new(false));
    let is_away = Arc::clone(&away);
    let world = World::by_call(move |seen| match is_away.load(Ordering::SeqCst) {
        false => json_answer(200, &view(1)),
        true if seen.target.ends_with("/mode") => StubAnswer::Stall(Vec::new()),
        true => problem("unavailable"),
    })
    .await;
    world.registry.get(&[agent(1)]).await.unwrap();
    away.store(true, Ordering::SeqCst);
    assert!(world.registry.get(&[agent(1)]).await.is_ok(), "from memory");
    let asked = world.stub.seen().len();
    let draft = RecordDraft::default();
    let set = world.registry.set_mode(agent(1), AgentMode::Quarantined, draft);
    let (set, ()) = tokio::join!(set, async {
        world.stub.wait_for(asked + 1).await;
        is_unavailable(world.registry.get(&[agent(1)]).await);
        world.clock.advance(Duration::from_secs(6));
    });
    is_unavailable(set);
}

#[tokio::test]
async fn to_register_forgets_what_may_have_changed_and_nothing_else() {
    let register = async |answer: StubAnswer| {
        let world = asked().await;
        world.says(answer);
        let registered = world.registry.register(profile(1), RecordDraft::default()).await;
        world.says(problem("unavailable"));
        (registered.is_ok(), world.registry.get(&[agent(1)]).await.is_ok())
    };
    let outcome = |word: &str| json_answer(200, &json!({"id": agent(1).to_string(), "outcome": word}));
    assert_eq!(register(outcome("unchanged")).await, (true, true));
    assert_eq!(register(outcome("replaced")).await, (true, false));
    assert_eq!(register(problem("invalid_value")).await, (false, true));
    assert_eq!(register(problem("unavailable")).await, (false, false));
}

#[tokio::test]
async fn what_the_feed_tells_is_remembered_with_who_was_heard_of() {
    let changes = json!({"agents": [view(1), view(2)], "removed": [], "revision": 2, "more": false});
    let world = World::saying(json_answer(200, &changes)).await;
    world.registry.changes(Revision(0), 10).await.unwrap();
    let later = "2026-01-01T00:10:00.000000Z";
    let seen = json!({"agent": agent(2).to_string(), "at": later, "beat": {"able": false}});
    let heard = json!({"agents": [seen], "more": false});
    world.says(json_answer(200, &heard));
    let from = HeardFrom::since("2026-01-01T00:00:00Z".parse().unwrap());
    world.registry.heard(from, 10).await.unwrap();
    world.says(StubAnswer::Raw(Vec::new()));
    let found = world.registry.get(&[agent(2), agent(1)]).await.unwrap();
    let second = found[0].as_ref().unwrap();
    assert_eq!(
        (second.seen_at.to_string().as_str(), second.beat.unwrap().able),
        (later, false)
    );
    assert_eq!(found[1], Some(registered(profile(1))));
}

#[tokio::test]
async fn more_agents_than_are_remembered_are_forgotten_not_mixed_up() {
    let changes = json!({"agents": [view(1), view(2), view(3)], "removed": [], "revision": 3, "more": false});
    let world = World::with(json_answer(200, &changes), |config| {
        config.retries = 0;
        config.breaker = None;
        config.remembered = 2;
    })
    .await;
    world.registry.changes(Revision(0), 10).await.unwrap();
    world.says(problem("unavailable"));
    is_unavailable(world.registry.get(&[agent(1)]).await);
    assert_eq!(
        world.registry.get(&[agent(3)]).await.unwrap(),
        [Some(registered(profile(3)))]
    );
}

#[tokio::test]
async fn what_the_feed_does_not_name_is_as_young_as_the_feed() {
    let page = |revision: u64, more: bool| {
        json_answer(
            200,
            &json!({"agents": [], "removed": [], "revision": revision, "more": more}),
        )
    };
    let first = json!({"agents": [view(1)], "removed": [], "revision": 1, "more": false});
    let follow = async |answers: &[(u64, StubAnswer)]| {
        let world = World::saying(json_answer(200, &first)).await;
        world.registry.changes(Revision(0), 10).await.unwrap();
        world.clock.advance(STALE);
        for (after, answer) in answers {
            world.says(answer.clone());
            world.registry.changes(Revision(*after), 10).await.unwrap();
        }
        world.clock.advance(STALE);
        world.says(problem("unavailable"));
        world.registry.get(&[agent(1)]).await
    };
    assert!(follow(&[(1, page(1, false))]).await.unwrap()[0].is_some());
    is_unavailable(follow(&[]).await);
    // Not all was told yet, or some of it to nobody here.
    is_unavailable(follow(&[(1, page(5, true))]).await);
    is_unavailable(follow(&[(2, page(2, false))]).await);
    assert!(follow(&[(1, page(5, true)), (5, page(5, false))]).await.unwrap()[0].is_some());
}
