//! Any node takes any call.

use arbiter_tests::wait_until;
use serde_json::{Value, json};

use crate::cluster::{Database, Node, report, task};

#[test]
fn a_task_may_touch_another_node_at_each_of_its_calls() {
    let database = Database::new();
    let (one, other) = (database.node(), database.node());
    let (agent, agent_id) = one.agent(2);
    // it waits at one node, and what comes in at the other wakes it
    let work = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| agent.claim(&other, 1, 30));
        let id = one.submit();
        let work = waiting.join().expect("an answer");
        assert_eq!(work[0]["task"], json!(id));
        work
    });
    let told = agent.at(&one).post("/v1/work/report", &report(&work[0]));
    assert_eq!(told.status, 204, "{told:?}");
    let id = work[0]["task"].as_str().expect("an id");
    for node in [&one, &other] {
        assert_eq!(node.task(id)["state"], "succeeded");
    }
    wait_until("the agent's record is the same everywhere", || {
        [&one, &other].iter().all(|node| {
            let told = node.operator.get(&format!("/v1/agents/{agent_id}")).json();
            told["records"][0]["succeeded"] == 1
        })
    });
}

#[test]
fn an_agent_moves_to_another_node_with_what_it_holds() {
    let database = Database::new();
    let (one, other) = (database.node(), database.node());
    let (agent, _) = one.agent(2);
    let id = one.submit();
    assert_eq!(agent.claim(&one, 1, 30).len(), 1);
    // the other node gives it what the agent does not say it holds, and nothing twice
    let again = agent.claim(&other, 2, 0);
    assert_eq!(again.len(), 1, "{again:?}");
    assert_eq!(again[0]["task"], json!(id));
    let held = json!([{"task": again[0]["task"], "fence": again[0]["fence"]}]);
    let beat = agent
        .at(&other)
        .post("/v1/work/heartbeat", &json!({"attempts": held}));
    assert_eq!(beat.json()["leases"][0]["status"], "held", "{beat:?}");
    let told = agent.at(&other).post("/v1/work/report", &report(&again[0]));
    assert_eq!(told.status, 204, "{told:?}");
    assert_eq!(one.task(&id)["state"], "succeeded");
}

#[test]
fn what_is_repeated_at_another_node_is_known_there() {
    let database = Database::new();
    let (one, other) = (database.node(), database.node());
    // a key belongs to its principal: the same one calls at both
    let same = arbiter_tests::http::Caller::new(
        &other.serving,
        std::fs::read_to_string(one.place.path("data/operator.key"))
            .ok()
            .as_deref(),
    );
    let header = [("idempotency-key", "once")];
    let first = one.operator.send("POST", "/v1/tasks", &header, &task());
    let again = same.send("POST", "/v1/tasks", &header, &task());
    assert_eq!((first.status, again.status), (201, 200), "{first:?} {again:?}");
    assert_eq!(first.json()["id"], again.json()["id"]);
    let mut changed = task();
    changed["title"] = json!("another");
    let conflict = same.send("POST", "/v1/tasks", &header, &changed);
    assert_eq!(conflict.code(), "idempotency_conflict");
}

#[test]
fn a_revoked_key_is_refused_by_every_node() {
    let database = Database::new();
    let (one, other) = (database.node(), database.node());
    let (agent, _) = one.agent(1);
    assert_eq!(agent.claim(&other, 1, 0), Vec::<Value>::new());
    let path = format!("/v1/principals/{}/keys/{}", agent.principal, agent.key_id);
    let gone = one.operator.call("DELETE", &path, &[], b"");
    assert_eq!(gone.status, 200, "{gone:?}");
    wait_until("the other node knows", || {
        let asked = json!({"slots": 1, "wait_seconds": 0});
        agent.at(&other).post("/v1/work/claim", &asked).status == 401
    });
}

#[test]
fn the_log_of_several_nodes_is_one_log() {
    let database = Database::new();
    let (one, other) = (database.node(), database.node());
    let (agent, _) = one.agent(4);
    for node in [&one, &other, &one, &other] {
        node.submit();
    }
    for work in agent.claim(&other, 4, 30) {
        let told = agent.at(&one).post("/v1/work/report", &report(&work));
        assert_eq!(told.status, 204, "{told:?}");
    }
    // the first node signs; the other one has not its key, and verifies all the same
    wait_until("everything was signed", || {
        let signed = |node: &Node| node.run(&["--json", "audit", "verify"]);
        let (here, there) = (signed(&one), signed(&other));
        let sound = |done: &arbiter_tests::Done| done.code() == 0 && done.json()["sound"] == true;
        sound(&here) && sound(&there) && here.json()["root"] == there.json()["root"]
    });
    let rotated = other.run(&["--json", "audit", "rotate"]);
    assert_eq!(rotated.code(), 2, "another node's key signs: {rotated:?}");
    let rotated = one.run(&["--json", "audit", "rotate"]);
    assert_eq!(rotated.code(), 0, "{rotated:?}");
    one.submit();
    // the serving process has the old key, and signs no more
    let one = one.restart(&[]);
    wait_until("the new key signs", || {
        one.run(&["--json", "audit", "verify"]).code() == 0
    });
}

#[test]
fn every_version_of_a_task_has_one_entry_whatever_node_made_it() {
    let database = Database::new();
    let nodes = [database.node(), database.node()];
    let (agent, _) = nodes[0].agent(8);
    let ids: Vec<String> = (0..24).map(|number| nodes[number % 2].submit()).collect();
    let mut open = ids.len();
    while open > 0 {
        for (number, work) in agent.claim(&nodes[open % 2], 8, 10).iter().enumerate() {
            let told = agent
                .at(&nodes[number % 2])
                .post("/v1/work/report", &report(work));
            assert_eq!(told.status, 204, "{told:?}");
            open -= 1;
        }
    }
    wait_until("the log is signed", || {
        nodes[0].run(&["--json", "audit", "verify"]).code() == 0
    });
    let done = nodes[1].run(&["--json", "audit", "verify"]);
    assert_eq!(done.code(), 0, "{done:?}");
    let query = "SELECT count(*) FROM task WHERE state = 10";
    assert_eq!(database.ask(query), [ids.len().to_string()]);
    assert_eq!(database.ask("SELECT coalesce(sum(used), 0) FROM load"), ["0"]);
}

#[test]
fn a_file_that_one_node_took_is_given_out_by_another() {
    let database = Database::new();
    let (one, other) = (database.node(), database.node());
    let content = b"counted twice".repeat(50_000);
    let digest = arbiter_core::model::Digest::of(&content);
    let path = format!("/v1/artifacts/{digest}");
    let stored = one.operator.call("PUT", &path, &[], &content);
    assert_eq!(stored.status, 200, "{stored:?}");
    let found = other.operator.get(&path);
    assert_eq!((found.status, found.body.len()), (200, content.len()));
    assert!(found.body == content, "it is the same");
    let part = other
        .operator
        .call("GET", &path, &[("range", "bytes=262140-262150")], b"");
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &content[262_140..=262_150])
    );
    let gone = other.operator.call("DELETE", &path, &[], b"");
    assert_eq!(gone.status, 204, "{gone:?}");
    assert_eq!(one.operator.get(&path).status, 404);
}
