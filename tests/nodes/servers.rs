//! Database servers that are stopped, killed and replaced under load.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use arbiter_tests::http::Caller;
use arbiter_tests::postgres::Postgres;
use arbiter_tests::wait_until;
use nix::sys::signal::Signal;

use crate::cluster::{Database, Node, report, task};

const GENEROUS: &str = "[queue]\nsubmit_per_principal = { per_second = 10000, burst = 10000 }\n\
                        submit_per_tenant = { per_second = 10000, burst = 10000 }\n";

/// A database on servers of the test's own, with the reader's role.
fn database(servers: &[&Postgres]) -> Database {
    let database = Database::at(Postgres::url(servers));
    database.ask("CREATE ROLE arbiter_reader NOLOGIN");
    database
}

/// Submits, and repeats what was refused, until told to stop; gives what was accepted.
fn submit_all_the_time(operator: &Caller, worker: usize, stop: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let key = format!("{worker}-{}", ids.len());
        let header = [("idempotency-key", key.as_str())];
        let answer = operator.send("POST", "/v1/tasks", &header, &task());
        match answer.status {
            200 | 201 => ids.push(answer.json()["id"].as_str().expect("an id").to_owned()),
            503 => {}
            _ => panic!("{answer:?}"),
        }
    }
    ids
}

/// Runs `trouble` while clients submit, then checks that what was accepted is there, once, and ends.
fn under_load(node: &Node, trouble: impl FnOnce()) -> BTreeSet<String> {
    let stop = AtomicBool::new(false);
    let accepted = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let (operator, stop) = (node.operator.clone(), &stop);
                scope.spawn(move || submit_all_the_time(&operator, worker, stop))
            })
            .collect();
        trouble();
        wait_until("the node takes calls again", || {
            node.operator.post("/v1/tasks", &task()).status == 201
        });
        stop.store(true, Ordering::SeqCst);
        let ids = workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a client"));
        ids.collect::<BTreeSet<_>>()
    });
    assert!(!accepted.is_empty());
    for id in &accepted {
        assert_eq!(node.task(id)["state"], "queued", "{id}");
    }
    accepted
}

/// An agent does everything that is open, and the log is whole.
fn finish(node: &Node, database: &Database) {
    let (agent, _) = node.agent(50);
    wait_until("everything is done", || {
        for work in agent.claim(node, 50, 1) {
            let told = agent.at(node).post("/v1/work/report", &report(&work));
            assert_eq!(told.status, 204, "{told:?}");
        }
        database.ask("SELECT count(*) FROM task WHERE state <> 10") == ["0"]
    });
    wait_until("the log is whole", || {
        node.run(&["--json", "audit", "verify"]).code() == 0
    });
}

#[test]
fn kill_a_server_and_start_it_again_loses_nothing() {
    let mut server = Postgres::start(&[]);
    let database = database(&[&server]);
    let node = Node::start(database.place(GENEROUS), &[]);
    under_load(&node, || {
        for signal in [Some(Signal::SIGINT), None] {
            std::thread::park_timeout(std::time::Duration::from_millis(300));
            match signal {
                Some(signal) => {
                    server.signal(signal);
                    server.wait();
                }
                None => server.crash(),
            }
            server.launch();
            wait_until("the node takes calls again", || {
                node.operator.post("/v1/tasks", &task()).status == 201
            });
        }
    });
    finish(&node, &database);
}

#[test]
fn failover_to_a_replica_loses_nothing_that_was_accepted() {
    // a commit is answered when the replica has it as well
    let mut primary = Postgres::start(&["synchronous_standby_names=replica"]);
    let replica = primary.replica();
    let database = database(&[&primary, &replica]);
    let node = Node::start(database.place(GENEROUS), &[]);
    let waiting = Database::at(replica.own_url());
    under_load(&node, || {
        std::thread::park_timeout(std::time::Duration::from_millis(500));
        primary.crash();
        assert_eq!(waiting.ask("SELECT pg_promote()"), ["t"]);
    });
    finish(&node, &database);
}
