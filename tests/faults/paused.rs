//! A process that is stopped for longer than its leases last, and goes on as if nothing had happened.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use arbiter_tests::{Place, Running, processes, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const TASKS: usize = 6;
/// The shortest lease that can be configured.
const LEASE: Duration = Duration::from_secs(3);
/// Whether an expired lease or its holder comes first after the pause is a race; in so many rounds both were seen.
const ROUNDS: usize = 12;

/// Agents wait until they are told, by a file, to end: while their node stands still.
fn place() -> Place {
    let place = Place::new();
    let script = "#!/bin/sh\ncat >/dev/null\nwhile [ ! -e GO ]; do sleep 0.02; done\n\
        echo \"{\\\"version\\\":1,\\\"outcome\\\":\\\"succeeded\\\",\\\"output\\\":$ARBITER_ATTEMPT_NUMBER}\"\n";
    let go = place.path("agents/go").display().to_string();
    place.write("agents/waits.sh", &script.replace("GO", &go));
    let agent = |name: &str| {
        format!(
            "[[agent]]\nname = \"{name}\"\ncommand = [\"./agents/waits.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\nslots = {TASKS}\n"
        )
    };
    place.write("agents.toml", &format!("{}{}", agent("one"), agent("other")));
    place.write(
        "config.toml",
        &format!("[queue]\nlease_seconds = {}\n", LEASE.as_secs()),
    );
    place
}

fn start(place: &Place) -> Running {
    let log = std::fs::File::create(place.path("log.txt")).expect("a log");
    let child = place
        .command(&[
            "--config",
            "config.toml",
            "--log-format",
            "json",
            "run",
            "tasks.jsonl",
            "--agents",
            "agents.toml",
            "--fresh",
        ])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("started");
    Running(child)
}

/// Stops the node while it holds every task, lets the agents end, and lets the node go on after its leases.
#[expect(
    clippy::disallowed_methods,
    reason = "leases are counted by the system's clock: that is what must pass here"
)]
fn pause(place: &Place, child: &mut Running) {
    let node = Pid::from_raw(child.0.id().try_into().expect("a process id"));
    let script = place.path("agents/waits.sh").display().to_string();
    wait_until("every task runs", || {
        let ended = child.0.try_wait().expect("state");
        assert!(ended.is_none(), "it ended before its agents ran: {ended:?}");
        processes(&script) == TASKS
    });
    kill(node, Signal::SIGSTOP).expect("stopped");
    let since = Instant::now();
    wait_until("the node stands still", || stands_still(node));
    place.write("agents/go", "");
    wait_until("the agents end", || processes(&script) == 0);
    wait_until("the leases are over", || {
        since.elapsed() > LEASE + Duration::from_millis(500)
    });
    kill(node, Signal::SIGCONT).expect("continued");
}

fn stands_still(node: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{node}/stat")).expect("its state");
    // The state follows the name, which stands in brackets and may hold anything.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| rest.starts_with('T'))
}

#[test]
fn kill_stop_a_node_past_its_leases_and_no_stale_report_is_taken() {
    let place = place();
    let mut stale = 0;
    let mut rounds = 0;
    while stale == 0 {
        rounds += 1;
        assert!(
            rounds <= ROUNDS,
            "in {ROUNDS} rounds no lease was over before its holder was heard"
        );
        let lines: Vec<String> = (0..TASKS)
            .map(|number| format!("{{\"kind\":\"analysis\",\"title\":\"{rounds}/{number}\"}}"))
            .collect();
        place.write("tasks.jsonl", &lines.join("\n"));
        let mut child = start(&place);
        pause(&place, &mut child);
        let status = child.0.wait().expect("ended");
        let log = std::fs::read_to_string(place.path("log.txt")).expect("a log");
        assert_eq!(status.code(), Some(0), "{log}");
        stale += check(&place, &log);
        std::fs::remove_file(place.path("agents/go")).expect("removed");
    }
    println!("report: {stale} stale reports in {rounds} rounds of {TASKS} tasks, all refused");
}

/// Follows each task of the last batch through the audit log. Gives how many stale reports were refused.
fn check(place: &Place, log: &str) -> usize {
    let verified = place.run(&["--json", "audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
    assert_eq!(place.run(&["audit", "export", "log.jsonl"]).code(), 0);
    let results = place.lines("tasks.results.jsonl");
    assert_eq!(results.len(), TASKS);
    let mut entries: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for entry in place.lines("log.jsonl") {
        if let Some(id) = entry["leaf"]["resource"]["id"].as_str() {
            entries.entry(id.to_owned()).or_default().push(entry.clone());
        }
    }
    let mut refused = 0;
    for result in &results {
        assert_eq!(result["state"], "succeeded", "{result}");
        let id = result["id"].as_str().expect("an id");
        let known = &entries[id];
        let count = |action: &str, outcome: &str| {
            known
                .iter()
                .filter(|entry| entry["leaf"]["outcome"] == outcome && acts(entry, action))
                .count()
        };
        let lost = count("lease_expired", "done");
        assert_eq!(count("closed", "done"), 1, "closed once: {known:#?}");
        assert_eq!(count("reported", "done"), 1, "one report is taken: {known:#?}");
        assert_eq!(
            count("assigned", "done"),
            lost + 1,
            "a new attempt for each lost one: {known:#?}"
        );
        // The result is the one of the attempt that held the last token, not of the one that was overtaken.
        assert_eq!(result["attempts"], lost + 1, "{result}");
        assert_eq!(result["output"], lost + 1, "{result}");
        let stale: Vec<&Value> = known
            .iter()
            .filter(|entry| acts(entry, "lease_lost") && acts(entry, "work.report"))
            .collect();
        for entry in &stale {
            assert_eq!(entry["leaf"]["outcome"], "refused", "{entry}");
            assert_eq!(entry["leaf"]["reason"], "lease_lost", "{entry}");
        }
        assert!(
            stale.len() <= lost,
            "only an overtaken attempt is refused: {known:#?}"
        );
        let told: BTreeSet<u64> = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["event"] == "report_refused" && line["task.id"] == id)
            .filter_map(|line| line["fence"].as_u64())
            .collect();
        assert_eq!(told.len(), stale.len(), "each refusal is logged: {log}");
        refused += stale.len();
    }
    refused
}

fn acts(entry: &Value, action: &str) -> bool {
    entry["leaf"]["actions"]
        .as_array()
        .is_some_and(|actions| actions.iter().any(|one| one == action))
}

#[test]
fn heartbeats_keep_the_lease_of_an_agent_that_says_nothing() {
    let place = place();
    // Longer than a lease: the node has to extend it three times while it lasts, not at some fixed time of its own.
    place.write(
        "agents/waits.sh",
        "#!/bin/sh\ncat >/dev/null\nsleep 5\necho '{\"version\":1,\"outcome\":\"succeeded\"}'\n",
    );
    place.write("tasks.jsonl", "{\"kind\":\"analysis\",\"title\":\"long\"}\n");
    let run = start(&place).0.wait().expect("ended");
    assert_eq!(run.code(), Some(0));
    let results = place.lines("tasks.results.jsonl");
    assert_eq!(
        (results.len(), &results[0]["attempts"]),
        (1, &1.into()),
        "{results:?}"
    );
}
