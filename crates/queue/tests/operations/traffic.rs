//! Pausing and resuming: who may do it, what dispatchers are told, and that it survives a restart.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{AgentProfile, Principal, RecordDraft, Role, TaskKind, TenantId};
use arbiter_core::ports::{AgentRegistry, Clock as _, Hint};
use arbiter_core::services::{Traffic as _, TrafficRules};
use arbiter_queue::RecordError;
use arbiter_queue::erasures::Erasures;
use arbiter_queue::tenants::{NewTenant, TenantLimits, TenantSettings, Tenants};
use arbiter_queue::traffic::{Pause, PauseTarget, Pauses, TrafficBoard};
use arbiter_testkit::builders::{agent, profile, tenant, user};
use arbiter_testkit::effects::RecordingWakeups;

use crate::world::{TENANT, World, admin, operator, submitter, worker};

struct Bench {
    world: World,
    pauses: Pauses,
    tenants: Tenants,
}

impl Bench {
    /// A world with agent 1 of tenant 1, agent 2 of tenant 2, and agent 3 that serves all.
    async fn new() -> Self {
        let world = World::new();
        let registry: Arc<dyn AgentRegistry> = Arc::clone(&world.store) as _;
        for (number, owner) in [(1, Some(TENANT)), (2, Some(tenant(2))), (3, None)] {
            let profile = AgentProfile {
                tenant: owner,
                ..profile(number)
            };
            let registered = registry.register(profile, RecordDraft::default()).await;
            registered.expect("registered");
        }
        let pauses = Pauses::new(
            Arc::clone(&world.queue),
            Arc::clone(&world.board),
            &world.documents,
            registry,
        );
        let tenants = Tenants::new(
            Arc::clone(&world.queue),
            Arc::clone(&world.board),
            &world.documents,
            Arc::new(Erasures::new(
                Arc::clone(&world.queue),
                &world.documents,
                world.keys.principals().clone(),
            )),
            TenantSettings::of(TENANT),
        );
        tenants.establish().await.expect("established");
        world.wakeups.take();
        Self {
            world,
            pauses,
            tenants,
        }
    }

    async fn pause(&self, who: &Principal, target: PauseTarget) -> Result<Pause, RecordError> {
        self.pauses.pause(who, target, "upkeep".to_owned()).await
    }

    async fn resume(&self, who: &Principal, target: PauseTarget) -> Result<(), RecordError> {
        self.pauses.resume(who, target, "done".to_owned()).await
    }

    async fn other_tenant(&self) -> TenantId {
        let new = NewTenant {
            name: "other".to_owned(),
            weight: 1,
            limits: TenantLimits::default(),
        };
        let made = self.tenants.create(&admin(), new, None).await;
        made.expect("made").record.id
    }

    fn rules(&self) -> Arc<TrafficRules> {
        self.world.board.rules()
    }
}

fn kind(word: &str) -> TaskKind {
    TaskKind::new(word).expect("a kind")
}

fn of_kind(tenant: Option<TenantId>) -> PauseTarget {
    PauseTarget::Kind {
        kind: kind("writing"),
        tenant,
    }
}

fn told<T>(answer: &Result<T, RecordError>) -> &'static str {
    answer.as_ref().map_or_else(RecordError::code, |_| "done")
}

/// The rules with one thing stopped.
fn with(change: impl FnOnce(&mut TrafficRules)) -> TrafficRules {
    let mut rules = TrafficRules::default();
    change(&mut rules);
    rules
}

#[tokio::test]
async fn each_target_is_told_to_dispatchers_and_survives_a_restart() {
    let bench = Bench::new().await;
    let cases = [
        (PauseTarget::Queue, with(|rules| rules.paused = true)),
        (
            PauseTarget::Tenant(TENANT),
            with(|rules| rules.paused_tenants = BTreeSet::from([TENANT])),
        ),
        (
            of_kind(Some(TENANT)),
            with(|rules| rules.paused_kinds = BTreeSet::from([(Some(TENANT), kind("writing"))])),
        ),
        (
            of_kind(None),
            with(|rules| rules.paused_kinds = BTreeSet::from([(None, kind("writing"))])),
        ),
        (
            PauseTarget::Agent(agent(2)),
            with(|rules| rules.paused_agents = BTreeSet::from([agent(2)])),
        ),
        (
            PauseTarget::Agent(agent(3)),
            with(|rules| rules.paused_agents = BTreeSet::from([agent(3)])),
        ),
    ];
    for (target, expected) in cases {
        let paused = bench.pause(&admin(), target.clone()).await.expect("paused");
        assert_eq!(
            paused,
            Pause {
                target: target.clone(),
                reason: Some("upkeep".to_owned()),
                by: Some(admin().id),
                since: bench.world.clock.now(),
            }
        );
        assert_eq!(*bench.rules(), expected, "{target:?}");
        assert_eq!(bench.world.wakeups.take(), [Hint::Agents]);
        let leaf = bench.world.last_leaf().await;
        assert_eq!(leaf.told(), "queue.pause+document_written done -");
        assert_eq!(
            leaf.body,
            Some(serde_json::json!({"schema": "pause/1", "what": target.word(), "reason": "upkeep"}))
        );

        let board = TrafficBoard::new(&bench.world.documents, Arc::new(RecordingWakeups::new()));
        board.refresh().await.expect("refreshed");
        assert_eq!(*board.rules(), expected, "after a restart: {target:?}");

        bench.resume(&admin(), target.clone()).await.expect("resumed");
        assert_eq!(*bench.rules(), TrafficRules::default(), "{target:?}");
        assert_eq!(bench.world.wakeups.take(), [Hint::Agents]);
        let leaf = bench.world.last_leaf().await;
        assert_eq!(leaf.told(), "queue.resume+document_written done -");
        let again = bench.resume(&admin(), target.clone()).await;
        assert_eq!(told(&again), "not_found", "{target:?} is not paused any more");
        let leaf = bench.world.last_leaf().await;
        assert_eq!(leaf.told(), "queue.resume+rejected refused not_found");
    }
}

#[tokio::test]
async fn an_operator_pauses_what_is_its_tenant_s_and_no_more() {
    let bench = Bench::new().await;
    let other = bench.other_tenant().await;
    let own = [
        PauseTarget::Tenant(TENANT),
        of_kind(Some(TENANT)),
        PauseTarget::Agent(agent(1)),
    ];
    for target in own {
        bench.pause(&operator(), target.clone()).await.expect("paused");
        bench.resume(&operator(), target).await.expect("resumed");
    }
    let refused = [
        (PauseTarget::Queue, "forbidden"),
        (of_kind(None), "forbidden"),
        (PauseTarget::Agent(agent(3)), "forbidden"),
        (PauseTarget::Tenant(other), "not_found"),
        (PauseTarget::Tenant(tenant(77)), "not_found"),
        (of_kind(Some(other)), "not_found"),
        (of_kind(Some(tenant(77))), "not_found"),
        (PauseTarget::Agent(agent(2)), "not_found"),
        (PauseTarget::Agent(agent(77)), "not_found"),
    ];
    for (target, code) in &refused {
        let from = bench.world.mark().await;
        let answer = bench.pause(&operator(), target.clone()).await;
        assert_eq!(told(&answer), *code, "{target:?}");
        assert_eq!(bench.world.mark().await, from + 1, "{target:?} is audited once");
        assert_eq!(bench.world.last_leaf().await.outcome, "refused");
    }
    assert_eq!(*bench.rules(), TrafficRules::default());
    // What an admin paused is not an operator's to resume.
    for (target, code) in refused {
        let absent = matches!(&target, PauseTarget::Agent(id) if *id == agent(77))
            || matches!(&target, PauseTarget::Tenant(id) if *id == tenant(77))
            || target == of_kind(Some(tenant(77)));
        let paused = bench.pause(&admin(), target.clone()).await;
        assert_eq!(
            told(&paused),
            if absent { "not_found" } else { "done" },
            "{target:?}"
        );
        let answer = bench.resume(&operator(), target.clone()).await;
        assert_eq!(told(&answer), code, "{target:?}");
    }
    assert!(bench.rules().paused);
}

#[tokio::test]
async fn others_pause_nothing_and_learn_nothing() {
    let bench = Bench::new().await;
    for who in [submitter(), worker(1), user(4, [Role::Auditor])] {
        for target in [PauseTarget::Queue, PauseTarget::Agent(agent(1))] {
            assert_eq!(told(&bench.pause(&who, target.clone()).await), "forbidden");
            assert_eq!(told(&bench.resume(&who, target).await), "forbidden");
        }
        let answer = bench.pause(&who, PauseTarget::Tenant(TENANT)).await;
        let may_read = who.roles.contains(&Role::Auditor);
        assert_eq!(told(&answer), if may_read { "forbidden" } else { "not_found" });
        let status = bench.pauses.status(&who, None).await;
        assert_eq!(told(&status), if may_read { "done" } else { "not_found" });
    }
    assert_eq!(*bench.rules(), TrafficRules::default());
}

#[tokio::test]
async fn a_reason_is_wanted_kept_without_secrets_and_replaced_by_a_repeat() {
    let bench = Bench::new().await;
    let target = PauseTarget::Tenant(TENANT);
    let refused = bench
        .pauses
        .pause(&operator(), target.clone(), " ".to_owned())
        .await;
    assert_eq!(told(&refused), "invalid_task");
    let first = bench.pause(&operator(), target.clone()).await.expect("paused");
    bench.world.wakeups.take();
    bench.world.clock.advance(Duration::from_secs(9));
    let why = "leaked sk-abcdefghijklmnopqrstuvwx0123456789".to_owned();
    let again = bench.pauses.pause(&operator(), target.clone(), why).await;
    let again = again.expect("paused");
    assert_eq!(again.since, first.since);
    let reason = again.reason.expect("a reason");
    assert!(
        reason.starts_with("leaked ") && !reason.contains("sk-abc"),
        "{reason}"
    );
    assert_eq!(bench.world.wakeups.take(), [], "nothing changed for dispatchers");
    let refused = bench.pauses.resume(&operator(), target, String::new()).await;
    assert_eq!(told(&refused), "invalid_task");
}

#[tokio::test]
async fn the_status_tells_pauses_and_counts_of_the_tenant() {
    let bench = Bench::new().await;
    let other = bench.other_tenant().await;
    bench.world.work().await;
    bench.world.task().await;
    for target in [
        PauseTarget::Queue,
        PauseTarget::Tenant(TENANT),
        of_kind(Some(other)),
        PauseTarget::Agent(agent(2)),
        PauseTarget::Agent(agent(3)),
    ] {
        bench.pause(&admin(), target).await.expect("paused");
    }
    let own = bench.pauses.status(&operator(), None).await.expect("told");
    assert_eq!((own.tenant, own.suspended), (TENANT, false));
    assert_eq!((own.tally.open, own.tally.queued, own.tally.running), (2, 1, 1));
    let seen: Vec<_> = own
        .pauses
        .iter()
        .map(|pause| (pause.target.clone(), pause.reason.is_some(), pause.by.is_some()))
        .collect();
    assert_eq!(
        seen,
        [
            (PauseTarget::Tenant(TENANT), true, true),
            // Why all are stopped may tell of others.
            (PauseTarget::Agent(agent(3)), false, false),
            (PauseTarget::Queue, false, false),
        ]
    );
    for foreign in [other, tenant(77)] {
        let answer = bench.pauses.status(&operator(), Some(foreign)).await;
        assert_eq!(told(&answer), "not_found");
    }
    let all = bench.pauses.status(&admin(), None).await.expect("told");
    assert_eq!((all.pauses.len(), all.tally.open), (5, 0));
    assert!(all.pauses.iter().all(|pause| pause.reason.is_some()));
    let why = "unpaid".to_owned();
    let suspended = bench.tenants.suspend(&admin(), other, None, why).await;
    suspended.expect("suspended");
    let theirs = bench.pauses.status(&admin(), Some(other)).await.expect("told");
    assert_eq!((theirs.tenant, theirs.suspended), (other, true));
    let targets: Vec<_> = theirs.pauses.into_iter().map(|pause| pause.target).collect();
    assert_eq!(
        targets,
        [
            of_kind(Some(other)),
            PauseTarget::Agent(agent(3)),
            PauseTarget::Queue,
        ]
    );
}

#[tokio::test]
async fn a_paused_agent_that_is_gone_can_be_resumed() {
    let bench = Bench::new().await;
    for (number, who) in [(1, operator()), (2, admin())] {
        let target = PauseTarget::Agent(agent(number));
        bench.pause(&who, target).await.expect("paused");
    }
    let registry: Arc<dyn AgentRegistry> = Arc::clone(&bench.world.store) as _;
    bench.world.clock.advance(Duration::from_hours(1));
    let now = bench.world.clock.now();
    let removed = registry.remove_silent(now, RecordDraft::default()).await;
    assert_eq!(removed.expect("removed").len(), 3);
    let target = PauseTarget::Agent(agent(1));
    bench.resume(&operator(), target.clone()).await.expect("resumed");
    assert_eq!(told(&bench.pause(&operator(), target).await), "not_found");
    let theirs = PauseTarget::Agent(agent(2));
    assert_eq!(
        told(&bench.resume(&operator(), theirs.clone()).await),
        "not_found"
    );
    bench.resume(&admin(), theirs).await.expect("resumed");
    assert_eq!(*bench.rules(), TrafficRules::default());
}
