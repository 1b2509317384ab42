//! P7, P8, P12 and P15 of the server: the binary itself, called over loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::plane::{Plane, Policies};
use crate::start::binary;
use crate::{ROUNDS, median, raw, show};

/// Connections of P8.
const CONNECTIONS: usize = 32;
/// Submits of each connection in one round of P8.
const SUBMITS: usize = 400;
/// Tasks of one round of P7, and how many come a second.
const TASKS: usize = 500;
const PER_SECOND: u64 = 50;
/// What admission lets through in a second under overload, how much is offered, and for how long.
const LET_THROUGH: u64 = 20;
const OFFERED: u64 = 10 * LET_THROUGH;
const OVERLOAD: Duration = Duration::from_mins(1);
/// How long an idle server is watched.
const IDLE: Duration = Duration::from_mins(1);

/// A server of its own, on a free port.
struct Server {
    child: Child,
    address: String,
    operator: String,
    agent: String,
    /// From the start of the process to the first good answer of `/readyz`.
    ready: Duration,
    _data: TempDir,
}

impl Server {
    fn start() -> Self {
        let rate = "{ per_second = 1000000, burst = 1000000 }";
        Self::with(rate)
    }

    /// A server that lets submits through at a rate.
    fn with(submits: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let config = data.path().join("config.toml");
        let lines = format!(
            "calls_per_principal = {{ per_second = 1000000, burst = 1000000 }}\n\
             submit_per_principal = {submits}\nsubmit_per_tenant = {submits}"
        );
        std::fs::write(
            &config,
            format!("[queue]\nopen_tasks_per_tenant = 10000000\n{lines}"),
        )
        .unwrap();
        let command = || {
            let mut command = Command::new(binary());
            command
                .args(["--json".as_ref(), "--config".as_ref(), config.as_os_str()])
                .args(["--data-dir".as_ref(), data.path().join("data").as_os_str()]);
            command
        };
        let made = command()
            .args(["key", "create", "--name", "agent", "--role", "agent"])
            .output()
            .unwrap();
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let start = Instant::now();
        let mut child = command()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let address = told["url"]
            .as_str()
            .unwrap()
            .trim_start_matches("http://")
            .to_owned();
        let mut probe = Connection::new(&address, "");
        while probe.call("GET", "/readyz", None).0 != 200 {}
        let ready = start.elapsed();
        let operator = std::fs::read_to_string(data.path().join("data/operator.key")).unwrap();
        Self {
            child,
            address,
            operator: operator.trim().to_owned(),
            agent: made["key"].as_str().unwrap().to_owned(),
            ready,
            _data: data,
        }
    }

    /// Seconds of processor time that the server has used.
    fn cpu(&self) -> f64 {
        cpu_of(&self.child.id().to_string())
    }

    fn resident_mib(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        let pages: f64 = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096.0 / 1_048_576.0
    }

    fn register(&self) {
        let profile = json!({"name": "bench", "model_family": "none", "kinds": ["analysis"], "slots": 1000});
        let (status, _) =
            Connection::new(&self.address, &self.agent).call("POST", "/v1/agents", Some(&profile));
        assert_eq!(status, 200);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_is_done = self.child.kill();
        let _its_end = self.child.wait();
    }
}

/// Processor time of a process in seconds (proc(5), `stat`: user and system, in hundredths).
fn cpu_of(process: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split(' ').collect();
    let ticks = |place: usize| fields[place].parse::<f64>().unwrap();
    (ticks(12) + ticks(13)) / 100.0
}

/// A connection that is kept.
struct Connection {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Connection {
    fn new(address: &str, key: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            key: key.to_owned(),
        }
    }

    fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> (u16, Vec<u8>) {
        let body = body.map_or_else(String::new, Value::to_string);
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).unwrap();
        while chunked {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut piece = vec![0; size + 2];
            self.stream.read_exact(&mut piece).unwrap();
            answer.extend_from_slice(&piece[..size]);
            chunked = size > 0;
        }
        (status, answer)
    }
}

fn task() -> Value {
    json!({
        "kind": "analysis",
        "title": "Count the words of a text",
        "instructions": "Count the words of the text in the input and answer with the number of words.",
        "input": {"text": "one two three ".repeat(10)},
    })
}

/// P8: submits a second, and seconds of processor time a submit of the server and of the client.
fn submits(server: &Server) -> (f64, f64, f64) {
    let before = (server.cpu(), cpu_of("self"));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::new(&server.address, &server.operator);
                let task = task();
                for _ in 0..SUBMITS {
                    assert_eq!(connection.call("POST", "/v1/tasks", Some(&task)).0, 201);
                }
            });
        }
    });
    let count = (CONNECTIONS * SUBMITS) as f64;
    let rate = count / start.elapsed().as_secs_f64();
    (
        rate,
        (server.cpu() - before.0) / count,
        (cpu_of("self") - before.1) / count,
    )
}

pub(crate) async fn http() {
    let (mut ours, mut api) = (Vec::new(), Vec::new());
    let mut cpu = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let server = Server::start();
        let (rate, of_server, of_client) = submits(&server);
        ours.push(rate);
        cpu.0.push(of_server * 1e6);
        cpu.1.push(of_client * 1e6);
        drop(server);
        let plane = Plane::new(Policies::On).await;
        api.push(plane.submits(32, 1_500).await.0);
    }
    println!("P8 submit over HTTP, keep-alive, {CONNECTIONS} connections; policies, redaction, audit on");
    let ours = show("  over HTTP", &ours);
    let api = show("  Rust API, 32 callers", &api);
    println!("  ratio {:.2}", ours / api);
    println!(
        "  processor time a submit: server {:.0} µs, client {:.0} µs",
        median(&cpu.0),
        median(&cpu.1)
    );
}

/// Milliseconds from just before a submit to the answer of the agent's poll.
fn latencies(server: &Server) -> Vec<f64> {
    server.register();
    let (sender, arrivals) = channel();
    let (address, key) = (server.address.clone(), server.agent.clone());
    let agent = std::thread::spawn(move || {
        let mut connection = Connection::new(&address, &key);
        let mut left = TASKS;
        while left > 0 {
            let claim = json!({"slots": 1, "wait_seconds": 30});
            let (status, answer) = connection.call("POST", "/v1/work/claim", Some(&claim));
            let at = Instant::now();
            assert_eq!(status, 200);
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            for work in answer["work"].as_array().unwrap() {
                left -= 1;
                sender
                    .send((work["task"].as_str().unwrap().to_owned(), at))
                    .unwrap();
                let attempt = json!({"task": work["task"], "tenant": work["tenant"], "fence": work["fence"]});
                let report = json!({"attempt": attempt, "output": 1});
                assert_eq!(connection.call("POST", "/v1/work/report", Some(&report)).0, 204);
            }
        }
    });
    let mut connection = Connection::new(&server.address, &server.operator);
    let mut sent = std::collections::HashMap::new();
    let start = Instant::now();
    for number in 0..TASKS as u64 {
        let due = start + Duration::from_micros(number * 1_000_000 / PER_SECOND);
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        let at = Instant::now();
        let (status, answer) = connection.call("POST", "/v1/tasks", Some(&task()));
        assert_eq!(status, 201);
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        sent.insert(answer["id"].as_str().unwrap().to_owned(), at);
    }
    agent.join().unwrap();
    arrivals
        .iter()
        .map(|(task, at)| at.duration_since(sent[&task]).as_secs_f64() * 1e3)
        .collect()
}

/// Milliseconds of a durable commit of one row by SQLite itself, at the pace of the submits: a disk and processors that
/// had time to rest take longer than busy ones.
fn paced_commit() -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("raw.db")).unwrap();
    let setting = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE a (n INTEGER PRIMARY KEY, body TEXT);";
    connection.execute_batch(setting).unwrap();
    let body = "x".repeat(280);
    let mut times = Vec::new();
    for _ in 0..TASKS / 5 {
        std::thread::sleep(Duration::from_micros(1_000_000 / PER_SECOND));
        let start = Instant::now();
        connection
            .execute("INSERT INTO a (body) VALUES (?1)", [&body])
            .unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    median(&times)
}

#[expect(clippy::unused_async, reason = "called like the other parts")]
pub(crate) async fn latency() {
    let (mut halves, mut tails, mut commits) = (Vec::new(), Vec::new(), Vec::new());
    let mut paced = Vec::new();
    for _ in 0..ROUNDS {
        let mut all = latencies(&Server::start());
        all.sort_by(f64::total_cmp);
        halves.push(all[all.len() / 2]);
        tails.push(all[all.len() * 99 / 100]);
        commits.push(1e3 / raw::rows(3_000, 1));
        paced.push(paced_commit());
    }
    println!("P7 submit to the answer of a long poll, {PER_SECOND} a second");
    println!(
        "  p50 {:.2} ms, p99 {:.2} ms (bar 5 ms)",
        median(&halves),
        median(&tails)
    );
    for (name, commit) in [
        ("at this pace", median(&paced)),
        ("one after the other", median(&commits)),
    ] {
        println!(
            "  a raw commit {name} takes {commit:.2} ms; two and 1 ms are {:.2} ms",
            2.0 * commit + 1.0
        );
    }
}

#[expect(clippy::unused_async, reason = "called like the other parts")]
pub(crate) async fn idle() {
    let starts: Vec<f64> = (0..ROUNDS)
        .map(|_| Server::start().ready.as_secs_f64() * 1e3)
        .collect();
    println!(
        "P15 from the start of the process to a good answer of /readyz: {:.0} ms",
        median(&starts)
    );
    let server = Server::start();
    let before = server.cpu();
    std::thread::sleep(IDLE);
    println!(
        "P12 an idle server: {:.1} MiB resident; {:.2} s of processor time in {} s",
        server.resident_mib(),
        server.cpu() - before,
        IDLE.as_secs()
    );
}

/// Submits at a rate over one connection; the milliseconds of those that were accepted, and how many were refused.
fn offered(server: &Server, per_second: u64, time: Duration) -> (Vec<f64>, usize) {
    let mut connection = Connection::new(&server.address, &server.operator);
    let (mut accepted, mut refused) = (Vec::new(), 0);
    let start = Instant::now();
    for number in 0..per_second * time.as_secs() {
        let due = start + Duration::from_micros(number * 1_000_000 / per_second);
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(wait);
        }
        // From the moment at which it was due: what a stall holds up counts as late as it is.
        match connection.call("POST", "/v1/tasks", Some(&task())) {
            (201, _) => accepted.push(due.elapsed().as_secs_f64() * 1e3),
            (status, answer) => {
                assert_eq!(status, 429);
                let told: Value = serde_json::from_slice(&answer).unwrap();
                assert!(told["retry_after_ms"].as_u64().unwrap() > 0);
                refused += 1;
            }
        }
    }
    accepted.sort_by(f64::total_cmp);
    (accepted, refused)
}

/// A server under ten times what it lets through, for a minute: how long an accepted submit takes beside that of the
/// same server without overload.
#[expect(clippy::unused_async, reason = "called like the other parts")]
pub(crate) async fn overload() {
    let rate = format!("{{ per_second = {LET_THROUGH}, burst = {LET_THROUGH} }}");
    let server = Server::with(&rate);
    let before = server.cpu();
    let (calm, _) = offered(&server, LET_THROUGH - 1, OVERLOAD);
    let busy = (server.cpu() - before) / OVERLOAD.as_secs_f64();
    let memory = server.resident_mib();
    let before = server.cpu();
    let (accepted, refused) = offered(&server, OFFERED, OVERLOAD);
    let busier = (server.cpu() - before) / OVERLOAD.as_secs_f64();
    let tail = |times: &[f64]| times[times.len() * 99 / 100];
    println!(
        "overload: {OFFERED} submits a second, {LET_THROUGH} let through, for {} s",
        OVERLOAD.as_secs()
    );
    println!(
        "  accepted {}, refused {refused}, each with retry_after; {:.1} MiB before, {:.1} MiB after",
        accepted.len(),
        memory,
        server.resident_mib()
    );
    println!(
        "  p99 of an accepted submit {:.2} ms, {:.2} ms without overload: ratio {:.1} (bar 5)",
        tail(&accepted),
        tail(&calm),
        tail(&accepted) / tail(&calm)
    );
    println!(
        "  processor time: {:.1} % of a core without, {:.1} % with",
        busy * 100.0,
        busier * 100.0
    );
}
