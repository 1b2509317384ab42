//! Calls that make a record are done once per idempotency key, whatever they make.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::mechanism::{SecretText, canonical_json};
use arbiter_core::model::{
    Band, Digest, Operation, Principal, PrincipalKind, RecordDraft, Role, TenantId, TenantScope,
};
use arbiter_core::ports::{
    Applied, Authenticator as _, Clearance, Credential, Document, DocumentContent, DocumentError,
    DocumentKey, DocumentQuery, DocumentWrite, Documents, Effects, Precondition, Retry, StoreError,
};
use arbiter_queue::erasures::Erasures;
use arbiter_queue::hooks::{HookChange, HookEvent, HookSettings, Hooks, NewHook, NewSecret};
use arbiter_queue::schedules::{CatchUp, NewSchedule, Overlap, ScheduleSettings, Schedules};
use arbiter_queue::tenants::{NewTenant, TenantChange, TenantLimits, TenantSettings, Tenants};
use arbiter_queue::{
    ApiKeys, Directory, KeyDesk, Made, MadeKey, NewPrincipal, PrincipalChange, PrincipalRecord, RecordError,
    Rotation,
};
use arbiter_testkit::builders::{json, tenant, user};
use arbiter_testkit::{SeededEntropy, StoredSpecs};
use async_trait::async_trait;
use futures_util::future::join;
use serde_json::json;
use tokio::sync::Barrier;

use crate::world::{TENANT, World, in_tenant, submission};

const DAY: Duration = Duration::from_hours(24);
const URL: &str = "https://example.com/hook/token-canary";

/// What a call makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Hook,
    Key,
    Principal,
    Rotation,
    Schedule,
    Tenant,
}

const ALL: [What; 6] = [
    What::Hook,
    What::Key,
    What::Principal,
    What::Rotation,
    What::Schedule,
    What::Tenant,
];

impl What {
    const fn operation(self) -> Operation {
        match self {
            Self::Hook => Operation::HookCreate,
            Self::Key | Self::Rotation => Operation::KeyCreate,
            Self::Principal => Operation::PrincipalCreate,
            Self::Schedule => Operation::ScheduleCreate,
            Self::Tenant => Operation::TenantCreate,
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Key => "key_created",
            Self::Rotation => "key_created+key_revoked",
            _ => "document_written",
        }
    }

    /// Where what it makes is kept.
    fn document(self, id: &str) -> DocumentKey {
        let (kind, tenant) = match self {
            Self::Hook => ("hook", TENANT),
            Self::Key | Self::Rotation => ("api_key", TenantId::SYSTEM),
            Self::Principal => ("principal", TENANT),
            Self::Schedule => ("schedule", TENANT),
            Self::Tenant => ("tenant", id.parse().expect("an id")),
        };
        DocumentKey {
            kind,
            tenant,
            id: id.to_owned(),
        }
    }
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    One,
    Other,
    /// It breaks a rule.
    Bad,
}

/// An admin of tenant 1.
fn admin() -> Principal {
    user(9, [Role::Admin])
}

/// Everything that makes records, over one store.
struct Bench {
    world: World,
    stage: Arc<Stage>,
    hooks: Hooks,
    keys: Arc<ApiKeys>,
    desk: KeyDesk,
    directory: Directory,
    schedules: Schedules,
    tenants: Tenants,
    /// Principals with one key each, whose id stands beside.
    owners: Vec<(Principal, String)>,
}

impl Bench {
    async fn new() -> Self {
        Self::seeded(2).await
    }

    async fn seeded(seed: u64) -> Self {
        let world = World::new();
        let stage = Arc::new(Stage::over(&world));
        let documents: Arc<dyn Documents> = Arc::clone(&stage) as _;
        let queue = || Arc::clone(&world.queue);
        let entropy = Arc::new(SeededEntropy::new(seed));
        let keys = ApiKeys::new(
            Arc::clone(&documents),
            Arc::clone(&world.clock) as _,
            Arc::clone(&entropy) as _,
        );
        let keys = Arc::new(keys);
        let mut bench = Self {
            hooks: Hooks::new(queue(), &documents, entropy, HookSettings::default()),
            desk: KeyDesk::new(queue(), Arc::clone(&keys)),
            directory: Directory::new(queue(), keys.principals().clone()),
            schedules: Schedules::new(
                queue(),
                &documents,
                Arc::new(StoredSpecs),
                ScheduleSettings::default(),
            ),
            tenants: Tenants::new(
                queue(),
                Arc::clone(&world.board),
                &documents,
                Arc::new(Erasures::new(queue(), &documents, keys.principals().clone())),
                TenantSettings::of(TENANT),
            ),
            keys,
            stage,
            world,
            owners: Vec::new(),
        };
        for number in [61, 62] {
            let principal = user(number, [Role::Submitter]);
            let record = PrincipalRecord {
                principal: principal.clone(),
                name: "Ada".to_owned(),
            };
            let principals = bench.keys.principals();
            let stored = principals.create(&record, RecordDraft::default()).await;
            stored.expect("stored");
            let key = bench.keys.create(None, TENANT, principal.id, None).await;
            bench.owners.push((principal, key.expect("a key").id));
        }
        bench
    }

    /// Makes one in tenant 1. Gives its id, and whether it was made before.
    async fn make(
        &self,
        what: What,
        who: &Principal,
        content: Content,
        key: Option<&str>,
    ) -> Result<(String, bool), RecordError> {
        match what {
            What::Hook => {
                let made = self.hooks.create(who, TENANT, hook(content), key).await?;
                Ok((made.record.hook.id.to_string(), made.repeated))
            }
            What::Key | What::Rotation => {
                let made = self.key(what, who, content, key).await?;
                Ok((made.info.id, made.key.is_none()))
            }
            What::Principal => {
                let made = self
                    .directory
                    .create(who, TENANT, principal(content), key)
                    .await?;
                Ok((made.record.principal.id.to_string(), made.repeated))
            }
            What::Schedule => {
                let made = self.schedules.create(who, TENANT, schedule(content), key).await?;
                Ok((made.schedule.id.to_string(), made.repeated))
            }
            What::Tenant => {
                let made = self.tenants.create(who, new_tenant(content), key).await?;
                Ok((made.record.id.to_string(), made.repeated))
            }
        }
    }

    async fn key(
        &self,
        what: What,
        who: &Principal,
        content: Content,
        key: Option<&str>,
    ) -> Result<MadeKey, RecordError> {
        let (owner, old) = &self.owners[usize::from(content == Content::Other)];
        let bad = content == Content::Bad;
        if what == What::Rotation {
            let rotation = Rotation {
                lifetime: None,
                overlap: if bad { DAY * 31 } else { DAY * 2 },
                idempotency_key: key,
            };
            return self.desk.rotate(who, TENANT, owner.id, old, rotation).await;
        }
        let lifetime = bad.then_some(Duration::ZERO);
        self.desk.create(who, TENANT, owner.id, lifetime, key).await
    }

    async fn document(&self, key: DocumentKey) -> Option<Document> {
        let documents: &dyn Documents = &*self.world.store;
        let found = documents.get(TenantScope::All, &[key]).await.expect("read");
        found.into_iter().flatten().next()
    }

    async fn put(&self, key: DocumentKey, content: Option<DocumentContent>) {
        let write = DocumentWrite {
            key,
            precondition: Precondition::Any,
            content,
        };
        let documents: &dyn Documents = &*self.world.store;
        let written = documents.write(vec![write], Effects::default()).await;
        written.expect("written");
    }

    /// Every document of a kind.
    async fn all(&self, kind: &'static str) -> Vec<Document> {
        let query = DocumentQuery {
            kind,
            index: None,
            after: None,
            limit: 1_000,
        };
        let documents: &dyn Documents = &*self.world.store;
        documents.list(TenantScope::All, query).await.expect("listed")
    }
}

fn hook(content: Content) -> NewHook {
    NewHook {
        url: SecretText::new(if content == Content::Bad { "ftp://x" } else { URL }),
        events: match content {
            Content::Other => [HookEvent::Held].into(),
            _ => [HookEvent::Closed].into(),
        },
        kinds: None,
    }
}

fn principal(content: Content) -> NewPrincipal {
    NewPrincipal {
        name: match content {
            Content::One => "Grace",
            Content::Other => "Hopper",
            Content::Bad => "",
        }
        .to_owned(),
        kind: PrincipalKind::Agent,
        roles: [Role::Agent].into(),
        agent: None,
        kinds: None,
        highest_band: Band::HIGHEST,
    }
}

fn schedule(content: Content) -> NewSchedule {
    NewSchedule {
        name: "nightly report".to_owned(),
        cron: match content {
            Content::One => "0 6 * * *",
            Content::Other => "0 7 * * *",
            Content::Bad => "0 7",
        }
        .to_owned(),
        zone: "UTC".to_owned(),
        task: submission(),
        catch_up: CatchUp::default(),
        overlap: Overlap::Allow,
        jitter: Duration::ZERO,
    }
}

fn new_tenant(content: Content) -> NewTenant {
    NewTenant {
        name: "guests".to_owned(),
        weight: match content {
            Content::One => 1,
            Content::Other => 2,
            Content::Bad => 0,
        },
        limits: TenantLimits::default(),
    }
}

fn code<T>(answer: &Result<T, RecordError>) -> &'static str {
    answer.as_ref().map_or_else(RecordError::code, |_| "done")
}

/// What happens to writes.
enum Play {
    /// They are done.
    Plain,
    /// The next two wait for each other, so that both callers have read before either writes.
    Meet(Arc<Barrier>, AtomicUsize),
    /// The next one is done, but its caller does not learn it.
    Lose,
}

struct Stage {
    inner: Arc<dyn Documents>,
    play: Mutex<Arc<Play>>,
}

impl Stage {
    fn over(world: &World) -> Self {
        Self {
            inner: Arc::clone(&world.store) as _,
            play: Mutex::new(Arc::new(Play::Plain)),
        }
    }

    fn plays(&self, play: Play) {
        *self.play.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(play);
    }
}

#[async_trait]
impl Documents for Stage {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.inner.get(scope, keys).await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        let play = Arc::clone(&self.play.lock().unwrap_or_else(PoisonError::into_inner));
        match &*play {
            Play::Plain => self.inner.write(writes, effects).await,
            Play::Meet(both, count) => {
                if count.fetch_add(1, Ordering::SeqCst) < 2 {
                    both.wait().await;
                }
                self.inner.write(writes, effects).await
            }
            Play::Lose => {
                self.inner.write(writes, effects).await?;
                self.plays(Play::Plain);
                Err(DocumentError::Store(StoreError::Backend {
                    operation: "a test",
                    applied: Applied::Unknown,
                    retry: Retry::Transient,
                    source: "the answer is lost".into(),
                }))
            }
        }
    }

    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError> {
        self.inner.clear(clearance).await
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        self.inner.list(scope, query).await
    }
}

#[tokio::test]
async fn a_repeat_finds_what_the_first_call_made_and_is_on_record_once() {
    for what in ALL {
        let bench = Bench::new().await;
        let from = bench.world.mark().await;
        let first = bench.make(what, &admin(), Content::One, Some("k")).await;
        let (id, repeated) = first.expect("made");
        assert!(!repeated, "{what:?}");
        // As long as the record: past the day too.
        for _ in 0..3 {
            let again = bench.make(what, &admin(), Content::One, Some("k")).await;
            assert_eq!(again.expect("found"), (id.clone(), true), "{what:?}");
            bench.world.clock.advance(DAY);
        }
        let told = format!("{}+{} done -", what.operation().word(), what.action());
        assert_eq!(bench.world.told(from).await, [told], "{what:?}");
        let leaf = &bench.world.leaves().await[from];
        let about = leaf.resource.as_ref().expect("about something");
        let document = what.document(&id);
        assert_eq!(
            (about.kind.as_str(), about.id.as_str(), leaf.tenant.as_str()),
            (document.kind, id.as_str(), document.tenant.to_string().as_str()),
            "{what:?}"
        );
    }
}

#[tokio::test]
async fn the_same_key_with_other_content_is_refused() {
    for what in ALL {
        let bench = Bench::new().await;
        let first = bench.make(what, &admin(), Content::One, Some("k")).await;
        first.expect("made");
        let from = bench.world.mark().await;
        for _ in 0..2 {
            let other = bench.make(what, &admin(), Content::Other, Some("k")).await;
            assert!(
                matches!(other, Err(RecordError::KeyReused)),
                "{what:?}: {other:?}"
            );
            bench.world.clock.advance(DAY);
        }
        let told = format!(
            "{}+rejected refused idempotency_conflict",
            what.operation().word()
        );
        assert_eq!(bench.world.told(from).await, [told.clone(), told], "{what:?}");
    }
}

#[tokio::test]
async fn calls_without_a_key_and_with_other_keys_make_others() {
    for what in ALL {
        // The limit of live keys leaves room for one more.
        let contents = [Content::One, Content::Other];
        let bench = Bench::new().await;
        let plain = bench.make(what, &admin(), contents[0], None).await.expect("made");
        let keyed = bench.make(what, &admin(), contents[1], Some("k")).await;
        assert!(!keyed.as_ref().expect("made").1 && keyed.expect("made").0 != plain.0);
        let written = bench.document(what.document(&plain.0)).await.expect("kept");
        let remembers = written.body.value().get("made_of").is_some();
        assert_eq!(remembers, what == What::Schedule, "{what:?}");
        assert_eq!(bench.all("idempotency").await.len(), 1, "{what:?}");
    }
}

#[tokio::test]
async fn keys_are_those_of_a_principal_in_a_tenant() {
    for what in ALL {
        let bench = Bench::new().await;
        let (id, _) = bench
            .make(what, &admin(), Content::One, Some("k"))
            .await
            .expect("made");
        // With other content, so that the key of the first would be in the way.
        let somebody = user(10, [Role::Admin]);
        let other = bench.make(what, &somebody, Content::Other, Some("k")).await;
        let (other, repeated) = other.expect("made");
        assert!(!repeated && other != id, "{what:?}");
    }
    let bench = Bench::new().await;
    let call = |tenant| {
        bench
            .hooks
            .create(ADMIN.get_or_init(admin), tenant, hook(Content::One), Some("k"))
    };
    let (here, there) = (call(TENANT).await, call(tenant(2)).await);
    assert_ne!(
        here.expect("made").record.hook.id,
        there.expect("made").record.hook.id
    );
    // A tenant is made in none: the caller's own counts.
    let call = async |who: Principal| {
        let made = bench.tenants.create(&who, new_tenant(Content::One), Some("k"));
        made.await.expect("made").record.id
    };
    assert_ne!(call(admin()).await, call(in_tenant(2, admin())).await);
}

static ADMIN: std::sync::OnceLock<Principal> = std::sync::OnceLock::new();

#[tokio::test]
async fn a_refused_call_is_not_remembered() {
    for what in ALL {
        let bench = Bench::new().await;
        let refused = bench.make(what, &admin(), Content::Bad, Some("k")).await;
        assert_eq!(code(&refused), "invalid_value", "{what:?}");
        let nobody = user(9, [Role::Submitter]);
        let refused = bench.make(what, &nobody, Content::One, Some("k")).await;
        assert_eq!(code(&refused), "forbidden", "{what:?}");
        assert_eq!(bench.all("idempotency").await, [], "{what:?}");
        let made = bench.make(what, &admin(), Content::Other, Some("k")).await;
        assert!(!made.expect("made").1, "{what:?}");
    }
}

#[tokio::test]
async fn what_was_deleted_is_not_made_anew_for_a_day() {
    for what in ALL {
        let bench = Bench::new().await;
        let call = async |content| bench.make(what, &admin(), content, Some("k")).await;
        let (id, _) = call(Content::One).await.expect("made");
        bench.put(what.document(&id), None).await;
        let from = bench.world.mark().await;
        let again = call(Content::One).await;
        assert!(matches!(again, Err(RecordError::Deleted)), "{what:?}: {again:?}");
        assert_eq!(code(&again), "idempotency_conflict");
        let other = call(Content::Other).await;
        assert!(
            matches!(other, Err(RecordError::KeyReused)),
            "{what:?}: {other:?}"
        );
        bench.world.clock.advance(Duration::from_micros(86_399_999_999));
        assert_eq!(
            code(&call(Content::One).await),
            "idempotency_conflict",
            "{what:?}"
        );
        assert_eq!(bench.world.mark().await, from + 3);
        bench.world.clock.advance(Duration::from_micros(1));
        assert_eq!(call(Content::One).await.expect("made"), (id, false), "{what:?}");
    }
}

#[tokio::test]
async fn a_hook_that_its_owner_deleted_is_not_made_anew() {
    let bench = Bench::new().await;
    let call = async || {
        bench
            .hooks
            .create(&admin(), TENANT, hook(Content::One), Some("k"))
            .await
    };
    let made = call().await.expect("made").record.hook;
    let deleted = bench.hooks.delete(&admin(), TENANT, made.id, None).await;
    deleted.expect("deleted");
    let again = call().await.expect_err("refused");
    assert!(again.to_string().contains("deleted"), "{again}");
}

#[tokio::test]
async fn a_tenant_that_was_deleted_is_never_made_anew() {
    let bench = Bench::new().await;
    let call = async || bench.make(What::Tenant, &admin(), Content::One, Some("k")).await;
    let (id, _) = call().await.expect("made");
    let tenant: TenantId = id.parse().expect("an id");
    let why = || "they left".to_owned();
    let suspended = bench.tenants.suspend(&admin(), tenant, None, why()).await;
    suspended.expect("suspended");
    let deleted = bench.tenants.delete(&admin(), tenant, None, why()).await;
    deleted.expect("deleted");
    let again = call().await;
    assert!(matches!(again, Err(RecordError::Deleted)), "{again:?}");
    // What stays of it tells nothing of what was asked for.
    let kept = bench.document(What::Tenant.document(&id)).await.expect("kept");
    assert!(kept.body.value().get("made_of").is_none());
    bench.world.clock.advance(DAY);
    assert_eq!(code(&call().await), "idempotency_conflict");
}

#[tokio::test]
async fn two_equal_calls_at_once_make_one() {
    for what in ALL {
        let bench = Bench::new().await;
        let from = bench.world.mark().await;
        let kept = bench.all(what.document(&TENANT.to_string()).kind).await.len();
        let both = Arc::new(Barrier::new(2));
        bench.stage.plays(Play::Meet(both, AtomicUsize::new(0)));
        let who = admin();
        let call = || bench.make(what, &who, Content::One, Some("k"));
        let (one, two) = join(call(), call()).await;
        let ((one, first), (two, second)) = (one.expect("made"), two.expect("made"));
        assert_eq!(one, two, "{what:?}");
        assert!(first != second, "{what:?}: one of them made it");
        assert_eq!(bench.world.mark().await, from + 1, "{what:?}");
        let now = bench.all(what.document(&one).kind).await.len();
        assert_eq!(now, kept + 1, "{what:?}");
    }
}

#[tokio::test]
async fn two_calls_at_once_that_differ_make_one_and_a_conflict() {
    for what in ALL {
        let bench = Bench::new().await;
        let both = Arc::new(Barrier::new(2));
        bench.stage.plays(Play::Meet(both, AtomicUsize::new(0)));
        let who = admin();
        let call = |content| bench.make(what, &who, content, Some("k"));
        let (one, other) = join(call(Content::One), call(Content::Other)).await;
        let mut codes = [code(&one), code(&other)];
        codes.sort_unstable();
        assert_eq!(codes, ["done", "idempotency_conflict"], "{what:?}");
    }
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_repeated() {
    for what in ALL {
        let bench = Bench::new().await;
        bench.stage.plays(Play::Lose);
        let lost = bench.make(what, &admin(), Content::One, Some("k")).await;
        assert_eq!(code(&lost), "unavailable", "{what:?}");
        let again = bench.make(what, &admin(), Content::One, Some("k")).await;
        let (id, repeated) = again.expect("found");
        assert!(repeated, "{what:?}");
        assert!(bench.document(what.document(&id)).await.is_some(), "{what:?}");
    }
}

#[tokio::test]
async fn each_repeat_is_authorised() {
    for what in ALL {
        let bench = Bench::new().await;
        let first = bench.make(what, &admin(), Content::One, Some("k")).await;
        first.expect("made");
        bench.world.policy.forbid(what.operation());
        let again = bench.make(what, &admin(), Content::One, Some("k")).await;
        assert_eq!(code(&again), "forbidden", "{what:?}");
    }
    // Who may give less than before may not have it repeated either.
    let bench = Bench::new().await;
    let new = || NewPrincipal {
        roles: [Role::Admin].into(),
        ..principal(Content::One)
    };
    let made = bench.directory.create(&admin(), TENANT, new(), Some("k")).await;
    made.expect("made");
    let fallen = user(9, [Role::Operator]);
    let again = bench.directory.create(&fallen, TENANT, new(), Some("k")).await;
    assert_eq!(code(&again), "forbidden");
}

#[tokio::test]
async fn a_repeat_shows_the_record_as_it_is_now() {
    let bench = Bench::new().await;
    let by = &admin();
    let hooks = &bench.hooks;
    let call = async || hooks.create(by, TENANT, hook(Content::One), Some("k")).await;
    let id = call().await.expect("made").record.hook.id;
    let pause = HookChange {
        paused: Some(true),
        ..HookChange::default()
    };
    hooks.update(by, TENANT, id, None, pause).await.expect("changed");
    let rotated = hooks.rotate(by, TENANT, id, None, DAY).await.expect("rotated");
    // Past what is remembered beside it.
    bench.world.clock.advance(DAY);
    let Made { record, repeated } = call().await.expect("found");
    let NewSecret { hook: shown, secret } = record;
    assert_eq!((repeated, shown.paused, shown.revision), (true, true, 3));
    assert_eq!(secret.expose(), rotated.secret.expose(), "the present one");

    let call = async || {
        let new = principal(Content::One);
        bench.directory.create(by, TENANT, new, Some("k")).await
    };
    let made = call().await.expect("made").record;
    let id = made.principal.id;
    let change = PrincipalChange {
        name: Some("another".to_owned()),
        ..PrincipalChange::default()
    };
    let changed = bench.directory.update(by, TENANT, id, None, change).await;
    changed.expect("changed");
    // Its keys are a change of it too.
    bench.keys.create(None, TENANT, id, None).await.expect("a key");
    bench.world.clock.advance(DAY);
    let shown = call().await.expect("found").record;
    assert_eq!((shown.name.as_str(), shown.revision), ("another", 3));
    assert_eq!(shown.principal.agent, made.principal.agent, "not another agent");

    let call = async || {
        bench
            .tenants
            .create(by, new_tenant(Content::One), Some("k"))
            .await
    };
    let id = call().await.expect("made").record.id;
    let change = TenantChange {
        name: Some("renamed".to_owned()),
        ..TenantChange::default()
    };
    let changed = bench.tenants.update(by, id, None, change).await;
    changed.expect("changed");
    bench.world.clock.advance(DAY);
    let shown = call().await.expect("found").record;
    assert_eq!((shown.name.as_str(), shown.revision), ("renamed", 2));
}

#[tokio::test]
async fn a_repeat_gives_a_hooks_secret_again_but_never_a_keys() {
    let bench = Bench::new().await;
    let call = async || {
        bench
            .hooks
            .create(&admin(), TENANT, hook(Content::One), Some("k"))
            .await
    };
    let first = call().await.expect("made").record.secret;
    assert_eq!(
        call().await.expect("found").record.secret.expose(),
        first.expose()
    );
    for what in [What::Key, What::Rotation] {
        let bench = Bench::new().await;
        let call = async |key| bench.key(what, &admin(), Content::One, Some(key)).await;
        let first = call("k").await.expect("made");
        let text = first.key.expect("a new one").text;
        let again = call("k").await.expect("found");
        assert!(again.key.is_none(), "{what:?}");
        assert_eq!(again.info, first.info, "{what:?}");
        let credential = Credential::ApiKey(SecretText::new(text.expose()));
        let accepted = bench.keys.authenticate(&credential).await;
        assert_eq!(accepted.expect("accepted").id, bench.owners[0].0.id);
        bench
            .keys
            .revoke(None, TENANT, &again.info.id)
            .await
            .expect("revoked");
        bench.world.clock.advance(DAY);
        let again = call("k").await.expect("found");
        assert!(again.info.revoked_at.is_some(), "as it is now");
        let another = call("l").await;
        assert_ne!(another.expect("made").info.id, again.info.id, "{what:?}");
    }
}

#[tokio::test]
async fn a_keys_secret_is_chance_whatever_its_id_is_made_of() {
    let mut made = Vec::new();
    for seed in [2, 3] {
        let bench = Bench::seeded(seed).await;
        let key = bench.key(What::Key, &admin(), Content::One, Some("k")).await;
        made.push(key.expect("made").key.expect("a new one"));
    }
    let secret = |place: usize| made[place].text.expose()[21..].to_owned();
    assert_eq!(made[0].id, made[1].id);
    assert_ne!(secret(0), secret(1));
}

#[tokio::test]
async fn nothing_that_is_kept_tells_a_key_or_lets_an_address_be_guessed() {
    let bench = Bench::new().await;
    for what in ALL {
        // The limit of live keys leaves room for one more.
        let content = match what {
            What::Rotation => Content::Other,
            _ => Content::One,
        };
        let made = bench.make(what, &admin(), content, Some("word-canary")).await;
        made.expect("made");
    }
    let asked = json!({"url": URL, "events": ["closed"], "kinds": null});
    let wrapped = json!({"makes": "hook", "of": asked});
    let guesses = [asked, wrapped].map(|guess| {
        let canonical = canonical_json(&guess).expect("canonical");
        Digest::of(&canonical).to_string()
    });
    let memories = bench.all("idempotency").await;
    assert_eq!(memories.len(), ALL.len());
    let hooks = bench.all("hook").await;
    assert!(hooks[0].body.value()["made_of"].is_string());
    for kept in memories.iter().chain(&hooks) {
        let text = kept.body.as_str();
        assert!(!text.contains("word-canary"), "{text}");
        assert!(guesses.iter().all(|guess| !text.contains(guess)), "{text}");
    }
    for memory in &memories {
        assert!(!memory.body.as_str().contains("token-canary"));
        assert_eq!(
            memory.expires_at,
            Some(arbiter_core::ports::Clock::now(&*bench.world.clock).plus(DAY))
        );
    }
}

#[tokio::test]
async fn a_record_that_an_older_program_wrote_again_is_recognised_for_the_day() {
    let bench = Bench::new().await;
    let call = async || bench.make(What::Hook, &admin(), Content::One, Some("k")).await;
    let (id, _) = call().await.expect("made");
    let key = What::Hook.document(&id);
    let mut body = bench.document(key.clone()).await.expect("kept").body.value();
    body.as_object_mut().expect("an object").remove("made_of");
    let content = DocumentContent {
        body: json(&body.to_string()),
        index: Vec::new(),
        expires_at: None,
    };
    bench.put(key, Some(content)).await;
    assert_eq!(call().await.expect("found"), (id, true));
    // It cannot be told from another content after that; a second one is not made of it.
    bench.world.clock.advance(DAY);
    assert_eq!(code(&call().await), "idempotency_conflict");
}

#[tokio::test]
async fn a_key_is_a_line_of_255_characters_at_most() {
    for what in ALL {
        let bench = Bench::new().await;
        for bad in ["", " ", "a\nb", &"x".repeat(256)] {
            let refused = bench.make(what, &admin(), Content::One, Some(bad)).await;
            let error = refused.expect_err("refused");
            assert!(error.to_string().contains("Idempotency-Key"), "{what:?}: {error}");
        }
        let longest = "ä".repeat(255);
        let made = bench.make(what, &admin(), Content::One, Some(&longest)).await;
        assert_eq!(code(&made), "done", "{what:?}");
    }
}
