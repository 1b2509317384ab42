//! Each service in turn made to fail at start: nothing is left, nothing is said to be ready, and a right start works.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use arbiter_tests::{Done, Place, Serving, done, processes};

/// A place in which a batch ran once, so that every file is there.
fn place() -> Place {
    let place = Place::new();
    place.write(
        "agents/quick.sh",
        "#!/bin/sh\ncat >/dev/null\necho '{\"version\":1,\"outcome\":\"succeeded\"}'\n",
    );
    place.write("agents.toml", "[[agent]]\nname = \"a\"\ncommand = [\"./agents/quick.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n");
    place.write("tasks.jsonl", "{\"kind\":\"analysis\",\"title\":\"a\"}\n");
    place.write("config.toml", "[policies]\nfiles = [\"extra.cedar\"]\n");
    place.write(
        "extra.cedar",
        "forbid(principal, action, resource) when { principal.kind == \"service\" };\n",
    );
    right(&place);
    place
}

const RUN: &[&str] = &["run", "tasks.jsonl", "--agents", "agents.toml", "--fresh"];
const SERVE: &[&str] = &["serve", "--listen", "127.0.0.1:0", "--agents", "agents.toml"];

fn start(place: &Place, command: &[&str]) -> Done {
    let options = ["--config", "config.toml", "--log-format", "json", "--json"];
    let mut command = place.command(&[&options, command].concat());
    done(command.env("ARBITER_LOG", "info"))
}

/// A start with everything in order.
fn right(place: &Place) {
    let run = start(place, RUN);
    assert_eq!(run.code(), 0, "{run:?}");
    assert!(run.stderr.contains("startup_completed"), "{run:?}");
    let config = place.path("config.toml");
    let serving = Serving::start(
        place,
        &[
            "--config",
            config.to_str().expect("a path"),
            "--agents",
            "agents.toml",
        ],
    );
    assert_eq!(serving.stop().code(), Some(0));
    let verified = place.run(&["audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
}

/// A start of a batch and one of a server that must fail: with this exit code, this code, and a message that names
/// `told`.
fn wrong(place: &Place, exit: i32, code: &str, told: &str) {
    wrong_by(place, RUN, exit, code, told);
    wrong_by(place, SERVE, exit, code, told);
}

fn wrong_by(place: &Place, command: &[&str], exit: i32, code: &str, told: &str) {
    let run = start(place, command);
    assert_eq!(run.code(), exit, "{told}: {run:?}");
    assert!(!run.stderr.contains("startup_completed"), "{told}: {run:?}");
    let last = run.stderr.lines().last().expect("an error");
    let error: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(error["error"]["code"], code, "{told}: {run:?}");
    assert!(error["error"].to_string().contains(told), "{told}: {run:?}");
    let script = place.path("agents/quick.sh").display().to_string();
    assert_eq!(processes(&script), 0, "{told}: a command was left");
    let lock = std::fs::File::open(place.path("data/arbiter.lock"));
    if let Ok(lock) = lock {
        lock.try_lock().expect("the lock was given up");
    }
}

/// Has a file hold something else while a start fails, and starts rightly afterwards.
fn with(place: &Place, name: &str, text: &str, mode: u32, (exit, code, told): (i32, &str, &str)) {
    let path = place.path(name);
    let kept = std::fs::read(&path).expect("what was there");
    let was = std::fs::metadata(&path).expect("its mode").permissions();
    std::fs::write(&path, if text.is_empty() { &kept } else { text.as_bytes() }).expect("written");
    std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
    wrong(place, exit, code, told);
    std::fs::write(&path, kept).expect("written");
    std::fs::set_permissions(&path, was).expect("a mode");
    right(place);
}

/// Puts a folder where a file should be, or a file where a folder should be, while a start fails.
fn replaced(place: &Place, name: &str, (exit, code, told): (i32, &str, &str)) {
    let (path, aside) = (place.path(name), place.path("aside"));
    std::fs::rename(&path, &aside).expect("moved");
    if aside.is_dir() {
        std::fs::write(&path, "").expect("a file");
    } else {
        std::fs::create_dir(&path).expect("a folder");
    }
    wrong(place, exit, code, told);
    if aside.is_dir() {
        std::fs::remove_file(&path).expect("removed");
    } else {
        std::fs::remove_dir(&path).expect("removed");
    }
    std::fs::rename(&aside, &path).expect("moved back");
    right(place);
}

#[test]
fn broken_settings_policies_and_agents_leave_nothing_behind() {
    let place = place();
    let configuration = |told| (3, "configuration", told);
    with(
        &place,
        "config.toml",
        "[queue]\nlease = 1\n",
        0o644,
        configuration("lease"),
    );
    with(
        &place,
        "extra.cedar",
        "permit(principal, action resource);\n",
        0o644,
        configuration("extra.cedar:1"),
    );
    with(
        &place,
        "extra.cedar",
        "permit(principal, action, resource) when { principal.colour == 1 };\n",
        0o644,
        configuration("colour"),
    );
    replaced(&place, "extra.cedar", configuration("extra.cedar"));
    with(
        &place,
        "agents.toml",
        "[[agent]]\n",
        0o644,
        configuration("agents file"),
    );
    let wants = "[[agent]]\nname = \"a\"\ncommand = [\"./agents/quick.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\nenv = [\"NOT_SET\"]\n";
    with(&place, "agents.toml", wants, 0o644, configuration("NOT_SET"));
    // An agent that no policy lets take work.
    let forbids = "forbid(principal, action == Arbiter::Action::\"work.claim\", resource);\n";
    with(
        &place,
        "extra.cedar",
        forbids,
        0o644,
        configuration("may not take work"),
    );
}

#[test]
fn broken_keys_and_trust_leave_nothing_behind() {
    let place = place();
    let configuration = |told| (3, "configuration", told);
    with(&place, "data/operator.key", "", 0o644, configuration("chmod 600"));
    let other = "arb_0000000000000000_0000000000000000000000000000000000000000000\n";
    let denied = (5, "auth_failed", "operator.key");
    with(&place, "data/operator.key", other, 0o600, denied);
    with(
        &place,
        "data/audit.key",
        "junk\n",
        0o600,
        configuration("audit.key"),
    );
    with(&place, "data/audit.key", "", 0o640, configuration("chmod 600"));
    with(
        &place,
        "data/audit.trust.json",
        "{\"version\":2}",
        0o600,
        configuration("audit.trust.json"),
    );
    with(
        &place,
        "data/audit.trust.json",
        "no JSON",
        0o600,
        configuration("audit.trust.json"),
    );
}

#[test]
fn a_store_that_cannot_be_opened_leaves_nothing_behind() {
    let place = place();
    let unavailable = |told| (4, "unavailable", told);
    replaced(&place, "data/arbiter.lock", unavailable("arbiter.lock"));
    replaced(&place, "data/arbiter.db", unavailable("database"));
    replaced(&place, "data/artifacts", unavailable("artifacts"));
    replaced(&place, "data", unavailable("data"));

    let lock = std::fs::File::open(place.path("data/arbiter.lock")).expect("a lock");
    lock.lock().expect("locked");
    let run = start(&place, RUN);
    assert_eq!(run.code(), 4, "{run:?}");
    assert!(
        run.stderr.contains("in use") && !run.stderr.contains("startup_completed"),
        "{run:?}"
    );
    drop(lock);
    right(&place);

    let database = place.path("data/arbiter.db");
    let version = set_version(&database, 99);
    wrong(&place, 4, "unavailable", "schema 99");
    set_version(&database, version);
    right(&place);

    let kept = std::fs::read(&database).expect("a database");
    std::fs::write(&database, "no database, but long enough to be one: ".repeat(20)).expect("written");
    wrong(&place, 4, "unavailable", "database");
    std::fs::write(&database, kept).expect("written");
    right(&place);
}

/// Sets the version of the schema. Gives the one before.
fn set_version(database: &Path, version: i64) -> i64 {
    let connection = rusqlite::Connection::open(database).expect("a database");
    let before = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("the version");
    connection
        .pragma_update(None, "user_version", version)
        .expect("a version");
    before
}
