//! More than the server lets through, and more connections than do anything.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arbiter_tests::{samples, wait_until};
use serde_json::json;

use super::{Served, task};

/// Resident memory of the server in MiB (proc(5), `statm`).
fn resident_mib(served: &Served) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", served.serving.pid())).expect("it runs");
    let pages: f64 = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("pages");
    pages * 4096.0 / 1_048_576.0
}

#[test]
fn ten_times_what_is_let_through_is_refused_and_what_was_accepted_ends() {
    let agents = "[[agent]]\nname = \"quick\"\ncommand = [\"sh\", \"-c\", \"cat >/dev/null; echo '{\\\"version\\\":1,\\\"outcome\\\":\\\"succeeded\\\"}'\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\nslots = 4\n";
    let place = arbiter_tests::Place::new();
    let file = place.write("agents.toml", agents);
    let limits = "[queue]\nsubmit_per_principal = { per_second = 5, burst = 5 }\nsubmit_per_tenant = { per_second = 5, burst = 5 }\n";
    let served = Served::at(place, limits, &["--agents", file.to_str().expect("a path")]);
    let before = resident_mib(&served);
    let (accepted, refused) = (std::sync::Mutex::new(Vec::new()), AtomicUsize::new(0));
    let seconds = samples("ARBITER_OVERLOAD_SECONDS", 6);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = served.operator.post("/v1/tasks", &task());
                    match answer.status {
                        201 => {
                            let id = answer.json()["id"].as_str().expect("an id").to_owned();
                            accepted.lock().expect("a lock").push(id);
                        }
                        429 => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            let told = answer.json();
                            assert_eq!(told["code"], "rate_limited");
                            assert!(
                                told["retry_after_ms"].as_u64().is_some_and(|after| after > 0),
                                "{told}"
                            );
                            assert!(answer.header("retry-after").is_some(), "{answer:?}");
                        }
                        _ => panic!("{answer:?}"),
                    }
                }
            });
        }
        // As long as the samples say; each second lets five more through.
        for second in 1..=seconds {
            wait_until("so much was let through", || {
                accepted.lock().expect("a lock").len() >= 5 * second
            });
        }
        over.store(true, Ordering::Relaxed);
    });
    let accepted = accepted.into_inner().expect("a lock");
    let refused = refused.into_inner();
    assert!(
        refused >= 9 * accepted.len(),
        "{refused} refused, {} accepted",
        accepted.len()
    );
    for id in &accepted {
        let path = format!("/v1/tasks/{id}");
        wait_until("an accepted task has ended", || {
            served.operator.get(&path).json()["state"] == "succeeded"
        });
    }
    let after = resident_mib(&served);
    assert!(
        after < before + 64.0,
        "{before:.0} MiB before, {after:.0} MiB after"
    );
    println!(
        "report: {} accepted, {refused} refused, {before:.0} MiB before, {after:.0} MiB after",
        accepted.len()
    );
    let log = served
        .operator
        .get("/v1/audit/entries?action=rate_limited&limit=100")
        .json();
    let entries = log["entries"].as_array().expect("entries").len();
    assert!(entries < 20, "refusals are summed: {entries} entries");
    assert_eq!(served.serving.stop().code(), Some(0));
}

#[test]
fn ten_thousand_connections_that_say_nothing_keep_nobody_out() {
    let served = Served::with("[server]\nconnections = 20000\nhead_seconds = 3600\n", &[]);
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("a limit");
    let (_, hard) = limit;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    let wanted = 10_000.min(usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(200));
    let address = served.serving.url.trim_start_matches("http://").to_owned();
    let mut idle = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        match TcpStream::connect(&address) {
            Ok(stream) => idle.push(stream),
            // This machine has no more ports or handles to give: what was reached is said below.
            Err(_) => break,
        }
    }
    println!("report: {} idle connections", idle.len());
    assert!(idle.len() >= wanted.min(1_000), "{} of {wanted}", idle.len());
    let ready = served.operator.get("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    let id = served.submit(&task());
    assert_eq!(served.operator.get(&format!("/v1/tasks/{id}")).status, 200);
    // One of the silent ones begins to speak.
    let mut late = BufReader::new(idle.pop().expect("one"));
    late.get_mut()
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: late\r\nconnection: close\r\n\r\n")
        .expect("sent");
    let mut line = String::new();
    late.read_line(&mut line).expect("an answer");
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    let memory = resident_mib(&served);
    assert!(memory < 400.0, "{memory:.0} MiB for {} connections", idle.len());
    drop(idle);
    let told = served
        .operator
        .post("/v1/tasks", &json!({"kind": "analysis", "title": "after"}));
    assert_eq!(told.status, 201, "{told:?}");
    assert_eq!(served.serving.stop().code(), Some(0));
}
