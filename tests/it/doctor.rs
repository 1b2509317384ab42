//! `arbiter doctor`: what it finds, and what its bundle never holds.

use std::os::unix::fs::PermissionsExt as _;

use arbiter_tests::http::Caller;
use arbiter_tests::{Done, Place, Serving};
use serde_json::{Value, json};

fn examine(place: &Place) -> (i32, Vec<Value>) {
    let done: Done = place.run(&["--json", "doctor"]);
    let told = done.json();
    assert_eq!(told["ok"] == true, done.code() == 0, "{done:?}");
    (
        done.code(),
        told["findings"].as_array().expect("findings").clone(),
    )
}

fn problems(place: &Place) -> Vec<String> {
    let (_, findings) = examine(place);
    let bad = findings.iter().filter(|finding| finding["grade"] == "problem");
    bad.map(|finding| {
        assert!(
            finding["fix"].as_str().is_some_and(|fix| !fix.is_empty()),
            "{finding}"
        );
        finding["check"].as_str().expect("a name").to_owned()
    })
    .collect()
}

#[test]
fn a_sound_deployment_has_no_problem_and_each_fault_is_found() {
    let place = Place::new();
    assert_eq!(problems(&place), Vec::<String>::new(), "nothing was started yet");
    assert_eq!(place.run(&["task", "list"]).code(), 0);
    assert_eq!(problems(&place), Vec::<String>::new());
    let set_mode = |name: &str, mode| {
        let path = place.path(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    set_mode("data/operator.key", 0o644);
    set_mode("data", 0o755);
    assert_eq!(problems(&place), ["data folder", "key file"]);
    set_mode("data/operator.key", 0o600);
    set_mode("data", 0o700);
    let database = place.path("data/arbiter.db");
    let mut bytes = std::fs::read(&database).expect("the database");
    bytes[4_096..].fill(0x5a);
    std::fs::write(&database, bytes).expect("damaged");
    let found = problems(&place);
    assert!(found.contains(&"database".to_owned()), "{found:?}");
}

#[test]
fn a_broken_configuration_is_a_finding() {
    let place = Place::new();
    place.write(
        "config.toml",
        "[queue]\nlease_seconds = 1\n[server]\nlisten = \"x\"\n",
    );
    let done = place.run(&["--json", "--config", "config.toml", "doctor"]);
    assert_eq!(done.code(), 1, "{done:?}");
    let told = done.json();
    assert_eq!(told["findings"][0]["check"], "configuration", "{told}");
    let what = told["findings"][0]["what"].as_str().expect("what");
    assert!(
        what.contains("lease_seconds") && what.contains("server.listen"),
        "{what}"
    );
}

#[test]
fn a_bundle_holds_no_key_no_input_and_no_secret_of_the_log() {
    const CANARY: &str = "ghp_canarycanarycanarycanary0001AbCdEf";
    const INPUT: &str = "the-quick-brown-canary-jumps";
    let place = Place::new();
    let config = place.write(
        "config.toml",
        &format!("[redaction]\npatterns = [\"{CANARY}\"]\n"),
    );
    let config = config.to_str().expect("a path");
    let serving = Serving::start(&place, &["--config", config]);
    let key = std::fs::read_to_string(place.path("data/operator.key")).expect("the operator's key");
    let operator = Caller::new(&serving, Some(&key));
    let task = json!({"kind": "analysis", "title": INPUT, "instructions": INPUT, "input": {"text": INPUT}});
    assert_eq!(operator.post("/v1/tasks", &task).status, 201);
    place.write(
        "server.log",
        &format!("started\nthe token {CANARY} was used by {}\n", key.trim()),
    );
    let done = place.run(&[
        "--config",
        config,
        "doctor",
        "--bundle",
        "bundle.json",
        "--log",
        "server.log",
    ]);
    assert_eq!(done.code(), 0, "{done:?}");
    let text = std::fs::read_to_string(place.path("bundle.json")).expect("the bundle");
    let signing = std::fs::read_to_string(place.path("data/audit.key")).expect("the signing key");
    for secret in [CANARY, key.trim(), signing.trim(), INPUT] {
        assert!(!text.contains(secret), "{secret}");
    }
    let bundle: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(bundle["log"][0], "started");
    let metrics = bundle["metrics"]["text"].as_str().expect("measurements");
    assert!(metrics.contains("queue_submitted"), "{metrics}");
    let mode = std::fs::metadata(place.path("bundle.json")).expect("the bundle");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let again = place.run(&["doctor", "--bundle", "bundle.json"]);
    assert_eq!(
        again.code(),
        4,
        "a file that is there is never written over: {again:?}"
    );
}
