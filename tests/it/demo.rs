//! The demo, with nothing in the environment, as this user and as another one.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use arbiter_tests::{Done, Place, done};

fn check(demo: &Done) {
    assert_eq!(demo.code(), 0, "{demo:?}");
    let shown = demo.json();
    assert_eq!(shown["tasks"], shown["succeeded"]);
    assert!(
        shown["recovered"].as_u64().is_some_and(|count| count > 0),
        "the crashing agent crashed: {shown}"
    );
    assert_eq!(shown["audit"]["sound"], true);
}

#[test]
fn the_demo_needs_no_home_terminal_python_or_port() {
    let place = Place::new();
    let mut command = Command::new(place.path("arbiter"));
    // The data folder of the demo is its own: nothing names one, and there is no HOME.
    command
        .env_clear()
        .env("TMPDIR", place.path(""))
        .args(["--json", "demo"]);
    check(&done(&mut command));
    let left = std::fs::read_dir(place.path(""))
        .expect("place")
        .flatten()
        .map(|entry| entry.file_name());
    assert!(
        left.into_iter()
            .all(|name| !name.to_string_lossy().starts_with("arbiter-demo-")),
        "nothing is left"
    );
}

#[test]
fn the_demo_runs_as_another_user() {
    let place = Place::new();
    let folder = place.path("other");
    std::fs::create_dir(&folder).expect("folder");
    let mut command = Command::new(place.path("arbiter"));
    command
        .env_clear()
        .env("TMPDIR", &folder)
        .current_dir(&folder)
        .args(["--json", "demo"]);
    // Only root can be somebody else; anybody else is no root already.
    if nix::unistd::Uid::effective().is_root() {
        nix::unistd::chown(&folder, Some(nix::unistd::Uid::from_raw(65_533)), None).expect("owner");
        command.uid(65_533).gid(65_533);
    }
    check(&done(&mut command));
}

#[test]
fn a_kept_demo_can_be_looked_at() {
    let place = Place::new();
    let mut command = Command::new(place.path("arbiter"));
    command
        .env_clear()
        .env("TMPDIR", place.path(""))
        .env("HOME", place.path("home"))
        .args(["demo", "--keep"]);
    let demo = done(&mut command);
    assert_eq!(demo.code(), 0, "{demo:?}");
    assert!(
        !place.path("home").exists(),
        "the demo leaves the user's own data folder alone"
    );
    let kept = demo
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("kept: arbiter --data-dir "))
        .expect("a path");
    let data = kept.split(' ').next().expect("a path");
    let mut command = Command::new(place.path("arbiter"));
    let listed = done(
        command
            .env_clear()
            .args(["--json", "task", "list", "--data-dir", data]),
    );
    assert_eq!(listed.code(), 0, "{listed:?}");
    assert_eq!(listed.json()["tasks"].as_array().map(Vec::len), Some(9));
}
