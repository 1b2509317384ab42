//! A node over the store in memory, on a clock that stands still until a test moves it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_adapter_inmem::{InMemoryStore, InProcessWakeups};
use arbiter_core::lifecycle::{Command, Expect, Refusal, Rules};
use arbiter_core::model::{
    Holder, NodeId, RecordDraft, State, Task, TaskId, TaskKind, TaskSpec, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    Assignment, ClaimRequest, Clock, Effects, Ended, Hint, IdSource, LaneQuota, NewTask, Scope, Spawner as _,
    TaskHandle, TaskHistory, TaskReader, TaskStore, Transition, Wakeups,
};
use arbiter_core::services::{
    AttemptOutcome, ContextSource, FailureHandler, FixedTraffic, ReviewStage, TrafficRules,
};
use arbiter_orchestration::fair::{FairScheduler, FairSettings};
use arbiter_orchestration::{
    AttemptRunner, Dispatcher, DispatcherParts, DueTimer, HostedAgent, Offers, PlainRetry, Reviewer, Stop,
    Stopper,
};
use arbiter_testkit::builders::{agent, agent_principal, kind, new_task_with, node, submit_each, task};
use arbiter_testkit::choosers::AssignAll;
use arbiter_testkit::effects::RecordingFailures;
use arbiter_testkit::faulty::FaultyTaskStore;
use arbiter_testkit::{ManualClock, RecordingMetrics, SeededEntropy, SeededIds, TestSpawner};
use futures_util::FutureExt as _;

use crate::agents::{Agents, Puppet, Skill};
use crate::desk::PlainDesk;
use crate::given::of;
use crate::watch::{Watch, lock};

/// How far time goes in one step of [`World::pass`]. Every period of the loops is a multiple of it.
const STEP: Duration = Duration::from_millis(250);
/// How often everybody gets a turn before a test looks.
const TURNS: usize = 200;
/// How often everybody gets a turn in one step of time.
const TURNS_OF_A_STEP: usize = 60;

/// Everything that a node needs.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) inner: Arc<InMemoryStore>,
    pub(crate) watch: Arc<Watch>,
    /// The store as the node sees it.
    pub(crate) store: Arc<dyn TaskStore>,
    pub(crate) wakeups: Arc<InProcessWakeups>,
    pub(crate) metrics: Arc<RecordingMetrics>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) failures: Arc<dyn FailureHandler>,
    pub(crate) agents: Arc<Agents>,
    pub(crate) puppet: Arc<Puppet>,
    pub(crate) desk: Arc<PlainDesk>,
    pub(crate) node: NodeId,
    pub(crate) stages: Vec<Arc<dyn ReviewStage>>,
    pub(crate) review_slots: u32,
    pub(crate) context: Vec<Arc<dyn ContextSource>>,
    pub(crate) fair: FairSettings,
    pub(crate) offers: Arc<Offers>,
    pub(crate) rules: TrafficRules,
    hosted: Vec<HostedAgent>,
}

/// A loop that runs.
pub(crate) struct Running {
    pub(crate) stop: Stopper,
    pub(crate) drain: Stopper,
    handle: Box<dyn TaskHandle>,
}

impl Running {
    /// Whether it has returned.
    pub(crate) fn has_ended(&mut self) -> bool {
        match self.handle.join().now_or_never() {
            None => false,
            Some(ended) => {
                assert_eq!(ended, Ended::Finished);
                true
            }
        }
    }

    /// Kills it between two awaits, as a crash does.
    pub(crate) fn kill(&self) {
        self.handle.abort();
    }
}

/// An attempt that runs by itself.
pub(crate) struct Attempting {
    pub(crate) assignment: Assignment,
    pub(crate) drain: Stopper,
    answer: Arc<Mutex<Option<Vec<AttemptOutcome>>>>,
}

impl Attempting {
    /// What there is to learn, at most one thing, once the runner has returned.
    pub(crate) fn ended(&self) -> Option<Vec<AttemptOutcome>> {
        lock(&self.answer).clone()
    }

    /// What is to be learnt of an attempt that has ended.
    pub(crate) fn lesson(&self) -> AttemptOutcome {
        let mut learnt = self.ended().expect("the attempt has ended");
        learnt.pop().expect("it says something about the agent")
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_failures(Arc::new(PlainRetry))
    }

    pub(crate) fn recording(plan: arbiter_core::lifecycle::RetryPlan) -> (Self, Arc<RecordingFailures>) {
        let failures = Arc::new(RecordingFailures::new(plan));
        (Self::with_failures(Arc::clone(&failures) as _), failures)
    }

    fn with_failures(failures: Arc<dyn FailureHandler>) -> Self {
        let clock = Arc::new(ManualClock::new());
        let inner = Arc::new(InMemoryStore::new(
            Rules::default(),
            Arc::clone(&clock) as _,
            Arc::new(SeededEntropy::new(1)),
        ));
        let watch = Arc::new(Watch::default());
        let store: Arc<dyn TaskStore> = Arc::new(FaultyTaskStore::new(
            Arc::clone(&inner) as _,
            Arc::clone(&watch) as _,
        ));
        let wakeups = Arc::new(InProcessWakeups::new());
        let ids: Arc<dyn IdSource> = Arc::new(SeededIds::new(1));
        let desk = Arc::new(PlainDesk {
            store: Arc::clone(&store),
            reader: Arc::clone(&inner) as _,
            failures: Arc::clone(&failures),
            wakeups: Arc::clone(&wakeups) as _,
            clock: Arc::clone(&clock) as _,
            ids: Arc::clone(&ids),
            beats: Mutex::default(),
            refusals: Mutex::default(),
            calls: Mutex::default(),
        });
        Self {
            clock,
            inner,
            watch,
            store,
            wakeups,
            metrics: Arc::new(RecordingMetrics::new()),
            ids,
            failures,
            agents: Arc::new(Agents::default()),
            puppet: Puppet::new(),
            desk,
            node: node(1),
            stages: Vec::new(),
            review_slots: 0,
            context: Vec::new(),
            fair: FairSettings::default(),
            offers: Arc::new(Offers::new()),
            rules: TrafficRules::default(),
            hosted: Vec::new(),
        }
    }

    /// Hosts an agent that does [`kind`] and has so many slots.
    pub(crate) fn host(&mut self, number: u64, slots: u32) {
        self.host_for(number, slots, [kind()]);
    }

    /// Hosts an agent for these kinds.
    pub(crate) fn host_for(&mut self, number: u64, slots: u32, kinds: impl IntoIterator<Item = TaskKind>) {
        let kinds: BTreeSet<TaskKind> = kinds.into_iter().collect();
        lock(&self.agents.known).insert(agent(number), Skill { kinds, slots });
        self.hosted.push(HostedAgent {
            principal: agent_principal(100 + number, agent(number)),
            agent: agent(number),
            slots,
            transport: Arc::clone(&self.puppet) as _,
        });
    }

    /// Another node over the same store: its own agents, transport and count of calls.
    pub(crate) fn another_node(&self, number: u64) -> Self {
        let mut other = Self::new();
        other.clock = Arc::clone(&self.clock);
        other.inner = Arc::clone(&self.inner);
        other.wakeups = Arc::clone(&self.wakeups);
        other.store = Arc::new(FaultyTaskStore::new(
            Arc::clone(&self.inner) as _,
            Arc::clone(&other.watch) as _,
        ));
        other.ids = Arc::new(SeededIds::new(number));
        other.desk = Arc::new(PlainDesk {
            store: Arc::clone(&other.store),
            reader: Arc::clone(&other.inner) as _,
            failures: Arc::clone(&other.failures),
            wakeups: Arc::clone(&other.wakeups) as _,
            clock: Arc::clone(&other.clock) as _,
            ids: Arc::clone(&other.ids),
            beats: Mutex::default(),
            refusals: Mutex::default(),
            calls: Mutex::default(),
        });
        other.node = node(number);
        other
    }

    pub(crate) fn runner(&self) -> AttemptRunner {
        AttemptRunner {
            desk: Arc::clone(&self.desk) as _,
            reader: Arc::clone(&self.inner) as _,
            context: self.context.clone(),
            failures: Arc::clone(&self.failures),
            clock: Arc::clone(&self.clock) as _,
            ids: Arc::clone(&self.ids),
            metrics: Arc::clone(&self.metrics) as _,
        }
    }

    pub(crate) fn reviewer(&self) -> Reviewer {
        Reviewer {
            node: self.node,
            stages: self.stages.clone(),
            store: Arc::clone(&self.store),
            reader: Arc::clone(&self.inner) as _,
            failures: Arc::clone(&self.failures),
            wakeups: Arc::clone(&self.wakeups) as _,
            clock: Arc::clone(&self.clock) as _,
            ids: Arc::clone(&self.ids),
        }
    }

    pub(crate) fn dispatcher(&self) -> Arc<Dispatcher> {
        let parts = DispatcherParts {
            node: self.node,
            store: Arc::clone(&self.store),
            reader: Arc::clone(&self.inner) as _,
            allocator: Arc::clone(&self.agents) as _,
            offers: Arc::clone(&self.offers),
            traffic: Arc::new(FixedTraffic::new(self.rules.clone())),
            runner: self.runner(),
            reviewer: self.reviewer(),
            review_slots: self.review_slots,
            wakeups: Arc::clone(&self.wakeups) as _,
            clock: Arc::clone(&self.clock) as _,
            ids: Arc::clone(&self.ids),
            spawner: Arc::new(TestSpawner),
            metrics: Arc::clone(&self.metrics) as _,
        };
        let fair = FairScheduler::new(self.fair.clone());
        Arc::new(Dispatcher::new(parts, self.hosted.clone(), fair))
    }

    /// Starts a dispatcher and lets it do what it can do at once.
    pub(crate) async fn start(&self) -> Running {
        let running = self.launch();
        self.settle().await;
        running
    }

    /// Starts a dispatcher, which gets no turn yet.
    pub(crate) fn launch(&self) -> Running {
        let dispatcher = self.dispatcher();
        spawn(|stop, drain| async move { dispatcher.run(stop, drain).await })
    }

    /// Starts a timer and lets it look once.
    pub(crate) async fn start_timer(&self) -> Running {
        let timer = self.timer();
        let running = spawn(|stop, _| async move { timer.run(stop).await });
        self.settle().await;
        running
    }

    pub(crate) fn timer(&self) -> DueTimer {
        DueTimer {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock) as _,
            wakeups: Arc::clone(&self.wakeups) as _,
            metrics: Arc::clone(&self.metrics) as _,
        }
    }

    /// Claims the first task of the lane of `id`, which must be that one, for the first hosted agent, and runs the
    /// attempt without a dispatcher.
    pub(crate) async fn attempt(&self, id: TaskId) -> Attempting {
        let hosted = self.hosted.first().expect("an agent is hosted").clone();
        let assignment = self.claim(id, Holder::Agent(hosted.agent)).await;
        let (runner, given) = (self.runner(), assignment.clone());
        let (drain, answer) = (Stopper::default(), Arc::new(Mutex::new(None)));
        let (signal, slot) = (drain.signal(), Arc::clone(&answer));
        let future = async move {
            let transport = hosted.transport.as_ref();
            let ended = runner.run(&hosted.principal, transport, given, signal).await;
            *lock(&slot) = Some(ended.into_iter().collect());
        };
        TestSpawner.spawn("attempt", Box::pin(future));
        self.settle().await;
        Attempting {
            assignment,
            drain,
            answer,
        }
    }

    /// Gives a task, which must be the first of its lane, to a holder that has taken it already.
    pub(crate) async fn claim(&self, id: TaskId, to: Holder) -> Assignment {
        self.claim_with(id, AssignAll::to(to)).await
    }

    /// Gives a task, which must be the first of its lane, to whom the chooser says.
    pub(crate) async fn claim_with(&self, id: TaskId, mut chooser: AssignAll) -> Assignment {
        let scope = match chooser.to {
            Holder::Agent(agent) => Scope::Agent(agent),
            Holder::Node(node) => Scope::Node(node),
        };
        chooser.loads.push((scope, 1_000));
        let request = ClaimRequest {
            lanes: vec![LaneQuota {
                lane: self.task(id).await.lane_now(),
                take: 1,
            }],
            chooser: Arc::new(chooser),
            command: self.ids.command(),
            effects: Effects::default(),
        };
        let mut claimed = self.inner.claim(request).await.expect("claim");
        let assignment = claimed.assigned.pop().expect("the lane has work");
        assert_eq!(assignment.stored.task.id, id, "it is the first of its lane");
        assignment
    }

    /// Submits a task of tenant 1.
    pub(crate) async fn submit(&self, number: u64) -> TaskId {
        self.submit_with(number, |_| {}).await
    }

    /// Submits a changed task of tenant 1.
    pub(crate) async fn submit_with(&self, number: u64, change: impl FnOnce(&mut TaskSpec)) -> TaskId {
        self.submit_many(vec![new_task_with(number, change)]).await;
        task(number)
    }

    /// Submits a task of another tenant.
    pub(crate) async fn submit_for(&self, owner: TenantId, number: u64) -> TaskId {
        self.submit_many(vec![of(owner, number)]).await;
        task(number)
    }

    /// Submits tasks and tells of them, as the queue does.
    pub(crate) async fn submit_many(&self, tasks: Vec<NewTask>) {
        let hints: Vec<Hint> = tasks.iter().map(|new| Hint::Task(new.id)).collect();
        self.submit_quietly(tasks).await;
        self.wakeups.publish(&hints);
    }

    /// Submits tasks and tells nobody, as another node does whose hints are lost.
    pub(crate) async fn submit_quietly(&self, tasks: Vec<NewTask>) {
        self.inner.submit(submit_each(tasks)).await.expect("submit");
    }

    /// A command that expects nothing, told of as the queue does.
    pub(crate) async fn order(&self, id: TaskId, action: Command) -> Result<Task, Refusal> {
        let transition = Transition {
            command: self.ids.command(),
            task: id,
            tenant: self.task(id).await.tenant,
            expect: Expect::Any,
            action,
            effects: Effects::of(RecordDraft::default()),
        };
        let mut answers = self.inner.apply(vec![transition]).await.expect("apply");
        self.wakeups.publish(&[Hint::Task(id), Hint::Agents]);
        answers.pop().expect("an answer")
    }

    pub(crate) async fn cancel(&self, id: TaskId) {
        let why = "not needed".to_owned();
        self.order(id, Command::Cancel { why }).await.expect("cancelled");
    }

    pub(crate) async fn task(&self, id: TaskId) -> Task {
        let found = self.inner.get(TenantScope::All, &[id]).await.expect("get");
        found.into_iter().flatten().next().expect("the task exists").task
    }

    pub(crate) async fn state(&self, id: TaskId) -> State {
        self.task(id).await.state
    }

    /// The state's word, with its reason if it has one.
    pub(crate) async fn word(&self, id: TaskId) -> String {
        let state = self.state(id).await;
        let name = state.name().word();
        state
            .reason()
            .map_or_else(|| name.to_owned(), |why| format!("{name}: {why}"))
    }

    pub(crate) async fn history(&self, id: TaskId) -> TaskHistory {
        self.inner.history(TenantScope::All, id).await.expect("history")
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does what is overdue, once, without a timer.
    pub(crate) async fn due(&self) {
        self.inner.due(1_000).await.expect("due");
    }

    /// Gives everybody so many turns that nothing is left to do until time goes on.
    pub(crate) async fn settle(&self) {
        turns(TURNS).await;
    }

    /// Gives everybody turns until something holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        for _ in 0..2_000_000 {
            if holds() {
                return;
            }
            tokio::task::yield_now().await;
        }
        assert!(holds(), "never: {what}");
    }

    /// Lets time go on, in steps, everybody doing what is to be done in each.
    pub(crate) async fn pass(&self, by: Duration) {
        let end = self.clock.monotonic() + by;
        self.settle().await;
        while self.clock.monotonic() < end {
            let left = end.saturating_sub(self.clock.monotonic());
            self.clock.advance(left.min(STEP));
            turns(TURNS_OF_A_STEP).await;
        }
        self.settle().await;
    }

    /// Lets time go on at once, as for a process that was paused.
    pub(crate) async fn jump(&self, by: Duration) {
        self.clock.advance(by);
        self.settle().await;
    }
}

async fn turns(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

fn spawn<F>(run: impl FnOnce(Stop, Stop) -> F) -> Running
where
    F: Future<Output = ()> + Send + 'static,
{
    let (stop, drain) = (Stopper::default(), Stopper::default());
    let future = Box::pin(run(stop.signal(), drain.signal()));
    let handle = TestSpawner.spawn("loop", future);
    Running { stop, drain, handle }
}
