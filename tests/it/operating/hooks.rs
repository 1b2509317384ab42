//! `arbiter hook`.

use arbiter_tests::{Done, Place, Serving};
use serde_json::{Value, json};

use super::{ABSENT, Site, text};
use crate::server::hooks::{next, receiver};

const URL: &str = "https://hooks.example/in?token=t0ken";

fn a_hook_is_made_changed_and_deleted(site: &Site) {
    let made = site.json(&["hook", "create", URL, "--event", "closed", "--kind", "writing"]);
    let id = text(&made, "/hook/id");
    assert!(text(&made, "/secret").starts_with("whsec_"), "{made}");
    assert_eq!(
        (&made["hook"]["url"], &made["hook"]["kinds"]),
        (&json!(URL), &json!(["writing"]))
    );
    let changed = site.json(&[
        "hook",
        "update",
        id,
        "--event",
        "held",
        "--event",
        "dead-lettered",
        "--all-kinds",
    ]);
    assert_eq!(
        (&changed["events"], &changed["kinds"], &changed["url"]),
        (&json!(["held", "dead_lettered"]), &Value::Null, &json!(URL))
    );
    // An address comes from standard input too: what stands on a command line is seen by others.
    let moved = site.run_with(
        &["hook", "update", id, "--url", "-"],
        "https://hooks.example/other\n",
    );
    assert_eq!(moved.code(), 0, "{moved:?}");
    assert!(moved.stdout.contains("https://hooks.example/other"), "{moved:?}");
    let paused = site.run(&["hook", "pause", id, "--if-revision", "3"]);
    assert_eq!(
        (paused.code(), paused.stdout.trim()),
        (0, format!("{id} is paused").as_str()),
        "{paused:?}"
    );
    assert_eq!(site.json(&["hook", "get", id])["paused"], true);
    assert_eq!(site.json(&["hook", "resume", id])["paused"], false);

    let rotated = site.json(&["hook", "rotate", id, "--overlap-seconds", "600"]);
    assert_ne!(rotated["secret"], made["secret"]);
    assert!(rotated["hook"]["former_secret_until"].is_string(), "{rotated}");
    let kept = site.run(&["hook", "rotate", id, "--output", "hook.secret"]);
    assert_eq!((kept.code(), kept.stdout.trim()), (0, id), "{kept:?}");
    let secret = std::fs::read_to_string(site.place.path("hook.secret")).expect("a secret");
    assert!(secret.starts_with("whsec_"));
    let again = site.run(&["hook", "rotate", id, "--output", "hook.secret"]);
    assert_eq!(again.code(), 2, "{again:?}");
    assert!(again.stderr.contains("is there already"), "{again:?}");
    let shown = site.run(&["hook", "get", id]);
    assert!(!shown.stdout.contains("whsec_"), "{shown:?}");

    let deleted = site.json(&["hook", "delete", id]);
    assert_eq!(deleted, json!({"id": id, "deleted": true}));
    assert_eq!(site.run(&["hook", "get", id]).code(), 1);
    // For people the secret stands alone on standard output.
    let create = ["hook", "create", "-", "--event", "review-needed"];
    let plain = site.run_with(&create, &format!("{URL}\n"));
    assert_eq!((plain.code(), plain.stdout.lines().count()), (0, 1), "{plain:?}");
    assert!(plain.stdout.starts_with("whsec_"), "{plain:?}");
}

fn what_cannot_be_done_with_hooks_is_told(site: &Site) {
    let made = site.json(&["hook", "create", URL, "--event", "closed"]);
    let id = text(&made, "/hook/id");
    let stale = ["--if-revision", "9"];
    let changed = "revision 1 now";
    site.refused(&[
        (&["hook", "create", URL], 2, "--event"),
        (&["hook", "create", URL, "--event", "born"], 2, "review-needed"),
        (
            &["hook", "create", "http://hooks.example", "--event", "held"],
            2,
            "https://",
        ),
        (&["hook", "create", "-", "--event", "held"], 2, "standard input"),
        (
            &["hook", "create", URL, "--event", "held", "--kind", "A b"],
            2,
            "A b",
        ),
        (
            &["hook", "create", URL, "--event", "held", "--output", "no/file"],
            2,
            "no/file",
        ),
        (&["hook", "update", id], 2, "--all-kinds"),
        (
            &["hook", "update", id, "--kind", "writing", "--all-kinds"],
            2,
            "cannot be used with",
        ),
        (
            &[&["hook", "update", id, "--all-kinds"], stale.as_slice()].concat(),
            1,
            changed,
        ),
        (&["hook", "pause", "x"], 2, "not a valid hook id"),
        (&["hook", "pause", ABSENT], 1, "not found"),
        (&[&["hook", "pause", id], stale.as_slice()].concat(), 1, changed),
        (&[&["hook", "resume", id], stale.as_slice()].concat(), 1, changed),
        (&[&["hook", "delete", id], stale.as_slice()].concat(), 1, changed),
        (&[&["hook", "rotate", id], stale.as_slice()].concat(), 1, changed),
        (
            &["hook", "rotate", id, "--overlap-seconds", "1000000"],
            2,
            "overlap",
        ),
        (&["hook", "delete", ABSENT], 1, "not found"),
        (&["hook", "replay", id, "x"], 2, "not a valid"),
        (&["hook", "replay", id, ABSENT], 1, "not found"),
    ]);
    for command in [
        &["hook", "create", URL, "--event", "held"][..],
        &["hook", "update", id, "--all-kinds"],
        &["hook", "pause", id],
        &["hook", "resume", id],
        &["hook", "delete", id],
        &["hook", "rotate", id],
        &["hook", "replay", id, ABSENT],
    ] {
        let denied = site.run_as("submitter", command);
        assert_eq!(denied.code(), 5, "{command:?}: {denied:?}");
        assert!(!denied.stderr.contains("t0ken"), "{denied:?}");
    }
}

#[test]
fn a_hook_is_made_changed_and_deleted_here() {
    a_hook_is_made_changed_and_deleted(&Site::here());
}

#[test]
fn a_hook_is_made_changed_and_deleted_through_a_server() {
    a_hook_is_made_changed_and_deleted(&Site::served());
}

#[test]
fn what_cannot_be_done_with_hooks_is_told_here() {
    what_cannot_be_done_with_hooks_is_told(&Site::here());
}

#[test]
fn what_cannot_be_done_with_hooks_is_told_by_a_server() {
    what_cannot_be_done_with_hooks_is_told(&Site::served());
}

#[test]
fn a_delivery_is_sent_again_through_a_server_and_here() {
    let (url, messages) = receiver(0);
    let place = Place::new();
    let config = place.write("config.toml", "[hooks]\nloopback_http = true\n");
    let config = ["--config", config.to_str().expect("a path")];
    let run = |command: &[&str]| -> Done {
        let done = place.run(&[&config, ["--json"].as_slice(), command].concat());
        assert_eq!(done.code(), 0, "{command:?}: {done:?}");
        done
    };
    let serving = Serving::start(&place, &config);
    let made = run(&["hook", "create", &url, "--event", "closed"]).json();
    let hook = text(&made, "/hook/id");
    place.write("tasks.jsonl", "{\"kind\":\"writing\",\"title\":\"t\"}\n");
    let task = run(&["task", "submit", "tasks.jsonl"]).json();
    run(&["task", "cancel", text(&task, "/id"), "--reason", "x"]);
    let first = next(&messages);
    let delivery = first.header("webhook-id");
    // What was answered is logged a moment later.
    let is_logged = || run(&["hook", "deliveries", hook]).json()["deliveries"][0]["status"] == "delivered";
    let delivered = || arbiter_tests::wait_until("it is delivered", is_logged);
    delivered();
    let replayed = run(&["hook", "replay", hook, delivery]).json();
    assert_eq!(
        (&replayed["id"], &replayed["status"]),
        (&json!(delivery), &json!("waiting"))
    );
    assert_eq!(next(&messages).header("webhook-id"), delivery);
    delivered();
    assert_eq!(serving.stop().code(), Some(0));

    // The same on the store itself: the next server sends it.
    run(&["hook", "replay", hook, delivery]);
    let twice = place.run(&[&config, ["hook", "replay", hook, delivery].as_slice()].concat());
    assert_eq!(twice.code(), 2, "{twice:?}");
    assert!(twice.stderr.contains("being tried already"), "{twice:?}");
    run(&["hook", "pause", hook]);
    let paused = place.run(&[&config, ["hook", "replay", hook, delivery].as_slice()].concat());
    assert!(paused.stderr.contains("resume it first"), "{paused:?}");
    run(&["hook", "resume", hook]);
    let serving = Serving::start(&place, &config);
    assert_eq!(next(&messages).header("webhook-id"), delivery);
    assert_eq!(serving.stop().code(), Some(0));
}
