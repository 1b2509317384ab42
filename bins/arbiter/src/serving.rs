//! The server: its services, the interface that they are called through, and where it is found.

mod parts;

use std::sync::Arc;

use arbiter_api::{Api, TlsIdentity};
use arbiter_orchestration::Stopper;
use arbiter_orchestration::supervisor::Service;

use crate::app::App;
use crate::batch::AgentEntry;
use crate::config::Environment;
use crate::engine::{Engine, Running};
use crate::exit::Failure;
use crate::health::{Health, Presence};
use crate::listening::Listening;
use crate::{access, erasing, history, identities, owner, schedules, traffic, webhooks};

/// A server that runs.
pub(crate) struct Serving {
    running: Running,
    /// Ends long polls and streams.
    waiting: Stopper,
    /// Says in the data folder where the server is.
    note: owner::Note,
    /// Its base address, such as `http://127.0.0.1:7700`.
    pub(crate) url: String,
}

impl Serving {
    /// Starts every service, the interface before the one that hands out work.
    ///
    /// # Errors
    /// A failure that names what did not start; nothing is left running then.
    pub(crate) async fn start(
        app: &App,
        tls: Option<TlsIdentity>,
        agents: Vec<AgentEntry>,
        environment: &dyn Environment,
    ) -> Result<Self, Failure> {
        let waiting = Stopper::default();
        let secure = tls.is_some();
        let health = Arc::new(Health::new(
            app.vouched.tokens.clone(),
            app.agents.elsewhere.clone(),
        ));
        let engine = Engine::new(app, agents, environment).await?;
        health.hosts(Arc::clone(&engine.registered));
        let schedules = schedules::schedules(app);
        let parts = parts::parts(app, &engine, &schedules, Arc::clone(&health), waiting.signal());
        let api = Api::new(parts, app.config.server.api.clone());
        let address = app.config.server.listen;
        let listening = Arc::new(Listening::new(address, tls, api, Arc::clone(&app.spawner)));
        let mut services: Vec<Arc<dyn Service>> = vec![Arc::new(Presence {
            node: app.ids.node(),
            leases: app.store.clone(),
            clock: Arc::clone(&app.clock),
            health: Arc::clone(&health),
        })];
        services.extend(webhooks::services(app)?);
        services.push(traffic::service(app));
        services.push(access::service(app));
        services.extend(identities::service(app));
        services.push(erasing::service(app));
        services.extend(history::services(app, &engine));
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
        let scheme = if secure { "https" } else { "http" };
        Ok(Self {
            running,
            waiting,
            note,
            url: format!("{scheme}://{address}"),
        })
    }

    /// Stops. Who waits for something is answered first; then no work is given out and attempts end, while agents can
    /// still call; then calls end, then the rest.
    pub(crate) async fn stop(self) {
        self.waiting.stop();
        self.running.stop(true).await;
        drop(self.note);
    }
}
