//! A store that cannot be written: a full disk (a limit on the size of files, as SQLite sees no difference) and a
//! read-only database.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arbiter_tests::{Done, Place, Running, done, processes, wait_until};

/// Another user than root, whom modes of files bind.
const USER: u32 = 65_533;

const TWO: &str = "{\"kind\":\"analysis\",\"title\":\"a\"}\n{\"kind\":\"analysis\",\"title\":\"b\"}\n";

/// The program, where files grow to at most so many KiB. The signal is ignored, so that writes fail as on a full disk.
fn limited(place: &Place, kibibytes: u64, arguments: &[&str]) -> Done {
    let program = place.command(arguments);
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", 2 * kibibytes);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &script, "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .env_clear()
        .current_dir(place.path(""));
    done(&mut command)
}

/// How many tasks there are, after the log was verified.
fn tasks(place: &Place) -> usize {
    let verified = place.run(&["--json", "audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
    let listed = place.run(&["--json", "task", "list", "--limit", "1000"]).json();
    listed["tasks"].as_array().expect("tasks").len()
}

fn refused(done: &Done) {
    assert_eq!(done.code(), 4, "{done:?}");
    assert_eq!(done.stdout, "", "no task was answered");
    let last = done.stderr.lines().last().expect("an error");
    let error: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(error["error"]["code"], "unavailable", "{done:?}");
}

#[test]
fn a_full_disk_refuses_a_submit_whole_and_it_goes_on_with_space() {
    let long = "x".repeat(2_000);
    let many: Vec<String> = (0..300)
        .map(|number| {
            format!("{{\"kind\":\"research\",\"title\":\"{number}\",\"instructions\":\"{long}\",\"idempotency_key\":\"{number}\"}}")
        })
        .collect();
    // At once; in the write-ahead log's first pages; half-way through the commit; shortly before its end.
    for kibibytes in [1, 60, 200, 700] {
        let place = Place::new();
        place.write("tasks.jsonl", TWO);
        place.write("many.jsonl", &many.join("\n"));
        assert_eq!(place.run(&["task", "submit", "tasks.jsonl"]).code(), 0);
        for _ in 0..2 {
            refused(&limited(
                &place,
                kibibytes,
                &["--json", "task", "submit", "many.jsonl"],
            ));
        }
        assert_eq!(tasks(&place), 2, "nothing is half written at {kibibytes} KiB");
        let again = place.run(&["--json", "task", "submit", "many.jsonl"]);
        assert_eq!(again.code(), 0, "{again:?}");
        assert!(
            !again.stdout.contains("\"repeated\":true"),
            "none was stored before"
        );
        assert_eq!(tasks(&place), 302);
    }
}

/// Counts the log's lines about failed heartbeats of the registry.
fn follow(log: ChildStderr) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    std::thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if line.contains("registry_failed") {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    count
}

#[test]
fn a_disk_that_is_full_for_a_while_loses_no_report() {
    let place = Place::new();
    let go = place.path("agents/go").display().to_string();
    let script = "#!/bin/sh\ncat >/dev/null\nwhile [ ! -e GO ]; do sleep 0.02; done\necho '{\"version\":1,\"outcome\":\"succeeded\"}'\n";
    place.write("agents/waits.sh", &script.replace("GO", &go));
    place.write("agents.toml", "[[agent]]\nname = \"a\"\ncommand = [\"./agents/waits.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\nslots = 2\n");
    place.write("tasks.jsonl", TWO);
    let program = place.command(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    let mut child = Command::new("/bin/sh")
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .env_clear()
        .env("TMPDIR", place.path(""))
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    // Through a pipe: the limit holds for a file of log lines as well.
    let log = follow(child.stderr.take().expect("piped"));
    let mut child = Running(child);
    let script = place.path("agents/waits.sh").display().to_string();
    wait_until("both tasks run", || {
        let ended = child.0.try_wait().expect("state");
        assert!(ended.is_none(), "it ended before its agents ran: {ended:?}");
        processes(&script) == 2
    });
    let pid = child.0.id().to_string();
    let limit = |size: &str| {
        let limited = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={size}:")])
            .status()
            .expect("prlimit (of util-linux) starts");
        assert!(limited.success());
    };
    // The registry's heartbeat, each five seconds, tells that writes fail.
    let failed = || log.load(Ordering::SeqCst);
    limit("1");
    place.write("agents/go", "");
    wait_until("the agents end", || processes(&script) == 0);
    let before = failed();
    wait_until("the store was seen to be down", || failed() > before);
    limit("unlimited");
    assert_eq!(child.0.wait().expect("ended").code(), Some(0));
    let results = place.lines("tasks.results.jsonl");
    assert_eq!(results.len(), 2);
    for result in &results {
        assert_eq!(result["state"], "succeeded", "{result}");
        assert_eq!(
            result["attempts"], 1,
            "the report was handed in again, not made again: {result}"
        );
    }
    assert_eq!(tasks(&place), 2);
}

#[test]
fn a_read_only_database_is_refused_and_in_order_again_with_its_mode() {
    let place = Place::new();
    place.write("tasks.jsonl", TWO);
    let data = place.path("data");
    std::fs::create_dir(&data).expect("a folder");
    let root = nix::unistd::Uid::effective().is_root();
    if root {
        nix::unistd::chown(&data, Some(nix::unistd::Uid::from_raw(USER)), None).expect("owner");
    }
    // Root may write everything.
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        if root {
            command.uid(USER).gid(USER);
        }
        done(&mut command)
    };
    let submitted = run(&["--json", "task", "submit", "tasks.jsonl"]);
    assert_eq!(submitted.code(), 0, "{submitted:?}");
    let mode = |name: &str, mode: u32| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path(name), permissions).expect("a mode");
    };
    for (name, closed, open) in [("data/arbiter.db", 0o444, 0o644), ("data", 0o555, 0o700)] {
        mode(name, closed);
        for _ in 0..2 {
            refused(&run(&["--json", "task", "submit", "tasks.jsonl"]));
        }
        mode(name, open);
        let verified = run(&["audit", "verify"]);
        assert_eq!(
            verified.code(),
            0,
            "nothing that was left is in the way: {verified:?}"
        );
    }
    let listed = run(&["--json", "task", "list"]).json();
    assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(2));
    assert_eq!(run(&["--json", "task", "submit", "tasks.jsonl"]).code(), 0);
}
