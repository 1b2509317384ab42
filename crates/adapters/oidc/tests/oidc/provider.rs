//! Providers that are down, slow, wrong or hostile.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::Authenticator as _;
use arbiter_testkit::{HttpStub, StubAnswer};
use serde_json::{Value, json};

use crate::signer::Signer;
use crate::support::{DISCOVERY, KEYS, World, bearer, word};

#[tokio::test]
async fn a_provider_that_is_down_is_no_reason_to_accept_or_to_refuse_for_good() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    world.says(StubAnswer::reply(503, ""));
    let token = signer.token(&world.claims());
    assert_eq!(world.word(&token).await, "unavailable");
    let problem = world.tokens.status().problem.expect("a problem").to_string();
    assert_eq!(problem, "the set of keys was answered with the status 503");
    world.says_keys(&[&signer]);
    assert_eq!(world.word(&token).await, "unavailable", "not again so soon");
    assert_eq!(world.fetches(), 1);
    world.pass(10);
    assert_eq!(world.word(&token).await, "accepted");
    let status = world.tokens.status();
    assert!(status.problem.is_none());
    assert_eq!((status.keys, status.age), (1, Some(Duration::ZERO)));
}

#[tokio::test]
async fn keys_that_are_there_serve_a_while_without_the_provider_and_then_no_more() {
    let signer = Signer::ec("key");
    let world = World::with(&[&signer], |config| {
        config.max_age = Duration::from_secs(60);
        config.max_stale = Duration::from_secs(120);
    })
    .await;
    let token = signer.token(&world.claims());
    assert_eq!(world.word(&token).await, "accepted");
    world.says(StubAnswer::Raw(Vec::new()));
    world.pass(60);
    world.tokens.keep_fresh().await;
    assert!(world.tokens.status().problem.is_some());
    world.pass(59);
    assert_eq!(world.word(&token).await, "accepted");
    world.tokens.keep_fresh().await;
    // A key that is not there may be a new one: that cannot be told now.
    let other = Signer::ec("other").token(&world.claims());
    assert_eq!(world.word(&other).await, "unavailable");
    world.pass(1);
    assert_eq!(world.word(&token).await, "unavailable");
    world.says_keys(&[&signer]);
    world.pass(10);
    assert_eq!(world.word(&token).await, "accepted");
}

#[tokio::test]
async fn a_provider_that_is_slow_is_waited_for_so_long_and_no_longer() {
    let signer = Signer::ec("key");
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\":".to_vec();
    for slow in [Vec::new(), head] {
        let world = World::new(&[&signer]).await;
        world.says(StubAnswer::Stall(slow));
        let (tokens, token) = (Arc::clone(&world.tokens), signer.token(&world.claims()));
        let mut waiting = tokio::task::JoinSet::new();
        waiting.spawn(async move { word(&tokens.authenticate(&bearer(&token)).await) });
        world.stub.wait_for(2).await;
        world.pass(5);
        assert_eq!(waiting.join_all().await, ["unavailable"]);
    }
}

#[tokio::test]
async fn documents_that_are_none_are_refused_as_a_whole() {
    let signer = Signer::ec("key");
    let jwk = signer.jwk();
    let many: Vec<Value> = (0..101)
        .map(|number| json!({"kty": "oct", "kid": number.to_string()}))
        .collect();
    let set = |keys: Value| StubAnswer::reply(200, keys.to_string());
    let cases = [
        ("not JSON", StubAnswer::reply(200, "<html>sign in</html>")),
        ("nothing", StubAnswer::reply(200, "")),
        ("cut short", StubAnswer::reply(200, format!("{{\"keys\":[{jwk}]"))),
        (
            "two of them",
            StubAnswer::reply(200, format!("{{\"keys\":[{jwk}]}}{{}}")),
        ),
        (
            "keys twice",
            StubAnswer::reply(200, format!("{{\"keys\":[],\"keys\":[{jwk}]}}")),
        ),
        ("a list", set(json!([jwk]))),
        ("no keys", set(json!({"key": [jwk]}))),
        ("keys that are no list", set(json!({"keys": jwk}))),
        (
            "two keys of one id",
            set(json!({"keys": [jwk, Signer::ec("key").jwk()]})),
        ),
        ("the same key twice", set(json!({"keys": [jwk, jwk]}))),
        ("too many keys", set(json!({"keys": many}))),
        (
            "too much",
            StubAnswer::reply(
                200,
                format!("{{\"keys\":[{jwk}],\"x\":\"{}\"}}", "x".repeat(512 << 10)),
            ),
        ),
        (
            "another status",
            StubAnswer::reply(206, json!({"keys": [jwk]}).to_string()),
        ),
        (
            "no answer",
            StubAnswer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}".to_vec()),
        ),
    ];
    for (name, answer) in cases {
        let world = World::new(&[&signer]).await;
        world.says(answer);
        assert_eq!(
            world.word(&signer.token(&world.claims())).await,
            "unavailable",
            "{name}"
        );
        assert!(world.tokens.status().problem.is_some(), "{name}");
    }
    // What is of no use in a set does not spoil the rest.
    let world = World::new(&[&signer]).await;
    let odd = json!([1, null, {}, {"kty": "RSA", "kid": "key"}, {"kty": "future", "kid": "x"}, jwk]);
    world.says(set(json!({"keys": odd})));
    assert_eq!(world.word(&signer.token(&world.claims())).await, "accepted");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (signer, attacker) = (Signer::ec("key"), Signer::ec("key"));
    let keys = json!({"keys": [attacker.jwk()]}).to_string();
    let elsewhere = HttpStub::start(move |_| StubAnswer::reply(200, keys.clone()));
    let elsewhere = elsewhere.await.expect("a server");
    for status in [301, 302, 303, 307, 308] {
        let world = World::new(&[&signer]).await;
        world.says(StubAnswer::reply(status, "").with("location", &elsewhere.url("/keys")));
        assert_eq!(
            world.word(&attacker.token(&world.claims())).await,
            "unavailable",
            "{status}"
        );
    }
    assert_eq!(elsewhere.seen(), []);
}

#[tokio::test]
async fn a_provider_that_speaks_for_another_issuer_is_not_believed() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let (issuer, keys) = (world.stub.url(""), world.stub.url(KEYS));
    let cases = [
        (
            json!({"issuer": "https://other.example", "jwks_uri": keys}),
            "the provider calls itself",
        ),
        (
            json!({"issuer": format!("{issuer}/"), "jwks_uri": keys}),
            "the provider calls itself",
        ),
        (
            json!({"jwks_uri": keys}),
            "the discovery document has no valid member `issuer`",
        ),
        (
            json!({"issuer": issuer}),
            "the discovery document has no valid member `jwks_uri`",
        ),
        (
            json!({"issuer": issuer, "jwks_uri": "keys"}),
            "the discovery document has no valid member `jwks_uri`",
        ),
        (
            json!({"issuer": issuer, "jwks_uri": "file:///etc/passwd"}),
            "the discovery document has no valid member `jwks_uri`",
        ),
        (
            json!({"issuer": issuer, "jwks_uri": "http://keys.example/"}),
            "the address of the keys is neither https",
        ),
        (
            json!({"issuer": issuer, "jwks_uri": "https://169.254.169.254/keys"}),
            "the set of keys could not be fetched",
        ),
        (
            json!({"issuer": issuer, "jwks_uri": "https://10.0.0.1/keys"}),
            "the set of keys could not be fetched",
        ),
    ];
    for (document, told) in cases {
        world.says_discovery(&document);
        assert_eq!(
            world.word(&signer.token(&world.claims())).await,
            "unavailable",
            "{document}"
        );
        let problem = world.tokens.status().problem.expect("a problem").to_string();
        assert!(problem.starts_with(told), "{document}: {problem}");
        world.pass(10);
    }
    assert_eq!(world.fetches(), 0);
}

#[tokio::test]
async fn keys_of_a_known_address_need_no_discovery() {
    let signer = Signer::ec("key");
    let stub_keys = json!({"keys": [signer.jwk()]}).to_string();
    let keys = HttpStub::start(move |_| StubAnswer::reply(200, stub_keys.clone()));
    let keys = keys.await.expect("a server");
    let world = World::with(&[], |config| config.jwks_url = Some(keys.url("/elsewhere"))).await;
    assert_eq!(world.word(&signer.token(&world.claims())).await, "accepted");
    assert_eq!((world.asked(DISCOVERY), keys.seen().len()), (0, 1));
    assert_eq!(keys.seen()[0].header("authorization"), None);
}

#[tokio::test]
async fn a_slash_at_the_end_of_the_issuer_is_part_of_it_but_not_of_the_address() {
    let signer = Signer::ec("key");
    let mut issuer = String::new();
    let world = World::with(&[&signer], |config| {
        config.issuer.push('/');
        issuer.clone_from(&config.issuer);
    })
    .await;
    world.says_discovery(&json!({"issuer": issuer, "jwks_uri": world.stub.url(KEYS)}));
    let token = signer.token(&world.claims_with("iss", json!(issuer)));
    assert_eq!(world.word(&token).await, "accepted");
    assert_eq!(world.word(&signer.token(&world.claims())).await, "foreign");
}
