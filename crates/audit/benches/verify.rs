//! Rates of the audit log's pure parts, in leaves per second: appending (encode, hash, grow the tree, cut tiles) and
//! verifying an export (performance specification, P14).
#![expect(
    clippy::expect_used,
    reason = "a bench stops at what its own input cannot cause"
)]

use std::hint::black_box;
use std::num::NonZeroUsize;

use arbiter_audit::checkpoint::Checkpoint;
use arbiter_audit::detail::Detail;
use arbiter_audit::export::{ExportHeader, ExportWriter};
use arbiter_audit::key::VerifierKey;
use arbiter_audit::keyring::Keyring;
use arbiter_audit::leaf::{Actions, Leaf, Outcome, Resource};
use arbiter_audit::note::Note;
use arbiter_audit::tile::TileWriter;
use arbiter_audit::tree::leaf_hash;
use arbiter_audit::verify::verify_export;
use arbiter_audit::word::Word;
use arbiter_core::model::{PrincipalId, TaskId, TenantId, Timestamp};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signer as _, SigningKey};

const ORIGIN: &str = "example.com/bench";
const LEAVES: u64 = 200_000;
const GROUP: u64 = 256;

fn word(text: &'static str) -> Word {
    Word::new(text).expect("a word")
}

/// A leaf of the usual size, with the digest of a detail of 160 bytes.
fn leaf(n: u64) -> (Leaf, Detail) {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&(n / 3).to_be_bytes());
    let body = format!("{{\"queue\":\"default\",\"attempt\":1,\"note\":\"{n:0>120}\"}}").into_bytes();
    let detail = Detail {
        salt: u128::from(n).to_be_bytes(),
        body,
    };
    let leaf = Leaf {
        at: Timestamp::from_micros(1_767_225_600_000_000 + n as i64),
        tenant: TenantId::from_bytes([1; 16]),
        principal: Some(PrincipalId::from_bytes([2; 16])),
        actions: Actions::from(word("task.submitted")),
        resource: Some(Resource {
            kind: word("task"),
            id: TaskId::from_bytes(id).to_string(),
            version: Some(n % 3 + 1),
        }),
        outcome: Outcome::Done,
        reason: None,
        count: None,
        detail: Some(detail.digest()),
    };
    (leaf, detail)
}

fn export(with_details: bool) -> (Vec<u8>, Keyring) {
    let secret = SigningKey::from_bytes(&[5; 32]);
    let key = VerifierKey::new(ORIGIN, secret.verifying_key().as_bytes()).expect("a key");
    let keys = Keyring::new(ORIGIN, [key.clone()]);
    let header = ExportHeader {
        origin: ORIGIN.to_owned(),
        size: LEAVES,
        keys: vec![key.clone()],
        handovers: Vec::new(),
    };
    let mut writer = ExportWriter::new(Vec::new(), &header).expect("a header");
    let mut tree = TileWriter::new();
    for n in 0..LEAVES {
        let (leaf, detail) = leaf(n);
        let line = leaf.encode();
        let hash = leaf_hash(&line);
        tree.append(&[hash]).expect("room");
        writer
            .entry(&line, &hash, with_details.then_some(&detail))
            .expect("an entry");
    }
    let checkpoint = Checkpoint::new(ORIGIN, LEAVES, tree.frontier().root()).expect("a checkpoint");
    let mut note = Note::new(checkpoint.to_string()).expect("a note");
    note.sign(&key, |bytes| secret.sign(bytes).to_bytes())
        .expect("a signature");
    (writer.finish(&note).expect("an export"), keys)
}

fn verify(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify_export");
    group.sample_size(20).throughput(Throughput::Elements(LEAVES));
    for (name, with_details) in [("redacted", false), ("with_details", true)] {
        let (bytes, keys) = export(with_details);
        for threads in [1, 2] {
            let threads = NonZeroUsize::new(threads).expect("not zero");
            group.bench_function(format!("{name}/{threads}_threads"), |b| {
                b.iter(|| {
                    let report =
                        verify_export(black_box(bytes.as_slice()), &keys, threads).expect("no error");
                    assert!(report.is_sound());
                });
            });
        }
    }
    group.finish();
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(GROUP));
    let leaves: Vec<Leaf> = (0..GROUP).map(|n| leaf(n).0).collect();
    let mut tree = TileWriter::new();
    group.bench_function("encode_hash_and_grow", |b| {
        b.iter(|| {
            let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(&leaf.encode())).collect();
            black_box(tree.append(&hashes).expect("room"));
            black_box(tree.frontier().encode())
        });
    });
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(&leaf.encode())).collect();
    group.bench_function("place_hashes", |b| {
        b.iter_batched(
            || tree.clone(),
            |mut tree| tree.append(black_box(&hashes)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, verify, append);
criterion_main!(benches);
