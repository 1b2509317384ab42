//! A store moves from one machine into a shared database and back, by backup and restore.

use std::path::{Path, PathBuf};

use arbiter_core::model::Digest;
use arbiter_tests::{Done, Place};
use serde_json::Value;

use crate::cluster::{Database, Node};

const AGENTS: &str = "[[agent]]\nname = \"a\"\ncommand = [\"./agents/checksum.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n";

/// Does a batch of tasks with a file in a place.
fn batch(place: &Place, config: &[&str], title: &str) {
    place.write("agents.toml", AGENTS);
    let tasks = format!(
        "{{\"kind\":\"analysis\",\"title\":\"{title}\",\"files\":{{\"a\":\"agents.toml\"}}}}\n\
         {{\"kind\":\"analysis\",\"title\":\"{title} too\",\"files\":{{\"a\":\"{title}.jsonl\"}}}}\n"
    );
    let name = format!("{title}.jsonl");
    place.write(&name, &tasks);
    let run = place.run(&[config, &["run", &name, "--agents", "agents.toml"]].concat());
    assert_eq!(run.code(), 0, "{run:?}");
}

/// Runs a command that must succeed, and gives what it prints as JSON.
fn told(place: &Place, config: &[&str], command: &[&str]) -> Value {
    let done = place.run(&[config, &["--json"], command].concat());
    assert_eq!(done.code(), 0, "{done:?}");
    done.json()
}

fn restored(place: &Place, config: &[&str], backup: &Path) -> Done {
    let backup = backup.to_str().expect("a path");
    place.run(&[config, &["--json", "restore", backup]].concat())
}

/// The tasks, and whether the log is sound, with the number of its entries.
fn state(place: &Place, config: &[&str]) -> (Value, u64) {
    let tasks = told(place, config, &["task", "list"]);
    let verified = told(place, config, &["audit", "verify"]);
    assert_eq!(verified["sound"], true, "{verified}");
    (tasks, verified["entries"].as_u64().expect("entries"))
}

/// A place with a configuration of a shared store.
struct Shared {
    place: Place,
    config: PathBuf,
}

impl Shared {
    fn on(database: &Database) -> Self {
        let place = database.place("");
        let config = place.path("config.toml");
        Self { place, config }
    }

    fn config(&self) -> [&str; 2] {
        ["--config", self.config.to_str().expect("a path")]
    }
}

/// An embedded store in which a batch was done, and a backup of it.
fn backed_up() -> (Place, PathBuf) {
    let place = Place::new();
    batch(&place, &[], "first");
    told(&place, &[], &["backup", "backup"]);
    let backup = place.path("backup");
    (place, backup)
}

/// Whether a schema has no task and no entry of a log; it may be missing.
fn is_empty(database: &Database) -> bool {
    let tables = database.ask(&format!(
        "SELECT count(*)::text FROM pg_tables WHERE schemaname = '{}'",
        database.schema
    ));
    tables == ["0"]
        || database.ask("SELECT (SELECT count(*) FROM task) + (SELECT count(*) FROM document) + (SELECT count(*) FROM audit_batch) + (SELECT count(*) FROM artifact)")
            == ["0"]
}

#[test]
fn a_store_of_one_machine_becomes_a_shared_one_and_back() {
    let (here, backup) = backed_up();
    let (tasks, entries) = state(&here, &[]);
    let database = Database::new();
    let there = Shared::on(&database);
    let config = there.config();
    let done = restored(&there.place, &config, &backup);
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(done.json()["schema"], database.schema);
    assert!(!done.stdout.contains("engine:"), "no login is told: {done:?}");
    let (found, signed) = state(&there.place, &config);
    assert_eq!(found, tasks, "with the same key of the operator");
    assert!(signed >= done.json()["entries"].as_u64().expect("entries") && signed <= entries);
    let again = restored(&there.place, &config, &backup);
    assert_eq!(again.code(), 2, "a store with rows takes none: {again:?}");
    assert!(again.stderr.contains("not empty"), "{again:?}");

    // work goes on, the key is replaced, and all of it comes back
    batch(&there.place, &config, "second");
    let rotated = there.place.run(&[&config[..], &["audit", "rotate"]].concat());
    assert_eq!(rotated.code(), 0, "{rotated:?}");
    let (tasks, _) = state(&there.place, &config);
    let taken = told(&there.place, &config, &["backup", "second"]);
    assert_eq!(taken["damaged"], Value::Array(Vec::new()));
    let artifacts = count_files(&there.place.path("second/artifacts"));
    assert_eq!(artifacts, 3, "one file was in both batches");
    let back = Place::new();
    let done = restored(&back, &[], &there.place.path("second"));
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(done.json()["entries"], taken["entries"]);
    assert_eq!(state(&back, &[]).0, tasks);
    batch(&back, &[], "third");

    // and once more, with a key that the shared store has not seen
    let rotated = back.run(&["audit", "rotate"]);
    assert_eq!(rotated.code(), 0, "{rotated:?}");
    told(&back, &[], &["backup", "third"]);
    let database = Database::new();
    let last = Shared::on(&database);
    let config = last.config();
    let done = restored(&last.place, &config, &back.path("third"));
    assert_eq!(done.code(), 0, "{done:?}");
    let (tasks, signed) = state(&last.place, &config);
    assert_eq!(tasks, state(&back, &[]).0);
    batch(&last.place, &config, "fourth");
    let (_, entries) = state(&last.place, &config);
    assert!(entries > signed, "what comes after the move is signed too");
}

fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .map(|path| if path.is_dir() { count_files(&path) } else { 1 })
        .sum()
}

#[test]
fn a_backup_that_is_damaged_or_newer_is_not_restored_into_a_shared_store() {
    let (_here, backup) = backed_up();
    let database = Database::new();
    let refused = |code: i32, words: &[&str]| {
        let there = Shared::on(&database);
        let done = restored(&there.place, &there.config(), &backup);
        assert_eq!(done.code(), code, "{done:?}");
        for word in words {
            assert!(done.stderr.contains(word), "{word}: {done:?}");
        }
        assert!(!there.place.path("data").exists(), "no keys are left");
        assert!(is_empty(&database), "and no rows");
    };
    // a byte of the database
    let path = backup.join("arbiter.db");
    let whole = std::fs::read(&path).expect("the database");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&path, &changed).expect("changed");
    refused(3, &["arbiter.db", "does not have its digest"]);
    std::fs::write(&path, &whole).expect("as it was");
    // an artifact that is missing, then one that is another
    let artifact = one_file(&backup.join("artifacts"));
    let content = std::fs::read(&artifact).expect("an artifact");
    std::fs::remove_file(&artifact).expect("removed");
    refused(3, &["artifacts/", "is missing"]);
    std::fs::write(&artifact, "something else").expect("written");
    refused(3, &["artifacts/", "does not have its digest"]);
    std::fs::write(&artifact, &content).expect("as it was");
    // the manifest says so too, but the content is not what its name says
    let manifest = backup.join("manifest.json");
    let text = std::fs::read(&manifest).expect("the manifest");
    std::fs::write(&artifact, "something else").expect("written");
    restate(&backup, &artifact);
    refused(3, &["does not add up", "is not whole"]);
    std::fs::write(&artifact, &content).expect("as it was");
    // a schema of a later program
    let connection = rusqlite::Connection::open(&path).expect("the database");
    connection.pragma_update(None, "user_version", 99).expect("set");
    drop(connection);
    std::fs::write(&manifest, &text).expect("as it was");
    restate(&backup, &path);
    refused(4, &["schema 99"]);
    std::fs::write(&path, &whole).expect("as it was");
    restate(&backup, &path);
    let there = Shared::on(&database);
    let done = restored(&there.place, &there.config(), &backup);
    assert_eq!(done.code(), 0, "as it was, it is restored: {done:?}");
}

/// Has the manifest say what a file is now.
fn restate(backup: &Path, file: &Path) {
    let manifest = backup.join("manifest.json");
    let text = std::fs::read(&manifest).expect("the manifest");
    let mut value: Value = serde_json::from_slice(&text).expect("JSON");
    let name = file
        .strip_prefix(backup)
        .expect("below")
        .to_str()
        .expect("a path");
    let content = std::fs::read(file).expect("a file");
    value["files"][name]["size_bytes"] = content.len().into();
    value["files"][name]["sha256"] = Digest::of(&content).to_string().into();
    let text = serde_json::to_vec_pretty(&value).expect("JSON");
    std::fs::write(&manifest, &text).expect("written");
    let digest = format!("{}\n", Digest::of(&text));
    std::fs::write(backup.join("manifest.sha256"), digest).expect("written");
}

fn one_file(folder: &Path) -> PathBuf {
    let entry = std::fs::read_dir(folder)
        .expect("a folder")
        .next()
        .expect("an entry");
    let path = entry.expect("an entry").path();
    if path.is_dir() { one_file(&path) } else { path }
}

#[test]
fn keys_that_an_earlier_restore_left_are_not_in_the_way_and_others_are() {
    let (here, backup) = backed_up();
    let database = Database::new();
    let there = Shared::on(&database);
    let config = there.config();
    std::fs::create_dir(there.place.path("data")).expect("a folder");
    for name in ["audit.key", "audit.trust.json", "operator.key"] {
        std::fs::copy(backup.join(name), there.place.path("data").join(name)).expect("copied");
    }
    std::fs::write(there.place.path("data/operator.key"), "another").expect("written");
    let done = restored(&there.place, &config, &backup);
    assert_eq!(done.code(), 2, "{done:?}");
    assert!(is_empty(&database));
    std::fs::copy(backup.join("operator.key"), there.place.path("data/operator.key")).expect("copied");
    let done = restored(&there.place, &config, &backup);
    assert_eq!(done.code(), 0, "{done:?}");
    assert_eq!(state(&there.place, &config).0, state(&here, &[]).0);
}

#[test]
fn a_node_without_the_key_that_signs_takes_no_backup() {
    let database = Database::new();
    let first = Node::start(database.place(""), &[]);
    let taken = first.run(&["--json", "backup", "backup"]);
    assert_eq!(taken.code(), 0, "while it serves: {taken:?}");
    let other = Shared::on(&database);
    let refused = other
        .place
        .run(&[&other.config()[..], &["backup", "backup"]].concat());
    assert_eq!(refused.code(), 2, "{refused:?}");
    assert!(refused.stderr.contains("another node's key"), "{refused:?}");
    assert!(!other.place.path("backup").exists());
    let (_here, backup) = backed_up();
    let there = Shared::on(&database);
    let done = restored(&there.place, &there.config(), &backup);
    assert_eq!(done.code(), 2, "a store that nodes use takes nothing: {done:?}");
    assert!(!there.place.path("data").exists());
}
