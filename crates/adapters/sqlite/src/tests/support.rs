//! A store in a folder of its own, a clock that tests move, and small builders.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arbiter_core::lifecycle::{Command, Expect, Rules};
use arbiter_core::model::*;
use arbiter_core::ports::*;
use async_trait::async_trait;
use tempfile::TempDir;

use crate::{SqliteConfig, SqliteStore};

/// A clock that stands still until it is moved.
pub(crate) struct StandingClock(pub(crate) AtomicI64);

#[async_trait]
impl Clock for StandingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep_until(&self, _moment: Duration) {
        std::future::pending::<()>().await;
    }
}

/// Bytes that count up: distinct, and the same in every run.
pub(crate) struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::SeqCst) as u8;
        }
    }
}

pub(crate) struct Fixture {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) clock: Arc<StandingClock>,
    pub(crate) config: SqliteConfig,
    pub(crate) folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path());
        let clock = Arc::new(StandingClock(AtomicI64::new(1_000_000)));
        let store = open(&config, &clock);
        Self {
            store,
            clock,
            config,
            folder,
        }
    }

    /// Closes the store and opens the same files again.
    pub(crate) async fn reopen(&mut self) {
        self.store.close().await;
        self.store = open(&self.config, &self.clock);
    }

    pub(crate) fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap();
        self.clock.0.fetch_add(micros, Ordering::SeqCst);
    }

    /// Checks the whole audit log: every leaf, the tree, and that each task's versions have one leaf each.
    pub(crate) async fn verify_log(&self) -> u64 {
        verify_log(&self.store).await
    }
}

pub(crate) async fn verify_log(store: &SqliteStore) -> u64 {
    let head = store.head().await.unwrap();
    let mut verifier = arbiter_audit::log::LogVerifier::new();
    let mut index = 0;
    loop {
        let entries = AuditLog::read(store, index, 100).await.unwrap();
        if entries.is_empty() {
            break;
        }
        for entry in entries {
            assert_eq!(entry.index, index);
            let hash = tile_hash(store, index).await;
            let detail = entry.detail.map(|detail| arbiter_audit::detail::Detail {
                salt: detail.salt,
                body: detail.body.as_str().as_bytes().to_vec(),
            });
            verifier.entry(&entry.leaf, &hash, detail.as_ref()).unwrap();
            index += 1;
        }
    }
    let checkpoint = arbiter_audit::checkpoint::Checkpoint::new("test", head.size, head.root).unwrap();
    let report = verifier.finish(&checkpoint);
    assert_eq!(report.fault, None);
    assert_eq!(report.findings, []);
    assert_eq!(report.entries, head.size);
    head.size
}

async fn tile_hash(store: &SqliteStore, index: u64) -> Digest {
    let width = (index % 256) as u16 + 1;
    let hashes = store.tile(0, index / 256, width).await.unwrap().unwrap();
    *hashes.last().unwrap()
}

pub(crate) fn open(config: &SqliteConfig, clock: &Arc<StandingClock>) -> Arc<SqliteStore> {
    let entropy = Arc::new(Counting(AtomicU64::new(0)));
    let clock: Arc<dyn Clock> = Arc::<StandingClock>::clone(clock);
    Arc::new(SqliteStore::open(config, Rules::default(), clock, entropy).unwrap())
}

pub(crate) fn id(number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub(crate) fn task_id(number: u64) -> TaskId {
    TaskId::from_bytes(id(number))
}

pub(crate) const TENANT: TenantId = TenantId::from_bytes([9; 16]);
pub(crate) const AGENT: AgentId = AgentId::from_bytes([7; 16]);

pub(crate) fn spec() -> TaskSpec {
    let mut spec = TaskSpec::new(TaskKind::new("analysis").unwrap(), "Count", "Count the words");
    spec.input = Json::parse("{\"text\":\"one two three\"}").ok();
    spec
}

pub(crate) fn draft() -> RecordDraft {
    RecordDraft::by(PrincipalId::from_bytes([5; 16]), Operation::TaskSubmit)
}

pub(crate) fn new_task(number: u64) -> NewTask {
    NewTask {
        id: task_id(number),
        command: CommandId::from_bytes(id(number)),
        tenant: TENANT,
        submitter: PrincipalId::from_bytes([5; 16]),
        spec: Arc::new(spec()),
        idempotency: None,
        open_limit: None,
        effects: Effects::of(draft()),
    }
}

pub(crate) fn after(mut new: NewTask, prerequisites: &[u64]) -> NewTask {
    let mut spec = (*new.spec).clone();
    spec.after = prerequisites.iter().map(|number| task_id(*number)).collect();
    new.spec = Arc::new(spec);
    new
}

pub(crate) async fn submit(store: &SqliteStore, tasks: Vec<NewTask>) -> Vec<Submitted> {
    let request = SubmitRequest {
        tasks,
        all_or_nothing: false,
    };
    store.submit(request).await.unwrap()
}

/// Gives every candidate to one agent.
pub(crate) struct ToAgent(pub(crate) Vec<(Scope, u32)>);

impl Chooser for ToAgent {
    fn choose(&self, candidates: &[Candidate], _now: Timestamp) -> Vec<Option<Choice>> {
        let choice = || {
            Some(Choice {
                to: Holder::Agent(AGENT),
                acknowledged: true,
                loads: self.0.clone(),
                decision: None,
            })
        };
        candidates.iter().map(|_| choice()).collect()
    }
}

pub(crate) fn claim(lane: LaneId, take: u32, command: u64, chooser: Arc<dyn Chooser>) -> ClaimRequest {
    ClaimRequest {
        lanes: vec![LaneQuota { lane, take }],
        chooser,
        command: CommandId::from_bytes(id(command)),
        effects: Effects::of(RecordDraft::by(
            PrincipalId::from_bytes([5; 16]),
            Operation::WorkClaim,
        )),
    }
}

pub(crate) fn to_agent() -> Arc<dyn Chooser> {
    Arc::new(ToAgent(vec![(Scope::Agent(AGENT), 1000)]))
}

pub(crate) fn transition(task: u64, command: u64, expect: Expect, action: Command) -> Transition {
    Transition {
        command: CommandId::from_bytes(id(command)),
        task: task_id(task),
        tenant: TENANT,
        expect,
        action,
        effects: Effects::default(),
    }
}

pub(crate) fn lease(fence: u64) -> Expect {
    Expect::Lease {
        fence: Fence(fence),
        holder: Holder::Agent(AGENT),
    }
}

pub(crate) fn report() -> Command {
    Command::Report(Box::new(Report {
        output: Json::parse("{\"words\":3}").ok(),
        ..Report::default()
    }))
}

/// The lane of plain tasks.
pub(crate) async fn lane(store: &SqliteStore) -> LaneId {
    store.lanes(None, 10).await.unwrap()[0].lane
}

pub(crate) async fn get(store: &SqliteStore, number: u64) -> Option<StoredTask> {
    let found = TaskReader::get(store, TenantScope::All, &[task_id(number)])
        .await
        .unwrap();
    found.into_iter().next().unwrap()
}
