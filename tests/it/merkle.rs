//! Proofs of a real log, accepted by an independent implementation (pymerkle) and refused when changed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use arbiter_audit::proof::ConsistencyProof;
use arbiter_audit::tile::{TileMap, TileWriter};
use arbiter_core::model::Digest;
use arbiter_tests::{Place, python, workspace};
use serde_json::{Value, json};

/// More than a tile of the tree holds, so that proofs span two levels of tiles.
const SUBMITTED: usize = 300;

/// What the script says about a log and its proofs.
fn checked(place: &Place, proofs: &Value) -> Value {
    let mut script = Command::new(python())
        .arg(workspace().join("tests/check/merkle.py"))
        .arg(place.path("log.jsonl"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the interpreter of ARBITER_TEST_PYTHON starts");
    let mut input = script.stdin.take().expect("piped");
    // The script reads all of it before it writes anything.
    write!(input, "{proofs}").expect("told");
    drop(input);
    let output = script.wait_with_output().expect("the script ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).expect("an answer")
}

/// The tiles of the tree whose leaves have these hashes.
fn tiles(hashes: &[Digest]) -> TileMap {
    let mut writer = TileWriter::new();
    let mut map = TileMap::new();
    map.extend(writer.append(hashes).expect("room"));
    map.extend(writer.partial_tiles());
    map
}

#[test]
fn pymerkle_accepts_the_proofs_of_a_real_log_and_refuses_changed_ones() {
    let place = Place::new();
    place.write("agents.toml", "[[agent]]\nname = \"a\"\ncommand = [\"./agents/checksum.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n");
    place.write(
        "tasks.jsonl",
        "{\"kind\":\"analysis\",\"title\":\"ä – 任务\",\"files\":{\"a\":\"agents.toml\"}}\n",
    );
    let run = place.run(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    assert_eq!(run.code(), 0, "{run:?}");
    // Signed heads of three states of one log.
    let mut heads = vec![place.run(&["audit", "proof", "0"]).json()];
    assert_eq!(place.run(&["audit", "rotate"]).code(), 0);
    heads.push(place.run(&["audit", "proof", "0"]).json());
    let more: Vec<String> = (0..SUBMITTED)
        .map(|number| json!({"kind": "research", "title": format!("waits {number}")}).to_string())
        .collect();
    place.write("more.jsonl", &more.join("\n"));
    let submitted = place.run(&["task", "submit", "more.jsonl"]);
    assert_eq!(submitted.code(), 0, "{}", submitted.stderr);
    heads.push(place.run(&["audit", "proof", "0"]).json());
    assert_eq!(place.run(&["audit", "export", "log.jsonl"]).code(), 0);

    let lines = place.lines("log.jsonl");
    let hashes: Vec<Digest> = lines[1..lines.len() - 1]
        .iter()
        .map(|entry| entry["hash"].as_str().expect("hash").parse().expect("digest"))
        .collect();
    let size = hashes.len();
    assert!(size > SUBMITTED, "{size}");
    let mut inclusion = heads.clone();
    for index in [1, 2, 7, 254, 255, 256, 257, size - 2, size - 1] {
        inclusion.push(place.run(&["audit", "proof", &index.to_string()]).json());
    }
    let tiles = tiles(&hashes);
    let between = |old: u64, new: u64| {
        let proof = ConsistencyProof::build(old, new, &tiles).expect("a proof");
        let path: Vec<String> = proof.path.iter().map(ToString::to_string).collect();
        json!({"old": old, "new": new, "path": path})
    };
    let signed: Vec<u64> = heads
        .iter()
        .map(|head| head["size"].as_u64().expect("size"))
        .collect();
    assert!(
        signed.is_sorted_by(|earlier, later| earlier < later),
        "{signed:?}"
    );
    let mut consistency = vec![
        between(signed[0], signed[1]),
        between(signed[0], signed[2]),
        between(signed[1], signed[2]),
    ];
    let size = size as u64;
    for old in [1, 2, 3, 5, 64, 127, 255, 256, 257, size - 1, size] {
        consistency.push(between(old, size));
    }
    for (old, new) in [(1, 2), (3, 7), (6, 8), (7, 256), (8, 8), (200, 256), (256, 257)] {
        consistency.push(between(old, new));
    }
    let (inclusions, consistencies) = (inclusion.len(), consistency.len());
    let answer = checked(
        &place,
        &json!({"heads": heads, "inclusion": inclusion, "consistency": consistency}),
    );
    assert_eq!(answer["entries"], size);
    assert_eq!(answer["inclusion"], inclusions);
    assert_eq!(answer["consistency"], consistencies);
    assert!(
        answer["refused"].as_u64().is_some_and(|refused| refused > 200),
        "{answer}"
    );
}
