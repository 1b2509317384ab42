//! Ids of keys, and keys that come and go.

use arbiter_adapter_oidc::Algorithm;
use serde_json::{Value, json};

use crate::signer::{Signer, input};
use crate::support::{DISCOVERY, KEYS, World};

#[tokio::test]
async fn an_id_of_a_key_leads_nowhere_and_is_only_compared() {
    let (signer, attacker) = (Signer::ec("key"), Signer::ec("key"));
    let world = World::new(&[&signer]).await;
    assert_eq!(world.word(&signer.token(&world.claims())).await, "accepted");
    let odd = [
        "../../../../../../dev/null",
        "..\\..\\windows\\win.ini",
        "/etc/passwd",
        "file:///dev/null",
        "https://attacker.example/keys",
        "key' OR '1'='1",
        "key'; DROP TABLE keys; --",
        "key\0",
        "key/../key",
        "key%00",
        "$(reboot)",
        "{{7*7}}",
        "KEY",
        " key",
        "key ",
        "",
        "*",
    ];
    for id in odd {
        let input = input(&json!({"alg": "ES256", "kid": id}), &world.claims());
        for signer in [&signer, &attacker] {
            let told = world.word(&signer.sign(Algorithm::Es256, &input)).await;
            assert_eq!(told, "unknown", "{id:?}");
        }
    }
    let malformed = [
        json!("k".repeat(257)),
        json!("k".repeat(4_000)),
        json!(1),
        json!(null),
        json!(["key"]),
        json!({"kid": "key"}),
    ];
    for id in malformed {
        let input = input(&json!({"alg": "ES256", "kid": id}), &world.claims());
        assert_eq!(
            world.word(&signer.sign(Algorithm::Es256, &input)).await,
            "malformed",
            "{id}"
        );
    }
    let paths: Vec<String> = world
        .stub
        .seen()
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert_eq!(paths, [DISCOVERY, KEYS], "one fetch, and of nothing else");
}

#[tokio::test]
async fn a_token_without_an_id_is_of_the_only_key_that_fits() {
    let (ec, rsa, other) = (Signer::ec("ec"), Signer::rsa("rsa"), Signer::ec("other"));
    let plain = |signer: &Signer, claims: &Value| {
        let header = json!({"alg": signer.algorithm().word()});
        signer.sign(signer.algorithm(), &input(&header, claims))
    };
    let world = World::new(&[&ec, &rsa]).await;
    for signer in [&ec, &rsa] {
        assert_eq!(world.word(&plain(signer, &world.claims())).await, "accepted");
    }
    assert_eq!(world.word(&plain(&other, &world.claims())).await, "unknown");
    let world = World::new(&[&ec, &rsa, &other]).await;
    assert_eq!(
        world.word(&plain(&ec, &world.claims())).await,
        "unknown",
        "two fit"
    );
    assert_eq!(world.word(&plain(&rsa, &world.claims())).await, "accepted");
}

#[tokio::test]
async fn a_key_that_the_provider_adds_is_accepted_after_one_more_fetch() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let world = World::new(&[&old]).await;
    assert_eq!(world.word(&old.token(&world.claims())).await, "accepted");
    world.says_keys(&[&old, &new]);
    world.pass(9);
    assert_eq!(
        world.word(&new.token(&world.claims())).await,
        "unknown",
        "it was fetched just now"
    );
    assert_eq!(world.fetches(), 1);
    world.pass(1);
    assert_eq!(world.word(&new.token(&world.claims())).await, "accepted");
    assert_eq!(world.word(&old.token(&world.claims())).await, "accepted");
    assert_eq!(world.fetches(), 2);
}

#[tokio::test]
async fn a_key_that_the_provider_takes_away_is_refused_from_the_next_fetch_on() {
    let (old, new) = (Signer::ec("old"), Signer::ec("new"));
    let world = World::with(&[&old, &new], |config| {
        config.max_age = std::time::Duration::from_secs(60);
    })
    .await;
    assert_eq!(world.word(&old.token(&world.claims())).await, "accepted");
    world.says_keys(&[&new]);
    world.pass(59);
    world.tokens.keep_fresh().await;
    assert_eq!(world.word(&old.token(&world.claims())).await, "accepted");
    world.pass(1);
    world.tokens.keep_fresh().await;
    assert_eq!(world.word(&old.token(&world.claims())).await, "revoked");
    assert_eq!(world.word(&new.token(&world.claims())).await, "accepted");
    // Its id alone does not make another one's token a withdrawn one.
    let attacker = Signer::ec("old");
    assert_eq!(world.word(&attacker.token(&world.claims())).await, "unknown");
    // A provider without keys has no valid tokens.
    world.says_keys(&[]);
    world.pass(60);
    world.tokens.keep_fresh().await;
    assert_eq!(world.word(&new.token(&world.claims())).await, "revoked");
}

#[tokio::test]
async fn a_key_that_is_replaced_under_its_id_is_refused() {
    let (old, new) = (Signer::ec("key"), Signer::ec("key"));
    let world = World::new(&[&old]).await;
    assert_eq!(world.word(&old.token(&world.claims())).await, "accepted");
    world.says_keys(&[&new]);
    world.pass(300);
    world.tokens.keep_fresh().await;
    assert_eq!(world.word(&new.token(&world.claims())).await, "accepted");
    assert_eq!(world.word(&old.token(&world.claims())).await, "unknown");
}

#[tokio::test]
async fn keys_are_fetched_again_when_they_are_old_while_callers_go_on() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let token = signer.token(&world.claims());
    assert_eq!(world.word(&token).await, "accepted");
    // The provider never answers again: who waited for it would not come back.
    world.says(arbiter_testkit::StubAnswer::Stall(Vec::new()));
    world.pass(301);
    assert_eq!(world.word(&token).await, "accepted");
    world.stub.wait_for(4).await;
    for _ in 0..100 {
        assert_eq!(world.word(&token).await, "accepted");
    }
    assert_eq!(world.fetches(), 2);
}
