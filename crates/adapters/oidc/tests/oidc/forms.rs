//! Tokens of another form, headers that lead elsewhere, and what a token must say.

use arbiter_adapter_oidc::Algorithm;
use arbiter_core::model::{PrincipalKind, Role};
use arbiter_core::ports::{Credential, IdentityProvider as _};
use arbiter_testkit::{HttpStub, StubAnswer, builders};
use serde_json::{Value, json};

use crate::signer::{Signer, encoded, input};
use crate::support::{NOW, World, bearer};

#[tokio::test]
async fn a_subject_that_a_rule_is_about_is_the_same_principal_every_time() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let one = world
        .show(&signer.token(&world.claims()))
        .await
        .expect("accepted");
    assert_eq!((one.tenant, one.kind), (builders::tenant(1), PrincipalKind::User));
    assert_eq!((one.roles.clone(), one.agent), ([Role::Submitter].into(), None));
    let later = world.claims_with("exp", json!(NOW + 600));
    assert_eq!(world.show(&signer.token(&later)).await.expect("accepted"), one);
    let other = world.claims_with("sub", json!("bob"));
    assert_ne!(
        world.show(&signer.token(&other)).await.expect("accepted").id,
        one.id
    );
    let named = world
        .tokens
        .identify(&bearer(&signer.token(&world.claims())))
        .await;
    let named = named.expect("accepted").name;
    assert!(named.starts_with("ann (http://127.0.0.1:"), "{named}");
}

#[tokio::test]
async fn a_subject_that_no_rule_is_about_is_refused() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    for groups in [
        json!(["guests"]),
        json!([]),
        json!(null),
        json!("Staff"),
        json!({"staff": true}),
    ] {
        let token = signer.token(&world.claims_with("groups", groups.clone()));
        assert_eq!(world.word(&token).await, "unknown", "{groups}");
    }
    let nobody = World::with(&[&signer], |config| config.rules.clear()).await;
    assert_eq!(nobody.word(&signer.token(&nobody.claims())).await, "unknown");
}

#[tokio::test]
async fn an_expired_token_and_one_that_is_not_valid_yet_are_refused() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let cases = [
        ("exp", json!(NOW - 29), "accepted"),
        ("exp", json!(NOW - 30), "expired"),
        ("exp", json!(NOW - 3_600), "expired"),
        ("nbf", json!(NOW + 30), "accepted"),
        ("nbf", json!(NOW + 31), "not_yet_valid"),
        ("iat", json!(NOW + 30), "accepted"),
        ("iat", json!(NOW + 31), "not_yet_valid"),
    ];
    for (name, value, expected) in cases {
        let token = signer.token(&world.claims_with(name, value.clone()));
        assert_eq!(world.word(&token).await, expected, "{name} {value}");
    }
    // A token ends while it is in use.
    let token = signer.token(&world.claims());
    world.pass(329);
    assert_eq!(world.word(&token).await, "accepted");
    world.pass(1);
    assert_eq!(world.word(&token).await, "expired");
}

#[tokio::test]
async fn a_token_for_another_audience_or_of_another_issuer_is_refused() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let cases = [
        ("aud", json!("billing"), "foreign"),
        ("aud", json!(["billing", "shop"]), "foreign"),
        ("aud", json!(["billing", "arbiter"]), "accepted"),
        ("iss", json!("https://other.example"), "foreign"),
        ("iss", json!(format!("{}/", world.stub.url(""))), "foreign"),
    ];
    for (name, value, expected) in cases {
        let token = signer.token(&world.claims_with(name, value.clone()));
        assert_eq!(world.word(&token).await, expected, "{name} {value}");
    }
}

#[tokio::test]
async fn keys_that_a_token_brings_or_points_to_are_never_looked_at() {
    let (signer, attacker) = (Signer::ec("key"), Signer::ec("key"));
    let keys = json!({"keys": [attacker.jwk()]}).to_string();
    let elsewhere = HttpStub::start(move |_| StubAnswer::reply(200, keys.clone()));
    let elsewhere = elsewhere.await.expect("a server");
    let world = World::new(&[&signer]).await;
    let leads = [
        ("jwk", attacker.jwk()),
        ("jku", json!(elsewhere.url("/keys"))),
        ("x5u", json!(elsewhere.url("/chain.pem"))),
        ("x5c", json!(["MIIB"])),
    ];
    for (name, value) in leads {
        let mut header = json!({"alg": "ES256", "kid": "key"});
        header[name] = value;
        let input = input(&header, &world.claims());
        assert_eq!(
            world.word(&attacker.sign(Algorithm::Es256, &input)).await,
            "unknown",
            "{name}"
        );
        assert_eq!(
            world.word(&signer.sign(Algorithm::Es256, &input)).await,
            "accepted",
            "{name}"
        );
    }
    assert_eq!(elsewhere.seen(), []);
}

#[tokio::test]
async fn what_must_be_understood_and_is_not_is_refused() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let cases = [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("zip", json!("DEF")),
    ];
    for (name, value) in cases {
        let mut header = json!({"alg": "ES256", "kid": "key"});
        header[name] = value;
        let token = signer.sign(Algorithm::Es256, &input(&header, &world.claims()));
        assert_eq!(world.word(&token).await, "malformed", "{header}");
    }
}

#[tokio::test]
async fn a_token_of_another_type_is_refused() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let known = ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"];
    let unknown = ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE", "", " JWT"];
    let cases = known.map(|media| (json!(media), "accepted")).into_iter();
    let cases = cases.chain(unknown.map(|media| (json!(media), "malformed")));
    for (media, expected) in cases.chain([(json!(1), "malformed"), (json!(null), "malformed")]) {
        let header = json!({"alg": "ES256", "kid": "key", "typ": media});
        let token = signer.sign(Algorithm::Es256, &input(&header, &world.claims()));
        assert_eq!(world.word(&token).await, expected, "{media}");
    }
}

#[tokio::test]
async fn a_token_of_another_form_is_refused_before_anything_is_asked() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let token = signer.token(&world.claims());
    let parts: Vec<&str> = token.split('.').collect();
    let twice = encoded(r#"{"alg":"ES256","kid":"key","alg":"none"}"#);
    let twice = signer.sign(Algorithm::Es256, &format!("{twice}.{}", parts[1]));
    let long = signer.token(&world.claims_with("more", json!("x".repeat(8_192))));
    let cases = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{token}.{}", parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}="),
        format!("{token}\n"),
        format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
        format!("{}+/.{}.{}", parts[0], parts[1], parts[2]),
        format!("W10.{}.{}", parts[1], parts[2]),
        format!("é.{}.{}", parts[1], parts[2]),
        json!({"payload": parts[1], "protected": parts[0], "signature": parts[2]}).to_string(),
        twice,
        long,
    ];
    for case in cases {
        assert_eq!(world.word(&case).await, "malformed", "{case}");
    }
    assert_eq!(world.stub.seen(), []);
    assert_eq!(world.word(&token).await, "accepted");
}

#[tokio::test]
async fn claims_that_are_no_object_or_stand_twice_are_refused() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let claims = world.claims().to_string();
    let twice = format!("{},\"aud\":\"arbiter\"}}", claims.trim_end_matches('}'));
    for claims in [
        twice,
        "[]".to_owned(),
        "{".to_owned(),
        "1".to_owned(),
        "{} ".repeat(2),
    ] {
        let header = encoded(json!({"alg": "ES256", "kid": "key"}).to_string());
        let input = format!("{header}.{}", encoded(&claims));
        let token = signer.sign(Algorithm::Es256, &input);
        assert_eq!(world.word(&token).await, "malformed", "{claims}");
    }
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let header = encoded(json!({"alg": "ES256", "kid": "key"}).to_string());
    let input = format!("{header}.{}", encoded(format!("{{\"x\":{deep}}}")));
    assert_eq!(
        world.word(&signer.sign(Algorithm::Es256, &input)).await,
        "malformed"
    );
}

#[tokio::test]
async fn other_credentials_are_not_read() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let token = signer.token(&world.claims());
    let key = Credential::ApiKey(arbiter_core::mechanism::SecretText::new(token));
    let refused = world.tokens.identify(&key).await.expect_err("no key");
    assert_eq!(refused.word(), "unsupported");
}

#[tokio::test]
async fn a_token_that_may_be_used_once_is_refused_from_the_second_time_on() {
    let signer = Signer::ec("key");
    let world = World::with(&[&signer], |config| config.single_use = true).await;
    let with_id = |id: Value| signer.token(&world.claims_with("jti", id));
    assert_eq!(
        world.word(&signer.token(&world.claims())).await,
        "malformed",
        "it has no id"
    );
    for odd in [json!(""), json!(1), json!(null)] {
        assert_eq!(world.word(&with_id(odd.clone())).await, "malformed", "{odd}");
    }
    // A token that is refused for another reason is not used up.
    let mut guest = world.claims_with("jti", json!("a"));
    guest["groups"] = json!([]);
    assert_eq!(world.word(&signer.token(&guest)).await, "unknown");
    let token = with_id(json!("a"));
    assert_eq!(world.word(&token).await, "accepted");
    assert_eq!(world.word(&token).await, "replayed");
    assert_eq!(
        world.word(&with_id(json!("a"))).await,
        "replayed",
        "the id counts, not the signature"
    );
    assert_eq!(world.word(&with_id(json!("b"))).await, "accepted");
    // Until the very end of its validity, which the leeway prolongs.
    world.pass(329);
    assert_eq!(world.word(&token).await, "replayed");
    world.pass(1);
    assert_eq!(world.word(&token).await, "expired");
}

#[tokio::test]
async fn of_many_uses_at_once_one_succeeds() {
    let signer = Signer::ec("key");
    let world = World::with(&[&signer], |config| config.single_use = true).await;
    let token = signer.token(&world.claims_with("jti", json!("a")));
    let mut uses = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (tokens, credential) = (std::sync::Arc::clone(&world.tokens), bearer(&token));
        uses.spawn(async move { tokens.identify(&credential).await.is_ok() });
    }
    let accepted = uses
        .join_all()
        .await
        .into_iter()
        .filter(|accepted| *accepted)
        .count();
    assert_eq!(accepted, 1);
}

#[tokio::test]
async fn a_token_of_many_uses_is_accepted_again() {
    let signer = Signer::ec("key");
    let world = World::new(&[&signer]).await;
    let token = signer.token(&world.claims_with("jti", json!("a")));
    for _ in 0..3 {
        assert_eq!(world.word(&token).await, "accepted");
    }
}
