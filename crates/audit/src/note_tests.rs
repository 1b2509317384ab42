//! Signed notes against the published example.

use super::*;
use crate::fixtures::{GO_KEY, GO_NOTE, Signer};

/// The example of Go's `golang.org/x/mod/sumdb/note`.
#[test]
fn the_published_note_verifies_and_prints() {
    let key: VerifierKey = GO_KEY.parse().unwrap();
    let note = Note::parse(GO_NOTE).unwrap();
    assert_eq!(note.verify([&key]).unwrap(), [&key]);
    assert_eq!(note.to_string(), GO_NOTE);
    assert!(note.text().starts_with("If you think cryptography"));
}

#[test]
fn every_changed_bit_of_the_published_note_is_refused() {
    let key: VerifierKey = GO_KEY.parse().unwrap();
    for at in 0..GO_NOTE.len() {
        for bit in 0..8 {
            let mut bytes = GO_NOTE.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            let verified = Note::parse(&text).and_then(|note| note.verify([&key]).map(|_| ()));
            assert!(verified.is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn several_signatures_are_kept_and_unknown_ones_ignored() {
    let (log, witness, stranger) = (
        Signer::new("log", 1),
        Signer::new("witness", 2),
        Signer::new("log", 3),
    );
    let mut note = Note::new("hello\n").unwrap();
    for signer in [&log, &witness] {
        note.sign(&signer.key, |bytes| signer.sign(bytes)).unwrap();
    }
    let note = Note::parse(&note.to_string()).unwrap();
    assert_eq!(note.signatures().len(), 2);
    assert_eq!(
        note.verify([&witness.key, &stranger.key, &log.key]).unwrap(),
        [&witness.key, &log.key]
    );
    assert_eq!(note.verify([&witness.key]).unwrap(), [&witness.key]);
    assert_eq!(note.verify([&stranger.key]), Err(NoteError::Unsigned));
    assert_eq!(note.verify([]), Err(NoteError::Unsigned));
}

#[test]
fn a_known_key_with_a_wrong_signature_refuses_the_whole_note() {
    let (log, witness) = (Signer::new("log", 1), Signer::new("witness", 2));
    let mut note = Note::new("hello\n").unwrap();
    note.sign(&log.key, |bytes| log.sign(bytes)).unwrap();
    note.signatures.push(NoteSignature {
        name: "witness".into(),
        id: witness.key.id(),
        bytes: vec![0; 64],
    });
    assert_eq!(
        note.verify([&log.key, &witness.key]),
        Err(NoteError::Invalid("witness".into()))
    );
    assert_eq!(note.verify([&log.key]).unwrap(), [&log.key]);
    note.signatures[1].bytes = vec![0; 7];
    assert_eq!(
        note.verify([&log.key, &witness.key]),
        Err(NoteError::Invalid("witness".into()))
    );
    // a signer that does not hold the key's secret is found out before anything is written
    assert_eq!(
        note.sign(&log.key, |bytes| witness.sign(bytes)),
        Err(NoteError::Invalid("log".into()))
    );
}

#[test]
fn what_is_not_a_note_is_refused() {
    for text in ["", "no newline", "tab\there\n", "nul\0\n"] {
        assert_eq!(Note::new(text), Err(NoteError::Text));
    }
    let line = GO_NOTE.lines().last().unwrap();
    for note in [
        "",
        "text\n",
        "text\n\n",
        "text\n\n\n",
        &format!("text\n\n{line}"),
        &format!("text\n{line}\n"),
        &format!("text\n\n{line}\n\n"),
        &format!("text\n\n- PeterNeumann AAAA\n{line}\n"),
        "text\n\n— name AAAAAA==\n",
        "text\n\n— na+me AAAAAAA=\n",
        "text\n\n—  AAAAAAA=\n",
        "text\n\n— name AAAAAAB=\n",
        "text\n\n— name AAAAAAA\n",
        &format!("text\n\n{}", format!("{line}\n").repeat(MAX_SIGNATURES + 1)),
        &format!("{}\n\n{line}\n", "a".repeat(MAX_NOTE_BYTES)),
    ] {
        assert!(Note::parse(note).is_err(), "{note:.80}");
    }
    assert!(Note::parse("text\n\n— name AAAAAAA=\n").is_ok());
}
