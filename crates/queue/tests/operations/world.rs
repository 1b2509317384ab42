//! The queue with everything that it needs, and short words for what most tests do.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_inmem::{InMemoryStore, InProcessRateLimiter};
use arbiter_core::lifecycle::{RetryPlan, Rules};
use arbiter_core::mechanism::{RedactionRules, Redactor, SuspicionDetector};
use arbiter_core::model::{
    AgentId, CommandId, Holder, Principal, Role, StoredTask, Task, TaskId, TaskSpec, TenantId, TenantScope,
};
use arbiter_core::ports::{
    AuditLog, ClaimRequest, Documents, Effects, IdSource, LaneQuota, Scope, TaskHistory, TaskReader,
    TaskStore,
};
use arbiter_core::services::{AdmissionRule, Beat, ReviewStage, WorkRef};
use arbiter_queue::traffic::TrafficBoard;
use arbiter_queue::{
    Accepted, ApiKeys, ContentPolicy, FingerprintKey, QueueError, QueuePorts, SecureQueue, Settings,
    Submission,
};
use arbiter_testkit::builders::{agent, agent_principal, spec, tenant, user};
use arbiter_testkit::choosers::AssignAll;
use arbiter_testkit::effects::{RecordingFailures, RecordingWakeups};
use arbiter_testkit::faulty::FaultyTaskStore;
use arbiter_testkit::{ManualClock, RecordingMetrics, SeededEntropy, SeededIds};
use serde::Deserialize;
use serde_json::Value;

use crate::faults::{Breakable, Faults};
use crate::policy::TablePolicy;

/// What a test may choose before the world is made.
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) redaction: RedactionRules,
    pub(crate) rules: Vec<Arc<dyn AdmissionRule>>,
    pub(crate) stages: Vec<Arc<dyn ReviewStage>>,
    /// What follows a failed attempt.
    pub(crate) after_failure: RetryPlan,
}

/// The queue, its ports, and what they recorded.
pub(crate) struct World {
    pub(crate) queue: Arc<SecureQueue>,
    pub(crate) keys: Arc<ApiKeys>,
    pub(crate) policy: Arc<TablePolicy>,
    pub(crate) faults: Arc<Faults>,
    /// What is set for tenants; blank until it is refreshed.
    pub(crate) board: Arc<TrafficBoard>,
    pub(crate) documents: Arc<dyn Documents>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) metrics: Arc<RecordingMetrics>,
    pub(crate) wakeups: Arc<RecordingWakeups>,
    pub(crate) failures: Arc<RecordingFailures>,
    /// The store itself, past the queue and its faults.
    pub(crate) store: Arc<InMemoryStore>,
    ids: Arc<dyn IdSource>,
}

/// A leaf of the audit log with the detail beside it, as they are stored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Leaf {
    pub(crate) tenant: String,
    pub(crate) principal: Option<String>,
    pub(crate) actions: Vec<String>,
    pub(crate) resource: Option<Resource>,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    pub(crate) count: Option<u64>,
    #[serde(skip)]
    pub(crate) body: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Resource {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) version: Option<u64>,
}

impl Leaf {
    /// Actions, outcome and reason in one line.
    pub(crate) fn told(&self) -> String {
        let reason = self.reason.as_deref().unwrap_or("-");
        format!("{} {} {reason}", self.actions.join("+"), self.outcome)
    }
}

impl World {
    /// A world with the defaults, but without limits of rates that the test does not speak of.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan {
            settings: Settings::default(),
            redaction: RedactionRules::default(),
            rules: Vec::new(),
            stages: Vec::new(),
            after_failure: RetryPlan::Retry { after: None },
        };
        change(&mut plan);
        let clock = Arc::new(ManualClock::new());
        let entropy = Arc::new(SeededEntropy::new(1));
        let ids: Arc<dyn IdSource> = Arc::new(SeededIds::new(1));
        let store = Arc::new(InMemoryStore::new(
            Rules::default(),
            Arc::clone(&clock) as _,
            Arc::clone(&entropy) as _,
        ));
        let faults = Arc::new(Faults::default());
        let documents: Breakable<dyn Documents> = breakable(&faults, Arc::clone(&store) as _);
        let documents: Arc<dyn Documents> = Arc::new(documents);
        let keys = Arc::new(ApiKeys::new(
            Arc::clone(&documents),
            Arc::clone(&clock) as _,
            entropy,
        ));
        let limiter = Arc::new(InProcessRateLimiter::new(Arc::clone(&clock) as _));
        let policy = Arc::new(TablePolicy::default());
        let metrics = Arc::new(RecordingMetrics::new());
        let wakeups = Arc::new(RecordingWakeups::new());
        let failures = Arc::new(RecordingFailures::new(plan.after_failure));
        let reader: Breakable<dyn TaskReader> = breakable(&faults, Arc::clone(&store) as _);
        let audit: Breakable<dyn AuditLog> = breakable(&faults, Arc::clone(&store) as _);
        let ports = QueuePorts {
            store: Arc::new(FaultyTaskStore::new(
                Arc::clone(&store) as _,
                Arc::clone(&faults) as _,
            )),
            reader: Arc::new(reader),
            audit: Arc::new(audit),
            authenticator: Arc::clone(&keys) as _,
            authorizer: Arc::clone(&policy) as _,
            limiter: Arc::new(breakable(&faults, limiter as _)),
            wakeups: Arc::clone(&wakeups) as _,
            metrics: Arc::clone(&metrics) as _,
            clock: Arc::clone(&clock) as _,
            ids: Arc::clone(&ids),
            failures: Arc::clone(&failures) as _,
        };
        let content = ContentPolicy::new(
            Redactor::new(&plan.redaction).expect("redaction rules"),
            SuspicionDetector::new().expect("detector"),
        );
        let key = FingerprintKey::from_bytes([7; 32]);
        let board = Arc::new(TrafficBoard::new(&documents, Arc::clone(&wakeups) as _));
        let queue = SecureQueue::new(ports, plan.settings, content, key, plan.rules, plan.stages);
        Self {
            queue: Arc::new(queue.with_board(Arc::clone(&board))),
            board,
            documents,
            keys,
            policy,
            faults,
            clock,
            metrics,
            wakeups,
            failures,
            store,
            ids,
        }
    }

    /// Submits a task of [`submitter`] that must be accepted.
    pub(crate) async fn task(&self) -> TaskId {
        self.task_of(&submitter(), submission()).await
    }

    /// Submits a task that must be accepted.
    pub(crate) async fn task_of(&self, by: &Principal, submission: Submission) -> TaskId {
        let accepted = self.queue.submit(by, submission).await.expect("accepted");
        assert!(!accepted.repeated, "the task is a new one");
        accepted.task
    }

    /// Gives a queued task, which must be the first of its lane, to an agent that has not acknowledged it.
    pub(crate) async fn assigned(&self, task: TaskId, to: AgentId) -> WorkRef {
        self.claim(task, to, false).await
    }

    /// Gives a queued task, which must be the first of its lane, to an agent that works on it.
    pub(crate) async fn running(&self, task: TaskId, to: AgentId) -> WorkRef {
        self.claim(task, to, true).await
    }

    /// Submits a task of [`submitter`] that agent 1 works on.
    pub(crate) async fn work(&self) -> WorkRef {
        let task = self.task().await;
        self.running(task, agent(1)).await
    }

    /// Submits a task of [`submitter`] that agent 1 works on, in a slot that is counted.
    pub(crate) async fn work_in_slot(&self) -> WorkRef {
        let task = self.task().await;
        let chooser = AssignAll {
            acknowledged: true,
            loads: vec![(Scope::Agent(agent(1)), 99)],
            ..AssignAll::to(Holder::Agent(agent(1)))
        };
        self.claim_by(task, chooser).await
    }

    async fn claim(&self, task: TaskId, to: AgentId, acknowledged: bool) -> WorkRef {
        let chooser = AssignAll {
            acknowledged,
            ..AssignAll::to(Holder::Agent(to))
        };
        self.claim_by(task, chooser).await
    }

    async fn claim_by(&self, task: TaskId, chooser: AssignAll) -> WorkRef {
        let stored = self.stored(task).await;
        let request = ClaimRequest {
            lanes: vec![LaneQuota {
                lane: stored.task.lane_now(),
                take: 1,
            }],
            chooser: Arc::new(chooser),
            command: self.command(),
            effects: Effects::default(),
        };
        let store: &dyn TaskStore = &*self.store;
        let claimed = store.claim(request).await.expect("claimed");
        let assigned = claimed.assigned.first().expect("assigned");
        assert_eq!(assigned.stored.task.id, task, "the first of its lane");
        WorkRef {
            task,
            tenant: stored.task.tenant,
            fence: assigned.fence,
            command: self.command(),
        }
    }

    /// A command that was not used yet.
    pub(crate) fn command(&self) -> CommandId {
        self.ids.command()
    }

    /// The same attempt, in a new call.
    pub(crate) fn again(&self, work: WorkRef) -> WorkRef {
        WorkRef {
            command: self.command(),
            ..work
        }
    }

    /// Lets time pass and the store do what is due then.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        let store: &dyn TaskStore = &*self.store;
        while store.due(100).await.expect("due").handled > 0 {}
    }

    pub(crate) async fn find(&self, task: TaskId) -> Option<StoredTask> {
        let reader: &dyn TaskReader = &*self.store;
        let mut found = reader.get(TenantScope::All, &[task]).await.expect("read");
        found.remove(0)
    }

    /// A task that must exist.
    pub(crate) async fn stored(&self, task: TaskId) -> StoredTask {
        self.find(task).await.expect("the task exists")
    }

    /// The changing part of a task that must exist.
    pub(crate) async fn now(&self, task: TaskId) -> Task {
        self.stored(task).await.task
    }

    /// The name of the task's state, with its reason if it has one.
    pub(crate) async fn state(&self, task: TaskId) -> String {
        let state = self.now(task).await.state;
        match state.reason() {
            Some(reason) => format!("{} {reason}", state.name().word()),
            None => state.name().word().to_owned(),
        }
    }

    pub(crate) async fn history(&self, task: TaskId) -> TaskHistory {
        let reader: &dyn TaskReader = &*self.store;
        reader.history(TenantScope::All, task).await.expect("history")
    }

    /// How many tasks there are, of any tenant.
    pub(crate) async fn count(&self) -> usize {
        let reader: &dyn TaskReader = &*self.store;
        let query = arbiter_core::ports::TaskQuery {
            limit: 1_000,
            ..Default::default()
        };
        let page = reader.list(TenantScope::All, query).await.expect("list");
        assert_eq!(page.next, None, "all fit on one page");
        page.tasks.len()
    }

    /// Every leaf of the log, in order.
    pub(crate) async fn leaves(&self) -> Vec<Leaf> {
        let log: &dyn AuditLog = &*self.store;
        let mut leaves = Vec::new();
        loop {
            let entries = log.read(leaves.len() as u64, 1_000).await.expect("read the log");
            if entries.is_empty() {
                return leaves;
            }
            leaves.extend(entries.into_iter().map(|entry| Leaf {
                body: entry.detail.map(|detail| detail.body.value()),
                ..serde_json::from_slice(&entry.leaf).expect("a leaf")
            }));
        }
    }

    /// What the leaves from place `from` on tell.
    pub(crate) async fn told(&self, from: usize) -> Vec<String> {
        let leaves = self.leaves().await;
        leaves.iter().skip(from).map(Leaf::told).collect()
    }

    /// How many leaves there are.
    pub(crate) async fn mark(&self) -> usize {
        self.leaves().await.len()
    }

    /// The leaf that was written last.
    pub(crate) async fn last_leaf(&self) -> Leaf {
        self.leaves().await.pop().expect("a leaf")
    }
}

pub(crate) fn breakable<P: ?Sized>(faults: &Arc<Faults>, inner: Arc<P>) -> Breakable<P> {
    Breakable {
        inner,
        faults: Arc::clone(faults),
    }
}

/// A person that submits, of tenant 1.
pub(crate) fn submitter() -> Principal {
    user(1, [Role::Submitter])
}

/// Another one of the same tenant.
pub(crate) fn neighbour() -> Principal {
    user(2, [Role::Submitter])
}

/// An operator of tenant 1.
pub(crate) fn operator() -> Principal {
    user(3, [Role::Operator])
}

/// An admin, at home in tenant 9.
pub(crate) fn admin() -> Principal {
    in_tenant(9, user(9, [Role::Admin]))
}

/// The principal of agent 1 or 2, of tenant 1.
pub(crate) fn worker(number: u64) -> Principal {
    agent_principal(10 + number, agent(number))
}

/// The same principal, in another tenant.
pub(crate) fn in_tenant(number: u64, principal: Principal) -> Principal {
    Principal {
        tenant: tenant(number),
        ..principal
    }
}

/// The id of the tenant of nearly every test.
pub(crate) const TENANT: TenantId = tenant(1);

/// A submission with every optional part at its default.
pub(crate) fn submission() -> Submission {
    Submission::new(spec())
}

/// A submission with a changed specification.
pub(crate) fn submission_with(change: impl FnOnce(&mut TaskSpec)) -> Submission {
    let mut spec = spec();
    change(&mut spec);
    Submission::new(spec)
}

/// A submission with an idempotency key.
pub(crate) fn keyed(key: &str, submission: Submission) -> Submission {
    Submission {
        idempotency_key: Some(key.to_owned()),
        ..submission
    }
}

/// The code of a refusal, or `accepted`.
pub(crate) fn code<T>(answer: &Result<T, QueueError>) -> &'static str {
    answer.as_ref().map_or_else(QueueError::code, |_| "accepted")
}

/// The codes of all answers.
pub(crate) fn codes(answers: &[Result<Accepted, QueueError>]) -> Vec<&'static str> {
    answers.iter().map(code).collect()
}

/// A heartbeat that tells nothing.
pub(crate) fn beat(work: WorkRef) -> Beat {
    Beat {
        task: work.task,
        tenant: work.tenant,
        fence: work.fence,
        progress: None,
        usage: None,
        not_enforced: None,
    }
}
