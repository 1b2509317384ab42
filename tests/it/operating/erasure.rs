//! `arbiter tenant delete`, `arbiter erasure`, `arbiter task bulk-purge`, `arbiter audit redact`.

use arbiter_tests::wait_until;
use serde_json::{Value, json};

use super::{ABSENT, HOME, Site, text};

const WHY: [&str; 2] = ["--reason", "asked for by letter"];

impl Site {
    /// Waits until an erasure is finished. Without a server it is when the command ends.
    fn finished(&self, erasure: &str) {
        if self.serving.is_some() {
            wait_until("the erasure is finished", || {
                self.json(&["erasure", "get", erasure])["stage"] == "done"
            });
        }
        assert_eq!(self.json(&["erasure", "get", erasure])["stage"], "done");
    }
}

fn a_tenant_is_deleted(site: &Site) {
    let made = site.json(&["tenant", "create", "--name", "guests"]);
    let id = text(&made, "/id");
    let delete = |extra: &[&'static str]| [&["tenant", "delete", id], &WHY[..], extra].concat();
    site.refused(&[
        (&delete(&[]), 2, "is not suspended; suspend it first"),
        (&["tenant", "delete", id], 2, "--reason"),
        (
            &[&["tenant", "delete", "guests"], &WHY[..]].concat(),
            2,
            "is not a valid tenant id",
        ),
        (
            &[&["tenant", "delete", ABSENT], &WHY[..]].concat(),
            1,
            "not found",
        ),
        (&[&["tenant", "delete", HOME], &WHY[..]].concat(), 2, "own"),
    ]);
    site.json(&[&["tenant", "suspend", id], &WHY[..]].concat());
    site.refused(&[(&delete(&["--if-revision", "1"]), 1, "revision 2 now")]);
    let denied = site.run_as("operator", &delete(&[]));
    assert_ne!(denied.code(), 0, "{denied:?}");
    let deleted = site.json(&delete(&[]));
    assert!(deleted["deleted"]["at"].is_string(), "{deleted}");
    wait_until("the data is erased", || {
        site.json(&["tenant", "get", id])["deleted"]["erased_at"].is_string()
    });
    let shown = site.run(&["tenant", "get", id]);
    assert!(shown.stdout.contains("deleted"), "{shown:?}");
    let listed = site.json(&["tenant", "list"]);
    assert_eq!(listed["tenants"].as_array().map(Vec::len), Some(1), "{listed}");
}

fn a_task_and_a_person_are_erased(site: &Site) {
    let task = site.submit(1, "analysis").remove(0);
    let request = |id: &str| site.json(&[&["erasure", "request", "task", id], &WHY[..]].concat());
    let erasure = request(&task);
    site.finished(text(&erasure, "/id"));
    let gone = site.run(&["task", "get", &task]);
    assert_ne!(gone.code(), 0, "{gone:?}");
    let made = site.json(&["key", "create", "--name", "ann", "--role", "submitter"]);
    let person = text(&made, "/principal").to_owned();
    let erasure = site.json(&[&["erasure", "request", "principal", &person], &WHY[..]].concat());
    site.finished(text(&erasure, "/id"));
    let listed = site.json(&["principal", "list"]).to_string();
    assert!(!listed.contains(&person), "{listed}");
    let listed = site.json(&["erasure", "list"]);
    assert_eq!(listed["erasures"].as_array().map(Vec::len), Some(2), "{listed}");
    let shown = site.run(&["erasure", "list", "--limit", "1"]);
    assert!(shown.stderr.contains("--after"), "{shown:?}");
    site.refused(&[
        (&["erasure", "request", "task", &task], 2, "--reason"),
        (
            &[&["erasure", "request", "task", ABSENT], &WHY[..]].concat(),
            1,
            "not found",
        ),
        (
            &[&["erasure", "request", "task", "x"], &WHY[..]].concat(),
            2,
            "is not a valid task id",
        ),
        (&["erasure", "get", "x"], 2, "is not a valid erasure id"),
        (&["erasure", "get", ABSENT], 1, "not found"),
    ]);
    let denied = site.run_as("submitter", &["erasure", "list"]);
    assert_eq!(denied.code(), 5, "{denied:?}");
}

fn closed_tasks_are_purged_and_a_detail_is_redacted(site: &Site) {
    let tasks = site.submit(3, "analysis");
    let why = ["--reason", "ann wrote it"];
    site.json(&[&["task", "cancel", &tasks[0]], &why[..]].concat());
    let purge = |extra: &[&'static str]| [&["task", "bulk-purge", "--all"], &WHY[..], extra].concat();
    let dry = site.json(&purge(&["--dry-run"]));
    assert_eq!((&dry["matched"], &dry["done"]), (&json!(1), &json!(0)));
    let done = site.json(&purge(&[]));
    // A client sends a key with each submission, by which a repeat finds the task for a day.
    let count = i32::from(site.serving.is_none());
    assert_eq!((&done["matched"], &done["done"]), (&json!(1), &json!(count)));
    let left = site.run(&["task", "get", &tasks[0]]);
    assert_eq!(left.code() == 0, site.serving.is_some(), "{left:?}");
    assert_eq!(site.run(&["task", "get", &tasks[1]]).code(), 0);

    let search = [
        "audit",
        "search",
        "--resource",
        &tasks[0],
        "--action",
        "cancelled",
    ];
    let entry = site.json(&search);
    assert_eq!(entry["detail"]["reason"], "ann wrote it", "{entry}");
    let index = entry["index"].to_string();
    let redact = [&["audit", "redact", &index], &WHY[..]].concat();
    assert_eq!(site.json(&redact)["removed"], true);
    let again = site.run(&redact);
    assert!(again.stdout.contains("has no detail"), "{again:?}");
    assert_eq!(site.json(&search)["detail"], Value::Null);
    site.refused(&[(
        &[&["audit", "redact", "999999"], &WHY[..]].concat(),
        1,
        "not found",
    )]);
    let denied = site.run_as("submitter", &redact);
    assert_eq!(denied.code(), 5, "{denied:?}");
}

#[test]
fn a_tenant_is_deleted_here() {
    a_tenant_is_deleted(&Site::here());
}

#[test]
fn a_tenant_is_deleted_there() {
    a_tenant_is_deleted(&Site::served());
}

#[test]
fn a_task_and_a_person_are_erased_here() {
    a_task_and_a_person_are_erased(&Site::here());
}

#[test]
fn a_task_and_a_person_are_erased_there() {
    a_task_and_a_person_are_erased(&Site::served());
}

#[test]
fn closed_tasks_are_purged_and_a_detail_is_redacted_here() {
    closed_tasks_are_purged_and_a_detail_is_redacted(&Site::here());
}

#[test]
fn closed_tasks_are_purged_and_a_detail_is_redacted_there() {
    closed_tasks_are_purged_and_a_detail_is_redacted(&Site::served());
}
