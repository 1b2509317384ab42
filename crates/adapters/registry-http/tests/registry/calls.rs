//! What is sent, where the pact does not show it.

use arbiter_core::model::{AgentMode, Json, RecordDraft, TenantScope, Timestamp};
use arbiter_core::ports::{AgentQuery, AgentRegistry as _, HeardFrom, Revision};
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::{agent, profile};
use arbiter_wire::http::MAX_AGENT_ITEMS;
use serde_json::{Value, json};

use crate::support::{World, json_answer, problem, view};

fn body(world: &World) -> Value {
    serde_json::from_slice(&world.last().body).unwrap()
}

#[tokio::test]
async fn a_mode_is_sent_with_the_reason_of_the_draft() {
    let world = World::saying(StubAnswer::reply(204, "")).await;
    let draft = RecordDraft::default().with_detail(Json::of(&json!({"reason": "it lies"})));
    let set = world
        .registry
        .set_mode(agent(1), AgentMode::Quarantined, draft)
        .await;
    assert!(set.unwrap());
    assert_eq!(body(&world), json!({"mode": "quarantined", "reason": "it lies"}));
    for detail in [json!({"reason": " "}), json!({"reason": 5}), json!([])] {
        let draft = RecordDraft::default().with_detail(Json::of(&detail));
        world
            .registry
            .set_mode(agent(1), AgentMode::Active, draft)
            .await
            .unwrap();
        assert!(!body(&world)["reason"].as_str().unwrap().trim().is_empty());
    }
}

#[tokio::test]
async fn moments_before_every_agent_are_left_out() {
    let world = World::saying(json_answer(200, &json!({"agents": [], "more": false}))).await;
    let before_all = HeardFrom {
        after: Some(agent(1)),
        ..HeardFrom::START
    };
    for from in [HeardFrom::START, before_all] {
        world.registry.heard(from, 1_000).await.unwrap();
        assert_eq!(world.last().target, "/v1/agents/heard?limit=1000");
    }
    let from = HeardFrom {
        since: Timestamp::from_micros(1),
        after: Some(agent(1)),
    };
    world.registry.heard(from, 0).await.unwrap();
    let expected = format!(
        "/v1/agents/heard?since=1970-01-01T00%3A00%3A00.000001Z&after={}&limit=1",
        agent(1)
    );
    assert_eq!(world.last().target, expected);
    let asked = world.stub.seen().len();
    let silent = world
        .registry
        .remove_silent(Timestamp::from_micros(i64::MIN), RecordDraft::default());
    assert_eq!(silent.await.unwrap(), []);
    assert_eq!(world.stub.seen().len(), asked, "nobody was silent before that");
}

#[tokio::test]
async fn many_items_are_sent_in_calls_of_a_bounded_size() {
    let world = World::saying(json_answer(200, &json!({"unknown": []}))).await;
    let beats = (0..=MAX_AGENT_ITEMS as u64).map(|number| arbiter_core::model::AgentBeat {
        agent: agent(number),
        able: true,
        cpu: None,
        memory: None,
    });
    let unknown = world.registry.beat(beats.collect()).await.unwrap();
    assert_eq!((unknown.len(), world.stub.seen().len()), (0, 2));
    assert_eq!(world.registry.beat(Vec::new()).await.unwrap(), []);
    assert_eq!(world.registry.get(&[]).await.unwrap(), []);
    assert_eq!(world.stub.seen().len(), 2, "nothing is asked about nobody");
}

#[tokio::test]
async fn the_limit_of_a_page_is_one_that_the_interface_takes() {
    let page = json!({"agents": [], "removed": [], "revision": 0, "more": false});
    let world = World::saying(json_answer(200, &page)).await;
    for (asked, sent) in [(0, "limit=1"), (7, "limit=7"), (1_000_000, "limit=1000")] {
        world.registry.changes(Revision(0), asked).await.unwrap();
        assert!(world.last().target.ends_with(sent), "{}", world.last().target);
    }
}

#[tokio::test]
async fn how_the_registry_stands_is_known() {
    let world = World::saying(problem("auth_failed")).await;
    assert_eq!(
        (world.registry.status().answered, world.registry.status().problem),
        (None, None)
    );
    world
        .registry
        .register(profile(1), RecordDraft::default())
        .await
        .unwrap_err();
    let status = world.registry.status();
    let problem = status.problem.unwrap();
    assert!(status.answered.is_none() && problem.contains("401"), "{problem}");
    world.says(json_answer(200, &json!({"agents": [], "more": false})));
    world.registry.heard(HeardFrom::START, 10).await.unwrap();
    let status = world.registry.status();
    assert!(status.answered.is_some() && status.problem.is_none());
}

#[tokio::test]
async fn several_agents_are_read_in_one_call() {
    let world = World::saying(json_answer(200, &json!({"agents": [view(1), view(2)]}))).await;
    let found = world
        .registry
        .get(&[agent(2), agent(3), agent(1), agent(2)])
        .await
        .unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|agent| agent.as_ref().map(|agent| agent.profile.id))
        .collect();
    assert_eq!(names, [Some(agent(2)), None, Some(agent(1)), Some(agent(2))]);
    assert_eq!(world.stub.seen().len(), 1);
    let ids: Vec<_> = (1..=3).map(|number| agent(number).to_string()).collect();
    assert_eq!(body(&world), json!({"ids": ids}));
    // What was read is remembered, and what is absent is not.
    world.says(problem("unavailable"));
    assert!(world.registry.get(&[agent(1), agent(2)]).await.is_ok());
    assert!(world.registry.get(&[agent(1), agent(3)]).await.is_err());
    world.says(json_answer(200, &json!({"agents": []})));
    let before = world.stub.seen().len();
    let many: Vec<_> = (0..=MAX_AGENT_ITEMS as u64).map(agent).collect();
    assert_eq!(world.registry.get(&many).await.unwrap(), vec![None; many.len()]);
    assert_eq!(world.stub.seen().len(), before + 2);
}

/// Agent of a kilobyte and more.
fn large(number: u64) -> Value {
    let mut view = view(number);
    view["labels"] = json!({"text": "x".repeat(1_000)});
    view
}

#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_in_parts() {
    let world = World::by_call(|seen| {
        if seen.target == "/v1/agents/get-many" {
            let form: Value = serde_json::from_slice(&seen.body).unwrap();
            let ids = form["ids"].as_array().unwrap().iter();
            let agents = ids.filter_map(|id| (1..=200).map(large).find(|view| view["id"] == *id));
            return json_answer(200, &json!({"agents": agents.collect::<Vec<_>>()}));
        }
        let (_, limit) = seen.target.split_once("limit=").unwrap();
        let limit: u64 = limit.split('&').next().unwrap().parse().unwrap();
        let agents: Vec<Value> = (1..=limit).map(large).collect();
        let last = agent(limit).to_string();
        let answer = if seen.target.contains("changes") {
            json!({"agents": agents, "removed": [], "revision": limit, "more": true})
        } else {
            json!({"agents": agents, "next": "a-cursor", "next_after": last})
        };
        json_answer(200, &answer)
    })
    .await;
    let changes = world.registry.changes(Revision(0), 1_000).await.unwrap();
    assert_eq!((changes.agents.len(), changes.revision), (31, Revision(31)));
    let query = AgentQuery {
        after: None,
        limit: 100,
    };
    let page = world.registry.list(TenantScope::All, query).await.unwrap();
    assert_eq!((page.agents.len(), page.next), (25, Some(agent(25))));
    let ids: Vec<_> = (1..=200).map(agent).collect();
    let found = world.registry.get(&ids).await.unwrap();
    assert!(found.len() == 200 && found.iter().all(Option::is_some));
    assert_eq!(world.registry.status().problem, None);
}
