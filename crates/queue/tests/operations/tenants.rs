//! Tenants: what is kept of them, who may do what, and that admission heeds what is set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{Operation, Principal, Role, TaskKind, TenantId};
use arbiter_core::ports::{Clock as _, Hint};
use arbiter_core::services::{Traffic as _, WorkDesk as _, WorkError};
use arbiter_queue::erasures::Erasures;
use arbiter_queue::tenants::{NewTenant, Tenant, TenantChange, TenantLimits, TenantSettings, Tenants};
use arbiter_queue::traffic::TrafficBoard;
use arbiter_queue::{QueueError, RateLimit, RecordError};
use arbiter_testkit::builders::{report, tenant, user};
use arbiter_testkit::effects::RecordingWakeups;

use crate::faults::Port;
use crate::world::{
    Plan, TENANT, World, admin, beat, code, in_tenant, operator, submission, submission_with, submitter,
    worker,
};

struct Bench {
    world: World,
    tenants: Tenants,
}

impl Bench {
    /// A world whose home is tenant 1.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Plan)) -> Self {
        Self::of(World::with(change), TenantSettings::of(TENANT))
    }

    fn of(world: World, settings: TenantSettings) -> Self {
        let tenants = Tenants::new(
            Arc::clone(&world.queue),
            Arc::clone(&world.board),
            &world.documents,
            Arc::new(Erasures::new(
                Arc::clone(&world.queue),
                &world.documents,
                world.keys.principals().clone(),
            )),
            settings,
        );
        Self { world, tenants }
    }

    async fn made(&self, name: &str) -> Tenant {
        let made = self.tenants.create(&admin(), new(name), None).await;
        made.expect("made").record
    }

    async fn limited(&self, limits: TenantLimits) {
        let change = TenantChange {
            limits: Some(limits),
            ..TenantChange::default()
        };
        let changed = self.tenants.update(&admin(), TENANT, None, change).await;
        changed.expect("changed");
    }

    async fn suspended(&self, id: TenantId) -> Tenant {
        let why = "unpaid".to_owned();
        let suspended = self.tenants.suspend(&admin(), id, None, why).await;
        suspended.expect("suspended")
    }
}

fn new(name: &str) -> NewTenant {
    NewTenant {
        name: name.to_owned(),
        weight: 1,
        limits: TenantLimits::default(),
    }
}

fn kind(word: &str) -> TaskKind {
    TaskKind::new(word).expect("a kind")
}

fn told<T>(answer: &Result<T, RecordError>) -> &'static str {
    answer.as_ref().map_or_else(RecordError::code, |_| "done")
}

fn ids(tenants: &[Tenant]) -> Vec<TenantId> {
    tenants.iter().map(|tenant| tenant.id).collect()
}

#[tokio::test]
async fn the_home_is_there_before_anything_is_stored() {
    let bench = Bench::new();
    let home = bench.tenants.get(&operator(), TENANT).await.expect("found");
    assert_eq!(
        (home.name.as_str(), home.weight, home.revision),
        ("default", 1, 0)
    );
    let listed = bench.tenants.list(&operator(), None, 10).await.expect("listed");
    assert_eq!((listed.tenants, listed.next), (vec![home], None));

    let from = bench.world.mark().await;
    bench.tenants.establish().await.expect("established");
    bench.tenants.establish().await.expect("a repeat");
    assert_eq!(bench.world.told(from).await, ["document_written done -"]);
    let home = bench.tenants.get(&operator(), TENANT).await.expect("found");
    assert_eq!((home.revision, home.created_by), (1, None));
    assert_eq!(home.created_at, Some(bench.world.clock.now()));
    let listed = bench.tenants.list(&admin(), None, 10).await.expect("listed");
    assert_eq!(ids(&listed.tenants), [TENANT]);
}

#[tokio::test]
async fn what_is_set_for_the_home_is_stored_although_nothing_was() {
    let bench = Bench::new();
    let change = || TenantChange {
        weight: Some(7),
        ..TenantChange::default()
    };
    let changed = bench.tenants.update(&admin(), TENANT, Some(0), change()).await;
    let changed = changed.expect("changed");
    assert_eq!((changed.weight, changed.revision), (7, 1));
    let late = bench.tenants.update(&admin(), TENANT, Some(0), change()).await;
    assert!(
        matches!(late, Err(RecordError::Changed { current: 1 })),
        "{late:?}"
    );
    bench.tenants.establish().await.expect("established");
    let home = bench.tenants.get(&admin(), TENANT).await.expect("found");
    assert_eq!((home.weight, home.revision), (7, 1));
}

#[tokio::test]
async fn an_admin_makes_changes_and_lists_tenants() {
    let bench = Bench::new();
    let from = bench.world.mark().await;
    let first = bench.made("first").await;
    let second = bench.made("second").await;
    let limits = TenantLimits {
        open_tasks: Some(5),
        submit: Some(RateLimit {
            per_second: 3,
            burst: 4,
        }),
        running: Some(6),
        running_per_kind: BTreeMap::from([(kind("writing"), 2)]),
        kinds: Some(BTreeSet::from([kind("acme/paint")])),
    };
    let change = TenantChange {
        name: Some("renamed".to_owned()),
        weight: Some(30),
        limits: Some(limits.clone()),
    };
    let changed = bench.tenants.update(&admin(), first.id, Some(1), change).await;
    let expected = Tenant {
        name: "renamed".to_owned(),
        weight: 30,
        limits,
        revision: 2,
        ..first.clone()
    };
    assert_eq!(changed.expect("changed"), expected);
    let stale = TenantChange::default();
    let stale = bench.tenants.update(&admin(), first.id, Some(1), stale).await;
    assert_eq!(told(&stale), "precondition_failed");
    assert_eq!(
        bench.tenants.get(&admin(), first.id).await.expect("found"),
        expected
    );
    assert_eq!(
        bench.world.told(from).await,
        [
            "tenant.create+document_written done -",
            "tenant.create+document_written done -",
            "tenant.update+document_written done -",
            "tenant.update+rejected refused precondition_failed",
        ]
    );
    let leaf = &bench.world.leaves().await[from + 2];
    assert_eq!(leaf.tenant, first.id.to_string());
    assert_eq!(leaf.principal, Some(admin().id.to_string()));
    let detail = leaf.body.as_ref().expect("a detail").to_string();
    assert!(!detail.contains("renamed"), "names stay out of the log: {detail}");

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = bench.tenants.list(&admin(), after, 1).await.expect("listed");
        seen.extend(ids(&page.tenants));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut all = vec![TENANT, first.id, second.id];
    all.sort_unstable();
    assert_eq!(seen, all);
}

#[tokio::test]
async fn pages_hold_the_home_once_wherever_it_stands() {
    for home in [TenantId::from_bytes([0xff; 16]), TenantId::from_bytes([1; 16])] {
        let bench = Bench::of(World::new(), TenantSettings::of(home));
        let mut all = vec![home];
        for name in ["a", "b", "c"] {
            all.push(bench.made(name).await.id);
        }
        all.sort_unstable();
        for limit in 1..=5 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = bench.tenants.list(&admin(), after, limit).await.expect("listed");
                assert!(page.tenants.len() <= limit, "{} of {limit}", page.tenants.len());
                seen.extend(ids(&page.tenants));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, all, "pages of {limit}");
        }
    }
}

#[tokio::test]
async fn fields_that_break_a_rule_are_refused_and_audited() {
    let bench = Bench::new();
    let limits = |limits| TenantChange {
        limits: Some(limits),
        ..TenantChange::default()
    };
    let name = |name: String| TenantChange {
        name: Some(name),
        ..TenantChange::default()
    };
    let weight = |weight| TenantChange {
        weight: Some(weight),
        ..TenantChange::default()
    };
    let rate = |per_second, burst| {
        limits(TenantLimits {
            submit: Some(RateLimit { per_second, burst }),
            ..TenantLimits::default()
        })
    };
    let broken = [
        ("name", name(String::new())),
        ("name", name(" ".to_owned())),
        ("name", name("a\nb".to_owned())),
        ("name", name("ä".repeat(101))),
        ("weight", weight(0)),
        ("weight", weight(1_001)),
        ("limits", rate(0, 1)),
        ("limits", rate(1, 0)),
        ("limits", rate(1_000_001, 1)),
        (
            "limits",
            limits(TenantLimits {
                open_tasks: Some(0),
                ..TenantLimits::default()
            }),
        ),
        (
            "limits",
            limits(TenantLimits {
                running: Some(0),
                ..TenantLimits::default()
            }),
        ),
        (
            "limits",
            limits(TenantLimits {
                running_per_kind: BTreeMap::from([(kind("writing"), 0)]),
                ..TenantLimits::default()
            }),
        ),
        (
            "limits",
            limits(TenantLimits {
                kinds: Some(BTreeSet::new()),
                ..TenantLimits::default()
            }),
        ),
    ];
    for (named, change) in broken {
        let refused = bench.tenants.update(&admin(), TENANT, None, change).await;
        let Err(RecordError::Invalid { field, .. }) = &refused else {
            panic!("{named}: {refused:?}");
        };
        assert_eq!(*field, named);
        let leaf = bench.world.last_leaf().await;
        assert_eq!(leaf.told(), "tenant.update+rejected refused invalid_value");
    }
    for change in [weight(1), weight(1_000), name("ä".repeat(100)), rate(1, 1)] {
        let changed = bench.tenants.update(&admin(), TENANT, None, change).await;
        changed.expect("at the border");
    }
    for limit in [0, 1_001] {
        let refused = bench.tenants.list(&admin(), None, limit).await;
        assert_eq!(told(&refused), "invalid_value");
    }
}

#[tokio::test]
async fn there_are_as_many_tenants_as_there_may_be() {
    let settings = TenantSettings {
        most: 2,
        ..TenantSettings::of(TENANT)
    };
    let bench = Bench::of(World::new(), settings);
    bench.tenants.establish().await.expect("established");
    bench.made("second").await;
    let refused = bench.tenants.create(&admin(), new("third"), None).await;
    assert!(
        matches!(refused, Err(RecordError::TooMany { limit: 2, .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn other_tenants_look_absent_and_one_s_own_is_read_only() {
    let bench = Bench::new();
    bench.tenants.establish().await.expect("established");
    let other = bench.made("other").await.id;
    let absent = tenant(77);
    for who in [operator(), user(4, [Role::Auditor])] {
        assert_eq!(bench.tenants.get(&who, TENANT).await.expect("its own").id, TENANT);
        let listed = bench.tenants.list(&who, None, 10).await.expect("listed");
        assert_eq!((ids(&listed.tenants), listed.next), (vec![TENANT], None));
        let theirs = bench.tenants.get(&who, other).await;
        let nobodys = bench.tenants.get(&who, absent).await;
        assert_eq!(format!("{theirs:?}"), format!("{nobodys:?}"));
        assert_eq!(told(&theirs), "not_found");
        let from = bench.world.mark().await;
        for (id, code) in [(TENANT, "forbidden"), (other, "not_found"), (absent, "not_found")] {
            let change = TenantChange::default();
            assert_eq!(told(&bench.tenants.update(&who, id, None, change).await), code);
            let why = || "why".to_owned();
            assert_eq!(told(&bench.tenants.suspend(&who, id, None, why()).await), code);
            assert_eq!(told(&bench.tenants.resume(&who, id, None, why()).await), code);
        }
        assert_eq!(
            told(&bench.tenants.create(&who, new("mine"), None).await),
            "forbidden"
        );
        let mut expected = vec!["tenant.update+authorization_failed refused forbidden"; 9];
        expected.push("tenant.create+authorization_failed refused forbidden");
        assert_eq!(bench.world.told(from).await, expected);
    }
    for who in [submitter(), worker(1)] {
        assert_eq!(told(&bench.tenants.get(&who, TENANT).await), "not_found");
        assert_eq!(told(&bench.tenants.list(&who, None, 10).await), "forbidden");
    }
    let change = TenantChange::default();
    assert_eq!(told(&bench.tenants.get(&admin(), absent).await), "not_found");
    assert_eq!(
        told(&bench.tenants.update(&admin(), absent, None, change).await),
        "not_found"
    );
}

/// Every call of the principals of tenant 1 is refused alike.
async fn all_is_refused(world: &World, running: arbiter_core::services::WorkRef) {
    let refused = |answer: Result<(), QueueError>| {
        assert!(matches!(answer, Err(QueueError::TenantSuspended)), "{answer:?}");
        assert_eq!(code(&answer), "forbidden");
    };
    let queue = &world.queue;
    let (person, agent) = (submitter(), worker(1));
    refused(queue.submit(&person, submission()).await.map(drop));
    refused(queue.get(&person, running.task).await.map(drop));
    refused(
        queue
            .get(&person, arbiter_testkit::builders::task(99))
            .await
            .map(drop),
    );
    refused(queue.history(&person, running.task).await.map(drop));
    let query = arbiter_core::ports::TaskQuery {
        limit: 10,
        ..Default::default()
    };
    refused(queue.list(&person, query).await.map(drop));
    refused(queue.tally(&operator()).await.map(drop));
    refused(queue.permit(&operator(), Operation::KeyList).await);
    let why = "why".to_owned();
    refused(queue.cancel(&operator(), running.task, None, why).await.map(drop));
    let work = [
        queue.may_claim(&agent).await,
        queue.heartbeat(&agent, vec![beat(running)]).await.map(drop),
        queue
            .report(&agent, world.again(running), report())
            .await
            .map(drop),
        queue.acknowledge(&agent, world.again(running)).await.map(drop),
        queue
            .decline(&agent, world.again(running), "no".to_owned())
            .await
            .map(drop),
    ];
    for answer in work {
        assert!(matches!(answer, Err(WorkError::Forbidden)), "{answer:?}");
    }
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_everything_and_others_go_on() {
    let bench = Bench::new();
    let running = bench.world.work().await;
    let elsewhere = in_tenant(2, submitter());
    let suspended = bench.suspended(TENANT).await;
    let suspension = suspended.suspended.expect("suspended");
    assert_eq!(
        (suspension.reason.as_str(), suspension.by),
        ("unpaid", admin().id)
    );
    let last = bench.world.last_leaf().await;
    assert_eq!(
        last.body,
        Some(serde_json::json!({"schema": "tenant/1", "change": "suspended", "reason": "unpaid"}))
    );

    let from = bench.world.mark().await;
    all_is_refused(&bench.world, running).await;
    let leaves = bench.world.leaves().await;
    let fresh = &leaves[from..];
    let expected = "+authorization_failed refused tenant_suspended";
    assert!(
        fresh.iter().all(|leaf| leaf.told().ends_with(expected)),
        "{fresh:?}"
    );
    assert!(fresh.iter().all(|leaf| leaf.tenant == TENANT.to_string()));
    // One record for each principal and operation; repeats are summed.
    let mut told: Vec<_> = fresh.iter().map(|leaf| (&leaf.principal, leaf.told())).collect();
    let count = told.len();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), count);
    bench.world.queue.flush_refusals(true).await.expect("flushed");
    let summed: u64 = bench.world.leaves().await[from..]
        .iter()
        .map(|leaf| leaf.count.unwrap_or(1))
        .sum();
    assert_eq!(summed, 13);

    bench.world.task_of(&elsewhere, submission()).await;
    let seen = bench.world.queue.get(&admin(), running.task).await;
    assert_eq!(
        seen.expect("an admin of another tenant goes on").task.id,
        running.task
    );

    let resumed = bench
        .tenants
        .resume(&admin(), TENANT, None, "paid".to_owned())
        .await;
    let resumed = resumed.expect("resumed");
    assert_eq!((resumed.suspended, resumed.revision), (None, 2));
    bench.world.task().await;
    let again = bench
        .tenants
        .resume(&admin(), TENANT, None, "paid".to_owned())
        .await;
    assert_eq!(again.expect("left as it is").revision, 2);
}

#[tokio::test]
async fn a_suspension_survives_a_restart_and_a_repeat_keeps_its_time() {
    let bench = Bench::new();
    let first = bench.suspended(TENANT).await.suspended.expect("suspended");
    bench.world.clock.advance(Duration::from_secs(5));
    let why = "unpaid still, key sk-abcdefghijklmnopqrstuvwx0123456789".to_owned();
    let again = bench.tenants.suspend(&admin(), TENANT, Some(1), why).await;
    let again = again.expect("suspended").suspended.expect("suspended");
    assert_eq!(again.at, first.at);
    assert!(again.reason.starts_with("unpaid still") && !again.reason.contains("sk-abc"));

    let board = TrafficBoard::new(&bench.world.documents, Arc::new(RecordingWakeups::new()));
    assert!(board.rules().paused_tenants.is_empty());
    board.refresh().await.expect("refreshed");
    assert_eq!(board.rules().paused_tenants, BTreeSet::from([TENANT]));
}

#[tokio::test]
async fn suspending_wants_a_reason_and_never_hits_the_caller_itself() {
    let bench = Bench::new();
    let refused = bench
        .tenants
        .suspend(&admin(), TENANT, None, " ".to_owned())
        .await;
    assert_eq!(told(&refused), "invalid_task");
    let at_home = Principal {
        tenant: TENANT,
        ..admin()
    };
    let refused = bench
        .tenants
        .suspend(&at_home, TENANT, None, "why".to_owned())
        .await;
    assert_eq!(told(&refused), "invalid_value");
    bench.world.task().await;
}

#[tokio::test]
async fn the_backlog_is_bounded_by_the_tenant_s_own_limit() {
    let bench = Bench::with(|plan| plan.settings.open_tasks_per_tenant = 2);
    bench
        .limited(TenantLimits {
            open_tasks: Some(3),
            ..TenantLimits::default()
        })
        .await;
    for (who, limit) in [(submitter(), 3), (in_tenant(2, submitter()), 2)] {
        for _ in 0..limit {
            bench.world.task_of(&who, submission()).await;
        }
        let refused = bench.world.queue.submit(&who, submission()).await;
        assert!(
            matches!(refused, Err(QueueError::BacklogFull { limit: told, .. }) if told == limit),
            "{refused:?}"
        );
    }
    bench.limited(TenantLimits::default()).await;
    let refused = bench.world.queue.submit(&submitter(), submission()).await;
    assert!(
        matches!(refused, Err(QueueError::BacklogFull { limit: 2, .. })),
        "as the settings say again: {refused:?}"
    );
}

#[tokio::test]
async fn kinds_are_the_tenant_s_own_where_it_has_some() {
    let bench = Bench::with(|plan| {
        plan.settings.tenant_kinds = BTreeMap::from([(TENANT, BTreeSet::from([kind("from-settings")]))]);
    });
    let submit = async |who: &Principal, word: &'static str| {
        let submission = submission_with(|spec| spec.kind = kind(word));
        code(&bench.world.queue.submit(who, submission).await)
    };
    assert_eq!(submit(&submitter(), "from-settings").await, "accepted");
    bench
        .limited(TenantLimits {
            kinds: Some(BTreeSet::from([kind("acme/paint")])),
            ..TenantLimits::default()
        })
        .await;
    assert_eq!(submit(&submitter(), "acme/paint").await, "accepted");
    assert_eq!(submit(&submitter(), "from-settings").await, "kind_not_allowed");
    assert_eq!(submit(&submitter(), "writing").await, "kind_not_allowed");
    let of_its_own = Principal {
        kinds: Some(BTreeSet::from([kind("own")])),
        ..submitter()
    };
    assert_eq!(submit(&of_its_own, "own").await, "accepted");
    assert_eq!(submit(&of_its_own, "acme/paint").await, "kind_not_allowed");
    let elsewhere = in_tenant(2, submitter());
    assert_eq!(submit(&elsewhere, "writing").await, "accepted");
}

#[tokio::test]
async fn the_submit_rate_is_the_tenant_s_own_where_it_has_one() {
    let bench = Bench::new();
    bench
        .limited(TenantLimits {
            submit: Some(RateLimit {
                per_second: 1,
                burst: 2,
            }),
            ..TenantLimits::default()
        })
        .await;
    let rates = bench.world.queue.rates(&submitter(), Operation::TaskSubmit);
    assert_eq!(
        (rates[1].of, rates[1].quota, rates[1].remaining),
        ("tenant", 2, 2)
    );
    for expected in ["accepted", "accepted", "rate_limited"] {
        let answer = bench.world.queue.submit(&submitter(), submission()).await;
        assert_eq!(code(&answer), expected);
    }
    let other = bench
        .world
        .queue
        .submit(&in_tenant(2, submitter()), submission())
        .await;
    assert_eq!(code(&other), "accepted");
    bench.world.clock.advance(Duration::from_secs(1));
    bench.world.task().await;
}

#[tokio::test]
async fn dispatchers_are_told_of_weights_and_limits() {
    let bench = Bench::new();
    let made = bench.made("heavy").await.id;
    assert_eq!(bench.world.wakeups.take(), [], "nothing changed for them");
    let change = TenantChange {
        weight: Some(3),
        limits: Some(TenantLimits {
            running: Some(4),
            running_per_kind: BTreeMap::from([(kind("writing"), 2)]),
            ..TenantLimits::default()
        }),
        ..TenantChange::default()
    };
    bench
        .tenants
        .update(&admin(), made, None, change)
        .await
        .expect("changed");
    assert_eq!(bench.world.wakeups.take(), [Hint::Agents]);
    let rules = bench.world.board.rules();
    assert_eq!(rules.weights, BTreeMap::from([(made, 3)]));
    assert_eq!(rules.running_per_tenant, BTreeMap::from([(made, 4)]));
    assert_eq!(
        rules.running_per_kind,
        BTreeMap::from([((made, kind("writing")), 2)])
    );
    assert!(rules.permits(made, &kind("writing")));
    bench.suspended(made).await;
    assert!(!bench.world.board.rules().permits(made, &kind("writing")));
    assert_eq!(bench.world.wakeups.take(), [Hint::Agents]);
}

#[tokio::test]
async fn what_is_in_force_stays_so_while_the_store_is_down() {
    let bench = Bench::new();
    bench.suspended(TENANT).await;
    bench.world.faults.break_port(Port::Documents);
    let failed = bench.world.board.refresh().await;
    assert!(failed.expect_err("down").is_transient());
    assert!(bench.world.queue.is_suspended(TENANT));
    let refused = bench.tenants.create(&admin(), new("lost"), None).await;
    assert_eq!(told(&refused), "unavailable");
    bench.world.faults.mend();
    bench.world.board.refresh().await.expect("refreshed");
    assert!(bench.world.queue.is_suspended(TENANT));
}
