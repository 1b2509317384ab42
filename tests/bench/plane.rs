//! The secure queue over a store, wired as the binary wires it.

use std::sync::Arc;
use std::time::Instant;

use arbiter_adapter_cedar::CedarAuthorizer;
use arbiter_adapter_inmem::{InProcessRateLimiter, InProcessWakeups};
use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore};
use arbiter_adapter_system::{OsEntropy, SystemClock, TokioSpawner, UuidV7Ids};
use arbiter_allocation::Allocation;
use arbiter_core::lifecycle::Rules;
use arbiter_core::mechanism::{RedactionRules, Redactor, SuspicionDetector};
use arbiter_core::model::{
    AgentProfile, Json, LaneId, LaneKey, Operation, Principal, Priority, RecordDraft, Report, Role, Shape,
    Target, TaskKind, TaskSpec, Work,
};
use arbiter_core::ports::{
    AgentRegistry, Assignment, AuditLog, AuthorizationError, Authorizer, ClaimRequest, Documents, Effects,
    IdSource, LaneQuota, NoMetrics, TaskReader, TaskStore, Verdict, Wakeups,
};
use arbiter_core::services::{Allocator as _, Offer, WorkDesk as _, WorkRef};
use arbiter_orchestration::PlainRetry;
use arbiter_queue::{
    ApiKeys, ContentPolicy, FingerprintKey, QueuePorts, RateLimit, SecureQueue, Settings, Submission,
};
use arbiter_testkit::builders::{agent, agent_principal, profile, tenant, user};
use futures_util::future::join_all;
use tempfile::TempDir;

/// What stands between a caller and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policies {
    /// As the binary has it.
    On,
    /// Nothing is asked and nothing is redacted; the audit log is part of the store and stays.
    Off,
}

/// Allows everything.
struct AllowAll;

impl Authorizer for AllowAll {
    fn authorize(&self, _: &Principal, _: Operation, _: &Target) -> Result<Verdict, AuthorizationError> {
        Ok(Verdict::Allowed)
    }
}

#[derive(Clone)]
pub(crate) struct Plane {
    pub(crate) queue: Arc<SecureQueue>,
    pub(crate) store: Arc<dyn TaskStore>,
    pub(crate) allocation: Arc<Allocation>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    registry: Arc<dyn AgentRegistry>,
    place: Arc<dyn Commits>,
}

/// Where the data are, for as long as the store is used.
pub(crate) trait Commits: Send + Sync {
    /// How many commits there were, and how many leaves they hold.
    fn commits(&self) -> (f64, f64);
}

/// A database in a folder.
struct Folder {
    config: SqliteConfig,
    _folder: TempDir,
}

impl Commits for Folder {
    fn commits(&self) -> (f64, f64) {
        let connection = rusqlite::Connection::open(self.config.database()).unwrap();
        connection
            .query_row("SELECT count(*), sum(count) FROM audit_batch", [], |row| {
                Ok((row.get(0)?, row.get::<_, Option<f64>>(1)?.unwrap_or(0.0)))
            })
            .unwrap()
    }
}

pub(crate) fn spec() -> TaskSpec {
    let mut spec = TaskSpec::new(
        TaskKind::new("analysis").unwrap(),
        "Count the words of a text",
        "Count the words of the text in the input and answer with the number of words.",
    );
    spec.input = Json::parse(format!("{{\"text\":\"{}\"}}", "one two three ".repeat(10))).ok();
    spec
}

fn unlimited() -> RateLimit {
    RateLimit {
        per_second: 1_000_000_000,
        burst: 1_000_000_000,
    }
}

impl Plane {
    pub(crate) async fn new(policies: Policies) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path());
        let clock = Arc::new(SystemClock::new());
        let entropy = Arc::new(OsEntropy::new());
        let store = SqliteStore::open(
            &config,
            Rules::default(),
            Arc::clone(&clock) as _,
            Arc::clone(&entropy) as _,
        );
        let store = Arc::new(store.unwrap());
        store.answer_on(&TokioSpawner::new());
        let place = Arc::new(Folder {
            config,
            _folder: folder,
        });
        Self::over(store, place, policies).await
    }

    /// The queue over a store.
    pub(crate) async fn over<S>(store: Arc<S>, place: Arc<dyn Commits>, policies: Policies) -> Self
    where
        S: TaskStore + TaskReader + Documents + AuditLog + AgentRegistry,
    {
        let clock = Arc::new(SystemClock::new());
        let entropy = Arc::new(OsEntropy::new());
        let ids: Arc<dyn IdSource> = Arc::new(UuidV7Ids::new());
        let slots = 1_000;
        let agent = AgentProfile { slots, ..profile(1) };
        store.register(agent, RecordDraft::default()).await.unwrap();
        let wakeups = Arc::new(InProcessWakeups::new());
        let allocation = Arc::new(Allocation::new(
            arbiter_allocation::Settings::default(),
            Arc::clone(&store) as _,
            Arc::new(NoMetrics),
            Arc::clone(&clock) as _,
            Arc::clone(&entropy) as _,
            Arc::clone(&ids),
        ));
        allocation.refresh().await.unwrap();
        let authorizer: Arc<dyn Authorizer> = match policies {
            Policies::On => Arc::new(CedarAuthorizer::new(&[]).unwrap()),
            Policies::Off => Arc::new(AllowAll),
        };
        let content = match policies {
            Policies::On => ContentPolicy::new(
                Redactor::new(&RedactionRules::default()).unwrap(),
                SuspicionDetector::new().unwrap(),
            ),
            Policies::Off => ContentPolicy::none(),
        };
        let ports = QueuePorts {
            store: Arc::clone(&store) as _,
            reader: Arc::clone(&store) as _,
            audit: Arc::clone(&store) as _,
            authenticator: Arc::new(ApiKeys::new(
                Arc::clone(&store) as _,
                Arc::clone(&clock) as _,
                Arc::clone(&entropy) as _,
            )),
            authorizer,
            limiter: Arc::new(InProcessRateLimiter::new(Arc::clone(&clock) as _)),
            wakeups: Arc::clone(&wakeups) as _,
            metrics: Arc::new(NoMetrics),
            clock: Arc::clone(&clock) as _,
            ids: Arc::clone(&ids),
            failures: Arc::new(PlainRetry),
        };
        let settings = Settings {
            submit_per_principal: unlimited(),
            submit_per_tenant: unlimited(),
            calls_per_principal: unlimited(),
            open_tasks_per_tenant: 1_000_000_000,
            ..Settings::default()
        };
        let fingerprints = FingerprintKey::load_or_create(&*store, &*entropy).await.unwrap();
        let registry = Arc::clone(&store) as _;
        let queue = SecureQueue::new(ports, settings, content, fingerprints, Vec::new(), Vec::new());
        Self {
            queue: Arc::new(queue),
            store,
            allocation,
            ids,
            wakeups,
            registry,
            place,
        }
    }

    /// Registers an agent of this number and so many slots; the first one is there already.
    pub(crate) async fn add_agent(&self, number: u64, slots: u32) {
        let profile = AgentProfile {
            slots,
            ..profile(number)
        };
        let registered = self.registry.register(profile, RecordDraft::default()).await;
        registered.unwrap();
        self.allocation.refresh().await.unwrap();
    }

    /// The one lane of all tasks.
    pub(crate) fn lane() -> LaneId {
        LaneKey {
            tenant: tenant(1),
            band: Priority::NORMAL.band(),
            work: Work::Attempt(Shape::of(&spec())),
        }
        .id()
    }

    /// Claims up to `take` tasks for the agent and reports each.
    pub(crate) async fn work(&self, take: u32) -> usize {
        self.work_as(1, take).await
    }

    /// The same for the agent of this number.
    pub(crate) async fn work_as(&self, number: u64, take: u32) -> usize {
        let id = agent(number);
        let who = agent_principal(2, id);
        self.queue.may_claim(&who).await.unwrap();
        let offer = Offer {
            agent: id,
            free: take,
            acknowledges: true,
            without: Vec::new(),
        };
        let request = ClaimRequest {
            lanes: vec![LaneQuota {
                lane: Self::lane(),
                take,
            }],
            chooser: self.allocation.chooser(vec![offer]),
            command: self.ids.command(),
            effects: Effects::of(RecordDraft::by(who.id, Operation::WorkClaim)),
        };
        let claimed = self.store.claim(request).await.unwrap();
        let count = claimed.assigned.len();
        let reports = claimed.assigned.into_iter();
        let reports = reports.map(|assignment| self.report(&who, assignment));
        join_all(reports).await;
        count
    }

    /// Reports success of what was assigned to an agent.
    pub(crate) async fn report(&self, who: &Principal, assignment: Assignment) {
        let work = WorkRef {
            task: assignment.stored.task.id,
            tenant: tenant(1),
            fence: assignment.fence,
            command: self.ids.command(),
        };
        let report = Report {
            output: Json::parse("{\"words\":30,\"note\":\"counted by splitting at white space\"}").ok(),
            ..Report::default()
        };
        let task = self.queue.report(who, work, report).await.unwrap();
        assert!(task.state.is_closed());
    }

    pub(crate) async fn submit_one(&self) {
        let who = user(1, [Role::Submitter]);
        self.queue.submit(&who, Submission::new(spec())).await.unwrap();
    }

    /// Runs `callers` that each do `each` lock-step lives; gives lives per second and calls per commit.
    pub(crate) async fn lives(&self, callers: u64, each: u64) -> (f64, f64) {
        self.timed(callers, each, |plane| async move {
            plane.submit_one().await;
            // a neighbour may have taken the task already, and left one behind
            while plane.work(1).await == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Submits so many tasks in one call.
    pub(crate) async fn submit_batch(&self, count: usize) {
        let who = user(1, [Role::Submitter]);
        let submissions = (0..count).map(|_| Submission::new(spec())).collect();
        let answers = self.queue.submit_many(&who, submissions, true).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }

    /// Runs `callers` that each submit `each` tasks one by one; gives submits per second and calls per commit.
    pub(crate) async fn submits(&self, callers: u64, each: u64) -> (f64, f64) {
        self.timed(callers, each, |plane| async move { plane.submit_one().await })
            .await
    }

    async fn timed<F>(
        &self,
        callers: u64,
        each: u64,
        work: impl Fn(Self) -> F + Copy + Send + 'static,
    ) -> (f64, f64)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (commits, leaves) = self.place.commits();
        let start = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..callers {
            let plane = self.clone();
            running.spawn(async move {
                for _ in 0..each {
                    work(plane.clone()).await;
                }
            });
        }
        while let Some(done) = running.join_next().await {
            done.unwrap();
        }
        let rate = (callers * each) as f64 / start.elapsed().as_secs_f64();
        let (commits_after, leaves_after) = self.place.commits();
        (rate, (leaves_after - leaves) / (commits_after - commits))
    }
}
