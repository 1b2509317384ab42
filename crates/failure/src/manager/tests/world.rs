//! The domain over one in-memory store, with time that a test moves.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_core::lifecycle::Rules;
use arbiter_core::mechanism::{RedactionRules, Redactor};
use arbiter_core::model::{
    AgentId, ComponentFailure, Failure, FailureClass, FailureKind, Severity, Shape, TaskKind, TenantId,
    TenantScope, Timestamp,
};
use arbiter_core::ports::{
    Applied, Candidate, Choice, Chooser, Clearance, Clock, Document, DocumentError, DocumentKey,
    DocumentQuery, DocumentWrite, Documents, Effects, IncidentNotifier, InfrastructureController,
    RegistryError, Retry, StoreError,
};
use arbiter_core::services::{
    Allocator, AttemptFailure, AttemptOutcome, FailureEvent, FailureHandler as _, Offer,
};
use arbiter_testkit::builders::{agent, component, failure, kind, node, principal, task, tenant};
use arbiter_testkit::effects::RecordingWakeups;
use arbiter_testkit::{ManualClock, RecordingMetrics, SeededEntropy, SeededIds, Stop};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{Either, join3, select};

use super::controller::Scripted;
use super::target::Target;
use crate::agents::{BreakerSettings, PlanSettings, RestrictedAllocator};
use crate::escalation::{Level, Policy};
use crate::incident::{Incident, IncidentDesk, IncidentFilter};
use crate::manager::{FailureManager, ManagerPorts};
use crate::notify::CourierSettings;
use crate::settings::Settings;

pub(super) const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(super) struct World {
    pub(super) manager: Arc<FailureManager>,
    pub(super) desk: IncidentDesk,
    parts: Parts,
}

/// What all nodes share.
pub(super) struct Parts {
    pub(super) controller: Arc<Scripted>,
    pub(super) target: Arc<Target>,
    pub(super) mail: Arc<Target>,
    pub(super) metrics: Arc<RecordingMetrics>,
    pub(super) documents: Arc<Faulty>,
    store: Arc<InMemoryStore>,
    clock: Arc<ManualClock>,
    ids: Arc<SeededIds>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let dynamic: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let store = Arc::new(InMemoryStore::new(
            Rules::default(),
            Arc::clone(&dynamic),
            Arc::new(SeededEntropy::new(1)),
        ));
        let documents = Arc::new(Faulty {
            inner: Arc::clone(&store) as _,
            fails: AtomicBool::new(false),
            interleaves: AtomicBool::new(false),
        });
        let parts = Parts {
            controller: Arc::new(Scripted::new()),
            target: Arc::new(Target::new()),
            mail: Arc::new(Target::new()),
            metrics: Arc::new(RecordingMetrics::new()),
            ids: Arc::new(SeededIds::new(1)),
            documents,
            store,
            clock,
        };
        let manager = parts.node(1);
        Self {
            desk: manager.desk(),
            manager,
            parts,
        }
    }

    pub(super) fn another_node(&self) -> Arc<FailureManager> {
        self.parts.node(2)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn failure(&self, name: &str, kind: FailureKind) -> ComponentFailure {
        ComponentFailure::new(component(name), kind, "it fails", self.now())
    }

    pub(super) fn report(&self, name: &str, kind: FailureKind, severity: Option<Severity>) {
        let mut failure = self.failure(name, kind);
        failure.severity = severity;
        self.manager.report(FailureEvent::Component(failure));
    }

    pub(super) async fn fail(&self, name: &str, kind: FailureKind, times: usize) {
        for _ in 0..times {
            self.report(name, kind, None);
        }
        self.manager.round().await.unwrap();
    }

    pub(super) fn attempt_fails(&self, agent: AgentId, class: FailureClass) {
        self.manager.report(FailureEvent::Attempt {
            task: task(1),
            tenant: tenant(1),
            kind: kind(),
            agent,
            failure: Failure { class, ..failure() },
        });
    }

    pub(super) fn plan_last_attempt(&self) {
        self.manager.plan(&AttemptFailure {
            task: task(1),
            tenant: tenant(1),
            kind: &kind(),
            agent: Some(agent(1)),
            attempts: 3,
            max_attempts: 3,
            failure: &failure(),
        });
    }

    /// Runs a future to its end, moving time on whenever it waits.
    pub(super) fn with_time<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..100_000 {
            if let Some(done) = (&mut future).now_or_never() {
                return done;
            }
            self.clock.advance_to_next_sleeper();
        }
        panic!("it does not end");
    }

    /// Goes on with what is under way for a component, to its end.
    pub(super) fn drive(&self, name: &str) {
        self.with_time(self.manager.go_on(&component(name))).unwrap();
    }

    /// Goes on for a while only, then drops what is under way, as a crash does.
    pub(super) fn drive_for(&self, name: &str, time: Duration) {
        let until = self.clock.monotonic() + time;
        let name = component(name);
        let mut driving = pin!(self.manager.go_on(&name));
        while self.clock.monotonic() < until {
            assert!((&mut driving).now_or_never().is_none(), "it has ended already");
            self.clock.advance_to_next_sleeper();
        }
    }

    pub(super) async fn outcomes(&self, name: &str) -> Vec<String> {
        let kept = self.manager.component(&component(name)).await.unwrap();
        kept.body
            .past
            .iter()
            .map(|past| past.outcome.word().to_owned())
            .collect()
    }

    pub(super) async fn incidents(&self, filter: IncidentFilter) -> Vec<Incident> {
        self.desk.list(filter).await.unwrap().incidents
    }

    /// Brings what is due to its targets.
    pub(super) async fn deliver(&self) {
        let courier = self.manager.courier(CourierSettings::default());
        while courier.round().await.unwrap() > 0 {}
    }

    /// Tells the levels that are due, and brings that to the targets.
    pub(super) async fn escalate(&self) {
        self.manager.escalator().round().await.unwrap();
        self.deliver().await;
    }

    pub(super) async fn policy(&self, policy: &Policy) {
        let put = self
            .manager
            .policies()
            .put("first", policy.clone(), None, principal(1));
        put.await.unwrap();
    }

    pub(super) async fn levels(&self, levels: &[(&str, u32)]) {
        let levels = levels.iter().map(|(target, after_seconds)| Level {
            targets: BTreeSet::from([(*target).to_owned()]),
            after_seconds: *after_seconds,
            repeat: None,
            hours: None,
        });
        self.policy(&Policy {
            levels: levels.collect(),
            ..Policy::plain([])
        })
        .await;
    }

    /// Lets time pass, and whoever waits for it go on.
    pub(super) async fn pass(&self, time: Duration) {
        const STEPS: u32 = 50;
        for _ in 0..STEPS {
            self.clock.advance(time / STEPS);
            tokio::task::yield_now().await;
        }
    }

    /// Runs all services beside `act`.
    pub(super) async fn running(self, act: impl AsyncFnOnce(&Self)) {
        let stop = Stop::new();
        let (escalator, courier) = (
            self.manager.escalator(),
            self.manager.courier(CourierSettings::default()),
        );
        let services = pin!(join3(
            self.manager.run(&stop),
            escalator.run(&stop),
            courier.run(&stop)
        ));
        let acting = pin!(act(&self));
        match select(services, acting).await {
            Either::Left(_) => panic!("the services have ended"),
            Either::Right(((), services)) => {
                stop.stop();
                services.await;
            }
        }
    }

    /// What becomes of an offer of four free slots.
    fn through(&self, manager: &Arc<FailureManager>, agent: AgentId) -> Option<Offer> {
        let probe = Arc::new(Probe::default());
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let allocator = RestrictedAllocator::new(Arc::clone(&probe) as _, Arc::clone(manager), clock);
        allocator.chooser(vec![Offer {
            agent,
            free: 4,
            acknowledges: true,
            without: Vec::new(),
        }]);
        let offers = probe.0.lock().unwrap();
        offers.first().cloned()
    }

    pub(super) fn offered(&self, manager: &Arc<FailureManager>, agent: AgentId) -> Option<u32> {
        self.through(manager, agent).map(|offer| offer.free)
    }

    pub(super) fn without(&self, manager: &Arc<FailureManager>, agent: AgentId) -> Vec<TaskKind> {
        self.through(manager, agent).expect("it is offered").without
    }
}

impl std::ops::Deref for World {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Parts {
    fn node(&self, number: u64) -> Arc<FailureManager> {
        let notifiers: BTreeMap<String, Arc<dyn IncidentNotifier>> = [
            (
                "pager".to_owned(),
                Arc::clone(&self.target) as Arc<dyn IncidentNotifier>,
            ),
            (
                "mail".to_owned(),
                Arc::clone(&self.mail) as Arc<dyn IncidentNotifier>,
            ),
        ]
        .into();
        let controller = Arc::clone(&self.controller) as Arc<dyn InfrastructureController>;
        let ports = ManagerPorts {
            node: node(number),
            documents: Arc::clone(&self.documents) as _,
            outbox: Arc::clone(&self.store) as _,
            leases: Arc::clone(&self.store) as _,
            notifiers,
            controllers: [(component("db"), controller)].into(),
            policy: Some(Policy::plain(["pager".to_owned()])),
            console: None,
            redactor: Arc::new(Redactor::new(&RedactionRules::default()).unwrap()),
            clock: Arc::clone(&self.clock) as _,
            ids: Arc::clone(&self.ids) as _,
            metrics: Arc::clone(&self.metrics) as _,
            wakeups: Arc::new(RecordingWakeups::new()),
        };
        let settings = Settings::default();
        FailureManager::new(
            ports,
            settings,
            PlanSettings::default(),
            BreakerSettings::default(),
        )
        .unwrap()
    }
}

/// An allocator that keeps what it is offered.
#[derive(Default)]
struct Probe(Mutex<Vec<Offer>>);

struct Nobody;

impl Chooser for Nobody {
    fn choose(&self, candidates: &[Candidate], _: Timestamp) -> Vec<Option<Choice>> {
        candidates.iter().map(|_| None).collect()
    }
}

#[async_trait]
impl Allocator for Probe {
    fn capacity(&self, shapes: &[(TenantId, Shape)], _: &[Offer]) -> Vec<u32> {
        vec![0; shapes.len()]
    }

    fn chooser(&self, offers: Vec<Offer>) -> Arc<dyn Chooser> {
        *self.0.lock().unwrap() = offers;
        Arc::new(Nobody)
    }

    async fn learn(&self, _: Vec<AttemptOutcome>) -> Result<(), RegistryError> {
        Ok(())
    }
}

/// Documents that can be away.
pub(super) struct Faulty {
    inner: Arc<dyn Documents>,
    fails: AtomicBool,
    /// Others get their turn before each call, as with a real store.
    interleaves: AtomicBool,
}

impl Faulty {
    pub(super) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    pub(super) fn interleave(&self) {
        self.interleaves.store(true, Ordering::Relaxed);
    }

    async fn check(&self) -> Result<(), StoreError> {
        if self.interleaves.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Backend {
                operation: "documents",
                applied: Applied::No,
                retry: Retry::Transient,
                source: "away".into(),
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Documents for Faulty {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.check().await?;
        self.inner.get(scope, keys).await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        self.check().await?;
        self.inner.write(writes, effects).await
    }

    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError> {
        self.check().await?;
        self.inner.clear(clearance).await
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        self.check().await?;
        self.inner.list(scope, query).await
    }
}
