//! Nodes that are stopped and started while clients work.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use arbiter_tests::http::{Answer, Caller};
use arbiter_tests::wait_until;
use serde_json::json;

use crate::cluster::{Database, Node, task};

/// A client that knows all nodes: a call that one does not answer goes to the next one, under the same key.
struct Client {
    /// Where nodes are; one that is away has none.
    nodes: Arc<RwLock<Vec<Option<String>>>>,
    key: String,
}

impl Client {
    /// Submits a task once, whatever node takes it.
    fn submit(&self, number: usize) -> Result<String, String> {
        let mut problems = Vec::new();
        for turn in 0..20 {
            let nodes = self.nodes.read().expect("the lock").clone();
            let known: Vec<String> = nodes.into_iter().flatten().collect();
            let Some(address) = known.get((number + turn) % known.len().max(1)) else {
                continue;
            };
            let caller = Caller::at(address, Some(&self.key));
            let header = [("idempotency-key", format!("call-{number}"))];
            let header = [(header[0].0, header[0].1.as_str())];
            match caller.try_send("POST", "/v1/tasks", &header, &task()) {
                Ok(Answer {
                    status: 200 | 201,
                    body,
                    ..
                }) => {
                    let told: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                    return Ok(told["id"].as_str().expect("an id").to_owned());
                }
                Ok(answer) if answer.status == 503 || answer.status == 429 => {
                    problems.push(format!("{answer:?}"));
                }
                Ok(answer) => return Err(format!("{answer:?}")),
                Err(error) => problems.push(error.to_string()),
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
        Err(problems.join("; "))
    }
}

#[test]
fn a_rolling_restart_fails_no_call_of_a_client_that_knows_all_nodes() {
    let database = Database::new();
    let generous = "[queue]\nsubmit_per_principal = { per_second = 1000, burst = 1000 }\n\
                    submit_per_tenant = { per_second = 1000, burst = 1000 }\n";
    let mut cluster: Vec<Option<Node>> = (0..2)
        .map(|_| Some(Node::start(database.place(generous), &[])))
        .collect();
    let key = std::fs::read_to_string(
        cluster[0]
            .as_ref()
            .expect("a node")
            .place
            .path("data/operator.key"),
    );
    let address = |node: &Option<Node>| node.as_ref().map(|node| node.serving.url.clone());
    let nodes = Arc::new(RwLock::new(cluster.iter().map(address).collect::<Vec<_>>()));
    let client = Client {
        nodes: Arc::clone(&nodes),
        key: key.expect("the key"),
    };
    let stop = AtomicBool::new(false);
    let accepted = std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut accepted = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                accepted.push(client.submit(accepted.len()));
            }
            accepted
        });
        for round in 0..4 {
            let place = round % cluster.len();
            let node = cluster[place].take().expect("a node");
            // the client learns of the stop by its failed calls alone, and of the new address when it is there
            let again = node.restart(&[]);
            nodes.write().expect("the lock")[place] = Some(again.serving.url.clone());
            cluster[place] = Some(again);
        }
        stop.store(true, Ordering::SeqCst);
        calling.join().expect("the client ends")
    });
    let failed: Vec<&String> = accepted.iter().filter_map(|one| one.as_ref().err()).collect();
    assert_eq!(failed, Vec::<&String>::new(), "of {} calls", accepted.len());
    let ids: BTreeSet<&String> = accepted.iter().flatten().collect();
    assert_eq!(ids.len(), accepted.len(), "each call made a task of its own");
    let stored = database.ask("SELECT count(*) FROM task");
    assert_eq!(stored, [accepted.len().to_string()], "and none twice");
    assert!(
        accepted.len() >= 8,
        "calls went on all the time: {}",
        accepted.len()
    );
}

#[test]
fn the_work_of_a_node_that_is_killed_moves_to_another() {
    let database = Database::new();
    let config = "[queue]\nlease_seconds = 3\n";
    let agents = |name: &str| {
        format!(
            "[[agent]]\nname = \"{name}\"\ncommand = [\"./agents/waits.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\nslots = 4\n"
        )
    };
    let script = "#!/bin/sh\ncat >/dev/null\nwhile [ -e HOLD ]; do sleep 0.02; done\n\
        echo \"{\\\"version\\\":1,\\\"outcome\\\":\\\"succeeded\\\",\\\"output\\\":$ARBITER_ATTEMPT_NUMBER}\"\n";
    let place = |name: &str| {
        let place = database.place(config);
        let hold = place.path("agents/hold").display().to_string();
        place.write("agents/waits.sh", &script.replace("HOLD", &hold));
        place.write("agents.toml", &agents(name));
        place
    };
    let one = place("one");
    one.write("agents/hold", "");
    let arguments = ["--agents", "agents.toml"];
    let one = Node::start(one, &arguments);
    let ids: Vec<String> = (0..4).map(|_| one.submit()).collect();
    wait_until("all of them run", || {
        ids.iter().all(|id| one.task(id)["state"] == "running")
    });
    wait_until("the log was signed", || {
        one.run(&["--json", "audit", "verify"]).code() == 0
    });
    one.serving.signal(nix::sys::signal::Signal::SIGKILL);
    let other = Node::start(place("other"), &arguments);
    wait_until("the other node has done them", || {
        ids.iter().all(|id| other.task(id)["state"] == "succeeded")
    });
    for id in &ids {
        let told = other.operator.get(&format!("/v1/tasks/{id}/attempts")).json();
        let attempts = told["attempts"].as_array().expect("attempts");
        assert_eq!(attempts.len(), 2, "one was lost, one succeeded: {told}");
    }
    let done = other.run(&["--json", "audit", "verify"]);
    // nobody has signed since the node with the key was killed: what was signed by then is verified
    assert_eq!(
        (done.code(), &done.json()["sound"]),
        (0, &json!(true)),
        "{done:?}"
    );
}

#[test]
fn an_agent_runs_on_one_node_at_a_time() {
    let database = Database::new();
    let agents = "[[agent]]\nname = \"same\"\ncommand = [\"/bin/true\"]\nmodel_family = \"none\"\nkinds = [\"writing\"]\nslots = 1\n";
    let place = || {
        let place = database.place("");
        place.write("agents.toml", agents);
        place
    };
    let arguments = ["--agents", "agents.toml"];
    let one = Node::start(place(), &arguments);
    let until = database.ask("SELECT node::text FROM lease WHERE name LIKE 'host/%' AND node IS NOT NULL");
    assert_eq!(until.len(), 1);
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| Node::start(place(), &arguments));
        // the other node has made its operator, and waits for the agent
        wait_until("the other node is on its way", || {
            let named = "SELECT count(*) FROM lease WHERE name LIKE 'host/%' AND node IS NOT NULL";
            let keys = "SELECT count(*) FROM document WHERE kind = 'principal'";
            database.ask(named) == ["1"] && database.ask(keys) == ["2"]
        });
        assert!(!starting.is_finished(), "it waits");
        assert_eq!(one.serving.stop().code(), Some(0));
        let other = starting.join().expect("it starts");
        let now = database.ask("SELECT node::text FROM lease WHERE name LIKE 'host/%' AND node IS NOT NULL");
        assert_eq!(now.len(), 1);
        assert_ne!(now, until, "the agent has moved");
        drop(other);
    });
}
