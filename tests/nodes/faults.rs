//! Networks that fail, connections that run out, clocks that are wrong, processes that stand still.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_tests::http::Caller;
use arbiter_tests::proxy::Proxy;
use arbiter_tests::wait_until;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::cluster::{Database, Node, report, task};

const GENEROUS: &str = "[queue]\nsubmit_per_principal = { per_second = 10000, burst = 10000 }\n\
                        submit_per_tenant = { per_second = 10000, burst = 10000 }\n";

/// The address of the server in a URL.
fn address(url: &str) -> &str {
    let (_, rest) = url.split_once('@').expect("a login");
    rest.split('/').next().expect("an address")
}

/// A node that reaches the server by way of a proxy.
fn behind(proxy: &Proxy, database: &Database, config: &str) -> Node {
    let url = database
        .url
        .replace(address(&database.url), &proxy.address.to_string());
    Node::start(database.place_over(&url, config), &[])
}

#[test]
fn connections_that_are_cut_lose_nothing_and_store_nothing_twice() {
    let database = Database::new();
    let proxy = Proxy::before(address(&database.url));
    let node = behind(&proxy, &database, GENEROUS);
    let calls: usize = 400;
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let operator = node.operator.clone();
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    for number in (worker..calls).step_by(4) {
                        ids.push(until_stored(&operator, number));
                    }
                    ids
                })
            })
            .collect();
        // as long as calls are under way, but not for ever: at some time the network is good again
        for _ in 0..40 {
            std::thread::park_timeout(Duration::from_millis(100));
            proxy.cut();
        }
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker"))
            .collect()
    });
    assert_eq!(ids.len(), calls);
    assert_eq!(database.ask("SELECT count(*) FROM task"), [calls.to_string()]);
    let leaves = "SELECT coalesce(sum(count), 0) FROM audit_batch";
    assert!(!database.ask(leaves).is_empty());
    wait_until("the log is whole", || {
        node.run(&["--json", "audit", "verify"]).code() == 0
    });
}

/// Sends the same submission until it is taken.
fn until_stored(operator: &Caller, number: usize) -> String {
    let key = format!("call-{number}");
    let header = [("idempotency-key", key.as_str())];
    for _ in 0..600 {
        let answer = operator.send("POST", "/v1/tasks", &header, &task());
        match answer.status {
            200 | 201 => return answer.json()["id"].as_str().expect("an id").to_owned(),
            503 => assert!(["unavailable"].contains(&answer.code().as_str()), "{answer:?}"),
            _ => panic!("{answer:?}"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("the call {number} was never taken");
}

#[test]
fn a_store_that_is_away_is_said_and_all_goes_on_when_it_is_back() {
    let database = Database::new();
    let proxy = Proxy::before(address(&database.url));
    let node = behind(&proxy, &database, "");
    let (agent, _) = node.agent(2);
    let before = node.submit();
    let work = agent.claim(&node, 1, 30);
    proxy.refuse(true);
    proxy.cut();
    wait_until("the node says that it is not ready", || {
        node.operator.get("/readyz").status == 503
    });
    let refused = node.operator.post("/v1/tasks", &task());
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "unavailable"),
        "{refused:?}"
    );
    assert_eq!(node.operator.get("/healthz").status, 200, "it lives");
    proxy.refuse(false);
    wait_until("the report is taken", || {
        agent.at(&node).post("/v1/work/report", &report(&work[0])).status == 204
    });
    wait_until("it is ready again", || node.operator.get("/readyz").status == 200);
    assert_eq!(node.task(&before)["state"], "succeeded");
    assert_eq!(database.ask("SELECT count(*) FROM task"), ["1"]);
}

#[test]
fn one_connection_serves_two_hundred_callers() {
    let database = Database::new();
    let pool = "connections = 1\nreader_connections = 1\n";
    let node = Node::start(database.place(&format!("{pool}{GENEROUS}")), &[]);
    let stored = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..200)
            .map(|number| {
                let operator = node.operator.clone();
                scope.spawn(move || until_stored(&operator, number))
            })
            .collect();
        calls
            .into_iter()
            .map(|call| call.join().expect("a call"))
            .collect::<BTreeSet<_>>()
    });
    assert_eq!(stored.len(), 200);
    assert_eq!(node.operator.get("/readyz").status, 200);
}

#[test]
fn a_node_whose_clock_is_wrong_goes_by_the_stores() {
    for offset in ["600000000", "-600000000"] {
        let database = Database::new();
        let separator = if database.url.contains('?') { '&' } else { '?' };
        let moved = format!(
            "{}{separator}options=-c%20arbiter.clock_offset%3D{offset}",
            database.url
        );
        let place = database.place_over(&moved, "[queue]\nlease_seconds = 3\n");
        let node = Node::start(place, &[]);
        let (agent, id) = node.agent(1);
        let task_id = node.submit();
        let work = agent.claim(&node, 1, 30);
        assert_eq!(work.len(), 1, "the agent counts as heard of");
        let told = node.operator.get(&format!("/v1/agents/{id}")).json();
        assert_eq!(told["health"], "healthy", "{told}");
        // nobody is heard of: the lease ends by the store's clock, and the timer that waits for it by the node's
        wait_until("the lease is lost", || node.task(&task_id)["state"] == "queued");
        let again = agent.claim(&node, 1, 30);
        let late = agent.at(&node).post("/v1/work/report", &report(&work[0]));
        assert_eq!(late.code(), "lease_lost");
        let told = agent.at(&node).post("/v1/work/report", &report(&again[0]));
        assert_eq!(told.status, 204, "{told:?}");
    }
}

#[test]
fn a_node_that_stood_still_past_its_leases_changes_nothing_afterwards() {
    let database = Database::new();
    let config = "[queue]\nlease_seconds = 3\n";
    let (one, other) = (
        Node::start(database.place(config), &[]),
        Node::start(database.place(config), &[]),
    );
    let (agent, _) = one.agent(1);
    let id = one.submit();
    let first = agent.claim(&one, 1, 30);
    // a report reaches the node that stands still: it is there when the node goes on
    one.serving.signal(Signal::SIGSTOP);
    std::thread::scope(|scope| {
        let late = scope.spawn(|| agent.at(&one).post("/v1/work/report", &report(&first[0])));
        wait_until("the lease is lost", || other.task(&id)["state"] == "queued");
        let second = agent.claim(&other, 1, 30);
        assert_eq!(second.len(), 1);
        let told = agent.at(&other).post("/v1/work/report", &report(&second[0]));
        assert_eq!(told.status, 204, "{told:?}");
        one.serving.signal(Signal::SIGCONT);
        let late = late.join().expect("an answer");
        assert_eq!(
            (late.status, late.code().as_str()),
            (409, "lease_lost"),
            "{late:?}"
        );
    });
    assert_eq!(one.task(&id)["state"], "succeeded");
    let told = one.operator.get(&format!("/v1/tasks/{id}/attempts")).json();
    let reported = told["attempts"].as_array().expect("attempts").iter();
    let reported = reported
        .filter(|attempt| attempt["outcome"] == "reported")
        .count();
    assert_eq!(reported, 1, "{told}");
    let found = one.operator.get("/v1/audit?action=lease_lost").json();
    assert_ne!(found["entries"], json!([]), "the refusal is in the log: {found}");
}

#[test]
fn a_slow_network_is_slow_and_nothing_else() {
    let database = Database::new();
    let proxy = Proxy::before(address(&database.url));
    let node = behind(&proxy, &database, GENEROUS);
    proxy.delay(Duration::from_millis(20));
    let (agent, _) = node.agent(4);
    let ids: Vec<String> = (0..4).map(|_| node.submit()).collect();
    let mut done = 0;
    while done < ids.len() {
        for work in agent.claim(&node, 4, 30) {
            let told = agent.at(&node).post("/v1/work/report", &report(&work));
            assert_eq!(told.status, 204, "{told:?}");
            done += 1;
        }
    }
    assert!(ids.iter().all(|id| node.task(id)["state"] == "succeeded"));
}
