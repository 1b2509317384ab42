//! What the tests of several modules share.

use arbiter_core::model::{Digest, PrincipalId, TenantId, Timestamp};
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;

use crate::checkpoint::Checkpoint;
use crate::key::VerifierKey;
use crate::keyring::Handover;
use crate::leaf::{Actions, Leaf, Outcome, Resource};
use crate::note::Note;
use crate::tree::{empty_root, leaf_hash, node_hash};
use crate::word::Word;

pub(crate) const ORIGIN: &str = "example.com/arbiter";

/// The example key and note of Go's `golang.org/x/mod/sumdb/note`.
pub(crate) const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
pub(crate) const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

/// Inputs and roots of the certificate-transparency reference implementation, for trees of 0 to 8 leaves.
pub(crate) const CT_LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b" !",
    b"01",
    b"@ABC",
    b"PQRSTUVW",
    b"`abcdefghijklmno",
];
pub(crate) const CT_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// `MTH(D[n])`, word for word from RFC 6962 §2.1.
pub(crate) fn reference_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            node_hash(&reference_root(&leaves[..k]), &reference_root(&leaves[k..]))
        }
    }
}

pub(crate) fn leaf_hashes(count: usize) -> Vec<Digest> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

/// A key pair made of a seed.
pub(crate) struct Signer {
    pub(crate) key: VerifierKey,
    secret: SigningKey,
}

impl Signer {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        Self {
            key: VerifierKey::new(name, secret.verifying_key().as_bytes()).unwrap(),
            secret,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }
}

pub(crate) fn checkpoint_note(checkpoint: &Checkpoint, signers: &[&Signer]) -> Note {
    let mut note = Note::new(checkpoint.to_string()).unwrap();
    for signer in signers {
        note.sign(&signer.key, |bytes| signer.sign(bytes)).unwrap();
    }
    note
}

pub(crate) fn handover(old: &Signer, new: &Signer, size: u64) -> Handover {
    let mut note = Handover::draft(ORIGIN, &old.key, &new.key, size).unwrap();
    for signer in [old, new] {
        note.sign(&signer.key, |bytes| signer.sign(bytes)).unwrap();
    }
    Handover::open(note).unwrap()
}

fn word() -> impl Strategy<Value = Word> {
    "[a-z_.]{1,64}".prop_map(|text| Word::new(text).unwrap())
}

pub(crate) fn leaf_strategy() -> impl Strategy<Value = Leaf> {
    let id = prop_oneof!["[0-9a-f-]{36}", any::<String>()];
    let resource =
        (word(), id, any::<Option<u64>>()).prop_map(|(kind, id, version)| Resource { kind, id, version });
    let outcome = prop_oneof![Just(Outcome::Done), Just(Outcome::Refused), Just(Outcome::Failed)];
    (
        any::<i64>(),
        any::<[u8; 16]>(),
        any::<Option<[u8; 16]>>(),
        prop::collection::vec(word(), 1..4),
        prop::option::of(resource),
        outcome,
        prop::option::of(word()),
        any::<Option<u64>>(),
        any::<Option<[u8; 32]>>(),
    )
        .prop_map(
            |(at, tenant, principal, actions, resource, outcome, reason, count, detail)| Leaf {
                at: Timestamp::from_micros(at),
                tenant: TenantId::from_bytes(tenant),
                principal: principal.map(PrincipalId::from_bytes),
                actions: Actions::new(actions).unwrap(),
                resource,
                outcome,
                reason,
                count,
                detail: detail.map(Digest::from_bytes),
            },
        )
}
