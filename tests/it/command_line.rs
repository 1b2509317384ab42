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
            &["key", "create", "--name", "x", "--role", "peer"],
            2,
            "the system's own tenant only",
        ),
        (
            &[
                "key",
                "create",
                "--name",
                "x",
                "--role",
                "submitter",
                "--kind",
                "A b",
            ],
            2,
            "A b",
        ),
        (
            &[
                "key",
                "create",
                "--name",
                "x",
                "--role",
                "submitter",
                "--highest-band",
                "4",
            ],
            2,
            "0..=3",
        ),
    ] {
        let done = place.run(arguments);
        assert_eq!(done.code(), code, "{arguments:?}: {done:?}");
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
}

/// Lets local commands act as a new principal.
fn act_as(place: &Place, options: &[&str]) {
    let create = ["key", "create", "--name", "other", "--output", "other.key"];
    let made = place.run(&[&create, options].concat());
    assert_eq!(made.code(), 0, "{made:?}");
    std::fs::rename(place.path("other.key"), place.path("data/operator.key")).expect("renamed");
}

#[test]
fn local_commands_do_what_their_key_may_do_and_nothing_more() {
    let place = Place::new();
    let audit: [&[&str]; 4] = [
        &["audit", "verify"],
        &["audit", "export", "log.jsonl"],
        &["audit", "proof", "0"],
        &["audit", "rotate"],
    ];
    // The operator of the data folder has the whole store.
    for command in audit {
        assert_eq!(place.run(command).code(), 0, "{command:?}");
    }
    let admin = place.run(&["key", "create", "--name", "x", "--role", "admin"]);
    assert_eq!(admin.code(), 0, "{admin:?}");
    let all = place.run(&["--json", "audit", "search", "--limit", "1000"]);
    let tenants = |text: &str| -> std::collections::BTreeSet<String> {
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        lines.map(|line| line["leaf"]["tenant"].to_string()).collect()
    };
    assert!(tenants(&all.stdout).len() > 1, "{all:?}");

    // Who runs one tenant sees what is its own.
    act_as(&place, &["--role", "operator"]);
    for command in audit {
        let denied = place.run(command);
        assert_eq!(denied.code(), 5, "{command:?}: {denied:?}");
    }
    let admin = place.run(&["key", "create", "--name", "x", "--role", "admin"]);
    assert_eq!(admin.code(), 5, "{admin:?}");
    assert!(admin.stderr.contains("only an admin"), "{}", admin.stderr);
    let own = place.run(&["--json", "audit", "search", "--limit", "1000"]);
    assert_eq!((own.code(), tenants(&own.stdout).len()), (0, 1), "{own:?}");

    place.write("note.txt", "hello");
    place.write(
        "tasks.jsonl",
        r#"{"kind":"analysis","title":"x","files":{"note":"note.txt"}}"#,
    );
    place.write(
        "agents.toml",
        "[[agent]]\nname = \"a\"\ncommand = [\"./agents/word_count.py\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n",
    );
    place.write(
        "extra.cedar",
        "forbid (principal, action == Arbiter::Action::\"artifact.put\", resource);",
    );
    place.write("config.toml", "[policies]\nfiles = [\"extra.cedar\"]\n");
    let run = ["run", "tasks.jsonl", "--agents", "agents.toml"];
    let without_artifacts = place.run(&[&["--config", "config.toml"], run.as_slice()].concat());
    assert_eq!(without_artifacts.code(), 5, "{without_artifacts:?}");

    // Who submits runs no agents.
    act_as(&place, &["--role", "submitter"]);
    let denied = place.run(&run);
    assert_eq!(denied.code(), 5, "{denied:?}");
}

#[test]
fn a_key_is_made_for_some_kinds_and_bands() {
    let place = Place::new();
    act_as(
        &place,
        &["--role", "operator", "--kind", "writing", "--highest-band", "1"],
    );
    place.write(
        "tasks.jsonl",
        "{\"kind\":\"writing\",\"title\":\"a\",\"priority\":\"low\"}\n{\"kind\":\"analysis\",\"title\":\"b\",\"priority\":\"low\"}\n",
    );
    let submitted = place.run(&["--json", "task", "submit", "tasks.jsonl"]);
    assert!(submitted.stdout.contains("kind_not_allowed"), "{submitted:?}");
    place.write(
        "urgent.jsonl",
        r#"{"kind":"writing","title":"c","priority":"high"}"#,
    );
    let urgent = place.run(&["task", "submit", "urgent.jsonl"]);
    assert_eq!(urgent.code(), 5, "{urgent:?}");
    let more = place.run(&["key", "create", "--name", "x", "--role", "submitter"]);
    assert_eq!(more.code(), 5, "nobody hands out more than it has: {more:?}");
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
        "[queue]\nlease_seconds = 2\nopen_tasks_per_tenant = 0\nsuspicious = \"shrug\"\nextra_kinds = [\"A b\"]\n[exec]\nuid = 0\nthreads = 0\ncgroup = \"v3\"\n",
    );
    let bad = place.run(&["--config", "bad.toml", "config", "check"]);
    assert_eq!(bad.code(), 3);
    for part in [
        "7 problems",
        "queue.lease_seconds",
        "open_tasks_per_tenant",
        "shrug",
        "A b",
        "exec.uid",
        "exec.threads",
        "exec.cgroup: `v3` is neither",
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
