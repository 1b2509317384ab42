//! Schedules of tenants: what is kept, and when their tasks are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arbiter_core::model::{
    NodeId, Principal, PrincipalId, RecordDraft, Role, ScheduleId, StoredTask, TaskKind, TenantScope,
    Timestamp,
};
use arbiter_core::ports::{
    Applied, Document, DocumentError, DocumentKey, DocumentQuery, DocumentWrite, Documents, Effects,
    LeaseStore, Precondition, Retry, StoreError, TaskQuery, TaskReader,
};
use arbiter_queue::schedules::{
    CatchUp, NewSchedule, Overlap, RunnerSettings, Schedule, ScheduleChange, ScheduleRunner,
    ScheduleSettings, Schedules,
};
use arbiter_queue::{Directory, PrincipalChange, PrincipalRecord, Principals, RateLimit, RecordError};
use arbiter_testkit::builders::{node, user};
use arbiter_testkit::faulty::Fault;
use arbiter_testkit::{ManualClock, Stop, StoredSpecs};
use async_trait::async_trait;
use futures_util::future::join;

use crate::world::{Plan, TENANT, World, in_tenant, keyed, operator, submission, submission_with, submitter};

mod keeping;
mod running;

struct Bench {
    world: World,
    documents: Arc<dyn Documents>,
    schedules: Arc<Schedules>,
    runner: ScheduleRunner,
}

impl Bench {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Plan)) -> Self {
        let world = World::with(change);
        let documents: Arc<dyn Documents> = Arc::clone(&world.store) as _;
        for principal in [operator(), deputy()] {
            let record = PrincipalRecord {
                principal,
                name: "somebody".to_owned(),
            };
            Principals::new(Arc::clone(&documents))
                .create(&record, RecordDraft::default())
                .await
                .expect("kept");
        }
        let schedules = schedules(&world, &documents);
        let runner = runner(&world, &schedules, &documents, 1);
        Self {
            world,
            documents,
            schedules,
            runner,
        }
    }

    /// A runner of another node, which shares nothing with the first but the store.
    fn other_runner(&self, number: u64) -> ScheduleRunner {
        runner(
            &self.world,
            &schedules(&self.world, &self.documents),
            &self.documents,
            number,
        )
    }

    async fn make(&self, new: NewSchedule) -> Schedule {
        let made = self.schedules.create(&operator(), TENANT, new, None).await;
        made.expect("made").schedule
    }

    async fn read(&self, id: ScheduleId) -> Schedule {
        self.schedules.get(&operator(), TENANT, id).await.expect("read")
    }

    async fn change(&self, id: ScheduleId, change: ScheduleChange) -> Schedule {
        let changed = self.schedules.update(&operator(), TENANT, id, None, change).await;
        changed.expect("changed")
    }

    /// Lets time pass up to a moment of the first of January 2026, and does what is due then.
    async fn at(&self, time: &str) -> usize {
        self.until(&format!("2026-01-01T{time}Z"));
        self.rounds().await
    }

    /// Does all that is due now. Gives how many tasks were submitted.
    async fn rounds(&self) -> usize {
        rounds(&self.runner).await
    }

    fn until(&self, moment: &str) {
        let moment: Timestamp = moment.parse().expect("a time");
        let clock: &ManualClock = &self.world.clock;
        let now = arbiter_core::ports::Clock::now(clock);
        clock.advance(moment.since(now));
    }

    /// The tasks of all schedules, oldest first.
    async fn tasks(&self) -> Vec<StoredTask> {
        let reader: &dyn TaskReader = &*self.world.store;
        let query = TaskQuery {
            limit: 1_000,
            ..TaskQuery::default()
        };
        reader.list(TenantScope::All, query).await.expect("list").tasks
    }

    /// For which times of day tasks were made, in order.
    async fn times(&self) -> Vec<String> {
        let tasks = self.tasks().await;
        let times = tasks
            .iter()
            .map(|task| task.spec.labels["scheduled_for"][11..16].to_owned());
        times.collect()
    }

    async fn cancel(&self, stored: &StoredTask) {
        let (queue, by) = (&self.world.queue, operator());
        let cancelled = queue.cancel(&by, stored.task.id, None, "done".to_owned());
        cancelled.await.expect("cancelled");
    }

    async fn forget(&self, principal: PrincipalId) {
        let write = DocumentWrite {
            key: DocumentKey {
                kind: "principal",
                tenant: TENANT,
                id: principal.to_string(),
            },
            precondition: Precondition::Any,
            content: None,
        };
        let deleted = self.documents.write(vec![write], Effects::default()).await;
        deleted.expect("deleted");
    }
}

fn schedules(world: &World, documents: &Arc<dyn Documents>) -> Arc<Schedules> {
    let settings = ScheduleSettings {
        per_tenant: 40,
        ..ScheduleSettings::default()
    };
    Arc::new(Schedules::new(
        Arc::clone(&world.queue),
        documents,
        Arc::new(StoredSpecs),
        settings,
    ))
}

fn runner(
    world: &World,
    schedules: &Arc<Schedules>,
    documents: &Arc<dyn Documents>,
    number: u64,
) -> ScheduleRunner {
    let leases: Arc<dyn LeaseStore> = Arc::clone(&world.store) as _;
    let on: NodeId = node(number);
    ScheduleRunner::new(
        Arc::clone(schedules),
        Principals::new(Arc::clone(documents)),
        leases,
        on,
        RunnerSettings::default(),
    )
}

async fn rounds(runner: &ScheduleRunner) -> usize {
    let mut submitted = 0;
    loop {
        let round = runner.round().await.expect("round");
        submitted += round.submitted;
        if !round.wait.is_zero() {
            return submitted;
        }
    }
}

/// Another operator of the same tenant, who may submit up to the third band only.
fn deputy() -> Principal {
    let mut deputy = user(4, [Role::Operator]);
    deputy.highest_band = arbiter_core::model::Band::new(2).expect("band");
    deputy
}

fn every(cron: &str) -> NewSchedule {
    NewSchedule {
        name: "nightly report".to_owned(),
        cron: cron.to_owned(),
        zone: "UTC".to_owned(),
        task: submission(),
        catch_up: CatchUp::default(),
        overlap: Overlap::Allow,
        jitter: Duration::ZERO,
    }
}

fn code<T: std::fmt::Debug>(answer: Result<T, RecordError>) -> &'static str {
    answer.expect_err("refused").code()
}
