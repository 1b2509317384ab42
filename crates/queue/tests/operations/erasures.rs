//! Erasures: a tenant, a person, a task; what goes, what stays, and that a crash at any step loses nothing.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_inmem::InMemoryArtifacts;
use arbiter_core::model::{
    AgentProfile, Band, PrincipalId, PrincipalKind, RecordDraft, Role, TaskId, TenantId, TenantScope,
};
use arbiter_core::ports::{
    AgentQuery, AgentRegistry, ArtifactStore, AuditLog as _, Bytes, Credential, DocumentQuery, TaskQuery,
    TaskReader,
};
use arbiter_core::services::{WorkDesk as _, WorkError};
use arbiter_queue::erasures::{
    Eraser, EraserParts, EraserSettings, ErasureRound, ErasureStage, ErasureSubject, Erasures,
};
use arbiter_queue::tenants::{NewTenant, Tenant, TenantLimits, TenantSettings, Tenants};
use arbiter_queue::{ApiKeys, Directory, KeyDesk, NewPrincipal, RecordError};
use arbiter_testkit::builders::{agent, node, profile, report};

use crate::world::{TENANT, World, admin, in_tenant, operator, submission_with, submitter, worker};

/// A secret that stands in whatever is to be erased.
pub(crate) const CANARY: &str = "canary-7f3a";

pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) erasures: Arc<Erasures>,
    tenants: Arc<Tenants>,
    keys: Arc<ApiKeys>,
    artifacts: Arc<InMemoryArtifacts>,
    settings: EraserSettings,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let world = World::new();
        let erasures = Arc::new(Erasures::new(
            Arc::clone(&world.queue),
            &world.documents,
            world.keys.principals().clone(),
        ));
        let tenants = Arc::new(Tenants::new(
            Arc::clone(&world.queue),
            Arc::clone(&world.board),
            &world.documents,
            Arc::clone(&erasures),
            TenantSettings::of(TENANT),
        ));
        tenants.establish().await.expect("established");
        Self {
            keys: Arc::clone(&world.keys),
            artifacts: Arc::new(InMemoryArtifacts::new(1 << 20)),
            world,
            erasures,
            tenants,
            settings: EraserSettings {
                settle: Duration::ZERO,
                ..EraserSettings::default()
            },
        }
    }

    /// An eraser that knows nothing but what is stored: as after a crash.
    fn eraser(&self) -> Eraser {
        let store = &self.world.store;
        let parts = EraserParts {
            erasures: Arc::clone(&self.erasures),
            tenants: Arc::clone(&self.tenants),
            keys: Arc::clone(&self.keys),
            store: Arc::clone(store) as _,
            reader: Arc::clone(store) as _,
            agents: Arc::clone(store) as _,
            artifacts: Arc::clone(&self.artifacts) as _,
            outbox: Arc::clone(store) as _,
            audit: Arc::clone(store) as _,
            leases: Arc::clone(store) as _,
            wakeups: Arc::clone(&self.world.wakeups) as _,
            clock: Arc::clone(&self.world.clock) as _,
            node: node(1),
        };
        Eraser::new(parts, self.settings)
    }

    /// Rounds until nothing moves without waiting.
    pub(crate) async fn erase(&self) -> ErasureRound {
        let eraser = self.eraser();
        for _ in 0..200 {
            let round = eraser.round().await.expect("a round");
            if !round.wait.is_zero() {
                return round;
            }
        }
        panic!("the erasure does not end");
    }

    async fn tenant(&self, name: &str) -> Tenant {
        let new = NewTenant {
            name: name.to_owned(),
            weight: 1,
            limits: TenantLimits::default(),
        };
        let made = self.tenants.create(&admin(), new, None).await;
        made.expect("made").record
    }

    async fn suspended(&self, id: TenantId) {
        let suspended = self.tenants.suspend(&admin(), id, None, "left".to_owned()).await;
        suspended.expect("suspended");
    }

    /// A principal of a tenant, with a key that works.
    async fn person(&self, tenant: TenantId, role: Role) -> (PrincipalId, Credential) {
        let directory = Directory::new(Arc::clone(&self.world.queue), self.keys.principals().clone());
        let new = NewPrincipal {
            name: CANARY.to_owned(),
            roles: [role].into(),
            ..somebody()
        };
        let made = directory.create(&admin(), tenant, new, None).await;
        let made = made.expect("made").record;
        let id = made.principal.id;
        let desk = KeyDesk::new(Arc::clone(&self.world.queue), Arc::clone(&self.keys));
        let key = desk.create(&admin(), tenant, id, None, None).await;
        let key = key.expect("a key").key.expect("a new one");
        (id, Credential::ApiKey(key.text))
    }

    async fn secret_task(&self, by: &arbiter_core::model::Principal) -> TaskId {
        let submission = submission_with(|spec| CANARY.clone_into(&mut spec.instructions));
        self.world.task_of(by, submission).await
    }

    async fn file(&self, tenant: TenantId) {
        let put = self.artifacts.put(tenant, &mut Bytes::new(CANARY), 100).await;
        put.expect("stored");
    }

    async fn agent(&self, number: u64, tenant: Option<TenantId>) {
        let profile = AgentProfile {
            tenant,
            ..profile(number)
        };
        let store: &dyn AgentRegistry = &*self.world.store;
        store
            .register(profile, RecordDraft::default())
            .await
            .expect("registered");
    }

    /// What is left of a tenant: tasks, files, agents of its own, documents that are neither its record nor erasures,
    /// details of audit entries.
    async fn left(&self, tenant: TenantId) -> [usize; 5] {
        let store = &self.world.store;
        let scope = TenantScope::Tenant(tenant);
        let query = TaskQuery {
            limit: 1_000,
            ..TaskQuery::default()
        };
        let tasks = TaskReader::list(&**store, scope, query)
            .await
            .expect("tasks")
            .tasks
            .len();
        let files = self.artifacts.list(tenant, None, 1_000).await.expect("files");
        let registry: &dyn AgentRegistry = &**store;
        let query = AgentQuery {
            after: None,
            limit: 1_000,
        };
        let agents = registry.list(scope, query).await.expect("agents").agents;
        let agents = agents.iter().filter(|agent| agent.profile.tenant == Some(tenant));
        let mut documents = 0;
        for kind in [
            "principal",
            "pause",
            "hook",
            "schedule",
            "hook_log",
            "schedule_state",
        ] {
            let query = DocumentQuery {
                kind,
                index: None,
                after: None,
                limit: 1_000,
            };
            documents += self
                .world
                .documents
                .list(scope, query)
                .await
                .expect("documents")
                .len();
        }
        let leaves = self.world.leaves().await;
        let details = leaves
            .iter()
            .filter(|leaf| leaf.tenant == tenant.to_string() && leaf.body.is_some());
        [
            tasks,
            files.artifacts.len(),
            agents.count(),
            documents,
            details.count(),
        ]
    }

    /// Whether the secret stands in a detail of the audit log.
    async fn is_told(&self) -> bool {
        let leaves = self.world.leaves().await;
        leaves
            .iter()
            .filter_map(|leaf| leaf.body.as_ref())
            .any(|body| body.to_string().contains(CANARY))
    }
}

fn told<T>(answer: &Result<T, RecordError>) -> &'static str {
    answer.as_ref().map_or_else(RecordError::code, |_| "done")
}

fn somebody() -> NewPrincipal {
    NewPrincipal {
        name: "ann".to_owned(),
        kind: PrincipalKind::User,
        roles: [Role::Submitter].into(),
        agent: None,
        kinds: None,
        highest_band: Band::HIGHEST,
    }
}

pub(crate) fn why() -> String {
    "asked for".to_owned()
}

/// A tenant with something of everything, and a person of it.
async fn furnished(bench: &Bench) -> (TenantId, Credential) {
    let tenant = bench.tenant(CANARY).await.id;
    let (person, key) = bench.person(tenant, Role::Submitter).await;
    let mut by = submitter();
    (by.id, by.tenant) = (person, tenant);
    for _ in 0..5 {
        bench.secret_task(&by).await;
    }
    bench.file(tenant).await;
    bench.agent(7, Some(tenant)).await;
    bench.suspended(tenant).await;
    (tenant, key)
}

#[tokio::test]
async fn a_deleted_tenant_is_refused_for_good_and_its_data_goes() {
    let bench = Bench::new().await;
    let (tenant, key) = furnished(&bench).await;
    let neighbour = bench.secret_task(&submitter()).await;
    bench.file(TENANT).await;
    bench.agent(8, None).await;
    let before = bench.left(tenant).await;
    assert!(before.iter().all(|count| *count > 0), "{before:?}");

    let deleted = bench
        .tenants
        .delete(&admin(), tenant, None, why())
        .await
        .expect("deleted");
    assert!(
        deleted
            .deleted
            .is_some_and(|deletion| deletion.erased_at.is_none())
    );
    let again = bench
        .tenants
        .delete(&admin(), tenant, None, why())
        .await
        .expect("a repeat");
    assert_eq!(again.revision, deleted.revision);
    let round = bench.erase().await;
    assert_eq!(round.open, 0);

    assert_eq!(bench.left(tenant).await, [0; 5]);
    let gone = bench.tenants.get(&admin(), tenant).await.expect("what stays");
    assert_eq!((gone.name.as_str(), gone.weight), ("", 1));
    assert!(gone.deleted.is_some_and(|deletion| deletion.erased_at.is_some()));
    let listed = bench.tenants.list(&admin(), None, 100).await.expect("listed");
    assert!(listed.tenants.iter().all(|found| found.id != tenant));
    let refused = bench.world.queue.authenticate(&key, "test").await;
    assert_eq!(refused.map_err(|error| error.code()).err(), Some("auth_failed"));
    let by = in_tenant(0, submitter());
    let by = arbiter_core::model::Principal { tenant, ..by };
    let refused = bench.world.queue.submit(&by, submission_with(|_| {})).await;
    assert!(
        refused.is_err(),
        "a principal that comes otherwise is refused as well"
    );

    let resumed = bench.tenants.resume(&admin(), tenant, None, why()).await;
    assert_eq!(told(&resumed), "invalid_value");
    assert!(bench.world.find(neighbour).await.is_some(), "others' tasks stay");
    assert_eq!(bench.left(TENANT).await[1], 1, "others' files stay");
    let registry: &dyn AgentRegistry = &*bench.world.store;
    let agents = registry.get(&[agent(8)]).await.expect("agents");
    assert!(agents[0].is_some(), "agents of all tenants stay");
}

#[tokio::test]
async fn only_a_suspended_tenant_that_is_not_ones_own_is_deleted() {
    let bench = Bench::new().await;
    let tenant = bench.tenant("a").await.id;
    let delete = async |who, id| told(&bench.tenants.delete(&who, id, None, why()).await);
    assert_eq!(delete(admin(), tenant).await, "invalid_value", "not suspended");
    bench.suspended(tenant).await;
    assert_eq!(delete(operator(), tenant).await, "not_found");
    assert_eq!(delete(operator(), TENANT).await, "forbidden");
    assert_eq!(delete(admin(), admin().tenant).await, "not_found");
    let stale = bench.tenants.delete(&admin(), tenant, Some(1), why()).await;
    assert_eq!(told(&stale), "precondition_failed");
    let silent = bench.tenants.delete(&admin(), tenant, None, String::new()).await;
    assert_eq!(told(&silent), "invalid_task");
    assert_eq!(bench.erase().await.finished, 0, "a refused call asks for nothing");
    assert_eq!(delete(admin(), tenant).await, "done");
    let made = Directory::new(Arc::clone(&bench.world.queue), bench.keys.principals().clone());
    let made = made.create(&admin(), tenant, somebody(), None).await;
    assert_eq!(told(&made), "not_found", "nobody joins a deleted tenant");
}

#[tokio::test]
async fn an_erasure_waits_for_the_slot_of_a_running_attempt() {
    let bench = Bench::new().await;
    let work = bench.world.work_in_slot().await;
    let erased = bench
        .erasures
        .request(&operator(), TENANT, ErasureSubject::Task(work.task), why())
        .await;
    let id = erased.expect("asked").erasure.id;
    let round = bench.erase().await;
    assert_eq!((round.open, round.wait), (1, bench.settings.pause));
    assert_eq!(bench.world.state(work.task).await, "cancelled");
    let late = bench.world.queue.report(&worker(1), work, report()).await;
    assert!(
        matches!(late, Err(WorkError::Refused(_))),
        "its late report is refused: {late:?}"
    );
    bench.world.pass(Duration::from_secs(60)).await;
    assert_eq!(bench.erase().await.open, 0);
    assert!(bench.world.find(work.task).await.is_none());
    let done = bench.erasures.get(&operator(), TENANT, id).await.expect("kept");
    assert_eq!(done.stage, ErasureStage::Done);
    bench.world.clock.advance(Duration::from_hours(24 * 31));
    let gone = bench.erasures.get(&operator(), TENANT, id).await;
    assert_eq!(told(&gone), "not_found", "the record of it goes after a month");
}

#[tokio::test]
async fn a_person_goes_with_what_it_submitted() {
    let mut bench = Bench::new().await;
    bench.settings.tasks = 2;
    let (person, key) = bench.person(TENANT, Role::Submitter).await;
    let mut by = submitter();
    by.id = person;
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(bench.secret_task(&by).await);
        bench.world.task().await;
    }
    bench
        .world
        .queue
        .cancel(&operator(), own[1], None, CANARY.to_owned())
        .await
        .expect("cancelled");
    assert!(bench.is_told().await);

    let subject = ErasureSubject::Principal(person);
    bench
        .erasures
        .request(&operator(), TENANT, subject, why())
        .await
        .expect("asked");
    let refused = bench.world.queue.authenticate(&key, "test").await;
    assert!(refused.is_err(), "it can do nothing from now on");
    assert_eq!(bench.erase().await.open, 0);
    for task in own {
        assert!(bench.world.find(task).await.is_none());
    }
    assert_eq!(bench.world.count().await, 5, "what others submitted stays");
    assert!(!bench.is_told().await);
    assert!(
        bench
            .keys
            .principals()
            .get(TENANT, person)
            .await
            .expect("read")
            .is_none()
    );
    assert_eq!(bench.keys.list(person).await.expect("keys"), []);
}

#[tokio::test]
async fn who_may_ask_for_an_erasure_is_checked() {
    let bench = Bench::new().await;
    let task = bench.world.task().await;
    let ask = async |who, tenant, subject| told(&bench.erasures.request(&who, tenant, subject, why()).await);
    let of_task = ErasureSubject::Task(task);
    assert_eq!(ask(submitter(), TENANT, of_task).await, "forbidden");
    assert_eq!(ask(in_tenant(2, operator()), TENANT, of_task).await, "forbidden");
    let elsewhere = in_tenant(2, operator());
    assert_eq!(
        ask(elsewhere.clone(), elsewhere.tenant, of_task).await,
        "not_found"
    );
    assert_eq!(
        ask(operator(), TENANT, ErasureSubject::Tenant).await,
        "invalid_value"
    );
    let (boss, _) = bench.person(TENANT, Role::Admin).await;
    assert_eq!(
        ask(operator(), TENANT, ErasureSubject::Principal(boss)).await,
        "forbidden"
    );
    let (own, _) = bench.person(TENANT, Role::Operator).await;
    let mut itself = operator();
    itself.id = own;
    assert_eq!(
        ask(itself, TENANT, ErasureSubject::Principal(own)).await,
        "invalid_value"
    );
    let unknown = ErasureSubject::Principal(PrincipalId::from_bytes([200; 16]));
    assert_eq!(ask(operator(), TENANT, unknown).await, "not_found");
    let silent = bench
        .erasures
        .request(&operator(), TENANT, of_task, String::new())
        .await;
    assert_eq!(told(&silent), "invalid_task");
    assert_eq!(bench.erase().await.open, 0, "a refused call asks for nothing");
    assert!(bench.world.find(task).await.is_some());

    let first = bench
        .erasures
        .request(&operator(), TENANT, of_task, why())
        .await
        .expect("asked");
    let again = bench
        .erasures
        .request(&operator(), TENANT, of_task, why())
        .await
        .expect("a repeat");
    assert_eq!((first.repeated, again.repeated), (false, true));
    assert_eq!(first.erasure, again.erasure);
    let listed = bench
        .erasures
        .list(&operator(), TENANT, None, 10)
        .await
        .expect("listed");
    assert_eq!(listed, [first.erasure]);
    let hidden = bench.erasures.list(&submitter(), TENANT, None, 10).await;
    assert_eq!(told(&hidden), "forbidden");
}

#[tokio::test]
async fn a_crash_after_any_step_loses_nothing_and_repeats_nothing_harmful() {
    let mut bench = Bench::new().await;
    bench.settings = EraserSettings {
        tasks: 2,
        records: 1,
        entries: 7,
        ..bench.settings
    };
    let (tenant, _) = furnished(&bench).await;
    bench
        .tenants
        .delete(&admin(), tenant, None, why())
        .await
        .expect("deleted");
    let mut rounds = 0;
    loop {
        // A new one each time, which has forgotten where in the log it was: it begins there anew, with wider steps.
        bench.settings.entries *= 2;
        let round = bench.eraser().round().await.expect("a round");
        rounds += 1;
        if round.open == 0 {
            break;
        }
        assert!(rounds < 100, "it ends");
    }
    assert!(rounds > 6, "{rounds} rounds: it went in steps");
    assert_eq!(bench.left(tenant).await, [0; 5]);
    let again = bench.erase().await;
    assert_eq!((again.finished, again.open), (0, 0));
}

#[tokio::test]
async fn one_node_erases_at_a_time() {
    let bench = Bench::new().await;
    let task = bench.world.task().await;
    bench
        .erasures
        .request(&operator(), TENANT, ErasureSubject::Task(task), why())
        .await
        .expect("asked");
    let leases: &dyn arbiter_core::ports::LeaseStore = &*bench.world.store;
    let other = leases.take("erasures", node(2), Duration::from_secs(10)).await;
    assert!(other.expect("a turn").is_some());
    assert_eq!(bench.erase().await.open, 0, "another node has the turn");
    assert!(bench.world.find(task).await.is_some());
    bench.world.clock.advance(Duration::from_secs(11));
    assert_eq!(bench.erase().await.open, 0);
    assert!(bench.world.find(task).await.is_none());
}

#[tokio::test]
async fn a_detail_of_the_audit_log_is_redacted_once() {
    let bench = Bench::new().await;
    let task = bench.world.task().await;
    bench
        .world
        .queue
        .cancel(&operator(), task, None, CANARY.to_owned())
        .await
        .expect("cancelled");
    let entries = bench.world.store.read(0, 100).await.expect("read");
    let entry = entries
        .iter()
        .rev()
        .find(|entry| entry.detail.is_some())
        .expect("a detail");
    let redact = async |who, tenant| {
        let done = bench
            .world
            .queue
            .redact_entry(&who, tenant, entry.index, why())
            .await;
        done.map_err(|error| error.code())
    };
    assert_eq!(redact(submitter(), TENANT).await, Err("forbidden"));
    assert_eq!(redact(in_tenant(2, operator()), TENANT).await, Err("forbidden"));
    let silent = bench
        .world
        .queue
        .redact_entry(&operator(), TENANT, entry.index, String::new())
        .await;
    assert_eq!(silent.map_err(|error| error.code()), Err("invalid_task"));
    assert!(bench.is_told().await);
    assert_eq!(redact(operator(), TENANT).await, Ok(true));
    assert_eq!(redact(operator(), TENANT).await, Ok(false));
    assert!(!bench.is_told().await);
    assert_eq!(
        bench.world.last_leaf().await.told(),
        "audit.redact+redacted done -"
    );
}

#[tokio::test]
async fn an_erasure_begins_when_the_calls_before_it_have_ended() {
    let mut bench = Bench::new().await;
    bench.settings.settle = Duration::from_secs(2);
    let task = bench.world.task().await;
    let subject = ErasureSubject::Task(task);
    bench
        .erasures
        .request(&operator(), TENANT, subject, why())
        .await
        .expect("asked");
    assert_eq!(bench.erase().await.open, 1);
    assert_eq!(bench.world.state(task).await, "queued", "nothing is touched yet");
    bench.world.clock.advance(Duration::from_secs(2));
    assert_eq!(bench.erase().await.open, 0);
    assert!(bench.world.find(task).await.is_none());
}

#[tokio::test]
async fn erasures_that_cannot_go_on_keep_no_other_one_waiting() {
    let bench = Bench::new().await;
    for _ in 0..20 {
        let work = bench.world.work_in_slot().await;
        let subject = ErasureSubject::Task(work.task);
        let asked = bench.erasures.request(&operator(), TENANT, subject, why()).await;
        asked.expect("asked");
    }
    let free = bench.world.task().await;
    let subject = ErasureSubject::Task(free);
    bench
        .erasures
        .request(&operator(), TENANT, subject, why())
        .await
        .expect("asked");
    let eraser = bench.eraser();
    for _ in 0..20 {
        eraser.round().await.expect("a round");
    }
    assert!(bench.world.find(free).await.is_none());
}

#[tokio::test]
async fn asked_again_after_its_end_the_same_erasure_is_given() {
    let bench = Bench::new().await;
    let task = bench.world.task().await;
    let subject = ErasureSubject::Task(task);
    let ask = async || {
        let asked = bench.erasures.request(&operator(), TENANT, subject, why()).await;
        asked.expect("asked")
    };
    let (first, second) = futures_util::future::join(ask(), ask()).await;
    assert_eq!(first.erasure.id, second.erasure.id, "two at once are one");
    assert_eq!(bench.erase().await.open, 0);
    let again = ask().await;
    assert_eq!((again.repeated, again.erasure.stage), (true, ErasureStage::Done));
    assert_eq!(again.erasure.reason, "", "the reason may name what was erased");
}

#[tokio::test]
async fn what_the_log_tells_of_purged_tasks_goes_with_the_person() {
    let bench = Bench::new().await;
    let (person, _) = bench.person(TENANT, Role::Submitter).await;
    let mut by = submitter();
    by.id = person;
    let task = bench.secret_task(&by).await;
    let other = bench.world.task().await;
    for (task, reason) in [(task, CANARY), (other, "kept")] {
        let cancelled = bench
            .world
            .queue
            .cancel(&operator(), task, None, reason.to_owned())
            .await;
        cancelled.expect("cancelled");
    }
    let all = arbiter_queue::BulkRequest {
        filter: arbiter_queue::BulkFilter::default(),
        after: None,
        limit: 10,
        dry_run: false,
        why: why(),
    };
    let purged = bench
        .world
        .queue
        .purge_many(&operator(), all)
        .await
        .expect("purged");
    assert_eq!(purged.done, 2);
    let told = bench.world.last_leaf().await.body.expect("a detail")["tasks"].clone();
    assert_eq!(
        told.as_array().map(Vec::len),
        Some(2),
        "the log names what is gone"
    );
    assert!(bench.is_told().await);
    let subject = ErasureSubject::Principal(person);
    bench
        .erasures
        .request(&operator(), TENANT, subject, why())
        .await
        .expect("asked");
    assert_eq!(bench.erase().await.open, 0);
    assert!(!bench.is_told().await);
    let leaves = bench.world.leaves().await;
    let kept = leaves.iter().filter_map(|leaf| leaf.body.as_ref());
    assert!(
        kept.into_iter().any(|body| body["reason"] == "kept"),
        "what is about another's task stays"
    );
}
