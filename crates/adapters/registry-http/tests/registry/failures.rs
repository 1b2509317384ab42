//! Every way in which a call fails: a typed error, and never an agent.

use std::time::Duration;

use arbiter_adapter_registry_http::{CallError, HttpAgentRegistry};
use arbiter_core::model::{AgentBeat, AgentMode, Fence, OutcomeDelta, RecordDraft, TenantScope, Timestamp};
use arbiter_core::ports::{AgentQuery, AgentRegistry as _, HeardFrom, RegistryError, Revision};
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::{agent, kind, profile, task};
use arbiter_wire::http::Problem;
use serde_json::json;

use crate::support::{KEY, World, chain, json_answer, problem, unavailable, view};

/// Every call of the port, by name. What it gives when it succeeds does not matter here.
async fn each_call(registry: &HttpAgentRegistry) -> Vec<(&'static str, Result<(), RegistryError>)> {
    let draft = RecordDraft::default;
    let beat = AgentBeat {
        agent: agent(1),
        able: true,
        cpu: None,
        memory: None,
    };
    let outcome = OutcomeDelta {
        agent: agent(1),
        kind: kind(),
        attempt: (task(1), Fence(1)),
        succeeded: true,
        quality: None,
        latency: Duration::from_secs(1),
        cost_micros: None,
    };
    let query = AgentQuery {
        after: None,
        limit: 10,
    };
    let now = Timestamp::from_micros(1);
    vec![
        ("register", registry.register(profile(1), draft()).await.map(drop)),
        (
            "set_mode",
            registry
                .set_mode(agent(1), AgentMode::Draining, draft())
                .await
                .map(drop),
        ),
        ("beat", registry.beat(vec![beat]).await.map(drop)),
        ("changes", registry.changes(Revision(0), 10).await.map(drop)),
        ("heard", registry.heard(HeardFrom::since(now), 10).await.map(drop)),
        ("learn", registry.learn(vec![outcome]).await),
        (
            "remove_silent",
            registry.remove_silent(now, draft()).await.map(drop),
        ),
        ("remove", registry.remove(agent(1), draft()).await.map(drop)),
        ("get", registry.get(&[agent(1)]).await.map(drop)),
        ("list", registry.list(TenantScope::All, query).await.map(drop)),
    ]
}

/// Every call is unavailable, for a reason that is as expected; nothing shows the key.
async fn each_is_unavailable(world: &World, what: &str, expected: impl Fn(&CallError) -> bool) {
    for (call, result) in each_call(&world.registry).await {
        let error = match result {
            Err(error @ RegistryError::Unavailable { .. }) => error,
            other => panic!("{what}: {call}: {other:?}"),
        };
        let text = chain(&error);
        assert!(!text.contains(KEY), "{text}");
        let (why, _) = unavailable(error);
        assert!(expected(&why), "{what}: {call}: {text}");
    }
    assert!(world.registry.status().problem.is_some(), "{what}");
}

fn refused(status: u16) -> impl Fn(&CallError) -> bool {
    move |error| matches!(error, CallError::Refused { status: told, .. } if *told == status)
}

#[tokio::test]
async fn every_error_status_is_unavailable_with_what_the_registry_said() {
    let world = World::saying(problem("internal")).await;
    for code in [
        "auth_failed",
        "forbidden",
        "in_use",
        "precondition_failed",
        "rate_limited",
        "internal",
        "unavailable",
        "registry_unavailable",
    ] {
        world.says(problem(code));
        let status = arbiter_wire::codes::meaning(code).status;
        each_is_unavailable(&world, code, |error| {
            refused(status)(error) && error.is_code(code)
        })
        .await;
    }
    for status in [
        301, 400, 401, 403, 404, 405, 409, 412, 418, 429, 500, 502, 503, 504,
    ] {
        // Something that answers in the registry's place: what it says is not taken for the registry's word.
        let told = serde_json::to_value(Problem::new("not_found", "no such page")).unwrap();
        world.says(json_answer(status, &told));
        each_is_unavailable(&world, &status.to_string(), |error| {
            refused(status)(error) && !error.is_code("not_found")
        })
        .await;
    }
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_absent_and_no_error() {
    let world = World::saying(problem("not_found")).await;
    let registry = &world.registry;
    assert_eq!(registry.get(&[agent(1), agent(1)]).await.unwrap(), [None, None]);
    assert!(!registry.remove(agent(1), RecordDraft::default()).await.unwrap());
    let set = registry.set_mode(agent(1), AgentMode::Active, RecordDraft::default());
    assert!(!set.await.unwrap());
    assert_eq!(registry.status().problem, None, "it answers");
    // No list and no feed is ever absent.
    registry.changes(Revision(0), 1).await.unwrap_err();
    registry.heard(HeardFrom::START, 1).await.unwrap_err();
}

#[tokio::test]
async fn a_call_that_is_refused_for_what_it_says_is_an_error_of_that_call() {
    let world = World::saying(problem("invalid_value")).await;
    for code in [
        "invalid_value",
        "invalid_request",
        "unsupported_field",
        "too_large",
    ] {
        world.says(problem(code));
        for (call, result) in each_call(&world.registry).await {
            let is_feed = ["changes", "heard"].contains(&call);
            match result {
                Err(RegistryError::Refused { source, .. }) if !is_feed => {
                    let why = source.downcast::<CallError>().unwrap();
                    assert!(why.is_code(code), "{call}: {why:?}");
                }
                Err(RegistryError::Unavailable { .. }) if is_feed => {}
                other => panic!("{code}: {call}: {other:?}"),
            }
        }
        assert_eq!(world.registry.status().problem, None, "{code}: it serves others");
        // The feeds name nothing of anybody's.
        world.registry.changes(Revision(0), 1).await.unwrap_err();
        assert!(world.registry.status().problem.is_some(), "{code}");
    }
}

#[tokio::test]
async fn an_answer_to_something_else_is_damaged() {
    let page = |numbers: &[u64], revision: u64, more: bool| {
        let agents: Vec<_> = numbers.iter().map(|number| view(*number)).collect();
        json_answer(
            200,
            &json!({"agents": agents, "removed": [], "revision": revision, "more": more}),
        )
    };
    let gone = json!({"agents": [], "removed": [agent(1).to_string()], "revision": 4, "more": false});
    for (what, answer) in [
        ("no end", page(&[], 4, true)),
        ("the same place again", page(&[1], 4, true)),
        ("changes that are none", page(&[1], 4, false)),
        ("removals that are none", json_answer(200, &gone)),
        ("too many", page(&[1, 2, 3], 7, false)),
    ] {
        let world = World::saying(answer).await;
        let error = world.registry.changes(Revision(4), 2).await.unwrap_err();
        is_damaged(what, error);
    }
    let listed = |numbers: &[u64], next: Option<u64>| {
        let agents: Vec<_> = numbers.iter().map(|number| view(*number)).collect();
        let next = next.map(|number| agent(number).to_string());
        let cursor = next.as_ref().map(|_| "a-cursor");
        json_answer(
            200,
            &json!({"agents": agents, "next": cursor, "next_after": next}),
        )
    };
    let own = arbiter_testkit::builders::tenant(1);
    let other = arbiter_testkit::builders::tenant(2);
    let query = AgentQuery {
        after: Some(agent(2)),
        limit: 2,
    };
    let list = async |scope, answer| World::saying(answer).await.registry.list(scope, query).await;
    list(TenantScope::Tenant(own), listed(&[3, 4], Some(4)))
        .await
        .unwrap();
    list(TenantScope::All, listed(&[], Some(9))).await.unwrap();
    for (what, scope, answer) in [
        ("another tenant's", TenantScope::Tenant(other), listed(&[3], None)),
        ("one before", TenantScope::All, listed(&[1], None)),
        ("the same again", TenantScope::All, listed(&[2], None)),
        ("out of order", TenantScope::All, listed(&[4, 3], None)),
        ("too many", TenantScope::All, listed(&[3, 4, 5], None)),
        ("the same cursor", TenantScope::All, listed(&[], Some(2))),
        ("a cursor before", TenantScope::All, listed(&[3, 4], Some(3))),
    ] {
        is_damaged(what, list(scope, answer).await.unwrap_err());
    }
    let world = World::saying(json_answer(200, &json!({"unknown": [agent(2).to_string()]}))).await;
    let beat = AgentBeat {
        agent: agent(1),
        able: true,
        cpu: None,
        memory: None,
    };
    is_damaged("a stranger", world.registry.beat(vec![beat]).await.unwrap_err());
    for (what, numbers) in [("a stranger", vec![3]), ("one twice", vec![1, 1, 2])] {
        let agents: Vec<_> = numbers.into_iter().map(view).collect();
        let world = World::saying(json_answer(200, &json!({"agents": agents}))).await;
        let error = world.registry.get(&[agent(1), agent(2)]).await.unwrap_err();
        is_damaged(what, error);
    }
}

fn is_damaged(what: &str, error: RegistryError) {
    let (why, _) = unavailable(error);
    assert!(matches!(why, CallError::Answer { .. }), "{what}: {why:?}");
}

#[tokio::test]
async fn a_full_registry_says_its_limit() {
    let told = Problem {
        limit: Some(7),
        ..Problem::new("registry_full", "it takes 7")
    };
    let world = World::saying(crate::support::problem_with(&told)).await;
    let error = world.registry.register(profile(1), RecordDraft::default()).await;
    assert!(
        matches!(error, Err(RegistryError::Full { limit: 7 })),
        "{error:?}"
    );
    // Without it nothing is made up.
    world.says(problem("registry_full"));
    let error = world
        .registry
        .register(profile(1), RecordDraft::default())
        .await
        .unwrap_err();
    assert!(unavailable(error).0.is_code("registry_full"));
}

#[tokio::test]
async fn a_profile_that_breaks_a_rule_is_not_sent() {
    let world = World::saying(problem("internal")).await;
    let mut broken = profile(1);
    broken.slots = 0;
    let error = world.registry.register(broken, RecordDraft::default()).await;
    assert!(matches!(error, Err(RegistryError::Invalid(_))), "{error:?}");
    assert_eq!(world.stub.seen().len(), 0);
}

#[tokio::test]
async fn the_wait_that_the_registry_asks_for_is_passed_on() {
    let wait = async |answer| {
        let world = World::saying(answer).await;
        let error = world.registry.changes(Revision(0), 1).await.unwrap_err();
        unavailable(error).1
    };
    let busy = || problem("rate_limited");
    assert_eq!(wait(busy()).await, None, "absent is absent");
    assert_eq!(
        wait(busy().with("retry-after", "7")).await,
        Some(Duration::from_secs(7))
    );
    let told = Problem {
        retry_after_ms: Some(1_500),
        ..Problem::new("registry_unavailable", "later")
    };
    let answer = crate::support::problem_with(&told).with("retry-after", "2");
    assert_eq!(wait(answer).await, Some(Duration::from_millis(1_500)));
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    let world = World::saying(problem("internal")).await;
    let gone = World::with(problem("internal"), |config| {
        config.retries = 0;
        config.breaker = None;
        // Nobody listens there: the port was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        config.url = format!("http://{}", free.local_addr().unwrap());
    })
    .await;
    each_is_unavailable(&gone, "down", |error| matches!(error, CallError::Unanswered(_))).await;
    assert_eq!((world.stub.seen().len(), gone.stub.seen().len()), (0, 0));
}

#[tokio::test]
async fn answers_that_break_off_are_no_answers() {
    let raw = |text: &str| StubAnswer::Raw(text.as_bytes().to_vec());
    for (what, answer) in [
        ("reset", raw("")),
        ("half a head", raw("HTTP/1.1 200 OK\r\ncontent-le")),
        ("no HTTP", raw("SSH-2.0-OpenSSH_9.2\r\n")),
        (
            "half a body",
            raw(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"agents\":[",
            ),
        ),
        (
            "an announced giant",
            raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n{"),
        ),
    ] {
        let world = World::saying(answer).await;
        each_is_unavailable(&world, what, |error| matches!(error, CallError::Unanswered(_))).await;
    }
    let world = World::with(
        json_answer(200, &json!({"agents": ["x".repeat(70_000)]})),
        |config| {
            config.retries = 0;
            config.breaker = None;
            config.max_answer_bytes = 65_536;
        },
    )
    .await;
    each_is_unavailable(&world, "a giant", |error| {
        matches!(
            error,
            CallError::Unanswered(arbiter_net::NetError::ResponseTooLarge {
                limit_bytes: 65_536,
                ..
            })
        )
    })
    .await;
}

#[tokio::test]
async fn a_slow_registry_is_not_waited_for() {
    let stall = |text: &str| StubAnswer::Stall(text.as_bytes().to_vec());
    for (what, answer) in [
        ("a slow head", stall("HTTP/1.1 200 OK\r\n")),
        (
            "a slow body",
            stall("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"),
        ),
    ] {
        let world = World::saying(answer).await;
        let asked = [agent(1)];
        let (answered, ()) = tokio::join!(world.registry.get(&asked), async {
            world.stub.wait_for(1).await;
            world.clock.advance(Duration::from_secs(6));
        });
        let (why, _) = unavailable(answered.unwrap_err());
        assert!(matches!(why, CallError::Unanswered(_)), "{what}: {why:?}");
    }
}

#[tokio::test]
async fn answers_that_nobody_can_read_are_no_agents() {
    let page =
        |agent: serde_json::Value| json!({"agents": [agent], "removed": [], "revision": 3, "more": false});
    let with = |field: &str, value: serde_json::Value| {
        let mut view = view(1);
        view[field] = value;
        page(view)
    };
    let truncated = StubAnswer::reply(200, r#"{"agents":[{"id":"#).with("content-type", "application/json");
    let html = StubAnswer::reply(200, page(view(1)).to_string()).with("content-type", "text/html");
    let untyped = StubAnswer::reply(200, page(view(1)).to_string());
    let empty = StubAnswer::reply(200, "").with("content-type", "application/json");
    let mut answers = vec![
        ("truncated", truncated),
        ("html", html),
        ("untyped", untyped),
        ("empty", empty),
        ("another status", json_answer(206, &page(view(1)))),
        ("nothing", StubAnswer::reply(204, "")),
    ];
    for (field, value) in [
        ("id", json!("1")),
        ("tenant", json!("everybody")),
        ("kinds", json!([])),
        ("kinds", json!(["Not A Kind"])),
        ("slots", json!(0)),
        ("slots", json!(-1)),
        ("transport", json!("pigeon")),
        ("mode", json!("asleep")),
        ("clearance", json!("cosmic")),
        ("registered_at", json!("yesterday")),
        ("seen_at", json!("5")),
        ("beat", json!({"able": true, "cpu": 1.5})),
        (
            "records",
            json!([{"kind": "analysis", "attempts": 1, "succeeded": 1, "success_rate": 1, "latency_seconds": 1}]),
        ),
        ("name", json!(null)),
    ] {
        answers.push((field, json_answer(200, &with(field, value))));
    }
    for (what, answer) in answers {
        let world = World::saying(answer).await;
        let error = world.registry.changes(Revision(0), 10).await.unwrap_err();
        let (why, _) = unavailable(error);
        assert!(matches!(why, CallError::Answer { .. }), "{what}: {why:?}");
    }
    // A revision that goes back, or an agent that nobody asked for.
    let world = World::saying(json_answer(200, &page(view(1)))).await;
    let (why, _) = unavailable(world.registry.changes(Revision(4), 10).await.unwrap_err());
    assert!(matches!(why, CallError::Answer { .. }), "{why:?}");
    let world = World::saying(json_answer(200, &view(1))).await;
    let (why, _) = unavailable(world.registry.get(&[agent(2)]).await.unwrap_err());
    assert!(chain(&why).contains("is about the agent"), "{why:?}");
}

#[tokio::test]
async fn who_was_heard_of_is_told_from_the_place_that_was_asked_for_and_on() {
    let moment = |second: u8| format!("2026-01-01T00:00:{second:02}.000000Z");
    let told = |agents: &[(u64, u8)], more: bool| {
        let agents = agents
            .iter()
            .map(|(number, second)| json!({"agent": agent(*number).to_string(), "at": moment(*second)}));
        json_answer(200, &json!({"agents": agents.collect::<Vec<_>>(), "more": more}))
    };
    let from = HeardFrom {
        since: moment(5).parse().unwrap(),
        after: Some(agent(2)),
    };
    let ask = async |answer, limit| World::saying(answer).await.registry.heard(from, limit).await;
    let heard = ask(told(&[(3, 5), (1, 6), (4, 6)], true), 3).await.unwrap();
    assert_eq!((heard.agents.len(), heard.more), (3, true));
    for (what, answer) in [
        ("the same again", told(&[(2, 5)], true)),
        ("one before", told(&[(9, 4)], false)),
        ("out of order", told(&[(4, 6), (1, 6)], false)),
        ("back in time", told(&[(1, 6), (3, 5)], false)),
        ("one twice", told(&[(3, 5), (3, 5)], false)),
        ("no end", told(&[], true)),
        ("too many", told(&[(3, 5), (4, 5), (5, 5), (6, 5)], false)),
    ] {
        let (why, _) = unavailable(ask(answer, 3).await.unwrap_err());
        assert!(matches!(why, CallError::Answer { .. }), "{what}: {why:?}");
    }
}

#[tokio::test]
async fn what_may_be_repeated_is_and_a_removal_is_not() {
    let world = World::with(problem("unavailable"), |config| config.breaker = None).await;
    let asked = |world: &World| world.stub.seen().len();
    world.registry.changes(Revision(0), 1).await.unwrap_err();
    assert_eq!(asked(&world), 3);
    world
        .registry
        .remove(agent(1), RecordDraft::default())
        .await
        .unwrap_err();
    assert_eq!(asked(&world), 4);
    let silent = world
        .registry
        .remove_silent(Timestamp::from_micros(1), RecordDraft::default());
    silent.await.unwrap_err();
    assert_eq!(asked(&world), 5);
    assert!(world.registry.owns_retries());
}

#[tokio::test]
async fn a_registry_that_fails_again_and_again_is_left_alone() {
    let world = World::with(problem("internal"), |config| config.retries = 0).await;
    for _ in 0..20 {
        world.registry.changes(Revision(0), 1).await.unwrap_err();
    }
    assert_eq!(world.stub.seen().len(), 5, "the breaker is open");
    let (why, after) = unavailable(world.registry.changes(Revision(0), 1).await.unwrap_err());
    assert!(
        matches!(why, CallError::Unanswered(_)) && after.is_some(),
        "{why:?}"
    );
}
