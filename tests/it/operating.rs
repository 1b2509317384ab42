//! Commands of operators, each on the store itself and against the server that serves it: the same words, the same
//! answers, the same exit codes.

mod bulk;
mod erasure;
mod hooks;
mod queue;
mod tenants;

use std::io::Write as _;
use std::process::Stdio;

use arbiter_tests::http::Caller;
use arbiter_tests::{Done, Place, Serving};
use serde_json::{Value, json};

const HOME: &str = "00000000-0000-7000-8000-000000000001";
const AGENT: &str = "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d";
const ABSENT: &str = "0190f3c2-7b5e-7c3a-9d41-000000000000";

/// A store with or without a server. While there is one, commands that name none work against it, because it owns the
/// store.
struct Site {
    place: Place,
    serving: Option<Serving>,
}

impl Site {
    /// A store that nobody serves.
    fn here() -> Self {
        Self {
            place: Place::new(),
            serving: None,
        }
    }

    /// A store with a server.
    fn served() -> Self {
        let place = Place::new();
        let serving = Some(Serving::start(&place, &[]));
        Self { place, serving }
    }

    /// A registered agent that takes no work.
    fn agent(&self) {
        if let Some(serving) = &self.serving {
            return register(&self.place, serving);
        }
        let serving = Serving::start(&self.place, &[]);
        register(&self.place, &serving);
        assert_eq!(serving.stop().code(), Some(0));
    }

    fn run(&self, command: &[&str]) -> Done {
        self.place.run(command)
    }

    /// What a command that succeeds prints as JSON.
    fn json(&self, command: &[&str]) -> Value {
        let done = self.run(&[&["--json"], command].concat());
        assert_eq!(done.code(), 0, "{command:?}: {done:?}");
        done.json()
    }

    /// Runs a command that reads standard input.
    fn run_with(&self, command: &[&str], input: &str) -> Done {
        let mut child = self
            .place
            .command(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut stdin = child.stdin.take().expect("standard input");
        stdin.write_all(input.as_bytes()).expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        Done {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command as somebody new of a role.
    fn run_as(&self, role: &str, command: &[&str]) -> Done {
        let file = format!("{role}.key");
        if !self.place.path(&file).exists() {
            let made = self.run(&["key", "create", "--name", role, "--role", role, "--output", &file]);
            assert_eq!(made.code(), 0, "{made:?}");
        }
        if let Some(serving) = &self.serving {
            let as_role = ["--server", &serving.url, "--token-file", &file];
            return self.run(&[&as_role, command].concat());
        }
        // Local commands act as whoever the data folder's own key says.
        let (own, kept) = (self.place.path("data/operator.key"), self.place.path("kept.key"));
        std::fs::rename(&own, &kept).expect("set aside");
        std::fs::rename(self.place.path(&file), &own).expect("put in its place");
        let done = self.run(command);
        std::fs::rename(&own, self.place.path(&file)).expect("taken back");
        std::fs::rename(&kept, &own).expect("put back");
        done
    }

    /// Checks the exit code of each command and a part of what it says.
    fn refused(&self, cases: &[(&[&str], i32, &str)]) {
        for (command, code, part) in cases {
            let done = self.run(command);
            assert_eq!(done.code(), *code, "{command:?}: {done:?}");
            assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
        }
    }

    /// Tasks that wait for an agent, by id.
    fn submit(&self, count: usize, kind: &str) -> Vec<String> {
        let line = format!("{{\"kind\":\"{kind}\",\"title\":\"t\",\"labels\":{{\"team\":\"x\"}}}}\n");
        self.place.write("tasks.jsonl", &line.repeat(count));
        let done = self.run(&["task", "submit", "tasks.jsonl"]);
        assert_eq!(done.code(), 0, "{done:?}");
        done.stdout.lines().map(str::to_owned).collect()
    }
}

/// Registers an agent with a server.
fn register(place: &Place, serving: &Serving) {
    let key = std::fs::read_to_string(place.path("data/operator.key")).expect("a key");
    let profile = json!({"id": AGENT, "name": "a", "model_family": "none", "kinds": ["writing"]});
    let registered = Caller::new(serving, Some(&key)).post("/v1/agents", &profile);
    assert_eq!(registered.status, 200, "{registered:?}");
}

/// The text at a place of a JSON value.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).expect("a text")
}
