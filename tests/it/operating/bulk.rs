//! `arbiter task bulk-cancel` and `arbiter task bulk-requeue`.

use serde_json::json;

use super::{ABSENT, HOME, Site};

fn tasks_that_a_filter_finds_are_cancelled_and_queued_again(site: &Site) {
    let ids = site.submit(3, "writing");
    site.submit(1, "analysis");
    let why = ["--reason", "a mistake"];
    let bulk = |command: &[&'static str]| [&["task"], command, &why].concat();
    let dry = bulk(&["bulk-cancel", "--kind", "writing", "--dry-run"]);
    let told = site.json(&dry);
    assert_eq!(
        told,
        json!({"dry_run": true, "matched": 3, "done": 0, "refused": {}, "sample": ids, "next": null})
    );
    let shown = site.run(&dry);
    assert!(
        shown.stdout.starts_with("3 tasks would be cancelled\n"),
        "{shown:?}"
    );
    assert_eq!(shown.stdout.lines().count(), 4, "{shown:?}");
    // As many as were asked for, and on from there.
    let first = site.json(&bulk(&[
        "bulk-cancel",
        "--label",
        "team=x",
        "--kind",
        "writing",
        "--limit",
        "1",
    ]));
    assert_eq!((&first["done"], &first["sample"]), (&json!(1), &json!([ids[0]])));
    let next = first["next"].as_str().expect("more");
    let rest = site.run(
        &[
            &bulk(&["bulk-cancel", "--label", "team=x", "--kind", "writing"]),
            ["--after", next].as_slice(),
        ]
        .concat(),
    );
    assert_eq!(
        (rest.code(), rest.stdout.as_str()),
        (0, "2 of 2 tasks are cancelled\n"),
        "{rest:?}"
    );
    let left = site.json(&["task", "list", "--state", "queued"]);
    assert_eq!(left["tasks"].as_array().map(Vec::len), Some(1), "{left}");

    // A dead letter is queued again.
    let id = left["tasks"][0]["id"].as_str().expect("an id");
    let dead = site.run(&["task", "dead-letter", id, "--reason", "x"]);
    assert_eq!(dead.code(), 0, "{dead:?}");
    let again = site.json(&bulk(&[
        "bulk-requeue",
        "--state",
        "dead_lettered",
        "--in-tenant",
        HOME,
    ]));
    assert_eq!((&again["matched"], &again["done"]), (&json!(1), &json!(1)));
    assert_eq!(site.json(&["task", "get", id])["state"], "queued");
    let none = site.run(&bulk(&["bulk-requeue", "--all"]));
    assert_eq!(none.stdout, "0 of 0 tasks are queued again\n", "{none:?}");
}

fn what_cannot_be_done_with_many_tasks_is_told(site: &Site) {
    let ids = site.submit(1, "writing");
    let why = ["--reason", "x"];
    let bulk = |command: &[&'static str]| [&["task"], command, &why].concat();
    site.refused(&[
        (&bulk(&["bulk-cancel"]), 2, "--all"),
        (&["task", "bulk-cancel", "--all"], 2, "--reason"),
        (&["task", "bulk-requeue", "--all"], 2, "--reason"),
        (&["task", "bulk-cancel", "--all", "--reason", " "], 2, "reason"),
        (
            &bulk(&["bulk-cancel", "--all", "--kind", "writing"]),
            2,
            "cannot be used with",
        ),
        (
            &bulk(&["bulk-cancel", "--state", "asleep"]),
            2,
            "the states are queued",
        ),
        (&bulk(&["bulk-cancel", "--kind", "A b"]), 2, "A b"),
        (&bulk(&["bulk-cancel", "--label", "team"]), 2, "name=value"),
        (
            &bulk(&["bulk-cancel", "--submitted-before", "noon"]),
            2,
            "--submitted-before",
        ),
        (
            &bulk(&["bulk-cancel", "--all", "--in-tenant", "x"]),
            2,
            "not a valid tenant id",
        ),
        (&bulk(&["bulk-cancel", "--all", "--limit", "0"]), 2, "--limit"),
        (&bulk(&["bulk-cancel", "--all", "--after", "x"]), 2, "cursor"),
    ]);
    for command in ["bulk-cancel", "bulk-requeue"] {
        let denied = site.run_as("submitter", &bulk(&[command, "--all"]));
        assert_eq!(denied.code(), 5, "{denied:?}");
        let foreign = [command, "--all", "--in-tenant", ABSENT];
        let denied = site.run_as("operator", &bulk(&foreign));
        assert_eq!(denied.code(), 5, "{denied:?}");
    }
    let early = site.json(&bulk(&[
        "bulk-cancel",
        "--submitted-before",
        "2020-01-01T00:00:00Z",
    ]));
    assert_eq!(early["matched"], 0, "{early}");
    let task = site.json(&["task", "get", &ids[0]]);
    assert_eq!(task["state"], "queued");
}

#[test]
fn tasks_that_a_filter_finds_are_cancelled_and_queued_again_here() {
    tasks_that_a_filter_finds_are_cancelled_and_queued_again(&Site::here());
}

#[test]
fn tasks_that_a_filter_finds_are_cancelled_and_queued_again_through_a_server() {
    tasks_that_a_filter_finds_are_cancelled_and_queued_again(&Site::served());
}

#[test]
fn what_cannot_be_done_with_many_tasks_is_told_here() {
    what_cannot_be_done_with_many_tasks_is_told(&Site::here());
}

#[test]
fn what_cannot_be_done_with_many_tasks_is_told_by_a_server() {
    what_cannot_be_done_with_many_tasks_is_told(&Site::served());
}

#[test]
fn more_tasks_than_one_call_takes_are_cancelled_by_one_command() {
    let site = Site::served();
    site.submit(1_003, "writing");
    let cancel = [
        "task",
        "bulk-cancel",
        "--kind",
        "writing",
        "--reason",
        "a mistake",
    ];
    let some = site.json(&[&cancel, ["--limit", "1002", "--dry-run"].as_slice()].concat());
    assert_eq!(some["matched"], 1_002, "{some}");
    assert_eq!(some["sample"].as_array().map(Vec::len), Some(20));
    assert!(some["next"].is_string(), "{some}");
    let all = site.json(&cancel);
    assert_eq!((&all["matched"], &all["done"]), (&json!(1_003), &json!(1_003)));
    assert_eq!((&all["refused"], &all["next"]), (&json!({}), &json!(null)));
    let status = site.json(&["queue", "status"]);
    assert_eq!(status["tasks"]["open"], 0, "{status}");
}
