//! Starts services in order, keeps them running, and stops them in reverse.

mod service;
mod state;

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::Backoff;
use arbiter_core::ports::{BoxError, Clock, Ended, Metrics, Spawner, TaskHandle};
use futures_util::{FutureExt as _, select_biased};

pub use service::{Service, service};
pub use state::{ServiceState, Standing};

use crate::stop::{Stop, Stopper};
use state::States;

/// The wait before a crashed service is started again: 100 ms, ×2, at most 30 s.
const RESTART: Backoff = Backoff {
    base: Duration::from_millis(100),
    factor: 2,
    cap: Duration::from_secs(30),
};
/// A service that ran so long has recovered: its next crash counts as the first.
const RECOVERED: Duration = Duration::from_secs(60);

/// Every service has at least so long to end.
const LEAST: Duration = Duration::from_secs(1);

/// What a supervisor needs.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct SupervisorPorts {
    /// Runs services.
    pub spawner: Arc<dyn Spawner>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
}

/// A service that did not start. Those before it were stopped again.
#[derive(Debug, thiserror::Error)]
#[error("the service `{service}` could not be started")]
pub struct StartError {
    /// Which.
    pub service: &'static str,
    /// Why.
    pub source: BoxError,
}

/// Services that run.
pub struct Supervisor {
    ports: SupervisorPorts,
    running: Vec<Supervised>,
    states: Arc<States>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor")
            .field("services", &self.states.all())
            .finish_non_exhaustive()
    }
}

/// One service with the loop that keeps it running.
struct Supervised {
    name: &'static str,
    stop: Stopper,
    cut: Stopper,
    guard: Box<dyn TaskHandle>,
}

impl Supervisor {
    /// Starts services in the order given: each begins when those before it have started.
    ///
    /// # Errors
    /// [`StartError`] naming the first that did not start; those before it have been stopped in reverse order within
    /// `grace` each way, and nothing runs any more.
    ///
    /// # Cancel safety
    /// Not safe: services that were started go on.
    pub async fn start(
        ports: SupervisorPorts,
        services: Vec<Arc<dyn Service>>,
        grace: Duration,
    ) -> Result<Self, StartError> {
        let names = services.iter().map(|service| service.name()).collect();
        let mut started = Self {
            ports,
            running: Vec::with_capacity(services.len()),
            states: Arc::new(States::new(names)),
        };
        for service in services {
            let name = service.name();
            if let Err(source) = service.start().await {
                tracing::error!(event = "service_not_started", service = name, error = %source, "a service could not be started");
                started.stop(grace).await;
                return Err(StartError {
                    service: name,
                    source,
                });
            }
            started.keep(service);
        }
        Ok(started)
    }

    fn keep(&mut self, service: Arc<dyn Service>) {
        let (stop, cut) = (Stopper::default(), Stopper::default());
        let name = service.name();
        self.states.set(name, Standing::Running);
        let keeper = Keeper {
            ports: self.ports.clone(),
            states: Arc::clone(&self.states),
            service,
            stop: stop.signal(),
            cut: cut.signal(),
        };
        let guard = self.ports.spawner.spawn(name, Box::pin(keeper.keep()));
        self.running.push(Supervised {
            name,
            stop,
            cut,
            guard,
        });
    }

    /// How each service stands, in the order of starting.
    pub fn states(&self) -> Arc<dyn Fn() -> Vec<ServiceState> + Send + Sync> {
        let states = Arc::clone(&self.states);
        Arc::new(move || states.all())
    }

    /// Stops every service, the last one first; each ends before the next is told. What has not ended when `grace` is
    /// over, and a second after it was told, is cut off at its next await point. Gives the names of those that were.
    ///
    /// # Cancel safety
    /// Not safe: services that were not told yet go on.
    pub async fn stop(mut self, grace: Duration) -> Vec<&'static str> {
        let clock = Arc::clone(&self.ports.clock);
        let until = clock.monotonic() + grace;
        let mut overdue = Vec::new();
        while let Some(mut service) = self.running.pop() {
            service.stop.stop();
            // One that is overdue leaves the others a moment at least.
            let until = until.max(clock.monotonic() + LEAST);
            let in_time = select_biased! {
                _ = service.guard.join().fuse() => true,
                () = clock.sleep_until(until).fuse() => false,
            };
            if !in_time {
                tracing::error!(
                    event = "service_cut_off",
                    service = service.name,
                    "a service did not end in time"
                );
                overdue.push(service.name);
                service.cut.stop();
                service.guard.join().await;
            }
            self.states.set(service.name, Standing::Stopped);
        }
        overdue
    }
}

/// Keeps one service running.
struct Keeper {
    ports: SupervisorPorts,
    states: Arc<States>,
    service: Arc<dyn Service>,
    stop: Stop,
    cut: Stop,
}

impl Keeper {
    async fn keep(self) {
        let name = self.service.name();
        let mut crashes = 0;
        loop {
            let began = self.ports.clock.monotonic();
            let ended = self.run_once().await;
            if self.stop.is_stopped() || self.cut.is_stopped() {
                return;
            }
            if self.ports.clock.monotonic().saturating_sub(began) >= RECOVERED {
                crashes = 0;
            }
            tracing::error!(event = "service_crashed", service = name, ended = ?ended, "a service ended by itself and is started again");
            self.ports
                .metrics
                .count("supervisor.restarts_total", &[("service", name)], 1);
            loop {
                crashes += 1;
                self.states.set(name, Standing::Restarting { crashes });
                if !self.wait(crashes).await {
                    return;
                }
                let started = select_biased! {
                    started = self.service.start().fuse() => started,
                    () = self.cut.wait().fuse() => return,
                };
                match started {
                    Ok(()) => break,
                    Err(error) => {
                        tracing::error!(event = "service_not_started", service = name, error = %error, "a service could not be started");
                    }
                }
            }
            self.states.set(name, Standing::Running);
        }
    }

    async fn run_once(&self) -> Ended {
        let (service, stop) = (Arc::clone(&self.service), self.stop.clone());
        let run = async move { service.run(stop).await };
        let mut handle = self.ports.spawner.spawn(self.service.name(), Box::pin(run));
        let ended = select_biased! {
            ended = handle.join().fuse() => Some(ended),
            () = self.cut.wait().fuse() => None,
        };
        match ended {
            Some(ended) => ended,
            None => {
                handle.abort();
                handle.join().await
            }
        }
    }

    /// Waits before a restart; false when the service is to stop.
    async fn wait(&self, crashes: u32) -> bool {
        let until = self.ports.clock.monotonic() + RESTART.ceiling(crashes);
        select_biased! {
            () = self.stop.wait().fuse() => false,
            () = self.cut.wait().fuse() => false,
            () = self.ports.clock.sleep_until(until).fuse() => true,
        }
    }
}
