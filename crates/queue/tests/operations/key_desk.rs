//! Keys as operators manage them: at most two live ones, replaced with an overlap, and when they were last used.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Principal, Role, TenantScope, Timestamp};
use arbiter_core::ports::{
    Clearance, Clock as _, Credential, Document, DocumentError, DocumentKey, DocumentQuery, DocumentWrite,
    Documents, Effects, StoreError,
};
use arbiter_queue::{ApiKeys, KeyDesk, KeyError, MadeKey, NewKey, RecordError, Rotation};
use arbiter_testkit::SeededEntropy;
use arbiter_testkit::builders::{principal, tenant, user};
use async_trait::async_trait;
use futures_util::future::join;
use tokio::sync::Barrier;

use crate::faults::Port;
use crate::principals::{Bench, admin, code};
use crate::world::{TENANT, in_tenant, operator, submitter};

const MINUTE: Duration = Duration::from_secs(60);

struct Office {
    bench: Bench,
    desk: KeyDesk,
    owner: Principal,
}

impl Office {
    async fn new() -> Self {
        let bench = Bench::new();
        let desk = KeyDesk::new(Arc::clone(&bench.world.queue), Arc::clone(&bench.world.keys));
        let owner = bench.stored(submitter()).await;
        Self { bench, desk, owner }
    }

    async fn key(&self, lifetime: Option<Duration>) -> NewKey {
        let made = self
            .desk
            .create(&operator(), TENANT, self.owner.id, lifetime, None)
            .await;
        fresh(made)
    }

    async fn rotate(&self, key: &NewKey, overlap: Duration) -> Result<NewKey, RecordError> {
        let rotation = Rotation {
            overlap,
            ..Rotation::default()
        };
        let rotated = self
            .desk
            .rotate(&operator(), TENANT, self.owner.id, &key.id, rotation)
            .await;
        rotated.map(|made| made.key.expect("a new one"))
    }

    async fn accepts(&self, key: &NewKey) -> bool {
        let credential = Credential::ApiKey(SecretText::new(key.text.expose()));
        let source = format!("source of {}", self.bench.world.mark().await);
        let answer = self.bench.world.queue.authenticate(&credential, &source).await;
        answer.is_ok()
    }

    async fn live(&self) -> usize {
        let now = self.bench.world.clock.now();
        let keys = self.bench.world.keys.list(self.owner.id).await.expect("listed");
        keys.iter().filter(|key| key.is_live(now)).count()
    }

    async fn used(&self) -> Option<Timestamp> {
        let keys = self.desk.list(&operator(), TENANT, self.owner.id).await;
        keys.expect("listed").first().expect("a key").last_used_at
    }
}

/// The key of a call that made one.
fn fresh(made: Result<MadeKey, RecordError>) -> NewKey {
    made.expect("a key").key.expect("a new one")
}

#[tokio::test]
async fn a_key_is_made_listed_and_revoked_on_record() {
    let office = Office::new().await;
    let mark = office.bench.world.mark().await;
    let made = office
        .desk
        .create(&operator(), TENANT, office.owner.id, Some(MINUTE), None)
        .await;
    let MadeKey { key, info } = made.expect("a key");
    let key = key.expect("a new one");
    let now = office.bench.world.clock.now();
    assert_eq!(
        (info.expires_at, info.last_used_at),
        (Some(now.plus(MINUTE)), None)
    );
    assert!(office.accepts(&key).await);
    let listed = office.desk.list(&operator(), TENANT, office.owner.id).await;
    assert_eq!(listed.expect("listed").len(), 1);
    let revoked = office
        .desk
        .revoke(&operator(), TENANT, office.owner.id, &key.id)
        .await;
    assert_eq!(revoked.expect("revoked").revoked_at, Some(now));
    assert!(!office.accepts(&key).await);
    assert_eq!(
        office.bench.world.told(mark).await,
        [
            "key.create+key_created done -",
            "key.revoke+key_revoked done -",
            "authentication_failed refused revoked",
        ]
    );
}

#[tokio::test]
async fn a_third_live_key_is_refused() {
    let office = Office::new().await;
    let first = office.key(None).await;
    office.key(Some(MINUTE)).await;
    let third = async || {
        office
            .desk
            .create(&operator(), TENANT, office.owner.id, None, None)
            .await
            .map(|_| ())
    };
    assert_eq!(code(&third().await), "too_large");
    let leaf = office.bench.world.last_leaf().await;
    assert_eq!(leaf.told(), "key.create+rejected refused too_large");
    assert_eq!(code(&office.rotate(&first, MINUTE).await), "too_large");
    office.bench.world.clock.advance(MINUTE);
    assert_eq!(code(&third().await), "done", "one has expired");
    assert_eq!(office.live().await, 2);
}

#[tokio::test]
async fn a_rotated_key_is_accepted_for_the_overlap_and_not_longer() {
    let office = Office::new().await;
    let old = office.key(None).await;
    let new = office.rotate(&old, MINUTE).await.expect("rotated");
    let leaf = office.bench.world.last_leaf().await;
    assert_eq!(leaf.told(), "key.create+key_created+key_revoked done -");
    assert_eq!(leaf.resource.expect("resource").id, new.id);
    assert_eq!(leaf.body.expect("detail")["replaces"], old.id.as_str());
    assert!(office.accepts(&old).await && office.accepts(&new).await);
    office.bench.world.clock.advance(MINUTE);
    assert!(!office.accepts(&old).await && office.accepts(&new).await);
    assert_eq!(code(&office.rotate(&old, MINUTE).await), "invalid_value");
}

#[tokio::test]
async fn a_rotation_without_overlap_ends_the_old_key_at_once_and_fits_beside_another() {
    let office = Office::new().await;
    let (old, other) = (office.key(None).await, office.key(None).await);
    let new = office.rotate(&old, Duration::ZERO).await.expect("rotated");
    assert!(!office.accepts(&old).await);
    assert!(office.accepts(&new).await && office.accepts(&other).await);
    assert_eq!(office.live().await, 2);
}

#[tokio::test]
async fn a_rotation_never_lengthens_the_old_key() {
    let office = Office::new().await;
    let old = office.key(Some(MINUTE)).await;
    office.rotate(&old, MINUTE * 10).await.expect("rotated");
    office.bench.world.clock.advance(MINUTE);
    assert!(!office.accepts(&old).await);
}

#[tokio::test]
async fn times_out_of_range_are_refused() {
    let office = Office::new().await;
    let key = office.key(None).await;
    for lifetime in [Duration::ZERO, Duration::MAX] {
        let refused = office
            .desk
            .create(&operator(), TENANT, office.owner.id, Some(lifetime), None)
            .await;
        assert_eq!(code(&refused), "invalid_value");
    }
    assert_eq!(code(&office.rotate(&key, Duration::MAX).await), "invalid_value");
}

#[tokio::test]
async fn nobody_takes_a_key_of_a_principal_that_may_do_more() {
    let office = Office::new().await;
    let boss = office.bench.stored(user(40, [Role::Admin])).await;
    let key = office.desk.create(&admin(), TENANT, boss.id, None, None).await;
    let key = fresh(key);
    let mark = office.bench.world.mark().await;
    let create = office.desk.create(&operator(), TENANT, boss.id, None, None).await;
    assert_eq!(code(&create), "forbidden");
    let rotation = Rotation::default();
    let rotate = office
        .desk
        .rotate(&operator(), TENANT, boss.id, &key.id, rotation)
        .await;
    assert_eq!(code(&rotate), "forbidden");
    let revoke = office.desk.revoke(&operator(), TENANT, boss.id, &key.id).await;
    assert_eq!(code(&revoke), "forbidden");
    assert_eq!(
        office.bench.world.told(mark).await,
        [
            "key.create+rejected refused forbidden",
            "key.create+rejected refused forbidden",
            "key.revoke+rejected refused forbidden",
        ]
    );
    // Naming a principal beside the key that is not its owner does not help.
    let revoke = office
        .desk
        .revoke(&operator(), TENANT, office.owner.id, &key.id)
        .await;
    assert_eq!(code(&revoke), "not_found");
    assert!(office.accepts(&key).await);
}

#[tokio::test]
async fn keys_of_another_tenant_cannot_be_told_from_absent_ones() {
    let office = Office::new().await;
    let other = office
        .bench
        .stored(in_tenant(2, user(50, [Role::Submitter])))
        .await;
    let key = office
        .desk
        .create(&admin(), tenant(2), other.id, None, None)
        .await;
    let key = fresh(key);
    for (of, id) in [
        (other.id, key.id.as_str()),
        (principal(77), key.id.as_str()),
        (office.owner.id, key.id.as_str()),
        (office.owner.id, "0123456789abcdef"),
        (office.owner.id, &"y".repeat(300)),
    ] {
        let revoked = office.desk.revoke(&operator(), TENANT, of, id).await;
        assert_eq!(code(&revoked), "not_found");
        let rotated = office
            .desk
            .rotate(&operator(), TENANT, of, id, Rotation::default())
            .await;
        assert_eq!(code(&rotated), "not_found");
        let revoked = office.desk.revoke(&operator(), tenant(2), of, id).await;
        assert_eq!(code(&revoked), "forbidden");
    }
    for of in [other.id, principal(77)] {
        let listed = office.desk.list(&operator(), TENANT, of).await;
        assert_eq!(code(&listed), "not_found");
        let made = office.desk.create(&operator(), TENANT, of, None, None).await;
        assert_eq!(code(&made), "not_found");
    }
    assert!(office.accepts(&key).await);
    assert_eq!(
        code(&office.desk.list(&submitter(), TENANT, office.owner.id).await),
        "forbidden"
    );
}

/// Lets two calls read before either writes.
struct Meeting {
    inner: Arc<dyn Documents>,
    both: Barrier,
    lists: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl Documents for Meeting {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        self.inner.get(scope, keys).await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        self.inner.write(writes, effects).await
    }

    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError> {
        self.inner.clear(clearance).await
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        let found = self.inner.list(scope, query).await;
        if self.lists.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
            self.both.wait().await;
        }
        found
    }
}

impl Office {
    /// The same keys, where two calls read before either writes.
    fn meeting(&self) -> ApiKeys {
        let world = &self.bench.world;
        let meeting = Meeting {
            inner: Arc::clone(&world.store) as _,
            both: Barrier::new(2),
            lists: std::sync::atomic::AtomicUsize::new(0),
        };
        let entropy = Arc::new(SeededEntropy::new(3));
        ApiKeys::new(Arc::new(meeting), Arc::clone(&world.clock) as _, entropy)
    }
}

#[tokio::test]
async fn two_creates_at_the_same_time_never_leave_three_live_keys() {
    let office = Office::new().await;
    office.key(None).await;
    let keys = office.meeting();
    let create = || keys.create(None, TENANT, office.owner.id, None);
    let (one, other) = join(create(), create()).await;
    let refused = match (one, other) {
        (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
        both => panic!("one of them: {both:?}"),
    };
    assert!(matches!(refused, KeyError::TooMany), "{refused:?}");
    assert_eq!(office.live().await, 2);
}

#[tokio::test]
async fn a_create_and_a_rotation_at_the_same_time_never_leave_three_live_keys() {
    let office = Office::new().await;
    let old = office.key(None).await;
    let keys = office.meeting();
    let create = keys.create(None, TENANT, office.owner.id, None);
    let rotate = keys.rotate(None, TENANT, &old.id, None, MINUTE);
    let (created, rotated) = join(create, rotate).await;
    assert!(created.is_ok() != rotated.is_ok(), "{created:?} {rotated:?}");
    assert_eq!(office.live().await, 2);
}

#[tokio::test]
async fn two_creates_at_the_same_time_both_succeed_when_there_is_room() {
    let office = Office::new().await;
    let keys = office.meeting();
    let create = || keys.create(None, TENANT, office.owner.id, None);
    let (one, other) = join(create(), create()).await;
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    assert_eq!(office.live().await, 2);
}

#[tokio::test]
async fn the_last_use_is_noted_without_a_write_and_written_once_a_minute() {
    let office = Office::new().await;
    let world = &office.bench.world;
    let key = office.key(None).await;
    assert_eq!(office.used().await, None);
    let mark = world.mark().await;
    assert!(office.accepts(&key).await);
    let first = world.clock.now();
    assert_eq!(office.used().await, Some(first));
    assert_eq!(world.mark().await, mark, "authentication is a read");
    assert_eq!(world.keys.flush_uses().await.expect("written"), 1);
    assert_eq!(world.keys.flush_uses().await.expect("nothing new"), 0);
    world.clock.advance(Duration::from_secs(59));
    assert!(office.accepts(&key).await);
    assert_eq!(world.keys.flush_uses().await.expect("too soon"), 0);
    world.clock.advance(Duration::from_secs(1));
    assert!(office.accepts(&key).await);
    assert_eq!(world.keys.flush_uses().await.expect("written"), 1);
    assert_eq!(office.used().await, Some(world.clock.now()));
    assert_eq!(world.mark().await, mark + 2);
}

#[tokio::test]
async fn uses_that_could_not_be_written_are_written_later_and_refused_keys_are_not_used() {
    let office = Office::new().await;
    let world = &office.bench.world;
    let key = office.key(None).await;
    assert!(office.accepts(&key).await);
    let used = world.clock.now();
    world.faults.break_port(Port::Documents);
    assert!(world.keys.flush_uses().await.is_err());
    world.faults.mend();
    world.clock.advance(MINUTE);
    world.keys.revoke(None, TENANT, &key.id).await.expect("revoked");
    assert!(!office.accepts(&key).await);
    assert_eq!(world.keys.flush_uses().await.expect("written"), 1);
    assert_eq!(office.used().await, Some(used));
}
