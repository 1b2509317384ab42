//! What the interface is made of.

use std::sync::Arc;

use arbiter_adapter_prometheus::PrometheusMetrics;
use arbiter_api::{ApiParts, AuditKeys, BackupTaken, Backups, MetricsText};
use arbiter_audit::export::ExportHeader;
use arbiter_core::model::PrincipalId;
use arbiter_core::ports::{BoxError, Signer, TelemetryStore};
use arbiter_orchestration::Stop;
use arbiter_queue::schedules::Schedules;

use crate::app::App;
use crate::backup::{self, Source};
use crate::commands::audit;
use crate::engine::Engine;
use crate::health::Health;
use crate::routing::Routing;
use crate::{access, traffic, webhooks};

/// The services and ports behind the interface.
pub(super) fn parts(
    app: &App,
    engine: &Engine,
    schedules: &Arc<Schedules>,
    health: Arc<Health>,
    stop: Stop,
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
        erasures: Arc::clone(&app.erasures),
        pauses: traffic::pauses(app),
        schedules: Arc::clone(schedules),
        reader: app.store.clone(),
        registry: Arc::clone(&app.agents.registry),
        history: app
            .config
            .telemetry
            .sample_every
            .map(|_| app.store.clone() as Arc<dyn TelemetryStore>),
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
            .and_then(|trust| audit::export_header(&trust, size))
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
        let folder = app.config.upkeep.backups.clone()?;
        Some(Self {
            // a folder beside a shared store is refused with the configuration
            source: Source::of(app).ok()?,
            folder,
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
        let taken = backup::take(
            &self.source,
            &self.folder.join(&name),
            by,
            &backup::Progress::hidden(),
        )
        .await;
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
