//! P3, P4, P5, P9: the same queue over PostgreSQL, beside what the server does for one-row inserts in the same rounds.
//!
//! The server is the one of `ARBITER_TEST_POSTGRES_URL`; `pgbench` comes with it, and is found by
//! `ARBITER_TEST_POSTGRES_PROGRAMS` or on the path.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arbiter_adapter_postgres::{PostgresConfig, PostgresParts, PostgresStore};
use arbiter_adapter_system::{OsEntropy, TokioSpawner};
use arbiter_core::lifecycle::Rules;

use crate::agents::Agents;
use crate::plane::{Commits, Plane, Policies};
use crate::{ROUNDS, median, show};

const RAW_SECONDS: u32 = 3;

/// A schema on the server, dropped at the end.
struct Schema {
    url: String,
    name: String,
}

impl Schema {
    fn new() -> Self {
        let url =
            std::env::var("ARBITER_TEST_POSTGRES_URL").expect("a server: see `cargo xtask services up`");
        Self {
            url,
            name: format!("bench_{:016x}", rand::random::<u64>()),
        }
    }

    fn ask(&self, sql: &str) -> Vec<String> {
        let output = Command::new(program("psql"))
            .args([self.url.as_str(), "-Atq", "-v", "ON_ERROR_STOP=1", "-c"])
            .arg(format!("SET search_path = {}", self.name))
            .args(["-c", sql])
            .output()
            .expect("psql runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    async fn plane(self, policies: Policies) -> Plane {
        let config = PostgresConfig {
            schema: self.name.clone(),
            engine_connections: 12,
            ..PostgresConfig::new(self.url.clone())
        };
        let parts = PostgresParts {
            entropy: Arc::new(OsEntropy::new()),
            spawner: &TokioSpawner::new(),
            rules: Rules::default(),
            clock: None,
        };
        let store = PostgresStore::open(&config, parts)
            .await
            .expect("the store opens");
        Plane::over(Arc::new(store), Arc::new(self), policies).await
    }
}

impl Commits for Schema {
    fn commits(&self) -> (f64, f64) {
        let told = self.ask("SELECT count(*) || ' ' || coalesce(sum(count), 0) FROM audit_batch");
        let (commits, leaves) = told[0].split_once(' ').expect("two numbers");
        (
            commits.parse().expect("a number"),
            leaves.parse().expect("a number"),
        )
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        self.ask(&format!(
            "SET client_min_messages = error; DROP SCHEMA IF EXISTS {} CASCADE",
            self.name
        ));
    }
}

fn program(name: &str) -> PathBuf {
    std::env::var_os("ARBITER_TEST_POSTGRES_PROGRAMS")
        .map_or_else(|| PathBuf::from(name), |folder| PathBuf::from(folder).join(name))
}

/// One-row inserts a second of 32 clients, each in a commit of its own.
fn raw() -> f64 {
    let schema = Schema::new();
    schema.ask(&format!("CREATE SCHEMA {0}; CREATE TABLE {0}.raw (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)", schema.name));
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("insert.sql");
    let body = "x".repeat(300);
    std::fs::write(
        &script,
        format!("INSERT INTO {}.raw (body) VALUES ('{body}');\n", schema.name),
    )
    .expect("a file");
    let output = Command::new(program("pgbench"))
        .args(["-n", "-M", "prepared", "-c", "32", "-j", "2", "-T"])
        .arg(RAW_SECONDS.to_string())
        .arg("-f")
        .arg(&script)
        .arg(&schema.url)
        .output()
        .expect("pgbench runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("tps = "));
    let line = line.unwrap_or_else(|| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)));
    let rate = line.trim_start_matches("tps = ").split(' ').next();
    rate.and_then(|rate| rate.parse().ok()).expect("a rate")
}

pub(crate) async fn run() {
    let (mut raws, mut singles, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lives, mut drains, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        raws.push(raw());
        let (rate, group) = Schema::new().plane(Policies::On).await.submits(32, 1_000).await;
        singles.push(rate);
        groups.push(group);
        batches.push(batched(40_000).await);
        lives.push(whole_lives(20_000).await);
        drains.push(drained(20_000, 0).await);
    }
    println!("P3 P4 P5 PostgreSQL; policies, redaction, audit on");
    let raw = show("  raw: one row per commit, 32 clients (pgbench)", &raws);
    let line = |name: &str, values: &[f64]| {
        let rate = show(name, values);
        println!("  ratio to raw {:.2}", rate / raw);
    };
    line(
        &format!(
            "  P3 submit, 32 single callers, {:.0} per commit",
            median(&groups)
        ),
        &singles,
    );
    line("  P4 submit, batches of 100, 4 callers (tasks)", &batches);
    line("  P5a whole life, 32 submitters, 32 agents with 4 slots", &lives);
    line("  P5b drain, claim and report, 4 claimers of 100", &drains);
}

/// P9: the same drain with a million tasks that wait, against a thousand.
pub(crate) async fn backlog() {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        few.push(drained(20_000, 1_000).await);
        many.push(drained(20_000, 1_000_000).await);
    }
    println!("P9 drain on PostgreSQL by the backlog that is left");
    let few = show("  1 000 wait", &few);
    let many = show("  1 000 000 wait", &many);
    println!("  ratio {:.2}", many / few);
}

/// One round for `cargo xtask bench peers`: a line of JSON for each measurement, or for the one that is named. `tasks` is
/// a multiple of 3200.
pub(crate) async fn round(tasks: usize, only: Option<&str>) {
    let few = tasks / 4;
    let is_asked = |measure| only.is_none_or(|only| only == measure);
    if is_asked("submit_single") {
        let plane = Schema::new().plane(Policies::On).await;
        let (rate, _) = plane.submits(32, few as u64 / 32).await;
        tell("submit_single", few, rate);
    }
    if is_asked("submit_batch") {
        tell("submit_batch", 2 * tasks, batched(2 * tasks).await);
    }
    if is_asked("life") {
        tell("life", few, whole_lives(few).await);
    }
    if is_asked("drain_batch") {
        tell("drain_batch", tasks, drained(tasks, 0).await);
    }
}

fn tell(measure: &str, tasks: usize, rate: f64) {
    let seconds = tasks as f64 / rate;
    println!("{{\"measure\":\"{measure}\",\"tasks\":{tasks},\"seconds\":{seconds}}}");
}

async fn batched(tasks: usize) -> f64 {
    let plane = Schema::new().plane(Policies::On).await;
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let plane = plane.clone();
        callers.spawn(async move {
            for _ in 0..tasks / 400 {
                plane.submit_batch(100).await;
            }
        });
    }
    callers.join_all().await;
    tasks as f64 / start.elapsed().as_secs_f64()
}

/// Submitters and agents at the same time.
async fn whole_lives(tasks: usize) -> f64 {
    let plane = Schema::new().plane(Policies::On).await;
    let agents = Agents::register(&plane, 32, 4).await;
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let plane = plane.clone();
        running.spawn(async move {
            for _ in 0..tasks / 32 {
                plane.submit_one().await;
            }
        });
    }
    running.spawn(agents.work(plane, tasks));
    running.join_all().await;
    tasks as f64 / start.elapsed().as_secs_f64()
}

/// Claims and reports `tasks` off a backlog, of which `left` stay: four claimers, each an agent with a hundred slots.
async fn drained(tasks: usize, left: usize) -> f64 {
    let plane = Schema::new().plane(Policies::On).await;
    for _ in 0..(tasks + left) / 400 {
        plane.submit_batch(400).await;
    }
    for number in 2..6 {
        plane.add_agent(number, 100).await;
    }
    let open = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for number in 2..6 {
        let (plane, done) = (plane.clone(), Arc::clone(&open));
        running.spawn(async move {
            while done.load(Ordering::SeqCst) < tasks {
                done.fetch_add(plane.work_as(number, 100).await, Ordering::SeqCst);
            }
        });
    }
    running.join_all().await;
    open.load(Ordering::SeqCst) as f64 / start.elapsed().as_secs_f64()
}
