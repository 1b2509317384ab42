//! Kill −9 at random moments, again and again, until the batch is done.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_tests::{Place, samples};

const TASKS: usize = 24;

#[test]
fn kill_9_at_any_moment_loses_nothing_and_records_nothing_twice() {
    let rounds = samples("ARBITER_KILL_ROUNDS", 20);
    let place = Place::new();
    place.write(
        "agents/quick.sh",
        "#!/bin/sh\ncat >/dev/null\nsleep 0.0$(( $$ % 9 ))\necho '{\"version\":1,\"outcome\":\"succeeded\",\"output\":1}'\n",
    );
    place.write(
        "agents.toml",
        "[[agent]]\nname = \"quick\"\ncommand = [\"./agents/quick.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\nslots = 3\n",
    );
    let mut seed: u64 = 0x5EED;
    let mut killed = 0;
    let mut batches = 0;
    while killed < rounds {
        batches += 1;
        let tasks: Vec<String> = (0..TASKS)
            .map(|number| {
                let after = if number % 5 == 4 { format!(",\"after\":[\"#{number}\"]") } else { String::new() };
                format!(
                    "{{\"kind\":\"analysis\",\"title\":\"{batches}/{number}\",\"constraints\":{{\"max_attempts\":100}}{after}}}"
                )
            })
            .collect();
        place.write("tasks.jsonl", &tasks.join("\n"));
        loop {
            let mut child = place.start(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let moment = Duration::from_millis((seed >> 33) % 700);
            // A random moment is what this drill is about; there is no condition to wait for.
            #[expect(
                clippy::disallowed_methods,
                reason = "the moment of the kill is random on purpose"
            )]
            std::thread::sleep(moment);
            if let Some(status) = child.try_wait().expect("state") {
                assert_eq!(status.code(), Some(0), "round {killed}, batch {batches}");
                break;
            }
            child.kill().expect("killed");
            child.wait().expect("ended");
            killed += 1;
        }
        check(&place);
    }
    println!("report: {killed} kills over {batches} batches of {TASKS} tasks, nothing lost");
}

/// Every task succeeded exactly once, the log is sound, and each version of each task has exactly one record.
fn check(place: &Place) {
    let lines = place.lines("tasks.results.jsonl");
    assert_eq!(lines.len(), TASKS);
    assert!(lines.iter().all(|line| line["state"] == "succeeded"), "{lines:?}");
    // The verifier follows the versions of every task: a gap, a repeat or a disorder is a finding.
    let verified = place.run(&["--json", "audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
    assert_eq!(place.run(&["audit", "export", "log.jsonl"]).code(), 0);
    let mut closed: BTreeMap<String, u32> = BTreeMap::new();
    for entry in place.lines("log.jsonl") {
        let leaf = &entry["leaf"];
        let ends = leaf["actions"]
            .as_array()
            .is_some_and(|actions| actions.iter().any(|action| action == "closed"));
        if ends && leaf["outcome"] == "done" {
            *closed.entry(leaf["resource"]["id"].to_string()).or_default() += 1;
        }
    }
    for line in &lines {
        assert_eq!(
            closed.get(&line["id"].to_string()),
            Some(&1),
            "closed exactly once: {line}"
        );
    }
}
