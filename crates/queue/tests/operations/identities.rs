//! Callers for whom another party vouches: principals from their first call on, like every other one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Operation, Principal, Role};
use arbiter_core::ports::{
    AuthenticationError, Authenticator as _, ClientCertificate, Clock as _, Credential, Identity,
    IdentityProvider,
};
use arbiter_queue::erasures::Erasures;
use arbiter_queue::tenants::{TenantSettings, Tenants};
use arbiter_queue::{Directory, Identities, KnownPrincipal, PrincipalChange, QueueError};
use arbiter_testkit::builders::{tenant, user};
use async_trait::async_trait;

use crate::faults::Port;
use crate::world::{TENANT, World, admin, in_tenant, submission};

/// Vouches for whom a test says, whatever is shown.
struct Vouches(Mutex<Option<Identity>>);

#[async_trait]
impl IdentityProvider for Vouches {
    async fn identify(&self, _: &Credential) -> Result<Identity, AuthenticationError> {
        let identity = self.0.lock().expect("a lock").clone();
        identity.ok_or(AuthenticationError::Expired)
    }
}

struct Bench {
    world: World,
    directory: Directory,
    tenants: Tenants,
    vouches: Arc<Vouches>,
    identities: Identities,
}

fn ann() -> Principal {
    user(70, [Role::Submitter])
}

fn shown() -> Credential {
    Credential::Bearer(SecretText::new("a.b.c"))
}

impl Bench {
    /// Somebody vouches for [`ann`], and her tenant is there.
    async fn new() -> Self {
        let world = World::new();
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
        world.board.refresh().await.expect("refreshed");
        let vouches = Arc::new(Vouches(Mutex::default()));
        let bench = Self {
            directory: Directory::new(Arc::clone(&world.queue), world.keys.principals().clone()),
            identities: identities(&world).with_tokens(Arc::clone(&vouches) as _),
            tenants,
            vouches,
            world,
        };
        bench.vouch(&ann());
        bench
    }

    fn vouch(&self, principal: &Principal) {
        let identity = Identity {
            principal: principal.clone(),
            name: "ann (https://issuer.example)".to_owned(),
        };
        *self.vouches.0.lock().expect("a lock") = Some(identity);
    }

    async fn show(&self) -> Result<Principal, AuthenticationError> {
        self.identities.authenticate(&shown()).await
    }

    async fn word(&self) -> &'static str {
        self.show()
            .await
            .map_or_else(|error| error.word(), |_| "accepted")
    }

    async fn record(&self) -> Option<KnownPrincipal> {
        let principals = self.world.keys.principals();
        principals.find(TENANT, ann().id).await.expect("read")
    }

    async fn disable(&self, disabled: bool) {
        let change = PrincipalChange {
            disabled: Some(disabled),
            ..PrincipalChange::default()
        };
        let changed = self
            .directory
            .update(&admin(), TENANT, ann().id, None, change)
            .await;
        changed.expect("changed");
    }
}

fn identities(world: &World) -> Identities {
    Identities::new(
        Arc::clone(&world.keys),
        Arc::clone(&world.board),
        Arc::clone(&world.clock) as _,
    )
}

#[tokio::test]
async fn the_first_call_makes_a_principal_on_record_and_later_ones_write_nothing() {
    let bench = Bench::new().await;
    let mark = bench.world.mark().await;
    assert_eq!(bench.show().await.expect("accepted"), ann());
    let record = bench.record().await.expect("a record");
    assert_eq!(record.principal, ann());
    assert_eq!(record.name, "ann (https://issuer.example)");
    assert_eq!(record.created_at, Some(bench.world.clock.now()));
    for _ in 0..3 {
        assert_eq!(bench.word().await, "accepted");
        bench.world.pass(Duration::from_secs(1)).await;
    }
    let leaves = bench.world.leaves().await.split_off(mark);
    let told: Vec<String> = leaves.iter().map(crate::world::Leaf::told).collect();
    assert_eq!(told, ["principal.create+document_written done -"]);
    assert_eq!(leaves[0].principal, Some(ann().id.to_string()));
    assert!(
        !format!("{leaves:?}").contains("issuer.example"),
        "no name is in the log"
    );
}

#[tokio::test]
async fn what_nobody_reads_is_not_supported() {
    let world = World::new();
    let plain = identities(&world);
    let certificate = Credential::Certificate(ClientCertificate::verified(b"x"));
    for credential in [shown(), certificate.clone()] {
        let told = plain
            .authenticate(&credential)
            .await
            .expect_err("nobody reads it");
        assert_eq!(told.word(), "unsupported");
    }
    // One form is no other.
    let bench = Bench::new().await;
    let told = bench
        .identities
        .authenticate(&certificate)
        .await
        .expect_err("nobody reads it");
    assert_eq!(told.word(), "unsupported");
    let key = Credential::ApiKey(SecretText::new("a.b.c"));
    let told = bench.identities.authenticate(&key).await.expect_err("no key");
    assert_eq!(told.word(), "malformed");
    let both = identities(&bench.world).with_certificates(Arc::clone(&bench.vouches) as _);
    assert_eq!(both.authenticate(&certificate).await.expect("accepted"), ann());
}

#[tokio::test]
async fn a_disabled_principal_is_refused_from_then_on_whoever_vouches() {
    let bench = Bench::new().await;
    assert_eq!(bench.word().await, "accepted");
    assert_eq!(bench.word().await, "accepted", "remembered");
    bench.disable(true).await;
    assert_eq!(bench.word().await, "disabled");
    // Nor does another right open the door.
    bench.vouch(&user(70, [Role::Admin]));
    assert_eq!(bench.word().await, "disabled");
    bench.disable(false).await;
    assert_eq!(bench.word().await, "accepted");
}

#[tokio::test]
async fn what_another_node_disables_is_refused_within_half_a_second() {
    let bench = Bench::new().await;
    let elsewhere = arbiter_queue::ApiKeys::new(
        Arc::clone(&bench.world.documents),
        Arc::clone(&bench.world.clock) as _,
        Arc::new(arbiter_testkit::SeededEntropy::new(2)),
    );
    let elsewhere = Directory::new(Arc::clone(&bench.world.queue), elsewhere.principals().clone());
    assert_eq!(bench.word().await, "accepted");
    assert_eq!(bench.word().await, "accepted", "remembered");
    let change = PrincipalChange {
        disabled: Some(true),
        ..PrincipalChange::default()
    };
    let changed = elsewhere.update(&admin(), TENANT, ann().id, None, change).await;
    changed.expect("disabled");
    bench.world.pass(Duration::from_millis(500)).await;
    assert_eq!(bench.word().await, "disabled");
}

#[tokio::test]
async fn a_tenant_that_is_not_there_takes_nobody_in() {
    let bench = Bench::new().await;
    bench.vouch(&in_tenant(2, ann()));
    assert_eq!(bench.word().await, "unknown");
    let principals = bench.world.keys.principals();
    assert_eq!(principals.find(tenant(2), ann().id).await.expect("read"), None);
}

#[tokio::test]
async fn a_suspended_tenant_is_told_so_and_a_deleted_one_is_gone() {
    let bench = Bench::new().await;
    let other = arbiter_queue::tenants::NewTenant {
        name: "other".to_owned(),
        weight: 1,
        limits: arbiter_queue::tenants::TenantLimits::default(),
    };
    let other = bench
        .tenants
        .create(&admin(), other, None)
        .await
        .expect("made")
        .record
        .id;
    let there = Principal {
        tenant: other,
        ..ann()
    };
    bench.vouch(&there);
    assert_eq!(bench.show().await.expect("accepted"), there);
    let why = "unpaid".to_owned();
    bench
        .tenants
        .suspend(&admin(), other, None, why)
        .await
        .expect("suspended");
    let caller = bench.show().await.expect("it is known who calls");
    let refused = bench.world.queue.submit(&caller, submission()).await;
    assert!(matches!(refused, Err(QueueError::TenantSuspended)), "{refused:?}");
    bench
        .tenants
        .delete(&admin(), other, None, "gone".to_owned())
        .await
        .expect("deleted");
    assert_eq!(bench.word().await, "unknown");
}

#[tokio::test]
async fn rights_are_those_of_the_rules_at_once_and_the_record_follows_within_a_minute() {
    let bench = Bench::new().await;
    assert_eq!(bench.word().await, "accepted");
    let roles = |record: Option<KnownPrincipal>| record.expect("a record").principal.roles;
    let reviewer = user(70, [Role::Reviewer]);
    bench.vouch(&reviewer);
    assert_eq!(bench.show().await.expect("accepted"), reviewer);
    assert_eq!(
        roles(bench.record().await),
        [Role::Submitter].into(),
        "it was made just now"
    );
    bench.world.pass(Duration::from_secs(60)).await;
    let mark = bench.world.mark().await;
    // Two tokens in turn: one write a minute.
    for _ in 0..10 {
        bench.vouch(&reviewer);
        assert_eq!(bench.show().await.expect("accepted"), reviewer);
        bench.vouch(&ann());
        assert_eq!(bench.show().await.expect("accepted"), ann());
    }
    assert_eq!(
        bench.world.told(mark).await,
        ["principal.update+document_written done -"]
    );
    assert_eq!(roles(bench.record().await), [Role::Reviewer].into());
    bench.world.pass(Duration::from_secs(60)).await;
    assert_eq!(bench.word().await, "accepted");
    assert_eq!(roles(bench.record().await), [Role::Submitter].into());
    assert_eq!(
        bench.record().await.expect("a record").name,
        "ann (https://issuer.example)"
    );
}

#[tokio::test]
async fn a_store_that_is_down_lets_nobody_in() {
    let bench = Bench::new().await;
    bench.world.faults.break_port(Port::Documents);
    assert_eq!(bench.word().await, "unavailable");
    bench.world.faults.mend();
    assert_eq!(bench.word().await, "accepted");
    bench.world.pass(Duration::from_millis(500)).await;
    bench.world.faults.break_port(Port::Documents);
    assert_eq!(
        bench.word().await,
        "unavailable",
        "what was remembered is too old"
    );
}

#[tokio::test]
async fn what_the_other_party_refuses_is_refused_for_its_reason() {
    let bench = Bench::new().await;
    *bench.vouches.0.lock().expect("a lock") = None;
    assert_eq!(bench.word().await, "expired");
    assert_eq!(bench.record().await, None);
}

#[tokio::test]
async fn first_calls_at_once_make_one_principal() {
    let bench = Bench::new().await;
    let mark = bench.world.mark().await;
    let calls = (0..20).map(|_| bench.show());
    for told in futures_util::future::join_all(calls).await {
        assert_eq!(told.expect("accepted"), ann());
    }
    assert_eq!(
        bench.world.told(mark).await,
        ["principal.create+document_written done -"]
    );
    assert_eq!(bench.record().await.expect("a record").revision, 1);
    // What it may do is decided by its roles, as for everybody.
    bench.world.policy.forbid(Operation::TaskSubmit);
    let refused = bench.world.queue.submit(&ann(), submission()).await;
    assert!(matches!(refused, Err(QueueError::Forbidden)), "{refused:?}");
}
