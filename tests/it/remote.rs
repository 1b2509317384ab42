//! The command line against a server: the same words, the same output, the same exit codes.

use std::process::Stdio;

use arbiter_tests::http::Caller;
use arbiter_tests::{Done, Place, Serving};
use serde_json::{Value, json};

const TASKS: &str = "{\"kind\":\"analysis\",\"title\":\"a\"}\n\
    {\"kind\":\"analysis\",\"title\":\"b\",\"labels\":{\"team\":\"x\"},\"after\":[\"#1\"]}\n";

/// A server over a place, with a key of a submitter in `submitter.key`.
fn served() -> (Place, Serving) {
    let place = Place::new();
    let key = place.path("submitter.key");
    let key = key.to_str().expect("a path");
    let made = place.run(&[
        "key",
        "create",
        "--name",
        "s",
        "--role",
        "submitter",
        "--output",
        key,
    ]);
    assert_eq!(made.code(), 0, "{made:?}");
    place.write("tasks.jsonl", TASKS);
    let serving = Serving::start(&place, &[]);
    (place, serving)
}

fn ids(done: &Done) -> Vec<String> {
    assert_eq!(done.code(), 0, "{done:?}");
    done.stdout.lines().map(str::to_owned).collect()
}

/// A JSON answer without what differs from moment to moment.
fn stable(done: &Done) -> Value {
    assert_eq!(done.code(), 0, "{done:?}");
    let mut shown = done.json();
    for agent in shown["agents"].as_array_mut().into_iter().flatten() {
        agent["health"] = Value::Null;
    }
    shown["next"] = Value::Null;
    shown
}

#[test]
fn commands_find_the_process_that_serves_their_store_and_answer_as_without_it() {
    let (place, serving) = served();
    let made = ids(&place.run(&["task", "submit", "tasks.jsonl"]));
    assert_eq!(made.len(), 2);
    let operator = std::fs::read_to_string(place.path("data/operator.key")).expect("a key");
    let operator = Caller::new(&serving, Some(&operator));
    let hook = json!({"url": "https://hooks.example/x", "events": ["closed", "held"]});
    let hook = operator.post("/v1/hooks", &hook).json()["hook"]["id"].clone();
    let hook = hook.as_str().expect("an id");
    let agent = "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d";
    let profile = json!({"id": agent, "name": "a", "model_family": "none", "kinds": ["writing"]});
    assert_eq!(operator.post("/v1/agents", &profile).status, 200);
    let reads: [&[&str]; 8] = [
        &["--json", "task", "get", &made[0]],
        &["--json", "task", "get", &made[1]],
        &["--json", "task", "list", "--label", "team=x"],
        &["--json", "task", "list", "--state", "queued", "--limit", "1"],
        &["--json", "agent", "list"],
        &["--json", "agent", "get", agent],
        &["--json", "hook", "get", hook],
        &["--json", "hook", "list"],
    ];
    let through: Vec<_> = reads.iter().map(|read| stable(&place.run(read))).collect();
    let search: &[&str] = &["--json", "audit", "search", "--resource", &made[0]];
    let found = place.run(search);
    assert_eq!((found.code(), found.stdout.lines().count()), (0, 1), "{found:?}");
    assert_eq!(place.run(&["hook", "deliveries", hook]).code(), 0);
    // Pages go on where the one before ended.
    let first = place.run(&["--json", "task", "list", "--limit", "1"]).json();
    let next = first["next"].as_str().expect("more");
    let second = place
        .run(&["--json", "task", "list", "--limit", "1", "--after", next])
        .json();
    assert_eq!(second["tasks"][0]["id"], json!(made[1]));
    assert_eq!(serving.stop().code(), Some(0));

    for (read, through) in reads.iter().zip(through) {
        let mut here = stable(&place.run(read));
        let mut there = through;
        if read[1] == "agent" {
            // Time goes on.
            here["health"] = Value::Null;
            there["health"] = Value::Null;
        }
        assert_eq!(here, there, "{read:?}");
    }
    assert_eq!(place.run(search).stdout, found.stdout);
}

#[test]
fn tasks_and_agents_are_operated_through_a_server() {
    let (place, serving) = served();
    let key = place.path("data/operator.key");
    let remote = [
        "--server",
        serving.url.as_str(),
        "--token-file",
        key.to_str().expect("a path"),
    ];
    let run = |command: &[&str]| place.run(&[&remote, command].concat());
    let made = ids(&run(&["task", "submit", "tasks.jsonl"]));
    let why = ["--reason", "because"];
    let cancel = |options: &[&str]| run(&[&["--json", "task", "cancel", &made[0]], options, &why].concat());
    let stale = cancel(&["--if-version", "99"]);
    assert_eq!(stale.code(), 1, "{stale:?}");
    assert!(stale.stderr.contains("precondition_failed"), "{stale:?}");
    let cancelled = cancel(&["--if-version", "1"]);
    assert_eq!(
        (cancelled.code(), &cancelled.json()["state"]),
        (0, &json!("cancelled")),
        "{cancelled:?}"
    );
    assert_eq!(cancel(&[]).code(), 1, "it has ended");
    // Its prerequisite did not succeed.
    let failed = run(&["--json", "task", "get", &made[1]]).json();
    assert_eq!(failed["state"], "failed", "{failed}");
    let retried = run(&[&["task", "dead-letter", &made[1]], why.as_slice()].concat());
    assert!(retried.code() <= 1, "{retried:?}");

    let agent = "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d";
    let operator = std::fs::read_to_string(&key).expect("a key");
    let profile = json!({"id": agent, "name": "a", "model_family": "none", "kinds": ["writing"]});
    let registered = Caller::new(&serving, Some(&operator)).post("/v1/agents", &profile);
    assert_eq!(registered.status, 200);
    for (word, mode) in [
        ("drain", "draining"),
        ("quarantine", "quarantined"),
        ("activate", "active"),
    ] {
        let set = run(&[&["agent", word, agent], why.as_slice()].concat());
        assert_eq!(set.code(), 0, "{set:?}");
        assert_eq!(run(&["--json", "agent", "get", agent]).json()["mode"], mode);
    }
    assert_eq!(serving.stop().code(), Some(0));
    // The same on the store itself.
    let drained = place.run(&[&["--json", "agent", "drain", agent], why.as_slice()].concat());
    assert_eq!(drained.json(), json!({"id": agent, "mode": "draining"}));
    assert_eq!(
        place.run(&["--json", "agent", "get", agent]).json()["mode"],
        "draining"
    );
    let absent = "0190f3c2-7b5e-7c3a-9d41-000000000000";
    assert_eq!(place.run(&["agent", "get", absent]).code(), 1);
}

#[test]
fn refusals_have_the_exit_codes_of_the_local_store() {
    let (place, serving) = served();
    let url = serving.url.clone();
    let key = place.path("submitter.key");
    let remote = [
        "--server",
        url.as_str(),
        "--token-file",
        key.to_str().expect("a path"),
    ];
    place.write(
        "odd.jsonl",
        "{\"kind\":\"analysis\",\"title\":\"t\",\"colour\":1}\n",
    );
    place.write("kind.jsonl", "{\"kind\":\"no-such\",\"title\":\"t\"}\n");
    let absent = "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d";
    for (command, code, part) in [
        (&["task", "get", "x"][..], 2, "not a valid task id"),
        (&["task", "get", absent], 1, "not found"),
        (&["task", "watch", absent], 1, "not found"),
        (&["task", "list", "--after", "nonsense"], 2, "cursor"),
        (
            &["task", "submit", "odd.jsonl"],
            2,
            "line 1: unknown field `colour`",
        ),
        (&["task", "submit", "kind.jsonl"], 1, "no-such"),
        (&["audit", "search"], 5, "may not"),
        (&["agent", "drain", absent, "--reason", "x"], 5, "may not"),
        (&["audit", "verify"], 2, "--key"),
        (&["backup"], 5, "may not"),
        (&["backup", "copy"], 2, "this machine only"),
        (&["key", "list"], 2, "--principal"),
    ] {
        let done = place.run(&[&remote, command].concat());
        assert_eq!(done.code(), code, "{command:?}: {done:?}");
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    // Which server, and as whom.
    let list = |options: &[&str]| place.run(&[options, &["task", "list"]].concat());
    for (options, code, part) in [
        (&["--server", "http://127.0.0.1:1"][..], 2, "--token-file"),
        (
            &["--server", "http://10.0.0.1", "--token-file", "submitter.key"],
            2,
            "clear text",
        ),
        (
            &["--server", "nonsense", "--token-file", "submitter.key"],
            2,
            "--server nonsense",
        ),
        (&["--server", &url, "--token-file", "absent.key"], 2, "absent.key"),
        (&["--local"], 4, "use it with --server"),
        (&["--local", "--server", &url], 2, "cannot be used with"),
    ] {
        let done = list(options);
        assert_eq!(done.code(), code, "{options:?}: {done:?}");
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    let dead = list(&["--server", "http://127.0.0.1:1", "--token-file", "submitter.key"]);
    assert_eq!(dead.code(), 4, "{dead:?}");
    // The key of the data folder is this server's own, by whatever word it is called.
    assert_eq!(list(&["--server", &format!("{url}/")]).code(), 0);
    let mut from_environment = place.command(&["task", "list"]);
    from_environment.env("ARBITER_SERVER", &url);
    from_environment.env("ARBITER_TOKEN_FILE", &key);
    assert_eq!(arbiter_tests::done(&mut from_environment).code(), 0);
    // Nothing shows a key.
    let secret = std::fs::read_to_string(&key).expect("a key");
    let verbose = place.run(&[&remote, ["-vvv", "task", "list"].as_slice()].concat());
    assert!(!verbose.stderr.contains(secret.trim()), "{verbose:?}");
}

#[test]
fn a_task_is_followed_to_its_end() {
    let (place, serving) = served();
    let made = ids(&place.run(&["task", "submit", "tasks.jsonl"]));
    let mut watch = place.command(&["--json", "task", "watch", &made[0]]);
    watch.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut watching = watch.spawn().expect("started");
    let mut lines = std::io::BufReader::new(watching.stdout.take().expect("standard output"));
    let mut line = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).expect("a line");
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    assert_eq!(line()["state"], "queued");
    let cancelled = place.run(&["task", "cancel", &made[0], "--reason", "because"]);
    assert_eq!(cancelled.code(), 0, "{cancelled:?}");
    assert_eq!(line()["state"], "cancelled");
    let status = watching.wait().expect("it ends");
    assert_eq!(status.code(), Some(1), "it did not succeed");
    assert_eq!(serving.stop().code(), Some(0));
    // Without a server nobody else changes it.
    let here = place.run(&["task", "watch", &made[0]]);
    assert_eq!((here.code(), here.stdout.lines().count()), (1, 1), "{here:?}");
}

#[test]
fn a_server_over_tls_is_trusted_by_its_authority_only() {
    let place = Place::new();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    place.write("server.pem", &made.cert.pem());
    place.write("server.key", &made.signing_key.serialize_pem());
    let config = place.write(
        "config.toml",
        "[server]\ntls_certificate = \"server.pem\"\ntls_key = \"server.key\"\n",
    );
    let config = ["--config", config.to_str().expect("a path")];
    let serving = Serving::start(&place, &config);
    // The configuration says which certificate the server of this machine has.
    let own = place.run(&[&config, ["task", "list"].as_slice()].concat());
    assert_eq!(own.code(), 0, "{own:?}");
    let port = serving.url.rsplit(':').next().expect("a port");
    let url = format!("https://localhost:{port}");
    let remote = ["--server", url.as_str(), "--token-file", "data/operator.key"];
    let unknown = place.run(&[&remote, ["task", "list"].as_slice()].concat());
    assert_eq!(unknown.code(), 4, "{unknown:?}");
    let trusted = place.run(&[&remote, ["--ca-file", "server.pem", "task", "list"].as_slice()].concat());
    assert_eq!(trusted.code(), 0, "{trusted:?}");
}

#[test]
fn a_server_is_administered_as_its_store_is() {
    let (place, serving) = served();
    let run = |command: &[&str]| place.run(command);
    // A key that is made while the server runs.
    let new = [
        "--json",
        "key",
        "create",
        "--name",
        "n",
        "--role",
        "submitter",
        "--highest-band",
        "1",
    ];
    let made = run(&new).json();
    let principal = made["principal"].as_str().expect("an id");
    place.write("new.key", made["key"].as_str().expect("a key"));
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.path("new.key"), private).expect("a mode");
    let as_new =
        |command: &[&str]| run(&[&["--server", &serving.url, "--token-file", "new.key"], command].concat());
    assert_eq!(as_new(&["task", "list"]).code(), 0);
    place.write(
        "urgent.jsonl",
        r#"{"kind":"analysis","title":"c","priority":"high"}"#,
    );
    let urgent = as_new(&["task", "submit", "urgent.jsonl"]);
    assert_eq!(urgent.code(), 5, "{urgent:?}");
    let second = run(&[
        "key",
        "create",
        "--principal",
        principal,
        "--output",
        "second.key",
    ]);
    assert_eq!(second.code(), 0, "{second:?}");
    let keys = run(&["--json", "key", "list", "--principal", principal]).json();
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2));
    let id = made["id"].as_str().expect("an id");
    let revoked = run(&["key", "revoke", id, "--principal", principal]);
    assert_eq!(revoked.code(), 0, "{revoked:?}");
    assert_eq!(as_new(&["task", "list"]).code(), 5);
    let renamed = run(&["principal", "update", principal, "--name", "other", "--disable"]);
    assert_eq!(renamed.code(), 0, "{renamed:?}");

    place.write("task.json", r#"{"kind":"analysis","title":"nightly"}"#);
    let schedule = [
        "--json",
        "schedule",
        "create",
        "task.json",
        "--name",
        "s",
        "--cron",
        "30 2 * * *",
    ];
    let keyed = [&schedule, ["--idempotency-key", "k"].as_slice()].concat();
    let (first, again) = (run(&keyed).json(), run(&keyed).json());
    assert_eq!(
        (&first["repeated"], &again["repeated"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(first["schedule"]["id"], again["schedule"]["id"]);
    let schedule = first["schedule"]["id"].as_str().expect("an id");
    assert_eq!(run(&["schedule", "pause", schedule, "--reason", "r"]).code(), 0);
    let next = run(&[
        "--json",
        "schedule",
        "next",
        "--cron",
        "0 0 * * *",
        "--count",
        "2",
    ])
    .json();
    assert_eq!(next["instants"].as_array().map(Vec::len), Some(2));

    place.write(
        "good.cedar",
        "forbid (principal, action == Arbiter::Action::\"hook.create\", resource);",
    );
    place.write("bad.cedar", "forbid (principal, action, resource) when { 1 };");
    let bad = run(&["policy", "check", "bad.cedar"]);
    assert_eq!(bad.code(), 1, "{bad:?}");
    assert!(bad.stderr.contains("bad.cedar"), "{bad:?}");
    assert_eq!(run(&["policy", "activate", "good.cedar"]).code(), 0);

    let reads: [&[&str]; 6] = [
        &["--json", "principal", "get", principal],
        &["--json", "principal", "list"],
        &["--json", "schedule", "get", schedule],
        &["--json", "schedule", "list"],
        &["--json", "policy", "show"],
        &["--json", "policy", "list"],
    ];
    let through: Vec<_> = reads.iter().map(|read| stable(&run(read))).collect();
    assert_eq!(through[0]["name"], "other");
    assert_eq!(serving.stop().code(), Some(0));
    for (read, through) in reads.iter().zip(through) {
        assert_eq!(stable(&run(read)), through, "{read:?}");
    }
}

#[test]
fn the_log_is_exported_and_verified_and_a_backup_taken_through_a_server() {
    let place = Place::new();
    let key = place.run(&["audit", "key"]);
    assert_eq!(key.code(), 0, "{key:?}");
    let key = key.stdout.trim().to_owned();
    let config = place.write("config.toml", "[backup]\nfolder = \"backups\"\n");
    let config = config.to_str().expect("a path");
    let serving = Serving::start(&place, &["--config", config]);
    place.write("tasks.jsonl", TASKS);
    assert_eq!(place.run(&["task", "submit", "tasks.jsonl"]).code(), 0);
    arbiter_tests::wait_until("a head is signed", || {
        place.run(&["audit", "export", "first.jsonl"]).code() == 0
    });
    let exported = place.run(&["--json", "audit", "export", "out.jsonl"]).json();
    assert!(
        exported["entries"].as_u64().is_some_and(|count| count > 0),
        "{exported}"
    );
    let offline = place.run(&["audit", "verify", "--file", "out.jsonl", "--key", &key]);
    assert_eq!(offline.code(), 0, "{offline:?}");
    let verified = place.run(&["--json", "audit", "verify", "--key", &key]);
    assert_eq!(verified.json()["sound"], true, "{verified:?}");
    let other = Place::new().run(&["audit", "key"]).stdout;
    let distrusted = place.run(&["audit", "verify", "--key", other.trim()]);
    assert_ne!(
        distrusted.code(),
        0,
        "signed by nobody that is trusted: {distrusted:?}"
    );
    let printed = place.run(&["audit", "export", "-"]);
    assert!(printed.stdout.lines().count() > 2, "{printed:?}");

    let taken = place.run(&["--json", "backup"]).json();
    let name = taken["name"].as_str().expect("a name");
    assert!(place.path("backups").join(name).is_dir(), "{taken}");
    assert_eq!(serving.stop().code(), Some(0));
    let nameless = place.run(&["backup"]);
    assert_eq!(nameless.code(), 2, "{nameless:?}");
    assert!(nameless.stderr.contains("name a folder"), "{nameless:?}");
}
