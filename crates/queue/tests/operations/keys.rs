//! API keys: shown once, kept hashed, and refused for every reason with one answer.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{
    Operation, Principal, PrincipalId, RecordDraft, Role, TaskKind, TenantId, TenantScope,
};
use arbiter_core::ports::{
    Clock as _, Credential, DocumentContent, DocumentError, DocumentKey, DocumentQuery, DocumentWrite,
    Documents, Effects, Precondition, StoreError,
};
use arbiter_queue::{ApiKeys, FingerprintKey, KeyError, NewKey, PrincipalRecord, QueueError};
use arbiter_testkit::SeededEntropy;
use arbiter_testkit::builders::{agent, agent_principal, json, principal, tenant, user};

use crate::faults::Port;
use crate::world::{TENANT, World, in_tenant, operator, submitter};

async fn create_principal(world: &World, principal: &Principal) {
    let record = PrincipalRecord {
        principal: principal.clone(),
        name: "Ada".to_owned(),
    };
    world
        .keys
        .principals()
        .create(&record, RecordDraft::default())
        .await
        .expect("created");
}

async fn create_key(world: &World, of: &Principal, lifetime: Option<Duration>) -> NewKey {
    world
        .keys
        .create(Some(operator().id), of.tenant, of.id, lifetime)
        .await
        .expect("a key")
}

async fn with_key(world: &World) -> NewKey {
    create_principal(world, &submitter()).await;
    create_key(world, &submitter(), None).await
}

fn credential(text: &str) -> Credential {
    Credential::ApiKey(SecretText::new(text))
}

async fn authenticate(world: &World, key: &NewKey) -> Result<Principal, QueueError> {
    world
        .queue
        .authenticate(&credential(key.text.expose()), "10.0.0.1")
        .await
}

/// Refused with the one answer, and on record with the real reason.
async fn check_refused(world: &World, credential: &Credential, reason: &str) {
    // from a source of its own, so that nothing is summed up
    let source = format!("source of {}", world.mark().await);
    let error = world
        .queue
        .authenticate(credential, &source)
        .await
        .expect_err("refused");
    assert_eq!(format!("{error:?}"), "AuthFailed");
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("auth_failed", "the credential was not accepted")
    );
    let leaf = world.last_leaf().await;
    assert_eq!(leaf.told(), format!("authentication_failed refused {reason}"));
    assert_eq!(
        (leaf.principal, leaf.tenant),
        (None, TenantId::SYSTEM.to_string())
    );
    let labels = [("reason", reason)];
    assert!(
        world
            .metrics
            .counter("queue.authentication_failures_total", &labels)
            > 0
    );
}

#[tokio::test]
async fn a_key_authenticates_its_principal_as_it_was_stored() {
    let world = World::new();
    let mut rich = agent_principal(5, agent(1));
    rich.kinds = Some([TaskKind::new("acme/paint").expect("kind")].into());
    rich.highest_band = arbiter_core::model::Priority::LOW.band();
    rich.roles.insert(Role::Submitter);
    for who in [
        rich,
        submitter(),
        in_tenant(2, user(6, Role::ALL.iter().copied())),
    ] {
        create_principal(&world, &who).await;
        let key = create_key(&world, &who, None).await;
        assert_eq!(authenticate(&world, &key).await.expect("accepted"), who);
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_kept_hashed() {
    let world = World::new();
    let key = with_key(&world).await;
    let text = key.text.expose().to_owned();
    let (_, secret) = text.rsplit_once('_').expect("a secret");
    assert_eq!(text.len(), "arb_".len() + 16 + 1 + 43);
    assert!(text.starts_with(&format!("arb_{}_", key.id)));
    let documents: &dyn Documents = &*world.store;
    let mut kept = format!(
        "{:?} {:?}",
        world.leaves().await,
        world.keys.list(submitter().id).await
    );
    for kind in ["api_key", "principal"] {
        let query = DocumentQuery {
            kind,
            index: None,
            after: None,
            limit: 100,
        };
        for document in documents.list(TenantScope::All, query).await.expect("list") {
            kept.push_str(document.body.as_str());
            kept.extend([format!("{document:?}")]);
        }
    }
    assert!(kept.contains(&key.id) && kept.contains("secret_sha256"));
    assert!(!kept.contains(secret) && !format!("{key:?}").contains(secret));
}

#[tokio::test]
async fn keys_differ_even_for_one_principal() {
    let world = World::new();
    let first = with_key(&world).await;
    let second = create_key(&world, &submitter(), None).await;
    assert_ne!(first.id, second.id);
    assert_ne!(first.text.expose()[20..], second.text.expose()[20..]);
    for key in [first, second] {
        authenticate(&world, &key).await.expect("both live");
    }
}

#[tokio::test]
async fn a_wrong_secret_or_id_is_refused_as_unknown() {
    let world = World::new();
    let key = with_key(&world).await;
    let text = key.text.expose();
    let last = if text.ends_with('A') { "B" } else { "A" };
    let wrong_secret = format!("{}{last}", &text[..text.len() - 1]);
    let wrong_id = format!("arb_{}{}", "0".repeat(16), &text[20..]);
    for wrong in [wrong_secret, wrong_id] {
        check_refused(&world, &credential(&wrong), "unknown").await;
    }
    authenticate(&world, &key)
        .await
        .expect("the right one is accepted still");
}

#[tokio::test]
async fn the_secret_of_another_key_is_refused() {
    let world = World::new();
    let first = with_key(&world).await;
    let second = create_key(&world, &submitter(), None).await;
    let crossed = format!("{}{}", &first.text.expose()[..20], &second.text.expose()[20..]);
    check_refused(&world, &credential(&crossed), "unknown").await;
}

#[tokio::test]
async fn whatever_is_not_a_key_is_refused_as_malformed() {
    let world = World::new();
    let key = with_key(&world).await;
    let text = key.text.expose();
    let cases = [
        String::new(),
        "arb_".to_owned(),
        text[4..].to_owned(),
        text.to_uppercase(),
        format!("{text} "),
        format!(" {text}"),
        text[..text.len() - 1].to_owned(),
        text.replacen("arb_", "ARB_", 1),
        format!("arb_{}_{}", "g".repeat(16), &text[21..]),
        format!("arb_{}_{}", "0".repeat(17), &text[21..]),
        format!("arb_{}_{}", &key.id, "ä".repeat(43)),
        format!("arb_{}_{}", &key.id, "+".repeat(43)),
        "x".repeat(100_000),
    ];
    for case in cases {
        check_refused(&world, &credential(&case), "malformed").await;
    }
}

#[tokio::test]
async fn another_kind_of_credential_is_refused() {
    let world = World::new();
    let key = with_key(&world).await;
    check_refused(&world, &Credential::Bearer(key.text), "unsupported").await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_from_then_on_and_the_other_goes_on() {
    let world = World::new();
    let key = with_key(&world).await;
    let other = create_key(&world, &submitter(), None).await;
    let info = world
        .keys
        .revoke(Some(operator().id), TENANT, &key.id)
        .await
        .expect("revoked");
    assert_eq!(info.revoked_at, Some(world.clock.now()));
    assert!(!info.is_live(world.clock.now()));
    let leaf = world.last_leaf().await;
    assert_eq!(leaf.told(), "key.revoke+key_revoked done -");
    assert_eq!(leaf.principal, Some(operator().id.to_string()));
    assert_eq!(leaf.resource.expect("resource").id, key.id);
    check_refused(&world, &credential(key.text.expose()), "revoked").await;
    authenticate(&world, &other)
        .await
        .expect("the other one is accepted");
}

#[tokio::test]
async fn revoking_twice_keeps_the_first_time() {
    let world = World::new();
    let key = with_key(&world).await;
    let first = world.keys.revoke(None, TENANT, &key.id).await.expect("revoked");
    let mark = world.mark().await;
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(
        world.keys.revoke(None, TENANT, &key.id).await.expect("again"),
        first
    );
    assert_eq!(world.mark().await, mark);
}

#[tokio::test]
async fn a_key_of_another_tenant_cannot_be_told_from_one_that_does_not_exist() {
    let world = World::new();
    let key = with_key(&world).await;
    for id in [key.id.as_str(), "0123456789abcdef", "", "x", &"y".repeat(300)] {
        let refused = world.keys.revoke(None, tenant(2), id).await.expect_err("refused");
        let KeyError::UnknownKey(named) = refused else {
            panic!("unknown: {refused:?}");
        };
        assert!(id.starts_with(&named) && named.len() <= 40);
    }
    authenticate(&world, &key).await.expect("it was not revoked");
}

#[tokio::test]
async fn a_key_ends_with_its_lifetime() {
    let world = World::new();
    create_principal(&world, &submitter()).await;
    let key = create_key(&world, &submitter(), Some(Duration::from_secs(60))).await;
    world.clock.advance(Duration::from_micros(59_999_999));
    authenticate(&world, &key).await.expect("it lives");
    world.clock.advance(Duration::from_micros(1));
    check_refused(&world, &credential(key.text.expose()), "expired").await;
}

#[tokio::test]
async fn the_key_of_a_principal_that_is_gone_is_refused() {
    let world = World::new();
    let key = with_key(&world).await;
    let documents: &dyn Documents = &*world.store;
    let gone = DocumentWrite {
        key: DocumentKey {
            kind: "principal",
            tenant: TENANT,
            id: submitter().id.to_string(),
        },
        precondition: Precondition::Any,
        content: None,
    };
    documents
        .write(vec![gone], Effects::default())
        .await
        .expect("deleted");
    check_refused(&world, &credential(key.text.expose()), "unknown").await;
}

#[tokio::test]
async fn a_key_is_made_for_a_principal_that_exists_in_the_tenant() {
    let world = World::new();
    create_principal(&world, &submitter()).await;
    let mark = world.mark().await;
    let cases: [(TenantId, PrincipalId); 2] = [(TENANT, principal(77)), (tenant(2), submitter().id)];
    for (tenant, who) in cases {
        let refused = world.keys.create(None, tenant, who, None).await;
        assert!(
            matches!(refused, Err(KeyError::UnknownPrincipal(named)) if named == who),
            "{refused:?}"
        );
    }
    assert_eq!(world.mark().await, mark);
}

#[tokio::test]
async fn a_principal_has_two_live_keys_so_that_they_can_be_rotated() {
    let world = World::new();
    create_principal(&world, &submitter()).await;
    let first = create_key(&world, &submitter(), None).await;
    create_key(&world, &submitter(), Some(Duration::from_secs(60))).await;
    let create = async || world.keys.create(None, TENANT, submitter().id, None).await;
    assert!(matches!(create().await, Err(KeyError::TooMany)));
    world.clock.advance(Duration::from_secs(60));
    create().await.expect("the second has expired");
    assert!(matches!(create().await, Err(KeyError::TooMany)));
    world.keys.revoke(None, TENANT, &first.id).await.expect("revoked");
    create().await.expect("the first was revoked");
    assert_eq!(world.keys.list(submitter().id).await.expect("list").len(), 4);
}

#[tokio::test]
async fn making_a_key_is_on_record() {
    let world = World::new();
    let key = with_key(&world).await;
    let leaf = world.last_leaf().await;
    assert_eq!(leaf.told(), "key.create+key_created done -");
    assert_eq!(leaf.principal, Some(operator().id.to_string()));
    assert_eq!(leaf.resource.expect("resource").id, key.id);
}

#[tokio::test]
async fn a_principal_is_created_once_and_its_name_stays_out_of_the_log() {
    let world = World::new();
    create_principal(&world, &submitter()).await;
    let record = PrincipalRecord {
        principal: submitter(),
        name: "Eve".to_owned(),
    };
    let draft = RecordDraft::by(operator().id, Operation::KeyCreate);
    let again = world.keys.principals().create(&record, draft).await;
    assert!(matches!(again, Err(DocumentError::Precondition { found: 1, .. })));
    let kept = world
        .keys
        .principals()
        .get(TENANT, submitter().id)
        .await
        .expect("read")
        .expect("it exists");
    assert_eq!(kept.name, "Ada");
    assert!(!format!("{:?}", world.leaves().await).contains("Ada"));
    let elsewhere = world
        .keys
        .principals()
        .get(tenant(2), submitter().id)
        .await
        .expect("read");
    assert_eq!(elsewhere, None);
}

#[tokio::test]
async fn the_fingerprint_key_is_made_once_and_kept() {
    let world = World::new();
    let documents: &dyn Documents = &*world.store;
    let content = crate::world::submission();
    let load = async |seed| {
        let entropy = SeededEntropy::new(seed);
        let key = FingerprintKey::load_or_create(documents, &entropy)
            .await
            .expect("a key");
        key.fingerprint(&content).expect("a fingerprint")
    };
    let first = load(1).await;
    assert_eq!(load(2).await, first, "other chance does not replace it");
    let fresh = FingerprintKey::load_or_create(&*World::new().store, &SeededEntropy::new(2))
        .await
        .expect("a key");
    assert_ne!(fresh.fingerprint(&content).expect("a fingerprint"), first);
}

/// Puts a body in the place of a stored document.
async fn damage(world: &World, kind: &'static str, tenant: TenantId, id: &str, body: &str) {
    let documents: &dyn Documents = &*world.store;
    let damaged = DocumentWrite {
        key: DocumentKey {
            kind,
            tenant,
            id: id.to_owned(),
        },
        precondition: Precondition::Any,
        content: Some(DocumentContent {
            body: json(body),
            index: Vec::new(),
            expires_at: None,
        }),
    };
    documents
        .write(vec![damaged], Effects::default())
        .await
        .expect("written");
}

#[tokio::test]
async fn a_fingerprint_key_that_cannot_be_read_is_never_replaced() {
    let world = World::new();
    let documents: &dyn Documents = &*world.store;
    let id = "submission_fingerprint";
    for body in ["{}", "{\"key\":\"00\"}", "{\"key\":7}"] {
        damage(&world, "store_key", TenantId::SYSTEM, id, body).await;
        for _ in 0..2 {
            let refused = FingerprintKey::load_or_create(documents, &SeededEntropy::new(1)).await;
            assert!(
                matches!(refused, Err(StoreError::Corrupt { .. })),
                "{body}: {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_key_or_principal_of_a_newer_program_is_neither_accepted_nor_called_wrong() {
    for (kind, tenant) in [("api_key", TenantId::SYSTEM), ("principal", TENANT)] {
        let world = World::new();
        let key = with_key(&world).await;
        let id = if kind == "api_key" {
            key.id.clone()
        } else {
            submitter().id.to_string()
        };
        let documents: &dyn Documents = &*world.store;
        let of = DocumentKey {
            kind,
            tenant,
            id: id.clone(),
        };
        let found = documents
            .get(TenantScope::All, &[of])
            .await
            .expect("read")
            .remove(0);
        let mut newer = found.expect("it is stored").body.value();
        newer["version"] = 2.into();
        damage(&world, kind, tenant, &id, &newer.to_string()).await;
        let mark = world.mark().await;
        let answer = authenticate(&world, &key).await;
        assert!(
            matches!(answer, Err(QueueError::Unavailable { .. })),
            "{kind}: {answer:?}"
        );
        assert_eq!(world.mark().await, mark, "nobody failed to authenticate");
    }
}

/// Three keys of one principal: a live one, one that was revoked, one that has expired.
async fn authenticator() -> arbiter_testkit::contract::AuthenticatorHarness {
    let world = World::new();
    let principal = submitter();
    create_principal(&world, &principal).await;
    let expired = create_key(&world, &principal, Some(Duration::from_secs(60))).await;
    world.pass(Duration::from_secs(61)).await;
    let revoked = create_key(&world, &principal, None).await;
    let by = Some(operator().id);
    world
        .keys
        .revoke(by, principal.tenant, &revoked.id)
        .await
        .expect("revoked");
    let live = create_key(&world, &principal, None).await;
    arbiter_testkit::contract::AuthenticatorHarness {
        authenticator: std::sync::Arc::clone(&world.keys) as _,
        live: Credential::ApiKey(live.text),
        principal,
        revoked: Credential::ApiKey(revoked.text),
        expired: Credential::ApiKey(expired.text),
    }
}

arbiter_testkit::authenticator_contract!(authenticator().await);

#[tokio::test]
async fn what_another_node_revokes_is_refused_within_half_a_second() {
    let world = World::new();
    let key = with_key(&world).await;
    authenticate(&world, &key).await.expect("accepted");
    let elsewhere = ApiKeys::new(
        std::sync::Arc::clone(&world.documents),
        std::sync::Arc::clone(&world.clock) as _,
        std::sync::Arc::new(SeededEntropy::new(2)),
    );
    elsewhere.revoke(None, TENANT, &key.id).await.expect("revoked");
    world.clock.advance(Duration::from_millis(500));
    check_refused(&world, &credential(key.text.expose()), "revoked").await;
}

#[tokio::test]
async fn a_busy_caller_costs_no_read_and_a_change_here_is_in_force_at_once() {
    let world = World::new();
    let key = with_key(&world).await;
    authenticate(&world, &key).await.expect("accepted");
    world.faults.break_port(Port::Documents);
    authenticate(&world, &key).await.expect("known");
    let forged = credential(&format!("arb_{}_{}", key.id, "A".repeat(43)));
    let error = world
        .queue
        .authenticate(&forged, "10.0.0.2")
        .await
        .expect_err("refused");
    assert_eq!(
        error.code(),
        "unavailable",
        "another secret is not taken for known"
    );
    world.clock.advance(Duration::from_millis(500));
    let error = authenticate(&world, &key).await.expect_err("read again");
    assert_eq!(error.code(), "unavailable");
    world.faults.mend();
    authenticate(&world, &key).await.expect("accepted");
    world.keys.revoke(None, TENANT, &key.id).await.expect("revoked");
    check_refused(&world, &credential(key.text.expose()), "revoked").await;
}
