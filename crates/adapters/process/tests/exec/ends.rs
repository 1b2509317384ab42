//! How commands end: by themselves, at the deadline, told to stop, dropped. Nothing is left of them.

use std::time::Duration;

use arbiter_adapter_system::SystemClock;
use arbiter_core::model::FailureClass;
use arbiter_core::ports::*;

use crate::bench::*;

const WAIT_FOREVER: &str = r#"echo "{\"progress\":{\"message\":\"$$\"}}" >&2; while :; do sleep 1; done"#;

#[tokio::test]
async fn told_to_stop_a_command_may_end_by_itself() {
    let mut bench = Bench::script(&format!("trap 'exit 0' TERM; {WAIT_FOREVER}"));
    bench.stops = true;
    assert_eq!(bench.run().await, Delivered::Stopped);
    assert!(!lives(bench.told_process()));
}

#[tokio::test]
async fn told_to_stop_a_stubborn_command_is_killed_after_the_grace() {
    let mut bench = Bench::script(&format!("trap '' TERM; {WAIT_FOREVER}"));
    bench.stops = true;
    bench.grace = Duration::from_millis(150);
    assert_eq!(bench.run().await, Delivered::Stopped);
    assert!(!lives(bench.told_process()));
}

#[tokio::test]
async fn a_command_ends_at_its_deadline() {
    let mut bench = Bench::script(WAIT_FOREVER);
    bench.within = Duration::from_millis(500);
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Timeout);
    assert!(!lives(bench.told_process()));
}

#[tokio::test]
async fn a_command_that_floods_its_log_ends_at_its_deadline_too() {
    let mut bench = Bench::script("trap '' TERM; while :; do yes >&2; done");
    (bench.within, bench.grace) = (Duration::from_millis(300), Duration::from_millis(100));
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Timeout);
    assert!(failure.message.len() < 6_500, "{}", failure.message.len());
}

#[tokio::test]
async fn survivors_are_killed() {
    let survive = "sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done'";
    for start in [
        // In the group, holding the answer's stream open.
        format!("{survive} &"),
        // In a session of its own, streams closed.
        format!("setsid {survive} </dev/null >/dev/null 2>&1 &"),
    ] {
        let bench = Bench::script(&format!(
            r#"{start}
            echo "{{\"progress\":{{\"message\":\"$!\"}}}}" >&2
            echo '{{"version":1,"outcome":"succeeded"}}'"#
        ));
        bench.reports().await;
        assert!(!lives(bench.told_process()), "{start}");
    }
}

#[tokio::test]
async fn a_dropped_delivery_leaves_nothing() {
    let bench = Bench::script(&format!("trap '' TERM; {WAIT_FOREVER}"));
    let transport = bench.transport();
    let mut heard = bench.told.heard.subscribe();
    tokio::select! {
        delivered = transport.deliver(bench.delivery()) => panic!("{delivered:?}"),
        heard = heard.wait_for(|heard| *heard) => { heard.expect("told"); }
    }
    assert!(is_empty(&bench.work_root()));
    let (clock, process) = (SystemClock::new(), bench.told_process());
    // The signal was sent; the kernel needs a moment to act on it.
    while lives(process) {
        assert!(
            clock.monotonic() < Duration::from_secs(10),
            "process {process} lives"
        );
        clock
            .sleep_until(clock.monotonic() + Duration::from_millis(5))
            .await;
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_started_says_why() {
    let failure = Bench::command(&["/nowhere/agent"]).fails().await;
    assert_eq!(failure.class, FailureClass::Transport);
    assert!(
        failure
            .message
            .contains("`/nowhere/agent` cannot be started: No such file"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn a_folder_that_the_user_may_not_enter_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let mut bench = Bench::command(&[]);
    let closed = bench.folder.path().join("closed");
    std::fs::create_dir(&closed).expect("folder");
    std::fs::write(closed.join("agent"), "#!/bin/sh\n").expect("file");
    for path in [closed.join("agent"), closed.clone()] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("rights");
    }
    bench.command = vec![closed.join("agent").display().to_string()];
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Transport);
    assert!(
        failure
            .message
            .contains(&format!("may not enter `{}`", closed.display())),
        "{failure:?}"
    );
}

/// Runs the launcher as the child of a process, for a command that makes the file `started`.
fn launch(parent: i32, folder: &std::path::Path, doors: Vec<std::path::PathBuf>) -> std::process::Output {
    let order = arbiter_adapter_process::launcher::Order {
        parent,
        uid: None,
        file_bytes: 1 << 20,
        folder: folder.into(),
        input: folder.into(),
        doors,
        command: vec!["touch".into(), folder.join("started").into()],
    };
    let launcher = env!("CARGO_BIN_EXE_exec-launcher");
    std::process::Command::new(launcher)
        .args(order.arguments())
        .output()
        .expect("ran")
}

#[test]
fn a_control_group_that_cannot_be_joined_stops_no_command() {
    let folder = tempfile::tempdir().expect("folder");
    let door = folder.path().join("gone/cgroup.procs");
    let this = i32::try_from(std::process::id()).expect("a number");
    let output = launch(this, folder.path(), vec![door]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(folder.path().join("started").exists());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("cgroup.procs` cannot be set"), "{told}");
}

#[test]
fn a_launcher_whose_node_is_gone_starts_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let output = launch(i32::MAX, folder.path(), Vec::new());
    assert_eq!(output.status.code(), Some(126));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("is gone"),
        "{output:?}"
    );
    assert!(is_empty(folder.path()));
}
