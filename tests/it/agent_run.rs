//! `arbiter agent run`: a command as an agent that pulls its work from a server.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arbiter_tests::http::Caller;
use arbiter_tests::{Place, Running, processes, wait_until};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use crate::server::Served;

/// A server, and an agent that pulls from it.
struct Pulled {
    served: Served,
    agent: Running,
    script: String,
}

impl Pulled {
    /// Runs a script as the agent.
    fn new(script: &str, options: &[&str]) -> Self {
        let served = served();
        let url = served.serving.url.clone();
        Self::through(served, &url, script, options)
    }

    /// The same, where the server is reached at another address.
    fn through(served: Served, url: &str, script: &str, options: &[&str]) -> Self {
        let script = served.place.write("agent.sh", script);
        let script = script.to_str().expect("a path").to_owned();
        let agent = Running(start(&served.place, url, &script, options));
        wait_until("the agent is registered", || !agents(&served.operator).is_empty());
        Self {
            served,
            agent,
            script,
        }
    }

    fn task(&self, task: &Value) -> String {
        self.served.submit(task)
    }

    fn state(&self, id: &str) -> String {
        let task = self.served.operator.get(&format!("/v1/tasks/{id}")).json();
        task["state"].as_str().expect("a state").to_owned()
    }

    fn until(&self, id: &str, state: &str) {
        wait_until(&format!("the task is {state}"), || self.state(id) == state);
    }

    fn attempts(&self, id: &str) -> Vec<Value> {
        let history = self
            .served
            .operator
            .get(&format!("/v1/tasks/{id}/attempts"))
            .json();
        history["attempts"].as_array().expect("attempts").clone()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.agent.0.id()).expect("an id");
        kill(nix::unistd::Pid::from_raw(pid), signal).expect("the agent runs");
    }

    /// Waits until the agent has ended by itself. Gives its exit code.
    fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the agent has ended", || {
            status = self.agent.0.try_wait().expect("a status");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

/// A server with a key for an agent in `agent.key`.
fn served() -> Served {
    let place = Place::new();
    let key = place.path("agent.key");
    let key = key.to_str().expect("a path");
    let made = place.run(&["key", "create", "--name", "a", "--role", "agent", "--output", key]);
    assert_eq!(made.code(), 0, "{made:?}");
    Served::at(place, "", &[])
}

fn start(place: &Place, url: &str, script: &str, options: &[&str]) -> Child {
    let key = place.path("agent.key");
    let mut arguments = vec!["agent", "run", "--kind", "analysis", "--server", url];
    arguments.extend(["--token-file", key.to_str().expect("a path")]);
    arguments.extend(options);
    arguments.extend(["--command", script]);
    let mut command = place.command(&arguments);
    // It keeps no data of its own here.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().expect("the agent starts")
}

fn agents(operator: &Caller) -> Vec<Value> {
    let page = operator.get("/v1/agents").json();
    page["agents"].as_array().expect("agents").clone()
}

fn task() -> Value {
    json!({"kind": "analysis", "title": "x", "instructions": "y", "constraints": {"max_attempts": 1}})
}

const COPIES: &str = "#!/bin/sh\nset -eu\ncat >order.json\n\
    printf '{\"progress\":{\"fraction\":0.5,\"message\":\"half\"}}\\n' >&2\n\
    tr a-z A-Z <\"$ARBITER_INPUT/document\" >upper.txt\n\
    printf '{\"version\":1,\"outcome\":\"succeeded\",\"output\":{\"ok\":true},\"artifacts\":[\"upper.txt\",\"order.json\"]}\\n'\n";
const FAILS: &str = "#!/bin/sh\ncat >/dev/null\n\
    printf '{\"version\":1,\"outcome\":\"failed\",\"error\":{\"class\":\"input\",\"message\":\"no text\"}}\\n'\n";
const CRASHES: &str = "#!/bin/sh\nkill -9 $$\n";
/// Waits for a file beside it, then succeeds.
const WAITS: &str = "#!/bin/sh\ncat >/dev/null\nwhile [ ! -e \"${0%/*}/go\" ]; do sleep 0.05; done\n\
    printf '{\"version\":1,\"outcome\":\"succeeded\",\"output\":1}\\n'\n";

#[test]
fn a_command_gets_its_files_from_the_server_and_hands_its_own_in_there() {
    let mut pulled = Pulled::new(COPIES, &["--slots", "2", "--name", "copier", "--language", "en"]);
    let registered = agents(&pulled.served.operator).remove(0);
    assert_eq!(
        (
            &registered["name"],
            &registered["slots"],
            &registered["transport"]
        ),
        (&json!("copier"), &json!(2), &json!("pull"))
    );
    let digest = sha256(b"some text");
    let octets = [("content-type", "application/octet-stream")];
    let path = format!("/v1/artifacts/{digest}");
    let put = pulled.served.operator.call("PUT", &path, &octets, b"some text");
    assert_eq!(put.status, 200, "{put:?}");
    let mut with_file = task();
    with_file["artifacts"] = json!([{"name": "document", "digest": digest, "size_bytes": 9}]);
    with_file["requires"] = json!({"languages": ["en"]});
    let ids: Vec<_> = (0..5).map(|_| pulled.task(&with_file)).collect();
    for id in &ids {
        pulled.until(id, "succeeded");
        let attempts = pulled.attempts(id);
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        assert_eq!(attempts[0]["output"], json!({"ok": true}));
        let files = attempts[0]["artifacts"].as_array().expect("files");
        let read = |place: usize| {
            let digest = files[place]["digest"].as_str().expect("a digest");
            pulled.served.operator.get(&format!("/v1/artifacts/{digest}"))
        };
        assert_eq!(
            (&files[0]["name"], read(0).body),
            (&json!("upper.txt"), b"SOME TEXT".to_vec())
        );
        assert_eq!(read(1).json()["task"]["id"], json!(id));
    }
    pulled.signal(Signal::SIGTERM);
    assert_eq!(pulled.ended(), Some(0));
    assert_eq!(pulled.served.serving.stop().code(), Some(0));
}

#[test]
fn failures_and_crashes_are_told_and_the_next_attempt_hears_of_them() {
    let pulled = Pulled::new(FAILS, &[]);
    let id = pulled.task(&task());
    pulled.until(&id, "dead_lettered");
    let attempt = &pulled.attempts(&id)[0];
    assert_eq!(attempt["message"], "no text", "{attempt}");

    let told = "#!/bin/sh\nif grep -q '\"number\":1' ; then exit 3; fi\n\
        printf '{\"version\":1,\"outcome\":\"succeeded\",\"output\":1}\\n'\n";
    let pulled = Pulled::new(told, &[]);
    let mut twice = task();
    twice["constraints"]["max_attempts"] = json!(2);
    let id = pulled.task(&twice);
    pulled.until(&id, "succeeded");
    let attempts = pulled.attempts(&id);
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    let message = attempts[0]["message"].as_str().expect("a message");
    assert!(message.contains("status 3"), "{message}");

    let pulled = Pulled::new(CRASHES, &[]);
    let id = pulled.task(&task());
    pulled.until(&id, "dead_lettered");
    let message = pulled.attempts(&id)[0]["message"].to_string();
    assert!(message.contains("signal 9"), "{message}");
}

#[test]
fn a_cancelled_task_ends_its_command_and_the_agent_goes_on() {
    // Short leases: heartbeats hear of it soon.
    let place = Place::new();
    let key = place.path("agent.key");
    let key = key.to_str().expect("a path");
    let made = place.run(&["key", "create", "--name", "a", "--role", "agent", "--output", key]);
    assert_eq!(made.code(), 0, "{made:?}");
    let served = Served::at(place, "[queue]\nlease_seconds = 3\n", &[]);
    let url = served.serving.url.clone();
    let pulled = Pulled::through(served, &url, WAITS, &[]);
    let id = pulled.task(&task());
    wait_until("the command runs", || processes(&pulled.script) == 1);
    let because = json!({"reason": "not needed any more"});
    let cancelled = pulled
        .served
        .operator
        .post(&format!("/v1/tasks/{id}/cancel"), &because);
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    wait_until("the command has ended", || processes(&pulled.script) == 0);
    pulled.served.place.write("go", "");
    let next = pulled.task(&task());
    pulled.until(&next, "succeeded");
    assert_eq!(pulled.state(&id), "cancelled");
}

#[test]
fn a_draining_agent_finishes_what_it_has() {
    let mut pulled = Pulled::new(WAITS, &[]);
    let id = pulled.task(&task());
    wait_until("the command runs", || processes(&pulled.script) == 1);
    pulled.signal(Signal::SIGTERM);
    let later = pulled.task(&task());
    pulled.served.place.write("go", "");
    assert_eq!(pulled.ended(), Some(0));
    assert_eq!(pulled.state(&id), "succeeded");
    assert_eq!(pulled.state(&later), "queued", "nothing new was taken");
}

#[test]
fn an_agent_that_may_not_wait_gives_back_what_it_has() {
    let mut pulled = Pulled::new(WAITS, &["--drain-seconds", "0"]);
    let id = pulled.task(&task());
    wait_until("the command runs", || processes(&pulled.script) == 1);
    pulled.signal(Signal::SIGTERM);
    assert_eq!(pulled.ended(), Some(0));
    assert_eq!(processes(&pulled.script), 0);
    assert_eq!(pulled.state(&id), "queued");
    let attempts = pulled.attempts(&id);
    assert_eq!(attempts[0]["outcome"], "returned", "{attempts:?}");
}

#[test]
fn a_second_signal_ends_an_agent_and_its_commands_at_once() {
    let mut pulled = Pulled::new(WAITS, &["--drain-seconds", "3600"]);
    let id = pulled.task(&task());
    wait_until("the command runs", || processes(&pulled.script) == 1);
    pulled.signal(Signal::SIGTERM);
    // The first one is heard before the second one is sent; both are for the same loop.
    let mut tries = 0;
    wait_until("the agent has ended", || {
        tries += 1;
        if tries % 20 == 0 {
            pulled.signal(Signal::SIGTERM);
        }
        pulled.agent.0.try_wait().expect("a status").is_some()
    });
    assert_eq!(pulled.ended(), Some(130));
    wait_until("the command has ended", || processes(&pulled.script) == 0);
    assert_eq!(pulled.state(&id), "running", "its lease ends by itself");
}

/// Forwards connections to a server; the answer to one report is lost on its way.
struct Lossy {
    address: SocketAddr,
    lost: Arc<AtomicUsize>,
}

impl Lossy {
    fn before(url: &str) -> Self {
        let to: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let lost = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lost);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || forward(&stream, to, &count));
            }
        });
        Self { address, lost }
    }
}

fn forward(client: &TcpStream, to: SocketAddr, lost: &AtomicUsize) {
    let Ok(server) = TcpStream::connect(to) else {
        return;
    };
    let reported = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            copy(&server, client, |_| {
                // The server has acted; its answer goes no further.
                reported.load(Ordering::SeqCst) && lost.fetch_add(1, Ordering::SeqCst) == 0
            });
        });
        copy(client, &server, |bytes| {
            let report = bytes.windows(15).any(|part| part == b"/v1/work/report");
            if report {
                reported.store(true, Ordering::SeqCst);
            }
            false
        });
    });
}

/// Copies until the end, or until `lose` says so; then both sides are cut.
fn copy(mut from: &TcpStream, mut to: &TcpStream, lose: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 8_192];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if lose(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _cut = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_report_whose_answer_was_lost_is_sent_again_and_counts_once() {
    let served = served();
    let lossy = Lossy::before(&served.serving.url);
    let url = format!("http://{}", lossy.address);
    let done =
        "#!/bin/sh\ncat >/dev/null\nprintf '{\"version\":1,\"outcome\":\"succeeded\",\"output\":1}\\n'\n";
    let pulled = Pulled::through(served, &url, done, &[]);
    let ids: Vec<_> = (0..3).map(|_| pulled.task(&task())).collect();
    for id in &ids {
        pulled.until(id, "succeeded");
        let attempts = pulled.attempts(id);
        assert_eq!(attempts.len(), 1, "{attempts:?}");
    }
    assert!(lossy.lost.load(Ordering::SeqCst) > 0);
    let registered = agents(&pulled.served.operator).remove(0);
    wait_until("the agent's record has all", || {
        let records = &agents(&pulled.served.operator)[0]["records"];
        records[0]["attempts"] == json!(3) && records[0]["succeeded"] == json!(3)
    });
    assert_eq!(registered["name"], "agent.sh");
}

#[test]
fn an_agent_is_told_what_it_lacks() {
    let served = served();
    let (url, place) = (served.serving.url.clone(), &served.place);
    let run = |options: &[&str]| {
        let all = [
            &["agent", "run", "--kind", "analysis"],
            options,
            &["--", "true", "-x"],
        ]
        .concat();
        place.run(&all)
    };
    let no_key = run(&["--server", &url]);
    assert_eq!(no_key.code(), 2, "{no_key:?}");
    assert!(no_key.stderr.contains("--role agent"), "{no_key:?}");
    let operator = place.path("data/operator.key");
    let no_agent = run(&[
        "--server",
        &url,
        "--token-file",
        operator.to_str().expect("a path"),
    ]);
    assert_ne!(no_agent.code(), 0, "{no_agent:?}");
    assert!(no_agent.stderr.contains("role `agent`"), "{no_agent:?}");
    place.write("wrong.key", "arb_nonsense");
    let open = run(&["--server", &url, "--token-file", "wrong.key"]);
    assert_eq!(open.code(), 3, "others can read it: {open:?}");
    let kind = place.run(&[
        "agent",
        "run",
        "--kind",
        "A b",
        "--token-file",
        "agent.key",
        "--command",
        "true",
    ]);
    assert_eq!(kind.code(), 2, "{kind:?}");
    let no_command = place.run(&["agent", "run", "--kind", "analysis"]);
    assert_eq!(no_command.code(), 2, "{no_command:?}");
}

fn sha256(bytes: &[u8]) -> String {
    arbiter_core::model::Digest::of(bytes).to_string()
}
