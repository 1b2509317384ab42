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
    // The data folder of the demo is its own: no variable names one. PATH is what the node gives its commands.
    command
        .env_clear()
        .env("TMPDIR", place.path(""))
        .args(["--json", "demo", "--data-dir"])
        .arg(place.path("unused"));
    check(&done(&mut command));
    assert!(
        !place.path("unused").exists(),
        "the demo leaves the data folder alone"
    );
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
    if !nix::unistd::Uid::effective().is_root() {
        // Not root: the test above ran as an ordinary user already.
        return;
    }
    let folder = place.path("other");
    std::fs::create_dir(&folder).expect("folder");
    nix::unistd::chown(&folder, Some(nix::unistd::Uid::from_raw(65_533)), None).expect("owner");
    let mut command = Command::new(place.path("arbiter"));
    command
        .env_clear()
        .env("TMPDIR", &folder)
        .args(["--json", "demo"])
        .arg("--data-dir")
        .arg(folder.join("unused"));
    check(&done(command.uid(65_533).gid(65_533).current_dir(&folder)));
}

#[test]
fn a_kept_demo_can_be_looked_at() {
    let place = Place::new();
    let mut command = Command::new(place.path("arbiter"));
    command
        .env_clear()
        .env("TMPDIR", place.path(""))
        .args(["demo", "--keep", "--data-dir"])
        .arg(place.path("unused"));
    let demo = done(&mut command);
    assert_eq!(demo.code(), 0, "{demo:?}");
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
