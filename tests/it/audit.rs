//! The audit log from outside: export, proof, rotation, tampering.

use arbiter_tests::Place;

fn filled() -> Place {
    let place = Place::new();
    place.write("agents.toml", "[[agent]]\nname = \"a\"\ncommand = [\"./agents/checksum.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n");
    place.write(
        "tasks.jsonl",
        "{\"kind\":\"analysis\",\"title\":\"t\",\"files\":{\"a\":\"agents.toml\"}}\n",
    );
    let run = place.run(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    assert_eq!(run.code(), 0, "{run:?}");
    place
}

#[test]
fn an_export_is_verified_offline_and_every_changed_byte_of_an_entry_is_named() {
    let place = filled();
    let key = place.run(&["audit", "key"]).stdout.trim().to_owned();
    assert_eq!(place.run(&["audit", "export", "log.jsonl"]).code(), 0);
    let elsewhere = Place::new();
    let text = std::fs::read(place.path("log.jsonl")).expect("export");
    std::fs::write(elsewhere.path("log.jsonl"), &text).expect("copied");
    let verify =
        |place: &Place| place.run(&["--json", "audit", "verify", "--file", "log.jsonl", "--key", &key]);
    let sound = verify(&elsewhere);
    assert_eq!(
        (sound.code(), sound.json()["sound"].clone()),
        (0, true.into()),
        "{sound:?}"
    );
    assert!(!elsewhere.path("data").exists(), "no store is needed or made");

    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let entries = lines.len() - 2;
    for entry in 0..entries {
        let start: usize = lines.iter().take(entry + 1).map(|line| line.len()).sum();
        let place_in_line = lines[entry + 1].len() / 2;
        let mut changed = text.clone();
        changed[start + place_in_line] ^= 1;
        std::fs::write(elsewhere.path("log.jsonl"), &changed).expect("changed");
        let broken = verify(&elsewhere);
        assert_eq!(broken.code(), 1);
        let fault = broken.json()["fault"].as_str().expect("a fault").to_owned();
        assert!(fault.starts_with(&format!("entry {entry}:")), "{fault}");
    }
    let other = place.run(&[
        "audit",
        "verify",
        "--file",
        "log.jsonl",
        "--key",
        "x+00000000+AA==",
    ]);
    assert_eq!(other.code(), 2, "{other:?}");
}

#[test]
fn the_key_rotates_and_the_first_key_still_vouches_for_everything() {
    let place = filled();
    let key = place.run(&["audit", "key"]).stdout.trim().to_owned();
    let rotated = place.run(&["audit", "rotate"]);
    assert_eq!(rotated.code(), 0, "{rotated:?}");
    assert_eq!(place.run(&["task", "list"]).code(), 0);
    assert_eq!(
        place
            .run(&["key", "create", "--name", "n", "--role", "auditor"])
            .code(),
        0
    );
    assert_eq!(place.run(&["audit", "rotate"]).code(), 0);
    assert_eq!(place.run(&["audit", "verify"]).code(), 0);
    assert_eq!(place.run(&["audit", "export", "log.jsonl"]).code(), 0);
    let verified = place.run(&["audit", "verify", "--file", "log.jsonl", "--key", &key]);
    assert_eq!(verified.code(), 0, "{verified:?}");
    assert_eq!(place.run(&["audit", "key"]).stdout.trim(), key);
}

#[test]
fn entries_are_found_and_proven() {
    let place = filled();
    let id = place.lines("tasks.results.jsonl")[0]["id"]
        .as_str()
        .expect("id")
        .to_owned();
    let found = place.run(&["--json", "audit", "search", "--resource", &id]);
    assert_eq!(found.code(), 0, "{found:?}");
    let entries: Vec<serde_json::Value> = found
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("an entry"))
        .collect();
    let actions: Vec<String> = entries
        .iter()
        .rev()
        .map(|entry| entry["leaf"]["actions"].to_string())
        .collect();
    assert_eq!(
        actions,
        [
            "[\"task.submit\",\"submitted\"]",
            "[\"assigned\",\"acknowledged\"]",
            "[\"work.report\",\"reported\",\"closed\"]",
        ]
    );
    let decision = &entries[1]["detail"];
    assert_eq!(
        (decision["schema"].as_str(), decision["propensity"].as_f64()),
        (Some("decision/1"), Some(1.0))
    );
    let index = entries[0]["index"].to_string();
    let proof = place.run(&["audit", "proof", &index]);
    assert_eq!(proof.code(), 0, "{proof:?}");
    let proof = proof.json();
    assert_eq!(proof["leaf"], entries[0]["leaf"]);
    assert!(proof["path"].as_array().is_some_and(|path| !path.is_empty()));
    assert_eq!(place.run(&["audit", "proof", "100000"]).code(), 2);
}
