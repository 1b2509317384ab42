//! The contracts of the ports that this crate implements.
#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;

use arbiter_adapter_system::{FileSigner, OsEntropy, SystemClock, TokioSpawner, UuidV7Ids};
use arbiter_core::ports::{Clock, Entropy, IdSource, Spawner};
use arbiter_testkit::contract::SignerHarness;
use ed25519_dalek::{Signature, VerifyingKey};

arbiter_testkit::clock_contract!(Arc::new(SystemClock::new()) as Arc<dyn Clock>);
arbiter_testkit::entropy_contract!(Arc::new(OsEntropy::new()) as Arc<dyn Entropy>);
arbiter_testkit::id_source_contract!(Arc::new(UuidV7Ids::new()) as Arc<dyn IdSource>);
arbiter_testkit::spawner_contract!(Arc::new(TokioSpawner::new()) as Arc<dyn Spawner>);

fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let key = VerifyingKey::from_bytes(key).expect("a key");
    key.verify_strict(message, &Signature::from_bytes(signature))
        .is_ok()
}

fn signer() -> SignerHarness {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = FileSigner::open_or_create(folder.path().join("key"), "suite").expect("a key");
    SignerHarness {
        signer: Arc::new(signer),
        verifies,
        kept: Box::new(folder),
    }
}

arbiter_testkit::signer_contract!(signer());
