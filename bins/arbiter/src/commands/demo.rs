//! `arbiter demo`: the main job on a fresh store, with nothing else installed. A server is started on a free port of this
//! machine, and everything is done and shown through its interface.

mod cast;
mod table;

use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_audit::report::Report;
use arbiter_audit::verify::verify_export;
use arbiter_client::{Client, ClientConfig, Download};
use arbiter_core::model::TaskId;
use arbiter_wire::http::{AttemptView, SubmitAnswer, SubmitMany, TaskView};
use serde_json::json;

use crate::app::App;
use crate::cli::DemoArgs;
use crate::config::{Config, Environment};
use crate::exit::Failure;
use crate::serving::Serving;
use crate::{bootstrap, output, reach};

use cast::Cast;

/// How often the table is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// A head of the audit log is signed within so long.
const SIGNED_WITHIN: Duration = Duration::from_secs(30);
/// The demo gives up after so long.
const LONGEST: Duration = Duration::from_secs(120);

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
    let program = stage(folder.path())?;
    let mut config = Config {
        data_dir: folder.path().join("data"),
        ..config
    };
    config.server.listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let app = App::open(config).await?;
    let played = play(&app, &program, folder.path(), &arguments, json, environment).await;
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

async fn play(
    app: &App,
    program: &Path,
    folder: &Path,
    arguments: &DemoArgs,
    json: bool,
    environment: &dyn Environment,
) -> Result<(), Failure> {
    let cast = Cast::of(arguments.seed, &program.display().to_string());
    let serving = Serving::start(app, None, cast.entries(app)?, environment).await?;
    let shown = show(app, &cast, &serving.url, folder, json).await;
    serving.stop().await;
    shown
}

/// Everything that is seen, through the interface only.
async fn show(app: &App, cast: &Cast, url: &str, folder: &Path, json: bool) -> Result<(), Failure> {
    if !json {
        output::line(&format!("a server answers at {url}"));
    }
    let key = bootstrap::read(&bootstrap::key_file(&app.config.data_dir))?;
    let mut settings = ClientConfig::new(url);
    settings.key = key;
    let client = Client::new(&settings, reach::ports())
        .map_err(|error| Failure::internal("the demo's own client", error))?;
    let ids = submit(&client, cast).await?;
    let tasks = watch(app, &client, &ids, json).await?;
    let mut recovered = 0;
    for task in &ids {
        let crashed = |attempt: &AttemptView| attempt.outcome == "crash";
        recovered += usize::from(client.task_attempts(*task).await?.attempts.iter().any(crashed));
    }
    let report = verify(app, &client, folder).await?;
    let succeeded = tasks.iter().filter(|task| task.state == "succeeded").count();
    if json {
        output::json(&json!({
            "server": url,
            "tasks": tasks.len(),
            "succeeded": succeeded,
            "recovered": recovered,
            "audit": {"entries": report.entries, "sound": report.is_sound(), "root": report.root.to_string()},
        }));
    } else {
        output::line(&format!(
            "{succeeded} of {} tasks succeeded; {recovered} were recovered after a crash",
            tasks.len()
        ));
        output::line(&format!(
            "the audit log has {} entries and is {}",
            report.entries,
            if report.is_sound() { "sound" } else { "NOT sound" }
        ));
    }
    if succeeded == ids.len() && report.is_sound() {
        Ok(())
    } else {
        Err(Failure::some_failed())
    }
}

async fn submit(client: &Client, cast: &Cast) -> Result<Vec<TaskId>, Failure> {
    let mut tasks = Vec::new();
    for task in cast.tasks() {
        let mut form = task.form;
        if let Some((name, text)) = task.document {
            let stored = client.artifact_put(text.as_bytes()).await?;
            form.artifacts.push(arbiter_wire::task::ArtifactForm {
                name: name.to_owned(),
                digest: stored.digest,
                size_bytes: stored.size_bytes,
            });
        }
        tasks.push(form);
    }
    let many = SubmitMany {
        tasks,
        all_or_nothing: true,
    };
    let answers = client.task_submit_many(many).await?.answers;
    answers
        .into_iter()
        .map(|answer| match answer {
            SubmitAnswer::Stored(stored) => stored
                .id
                .parse()
                .map_err(|error| Failure::internal("the id of a task", anyhow::Error::from(error))),
            SubmitAnswer::Refused(problem) => Err(Failure::internal(
                "the demo's own task was refused",
                anyhow::anyhow!("{}: {}", problem.code, problem.detail),
            )),
        })
        .collect()
}

/// Shows the tasks until all have ended.
async fn watch(app: &App, client: &Client, ids: &[TaskId], json: bool) -> Result<Vec<TaskView>, Failure> {
    let started = app.clock.monotonic();
    let mut table = table::Table::new(client).await?;
    loop {
        let tasks = client
            .task_list(&arbiter_client::TaskFilter::default())
            .await?
            .tasks;
        let over = tasks.len() == ids.len() && tasks.iter().all(|task| has_ended(&task.state));
        if !json && (over || output::is_watched()) {
            table.draw(client, &tasks).await?;
        }
        if over {
            return Ok(tasks);
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

fn has_ended(state: &str) -> bool {
    ["succeeded", "failed", "cancelled", "dead_lettered"].contains(&state)
}

/// The export, once the server has signed a head: it does so every second.
async fn export(app: &App, client: &Client) -> Result<Download, Failure> {
    let until = app.clock.monotonic() + SIGNED_WITHIN;
    loop {
        match client.audit_export().await {
            Err(error) if error.code() == "not_found" && app.clock.monotonic() < until => {
                app.clock.sleep_until(app.clock.monotonic() + DRAW_EVERY).await;
            }
            answer => return Ok(answer?),
        }
    }
}

/// Takes the whole audit log from the server and verifies it as anybody could who has the public key.
async fn verify(app: &App, client: &Client, folder: &Path) -> Result<Report, Failure> {
    let cannot = |error: std::io::Error| Failure::unavailable("the audit log could not be kept", error);
    let path = folder.join("audit.jsonl");
    {
        let mut file = std::fs::File::create(&path).map_err(cannot)?;
        let mut export = export(app, client).await?;
        while let Some(piece) = export.piece().await? {
            std::io::Write::write_all(&mut file, &piece).map_err(cannot)?;
        }
    }
    let file = std::fs::File::open(&path).map_err(cannot)?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    verify_export(BufReader::new(file), &app.trust()?.keyring()?, threads).map_err(cannot)
}
