//! Trust and its hand-over.

use super::*;
use crate::fixtures::{ORIGIN, Signer, checkpoint_note, handover};

fn empty_checkpoint(size: u64, signers: &[&Signer]) -> Note {
    checkpoint_note(&Checkpoint::new(ORIGIN, size, Digest::of(b"")).unwrap(), signers)
}

#[test]
fn trust_passes_along_the_chain_and_each_key_vouches_for_its_own_sizes() {
    let (first, second, third) = (
        Signer::new("one", 1),
        Signer::new("two", 2),
        Signer::new("three", 3),
    );
    let mut ring = Keyring::new(ORIGIN, [first.key.clone()]);
    let (to_second, to_third) = (handover(&first, &second, 100), handover(&second, &third, 200));

    assert_eq!(ring.adopt(&to_third), Ok(Adoption::Unrelated));
    assert!(ring.open(&empty_checkpoint(250, &[&third])).is_err());
    assert_eq!(ring.adopt(&to_second), Ok(Adoption::Adopted));
    assert_eq!(ring.adopt(&to_third), Ok(Adoption::Adopted));
    assert_eq!(ring.adopt(&to_second), Ok(Adoption::Known));
    assert_eq!(ring.keys().count(), 3);

    for (size, signer, ok) in [
        (1, &first, true),
        (100, &first, true),
        (101, &first, false),
        (99, &second, false),
        (100, &second, true),
        (200, &second, true),
        (201, &second, false),
        (200, &third, true),
        (u64::MAX, &third, true),
    ] {
        let opened = ring.open(&empty_checkpoint(size, &[signer]));
        let expected = if ok {
            Ok(vec![signer.key.clone()])
        } else {
            Err(OpenError::Validity(size))
        };
        assert_eq!(
            opened.map(|vouched| vouched.signers),
            expected,
            "{size} by {}",
            signer.key.name()
        );
    }
}

#[test]
fn during_an_overlap_both_sign_and_old_verifiers_go_on() {
    let (old, new) = (Signer::new("one", 1), Signer::new("two", 2));
    let both = empty_checkpoint(150, &[&old, &new]);
    let mut ring = Keyring::new(ORIGIN, [old.key.clone()]);
    assert_eq!(ring.open(&both).unwrap().signers, std::slice::from_ref(&old.key));
    ring.adopt(&handover(&old, &new, 100)).unwrap();
    assert_eq!(ring.open(&both).unwrap().signers, std::slice::from_ref(&new.key));
}

#[test]
fn a_handover_needs_both_signatures_and_its_own_form() {
    let (old, new) = (Signer::new("one", 1), Signer::new("two", 2));
    let draft = Handover::draft(ORIGIN, &old.key, &new.key, 7).unwrap();
    for signer in [&old, &new] {
        let mut note = draft.clone();
        note.sign(&signer.key, |bytes| signer.sign(bytes)).unwrap();
        assert_eq!(
            Handover::open(note),
            Err(HandoverError::Signature(NoteError::Unsigned))
        );
    }
    assert_eq!(
        Handover::open(draft),
        Err(HandoverError::Signature(NoteError::Unsigned))
    );
    assert_eq!(
        Handover::open(empty_checkpoint(7, &[&old, &new])),
        Err(HandoverError::Form)
    );
    let to_itself = Handover::draft(ORIGIN, &old.key, &old.key, 7).unwrap();
    assert_eq!(Handover::open(to_itself), Err(HandoverError::Form));
    let opened = handover(&old, &new, 7);
    assert_eq!(
        (opened.old(), opened.new_key(), opened.size()),
        (&old.key, &new.key, 7)
    );
    assert_eq!(
        Handover::open(Note::parse(&opened.note().to_string()).unwrap()),
        Ok(opened)
    );
}

#[test]
fn contradicting_handovers_change_nothing() {
    let (old, new, other) = (
        Signer::new("one", 1),
        Signer::new("two", 2),
        Signer::new("three", 3),
    );
    let mut ring = Keyring::new(ORIGIN, [old.key.clone()]);
    ring.adopt(&handover(&old, &new, 100)).unwrap();
    let before = ring.clone();
    assert_eq!(
        ring.adopt(&handover(&old, &other, 100)),
        Err(AdoptError::Retired("one".into()))
    );
    assert_eq!(
        ring.adopt(&handover(&old, &new, 120)),
        Err(AdoptError::Retired("one".into()))
    );
    assert_eq!(
        ring.adopt(&handover(&new, &old, 120)),
        Err(AdoptError::KnownKey("one".into()))
    );
    assert_eq!(
        ring.adopt(&handover(&new, &other, 99)),
        Err(AdoptError::Order(99))
    );
    assert_eq!(ring, before);
    let mut elsewhere = Keyring::new("example.com/other", [old.key.clone()]);
    assert_eq!(
        elsewhere.adopt(&handover(&old, &new, 100)),
        Err(AdoptError::Origin(ORIGIN.into()))
    );
}

#[test]
fn a_note_that_is_no_checkpoint_of_this_log_is_refused() {
    let (old, new) = (Signer::new("one", 1), Signer::new("two", 2));
    let ring = Keyring::new(ORIGIN, [old.key.clone()]);
    let rotation = handover(&old, &new, 7);
    assert_eq!(
        ring.open(rotation.note()),
        Err(OpenError::Checkpoint(CheckpointError::Size))
    );
    let elsewhere = Checkpoint::new("example.com/other", 1, Digest::of(b"")).unwrap();
    let opened = ring.open(&checkpoint_note(&elsewhere, &[&old]));
    assert_eq!(opened, Err(OpenError::Origin("example.com/other".into())));
    assert_eq!(
        ring.open(&empty_checkpoint(1, &[&new])),
        Err(OpenError::Note(NoteError::Unsigned))
    );
}
