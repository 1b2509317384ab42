//! The contract of `Authenticator`.

use arbiter_testkit::contract::AuthenticatorHarness;
use serde_json::json;

use crate::signer::Signer;
use crate::support::{NOW, World, bearer};

/// A token of a key that is there, one of a key that was withdrawn, and one that has expired.
async fn tokens() -> (AuthenticatorHarness, World) {
    let (live, withdrawn) = (Signer::ec("live"), Signer::rsa("withdrawn"));
    let world = World::new(&[&live, &withdrawn]).await;
    world.tokens.keep_fresh().await;
    world.says_keys(&[&live]);
    world.pass(300);
    world.tokens.keep_fresh().await;
    let good = world.claims_with("exp", json!(NOW + 3_600));
    let token = bearer(&live.token(&good));
    let principal = world.show(&live.token(&good)).await.expect("accepted");
    let harness = AuthenticatorHarness {
        authenticator: std::sync::Arc::clone(&world.tokens) as _,
        live: token,
        principal,
        revoked: bearer(&withdrawn.token(&good)),
        expired: bearer(&live.token(&world.claims_with("exp", json!(NOW)))),
    };
    (harness, world)
}

mod oidc {
    arbiter_testkit::authenticator_contract!(super::tokens().await.0);
}
