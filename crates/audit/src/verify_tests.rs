//! The offline verifier against changed bytes.

use std::num::NonZeroUsize;

use arbiter_core::model::{Digest, TaskId, TenantId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::detail::Detail;
use crate::export::ExportWriter;
use crate::fixtures::{ORIGIN, Signer, checkpoint_note, handover};
use crate::key::VerifierKey;
use crate::keyring::{Handover, OpenError};
use crate::leaf::{Actions, Leaf, Outcome, Resource};
use crate::ledger::Finding;
use crate::note::NoteError;
use crate::tree::{Frontier, leaf_hash};
use crate::word::Word;

const ONE: NonZeroUsize = NonZeroUsize::MIN;

struct Entry {
    leaf: Vec<u8>,
    hash: Digest,
    detail: Option<Detail>,
}

/// Entry `n`: every third is redacted, every fourth has no digest, every fifth has a binary detail.
fn entry(n: u64) -> Entry {
    let body = if n % 5 == 1 {
        vec![0xff, n as u8]
    } else {
        format!("{{\"note\":\"line\\n{n}\"}}\n").into_bytes()
    };
    let detail = Detail {
        salt: [n as u8; 16],
        body,
    };
    let resource = Resource {
        kind: Word::new("task").unwrap(),
        id: TaskId::from_bytes([(n % 3) as u8; 16]).to_string(),
        version: Some(n / 3 + 1),
    };
    let leaf = Leaf {
        at: Timestamp::from_micros(1_767_225_600_000_000 + n as i64),
        tenant: TenantId::from_bytes([9; 16]),
        principal: None,
        actions: Actions::from(Word::new("task.submitted").unwrap()),
        resource: Some(resource),
        outcome: Outcome::Done,
        reason: None,
        count: None,
        detail: (n % 4 != 3).then(|| detail.digest()),
    };
    let keep = leaf.detail.is_some() && n % 3 != 2;
    let bytes = leaf.encode();
    Entry {
        hash: leaf_hash(&bytes),
        leaf: bytes,
        detail: keep.then_some(detail),
    }
}

fn first() -> Signer {
    Signer::new("first", 1)
}

fn second() -> Signer {
    Signer::new("second", 2)
}

fn trusted() -> Keyring {
    Keyring::new(ORIGIN, [first().key])
}

/// An export of `entries`, whose tree is that of `signed`, signed by the second key after a hand-over at size 0.
fn export_of(entries: &[Entry], signed: &[Entry]) -> Vec<u8> {
    let keys = vec![first().key, second().key];
    export_with(entries, signed, keys, vec![handover(&first(), &second(), 0)])
}

fn export_with(
    entries: &[Entry],
    signed: &[Entry],
    keys: Vec<VerifierKey>,
    handovers: Vec<Handover>,
) -> Vec<u8> {
    let header = ExportHeader {
        origin: ORIGIN.to_owned(),
        size: entries.len() as u64,
        keys,
        handovers,
    };
    let mut writer = ExportWriter::new(Vec::new(), &header).unwrap();
    for entry in entries {
        writer
            .entry(&entry.leaf, &entry.hash, entry.detail.as_ref())
            .unwrap();
    }
    let mut frontier = Frontier::new();
    for entry in signed {
        frontier.push(entry.hash).unwrap();
    }
    let checkpoint = Checkpoint::new(ORIGIN, header.size, frontier.root()).unwrap();
    writer
        .finish(&checkpoint_note(&checkpoint, &[&second()]))
        .unwrap()
}

fn export(count: u64) -> Vec<u8> {
    let entries: Vec<_> = (0..count).map(entry).collect();
    export_of(&entries, &entries)
}

fn verify(bytes: &[u8]) -> Report {
    verify_export(bytes, &trusted(), ONE).unwrap()
}

fn place(bytes: &[u8]) -> Option<Place> {
    verify(bytes).fault.map(|fault| fault.place)
}

#[test]
fn a_sound_export_passes_for_any_number_of_entries_and_threads() {
    for count in [0, 1, 7, 255, 256, 257, 700, 2048] {
        let bytes = export(count);
        let report = verify(&bytes);
        assert_eq!(report.fault, None, "{count}");
        assert!(report.is_sound());
        assert_eq!(report.entries, count);
        assert_eq!(
            report.redacted,
            (0..count).filter(|n| n % 4 != 3 && n % 3 == 2).count() as u64
        );
        assert_eq!(report.signers, [second().key]);
        assert_eq!(report.checkpoint.as_ref().map(|c| *c.root()), Some(report.root));
        let three = verify_export(bytes.as_slice(), &trusted(), NonZeroUsize::new(3).unwrap()).unwrap();
        assert_eq!(three, report);
    }
}

/// Which line of the export holds byte `at`.
fn line_of(bytes: &[u8], at: usize, count: u64) -> Place {
    match bytes[..at].split(|&b| b == b'\n').count() as u64 - 1 {
        0 => Place::Header,
        line if line <= count => Place::Entry(line - 1),
        _ => Place::Checkpoint,
    }
}

/// Puts each of `others` in the place of each byte whose line `chosen` picks, and requires the fault to name that line.
fn flip(sound: &[u8], keys: &Keyring, count: u64, chosen: fn(Place) -> bool, others: impl Fn(u8) -> Vec<u8>) {
    assert!(verify_export(sound, keys, ONE).unwrap().is_sound());
    let mut bytes = sound.to_vec();
    for (at, &byte) in sound.iter().enumerate() {
        let expected = line_of(sound, at, count);
        for other in others(byte)
            .into_iter()
            .filter(|other| chosen(expected) && *other != byte)
        {
            bytes[at] = other;
            let fault = verify_export(bytes.as_slice(), keys, ONE).unwrap().fault;
            assert_eq!(
                fault.as_ref().map(|f| f.place),
                Some(expected),
                "byte {at}: {byte} -> {other}: {fault:?}"
            );
        }
        bytes[at] = byte;
    }
}

#[test]
fn every_changed_byte_of_an_entry_is_found_and_named() {
    // one each with text, with a binary detail, redacted, and without digest
    let entries: Vec<_> = (0..4).map(entry).collect();
    let sound = export_with(&entries, &entries, Vec::new(), Vec::new());
    let keys = Keyring::new(ORIGIN, [second().key]);
    flip(
        &sound,
        &keys,
        4,
        |place| matches!(place, Place::Entry(_)),
        |byte| (0..8).map(|bit| byte ^ 1 << bit).chain(*b"\n\"").collect(),
    );
}

#[test]
fn every_changed_byte_of_header_and_checkpoint_is_found_and_named() {
    let chosen = |place| !matches!(place, Place::Entry(_));
    // twelve entries, so that the stated size may become both smaller and larger by one byte
    flip(&export(12), &trusted(), 12, chosen, |byte| {
        vec![byte ^ 1, byte ^ 2, byte ^ 0x20, b'\n']
    });
}

#[test]
fn every_cut_is_found_and_named() {
    let count = 3;
    let sound = export(count);
    for length in 0..sound.len() {
        assert_eq!(
            place(&sound[..length]),
            Some(line_of(&sound, length, count)),
            "{length}"
        );
    }
    let mut longer = sound.clone();
    longer.push(b'\n');
    assert_eq!(place(&longer), Some(Place::Checkpoint));
}

/// The lines of an export, to be put together in another way.
fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|&b| b == b'\n').collect()
}

#[test]
fn removed_repeated_and_swapped_entries_are_named() {
    let sound = export(600);
    let all = lines(&sound);
    let mut removed = all.clone();
    removed.remove(1 + 300);
    assert_eq!(place(&removed.concat()), Some(Place::Entry(300)));
    let mut repeated = all.clone();
    repeated.insert(1 + 300, all[1 + 300]);
    assert_eq!(place(&repeated.concat()), Some(Place::Entry(301)));
    let mut swapped = all.clone();
    swapped.swap(1 + 300, 1 + 301);
    assert_eq!(place(&swapped.concat()), Some(Place::Entry(300)));
    let mut last = all.clone();
    last.remove(600);
    assert_eq!(place(&last.concat()), Some(Place::Entry(599)));
    let mut no_checkpoint = all.clone();
    no_checkpoint.pop();
    assert_eq!(place(&no_checkpoint.concat()), Some(Place::Checkpoint));
    let mut twice = all.clone();
    twice.push(all[601]);
    assert_eq!(place(&twice.concat()), Some(Place::Checkpoint));
}

#[test]
fn a_leaf_changed_in_the_store_is_named_by_the_hash_in_the_tree() {
    let mut entries: Vec<_> = (0..600).map(entry).collect();
    entries[400].leaf = entry(403).leaf;
    entries[400].detail = None;
    let bytes = export_of(&entries, &entries);
    let fault = verify(&bytes).fault.unwrap();
    assert_eq!((fault.place, fault.problem), (Place::Entry(400), Problem::Hash));
}

#[test]
fn a_leaf_changed_together_with_its_hash_is_a_wrong_root() {
    let signed: Vec<_> = (0..600).map(entry).collect();
    let mut entries: Vec<_> = (0..600).map(entry).collect();
    entries[400] = Entry {
        detail: None,
        ..entry(403)
    };
    let report = verify(&export_of(&entries, &signed));
    let fault = report.fault.unwrap();
    assert_eq!(fault.place, Place::Checkpoint);
    assert!(matches!(fault.problem, Problem::Root { computed, .. } if computed == report.root));
}

#[test]
fn a_changed_detail_is_named_and_a_removed_one_is_not_a_fault() {
    let mut entries: Vec<_> = (0..10).map(entry).collect();
    entries[4].detail = None;
    assert_eq!(verify(&export_of(&entries, &entries)).fault, None);
    entries[6].detail.as_mut().unwrap().body.push(b' ');
    let fault = verify(&export_of(&entries, &entries)).fault.unwrap();
    assert_eq!((fault.place, fault.problem), (Place::Entry(6), Problem::Detail));
}

#[test]
fn keys_that_are_not_trusted_do_not_count() {
    let bytes = export(4);
    let stranger = Keyring::new(ORIGIN, [Signer::new("stranger", 3).key]);
    let fault = verify_export(bytes.as_slice(), &stranger, ONE)
        .unwrap()
        .fault
        .unwrap();
    assert_eq!(
        (fault.place, fault.problem),
        (
            Place::Checkpoint,
            Problem::Open(OpenError::Note(NoteError::Unsigned))
        )
    );
    // the newest key alone is enough, although the hand-over to it cannot be judged
    let newest = Keyring::new(ORIGIN, [second().key]);
    assert!(verify_export(bytes.as_slice(), &newest, ONE).unwrap().is_sound());
    let elsewhere = Keyring::new("example.com/other", [first().key]);
    let fault = verify_export(bytes.as_slice(), &elsewhere, ONE)
        .unwrap()
        .fault
        .unwrap();
    assert_eq!(
        (fault.place, fault.problem),
        (Place::Header, Problem::Origin(ORIGIN.to_owned()))
    );
}

#[test]
fn gaps_in_the_versions_of_a_task_are_findings() {
    let entries: Vec<_> = (0..30).filter(|n| *n != 12).map(entry).collect();
    let report = verify(&export_of(&entries, &entries));
    assert_eq!(report.fault, None);
    assert!(!report.is_sound());
    let task = TaskId::from_bytes([0; 16]);
    assert_eq!(
        report.findings,
        [Finding::Order {
            index: 14,
            task,
            expected: 5,
            found: 6
        }]
    );
    assert_eq!(report.finding_count, 1);
}

#[test]
fn lines_are_bounded() {
    let mut bytes = lines(&export(2))[0].to_vec();
    bytes.resize(bytes.len() + MAX_LINE_BYTES + 10, b'a');
    let fault = verify(&bytes).fault.unwrap();
    assert_eq!((fault.place, fault.problem), (Place::Entry(0), Problem::TooLong));
}

#[test]
fn the_reader_s_error_is_handed_on() {
    struct Broken;
    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let sound = export(300);
    let half = io::Read::chain(&sound[..sound.len() / 2], io::BufReader::new(Broken));
    assert_eq!(
        verify_export(half, &trusted(), ONE).unwrap_err().to_string(),
        "broken"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_changed_byte_among_many_entries_is_named(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut bytes = export(530);
        let at = at.index(bytes.len());
        let expected = line_of(&bytes, at, 530);
        bytes[at] ^= flip;
        let report = verify_export(bytes.as_slice(), &trusted(), NonZeroUsize::new(2).unwrap()).unwrap();
        prop_assert_eq!(report.fault.map(|fault| fault.place), Some(expected));
    }

    #[test]
    fn arbitrary_bytes_never_pass(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(verify(&bytes).fault.is_some());
    }
}
