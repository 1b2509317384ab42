//! P15: from the start of the process to `startup_completed`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{ROUNDS, median};

pub(crate) fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ARBITER_TEST_BINARY") {
        return path.into();
    }
    let bench = std::env::current_exe().unwrap();
    let beside = bench.ancestors().nth(2).unwrap().join("arbiter");
    assert!(
        beside.exists(),
        "build it first: cargo build --release -p arbiter"
    );
    beside
}

/// Starts `arbiter run` with one task; gives milliseconds until it is ready. It ends by itself.
fn started(data: &Path, config: &Path, tasks: &str) -> f64 {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("tasks.jsonl"), tasks).unwrap();
    let agents = "[[agent]]\nname = \"echo\"\ncommand = [\"sh\", \"-c\", \"printf '{\\\"version\\\":1,\\\"outcome\\\":\\\"succeeded\\\"}'\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n";
    std::fs::write(place.path().join("agents.toml"), agents).unwrap();
    let start = Instant::now();
    let mut child = Command::new(binary())
        .args(["--data-dir".as_ref(), data.as_os_str()])
        .args([
            "--log-format",
            "json",
            "run",
            "tasks.jsonl",
            "--agents",
            "agents.toml",
        ])
        .env("ARBITER_LOG", "info")
        .env("ARBITER_CONFIG", config)
        .current_dir(place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut ready = None;
    for line in lines.map_while(Result::ok) {
        if ready.is_none() && line.contains("startup_completed") {
            ready = Some(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    assert!(child.wait().unwrap().success());
    ready.unwrap()
}

fn task(kind: &str, number: usize) -> String {
    format!("{{\"kind\":\"{kind}\",\"title\":\"Task {number}\",\"instructions\":\"Do it.\"}}\n")
}

#[expect(clippy::unused_async, reason = "called like the other parts")]
pub(crate) async fn run() {
    println!("P15 from the start of the process to `startup_completed`");
    let backlog = tempfile::tempdir().unwrap();
    let config = backlog.path().join("config.toml");
    std::fs::write(&config, "[queue]\nopen_tasks_per_tenant = 1000000\nsubmit_per_principal = { per_second = 100000, burst = 100000 }\nsubmit_per_tenant = { per_second = 100000, burst = 100000 }\n").unwrap();
    let empty: Vec<f64> = (0..ROUNDS)
        .map(|_| started(tempfile::tempdir().unwrap().path(), &config, &task("analysis", 1)))
        .collect();
    println!("  empty data folder {:.0} ms", median(&empty));
    let data = tempfile::tempdir().unwrap();
    for part in 0..100 {
        let file = backlog.path().join("tasks.jsonl");
        // a kind that no agent does: they stay queued
        let tasks: String = (0..1_000)
            .map(|number| task("writing", part * 1_000 + number))
            .collect();
        std::fs::write(&file, tasks).unwrap();
        let submitted = Command::new(binary())
            .args([
                "--data-dir".as_ref(),
                data.path().as_os_str(),
                "--config".as_ref(),
                config.as_os_str(),
            ])
            .args(["task".as_ref(), "submit".as_ref(), file.as_os_str()])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(submitted.success());
    }
    let full: Vec<f64> = (0..ROUNDS)
        .map(|round| started(data.path(), &config, &task("analysis", round)))
        .collect();
    println!("  100 000 queued {:.0} ms", median(&full));
}
