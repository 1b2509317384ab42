//! Agents that ask for work: who waits gets it, and what was given is given again until it is known to have arrived.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_core::model::{AgentProfile, Fence, Principal, RecordDraft, TaskId, Transport};
use arbiter_core::ports::{AgentRegistry as _, HeardFrom, Spawner as _, TaskHandle};
use arbiter_core::services::{WorkDesk as _, WorkRef};
use arbiter_orchestration::{Asked, ClaimError, PullDesk, PullParts, Pulled, Stopper};
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::{agent, agent_principal, kind, profile, report, task};
use arbiter_testkit::faulty::Fault;

use crate::agents::Skill;
use crate::deaf::Deaf;
use crate::events::Events;
use crate::given::seconds;
use crate::watch::lock;
use crate::world::{Running, World};

struct Node {
    world: World,
    desk: Arc<PullDesk>,
    registry: Arc<Deaf>,
    stop: Stopper,
    _running: Running,
}

/// The answer of a poll, once there is one.
type Answer = Arc<Mutex<Option<Result<Vec<Pulled>, String>>>>;

/// A poll that is under way.
struct Polling {
    answer: Answer,
    handle: Box<dyn TaskHandle>,
}

impl Polling {
    /// The tasks of its answer, once there is one.
    fn tasks(&self) -> Option<Vec<TaskId>> {
        let answer = lock(&self.answer);
        let answer = answer.as_ref()?.as_ref().expect("it was not refused");
        Some(answer.iter().map(|one| one.stored.task.id).collect())
    }
}

fn who(number: u64) -> Principal {
    agent_principal(100 + number, agent(number))
}

fn asked(slots: u32, wait: Duration) -> Asked {
    Asked {
        slots,
        wait,
        ..Asked::default()
    }
}

impl Node {
    /// Agents 1 and 2 are registered, with two slots each.
    async fn new() -> Self {
        Self::of(World::new()).await
    }

    async fn of(world: World) -> Self {
        for number in [1, 2] {
            world
                .inner
                .register(profile(number), RecordDraft::default())
                .await
                .expect("registered");
            let skill = Skill {
                kinds: BTreeSet::from([kind()]),
                slots: 2,
            };
            lock(&world.agents.known).insert(agent(number), skill);
        }
        let registry = Arc::new(Deaf {
            inner: Arc::clone(&world.inner),
            hears_nothing: AtomicBool::new(false),
            told: AtomicUsize::new(0),
        });
        let desk = Arc::new(PullDesk::new(PullParts {
            desk: Arc::clone(&world.desk) as _,
            offers: Arc::clone(&world.offers),
            reader: Arc::clone(&world.inner) as _,
            allocator: Arc::clone(&world.agents) as _,
            registry: Arc::clone(&registry) as _,
            context: Vec::new(),
            failures: Arc::clone(&world.failures),
            clock: Arc::clone(&world.clock) as _,
            metrics: Arc::clone(&world.metrics) as _,
        }));
        let running = world.start().await;
        Self {
            world,
            desk,
            registry,
            stop: Stopper::default(),
            _running: running,
        }
    }

    async fn poll(&self, number: u64, asked: Asked) -> Polling {
        let (desk, stop) = (Arc::clone(&self.desk), self.stop.signal());
        let answer = Answer::default();
        let slot = Arc::clone(&answer);
        let poll = async move {
            let told = desk.claim(&who(number), asked, &stop).await;
            *lock(&slot) = Some(told.map_err(|error| error.to_string()));
        };
        let handle = TestSpawner.spawn("poll", Box::pin(poll));
        self.world.settle().await;
        Polling { answer, handle }
    }

    async fn reported(&self, number: u64, id: TaskId) {
        let work = WorkRef {
            task: id,
            tenant: self.world.task(id).await.tenant,
            fence: self.fence(id).await,
            command: self.world.ids.command(),
        };
        self.desk
            .report(&who(number), work, report())
            .await
            .expect("reported");
    }

    async fn fence(&self, id: TaskId) -> Fence {
        self.world.task(id).await.state.lease().expect("it is held").fence
    }
}

#[tokio::test]
async fn a_poll_gets_what_is_there_at_once() {
    let node = Node::new().await;
    node.world.submit(1).await;
    let poll = node.poll(1, asked(1, seconds(30))).await;
    assert_eq!(poll.tasks(), Some(vec![task(1)]));
    assert_eq!(node.world.word(task(1)).await, "running", "a claim acknowledges");
    node.reported(1, task(1)).await;
    assert_eq!(node.world.word(task(1)).await, "succeeded");
    let learnt = lock(&node.world.agents.learnt).clone();
    assert_eq!(learnt.len(), 1);
    assert!(learnt[0].succeeded && learnt[0].agent == agent(1));
}

#[tokio::test]
async fn a_poll_waits_for_work_and_no_longer_than_it_said() {
    let node = Node::new().await;
    let (early, late) = (
        node.poll(1, asked(1, seconds(30))).await,
        node.poll(2, asked(1, seconds(5))).await,
    );
    node.world.pass(seconds(4)).await;
    assert_eq!((early.tasks(), late.tasks()), (None, None));
    node.world.pass(seconds(1)).await;
    assert_eq!((early.tasks(), late.tasks()), (None, Some(vec![])));
    node.world.submit(1).await;
    node.world.settle().await;
    assert_eq!(early.tasks(), Some(vec![task(1)]));
}

#[tokio::test]
async fn a_poll_goes_on_when_a_registry_elsewhere_does_not_note_it() {
    let node = Node::new().await;
    let events = Events::new();
    node.registry.hears_nothing.store(true, Ordering::SeqCst);
    let poll = node.poll(1, asked(1, seconds(120))).await;
    node.world.pass(seconds(40)).await;
    assert!(
        node.registry.told.load(Ordering::SeqCst) > 2,
        "it is told again and again"
    );
    let said = || (events.count("agent_not_noted"), events.count("agents_noted"));
    assert_eq!(said(), (1, 0), "which is logged once");
    node.registry.hears_nothing.store(false, Ordering::SeqCst);
    node.world.pass(seconds(40)).await;
    assert_eq!(said(), (1, 1), "until it notes it");
    node.registry.hears_nothing.store(true, Ordering::SeqCst);
    node.world.pass(seconds(20)).await;
    assert_eq!(said(), (2, 1));
    node.world.submit(1).await;
    node.world.settle().await;
    assert_eq!(poll.tasks(), Some(vec![task(1)]));
}

#[tokio::test]
async fn a_poll_that_does_not_wait_is_looked_at_once() {
    let node = Node::new().await;
    node.world.submit(1).await;
    let poll = node.poll(1, asked(1, Duration::ZERO)).await;
    assert_eq!(poll.tasks(), Some(vec![task(1)]));
    let poll = node.poll(2, asked(1, Duration::ZERO)).await;
    assert_eq!(poll.tasks(), Some(vec![]));
}

#[tokio::test]
async fn no_more_is_given_than_slots_were_offered() {
    let node = Node::new().await;
    for number in 1..=3 {
        node.world.submit(number).await;
    }
    let poll = node.poll(1, asked(2, seconds(30))).await;
    assert_eq!(poll.tasks().map(|tasks| tasks.len()), Some(2));
    assert_eq!(node.world.word(task(3)).await, "queued");
}

#[tokio::test]
async fn what_an_agent_does_not_say_that_it_holds_is_given_again() {
    let node = Node::new().await;
    node.world.submit(1).await;
    let lost = node.poll(1, asked(1, seconds(30))).await;
    assert_eq!(lost.tasks(), Some(vec![task(1)]));
    let again = node.poll(1, asked(1, seconds(30))).await;
    assert_eq!(
        again.tasks(),
        Some(vec![task(1)]),
        "its answer may have been lost"
    );
    let holding = BTreeSet::from([(task(1), node.fence(task(1)).await)]);
    let knows = Asked {
        holding,
        ..asked(1, seconds(1))
    };
    let poll = node.poll(1, knows).await;
    node.world.pass(seconds(1)).await;
    assert_eq!(poll.tasks(), Some(vec![]));
    assert_eq!(
        node.world.history(task(1)).await.attempts.len(),
        0,
        "it is one attempt"
    );
}

#[tokio::test]
async fn a_poll_that_was_cut_off_offers_nothing_any_more() {
    let node = Node::new().await;
    let cut = node.poll(1, asked(1, seconds(30))).await;
    cut.handle.abort();
    node.world.settle().await;
    node.world.submit(1).await;
    node.world.pass(seconds(2)).await;
    assert_eq!(node.world.word(task(1)).await, "queued");
    let poll = node.poll(2, asked(1, seconds(30))).await;
    assert_eq!(poll.tasks(), Some(vec![task(1)]));
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_reaches_the_poll_that_waits() {
    let world = World::new();
    let node = Node::of(world).await;
    node.world.watch.fail("claim", [Fault::UnknownAfter]);
    let poll = node.poll(1, asked(1, seconds(30))).await;
    node.world.submit(1).await;
    node.world.pass(seconds(2)).await;
    assert_eq!(poll.tasks(), Some(vec![task(1)]));
}

#[tokio::test]
async fn an_agent_that_is_not_registered_is_told_so() {
    let node = Node::new().await;
    let told = node
        .desk
        .claim(&who(9), asked(1, seconds(30)), &node.stop.signal())
        .await;
    assert!(
        matches!(told, Err(ClaimError::Unregistered(id)) if id == agent(9)),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_key_that_names_the_agent_of_another_tenant_gets_nothing_of_its_work() {
    let node = Node::new().await;
    node.world.submit(1).await;
    let theirs = node.poll(1, asked(1, seconds(30))).await;
    assert_eq!(theirs.tasks(), Some(vec![task(1)]));
    let start = node.world.now();
    node.world.pass(seconds(20)).await;
    let posing = Principal {
        tenant: arbiter_testkit::builders::tenant(2),
        ..who(1)
    };
    let told = node
        .desk
        .claim(&posing, asked(1, seconds(30)), &node.stop.signal())
        .await;
    assert!(matches!(told, Err(ClaimError::Unregistered(_))), "{told:?}");
    let from = HeardFrom::since(start.plus(seconds(1)));
    let heard = node.world.inner.heard(from, 10).await.expect("heard");
    assert_eq!(heard.agents, [], "nor is it a heartbeat of that agent");
}

#[tokio::test]
async fn an_agent_that_its_node_runs_does_not_ask_for_work() {
    let node = Node::new().await;
    let hosted = AgentProfile {
        transport: Transport::Exec,
        ..profile(3)
    };
    let registered = node.world.inner.register(hosted, RecordDraft::default()).await;
    registered.expect("registered");
    let told = node
        .desk
        .claim(&who(3), asked(1, seconds(30)), &node.stop.signal())
        .await;
    assert!(matches!(told, Err(ClaimError::Unregistered(_))), "{told:?}");
}

#[tokio::test]
async fn a_poll_is_a_heartbeat_of_its_agent() {
    let node = Node::new().await;
    let start = node.world.now();
    let poll = node.poll(1, asked(1, seconds(60))).await;
    node.world.pass(seconds(46)).await;
    assert_eq!(poll.tasks(), None);
    let from = HeardFrom::since(start);
    let heard = node.world.inner.heard(from, 10).await.expect("heard").agents;
    let silent = |number| {
        let seen = heard
            .iter()
            .find(|seen| seen.agent == agent(number))
            .expect("known");
        node.world.now().since(seen.at)
    };
    assert!(silent(1) <= seconds(15), "{:?}", silent(1));
    assert_eq!(silent(2), seconds(46));
}

#[tokio::test]
async fn polls_end_when_the_node_stops() {
    let node = Node::new().await;
    let poll = node.poll(1, asked(1, seconds(60))).await;
    node.stop.stop();
    node.world.settle().await;
    assert_eq!(poll.tasks(), Some(vec![]));
}

#[tokio::test]
async fn what_is_paused_is_not_given_and_limits_hold() {
    let mut world = World::new();
    world.rules.paused_agents.insert(agent(1));
    let tenant = arbiter_testkit::builders::tenant(1);
    world.rules.running_per_tenant.insert(tenant, 1);
    let node = Node::of(world).await;
    for number in 1..=2 {
        node.world.submit(number).await;
    }
    let paused = node.poll(1, asked(1, seconds(30))).await;
    let poll = node.poll(2, asked(2, seconds(30))).await;
    node.world.pass(seconds(2)).await;
    assert_eq!(paused.tasks(), None, "the agent is paused");
    assert_eq!(
        poll.tasks(),
        Some(vec![task(1)]),
        "one task of the tenant may run"
    );
    node.reported(2, task(1)).await;
    let poll = node.poll(2, asked(2, seconds(30))).await;
    node.world.pass(seconds(2)).await;
    assert_eq!(poll.tasks(), Some(vec![task(2)]));
}
