//! Any one-byte change of any entry of a real log is found and named, in the store and in an export; what was cut off or
//! written anew is found as well, and nothing signs it afterwards.

use std::collections::BTreeMap;
use std::ops::Range;

use arbiter_tests::Place;
use rusqlite::Connection;

/// Two runs with a large submit between them: more than one tile, batches of one and of many entries, and details.
fn filled() -> Place {
    let place = Place::new();
    place.write(
        "agents/quick.sh",
        "#!/bin/sh\ncat >/dev/null\necho '{\"version\":1,\"outcome\":\"succeeded\"}'\n",
    );
    place.write("agents.toml", "[[agent]]\nname = \"a\"\ncommand = [\"./agents/quick.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n");
    place.write(
        "tasks.jsonl",
        "{\"kind\":\"analysis\",\"title\":\"a\"}\n{\"kind\":\"analysis\",\"title\":\"b\"}\n",
    );
    let many: Vec<String> = (0..300)
        .map(|number| format!("{{\"kind\":\"research\",\"title\":\"{number}\"}}"))
        .collect();
    place.write("many.jsonl", &many.join("\n"));
    let run = || place.run(&["run", "tasks.jsonl", "--agents", "agents.toml", "--fresh"]);
    assert_eq!(run().code(), 0);
    assert_eq!(place.run(&["task", "submit", "many.jsonl"]).code(), 0);
    assert_eq!(run().code(), 0);
    assert_eq!(place.run(&["audit", "verify"]).code(), 0);
    place
}

fn database(place: &Place) -> Connection {
    Connection::open(place.path("data/arbiter.db")).expect("the database")
}

/// The fault that `arbiter audit verify` names.
fn fault(place: &Place) -> String {
    let verified = place.run(&["--json", "audit", "verify"]);
    assert_eq!(verified.code(), 1, "{verified:?}");
    verified.json()["fault"].as_str().expect("a fault").to_owned()
}

/// One batch as it is stored.
struct Batch {
    first: u64,
    leaves: Vec<u8>,
    details: Option<Vec<u8>>,
}

fn batches(place: &Place) -> Vec<Batch> {
    let connection = database(place);
    let mut statement = connection
        .prepare("SELECT first, leaves, details FROM audit_batch ORDER BY first")
        .expect("a statement");
    let rows = statement.query_map([], |row| {
        Ok(Batch {
            first: row.get::<_, i64>(0)?.unsigned_abs(),
            leaves: row.get(1)?,
            details: row.get(2)?,
        })
    });
    rows.expect("rows").collect::<Result<_, _>>().expect("rows")
}

/// Where each entry stands in packed ones: its length's four bytes, then as many bytes as they say. A length of zero
/// stands alone for no detail, any other counts one and is followed by the salt.
fn places(packed: &[u8], salted: bool) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < packed.len() {
        let (length, _) = packed[at..].split_first_chunk::<4>().expect("a length");
        let length = u32::from_le_bytes(*length) as usize;
        let body = match (salted, length) {
            (true, 0) => 0,
            (true, length) => 16 + length - 1,
            (false, length) => length,
        };
        found.push(at..at + 4 + body);
        at += 4 + body;
    }
    found
}

/// Changes one byte of a stored value, asks for the fault, and puts the byte back.
fn with_byte(place: &Place, column: &str, first: u64, value: &[u8], at: usize) -> String {
    let sql = format!("UPDATE audit_batch SET {column} = ?1 WHERE first = ?2");
    let mut changed = value.to_vec();
    changed[at] ^= 1;
    let set = |bytes: &[u8]| database(place).execute(&sql, (bytes, first.cast_signed()));
    assert_eq!(set(&changed).ok(), Some(1));
    let fault = fault(place);
    assert_eq!(set(value).ok(), Some(1));
    fault
}

#[test]
fn any_changed_byte_of_an_entry_in_the_store_is_named() {
    let place = filled();
    let mut checked = BTreeMap::new();
    for batch in batches(&place) {
        let leaves = places(&batch.leaves, false);
        let details = batch.details.as_deref().map(|details| places(details, true));
        // In a large batch the first, one in the middle and the last.
        let mut sample = vec![0, leaves.len() / 2, leaves.len() - 1];
        sample.dedup();
        for number in sample {
            let name = format!("entry {}:", batch.first + number as u64);
            let leaf = &leaves[number];
            let middle = leaf.start + 4 + (leaf.len() - 4) / 2;
            for at in [leaf.start, leaf.start + 3, leaf.start + 4, middle, leaf.end - 1] {
                let fault = with_byte(&place, "leaves", batch.first, &batch.leaves, at);
                assert!(
                    fault.starts_with(&name),
                    "byte {at} of a leaf: {fault}, not {name}"
                );
                *checked.entry("leaf").or_insert(0) += 1;
            }
            let (Some(packed), Some(details)) = (&batch.details, &details) else {
                continue;
            };
            let detail = &details[number];
            // A length, the salt, and bytes of the text: some changes leave it valid JSON, some do not.
            let head = [detail.start, detail.start + 1, detail.start + 3];
            let body = (detail.start + 4..detail.end).step_by(29).chain([detail.end - 1]);
            for at in head.into_iter().chain(body) {
                let fault = with_byte(&place, "details", batch.first, packed, at);
                assert!(
                    fault.starts_with(&name),
                    "byte {at} of a detail: {fault}, not {name}"
                );
                *checked.entry("detail").or_insert(0) += 1;
            }
        }
    }
    assert!(checked["leaf"] > 80 && checked["detail"] > 40, "{checked:?}");
    assert_eq!(
        place.run(&["audit", "verify"]).code(),
        0,
        "everything was put back"
    );
}

#[test]
fn changed_hashes_tiles_and_checkpoints_of_the_store_are_found() {
    let place = filled();
    let tile: Vec<u8> = database(&place)
        .query_row(
            "SELECT hashes FROM audit_tile WHERE level = 0 AND number = 0",
            [],
            |row| row.get(0),
        )
        .expect("a tile");
    let set_tile = |bytes: &[u8]| {
        database(&place).execute(
            "UPDATE audit_tile SET hashes = ?1 WHERE level = 0 AND number = 0",
            [bytes],
        )
    };
    for entry in [0_usize, 1, 100, 255] {
        let mut changed = tile.clone();
        changed[32 * entry + entry % 32] ^= 1;
        assert_eq!(set_tile(&changed).ok(), Some(1));
        let fault = fault(&place);
        assert!(fault.starts_with(&format!("entry {entry}:")), "{fault}");
    }
    assert_eq!(set_tile(&tile).ok(), Some(1));

    // The end of the tree is looked at before anything is done: no command goes on over it.
    let last = "(SELECT max(first) FROM audit_batch)";
    let size = batches(&place).pop().expect("a batch").first;
    let named = format!("entry {size} does not match its hash");
    for (column, told) in [("hashes", named.as_str()), ("root", "do not add up")] {
        let kept: Vec<u8> = database(&place)
            .query_row(
                &format!("SELECT {column} FROM audit_batch WHERE first = {last}"),
                [],
                |row| row.get(0),
            )
            .expect("a batch");
        let sql = format!("UPDATE audit_batch SET {column} = ?1 WHERE first = {last}");
        let mut changed = kept.clone();
        changed[9] ^= 1;
        assert_eq!(database(&place).execute(&sql, [&changed]).ok(), Some(1));
        for command in [&["audit", "verify"][..], &["task", "list"]] {
            let refused = place.run(command);
            assert_eq!(refused.code(), 4, "{refused:?}");
            assert!(refused.stderr.contains(told), "{refused:?}");
        }
        assert_eq!(database(&place).execute(&sql, [&kept]).ok(), Some(1));
    }

    let note: String = database(&place)
        .query_row("SELECT note FROM audit_checkpoint", [], |row| row.get(0))
        .expect("a checkpoint");
    let set_note = |note: &str| database(&place).execute("UPDATE audit_checkpoint SET note = ?1", [note]);
    for at in (0..note.len())
        .filter(|at| note.as_bytes()[*at].is_ascii_alphanumeric())
        .step_by(11)
    {
        let mut changed = note.clone().into_bytes();
        // Another letter or digit of the same alphabet.
        changed[at] = if changed[at] == b'1' { b'2' } else { b'1' };
        assert_eq!(set_note(&String::from_utf8(changed).expect("text")).ok(), Some(1));
        let verified = place.run(&["audit", "verify"]);
        assert_eq!(verified.code(), 4, "byte {at}: {verified:?}");
        assert!(verified.stderr.contains("signed head"), "byte {at}: {verified:?}");
    }
    assert_eq!(set_note(&note).ok(), Some(1));
    assert_eq!(
        place.run(&["audit", "verify"]).code(),
        0,
        "everything was put back"
    );
}

#[test]
fn a_log_that_was_cut_off_is_found_and_never_signed_again() {
    let place = filled();
    let kept = std::fs::read(place.path("data/arbiter.db")).expect("the database");
    let last = batches(&place).pop().expect("a batch").first;
    let cut = database(&place).execute(
        "DELETE FROM audit_batch WHERE first = (SELECT max(first) FROM audit_batch)",
        [],
    );
    assert_eq!(cut.ok(), Some(1));
    for _ in 0..2 {
        assert_eq!(fault(&place), format!("entry {last}: data ends too early"));
    }
    // Other work grows the log beyond the size that was signed: another history, which gets no signature.
    place.write(
        "more.jsonl",
        &"{\"kind\":\"research\",\"title\":\"more\"}\n".repeat(5),
    );
    let submitted = place.run(&["task", "submit", "more.jsonl"]);
    assert_eq!(submitted.code(), 4, "{submitted:?}");
    assert!(
        submitted.stderr.contains("are not those that were signed"),
        "{submitted:?}"
    );
    let found = fault(&place);
    assert!(found.starts_with("checkpoint:"), "{found}");
    assert_eq!(place.run(&["audit", "export", "log.jsonl"]).code(), 4);

    std::fs::write(place.path("data/arbiter.db"), kept).expect("put back");
    assert_eq!(place.run(&["audit", "verify"]).code(), 0);
}

#[test]
fn any_changed_byte_of_an_export_is_named() {
    let place = filled();
    let key = place.run(&["audit", "key"]).stdout.trim().to_owned();
    assert_eq!(place.run(&["audit", "export", "log.jsonl"]).code(), 0);
    let text = std::fs::read(place.path("log.jsonl")).expect("an export");
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let verify = |at: usize| {
        let mut changed = text.clone();
        changed[at] ^= 1;
        std::fs::write(place.path("changed.jsonl"), changed).expect("written");
        let verified = place.run(&[
            "--json",
            "audit",
            "verify",
            "--file",
            "changed.jsonl",
            "--key",
            &key,
        ]);
        assert_eq!(verified.code(), 1, "byte {at}: {verified:?}");
        verified.json()["fault"].as_str().expect("a fault").to_owned()
    };
    let mut start = 0;
    for (number, line) in lines.iter().enumerate() {
        // Every line's kind: the header, entries with and without detail, the checkpoint.
        let name = match number {
            0 => "header:".to_owned(),
            _ if number == lines.len() - 1 => "checkpoint:".to_owned(),
            _ => format!("entry {}:", number - 1),
        };
        let picked = number < 12 || number % 67 == 0 || number >= lines.len() - 3;
        if picked {
            for at in [0, 1, line.len() / 3, line.len() / 2, line.len() - 2] {
                let fault = verify(start + at);
                assert!(
                    fault.starts_with(&name),
                    "byte {at} of line {number}: {fault}, not {name}"
                );
            }
        }
        start += line.len();
    }
}
