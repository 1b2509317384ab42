//! Whether the process can do its work: its services, and the store that they depend on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_adapter_oidc::OidcTokens;
use arbiter_api::{Readiness, ReadinessPart, ReadinessSource};
use arbiter_core::model::NodeId;
use arbiter_core::ports::{Clock, LeaseStore};
use arbiter_orchestration::Stop;
use arbiter_orchestration::supervisor::{Service, ServiceState, Standing};
use async_trait::async_trait;
use futures_util::{FutureExt as _, select_biased};

use crate::agent_registry::Elsewhere;
use crate::engine::registry::Hosted;
use crate::identities;

/// How often the node writes that it is there.
const EVERY: Duration = Duration::from_secs(10);
/// How soon it tries again when the store did not take it.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// A node that has not written for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(30);

type States = Arc<dyn Fn() -> Vec<ServiceState> + Send + Sync>;

/// What is known of the process's health.
#[derive(Default)]
pub(crate) struct Health {
    services: Mutex<Option<States>>,
    /// Why the store did not take the last write; none before the first.
    store: Mutex<Option<Result<(), String>>>,
    /// Who vouches for callers with tokens. Without it the node does all its other work.
    provider: Option<Arc<OidcTokens>>,
    /// Who knows the agents, where that is another arbiter. Without it the node does all its other work.
    registry: Option<Elsewhere>,
    /// How the agents that the process runs itself stand with the registry.
    hosted: Mutex<Option<Arc<Hosted>>>,
}

impl Health {
    /// Nothing is known yet, but who vouches for callers with tokens, and who knows the agents.
    pub(crate) fn new(provider: Option<Arc<OidcTokens>>, registry: Option<Elsewhere>) -> Self {
        Self {
            provider,
            registry,
            ..Self::default()
        }
    }

    /// Tells of the agents that the process runs itself.
    pub(crate) fn hosts(&self, hosted: Arc<Hosted>) {
        *lock(&self.hosted) = Some(hosted);
    }

    /// Tells how services stand from now on; until then the process is starting.
    pub(crate) fn started(&self, states: States) {
        *lock(&self.services) = Some(states);
    }
}

impl ReadinessSource for Health {
    fn readiness(&self) -> Readiness {
        let store = match &*lock(&self.store) {
            Some(Ok(())) => None,
            Some(Err(why)) => Some(why.clone()),
            None => Some("nothing was written yet".to_owned()),
        };
        let mut parts = vec![ReadinessPart {
            name: "store".to_owned(),
            ready: store.is_none(),
            why: store,
        }];
        let states = lock(&self.services).clone();
        match states {
            Some(states) => parts.extend(states().iter().map(of_service)),
            None => parts.push(ReadinessPart {
                name: "services".to_owned(),
                ready: false,
                why: Some("starting".to_owned()),
            }),
        }
        parts.extend(self.provider.as_ref().map(|provider| ReadinessPart {
            name: "identity provider".to_owned(),
            ready: true,
            why: identities::trouble(&provider.status()),
        }));
        parts.extend(self.registry.as_ref().map(|registry| ReadinessPart {
            name: "agent registry".to_owned(),
            ready: true,
            why: registry.trouble(),
        }));
        let hosted = lock(&self.hosted).clone().filter(|hosted| !hosted.is_empty());
        parts.extend(hosted.map(|hosted| ReadinessPart {
            name: "hosted agents".to_owned(),
            ready: true,
            why: hosted.trouble(),
        }));
        Readiness {
            ready: parts.iter().all(|part| part.ready),
            parts,
        }
    }
}

fn of_service(state: &ServiceState) -> ReadinessPart {
    let why = match state.standing {
        Standing::Running => None,
        Standing::Waiting => Some("not started yet".to_owned()),
        Standing::Restarting { crashes } => Some(format!("crashed {crashes} times in a row; starts again")),
        Standing::Stopped => Some("stopped".to_owned()),
    };
    ReadinessPart {
        name: state.name.to_owned(),
        ready: why.is_none(),
        why,
    }
}

/// Writes from time to time that this node is there, which shows whether the store takes writes.
pub(crate) struct Presence {
    pub(crate) node: NodeId,
    pub(crate) leases: Arc<dyn LeaseStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) health: Arc<Health>,
}

impl Presence {
    fn name_of_lease(&self) -> String {
        format!("node/{}", self.node)
    }

    async fn write(&self) -> bool {
        let taken = self
            .leases
            .take(&self.name_of_lease(), self.node, GONE_AFTER)
            .await;
        let noted = taken.map(|_| ()).map_err(|error| error.to_string());
        let taken = noted.is_ok();
        if let Err(why) = &noted {
            tracing::error!(
                event = "store_unavailable",
                error = why,
                "the store takes no writes"
            );
        }
        *lock(&self.health.store) = Some(noted);
        taken
    }
}

#[async_trait]
impl Service for Presence {
    fn name(&self) -> &'static str {
        "presence"
    }

    async fn start(&self) -> Result<(), arbiter_core::ports::BoxError> {
        let written = self.write().await;
        if written {
            Ok(())
        } else {
            Err("the store takes no writes".into())
        }
    }

    async fn run(&self, stop: Stop) {
        let mut wait = EVERY;
        loop {
            let until = self.clock.monotonic() + wait;
            select_biased! {
                () = stop.wait().fuse() => break,
                () = self.clock.sleep_until(until).fuse() => {}
            }
            wait = if self.write().await { EVERY } else { AFTER_ERROR };
        }
        if let Err(error) = self.leases.give_back(&self.name_of_lease(), self.node).await {
            tracing::warn!(event = "presence_not_ended", error = %error, "the node is taken for present until its last word is too old");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
