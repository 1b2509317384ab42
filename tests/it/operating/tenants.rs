//! `arbiter tenant`.

use serde_json::json;

use super::{ABSENT, HOME, Site, text};

fn tenants_are_made_limited_and_suspended(site: &Site) {
    let create = [
        "tenant",
        "create",
        "--name",
        "guests",
        "--weight",
        "3",
        "--open-tasks",
        "5",
        "--submit-rate",
        "2",
        "--submit-burst",
        "4",
        "--running-per-kind",
        "writing=2",
    ];
    let made = site.json(&create);
    let id = text(&made, "/id");
    assert_eq!((&made["weight"], &made["revision"]), (&json!(3), &json!(1)));
    let limits = json!({
        "open_tasks": 5,
        "submit": {"per_second": 2, "burst": 4},
        "running": null,
        "running_per_kind": {"writing": 2},
        "kinds": null,
    });
    assert_eq!(made["limits"], limits);
    assert_eq!(site.json(&["tenant", "get", id]), made);
    let shown = site.run(&["tenant", "get", id]);
    assert!(
        shown
            .stdout
            .contains("open-tasks=5 submit-rate=2 submit-burst=4 running-per-kind=writing=2"),
        "{shown:?}"
    );

    // What is not named stays as it is.
    let changed = site.json(&[
        "tenant",
        "update",
        id,
        "--running",
        "7",
        "--kind",
        "writing",
        "--kind",
        "analysis",
        "--unset",
        "submit-rate",
    ]);
    let limits = json!({
        "open_tasks": 5,
        "submit": null,
        "running": 7,
        "running_per_kind": {"writing": 2},
        "kinds": ["analysis", "writing"],
    });
    assert_eq!((&changed["limits"], &changed["revision"]), (&limits, &json!(2)));
    let renamed = site.json(&["tenant", "update", id, "--name", "visitors", "--if-revision", "2"]);
    assert_eq!(
        (&renamed["name"], &renamed["limits"]),
        (&json!("visitors"), &limits)
    );

    let why = ["--reason", "unpaid"];
    let suspended = site.json(&[&["tenant", "suspend", id, "--if-revision", "3"], why.as_slice()].concat());
    assert_eq!(suspended["suspended"]["reason"], "unpaid");
    let listed = site.run(&["tenant", "list"]);
    assert!(listed.stdout.contains("suspended: unpaid"), "{listed:?}");
    let resumed = site.run(&["tenant", "resume", id, "--reason", "paid"]);
    assert_eq!(
        (resumed.code(), resumed.stdout.trim()),
        (0, format!("{id} goes on").as_str()),
        "{resumed:?}"
    );

    let first = site.json(&["tenant", "list", "--limit", "1"]);
    assert_eq!(text(&first, "/tenants/0/id"), HOME);
    let rest = site.json(&["tenant", "list", "--after", text(&first, "/next")]);
    assert_eq!(text(&rest, "/tenants/0/id"), id);
}

fn what_may_not_be_done_with_tenants_is_told(site: &Site) {
    let made = site.json(&["tenant", "create", "--name", "guests"]);
    let id = text(&made, "/id");
    site.refused(&[
        (&["tenant", "get", "x"], 2, "not a valid tenant id"),
        (&["tenant", "get", ABSENT], 1, "not found"),
        (&["tenant", "list", "--after", "nonsense"], 2, "cursor"),
        (&["tenant", "create", "--name", " "], 2, "name"),
        (
            &["tenant", "create", "--name", "x", "--weight", "0"],
            2,
            "1..=1000",
        ),
        (
            &["tenant", "create", "--name", "x", "--submit-rate", "1"],
            2,
            "--submit-burst",
        ),
        (
            &["tenant", "create", "--name", "x", "--running-per-kind", "writing"],
            2,
            "KIND=N",
        ),
        (&["tenant", "create", "--name", "x", "--kind", "A b"], 2, "A b"),
        (&["tenant", "update", id], 2, "--open-tasks"),
        (
            &["tenant", "update", id, "--running", "1", "--unset", "running"],
            2,
            "contradict",
        ),
        (
            &["tenant", "update", id, "--running", "1", "--if-revision", "9"],
            1,
            "revision 1 now",
        ),
        (
            &["tenant", "update", id, "--name", "x", "--if-revision", "9"],
            1,
            "revision 1 now",
        ),
        (&["tenant", "suspend", id], 2, "--reason"),
        (&["tenant", "suspend", id, "--reason", " "], 2, "reason"),
        (
            &["tenant", "suspend", id, "--reason", "x", "--if-revision", "9"],
            1,
            "revision 1 now",
        ),
        (&["tenant", "suspend", HOME, "--reason", "x"], 2, "own"),
        (&["tenant", "resume", id], 2, "--reason"),
    ]);
    // An operator reads its own tenant, and changes none.
    let read = site.run_as("operator", &["tenant", "get", HOME]);
    assert_eq!(read.code(), 0, "{read:?}");
    for (command, code) in [
        (&["tenant", "create", "--name", "mine"][..], 5),
        (&["tenant", "update", HOME, "--weight", "9"], 5),
        (&["tenant", "suspend", HOME, "--reason", "x"], 5),
        (&["tenant", "resume", id, "--reason", "x"], 1),
        (&["tenant", "get", id], 1),
    ] {
        let denied = site.run_as("operator", command);
        assert_eq!(denied.code(), code, "{command:?}: {denied:?}");
    }
}

#[test]
fn tenants_are_made_limited_and_suspended_here() {
    tenants_are_made_limited_and_suspended(&Site::here());
}

#[test]
fn tenants_are_made_limited_and_suspended_through_a_server() {
    tenants_are_made_limited_and_suspended(&Site::served());
}

#[test]
fn what_may_not_be_done_with_tenants_is_told_here() {
    what_may_not_be_done_with_tenants_is_told(&Site::here());
}

#[test]
fn what_may_not_be_done_with_tenants_is_told_by_a_server() {
    what_may_not_be_done_with_tenants_is_told(&Site::served());
}
