//! Signals, and two processes on one folder.

use std::process::Child;

use arbiter_tests::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SLOW: &str = "[[agent]]\nname = \"slow\"\ncommand = [\"./agents/waits.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\nslots = 2\n";

/// A place whose agent tells that it runs, by a file, and then waits until it is ended or `go` is there.
fn place() -> Place {
    let place = Place::new();
    let folder = place.path("seen");
    std::fs::create_dir(&folder).expect("folder");
    let script = "#!/bin/sh\ncat >/dev/null\necho '{\"progress\":{\"message\":\"running\"}}' >&2\ntrap 'exit 9' TERM\ni=0\nwhile [ $i -lt 300 ]; do sleep 0.1; i=$((i+1)); [ -e ./agents/go ] && break; [ -e GO ] && break; done\necho '{\"version\":1,\"outcome\":\"succeeded\"}'\n";
    let go = place.path("agents").join("go");
    place.write(
        "agents/waits.sh",
        &script.replace("GO", &go.display().to_string()),
    );
    place.write("agents.toml", SLOW);
    place.write(
        "tasks.jsonl",
        "{\"kind\":\"analysis\",\"title\":\"a\"}\n{\"kind\":\"analysis\",\"title\":\"b\"}\n",
    );
    place
}

/// Waits until a process whose command line holds `part` runs.
fn wait_for_agent(part: &str, child: &mut Child) {
    for _ in 0..20_000 {
        let runs = std::fs::read_dir("/proc").expect("/proc").flatten().any(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&line).replace('\0', " ");
            text.starts_with("/bin/sh") && text.contains(part)
        });
        if runs {
            return;
        }
        assert!(
            child.try_wait().expect("state").is_none(),
            "it ended before its agent ran"
        );
        std::thread::yield_now();
    }
    panic!("the agent did not start");
}

fn agents_left(part: &str) -> usize {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(part)
        })
        .count()
}

#[test]
fn a_termination_gives_attempts_back_and_the_batch_goes_on_later() {
    let place = place();
    let marker = place.path("agents/waits.sh").display().to_string();
    let mut child = place.start(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    wait_for_agent(&marker, &mut child);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("signalled");
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    assert_eq!(agents_left(&marker), 0, "no agent outlives its node");
    let listed = place.run(&["--json", "task", "list"]).json();
    assert!(
        listed["tasks"]
            .as_array()
            .expect("tasks")
            .iter()
            .all(|task| task["state"] == "queued" && task["attempts"] == 0),
        "{listed}"
    );
    place.write("agents/go", "");
    let run = place.run(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    assert_eq!(run.code(), 0, "{run:?}");
    assert_eq!(place.run(&["audit", "verify"]).code(), 0);
}

#[test]
fn a_second_process_is_told_who_owns_the_folder() {
    let place = place();
    let marker = place.path("agents/waits.sh").display().to_string();
    let mut child = place.start(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    wait_for_agent(&marker, &mut child);
    let second = place.run(&["task", "list"]);
    assert_eq!(second.code(), 4);
    assert!(
        second.stderr.contains(&child.id().to_string()),
        "{}",
        second.stderr
    );
    place.write("agents/go", "");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
    assert_eq!(place.run(&["task", "list"]).code(), 0);
}

#[test]
fn no_agent_outlives_a_killed_node() {
    let place = place();
    let marker = place.path("agents/waits.sh").display().to_string();
    let mut child = place.start(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    wait_for_agent(&marker, &mut child);
    child.kill().expect("killed");
    child.wait().expect("ended");
    for _ in 0..200_000 {
        if agents_left(&marker) == 0 {
            break;
        }
        std::thread::yield_now();
    }
    assert_eq!(
        agents_left(&marker),
        0,
        "the kernel ends what the node had started"
    );
    place.write("agents/go", "");
    let run = place.run(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    assert_eq!(run.code(), 0, "{run:?}");
    let attempts: Vec<u64> = place
        .lines("tasks.results.jsonl")
        .iter()
        .filter_map(|line| line["attempts"].as_u64())
        .collect();
    assert!(
        attempts.iter().all(|count| *count == 2),
        "the killed attempts count: {attempts:?}"
    );
}
