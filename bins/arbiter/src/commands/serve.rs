//! `arbiter serve`: the HTTP interface, and the services behind it.

use std::sync::Arc;

use arbiter_adapter_prometheus::PrometheusMetrics;
use arbiter_api::{Api, ApiParts, AuditKeys, BackupTaken, Backups, MetricsText, TlsIdentity};
use arbiter_audit::export::ExportHeader;
use arbiter_core::model::PrincipalId;
use arbiter_core::ports::{BoxError, Signer};
use arbiter_orchestration::Stopper;
use arbiter_orchestration::supervisor::Service;
use arbiter_queue::schedules::Schedules;
use serde_json::json;

use crate::access;
use crate::app::App;
use crate::backup::{self, Source};
use crate::batch::{AgentEntry, Agents};
use crate::cli::ServeArgs;
use crate::config::{Config, Environment};
use crate::engine::Engine;
use crate::exit::Failure;
use crate::health::{Health, Presence};
use crate::listening::Listening;
use crate::routing::Routing;
use crate::{output, owner, schedules, signals, traffic, webhooks};

/// Serves until a signal comes.
pub(crate) async fn run(
    mut config: Config,
    arguments: ServeArgs,
    json: bool,
    environment: &dyn Environment,
) -> Result<(), Failure> {
    if let Some(listen) = arguments.listen {
        config.server.listen = listen;
    }
    if arguments.agents.is_some() {
        config.server.agents = arguments.agents;
    }
    let tls = identity(&config)?;
    let agents = agents(&config)?;
    raise_file_limit();
    let app = App::open(config).await?;
    let served = serve(&app, tls, agents, json, environment).await;
    let closed = app.close().await;
    served.and(closed)
}

async fn serve(
    app: &App,
    tls: Option<TlsIdentity>,
    agents: Vec<AgentEntry>,
    json: bool,
    environment: &dyn Environment,
) -> Result<(), Failure> {
    let stop = signals::first(app.spawner.as_ref());
    let waiting = Stopper::default();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let secure = tls.is_some();
    let health = Arc::new(Health::default());
    let engine = Engine::new(app, agents, environment).await?;
    let schedules = schedules::schedules(app);
    let parts = parts(app, &engine, &schedules, Arc::clone(&health), waiting.signal());
    let api = Api::new(parts, app.config.server.api.clone());
    let listening = Arc::new(Listening::new(
        app.config.server.listen,
        tls,
        api,
        Arc::clone(&app.spawner),
    ));
    let mut services: Vec<Arc<dyn Service>> = vec![Arc::new(Presence {
        node: app.ids.node(),
        leases: app.store.clone(),
        clock: Arc::clone(&app.clock),
        health: Arc::clone(&health),
    })];
    services.extend(webhooks::services(app)?);
    services.push(traffic::service(app));
    services.push(access::service(app));
    services.push(schedules::service(app, schedules));
    services.push(listening.clone());
    let running = engine.start(app, services).await?;
    health.started(running.states());
    let address = listening.address();
    let note = match owner::announce(&app.config.data_dir, address, secure) {
        Ok(note) => note,
        Err(failure) => {
            running.stop(true).await;
            return Err(failure);
        }
    };
    tracing::info!(event = "startup_completed", server.address = %address, "every service is ready");
    if json {
        output::json(&json!({"url": format!("{scheme}://{address}"), "pid": std::process::id()}));
    } else {
        output::line(&format!("serving on {scheme}://{address}; stop with Ctrl-C"));
    }
    stop.wait().await;
    // Who waits for something is answered first; then no work is given out and attempts end, while agents can still
    // call; then calls end, then the rest.
    waiting.stop();
    running.stop(true).await;
    drop(note);
    Ok(())
}

fn parts(
    app: &App,
    engine: &Engine,
    schedules: &Arc<Schedules>,
    health: Arc<Health>,
    stop: arbiter_orchestration::Stop,
) -> ApiParts {
    ApiParts {
        queue: Arc::clone(&app.queue),
        work: Arc::clone(&engine.work),
        keys: Arc::clone(&app.keys),
        principals: access::directory(app),
        key_desk: access::key_desk(app),
        policies: Arc::clone(&app.policies),
        hooks: webhooks::hooks(app),
        tenants: Arc::clone(&app.tenants),
        pauses: traffic::pauses(app),
        schedules: Arc::clone(schedules),
        reader: app.store.clone(),
        registry: app.store.clone(),
        routing: Arc::new(Routing {
            allocation: Arc::clone(&engine.allocation),
            dispatcher: Arc::clone(&engine.dispatcher),
        }),
        artifacts: Arc::clone(&app.artifacts),
        audit: app.store.clone(),
        tree: app.store.clone(),
        audit_keys: Arc::new(Keys::of(app)),
        backups: Shelf::of(app).map(|shelf| Arc::new(shelf) as Arc<dyn Backups>),
        wakeups: Arc::clone(&app.wakeups),
        metrics: Arc::clone(&app.metrics),
        shown: Arc::new(Shown(Arc::clone(&app.measurements))),
        readiness: health,
        clock: Arc::clone(&app.clock),
        ids: Arc::clone(&app.ids),
        stop,
    }
}

/// The keys of the audit log, as its file tells them: a key may be rotated while we serve.
struct Keys {
    data_dir: std::path::PathBuf,
    signer: Arc<dyn Signer>,
}

impl Keys {
    fn of(app: &App) -> Self {
        Self {
            data_dir: app.config.data_dir.clone(),
            signer: app.signer.clone(),
        }
    }
}

impl AuditKeys for Keys {
    fn header(&self, size: u64) -> Result<ExportHeader, BoxError> {
        let trust = crate::app::trust(&self.data_dir, self.signer.as_ref());
        trust
            .and_then(|trust| super::audit::export_header(&trust, size))
            .map_err(|failure| failure.to_string().into())
    }
}

/// The folder of backups.
struct Shelf {
    source: Source,
    folder: std::path::PathBuf,
    /// One at a time: each copies everything.
    turn: tokio::sync::Mutex<()>,
}

impl Shelf {
    fn of(app: &App) -> Option<Self> {
        Some(Self {
            source: Source::of(app),
            folder: app.config.upkeep.backups.clone()?,
            turn: tokio::sync::Mutex::default(),
        })
    }
}

#[async_trait::async_trait]
impl Backups for Shelf {
    async fn take(&self, by: PrincipalId) -> Result<Option<BackupTaken>, BoxError> {
        let Ok(_turn) = self.turn.try_lock() else {
            return Ok(None);
        };
        // A moment without the characters that file systems elsewhere refuse.
        let name = format!("arbiter-{}", self.source.now().replace([':', '.'], "-"));
        std::fs::create_dir_all(&self.folder)?;
        let taken = backup::take(&self.source, &self.folder.join(&name), by).await;
        let taken = taken.map_err(|failure| failure.to_string())?;
        Ok(Some(BackupTaken {
            name,
            entries: taken.head.size,
            root: taken.head.root,
            files: taken.files as u64,
            bytes: taken.bytes,
        }))
    }
}

struct Shown(Arc<PrometheusMetrics>);

impl MetricsText for Shown {
    fn text(&self) -> String {
        self.0.render()
    }
}

/// The certificate, if one is configured. Keys in clear text leave this machine only over TLS.
fn identity(config: &Config) -> Result<Option<TlsIdentity>, Failure> {
    let Some((certificate, key)) = &config.server.tls else {
        let listen = config.server.listen;
        if listen.ip().is_loopback() {
            return Ok(None);
        }
        return Err(Failure::configuration(format!(
            "`{listen}` can be reached from other machines, and keys would cross the network in clear text; set \
             server.tls_certificate and server.tls_key, or listen on 127.0.0.1 behind a proxy"
        )));
    };
    let read = |path: &std::path::Path| {
        std::fs::read(path)
            .map_err(|error| Failure::configuration(format!("`{}` cannot be read: {error}", path.display())))
    };
    TlsIdentity::from_pem(&read(certificate)?, &read(key)?)
        .map(Some)
        .map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            Failure::configuration(format!("TLS: {error}{cause}"))
        })
}

fn agents(config: &Config) -> Result<Vec<AgentEntry>, Failure> {
    let Some(path) = &config.server.agents else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!(
            "the agents file `{}` cannot be read: {error}",
            path.display()
        ))
    })?;
    let folder = path.parent().unwrap_or(std::path::Path::new("."));
    Ok(Agents::read(&text, folder, crate::bootstrap::DEFAULT_TENANT)?.0)
}

/// Takes as many file handles as the system lets us: each connection needs one.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(limit) => tracing::debug!(event = "file_limit", limit, "file handles that may be open"),
        Err(error) => {
            tracing::warn!(event = "file_limit", error = %error, "the limit of open files could not be raised");
        }
    }
}
