//! The canonical form of leaves.

use proptest::prelude::*;

use super::*;
use crate::fixtures::leaf_strategy;

fn full() -> Leaf {
    Leaf {
        at: Timestamp::from_micros(1_767_225_600_000_001),
        tenant: TenantId::from_bytes([1; 16]),
        principal: Some(PrincipalId::from_bytes([2; 16])),
        actions: Actions::new(vec![
            Word::new("task.assigned").unwrap(),
            Word::new("task.acknowledged").unwrap(),
        ])
        .unwrap(),
        resource: Some(Resource {
            kind: Word::new("task").unwrap(),
            id: "a\"\n".to_owned(),
            version: Some(3),
        }),
        outcome: Outcome::Done,
        reason: Some(Word::new("claimed").unwrap()),
        count: Some(2),
        detail: Some(Digest::of(b"x")),
    }
}

#[test]
fn the_line_is_stable() {
    let expected = concat!(
        r#"{"actions":["task.assigned","task.acknowledged"],"at":"2026-01-01T00:00:00.000001Z","count":2,"#,
        r#""detail":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","outcome":"done","#,
        r#""principal":"02020202-0202-0202-0202-020202020202","reason":"claimed","#,
        r#""resource":{"id":"a\"\n","kind":"task","version":3},"tenant":"01010101-0101-0101-0101-010101010101","version":1}"#,
    );
    assert_eq!(String::from_utf8(full().encode()).unwrap(), expected);
    assert_eq!(Leaf::decode(expected.as_bytes()), Ok(full()));
}

#[test]
fn other_versions_and_empty_action_lists_are_refused() {
    let line = String::from_utf8(full().encode()).unwrap();
    let other = line.replace("\"version\":1}", "\"version\":2}");
    assert_eq!(Leaf::decode(other.as_bytes()), Err(LeafError::UnknownVersion(2)));
    assert_eq!(
        Leaf::decode(b"{\"new\":true,\"version\":7}"),
        Err(LeafError::UnknownVersion(7))
    );
    let empty = line.replace("\"task.assigned\",\"task.acknowledged\"", "");
    assert!(matches!(
        Leaf::decode(empty.as_bytes()),
        Err(LeafError::NotCanonical { .. })
    ));
    assert_eq!(Actions::new(Vec::new()), Err(NoAction));
}

#[test]
fn other_spellings_of_the_same_leaf_are_refused() {
    let line = String::from_utf8(full().encode()).unwrap();
    for (from, to) in [
        (",", ", "),
        ("task.assigned", "task\\u002eassigned"),
        ("2d711642", "2D711642"),
        ("\"version\":3", "\"version\":3.0"),
        ("\"version\":3", "\"version\":\"3\""),
        ("\"count\":2,", "\"count\":null,"),
        (",\"tenant\"", ",\"tail\":1,\"tenant\""),
    ] {
        let other = line.replacen(from, to, 1);
        assert_ne!(other, line);
        assert!(
            matches!(
                Leaf::decode(other.as_bytes()),
                Err(LeafError::NotCanonical { .. })
            ),
            "{other}"
        );
    }
    for tail in ["\n", " ", "}"] {
        assert!(Leaf::decode(format!("{line}{tail}").as_bytes()).is_err());
    }
    assert!(Leaf::decode(b"\xff").is_err());
    assert!(Leaf::decode(b"").is_err());
}

proptest! {
    #[test]
    fn encoding_is_rfc_8785_and_decodes_to_the_same_leaf(leaf in leaf_strategy()) {
        let line = leaf.encode();
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        prop_assert_eq!(&serde_json_canonicalizer::to_vec(&value).unwrap(), &line);
        prop_assert_eq!(Leaf::decode(&line), Ok(leaf));
    }

    /// The reader is strict by itself: what it accepts, the writer writes again.
    #[test]
    fn a_view_is_only_read_from_canonical_bytes(leaf in leaf_strategy(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut line = leaf.encode();
        let at = at.index(line.len());
        line[at] = byte;
        if let Ok(view) = LeafView::parse(&line) {
            prop_assert_eq!(view.to_leaf().unwrap().encode(), line);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Leaf::decode(&bytes).is_err());
    }
}
