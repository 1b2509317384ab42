//! Webhooks of tenants: what is kept, what they are told of, and how it is delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::lifecycle::{ReleaseDecision, RetryPlan};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{
    FailReason, HoldReason, HookId, OutboxId, Principal, Role, SecurityLevel, TaskId, TaskKind, TenantId,
};
use arbiter_core::ports::{
    AuditEntry, AuditLog, DocumentContent, DocumentKey, DocumentWrite, Documents, Effects, HookAnswer,
    HookEndpoint, HookMessage, HookTransport, HookTrouble, NewOutboxEntry, Outbox, Precondition, TaskReader,
};
use arbiter_core::services::WorkDesk as _;
use arbiter_queue::RecordError;
use arbiter_queue::hooks::{
    Courier, CourierSettings, DeliveryStatus, Events, Feeder, FeederPorts, Hook, HookChange, HookEvent,
    HookSettings, Hooks, NewHook, NewSecret, TOPIC,
};
use arbiter_testkit::builders::{json, tenant, user};
use arbiter_testkit::{RecordingMetrics, SeededEntropy, Stop};
use async_trait::async_trait;
use futures_util::future::join;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::world::{Plan, TENANT, World, in_tenant, operator, submission_with, submitter};

const URL: &str = "https://example.com/hook/token-canary";

struct Bench {
    world: World,
    hooks: Hooks,
    events: Events,
    documents: Arc<dyn Documents>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Plan)) -> Self {
        let world = World::with(change);
        let documents: Arc<dyn Documents> = Arc::clone(&world.store) as _;
        let hooks = desk(&world);
        let reader: Arc<dyn TaskReader> = Arc::clone(&world.store) as _;
        let events = Events::new(&documents, reader, Arc::clone(&world.clock) as _);
        Self {
            world,
            hooks,
            events,
            documents,
        }
    }

    async fn hook(&self, events: &[HookEvent]) -> NewSecret {
        self.hooks
            .create(&operator(), TENANT, new(URL, events), None)
            .await
            .expect("made")
            .record
    }

    async fn entries(&self, from: usize) -> Vec<AuditEntry> {
        let log: &dyn AuditLog = &*self.world.store;
        log.read(from as u64, 1_000).await.expect("read")
    }

    /// The messages that the log's entries from `from` on make.
    async fn made(&self, from: usize) -> Vec<NewOutboxEntry> {
        self.events
            .deliveries(&self.entries(from).await)
            .await
            .expect("made")
    }

    /// The bodies of those messages.
    async fn payloads(&self, from: usize) -> Vec<Value> {
        let made = self.made(from).await;
        made.iter()
            .map(|entry| entry.body.value()["payload"].clone())
            .collect()
    }

    /// Puts what the whole log makes onto the outbox, as the follower does.
    async fn post(&self) -> Vec<OutboxId> {
        let made = self.made(0).await;
        let ids = made.iter().map(|entry| entry.id).collect();
        self.put(made).await;
        ids
    }

    async fn put(&self, outbox: Vec<NewOutboxEntry>) {
        let write = DocumentWrite {
            key: DocumentKey {
                kind: "cursor",
                tenant: TenantId::SYSTEM,
                id: "hooks".to_owned(),
            },
            precondition: Precondition::Any,
            content: Some(DocumentContent {
                body: json("1"),
                index: Vec::new(),
                expires_at: None,
            }),
        };
        let effects = Effects {
            outbox,
            ..Effects::default()
        };
        self.documents.write(vec![write], effects).await.expect("written");
    }

    fn courier(&self, receiver: &Arc<Receiver>) -> Courier {
        let outbox: Arc<dyn Outbox> = Arc::clone(&self.world.store) as _;
        Courier::new(
            outbox,
            &self.documents,
            Arc::clone(receiver) as _,
            Arc::clone(&self.world.clock) as _,
            Arc::new(RecordingMetrics::new()),
            CourierSettings::default(),
        )
    }

    async fn status(&self, hook: HookId) -> Vec<(DeliveryStatus, u16, Option<String>)> {
        let log = self
            .hooks
            .deliveries(&operator(), TENANT, hook)
            .await
            .expect("log");
        log.into_iter()
            .map(|one| (one.status, one.tries, one.error))
            .collect()
    }

    async fn read(&self, hook: HookId) -> Hook {
        self.hooks.get(&operator(), TENANT, hook).await.expect("hook")
    }

    async fn cancelled(&self) -> TaskId {
        let task = self.world.task().await;
        self.cancel(task).await;
        task
    }

    async fn cancel(&self, task: TaskId) {
        self.world
            .queue
            .cancel(&operator(), task, None, "enough".to_owned())
            .await
            .expect("cancelled");
    }

    async fn due_now(&self) -> usize {
        let outbox: &dyn Outbox = &*self.world.store;
        outbox
            .take(TOPIC, 1_000, Duration::ZERO)
            .await
            .expect("taken")
            .len()
    }
}

/// Hooks kept in a world, at most three of a tenant.
pub(crate) fn desk(world: &World) -> Hooks {
    let documents: Arc<dyn Documents> = Arc::clone(&world.store) as _;
    let settings = HookSettings {
        per_tenant: 3,
        ..HookSettings::default()
    };
    let entropy = Arc::new(SeededEntropy::new(2));
    Hooks::new(Arc::clone(&world.queue), &documents, entropy, settings)
}

pub(crate) fn new(url: &str, events: &[HookEvent]) -> NewHook {
    NewHook {
        url: SecretText::new(url),
        events: events.iter().copied().collect(),
        kinds: None,
    }
}

/// Address, secrets, body and earlier tries of a delivery.
type Got = (String, Vec<String>, Value, u16);

/// Answers as told, and keeps what it got.
struct Receiver {
    script: Box<dyn Fn(&HookMessage) -> HookAnswer + Send + Sync>,
    got: Mutex<Vec<Got>>,
    /// Deliveries to addresses with this text wait until they are let go.
    slow: Option<&'static str>,
    let_go: Notify,
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
    arrived: Notify,
}

impl Receiver {
    fn new(script: impl Fn(&HookMessage) -> HookAnswer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self::plain(script))
    }

    fn plain(script: impl Fn(&HookMessage) -> HookAnswer + Send + Sync + 'static) -> Self {
        Self {
            script: Box::new(script),
            got: Mutex::default(),
            slow: None,
            let_go: Notify::new(),
            waiting: AtomicUsize::new(0),
            most_waiting: AtomicUsize::new(0),
            arrived: Notify::new(),
        }
    }

    fn willing() -> Arc<Self> {
        Self::new(|_| OK)
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

const OK: HookAnswer = HookAnswer::Delivered { status: 204 };

fn busy() -> HookAnswer {
    HookAnswer::Retry {
        after: None,
        trouble: HookTrouble::Unavailable { status: 503 },
    }
}

#[async_trait]
impl HookTransport for Receiver {
    async fn deliver(&self, endpoint: &HookEndpoint, message: &HookMessage) -> HookAnswer {
        let url = endpoint.url.expose().to_owned();
        if self.slow.is_some_and(|slow| url.contains(slow)) {
            let now = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_waiting.fetch_max(now, Ordering::SeqCst);
            self.let_go.notified().await;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        let secrets = endpoint
            .secrets
            .iter()
            .map(|secret| secret.expose().to_owned())
            .collect();
        let got = (url, secrets, message.body.value(), message.tries);
        self.got.lock().unwrap_or_else(PoisonError::into_inner).push(got);
        self.arrived.notify_one();
        (self.script)(message)
    }
}

fn code<T: std::fmt::Debug>(answer: Result<T, RecordError>) -> &'static str {
    answer.expect_err("refused").code()
}

#[tokio::test]
async fn a_hook_is_made_read_changed_and_deleted_and_each_call_is_on_record() {
    let bench = Bench::new();
    let from = bench.world.mark().await;
    let made = bench.hook(&[HookEvent::Closed]).await;
    let id = made.hook.id;
    assert!(made.secret.expose().starts_with("whsec_") && made.secret.expose().len() == 50);
    assert_eq!(bench.read(id).await.url.expose(), URL);
    let change = HookChange {
        paused: Some(true),
        kinds: Some(Some([TaskKind::new("analysis").expect("kind")].into())),
        ..HookChange::default()
    };
    let updated = bench
        .hooks
        .update(&operator(), TENANT, id, Some(1), change)
        .await
        .expect("updated");
    assert_eq!(
        (updated.revision, updated.paused, updated.is_active()),
        (2, true, false)
    );
    let stale = bench
        .hooks
        .update(&operator(), TENANT, id, Some(1), HookChange::default())
        .await;
    assert!(
        matches!(stale, Err(RecordError::Changed { current: 2 })),
        "{stale:?}"
    );
    let listed = bench.hooks.list(&operator(), TENANT).await.expect("list");
    assert_eq!(listed.len(), 1);
    bench
        .hooks
        .delete(&operator(), TENANT, id, Some(2))
        .await
        .expect("deleted");
    assert_eq!(code(bench.hooks.get(&operator(), TENANT, id).await), "not_found");
    assert_eq!(
        bench.world.told(from).await,
        [
            "hook.create+document_written done -",
            "hook.update+document_written done -",
            "hook.update+rejected refused precondition_failed",
            "hook.delete+document_written done -",
        ]
    );
}

#[tokio::test]
async fn only_who_may_manages_hooks_and_never_in_another_tenant() {
    let bench = Bench::new();
    let id = bench.hook(&[HookEvent::Closed]).await.hook.id;
    let elsewhere = in_tenant(2, operator());
    let change = || HookChange::default();
    let all = [HookEvent::Closed];
    for who in [submitter(), elsewhere.clone()] {
        let hooks = &bench.hooks;
        assert_eq!(
            code(hooks.create(&who, TENANT, new(URL, &all), None).await),
            "forbidden"
        );
        assert_eq!(code(hooks.list(&who, TENANT).await), "forbidden");
        assert_eq!(code(hooks.get(&who, TENANT, id).await), "forbidden");
        assert_eq!(
            code(hooks.update(&who, TENANT, id, None, change()).await),
            "forbidden"
        );
        assert_eq!(
            code(hooks.rotate(&who, TENANT, id, None, Duration::ZERO).await),
            "forbidden"
        );
        assert_eq!(code(hooks.delete(&who, TENANT, id, None).await), "forbidden");
        assert_eq!(code(hooks.deliveries(&who, TENANT, id).await), "forbidden");
        let delivery = OutboxId::from_bytes([1; 16]);
        assert_eq!(code(hooks.replay(&who, TENANT, id, delivery).await), "forbidden");
    }
    // a hook of another tenant is no hook of one's own
    assert_eq!(
        code(bench.hooks.get(&elsewhere, tenant(2), id).await),
        "not_found"
    );
    let admin = in_tenant(2, user(9, [Role::Admin]));
    bench
        .hooks
        .get(&admin, TENANT, id)
        .await
        .expect("admins see all tenants");
}

#[tokio::test]
async fn what_cannot_work_is_refused_with_the_field() {
    let bench = Bench::new();
    for (new, field) in [
        (new("http://example.com/", &[HookEvent::Closed]), "url"),
        (new("http://127.0.0.1/", &[HookEvent::Closed]), "url"),
        (new(URL, &[]), "events"),
        (
            NewHook {
                kinds: Some(BTreeSet::new()),
                ..new(URL, &[HookEvent::Closed])
            },
            "kinds",
        ),
    ] {
        let refused = bench.hooks.create(&operator(), TENANT, new, None).await;
        assert!(matches!(&refused, Err(RecordError::Invalid { field: named, .. }) if *named == field));
    }
    for _ in 0..3 {
        bench.hook(&[HookEvent::Closed]).await;
    }
    let fourth = bench
        .hooks
        .create(&operator(), TENANT, new(URL, &[HookEvent::Closed]), None)
        .await;
    assert_eq!(code(fourth), "too_large");
}

#[tokio::test]
async fn secrets_and_addresses_are_in_no_record_and_no_debug_text() {
    let bench = Bench::new();
    let made = bench.hook(&[HookEvent::Closed]).await;
    let shown = format!("{made:?} {:?}", bench.read(made.hook.id).await);
    for canary in [made.secret.expose(), "token-canary"] {
        assert!(!shown.contains(canary), "{shown}");
        for entry in bench.entries(0).await {
            let leaf = String::from_utf8(entry.leaf).expect("text");
            let detail = entry.detail.map(|detail| detail.body.as_str().to_owned());
            assert!(!leaf.contains(canary) && !detail.unwrap_or_default().contains(canary));
        }
    }
}

#[tokio::test]
async fn messages_tell_of_ends_and_never_of_content() {
    let bench = Bench::new();
    let hook = bench.hook(HookEvent::ALL).await.hook;
    let from = bench.world.mark().await;
    let submission = submission_with(|spec| {
        spec.instructions = "instructions-canary".to_owned();
        spec.input = Some(json(r#"{"input":"canary"}"#));
        spec.labels.insert("team".to_owned(), "blue".to_owned());
    });
    let task = bench.world.task_of(&submitter(), submission).await;
    bench.cancel(task).await;
    let entries = bench.made(from).await;
    assert_eq!(entries.len(), 1, "a submission alone tells nothing");
    assert_eq!(entries[0].topic, TOPIC);
    let payload = entries[0].body.value()["payload"].clone();
    let expected = json!({
        "version": 1,
        "id": entries[0].id.to_string(),
        "type": "task.closed",
        "at": "2026-01-01T00:00:00.000000Z",
        "tenant": TENANT.to_string(),
        "task": {
            "id": task.to_string(), "kind": bench.world.stored(task).await.spec.kind.as_str(),
            "state": "cancelled", "version": 2, "labels": {"team": "blue"},
        },
    });
    assert_eq!(payload, expected);
    assert_eq!(entries[0].body.value()["hook"], json!(hook.id.to_string()));
    assert!(!entries[0].body.as_str().contains("canary"));
    assert_eq!(
        bench.made(from).await[0].id,
        entries[0].id,
        "the same entry makes the same message"
    );
}

#[tokio::test]
async fn labels_of_restricted_tasks_stay_inside() {
    let bench = Bench::new();
    bench.hook(&[HookEvent::Closed]).await;
    let submission = submission_with(|spec| {
        spec.security = SecurityLevel::Restricted;
        spec.labels.insert("team".to_owned(), "blue".to_owned());
    });
    let task = bench.world.task_of(&submitter(), submission).await;
    bench.cancel(task).await;
    let payload = bench.payloads(0).await.remove(0);
    assert_eq!(payload["task"].get("labels"), None);
    assert_eq!(payload["task"]["id"], json!(task.to_string()));
}

/// Runs one attempt of a task that fails, with a plan of what follows.
async fn after_failure(plan: RetryPlan, events: &[HookEvent]) -> Vec<(String, Value, Value)> {
    let bench = Bench::with(|world| world.after_failure = plan);
    bench.hook(events).await;
    let work = bench.world.work().await;
    let worker = crate::world::worker(1);
    bench
        .world
        .queue
        .fail(&worker, work, arbiter_testkit::builders::failure())
        .await
        .expect("taken");
    let told = bench.payloads(0).await.into_iter();
    told.map(|one| {
        let event = one["type"].as_str().unwrap_or_default().to_owned();
        (event, one["task"]["state"].clone(), one["task"]["reason"].clone())
    })
    .collect()
}

#[tokio::test]
async fn each_way_to_stop_has_its_event() {
    let all = HookEvent::ALL;
    let told = |word: &str, state: &str, reason: &str| vec![(word.to_owned(), json!(state), json!(reason))];
    let low = RetryPlan::Hold(HoldReason::LowConfidence);
    assert_eq!(
        after_failure(low, all).await,
        told("task.review_needed", "held", "low_confidence")
    );
    assert_eq!(
        after_failure(low, &[HookEvent::Held]).await,
        told("task.held", "held", "low_confidence")
    );
    assert_eq!(
        after_failure(RetryPlan::Hold(HoldReason::RetryPlan), all).await,
        told("task.held", "held", "retry_plan")
    );
    assert_eq!(
        after_failure(RetryPlan::Fail(FailReason::Policy), all).await,
        told("task.closed", "failed", "policy")
    );
    let dead = RetryPlan::DeadLetter(arbiter_core::model::DeadReason::Poison);
    assert_eq!(
        after_failure(dead, all).await,
        told("task.dead_lettered", "dead_lettered", "poison")
    );
    assert_eq!(after_failure(dead, &[HookEvent::Closed]).await, []);
    assert_eq!(after_failure(RetryPlan::Retry { after: None }, all).await, []);
}

#[tokio::test]
async fn a_success_is_told_without_a_reason_and_a_released_task_again() {
    let bench = Bench::with(|world| world.after_failure = RetryPlan::Hold(HoldReason::Rule));
    bench.hook(HookEvent::ALL).await;
    let work = bench.world.work().await;
    let worker = crate::world::worker(1);
    bench
        .world
        .queue
        .fail(&worker, work, arbiter_testkit::builders::failure())
        .await
        .expect("taken");
    bench
        .world
        .queue
        .release(
            &operator(),
            work.task,
            None,
            ReleaseDecision::Resume,
            "go on".to_owned(),
        )
        .await
        .expect("released");
    let again = bench
        .world
        .running(work.task, arbiter_testkit::builders::agent(1))
        .await;
    bench
        .world
        .queue
        .report(&worker, again, arbiter_testkit::builders::report())
        .await
        .expect("taken");
    let told = bench.payloads(0).await;
    let words: Vec<&Value> = told.iter().map(|one| &one["type"]).collect();
    assert_eq!(words, ["task.review_needed", "task.closed"]);
    assert_eq!(told[1]["task"]["state"], json!("succeeded"));
    assert_eq!(told[1]["task"].get("reason"), None);
}

#[tokio::test]
async fn refused_transitions_other_tenants_kinds_and_paused_hooks_make_nothing() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook;
    let task = bench.cancelled().await;
    let from = bench.world.mark().await;
    let again = bench
        .world
        .queue
        .cancel(&operator(), task, None, "again".to_owned())
        .await;
    assert!(again.is_err(), "a closed task is not cancelled twice");
    assert!(bench.world.mark().await > from, "the refusal is on record");
    assert_eq!(bench.made(from).await, []);
    let from = bench.world.mark().await;
    let other: Principal = in_tenant(2, submitter());
    let foreign = bench.world.task_of(&other, crate::world::submission()).await;
    bench
        .world
        .queue
        .cancel(&in_tenant(2, operator()), foreign, None, "x".to_owned())
        .await
        .expect("done");
    assert_eq!(bench.made(from).await, []);
    let change = |kinds, paused| HookChange {
        kinds,
        paused,
        ..HookChange::default()
    };
    let of = |word| Some(Some(BTreeSet::from([TaskKind::new(word).expect("kind")])));
    let from = bench.world.mark().await;
    bench.cancelled().await;
    for (change, count) in [
        (change(of("translation"), None), 0),
        (change(Some(None), None), 1),
        (change(None, Some(true)), 0),
        (change(None, Some(false)), 1),
    ] {
        bench
            .hooks
            .update(&operator(), TENANT, hook.id, None, change)
            .await
            .expect("updated");
        assert_eq!(bench.made(from).await.len(), count);
    }
}

#[tokio::test]
async fn a_message_is_delivered_once_and_noted() {
    let bench = Bench::new();
    let made = bench.hook(&[HookEvent::Closed]).await;
    bench.cancelled().await;
    let ids = bench.post().await;
    let receiver = Receiver::willing();
    let courier = bench.courier(&receiver);
    assert_eq!(courier.round().await.expect("round"), 1);
    assert_eq!(courier.round().await.expect("round"), 0);
    let (url, secrets, body, tries) = receiver.got().remove(0);
    assert_eq!((url.as_str(), tries), (URL, 0));
    assert_eq!(secrets, [made.secret.expose()]);
    assert_eq!(body["id"], json!(ids[0].to_string()));
    let log = bench
        .hooks
        .deliveries(&operator(), TENANT, made.hook.id)
        .await
        .expect("log");
    assert_eq!(log.len(), 1);
    assert_eq!(
        (log[0].id, log[0].status, log[0].tries),
        (ids[0], DeliveryStatus::Delivered, 1)
    );
    assert_eq!((log[0].http_status, log[0].error.as_deref()), (Some(204), None));
    assert_eq!(
        bench.read(made.hook.id).await.revision,
        1,
        "a delivery is no change of the hook"
    );
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_new_one_until_its_end() {
    let bench = Bench::new();
    let made = bench.hook(&[HookEvent::Closed]).await;
    let hour = Duration::from_hours(1);
    let rotated = bench
        .hooks
        .rotate(&operator(), TENANT, made.hook.id, Some(1), hour)
        .await
        .expect("new");
    assert_ne!(rotated.secret.expose(), made.secret.expose());
    let receiver = Receiver::willing();
    let courier = bench.courier(&receiver);
    bench.cancelled().await;
    bench.post().await;
    courier.round().await.expect("round");
    assert_eq!(
        receiver.got()[0].1,
        [rotated.secret.expose(), made.secret.expose()]
    );
    bench.world.clock.advance(hour);
    let from = bench.world.mark().await;
    bench.cancelled().await;
    bench.put(bench.made(from).await).await;
    courier.round().await.expect("round");
    assert_eq!(receiver.got()[1].1, [rotated.secret.expose()]);
    let too_long = Duration::from_hours(24 * 8);
    let refused = bench
        .hooks
        .rotate(&operator(), TENANT, made.hook.id, None, too_long)
        .await;
    assert_eq!(code(refused), "invalid_value");
}

#[tokio::test]
async fn failures_are_tried_later_and_later_for_a_day_and_then_set_aside() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    bench.cancelled().await;
    bench.post().await;
    let receiver = Receiver::new(|_| busy());
    let courier = bench.courier(&receiver);
    let begin = arbiter_core::ports::Clock::now(&*bench.world.clock);
    let mut waits = Vec::new();
    while courier.round().await.expect("round") > 0 {
        let log = bench
            .hooks
            .deliveries(&operator(), TENANT, hook)
            .await
            .expect("log");
        assert_eq!(log.len(), 1, "one delivery, however many tries");
        let Some(next) = log[0].next_at else {
            assert_eq!(log[0].status, DeliveryStatus::GivenUp);
            break;
        };
        let now = arbiter_core::ports::Clock::now(&*bench.world.clock);
        let wait = next.since(now);
        bench
            .world
            .clock
            .advance(wait.saturating_sub(Duration::from_micros(1)));
        assert_eq!(courier.round().await.expect("round"), 0, "not before its time");
        bench.world.clock.advance(Duration::from_micros(1));
        waits.push(wait);
    }
    let settings = CourierSettings::default();
    for (number, wait) in (1..).zip(&waits[..waits.len() - 1]) {
        let ceiling = settings.backoff.ceiling(number);
        assert!((ceiling / 2..=ceiling).contains(wait), "{number}: {wait:?}");
    }
    let all: Duration = waits.iter().sum();
    assert_eq!(all, settings.give_up_after, "the last try is at the end");
    assert!((8..20).contains(&waits.len()), "{waits:?}");
    let now = arbiter_core::ports::Clock::now(&*bench.world.clock);
    assert_eq!(now.since(begin), settings.give_up_after);
    bench.world.clock.advance(Duration::from_hours(100));
    assert_eq!(bench.due_now().await, 0, "set aside for good");
}

#[tokio::test]
async fn a_wait_that_the_receiver_asks_for_is_kept() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    bench.cancelled().await;
    bench.post().await;
    let asked = Duration::from_mins(10);
    let receiver = Receiver::new(move |_| HookAnswer::Retry {
        after: Some(asked),
        trouble: HookTrouble::Unavailable { status: 429 },
    });
    bench.courier(&receiver).round().await.expect("round");
    let log = bench
        .hooks
        .deliveries(&operator(), TENANT, hook)
        .await
        .expect("log");
    let now = arbiter_core::ports::Clock::now(&*bench.world.clock);
    assert_eq!(log[0].next_at, Some(now.plus(asked)));
    assert_eq!(
        (log[0].http_status, log[0].error.as_deref()),
        (Some(429), Some("unavailable"))
    );
}

#[tokio::test]
async fn a_receiver_that_is_gone_switches_its_hook_off_and_resuming_switches_it_on() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    bench.cancelled().await;
    bench.cancelled().await;
    bench.post().await;
    let receiver = Receiver::new(|_| HookAnswer::GiveUp {
        trouble: HookTrouble::Gone,
    });
    bench.courier(&receiver).round().await.expect("round");
    let off = bench.read(hook).await;
    assert_eq!(
        off.disabled.map(|disabled| disabled.reason),
        Some("gone".to_owned())
    );
    assert_eq!(bench.made(0).await, [], "nothing is made for it");
    bench.post().await;
    let resume = HookChange {
        paused: Some(false),
        ..HookChange::default()
    };
    let on = bench
        .hooks
        .update(&operator(), TENANT, hook, None, resume)
        .await
        .expect("resumed");
    assert!(on.is_active());
    assert_eq!(bench.made(0).await.len(), 2);
}

#[tokio::test]
async fn twenty_failures_in_a_row_over_an_hour_switch_a_hook_off() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    for _ in 0..19 {
        bench.cancelled().await;
    }
    bench.post().await;
    let receiver = Receiver::new(|_| busy());
    let courier = bench.courier(&receiver);
    assert_eq!(courier.round().await.expect("round"), 19);
    assert!(bench.read(hook).await.is_active());
    bench.world.clock.advance(Duration::from_mins(59));
    courier.round().await.expect("round");
    assert!(
        bench.read(hook).await.is_active(),
        "38 failures, but within an hour"
    );
    bench.world.clock.advance(Duration::from_mins(30));
    courier.round().await.expect("round");
    let off = bench.read(hook).await;
    assert_eq!(
        off.disabled.map(|disabled| disabled.reason),
        Some("failing".to_owned())
    );
    bench.world.clock.advance(Duration::from_hours(10));
    let sent = receiver.got().len();
    courier.round().await.expect("round");
    assert_eq!(receiver.got().len(), sent, "what waited is not sent");
    let skipped = bench.status(hook).await;
    assert!(skipped.iter().all(|(status, _, why)| {
        *status == DeliveryStatus::Skipped && why.as_deref() == Some("disabled")
    }));
}

#[tokio::test]
async fn one_success_forgives_all_failures_before_it() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    // every 15th try succeeds: many failures over a day, never twenty in a row
    let receiver = Receiver::new(move |_| {
        if seen.fetch_add(1, Ordering::SeqCst) % 15 == 14 {
            OK
        } else {
            busy()
        }
    });
    for _ in 0..10 {
        bench.cancelled().await;
    }
    bench.post().await;
    let courier = bench.courier(&receiver);
    for _ in 0..6 {
        bench.world.clock.advance(Duration::from_hours(1));
        courier.round().await.expect("round");
    }
    assert!(tries.load(Ordering::SeqCst) > 40);
    assert!(bench.read(hook).await.is_active());
}

#[tokio::test]
async fn a_delivery_of_the_log_is_replayed_under_its_id() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    bench.cancelled().await;
    let id = bench.post().await[0];
    let receiver = Receiver::new(|message| {
        if message.tries == 0 && message.body.value()["again"].is_null() {
            OK
        } else {
            busy()
        }
    });
    let courier = bench.courier(&receiver);
    courier.round().await.expect("round");
    let replayed = bench
        .hooks
        .replay(&operator(), TENANT, hook, id)
        .await
        .expect("replayed");
    assert_eq!((replayed.id, replayed.status), (id, DeliveryStatus::Waiting));
    let twice = bench.hooks.replay(&operator(), TENANT, hook, id).await;
    assert_eq!(code(twice), "invalid_value");
    courier.round().await.expect("round");
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].2, got[1].2, "the same message, byte for byte");
    assert_eq!(bench.status(hook).await, [(DeliveryStatus::Delivered, 1, None)]);
    let unknown = bench
        .hooks
        .replay(&operator(), TENANT, hook, OutboxId::from_bytes([9; 16]))
        .await;
    assert_eq!(code(unknown), "not_found");
}

#[tokio::test]
async fn the_log_keeps_the_last_hundred() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    for number in 0..105 {
        bench.cancelled().await;
        if number == 50 {
            bench.world.clock.advance(Duration::from_secs(10));
        }
    }
    bench.post().await;
    let courier = bench.courier(&Receiver::willing());
    while courier.round().await.expect("round") > 0 {}
    assert_eq!(bench.status(hook).await.len(), 100);
}

#[tokio::test]
async fn messages_of_a_deleted_hook_and_unreadable_ones_are_dropped() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    bench.cancelled().await;
    bench.post().await;
    bench
        .put(vec![arbiter_testkit::builders::outbox_entry(7, TOPIC)])
        .await;
    bench
        .hooks
        .delete(&operator(), TENANT, hook, None)
        .await
        .expect("deleted");
    let receiver = Receiver::willing();
    bench.courier(&receiver).round().await.expect("round");
    assert_eq!(receiver.got(), []);
    bench.world.clock.advance(Duration::from_hours(1));
    assert_eq!(bench.due_now().await, 0);
}

#[tokio::test]
async fn one_slow_receiver_does_not_starve_the_others() {
    let bench = Bench::new();
    let slow_url = "https://slow.example.com/";
    let slow = bench
        .hooks
        .create(&operator(), TENANT, new(slow_url, &[HookEvent::Closed]), None)
        .await;
    let slow = slow.expect("made").record.hook.id;
    // many messages for the slow one first, then one for another tenant
    for _ in 0..90 {
        bench.cancelled().await;
    }
    bench.post().await;
    let other = in_tenant(2, operator());
    bench
        .hooks
        .create(&other, tenant(2), new(URL, &[HookEvent::Closed]), None)
        .await
        .expect("made");
    let from = bench.world.mark().await;
    let task = bench
        .world
        .task_of(&in_tenant(2, submitter()), crate::world::submission())
        .await;
    bench
        .world
        .queue
        .cancel(&other, task, None, "x".to_owned())
        .await
        .expect("done");
    bench.world.clock.advance(Duration::from_millis(1));
    bench.put(bench.made(from).await).await;
    let receiver = Arc::new(Receiver {
        slow: Some("slow"),
        ..Receiver::plain(|_| OK)
    });
    let courier = bench.courier(&receiver);
    let stop = Stop::new();
    let test = async {
        receiver.arrived.notified().await;
        let got = receiver.got();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].0, URL, "the other tenant's message came through");
        assert_eq!(
            receiver.waiting.load(Ordering::SeqCst),
            4,
            "four of the slow one are under way"
        );
        stop.stop();
        // what is under way is finished before the courier returns
        for _ in 0..4 {
            receiver.let_go.notify_one();
            receiver.arrived.notified().await;
        }
    };
    join(courier.run(&stop), test).await;
    assert_eq!(receiver.most_waiting.load(Ordering::SeqCst), 4);
    assert_eq!(bench.status(slow).await.len(), 4, "and noted");
    bench.world.clock.advance(CourierSettings::default().lease);
    assert_eq!(
        bench.due_now().await,
        86,
        "the rest is offered again after its lease"
    );
}

#[tokio::test]
async fn the_loop_tries_again_when_the_time_has_come() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    bench.cancelled().await;
    bench.post().await;
    let receiver = Receiver::new(|message| if message.tries < 2 { busy() } else { OK });
    let courier = bench.courier(&receiver);
    let stop = Stop::new();
    let test = async {
        while receiver.got().len() < 3 {
            bench.world.clock.advance_to_next_sleeper();
            tokio::task::yield_now().await;
        }
        stop.stop();
    };
    join(courier.run(&stop), test).await;
    assert_eq!(bench.status(hook).await, [(DeliveryStatus::Delivered, 3, None)]);
}

#[tokio::test]
async fn two_couriers_note_in_the_same_log_without_losing_a_line() {
    let bench = Bench::new();
    let hook = bench.hook(&[HookEvent::Closed]).await.hook.id;
    for _ in 0..60 {
        bench.cancelled().await;
    }
    bench.post().await;
    let receiver = Receiver::willing();
    let (one, two) = (bench.courier(&receiver), bench.courier(&receiver));
    let stop = Stop::new();
    let test = async {
        while receiver.got().len() < 60 {
            bench.world.clock.advance_to_next_sleeper();
            tokio::task::yield_now().await;
        }
        stop.stop();
    };
    join(join(one.run(&stop), two.run(&stop)), test).await;
    assert_eq!(bench.status(hook).await.len(), 60);
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for (_, _, body, _) in receiver.got() {
        *times.entry(body["id"].to_string()).or_default() += 1;
    }
    assert!(times.values().all(|count| *count == 1), "each once");
}

/// A feeder over the bench's store.
fn feeder(bench: &Bench) -> Feeder {
    Feeder::new(ports_of(bench))
}

fn ports_of(bench: &Bench) -> FeederPorts {
    FeederPorts {
        node: arbiter_testkit::builders::node(1),
        audit: Arc::clone(&bench.world.store) as _,
        documents: Arc::clone(&bench.documents),
        reader: Arc::clone(&bench.world.store) as _,
        leases: Arc::clone(&bench.world.store) as _,
        wakeups: Arc::clone(&bench.world.wakeups) as _,
        clock: Arc::clone(&bench.world.clock) as _,
    }
}

async fn waiting(bench: &Bench) -> usize {
    let outbox: &dyn Outbox = &*bench.world.store;
    let taken = outbox
        .take(TOPIC, 100, Duration::from_millis(1))
        .await
        .expect("taken");
    bench.world.clock.advance(Duration::from_millis(2));
    taken.len()
}

#[tokio::test]
async fn the_feeder_makes_each_message_once_wherever_it_is_killed() {
    let bench = Bench::new();
    bench.cancelled().await;
    bench.world.clock.advance(Duration::from_secs(1));
    bench.hook(&[HookEvent::Closed]).await;
    bench.cancelled().await;
    let (first, second) = (feeder(&bench), feeder(&bench));
    let place = first.place().await.expect("read");
    let (next, more) = first.round(place).await.expect("fed");
    assert!(!more);
    assert_eq!(
        waiting(&bench).await,
        1,
        "what happened before the hook was made is not told"
    );
    assert!(second.round(place).await.is_err(), "another went on from there");
    assert_eq!(waiting(&bench).await, 1);
    let place = second.place().await.expect("read");
    let (_, _) = second.round(place).await.expect("fed");
    assert_eq!(waiting(&bench).await, 1, "the place was stored with the message");
    let before = bench.world.count().await;
    let (next, _) = first.round(next).await.expect("fed");
    let (_, _) = first.round(next).await.expect("fed");
    assert_eq!(
        bench.world.count().await,
        before,
        "nothing happened: nothing is written"
    );
}

#[tokio::test]
async fn one_feeder_at_a_time_follows_the_log() {
    let bench = Bench::new();
    bench.hook(&[HookEvent::Closed]).await;
    bench.cancelled().await;
    let stop = Arc::new(Stop::new());
    let (running, signal) = (feeder(&bench), Arc::clone(&stop));
    let other = Feeder::new(FeederPorts {
        node: arbiter_testkit::builders::node(2),
        ..ports_of(&bench)
    });
    let run = async { futures_util::future::join(running.run(&*signal), other.run(&*signal)).await };
    let end = async {
        for _ in 0..40 {
            tokio::task::yield_now().await;
            bench.world.clock.advance(Duration::from_millis(100));
        }
        stop.stop();
    };
    join(run, end).await;
    assert_eq!(waiting(&bench).await, 1);
}
