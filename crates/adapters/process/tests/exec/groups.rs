//! Control groups, where this machine lets us make them; and measuring, where it does not.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use arbiter_adapter_process::{Groups, Mode};
use arbiter_adapter_system::SystemClock;
use arbiter_core::model::{FailureClass, Json};
use arbiter_core::ports::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bench::*;

/// Set in a process that a test starts from this same file.
const PART: &str = "ARBITER_TEST_PART";

/// A process that leaves its group, its session, its parents and its marker, and tells its number. Where nothing ends
/// it, it does so itself after a minute.
const ESCAPE: &str = r#"
import json, os, signal
gone, told = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(2, json.dumps({"progress": {"message": str(os.getpid())}}).encode() + b"\n")
        # The pipe is closed by the start of the program.
        os.execve("/bin/sh", ["sh", "-c", "exec >/dev/null 2>&1; trap '' TERM HUP; for i in $(/usr/bin/seq 60); do sleep 1; done"], {})
    os._exit(0)
os.wait()
os.close(told)
os.read(gone, 1)
"#;

fn python(script: &str) -> Bench {
    Bench::command(&["/usr/bin/python3", "-c", script])
}

/// Whether the kernel holds the limits here. Says which way is proven.
fn held(bench: &Bench, what: &str) -> bool {
    println!("report: {what}: {}", bench.groups.mode());
    !matches!(bench.groups.mode(), Mode::Measured(_))
}

/// The groups on this machine whose names contain a text.
fn groups_named(part: &str) -> Vec<PathBuf> {
    fn look(folder: &Path, part: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(part) {
                    found.push(entry.path());
                }
                look(&entry.path(), part, found);
            }
        }
    }
    let mut found = Vec::new();
    look(Path::new("/sys/fs/cgroup"), part, &mut found);
    found
}

/// The name of the group that we made for a process, if it is in one.
fn group_of(process: i32) -> Option<String> {
    let groups = std::fs::read_to_string(format!("/proc/{process}/cgroup")).expect("its groups");
    let names = groups.lines().filter_map(|line| line.rsplit('/').next());
    names.map(str::to_owned).find(|name| name.contains("-attempt-"))
}

#[test]
fn what_is_writable_here_is_used() {
    let groups = Groups::find();
    println!("report: control groups: {}", groups.mode());
    // The same without our code: root, and both controllers of version 1 mounted where they mostly are.
    let writable = |controller: &str| {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let point = format!("/sys/fs/cgroup/{controller}");
        mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(1);
            fields.next() == Some(point.as_str())
                && fields.next() == Some("cgroup")
                && fields.next().is_some_and(|options| options.starts_with("rw"))
        })
    };
    if is_root() && writable("memory") && writable("pids") {
        assert!(!matches!(groups.mode(), Mode::Measured(_)), "{groups:?}");
    }
    assert_eq!(&Groups::look(), groups.mode());
    assert!(matches!(Groups::off().mode(), Mode::Measured(_)));
}

#[tokio::test]
async fn a_command_is_in_its_group_from_the_start_and_the_group_goes_with_it() {
    let bench = python(
        r#"
import json, os
groups = open("/proc/self/cgroup").read().splitlines()
print(json.dumps({"version": 1, "outcome": "succeeded", "output": {
    "mine": [line for line in groups if line.endswith("-" + os.environ["ARBITER_ATTEMPT"])],
    "attempt": os.environ["ARBITER_ATTEMPT"], "uid": os.getuid()}}))"#,
    );
    let output = bench
        .reports()
        .await
        .output
        .as_ref()
        .map(Json::value)
        .expect("output");
    let mine = output["mine"].as_array().map(Vec::len);
    if held(&bench, "joining") {
        // Version 1 may have a hierarchy for each controller.
        assert!(mine.is_some_and(|mine| mine == 1 || mine == 2), "{output}");
    } else {
        assert_eq!(mine, Some(0));
    }
    if is_root() {
        assert_eq!(output["uid"], NOBODY);
    }
    let attempt = output["attempt"].as_str().expect("attempt");
    assert_eq!(groups_named(attempt), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn memory_that_is_taken_between_two_measurements_is_refused() {
    let mut bench = python(
        r#"
taken = b"x" * (160 << 20)
del taken
print('{"version":1,"outcome":"succeeded"}')"#,
    );
    bench.limits.memory_bytes = 64 << 20;
    if held(&bench, "peaks of memory") {
        for _ in 0..3 {
            let failure = bench.fails().await;
            assert_eq!(failure.class, FailureClass::Limit, "{failure:?}");
            assert!(
                failure.message.contains("of memory where 67108864 is the limit"),
                "{failure:?}"
            );
        }
    } else {
        // It may be seen or not; what stays is.
        bench.command[2] = r#"taken = b"x" * (160 << 20); import signal; signal.pause()"#.into();
        assert_eq!(bench.fails().await.class, FailureClass::Limit);
    }
}

#[tokio::test]
async fn one_that_is_killed_for_memory_takes_all_with_it() {
    // The first process would go on and succeed.
    let mut bench = python(
        r#"
import subprocess, time
ended = subprocess.run(["/usr/bin/python3", "-c", "x = b'x' * (160 << 20); import signal; signal.pause()"])
print('{"version":1,"outcome":"succeeded"}')"#,
    );
    bench.limits.memory_bytes = 64 << 20;
    held(&bench, "memory of a child");
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Limit, "{failure:?}");
    assert!(failure.message.contains("is the limit"), "{failure:?}");
}

#[tokio::test]
async fn caches_count_for_nothing() {
    // 96 MB of a file go through the cache of pages, which is given up where it is needed.
    let mut bench = python(
        r#"
piece = b"x" * (1 << 20)
with open("file", "wb") as file:
    for _ in range(96): file.write(piece)
with open("file", "rb") as file:
    while file.read(1 << 20): pass
print('{"version":1,"outcome":"succeeded"}')"#,
    );
    bench.limits.memory_bytes = 64 << 20;
    held(&bench, "caches");
    bench.reports().await;
}

#[tokio::test]
async fn processes_are_held_at_the_limit() {
    // Without a pause, until no more are given; where nothing holds it, a hundred.
    let mut bench = python(
        r#"
import json, os, signal, sys
started = 0
while started < 100:
    try:
        if os.fork() == 0:
            os.setsid()
            signal.pause()
        started += 1
    except BlockingIOError:
        break
print(json.dumps({"progress": {"message": str(started)}}), file=sys.stderr, flush=True)
signal.pause()"#,
    );
    (bench.limits.processes, bench.limits.threads) = (16, 16);
    let kernel = held(&bench, "processes");
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Limit, "{failure:?}");
    assert!(failure.message.contains("the limit"), "{failure:?}");
    if kernel {
        // The first one is the sixteenth.
        assert_eq!(bench.told_process(), 15);
        assert!(failure.message.contains("16 threads is the limit"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_fork_bomb_is_put_out() {
    // Each one makes two, eight times over: where nothing holds it, it still ends at 511.
    let mut bench = Bench::script(
        r#"echo "{\"progress\":{\"message\":\"$$\"}}" >&2
        bomb() {
            [ "$1" -gt 0 ] || exec sleep 100
            bomb $(($1 - 1)) & bomb $(($1 - 1)) & wait
        }
        bomb 8 2>/dev/null"#,
    );
    (bench.limits.processes, bench.limits.threads) = (8, 64);
    held(&bench, "a fork bomb");
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Limit, "{failure:?}");
    assert!(
        failure.message.contains("processes where 8 is the limit")
            || failure.message.contains("64 threads is the limit"),
        "{failure:?}"
    );
    assert!(!lives(bench.told_process()));
}

#[tokio::test]
async fn who_leaves_group_parents_and_marker_is_killed_too() {
    let answer = r#"print('{"version":1,"outcome":"succeeded"}')"#;
    let mut bench = python(&format!("{ESCAPE}\n{answer}"));
    if !held(&bench, "survivors") {
        // Without a group it must keep its marker to be found.
        bench.command[2] = bench.command[2].replace(", {})", ", os.environ)");
    }
    bench.reports().await;
    assert!(!lives(bench.told_process()));
}

#[tokio::test]
async fn a_dropped_delivery_leaves_no_group_for_long() {
    let bench = python(&format!("{ESCAPE}\nsignal.pause()"));
    let kernel = held(&bench, "a dropped delivery");
    let transport = bench.transport();
    let group = async {
        let mut heard = bench.told.heard.subscribe();
        heard.wait_for(|heard| *heard).await.expect("told");
        group_of(bench.told_process())
    };
    let group = tokio::select! {
        delivered = transport.deliver(bench.delivery()) => panic!("{delivered:?}"),
        group = group => group,
    };
    assert_eq!(group.is_some(), kernel);
    let (clock, process) = (SystemClock::new(), bench.told_process());
    wait(&clock, || !kernel || !lives(process)).await;
    if !kernel {
        let _ended = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
    // What was busy then is removed before the next group of these is made.
    let next = Bench {
        command: vec![
            "/bin/sh".into(),
            "-c".into(),
            r#"echo '{"version":1,"outcome":"succeeded"}'"#.into(),
        ],
        ..bench
    };
    next.reports().await;
    let left = group.map(|group| groups_named(&group)).unwrap_or_default();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[tokio::test]
async fn kill_a_node_and_the_next_one_ends_what_it_left() {
    if part().is_some() {
        return be_the_node().await;
    }
    let mut node = again("groups::kill_a_node_and_the_next_one_ends_what_it_left")
        .env(PART, "node")
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let told = BufReader::new(node.stdout.take().expect("stdout")).lines();
    let escaped: i32 = told
        .map_while(Result::ok)
        .find_map(|line| line.split_once("escaped ")?.1.parse().ok())
        .expect("the node told a process");
    let pid = node.id();
    node.kill().expect("killed");
    node.wait().expect("ended");
    let prefix = format!("arbiter-{pid}-");
    let (clock, groups) = (SystemClock::new(), Groups::find());
    println!("report: what dead nodes left: {}", groups.mode());
    if matches!(groups.mode(), Mode::Measured(_)) {
        assert_eq!(groups.sweep(&clock).await, 0);
        kill(Pid::from_raw(escaped), Signal::SIGKILL).expect("it outlived its node");
        return;
    }
    // It outlived its node: the kernel ends only the command itself.
    assert!(lives(escaped) && !groups_named(&prefix).is_empty());
    assert!(groups.sweep(&clock).await >= 1);
    assert_eq!(groups_named(&prefix), Vec::<PathBuf>::new());
    assert!(!lives(escaped));
}

/// Runs an attempt and tells which process left it, until it is killed.
async fn be_the_node() {
    let bench = python(&format!("{ESCAPE}\nsignal.pause()"));
    let transport = bench.transport();
    let tell = async {
        let mut heard = bench.told.heard.subscribe();
        heard.wait_for(|heard| *heard).await.expect("told");
        println!("escaped {}", bench.told_process());
    };
    let (delivered, ()) = tokio::join!(transport.deliver(bench.delivery()), tell);
    panic!("{delivered:?}");
}

#[test]
fn another_user_measures() {
    if part().is_some() {
        let groups = Groups::find();
        assert!(
            matches!(groups.mode(), Mode::Measured(why) if why.contains("version 1: ")),
            "{groups:?}"
        );
        return;
    }
    if !is_root() {
        // This user is another one already; its groups may be delegated to it.
        println!("report: as user: {}", Groups::find().mode());
        return;
    }
    // The other user may not enter where this file lies.
    let folder = tempfile::tempdir().expect("folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("rights");
    let copy = folder.path().join("test");
    std::fs::copy(std::env::current_exe().expect("the test's own file"), &copy).expect("copy");
    let output = Command::new(&copy)
        .args(["groups::another_user_measures", "--exact", "--nocapture"])
        .env(PART, "user")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("ran");
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1 passed"),
        "{output:?}"
    );
}

/// Which part this process plays in a test, if a test started it.
#[expect(clippy::disallowed_methods, reason = "a test tells its own copy what to do")]
fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// This same file, for one test.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test's own file"));
    command.args([test, "--exact", "--nocapture"]);
    command
}

async fn wait(clock: &SystemClock, done: impl Fn() -> bool) {
    let until = clock.monotonic() + std::time::Duration::from_secs(10);
    while !done() {
        assert!(clock.monotonic() < until, "it takes too long");
        clock
            .sleep_until(clock.monotonic() + std::time::Duration::from_millis(5))
            .await;
    }
}

#[tokio::test]
async fn switched_off_nothing_is_made() {
    let mut bench = Bench::script(
        r#"printf '{"version":1,"outcome":"succeeded","output":"%s"}' "$(grep -c attempt- /proc/self/cgroup)""#,
    );
    bench.groups = Arc::new(Groups::off());
    let output: Value = bench
        .reports()
        .await
        .output
        .as_ref()
        .map(Json::value)
        .expect("output");
    assert_eq!(output, "0");
}
