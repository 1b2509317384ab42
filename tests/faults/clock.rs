//! A wall clock that is stepped by up to ten minutes, forwards and backwards, while tasks run.
//!
//! In this process, over the SQLite store and the testkit's clock: the machine's own clock is not ours to step, and
//! libfaketime is not part of the tools. Nodes whose clocks are wrong by a constant are part of the simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore};
use arbiter_adapter_system::OsEntropy;
use arbiter_audit::checkpoint::Checkpoint;
use arbiter_audit::detail::Detail;
use arbiter_audit::log::LogVerifier;
use arbiter_core::lifecycle::{Command, Refusal, Rules};
use arbiter_core::model::{AttemptEnd, Fence, Holder, StateName, TaskId, TenantScope, Timestamp};
use arbiter_core::ports::{
    AuditLog as _, AuditTree as _, ClaimRequest, Clock, Effects, LaneQuota, LeaseStatus, TaskReader as _,
    TaskStore as _,
};
use arbiter_testkit::ManualClock;
use arbiter_testkit::builders::{
    agent, command, lane_of, lease_ref, leased, new_task_with, report, submit_each, task, tenant,
};
use arbiter_testkit::choosers::AssignAll;
use async_trait::async_trait;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const SEEDS: u64 = 12;
const STEPS: usize = 120;
const TASKS: u64 = 8;
const TEN_MINUTES: i64 = 600_000_000;

/// Time passes as the inner clock says; what the time of day is can be stepped.
struct Stepped {
    inner: ManualClock,
    offset_micros: AtomicI64,
}

impl Stepped {
    fn step_to(&self, offset_micros: i64) {
        self.offset_micros.store(offset_micros, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Stepped {
    fn now(&self) -> Timestamp {
        let offset = self.offset_micros.load(Ordering::SeqCst);
        let by = Duration::from_micros(offset.unsigned_abs());
        if offset < 0 {
            self.inner.now().minus(by)
        } else {
            self.inner.now().plus(by)
        }
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    async fn sleep_until(&self, moment: Duration) {
        self.inner.sleep_until(moment).await;
    }
}

/// The store, and everything that was ever handed out by it.
struct World {
    store: SqliteStore,
    clock: Arc<Stepped>,
    random: ChaCha8Rng,
    tokens: BTreeMap<TaskId, Vec<(Fence, Holder)>>,
    reported: BTreeSet<TaskId>,
    commands: u64,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(Stepped {
            inner: ManualClock::new(),
            offset_micros: AtomicI64::new(0),
        });
        let store = SqliteStore::open(
            &SqliteConfig::new(folder.path()),
            Rules::default(),
            Arc::clone(&clock) as _,
            Arc::new(OsEntropy::new()),
        )
        .expect("a store");
        let new: Vec<_> = (1..=TASKS)
            .map(|number| new_task_with(number, |spec| spec.constraints.max_attempts = 1_000))
            .collect();
        store.submit(submit_each(new)).await.expect("submitted");
        Self {
            store,
            clock,
            random: ChaCha8Rng::seed_from_u64(seed),
            tokens: BTreeMap::new(),
            reported: BTreeSet::new(),
            commands: 1_000,
            _folder: folder,
        }
    }

    fn next_command(&mut self) -> u64 {
        self.commands += 1;
        self.commands
    }

    /// Everything that can be claimed, for one of three agents. Whatever was handed out before for it is worth nothing.
    async fn claim(&mut self) {
        let holder = Holder::Agent(agent(self.random.random_range(1..=3)));
        let request = ClaimRequest {
            lanes: vec![LaneQuota {
                lane: lane_of(&new_task_with(1, |_| {})).id(),
                take: 3,
            }],
            chooser: Arc::new(AssignAll::to(holder)),
            command: command(self.next_command()),
            effects: Effects::default(),
        };
        for assigned in self.store.claim(request).await.expect("claimed").assigned {
            let id = assigned.stored.task.id;
            let earlier = self.tokens.entry(id).or_default().clone();
            for (fence, holder) in earlier {
                assert!(fence < assigned.fence, "tokens only rise");
                assert_eq!(self.beat(id, fence, holder).await, LeaseStatus::Lost);
                let late = self.hand_in(id, fence, holder).await;
                assert_eq!(late, Err(Refusal::LeaseLost), "an overtaken attempt reports");
            }
            assert!(!self.reported.contains(&id), "a closed task is not handed out");
            self.tokens.entry(id).or_default().push((assigned.fence, holder));
        }
    }

    async fn beat(&self, id: TaskId, fence: Fence, holder: Holder) -> LeaseStatus {
        let beaten = self.store.extend(vec![lease_ref(id, fence, holder)]).await;
        beaten.expect("answered").remove(0)
    }

    async fn hand_in(&mut self, id: TaskId, fence: Fence, holder: Holder) -> Result<(), Refusal> {
        let action = Command::Report(Box::new(report()));
        let transition = leased(self.next_command(), id, fence, holder, action);
        let answers = self.store.apply(vec![transition]).await.expect("answered");
        answers
            .into_iter()
            .next()
            .expect("one answer")
            .map(|task| assert!(task.state.is_closed(), "{:?}", task.state))
    }

    /// Somebody who was handed a token at some time uses it.
    async fn use_a_token(&mut self, to_report: bool) {
        let all: Vec<_> = self
            .tokens
            .iter()
            .flat_map(|(id, tokens)| tokens.iter().map(|token| (*id, *token)))
            .collect();
        if all.is_empty() {
            return;
        }
        let (id, (fence, holder)) = all[self.random.random_range(0..all.len())];
        let newest = self.tokens[&id].last() == Some(&(fence, holder));
        if !to_report {
            if let LeaseStatus::Held { .. } = self.beat(id, fence, holder).await {
                assert!(newest && !self.reported.contains(&id), "one token is valid");
            }
        } else if self.hand_in(id, fence, holder).await.is_ok() {
            assert!(newest, "only the newest token reports");
            assert!(self.reported.insert(id), "a task is reported once");
        }
    }

    async fn step(&mut self) {
        match self.random.random_range(0..12) {
            0 | 1 => {
                let offset = self.random.random_range(-TEN_MINUTES..=TEN_MINUTES);
                self.clock.step_to(offset);
            }
            2 => self.clock.step_to(TEN_MINUTES),
            3 => self.clock.step_to(-TEN_MINUTES),
            4 => {
                let seconds = self.random.random_range(1..=20);
                self.clock.inner.advance(Duration::from_secs(seconds));
            }
            5 | 6 => drop(self.store.due(100).await.expect("done")),
            7 | 8 => self.claim().await,
            9 | 10 => self.use_a_token(false).await,
            _ => self.use_a_token(true).await,
        }
    }

    /// The clock is right again and agents work: every task ends. What a step had put off comes at most 20 minutes late.
    async fn finish(&mut self) {
        self.clock.step_to(0);
        for _ in 0..60 {
            self.clock.inner.advance(Duration::from_secs(60));
            self.store.due(100).await.expect("done");
            self.claim().await;
            let newest: Vec<_> = self
                .tokens
                .iter()
                .filter_map(|(id, tokens)| Some((*id, *tokens.last()?)))
                .collect();
            for (id, (fence, holder)) in newest {
                if self.hand_in(id, fence, holder).await.is_ok() {
                    assert!(self.reported.insert(id), "a task is reported once");
                }
            }
        }
    }

    /// Each task succeeded by exactly one report, and the log tells its life without a gap.
    async fn check(&self, seed: u64) {
        let ids: Vec<TaskId> = (1..=TASKS).map(task).collect();
        let scope = TenantScope::Tenant(tenant(1));
        for id in &ids {
            let found = self.store.get(scope, &[*id]).await.expect("read").remove(0);
            let state = found.expect("kept").task.state.name();
            assert_eq!(state, StateName::Succeeded, "seed {seed}: {id}");
            let history = self.store.history(scope, *id).await.expect("read");
            let reports = history
                .attempts
                .iter()
                .filter(|attempt| matches!(attempt.outcome, AttemptEnd::Reported(_)))
                .count();
            assert_eq!((reports, history.attempts.len()), (1, self.tokens[id].len()));
        }
        let head = self.store.head().await.expect("a head");
        let mut verifier = LogVerifier::new();
        while verifier.entries() < head.size {
            let next = verifier.entries();
            let width = (head.size - next).min(256) as u16;
            let entries = self.store.read(next, usize::from(width)).await.expect("entries");
            let hashes = self.store.tile(0, next / 256, width).await.expect("read");
            for (entry, hash) in entries.iter().zip(hashes.expect("a tile")) {
                let detail = entry.detail.as_ref().map(|detail| Detail {
                    salt: detail.salt,
                    body: detail.body.as_str().as_bytes().to_vec(),
                });
                verifier
                    .entry(&entry.leaf, &hash, detail.as_ref())
                    .expect("sound");
            }
        }
        let head = Checkpoint::new("drill", head.size, head.root).expect("a head");
        let report = verifier.finish(&head);
        assert!(report.is_sound(), "seed {seed}: {report:?}");
    }
}

#[tokio::test]
async fn stepping_the_clock_makes_no_second_holder_and_loses_no_task() {
    let mut tokens = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.finish().await;
        world.check(seed).await;
        tokens += world.tokens.values().map(Vec::len).sum::<usize>();
        world.store.close().await;
    }
    println!(
        "report: {SEEDS} schedules with stepped clocks, {tokens} tokens for {} tasks",
        SEEDS * TASKS
    );
    assert!(tokens as u64 > 2 * SEEDS * TASKS, "steps cost leases: {tokens}");
}
