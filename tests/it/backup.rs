//! Backups: taken while the store is in use, restored whole or not at all.

use std::path::{Path, PathBuf};

use arbiter_tests::http::Caller;
use arbiter_tests::{Place, Serving};
use serde_json::{Value, json};

/// Lets an operator take backups over HTTP.
const POLICY: &str = "@id(\"operators-back-up\")\n\
    permit (principal, action in [Arbiter::Action::\"system.backup\", Arbiter::Action::\"audit.export\"], resource)\n\
    when { principal.roles.contains(\"operator\") };\n";

fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A place with a task that has run, an artifact, and a backup of it in `backup`.
fn filled() -> Place {
    let place = Place::new();
    place.write("agents.toml", "[[agent]]\nname = \"a\"\ncommand = [\"./agents/checksum.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n");
    place.write(
        "tasks.jsonl",
        "{\"kind\":\"analysis\",\"title\":\"t\",\"files\":{\"a\":\"agents.toml\"}}\n",
    );
    let run = place.run(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    assert_eq!(run.code(), 0, "{run:?}");
    let taken = place.run(&["--json", "backup", "backup"]);
    assert_eq!(taken.code(), 0, "{taken:?}");
    place
}

/// Restores a backup of a place into the data folder of another.
fn restore(from: &Place, backup: &str, to: &Place, more: &[&str]) -> arbiter_tests::Done {
    let backup = from.path(backup);
    let mut arguments = vec!["--json", "restore", backup.to_str().expect("a path")];
    arguments.extend(more);
    to.run(&arguments)
}

#[test]
fn what_was_backed_up_is_restored_and_goes_on() {
    let place = filled();
    assert!(
        files(&place.path("backup/artifacts")).len() == 1,
        "the input file"
    );
    let again = place.run(&["backup", "backup"]);
    assert_eq!(
        again.code(),
        2,
        "a folder that is there is never written into: {again:?}"
    );
    let before = place.run(&["--json", "task", "list"]);
    let target = Place::new();
    let restored = restore(&place, "backup", &target, &[]);
    assert_eq!(restored.code(), 0, "{restored:?}");
    assert!(restored.json()["entries"].as_u64().expect("entries") > 3);
    let after = target.run(&["--json", "task", "list"]);
    assert_eq!(after.stdout, before.stdout, "with the same key of the operator");
    let sound = target.run(&["--json", "audit", "verify"]);
    assert_eq!(sound.json()["sound"], true, "{sound:?}");
    let refused = restore(&place, "backup", &target, &[]);
    assert_eq!(
        refused.code(),
        2,
        "a folder in use is never written over: {refused:?}"
    );
    let key = place.run(&["audit", "key"]).stdout.trim().to_owned();
    let trusting = restore(&place, "backup", &Place::new(), &["--key", &key]);
    assert_eq!(trusting.code(), 0, "{trusting:?}");
    let other = Place::new();
    let foreign = other.run(&["audit", "key"]).stdout.trim().to_owned();
    let target = Place::new();
    let refused = restore(&place, "backup", &target, &["--key", &foreign]);
    assert_eq!(
        refused.code(),
        4,
        "signed by a key that is not trusted: {refused:?}"
    );
    assert!(!target.path("data").exists());
}

#[test]
fn a_changed_byte_in_any_file_is_named_and_nothing_is_restored() {
    let place = filled();
    let backup = place.path("backup");
    let target = Place::new();
    let refusal = || {
        let refused = restore(&place, "backup", &target, &[]);
        assert_eq!(refused.code(), 3, "{refused:?}");
        assert!(!target.path("data").exists());
        refused.stderr
    };
    for path in files(&backup) {
        let name = path.strip_prefix(&backup).expect("below").display().to_string();
        let whole = std::fs::read(&path).expect("a file");
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        std::fs::write(&path, &changed).expect("changed");
        let told = refusal();
        assert!(told.contains(&name), "{name}: {told}");
        std::fs::write(&path, &whole).expect("as it was");
    }
    let extra = backup.join("artifacts/extra");
    std::fs::write(&extra, "x").expect("written");
    let told = refusal();
    assert!(
        told.contains("artifacts/extra") && told.contains("not in the manifest"),
        "{told}"
    );
    std::fs::remove_file(&extra).expect("removed");
    std::fs::remove_file(backup.join("audit.key")).expect("removed");
    let told = refusal();
    assert!(told.contains("audit.key") && told.contains("missing"), "{told}");
}

#[test]
fn a_server_is_backed_up_while_tasks_come_in() {
    let place = Place::new();
    place.write("extra.cedar", POLICY);
    let config = place.write(
        "config.toml",
        "[policies]\nfiles = [\"extra.cedar\"]\n[backup]\nfolder = \"backups\"\n",
    );
    let config = config.to_str().expect("a path");
    let serving = Serving::start(&place, &["--config", config]);
    let key = std::fs::read_to_string(place.path("data/operator.key")).expect("the operator's key");
    let operator = Caller::new(&serving, Some(&key));
    let task = json!({"kind": "analysis", "title": "count", "instructions": "count the words"});
    let submit = || {
        let answer = operator.post("/v1/tasks", &task);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    };
    let before: Vec<String> = (0..5).map(|_| submit()).collect();
    let taken = std::thread::scope(|scope| {
        let backup = scope.spawn(|| operator.post("/v1/system/backup", &Value::Null));
        while !backup.is_finished() {
            submit();
        }
        backup.join().expect("an answer")
    });
    assert_eq!(taken.status, 201, "{taken:?}");
    let name = taken.json()["name"].as_str().expect("a name").to_owned();
    let export = operator.get("/v1/audit/export");
    assert_eq!(export.status, 200, "{export:?}");
    place.write("log.jsonl", &String::from_utf8(export.body).expect("text"));
    assert_eq!(serving.stop().code(), Some(0));
    let verified = place.run(&["--json", "audit", "verify", "--file", "log.jsonl"]);
    assert_eq!(verified.json()["sound"], true, "{verified:?}");
    let folder = format!("backups/{name}");
    let target = Place::new();
    let restored = restore(&place, &folder, &target, &[]);
    assert_eq!(restored.code(), 0, "{restored:?}");
    assert_eq!(restored.json()["entries"], taken.json()["entries"]);
    for id in before {
        let found = target.run(&["--json", "task", "get", &id]);
        assert_eq!(found.code(), 0, "{found:?}");
    }
}
