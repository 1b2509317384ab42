//! The examples of the documentation run as they stand there.

use std::process::{Child, Command, Stdio};

use arbiter_tests::http::Caller;
use arbiter_tests::{
    Place, Running, Serving, curl, done, node, python, systemd_analyze, wait_until, workspace,
};
use serde_json::{Value, json};

/// A server, and an agent of the examples that pulls its work from it.
struct Pulled {
    place: Place,
    agent: Running,
    serving: Serving,
    operator: Caller,
}

impl Pulled {
    /// Starts both; the agent has a key of its own.
    fn by(interpreter: &std::path::Path, script: &str) -> Self {
        let place = Place::new();
        let key = place.path("agent.key");
        let made = place.run(&[
            "key",
            "create",
            "--name",
            "example",
            "--role",
            "agent",
            "--output",
            key.to_str().expect("a path"),
        ]);
        assert_eq!(made.code(), 0, "{made:?}");
        let serving = Serving::start(&place, &[]);
        let operator = std::fs::read_to_string(place.path("data/operator.key")).expect("a key");
        let operator = Caller::new(&serving, Some(&operator));
        let agent = Running(start(interpreter, script, &serving, &key));
        wait_until("the agent is registered", || {
            let agents = operator.get("/v1/agents").json();
            agents["agents"]
                .as_array()
                .is_some_and(|agents| !agents.is_empty())
        });
        Self {
            place,
            agent,
            serving,
            operator,
        }
    }

    /// Has the text counted.
    fn count(&self, kind: &str, text: &Value) -> Value {
        let task = json!({"kind": kind, "title": "Count", "instructions": "Count.", "input": {"text": text},
            "constraints": {"max_attempts": 1}});
        let made = self.operator.post("/v1/tasks", &task);
        assert_eq!(made.status, 201, "{made:?}");
        let path = format!("/v1/tasks/{}", made.json()["id"].as_str().expect("an id"));
        let ended = |state: &str| ["succeeded", "dead_lettered", "failed"].contains(&state);
        wait_until("the task has ended", || {
            ended(
                self.operator.get(&path).json()["state"]
                    .as_str()
                    .expect("a state"),
            )
        });
        let attempts = self.operator.get(&format!("{path}/attempts")).json();
        attempts["attempts"][0].clone()
    }

    /// Tells the agent to end: it does by itself, with success.
    fn end(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.agent.0.id()).expect("an id"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("the agent runs");
        let mut status = None;
        wait_until("the agent has ended", || {
            status = self.agent.0.try_wait().expect("a status");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        assert_eq!(self.serving.stop().code(), Some(0));
    }
}

/// `PATH` with the curl of the tests first.
fn path_with_curl() -> String {
    let folder = curl().parent().expect("a folder").display().to_string();
    format!("{folder}:/usr/local/bin:/usr/bin:/bin")
}

fn start(interpreter: &std::path::Path, script: &str, serving: &Serving, key: &std::path::Path) -> Child {
    Command::new(interpreter)
        .arg(workspace().join("docs/examples/pull").join(script))
        .args(["--server", &serving.url, "--key-file"])
        .arg(key)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the agent starts")
}

/// Some work that succeeds, and some that does not.
fn counts(pulled: &Pulled, kind: &str) {
    let expected = json!({"lines": 2, "words": 4, "characters": 18});
    for _ in 0..5 {
        let attempt = pulled.count(kind, &json!("one two three\nfour"));
        assert_eq!(
            (&attempt["outcome"], &attempt["output"]),
            (&json!("reported"), &expected)
        );
    }
    let failed = pulled.count(kind, &json!(7));
    assert_eq!(failed["message"], "the input has no `text`", "{failed}");
}

#[test]
fn an_agent_in_python_pulls_its_work() {
    let pulled = Pulled::by(&python(), "agent.py");
    counts(&pulled, "analysis");
    pulled.end();
}

#[test]
fn an_agent_in_typescript_pulls_its_work() {
    let pulled = Pulled::by(&node(), "agent.ts");
    counts(&pulled, "writing");
    pulled.end();
}

#[test]
fn the_walk_through_with_curl_works() {
    let pulled = Pulled::by(&python(), "agent.py");
    let walked = done(
        Command::new("sh")
            .arg(workspace().join("docs/examples/pull/walk-through.sh"))
            .env("PATH", path_with_curl())
            .env("ARBITER_SERVER", &pulled.serving.url)
            .env("ARBITER_KEY_FILE", pulled.place.path("data/operator.key")),
    );
    assert_eq!(walked.code(), 0, "{walked:?}");
    assert!(walked.stdout.contains("\nsucceeded\n"), "{walked:?}");
    assert!(walked.stdout.contains("\"words\":4"), "{walked:?}");
    assert!(walked.stdout.contains("\"submitted\""), "{walked:?}");
    pulled.end();
}

#[test]
fn the_systemd_unit_is_valid() {
    let place = Place::new();
    let unit = workspace().join("docs/examples/systemd/arbiter.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let program = place.path("arbiter");
    let unit = unit.replace("/usr/bin/arbiter", program.to_str().expect("a path"));
    let verify = |name: &str, unit: &str| {
        let path = place.path(name);
        std::fs::write(&path, unit).expect("written");
        done(
            Command::new(systemd_analyze())
                .args(["verify", "--recursive-errors=no"])
                .arg(path),
        )
    };
    let verified = verify("arbiter.service", &unit);
    assert_eq!(
        (verified.code(), verified.stderr.as_str()),
        (0, ""),
        "{verified:?}"
    );
    let broken = verify("broken.service", &unit.replace("Restart=", "Restarts="));
    assert!(broken.stderr.contains("Restarts"), "{broken:?}");
}
