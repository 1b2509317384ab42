//! `arbiter queue`.

use serde_json::json;

use super::{ABSENT, AGENT, HOME, Site, text};

fn everything_that_can_be_paused_is_paused_and_goes_on(site: &Site) {
    site.submit(2, "writing");
    let other = site.json(&["tenant", "create", "--name", "guests"]);
    let other = text(&other, "/id");
    site.agent();
    let targets: [(&[&str], serde_json::Value, &str); 7] = [
        (&["all"], json!({"what": "queue"}), "the whole queue"),
        (
            &["tenant"],
            json!({"what": "tenant", "tenant": HOME}),
            "your tenant",
        ),
        (
            &["tenant", other],
            json!({"what": "tenant", "tenant": other}),
            other,
        ),
        (
            &["kind", "writing"],
            json!({"what": "kind", "kind": "writing", "tenant": HOME}),
            "the kind writing in your tenant",
        ),
        (
            &["kind", "writing", "--in-tenant", other],
            json!({"what": "kind", "kind": "writing", "tenant": other}),
            other,
        ),
        (
            &["kind", "writing", "--everywhere"],
            json!({"what": "kind", "kind": "writing"}),
            "in every tenant",
        ),
        (&["agent", AGENT], json!({"what": "agent", "agent": AGENT}), AGENT),
    ];
    for (target, expected, _) in &targets {
        let command = [&["queue", "pause"], *target, &["--reason", "upkeep"]].concat();
        let paused = site.json(&command);
        for field in ["what", "tenant", "kind", "agent"] {
            assert_eq!(paused[field], expected[field], "{target:?}: {paused}");
        }
        assert_eq!(paused["reason"], "upkeep");
    }
    let status = site.json(&["queue", "status"]);
    assert_eq!(
        status["pauses"].as_array().map(Vec::len),
        Some(targets.len()),
        "{status}"
    );
    assert_eq!(
        (&status["tenant"], &status["tasks"]["queued"]),
        (&json!(HOME), &json!(2))
    );
    let of_other = site.json(&["queue", "status", other]);
    assert_eq!(
        (&of_other["tenant"], &of_other["tasks"]["open"]),
        (&json!(other), &json!(0))
    );
    let shown = site.run(&["queue", "status"]);
    assert!(
        shown.stdout.contains("QUEUED") && shown.stdout.contains("the kind writing\tevery\t"),
        "{shown:?}"
    );
    for (target, _, part) in &targets {
        let command = [&["queue", "resume"], *target, &["--reason", "done"]].concat();
        let resumed = site.run(&command);
        assert_eq!(resumed.code(), 0, "{command:?}: {resumed:?}");
        assert!(
            resumed.stdout.contains(part) && resumed.stdout.contains("goes on"),
            "{resumed:?}"
        );
    }
    let shown = site.run(&["queue", "status"]);
    assert!(shown.stdout.contains("nothing is paused"), "{shown:?}");
}

fn what_cannot_be_paused_is_told(site: &Site) {
    let why = ["--reason", "x"];
    let with = |command: &[&'static str]| [command, why.as_slice()].concat();
    site.refused(&[
        (&["queue", "pause"], 2, "all"),
        (&["queue", "pause", "all"], 2, "--reason"),
        (&["queue", "resume", "all"], 2, "--reason"),
        (&["queue", "pause", "all", "--reason", " "], 2, "reason"),
        (
            &with(&["queue", "pause", "tenant", "x"]),
            2,
            "not a valid tenant id",
        ),
        (&with(&["queue", "pause", "tenant", ABSENT]), 1, "not found"),
        (&with(&["queue", "pause", "kind", "A b"]), 2, "A b"),
        (
            &with(&[
                "queue",
                "pause",
                "kind",
                "writing",
                "--everywhere",
                "--in-tenant",
                HOME,
            ]),
            2,
            "cannot be used with",
        ),
        (
            &with(&["queue", "pause", "agent", "x"]),
            2,
            "not a valid agent id",
        ),
        (&with(&["queue", "pause", "agent", ABSENT]), 1, "not found"),
        (
            &with(&["queue", "resume", "kind", "writing"]),
            1,
            "arbiter queue status",
        ),
        (&["queue", "status", "x"], 2, "not a valid tenant id"),
    ]);
    // An operator stops its own tenant, and nobody else's.
    let paused = site.run_as("operator", &with(&["queue", "pause", "tenant"]));
    assert_eq!(paused.code(), 0, "{paused:?}");
    for (command, code) in [
        (&["queue", "pause", "all"][..], 5),
        (&["queue", "pause", "kind", "writing", "--everywhere"], 5),
        (&["queue", "resume", "tenant", ABSENT], 1),
    ] {
        let denied = site.run_as("operator", &with(command));
        assert_eq!(denied.code(), code, "{command:?}: {denied:?}");
    }
    let denied = site.run_as("submitter", &["queue", "status"]);
    assert_eq!(denied.code(), 1, "{denied:?}");
}

#[test]
fn everything_that_can_be_paused_is_paused_here() {
    everything_that_can_be_paused_is_paused_and_goes_on(&Site::here());
}

#[test]
fn everything_that_can_be_paused_is_paused_through_a_server() {
    everything_that_can_be_paused_is_paused_and_goes_on(&Site::served());
}

#[test]
fn what_cannot_be_paused_is_told_here() {
    what_cannot_be_paused_is_told(&Site::here());
}

#[test]
fn what_cannot_be_paused_is_told_by_a_server() {
    what_cannot_be_paused_is_told(&Site::served());
}
