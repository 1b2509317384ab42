//! Floods of tokens whose keys nobody knows.

use std::sync::Arc;

use arbiter_core::ports::Authenticator as _;
use arbiter_testkit::StubAnswer;
use serde_json::json;
use tokio::task::JoinSet;

use crate::signer::{Signer, input};
use crate::support::{World, bearer, word};

const FLOOD: usize = 1_000;

/// So many tokens of as many keys, all at once.
fn flood(world: &World, attacker: &Signer, round: usize) -> JoinSet<&'static str> {
    let mut shown = JoinSet::new();
    for number in 0..FLOOD {
        let header = json!({"alg": "ES256", "kid": format!("{round}-{number}")});
        let token = attacker.sign(attacker.algorithm(), &input(&header, &world.claims()));
        let tokens = Arc::clone(&world.tokens);
        shown.spawn(async move { word(&tokens.authenticate(&bearer(&token)).await) });
    }
    shown
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch_and_holds_nobody_up() {
    let (signer, attacker) = (Signer::ec("key"), Signer::ec("none"));
    let world = World::new(&[&signer]).await;
    let good = signer.token(&world.claims());
    assert_eq!(world.word(&good).await, "accepted");
    // Within the time to the next fetch: nothing is fetched at all.
    let told = flood(&world, &attacker, 0).join_all().await;
    assert!(told.iter().all(|word| *word == "unknown"), "{told:?}");
    assert_eq!(world.fetches(), 1);
    // While the provider is slow, a bounded number waits for it, and known keys wait for nothing.
    world.pass(10);
    world.says(StubAnswer::Stall(Vec::new()));
    let waiting = flood(&world, &attacker, 1);
    world.stub.wait_for(4).await;
    for _ in 0..100 {
        assert_eq!(world.word(&good).await, "accepted");
    }
    // One more is told at once, without waiting.
    let mut late = JoinSet::new();
    let (tokens, token) = (Arc::clone(&world.tokens), attacker.token(&world.claims()));
    late.spawn(async move { word(&tokens.authenticate(&bearer(&token)).await) });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let told = late.try_join_next().expect("it does not wait");
    assert_eq!(told.expect("it ended"), "unavailable");
    world.pass(5);
    let told = waiting.join_all().await;
    assert!(told.iter().all(|word| *word == "unavailable"), "{told:?}");
    assert_eq!(world.fetches(), 2);
    // And when the provider answers again.
    world.says_keys(&[&signer]);
    world.pass(10);
    let told = flood(&world, &attacker, 2).join_all().await;
    let unknown = told.iter().filter(|word| **word == "unknown").count();
    assert!(unknown >= 64, "{unknown}");
    assert!(told.iter().all(|word| ["unknown", "unavailable"].contains(word)));
    assert_eq!(world.fetches(), 3);
    assert_eq!(world.word(&good).await, "accepted");
}

#[tokio::test]
async fn callers_that_give_up_leave_their_places_to_others() {
    let (signer, attacker) = (Signer::ec("key"), Signer::ec("none"));
    let world = World::with(&[&signer], |config| config.waiting = 2).await;
    world.says(StubAnswer::Stall(Vec::new()));
    for _ in 0..5 {
        let mut gone = JoinSet::new();
        for _ in 0..2 {
            let (tokens, token) = (Arc::clone(&world.tokens), attacker.token(&world.claims()));
            gone.spawn(async move { word(&tokens.authenticate(&bearer(&token)).await) });
        }
        tokio::task::yield_now().await;
        gone.shutdown().await;
    }
    let (tokens, token) = (Arc::clone(&world.tokens), signer.token(&world.claims()));
    let mut last = JoinSet::new();
    last.spawn(async move {
        tokens
            .authenticate(&bearer(&token))
            .await
            .map_err(|error| format!("{error:?}"))
    });
    world.stub.wait_for(2).await;
    world.pass(5);
    let told = last.join_next().await.expect("a caller").expect("it ended");
    let told = told.expect_err("the provider never answered");
    assert!(told.contains("Net"), "it waited for the provider: {told}");
}
