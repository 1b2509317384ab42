//! `arbiter demo`: the main job on a fresh store, with nothing else installed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_core::model::{
    AgentCost, AgentId, AgentProfile, ArtifactRef, Capabilities, SecurityLevel, StoredTask, TaskId, TaskKind,
    TaskSpec, TenantScope, Transport,
};
use arbiter_core::ports::{Bytes, TaskReader as _};
use arbiter_queue::Submission;

use crate::app::App;
use crate::batch::AgentEntry;
use crate::bootstrap::DEFAULT_TENANT;
use crate::cli::DemoArgs;
use crate::config::{Config, Environment};
use crate::engine::Engine;
use crate::exit::Failure;
use crate::output;

/// Real input, compiled in.
const DOCUMENTS: [(&str, &str); 4] = [
    ("README.md", include_str!("../../../../README.md")),
    ("CONTRIBUTING.md", include_str!("../../../../CONTRIBUTING.md")),
    (
        "architecture.md",
        include_str!("../../../../docs/architecture.md"),
    ),
    ("LICENSE-MIT", include_str!("../../../../LICENSE-MIT")),
];
/// How often the table is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// The demo gives up after so long.
const LONGEST: Duration = Duration::from_secs(120);

/// An agent of the demo.
struct Cast {
    name: &'static str,
    kind: &'static str,
    command: Vec<String>,
}

/// Runs the demo in a fresh temporary folder.
pub(crate) async fn run(
    config: Config,
    arguments: DemoArgs,
    json: bool,
    environment: &dyn Environment,
) -> Result<(), Failure> {
    let folder = tempfile::Builder::new()
        .prefix("arbiter-demo-")
        .tempdir()
        .map_err(|error| Failure::unavailable("a temporary folder could not be made; set TMPDIR", error))?;
    // Agents run as another user when we are root: they must reach the program, which may stand in a private folder.
    let stage = stage(folder.path())?;
    let app = App::open(Config {
        data_dir: folder.path().join("data"),
        ..config
    })
    .await?;
    let played = play(&app, &stage, json, environment).await;
    let closed = app.close().await;
    played?;
    closed?;
    if arguments.keep {
        let kept = folder.keep();
        output::error_line(&format!(
            "kept: arbiter --data-dir {} task list",
            kept.join("data").display()
        ));
    }
    Ok(())
}

/// A copy of this program that every user can execute.
fn stage(folder: &Path) -> Result<PathBuf, Failure> {
    use std::os::unix::fs::PermissionsExt as _;
    let copy = || -> std::io::Result<PathBuf> {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))?;
        let stage = folder.join("agents");
        std::fs::create_dir(&stage)?;
        let program = stage.join("arbiter");
        std::fs::copy(std::env::current_exe()?, &program)?;
        for path in [&stage, &program] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(program)
    };
    copy().map_err(|error| Failure::unavailable("the demo's agents could not be set up", error))
}

async fn play(app: &App, program: &Path, json: bool, environment: &dyn Environment) -> Result<(), Failure> {
    let program = program.display().to_string();
    let cast = [
        Cast { name: "honest", kind: "analysis", command: vec![program.clone(), "__demo-agent".into()] },
        Cast {
            name: "crashing",
            kind: "testing",
            command: vec![program, "__demo-agent".into(), "--crashing".into()],
        },
        Cast {
            name: "shell",
            kind: "script-execution",
            command: vec![
                "sh".into(),
                "-c".into(),
                "cat >/dev/null; printf '{\"version\":1,\"outcome\":\"succeeded\",\"output\":{\"kernel\":\"%s\"}}' \"$(uname -s)\""
                    .into(),
            ],
        },
    ];
    let entries: Vec<AgentEntry> = cast.iter().map(|one| entry(app, one)).collect::<Result<_, _>>()?;
    let names: BTreeMap<AgentId, &str> = entries
        .iter()
        .zip(&cast)
        .map(|(entry, one)| (entry.profile.id, one.name))
        .collect();
    let tasks = submit(app, &cast).await?;
    let engine = Engine::new(app, entries, environment)
        .await?
        .start(app, Vec::new())
        .await?;
    tracing::info!(event = "startup_completed", "every service is ready");
    let watched = watch(app, &tasks, &names, json).await;
    engine.stop(watched.is_err()).await;
    let stored = watched?;
    let report = super::audit::verify_store(app).await?;
    let succeeded = stored
        .iter()
        .filter(|one| one.task.state.name().word() == "succeeded")
        .count();
    let recovered = stored.iter().filter(|one| one.task.losses > 0).count();
    if json {
        output::json(&serde_json::json!({
            "tasks": stored.len(),
            "succeeded": succeeded,
            "recovered": recovered,
            "audit": {"entries": report.entries, "sound": report.is_sound(), "root": report.root.to_string()},
        }));
    } else {
        output::line(&format!(
            "{succeeded} of {} tasks succeeded; {recovered} were recovered after a crash",
            stored.len()
        ));
        output::line(&format!(
            "the audit log has {} entries and is {}",
            report.entries,
            if report.is_sound() { "sound" } else { "NOT sound" }
        ));
    }
    if succeeded == stored.len() && report.is_sound() {
        Ok(())
    } else {
        Err(Failure::some_failed())
    }
}

fn entry(app: &App, cast: &Cast) -> Result<AgentEntry, Failure> {
    let kind = kind(cast.kind)?;
    Ok(AgentEntry {
        profile: AgentProfile {
            id: app.ids.agent(),
            tenant: Some(DEFAULT_TENANT),
            name: cast.name.to_owned(),
            model_family: "none".to_owned(),
            model_version: None,
            capabilities: Capabilities {
                kinds: [kind].into(),
                ..Capabilities::default()
            },
            transport: Transport::Exec,
            slots: 2,
            clearance: SecurityLevel::Internal,
            cost: AgentCost::default(),
            labels: BTreeMap::new(),
        },
        command: cast.command.clone(),
        env: Vec::new(),
        memory_bytes: None,
        output_bytes: None,
    })
}

fn kind(word: &str) -> Result<TaskKind, Failure> {
    TaskKind::new(word).map_err(|error| Failure::internal("the demo's own task", error))
}

/// Each document for the honest agent and for the crashing one, and one task for the shell.
async fn submit(app: &App, cast: &[Cast]) -> Result<Vec<TaskId>, Failure> {
    let mut submissions = Vec::new();
    for (name, text) in DOCUMENTS {
        let mut source = Bytes::new(text.as_bytes());
        let stored = app
            .artifacts
            .put(DEFAULT_TENANT, &mut source, 1 << 20)
            .await
            .map_err(|error| Failure::unavailable("a document could not be stored", error))?;
        for one in cast.iter().filter(|one| one.name != "shell") {
            let mut spec = TaskSpec::new(
                kind(one.kind)?,
                format!("Count the words of {name}"),
                "Count words, lines, bytes.",
            );
            spec.artifacts = vec![ArtifactRef {
                name: "document".into(),
                digest: stored.digest,
                size_bytes: stored.size_bytes,
            }];
            submissions.push(Submission::new(spec));
        }
    }
    let spec = TaskSpec::new(
        kind("script-execution")?,
        "Say which kernel this is",
        "Run uname.",
    );
    submissions.push(Submission::new(spec));
    let answers = app.queue.submit_many(&app.operator, submissions, true).await?;
    answers
        .into_iter()
        .map(|answer| answer.map(|one| one.task).map_err(Failure::from))
        .collect()
}

/// Shows the tasks until all have ended.
async fn watch(
    app: &App,
    tasks: &[TaskId],
    names: &BTreeMap<AgentId, &str>,
    json: bool,
) -> Result<Vec<StoredTask>, Failure> {
    let started = app.clock.monotonic();
    let mut lines = 0;
    loop {
        let found = app.store.get(TenantScope::Tenant(DEFAULT_TENANT), tasks).await?;
        let stored: Vec<StoredTask> = found.into_iter().flatten().collect();
        let over = stored.iter().all(|one| one.task.state.is_closed());
        if !json && (over || output::is_watched()) {
            lines = draw(&stored, names, lines);
        }
        if over {
            return Ok(stored);
        }
        if app.clock.monotonic().saturating_sub(started) > LONGEST {
            return Err(Failure::unavailable(
                "the demo took too long",
                anyhow::anyhow!("after {LONGEST:?}"),
            ));
        }
        app.clock.sleep_until(app.clock.monotonic() + DRAW_EVERY).await;
    }
}

/// Draws the table over the one before it. Gives how many lines it has.
fn draw(stored: &[StoredTask], names: &BTreeMap<AgentId, &str>, above: usize) -> usize {
    let mut text = String::new();
    if above > 0 {
        let _always = write!(text, "\u{1b}[{above}A\u{1b}[J");
    }
    let _always = writeln!(
        text,
        "{:<36} {:<10} {:<9} {:<10}",
        "TASK", "STATE", "ATTEMPTS", "AGENT"
    );
    for one in stored {
        let agent = one
            .task
            .attempt
            .as_ref()
            .map(|open| open.agent)
            .or(one.task.avoid.last().copied());
        let agent = agent
            .and_then(|agent| names.get(&agent))
            .copied()
            .unwrap_or_default();
        let tries = one.task.attempts.max(one.task.losses);
        let state = one.task.state.name().word();
        let _always = writeln!(text, "{:<36} {state:<10} {tries:<9} {agent:<10}", one.spec.title);
    }
    output::error_line(text.trim_end());
    stored.len() + 1
}
