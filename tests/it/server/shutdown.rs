//! Ends of a server, wanted and not.

use std::io::Read as _;
use std::net::TcpStream;

use arbiter_tests::http::{self, Caller};
use arbiter_tests::{Place, Serving};
use serde_json::json;

use super::{Served, task};

#[test]
fn open_streams_end_with_the_server_and_nothing_is_lost() {
    let Served {
        place,
        serving,
        operator,
    } = Served::new();
    let made = operator.post("/v1/tasks", &task());
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let mut stream = operator.open("GET", &format!("/v1/tasks/{id}/watch"), &[], Some(0));
    assert_eq!(http::head(&mut stream).0, 200);
    let address = serving.url.trim_start_matches("http://").to_owned();
    assert_eq!(serving.stop().code(), Some(0));
    let mut rest = Vec::new();
    stream
        .read_to_end(&mut rest)
        .expect("the stream was ended, not cut off");
    assert!(rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    let serving = Serving::start(&place, &[]);
    let key = std::fs::read_to_string(place.path("data/operator.key")).expect("a key");
    let operator = Caller::new(&serving, Some(&key));
    let again = operator.get(&format!("/v1/tasks/{id}")).json();
    assert_eq!(
        (&again["state"], &again["version"]),
        (&json!("queued"), &json!(1))
    );
}

#[test]
fn what_was_accepted_survives_a_kill() {
    let Served {
        place,
        serving,
        operator,
    } = Served::new();
    let ids: Vec<String> = (0..20)
        .map(|_| {
            operator.post("/v1/tasks", &task()).json()["id"]
                .as_str()
                .expect("an id")
                .to_owned()
        })
        .collect();
    // Dropping kills it.
    drop(serving);
    let serving = Serving::start(&place, &[]);
    let key = std::fs::read_to_string(place.path("data/operator.key")).expect("a key");
    let operator = Caller::new(&serving, Some(&key));
    for id in ids {
        assert_eq!(operator.get(&format!("/v1/tasks/{id}")).json()["state"], "queued");
    }
    assert_eq!(serving.stop().code(), Some(0));
    let verified = place.run(&["--json", "audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
}

#[test]
fn a_second_process_is_told_where_the_first_serves() {
    let served = Served::new();
    let through = served.place.run(&["task", "list"]);
    assert_eq!(through.code(), 0, "it works through the server: {through:?}");
    let second = served.place.run(&["task", "list", "--local"]);
    assert_eq!(second.code(), 4, "{second:?}");
    assert!(second.stderr.contains(&served.serving.url), "{second:?}");
    assert!(
        second.stderr.contains(&served.serving.pid().to_string()),
        "{second:?}"
    );
}

#[test]
fn an_address_in_use_changes_nothing() {
    let served = Served::new();
    let other = Place::new();
    let address = served.serving.url.trim_start_matches("http://");
    let refused = other.run(&["serve", "--listen", address]);
    assert_eq!(refused.code(), 4, "{refused:?}");
    assert!(refused.stderr.contains(address), "{refused:?}");
    assert!(!refused.stderr.contains("startup_completed"), "{refused:?}");
}

#[test]
fn keys_do_not_cross_the_network_in_clear_text() {
    let place = Place::new();
    let refused = place.run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code(), 3, "{refused:?}");
    assert!(refused.stderr.contains("tls_certificate"), "{refused:?}");
}

#[test]
fn what_was_accepted_survives_a_stop_under_load() {
    let place = Place::new();
    let key = super::work::agent_key(&place, "puller");
    let agents = "[[agent]]\nname = \"quick\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"version\\\":1,\\\"outcome\\\":\\\"succeeded\\\"}'\"]\nmodel_family = \"none\"\nkinds = [\"writing\"]\nslots = 2\n";
    let file = place.write("agents.toml", agents);
    let limits = "[queue]\nsubmit_per_principal = { per_second = 10000, burst = 10000 }\nsubmit_per_tenant = { per_second = 10000, burst = 10000 }\n";
    let arguments = ["--agents", file.to_str().expect("a path")];
    let served = Served::at(place, limits, &arguments);
    let agent = Caller::new(&served.serving, Some(&key));
    let profile = json!({"name": "puller", "model_family": "none", "kinds": ["analysis"], "slots": 4});
    assert_eq!(agent.post("/v1/agents", &profile).status, 200);
    let accepted = std::sync::Mutex::new(Vec::new());
    let address = served.serving.url.trim_start_matches("http://").to_owned();
    let Served {
        place,
        serving,
        operator,
    } = served;
    let status = std::thread::scope(|scope| {
        for kind in ["analysis", "writing", "research"] {
            let (operator, accepted, address) = (&operator, &accepted, &address);
            scope.spawn(move || {
                let body = json!({"kind": kind, "title": "one of many"}).to_string();
                let headers = [("content-type", "application/json")];
                // Until nobody answers any more.
                while TcpStream::connect(address).is_ok() {
                    let asked = std::panic::catch_unwind(|| {
                        operator.call("POST", "/v1/tasks", &headers, body.as_bytes())
                    });
                    if let Ok(answer) = asked
                        && answer.status == 201
                    {
                        let id = answer.json()["id"].as_str().expect("an id").to_owned();
                        accepted.lock().expect("a lock").push(id);
                    }
                }
            });
        }
        let (agent, address) = (&agent, &address);
        scope.spawn(move || {
            let claim = json!({"slots": 2, "wait_seconds": 5}).to_string();
            let headers = [("content-type", "application/json")];
            while TcpStream::connect(address).is_ok() {
                let _cut_off_at_the_end = std::panic::catch_unwind(|| {
                    agent.call("POST", "/v1/work/claim", &headers, claim.as_bytes())
                });
            }
        });
        arbiter_tests::wait_until("there is load", || accepted.lock().expect("a lock").len() > 100);
        serving.stop()
    });
    assert_eq!(status.code(), Some(0));
    let served = Served::at(place, limits, &arguments);
    for id in accepted.into_inner().expect("a lock") {
        let told = served.operator.get(&format!("/v1/tasks/{id}"));
        assert_eq!(told.status, 200, "{id} was accepted: {told:?}");
    }
    let told = served.operator.get("/v1/audit/head");
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(served.serving.stop().code(), Some(0));
    let verified = served.place.run(&["audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
}

#[test]
fn a_note_that_a_killed_server_left_is_not_believed() {
    let Served { place, serving, .. } = Served::new();
    let note = std::fs::read_to_string(place.path("data/server.json")).expect("a note");
    assert_eq!(serving.stop().code(), Some(0));
    // Somebody else listens there by now, and the number is that of a process that lives.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut note: serde_json::Value = serde_json::from_str(&note).expect("JSON");
    note["url"] = json!(format!("http://{address}"));
    note["pid"] = json!(std::process::id());
    place.write("data/server.json", &note.to_string());
    let listed = place.run(&["task", "list"]);
    assert_eq!(listed.code(), 0, "the store is opened: {listed:?}");
    listener.set_nonblocking(true).expect("set");
    assert!(listener.accept().is_err(), "nobody was asked");
}
