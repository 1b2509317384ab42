//! Exports, byte by byte.

use super::*;
use crate::fixtures::{ORIGIN, Signer, checkpoint_note, leaf_hashes};
use crate::tree::Frontier;

fn header(size: u64) -> ExportHeader {
    ExportHeader {
        origin: ORIGIN.to_owned(),
        size,
        keys: vec![Signer::new("key", 1).key],
        handovers: Vec::new(),
    }
}

fn note(origin: &str, size: u64) -> Note {
    let checkpoint = Checkpoint::new(origin, size, Frontier::new().root()).unwrap();
    checkpoint_note(&checkpoint, &[&Signer::new("key", 1)])
}

const LEAF: &[u8] = br#"{"actions":["a"],"at":"1970-01-01T00:00:00.000000Z","outcome":"done","tenant":"00000000-0000-0000-0000-000000000000","version":1}"#;

#[test]
fn header_and_checkpoint_lines_are_stable_and_canonical() {
    let bytes = ExportWriter::new(Vec::new(), &header(0))
        .unwrap()
        .finish(&note(ORIGIN, 0))
        .unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let key = Signer::new("key", 1).key;
    let expected = format!(
        r#"{{"format":"arbiter-audit-export","handovers":[],"keys":["{key}"],"origin":"{ORIGIN}","size":0,"version":1}}"#
    );
    let [first, last] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}")
    };
    assert_eq!(first, expected);
    assert!(last.as_bytes().starts_with(CHECKPOINT_PREFIX));
    for line in [first, last] {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json_canonicalizer::to_string(&value).unwrap(), line);
    }
    assert_eq!(read_header(first.as_bytes()), Ok(header(0)));
    assert_eq!(read_checkpoint(last.as_bytes()), Ok(note(ORIGIN, 0)));
}

#[test]
fn other_headers_are_refused() {
    let line = serde_json::to_string(&HeaderLine::from(&header(3))).unwrap();
    for (from, to) in [
        ("\"version\":1", "\"version\":2"),
        ("audit-export", "audit-dump"),
        ("\"size\":3", "\"size\":03"),
        ("\"size\":3", "\"size\":9007199254740993"),
        ("\"size\":3", "\"size\":3,\"size\":3"),
        ("{\"format\"", "{\"a\":1,\"format\""),
        ("{", "{ "),
        ("key+", "kay+"),
        ("\"handovers\":[]", "\"handovers\":[\"x\"]"),
    ] {
        let other = line.replacen(from, to, 1);
        assert_ne!(other, line);
        assert!(read_header(other.as_bytes()).is_err(), "{other}");
    }
}

#[test]
fn the_writer_refuses_what_would_not_be_an_export() {
    let hash = leaf_hashes(1)[0];
    let mut writer = ExportWriter::new(Vec::new(), &header(1)).unwrap();
    assert!(matches!(
        writer.entry(b"{}", &hash, None),
        Err(ExportError::Leaf { index: 0, .. })
    ));
    let detail = Detail {
        salt: [0; 16],
        body: Vec::new(),
    };
    assert!(matches!(
        writer.entry(LEAF, &hash, Some(&detail)),
        Err(ExportError::StrayDetail { index: 0 })
    ));
    writer.entry(LEAF, &hash, None).unwrap();
    assert!(matches!(
        writer.entry(LEAF, &hash, None),
        Err(ExportError::Count {
            expected: 1,
            given: 2
        })
    ));
    assert!(matches!(
        writer.finish(&note(ORIGIN, 2)),
        Err(ExportError::OtherCheckpoint)
    ));

    let writer = |size| ExportWriter::new(Vec::new(), &header(size));
    assert!(matches!(
        writer(1).unwrap().finish(&note(ORIGIN, 1)),
        Err(ExportError::Count {
            expected: 1,
            given: 0
        })
    ));
    assert!(matches!(
        writer(0).unwrap().finish(&note("other", 0)),
        Err(ExportError::OtherCheckpoint)
    ));
    let text = Note::new("hello\n").unwrap();
    assert!(matches!(
        writer(0).unwrap().finish(&text),
        Err(ExportError::Checkpoint(_))
    ));
    assert!(matches!(writer(MAX_NUMBER + 1), Err(ExportError::Size(_))));
}
