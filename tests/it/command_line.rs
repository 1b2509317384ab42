//! Exit codes, configuration, help.

use arbiter_tests::{Place, done};

#[test]
fn exit_codes_and_messages_say_what_to_do() {
    let place = Place::new();
    place.write("agents.toml", "");
    place.write(
        "tasks.jsonl",
        "{\"kind\":\"analysis\",\"title\":\"t\",\"colour\":1}\n",
    );
    place.write("good.jsonl", "{\"kind\":\"analysis\",\"title\":\"t\"}\n");
    for (arguments, code, part) in [
        (&["nonsense"][..], 2, "unrecognized"),
        (
            &["run", "tasks.jsonl", "--agents", "agents.toml"],
            2,
            "line 1: unknown field `colour`",
        ),
        (
            &["run", "missing.jsonl", "--agents", "agents.toml"],
            2,
            "missing.jsonl",
        ),
        (
            &["run", "good.jsonl", "--agents", "agents.toml"],
            3,
            "names no agent",
        ),
        (
            &["run", "good.jsonl", "--agents", "missing.toml"],
            3,
            "missing.toml",
        ),
        (&["task", "get", "x"], 2, "not a valid task id"),
        (
            &["task", "get", "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d"],
            1,
            "not found",
        ),
        (
            &["task", "list", "--state", "sleeping"],
            2,
            "the states are queued",
        ),
        (
            &["--config", "missing.toml", "config", "check"],
            3,
            "missing.toml",
        ),
        (
            &["key", "create", "--name", "x", "--role", "emperor"],
            2,
            "the roles are submitter",
        ),
        (
            &["key", "create", "--name", "x", "--role", "admin"],
            5,
            "only an admin",
        ),
    ] {
        let done = place.run(arguments);
        assert_eq!(done.code(), code, "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
}

#[test]
fn a_data_folder_that_cannot_be_had_is_told_with_what_to_do() {
    let place = Place::new();
    place.write("file", "");
    let mut command = std::process::Command::new(place.path("arbiter"));
    let nowhere = done(command.env_clear().args(["task", "list"]));
    assert_eq!(nowhere.code(), 3);
    assert!(nowhere.stderr.contains("--data-dir"), "{}", nowhere.stderr);
    let mut command = std::process::Command::new(place.path("arbiter"));
    let blocked = done(
        command
            .env_clear()
            .args(["task", "list", "--data-dir"])
            .arg(place.path("file/data")),
    );
    assert_eq!(blocked.code(), 4, "{blocked:?}");
    assert!(
        blocked.stderr.contains("cannot be made or written"),
        "{}",
        blocked.stderr
    );
}

#[test]
fn a_configuration_tells_all_its_problems_at_once() {
    let place = Place::new();
    place.write(
        "bad.toml",
        "[queue]\nlease_seconds = 2\nopen_tasks_per_tenant = 0\nsuspicious = \"shrug\"\nextra_kinds = [\"A b\"]\n[exec]\nuid = 0\n",
    );
    let bad = place.run(&["--config", "bad.toml", "config", "check"]);
    assert_eq!(bad.code(), 3);
    for part in [
        "5 problems",
        "queue.lease_seconds",
        "open_tasks_per_tenant",
        "shrug",
        "A b",
        "exec.uid",
    ] {
        assert!(bad.stderr.contains(part), "{part}: {}", bad.stderr);
    }
    place.write("typo.toml", "[queue]\nopen_task = 1\n");
    let typo = place.run(&["--config", "typo.toml", "config", "check"]);
    assert!(
        typo.stderr.contains("line 2") && typo.stderr.contains("open_task"),
        "{}",
        typo.stderr
    );
    place.write(
        "good.toml",
        "[queue]\nextra_kinds = [\"acme/x\"]\n[policies]\nfiles = [\"extra.cedar\"]\n",
    );
    place.write(
        "extra.cedar",
        "permit(principal, action, resource) when { principal.colour == 1 };",
    );
    let policy = place.run(&["--config", "good.toml", "config", "check"]);
    assert_eq!(policy.code(), 3);
    assert!(policy.stderr.contains("colour"), "{}", policy.stderr);
    place.write(
        "extra.cedar",
        "forbid(principal, action == Arbiter::Action::\"task.list\", resource);",
    );
    assert_eq!(place.run(&["--config", "good.toml", "config", "check"]).code(), 0);
    let denied = place.run(&["--config", "good.toml", "task", "list"]);
    assert_eq!(denied.code(), 5, "{denied:?}");
    let shown = place
        .run(&["--config", "good.toml", "--json", "config", "show"])
        .json();
    assert_eq!(shown["queue"]["extra_kinds"][0], "acme/x");
    assert!(shown["enforced"]["memory"].is_string());
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let place = Place::new();
    let made = place.run(&["--json", "key", "create", "--name", "reader", "--role", "auditor"]);
    assert_eq!(made.code(), 0, "{made:?}");
    let made = made.json();
    let (principal, id) = (
        made["principal"].as_str().expect("principal"),
        made["id"].as_str().expect("id"),
    );
    assert!(
        made["key"]
            .as_str()
            .is_some_and(|key| key.starts_with(&format!("arb_{id}_")))
    );
    let listed = place
        .run(&["--json", "key", "list", "--principal", principal])
        .json();
    assert_eq!(
        (
            listed["keys"][0]["id"].as_str(),
            listed["keys"][0]["state"].as_str()
        ),
        (Some(id), Some("live"))
    );
    assert_eq!(place.run(&["key", "revoke", id]).code(), 0);
    let listed = place
        .run(&["--json", "key", "list", "--principal", principal])
        .json();
    assert_eq!(listed["keys"][0]["state"], "revoked");

    let own = place.run(&["--json", "key", "list"]).json();
    let own = own["keys"][0]["id"]
        .as_str()
        .expect("the operator's own key")
        .to_owned();
    assert_eq!(place.run(&["key", "revoke", &own]).code(), 0);
    let denied = place.run(&["task", "list"]);
    assert_eq!(denied.code(), 5, "a revoked key opens nothing: {denied:?}");
}

#[test]
fn completions_are_printed_for_each_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]);
        assert_eq!(script.code(), 0);
        assert!(
            script.stdout.contains("arbiter") && script.stdout.lines().count() > 50,
            "{shell}"
        );
    }
}
