//! The algorithm is the settings' choice and the key's, never the token's.

use arbiter_adapter_oidc::Algorithm;
use ring::hmac;
use serde_json::{Value, json};

use crate::signer::{Signer, encoded, input};
use crate::support::World;

#[tokio::test]
async fn every_algorithm_verifies_what_it_signed_when_it_is_permitted_and_only_then() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new("key", algorithm);
        let permitted = World::with(&[&signer], |config| config.algorithms = vec![algorithm]).await;
        let token = signer.token_of(algorithm, &permitted.claims());
        assert_eq!(permitted.word(&token).await, "accepted", "{algorithm:?}");
        let others: Vec<_> = Algorithm::ALL
            .into_iter()
            .filter(|other| *other != algorithm)
            .collect();
        let world = World::with(&[&signer], |config| config.algorithms = others).await;
        let token = signer.token_of(algorithm, &world.claims());
        assert_eq!(world.word(&token).await, "malformed", "{algorithm:?}");
        assert_eq!(world.fetches(), 0, "nothing is asked for it");
    }
}

#[tokio::test]
async fn no_spelling_of_none_is_an_algorithm() {
    let signer = Signer::ec("key");
    let world = World::with(&[&signer], |config| config.algorithms = Algorithm::ALL.to_vec()).await;
    let odd = [
        "none", "None", "NONE", "nOnE", "none ", "", "null", "es256", "ES256\0",
    ];
    let mut spellings: Vec<Value> = odd.into_iter().map(Value::from).collect();
    spellings.extend([
        json!(null),
        json!(0),
        json!([]),
        json!(["ES256"]),
        json!({"ES256": true}),
    ]);
    for spelling in spellings {
        let input = input(&json!({"alg": spelling, "kid": "key"}), &world.claims());
        let whole = signer.sign(Algorithm::Es256, &input);
        for token in [format!("{input}."), input.clone(), format!("{input}.AA"), whole] {
            assert_eq!(world.word(&token).await, "malformed", "{spelling} {token}");
        }
    }
    let nothing = input(&json!({"kid": "key"}), &world.claims());
    assert_eq!(world.word(&format!("{nothing}.")).await, "malformed");
    // Right in all but the signature, which is empty.
    let empty = input(&json!({"alg": "ES256", "kid": "key"}), &world.claims());
    assert_eq!(world.word(&format!("{empty}.")).await, "malformed");
}

#[tokio::test]
async fn a_public_key_is_no_secret_to_sign_with() {
    for signer in [
        Signer::rsa("key"),
        Signer::ec("key"),
        Signer::new("key", Algorithm::EdDsa),
    ] {
        let world = World::with(&[&signer], |config| config.algorithms = Algorithm::ALL.to_vec()).await;
        let ways = [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ];
        let mut secrets = signer.public_forms();
        secrets.push(Vec::new());
        for (word, way) in ways {
            for secret in &secrets {
                for claimed in [word, signer.algorithm().word()] {
                    let input = input(&json!({"alg": claimed, "kid": "key"}), &world.claims());
                    let tag = hmac::sign(&hmac::Key::new(way, secret), input.as_bytes());
                    let told = world.word(&format!("{input}.{}", encoded(tag))).await;
                    let expected = if claimed == word { "malformed" } else { "unknown" };
                    assert_eq!(told, expected, "{word} as {claimed}");
                }
            }
        }
        assert_eq!(world.word(&signer.token(&world.claims())).await, "accepted");
    }
}

#[tokio::test]
async fn a_key_of_one_type_verifies_nothing_of_another() {
    let (rsa, ec) = (Signer::rsa("rsa"), Signer::ec("ec"));
    let (large, edwards) = (
        Signer::new("large", Algorithm::Es384),
        Signer::new("ed", Algorithm::EdDsa),
    );
    let all = [&rsa, &ec, &large, &edwards];
    let world = World::with(&all, |config| config.algorithms = Algorithm::ALL.to_vec()).await;
    for signer in all {
        for id in ["rsa", "ec", "large", "ed"] {
            for claimed in Algorithm::ALL {
                let header = json!({"alg": claimed.word(), "kid": id});
                let token = signer.sign(claimed, &input(&header, &world.claims()));
                // One RSA key is good for six algorithms, where it names none.
                let fits = match id {
                    "rsa" => ["RS", "PS"].contains(&&claimed.word()[..2]),
                    _ => claimed == signer.algorithm(),
                };
                let is_right = id == signer.id && fits;
                let expected = if is_right { "accepted" } else { "unknown" };
                assert_eq!(
                    world.word(&token).await,
                    expected,
                    "{} {id} {claimed:?}",
                    signer.id
                );
            }
        }
    }
    assert_eq!(
        world.fetches(),
        1,
        "a key that does not fit is no key that is missing"
    );
}

#[tokio::test]
async fn a_key_is_used_only_for_what_it_says_it_is_for() {
    let signer = Signer::rsa("key");
    let cases = [
        (json!({"alg": "RS256"}), "accepted"),
        (json!({"use": "sig"}), "accepted"),
        (json!({"key_ops": ["verify"]}), "accepted"),
        (json!({"alg": "PS256"}), "unknown"),
        (json!({"alg": "RS512"}), "unknown"),
        (json!({"alg": "ES256"}), "unknown"),
        (json!({"alg": "HS256"}), "unknown"),
        (json!({"alg": "none"}), "unknown"),
        (json!({"alg": 1}), "unknown"),
        (json!({"use": "enc"}), "unknown"),
        (json!({"use": 1}), "unknown"),
        (json!({"key_ops": ["encrypt"]}), "unknown"),
        (json!({"key_ops": "verify"}), "unknown"),
        (json!({"kty": "oct", "k": "AAAA"}), "unknown"),
        (json!({"kty": "EC", "crv": "P-256"}), "unknown"),
        (json!({"e": ""}), "unknown"),
        (json!({"e": "AQ"}), "unknown"),
        // 1024 bits.
        (json!({"n": encoded([0xff; 128])}), "unknown"),
        (json!({"n": ""}), "unknown"),
    ];
    for (members, expected) in cases {
        let mut jwk = signer.jwk();
        for (name, value) in members.as_object().expect("members") {
            jwk[name] = value.clone();
        }
        let world = World::with(&[], |config| config.algorithms = Algorithm::ALL.to_vec()).await;
        let keys = json!({"keys": [jwk]}).to_string();
        world.says(arbiter_testkit::StubAnswer::reply(200, keys));
        assert_eq!(
            world.word(&signer.token(&world.claims())).await,
            expected,
            "{members}"
        );
    }
}
