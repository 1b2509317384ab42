//! The failure domain as one service: takes failures, begins recoveries, drives them, ends them, opens incidents.

mod deal;
mod end;
mod handler;
mod isolation;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_core::mechanism::Redactor;
use arbiter_core::model::{ComponentName, NodeId, Timestamp};
use arbiter_core::ports::{
    Clock, Documents, IdSource, IncidentNotifier, InfrastructureController, LeaseStore, Metrics, Outbox,
    Wakeups,
};
use tokio::sync::Notify;

use crate::agents::{BreakerSettings, PlanSettings, Restrictions, RetryPlans};
use crate::component;
use crate::escalation::{Escalator, Policies, Policy};
use crate::incident::{Book, BookPorts, IncidentDesk};
use crate::intake::Intake;
use crate::notify::{Courier, CourierPorts, CourierSettings, Targets};
use crate::records::Shelf;
use crate::recovery::{Containment, Runner, RunnerPorts};
use crate::settings::Settings;

/// What the failure domain needs.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct ManagerPorts {
    /// This node.
    pub node: NodeId,
    /// Where components, incidents, policies and restrictions are kept.
    pub documents: Arc<dyn Documents>,
    /// Where notices wait for their targets.
    pub outbox: Arc<dyn Outbox>,
    /// Who has which recovery.
    pub leases: Arc<dyn LeaseStore>,
    /// Who can be told, by name.
    pub notifiers: BTreeMap<String, Arc<dyn IncidentNotifier>>,
    /// What acts on which component.
    pub controllers: BTreeMap<ComponentName, Arc<dyn InfrastructureController>>,
    /// Who is told where no kept policy says so.
    pub policy: Option<Policy>,
    /// Where incidents can be read: `{base}/incidents/{id}`; none when that is not known.
    pub console: Option<String>,
    /// Replaces secrets before anything is kept or sent.
    pub redactor: Arc<Redactor>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn IdSource>,
    /// Measurements.
    pub metrics: Arc<dyn Metrics>,
    /// Wakes dispatchers when an agent may work again.
    pub wakeups: Arc<dyn Wakeups>,
}

/// The failure domain. Any number of nodes run it over one store.
pub struct FailureManager {
    ports: ManagerPorts,
    settings: Arc<Settings>,
    intake: Intake,
    plans: RetryPlans,
    restrictions: Arc<Restrictions>,
    policies: Arc<Policies>,
    book: Book,
    components: Shelf,
    runner: Runner,
    targets: Arc<Targets>,
    /// Failures wait in the intake, or a recovery is to be driven.
    work: Notify,
    /// Incidents changed: what is due for them may be due earlier.
    changed: Arc<Notify>,
    /// There are new notices.
    notices: Arc<Notify>,
    /// Components whose recovery, or end of isolation, waits to be driven here.
    waiting: Mutex<BTreeSet<ComponentName>>,
    /// Those that this process drives now.
    driven: Mutex<BTreeSet<ComponentName>>,
    dead_letters: Mutex<DeadLetters>,
}

/// Dead letters lately.
#[derive(Debug, Default)]
struct DeadLetters {
    since: Option<Timestamp>,
    count: u32,
}

/// Settings with which no manager can be made.
#[derive(Debug, thiserror::Error)]
#[error("failures cannot be handled with these settings: {0}")]
pub struct InvalidManager(String);

impl std::fmt::Debug for FailureManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FailureManager")
            .field("settings", &self.settings)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

impl FailureManager {
    /// The failure domain over these ports.
    ///
    /// # Errors
    /// [`InvalidManager`] says which setting cannot work.
    pub fn new(
        ports: ManagerPorts,
        settings: Settings,
        plans: PlanSettings,
        breaker: BreakerSettings,
    ) -> Result<Arc<Self>, InvalidManager> {
        settings.check().map_err(|problems| {
            let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
            InvalidManager(texts.join("; "))
        })?;
        let documents = &ports.documents;
        let restrictions = Restrictions::new(
            documents,
            Arc::clone(&ports.clock),
            Arc::clone(&ports.wakeups),
            Arc::clone(&ports.metrics),
            breaker,
        );
        let restrictions = Arc::new(restrictions.map_err(|error| InvalidManager(error.to_string()))?);
        let targets: BTreeSet<String> = ports.notifiers.keys().cloned().collect();
        let policies = Arc::new(Policies::new(
            documents,
            Arc::clone(&ports.clock),
            Arc::clone(&ports.ids),
            targets.clone(),
            ports.policy.clone(),
        ));
        let book = Book::new(BookPorts {
            documents: Arc::clone(documents),
            ids: Arc::clone(&ports.ids),
            metrics: Arc::clone(&ports.metrics),
            policies: Arc::clone(&policies),
        });
        let settings = Arc::new(settings);
        let components = Shelf::new(documents, component::KIND);
        let runner = Runner(RunnerPorts {
            node: ports.node,
            records: components.clone(),
            leases: Arc::clone(&ports.leases),
            controllers: Arc::new(ports.controllers.clone()),
            containment: Arc::clone(&restrictions) as Arc<dyn Containment>,
            clock: Arc::clone(&ports.clock),
            ids: Arc::clone(&ports.ids),
            settings: Arc::clone(&settings),
        });
        Ok(Arc::new(Self {
            intake: Intake::new(settings.waiting),
            plans: RetryPlans::new(plans).map_err(|error| InvalidManager(error.to_string()))?,
            settings,
            restrictions,
            policies,
            book,
            components,
            runner,
            targets: Arc::new(Targets::new(targets)),
            work: Notify::new(),
            changed: Arc::default(),
            notices: Arc::default(),
            waiting: Mutex::default(),
            driven: Mutex::default(),
            dead_letters: Mutex::default(),
            ports,
        }))
    }

    /// What people do to incidents.
    pub fn desk(&self) -> IncidentDesk {
        IncidentDesk {
            book: self.book.clone(),
            clock: Arc::clone(&self.ports.clock),
            changed: Arc::clone(&self.changed),
            notices: Arc::clone(&self.notices),
        }
    }

    /// Escalation policies and silences.
    pub const fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// Which agents are restricted.
    pub const fn restrictions(&self) -> &Arc<Restrictions> {
        &self.restrictions
    }

    /// How targets stand.
    pub const fn targets(&self) -> &Arc<Targets> {
        &self.targets
    }

    /// What tells the next level when it is due.
    pub fn escalator(&self) -> Escalator {
        Escalator {
            book: self.book.clone(),
            policies: Arc::clone(&self.policies),
            clock: Arc::clone(&self.ports.clock),
            changed: Arc::clone(&self.changed),
            notices: Arc::clone(&self.notices),
        }
    }

    /// What brings notices to targets.
    pub fn courier(&self, settings: CourierSettings) -> Courier {
        let ports = CourierPorts {
            outbox: Arc::clone(&self.ports.outbox),
            documents: Arc::clone(&self.ports.documents),
            notifiers: self.ports.notifiers.clone(),
            console: self.ports.console.clone(),
            clock: Arc::clone(&self.ports.clock),
            metrics: Arc::clone(&self.ports.metrics),
        };
        Courier::new(
            ports,
            self.book.clone(),
            Arc::clone(&self.targets),
            Arc::clone(&self.notices),
            settings,
        )
    }

    async fn sleep(&self, time: Duration) {
        let until = self.ports.clock.monotonic() + time;
        self.ports.clock.sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests;
