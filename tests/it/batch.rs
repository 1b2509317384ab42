//! The real batch, with an independent check of every answer.

use std::process::Command;

use arbiter_tests::{Place, done, workspace};
use serde_json::Value;

const DOCUMENTS: [&str; 4] = [
    "README.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "docs/architecture.md",
];

/// A real table; its source and licence stand beside it.
const PENGUINS: &str = "tests/fixtures/penguins.csv";

/// Three agents in two languages: one that counts, one that crashes at random, one that is slow; and one for tables.
const AGENTS: &str = r#"
[[agent]]
name = "counts"
command = ["./agents/word_count.py"]
model_family = "none"
kinds = ["analysis"]
specialisations = ["text"]
slots = 2

[[agent]]
name = "crashes"
command = ["./agents/flaky.py"]
model_family = "none"
kinds = ["analysis"]
specialisations = ["text"]

[[agent]]
name = "slow"
command = ["./agents/slow.sh"]
model_family = "none"
kinds = ["analysis"]
specialisations = ["line-count"]
slots = 4

[[agent]]
name = "tables"
command = ["./agents/table_stats.py"]
model_family = "none"
kinds = ["analysis"]
specialisations = ["tables"]
"#;

fn batch() -> String {
    let root = workspace();
    let mut lines = Vec::new();
    let mut task = |title: &str, skill: &str, name: &str, path: &str| {
        let file = root.join(path).display().to_string();
        lines.push(
            serde_json::json!({
                "kind": "analysis",
                "title": title,
                "files": {name: file},
                "requires": {"specialisations": [skill]},
                "constraints": {"max_attempts": 12},
            })
            .to_string(),
        );
    };
    for _ in 0..3 {
        for document in DOCUMENTS {
            task(document, "text", "document", document);
        }
    }
    task("penguins", "tables", "table", PENGUINS);
    task("lines", "line-count", "document", PENGUINS);
    lines.join("\n")
}

fn expected() -> Value {
    let root = workspace();
    let mut command = Command::new("/usr/bin/env");
    command.arg("python3").arg(root.join("tests/check/expected.py"));
    command.args(DOCUMENTS.map(|document| root.join(document)));
    let checked = done(command.arg(root.join(PENGUINS)));
    assert_eq!(checked.code(), 0, "{checked:?}");
    checked.json()
}

#[test]
fn the_examples_have_the_table_of_the_fixtures() {
    let read = |path: &str| std::fs::read(workspace().join(path)).expect("a table");
    assert!(
        read(PENGUINS) == read("docs/examples/data/penguins.csv"),
        "the copies differ"
    );
}

#[test]
fn a_real_batch_gives_the_answers_of_an_independent_check_and_goes_on_when_run_again() {
    let place = Place::new();
    place.write("agents.toml", AGENTS);
    place.write("tasks.jsonl", &batch());
    let run = || place.run(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    let first = run();
    assert_eq!(first.code(), 0, "{first:?}");
    let (lines, expected) = (place.lines("tasks.results.jsonl"), expected());
    assert_eq!(lines.len(), DOCUMENTS.len() * 3 + 2);
    for (number, line) in lines.iter().enumerate() {
        assert_eq!(
            line["line"],
            number + 1,
            "results stand in the order of the batch"
        );
        assert_eq!(line["state"], "succeeded", "{line}");
    }
    let (counted, rest) = lines.split_at(DOCUMENTS.len() * 3);
    for (number, line) in counted.iter().enumerate() {
        let name = DOCUMENTS[number % DOCUMENTS.len()]
            .rsplit('/')
            .next()
            .expect("a name");
        for fact in ["words", "lines", "bytes"] {
            assert_eq!(line["output"][fact], expected[name][fact], "{fact} of {name}");
        }
    }
    let (table, facts) = (&rest[0]["output"], &expected["penguins.csv"]);
    assert_eq!(table["rows"], facts["rows"]);
    let columns = facts["columns"].as_object().expect("columns");
    assert!(columns.len() >= 4, "{facts}");
    for (name, column) in columns {
        assert_eq!(table["columns"][name]["count"], column["count"], "{name}");
        let mean: f64 = table["columns"][name]["mean"]
            .as_str()
            .expect("exact")
            .parse()
            .expect("a number");
        assert!(
            (mean - column["mean"].as_f64().expect("mean")).abs() < 1e-6,
            "{name}"
        );
    }
    assert_eq!(rest[1]["output"]["lines"], facts["lines"]);

    let again = run();
    assert_eq!(again.code(), 0, "{again:?}");
    assert_eq!(
        place.lines("tasks.results.jsonl"),
        lines,
        "the same batch is the same tasks"
    );
    let fresh = place.run(&["run", "tasks.jsonl", "--agents", "agents.toml", "--fresh"]);
    assert_eq!(fresh.code(), 0, "{fresh:?}");
    assert!(
        place
            .lines("tasks.results.jsonl")
            .iter()
            .zip(&lines)
            .all(|(new, old)| new["id"] != old["id"])
    );
}

#[test]
fn prerequisites_budgets_failures_and_refusals_stand_in_the_results() {
    let place = Place::new();
    let answer = |body: &str| format!("#!/bin/sh\ncat >/dev/null\nprintf '%s' '{body}'\n");
    place.write(
        "agents/fails.sh",
        &answer(r#"{"version":1,"outcome":"failed","error":{"class":"no","message":"cannot"}}"#),
    );
    place.write(
        "agents/costs.sh",
        &answer(r#"{"version":1,"outcome":"succeeded","usage":{"tokens":11}}"#),
    );
    place.write("agents/nonsense.sh", "#!/bin/sh\ncat >/dev/null\necho hello\n");
    let agent = |name: &str, kind: &str| {
        format!(
            "[[agent]]\nname = \"{name}\"\ncommand = [\"./agents/{name}.sh\"]\nmodel_family = \"none\"\nkinds = [\"{kind}\"]\n"
        )
    };
    place.write(
        "agents.toml",
        &[
            agent("fails", "testing"),
            agent("costs", "research"),
            agent("nonsense", "writing"),
        ]
        .concat(),
    );
    let tasks = [
        r#"{"kind":"testing","title":"fails","constraints":{"max_attempts":1}}"#,
        r##"{"kind":"research","title":"waits in vain","after":["#1"]}"##,
        r#"{"kind":"research","title":"too dear","constraints":{"budget":{"tokens":10}}}"#,
        r#"{"kind":"research","title":"within","constraints":{"budget":{"tokens":11}}}"#,
        r#"{"kind":"writing","title":"nonsense","constraints":{"max_attempts":1}}"#,
        r#"{"kind":"acme/unknown","title":"not allowed"}"#,
        r#"{"kind":"research","title":"no such stage","review":{"rubric":"clarity"}}"#,
    ];
    place.write("tasks.jsonl", &tasks.join("\n"));
    let run = place.run(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    assert_eq!(run.code(), 1, "{run:?}");
    let ends: Vec<(String, String)> = place
        .lines("tasks.results.jsonl")
        .iter()
        .map(|line| {
            (
                line["state"].as_str().unwrap_or("-").into(),
                line["reason"].as_str().unwrap_or("-").into(),
            )
        })
        .collect();
    let expected = [
        ("dead_lettered", "attempts_exhausted"),
        ("failed", "prerequisite_failed"),
        ("failed", "over_budget"),
        ("succeeded", "-"),
        ("dead_lettered", "attempts_exhausted"),
        ("refused", "kind_not_allowed"),
        ("refused", "invalid_task"),
    ];
    assert_eq!(
        ends,
        expected.map(|(state, reason)| (state.to_owned(), reason.to_owned()))
    );
    let lines = place.lines("tasks.results.jsonl");
    assert_eq!(lines[0]["error"], "cannot");
    assert!(
        lines[4]["error"]
            .as_str()
            .is_some_and(|error| error.contains("exec protocol")),
        "{}",
        lines[4]
    );
    assert!(
        lines[6]["error"]
            .as_str()
            .is_some_and(|error| error.contains("not installed")),
        "{}",
        lines[6]
    );

    let id = lines[0]["id"].as_str().expect("id");
    let requeued = place.run(&["--json", "task", "requeue", id, "--reason", "try again"]);
    assert_eq!(
        (requeued.code(), requeued.json()["state"].clone()),
        (0, "queued".into())
    );
    let cancelled = place.run(&["--json", "task", "cancel", id, "--reason", "not needed"]);
    assert_eq!(cancelled.json()["state"], "cancelled");
    let again = place.run(&["--json", "task", "cancel", id, "--reason", "not needed"]);
    assert_eq!(again.code(), 1);
    assert!(again.stderr.contains("illegal_transition"), "{}", again.stderr);
    let verified = place.run(&["--json", "audit", "verify"]);
    assert_eq!(
        (verified.code(), verified.json()["sound"].clone()),
        (0, true.into()),
        "{verified:?}"
    );
}

/// An agent of a kind that answers at once.
fn quick_agent(place: &Place, kind: &str, rest: &str) -> String {
    place.write(
        "agents/quick.sh",
        "#!/bin/sh\ncat >/dev/null\necho '{\"version\":1,\"outcome\":\"succeeded\",\"output\":1}'\n",
    );
    format!(
        "[[agent]]\nname = \"{kind}\"\ncommand = [\"./agents/quick.sh\"]\nmodel_family = \"none\"\nkinds = [\"{kind}\"]\n{rest}"
    )
}

#[test]
fn tasks_that_no_agent_can_do_are_told_and_not_waited_for() {
    let place = Place::new();
    let agent = quick_agent(&place, "analysis", "languages = [\"en\"]\n");
    place.write("agents.toml", &agent);
    let tasks = [
        r#"{"kind":"analysis","title":"can be done"}"#,
        r#"{"kind":"research","title":"another kind"}"#,
        r##"{"kind":"analysis","title":"comes after it","after":["#2"]}"##,
        r#"{"kind":"analysis","title":"another language","requires":{"languages":["fr"]}}"#,
        r#"{"kind":"analysis","title":"too secret","security":"restricted"}"#,
        r#"{"kind":"analysis","title":"too good","requires":{"minimum_success_rate":0.99}}"#,
    ];
    place.write("tasks.jsonl", &tasks.join("\n"));
    let run = || place.run(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    let ends = || -> Vec<String> {
        let lines = place.lines("tasks.results.jsonl");
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        lines
            .iter()
            .map(|line| format!("{} {}", word(&line["state"]), word(&line["reason"])))
            .collect()
    };
    let first = run();
    assert_eq!(first.code(), 1, "{first:?}");
    let left = "queued no_capable_agent";
    let after = "queued prerequisite_waits";
    assert_eq!(ends(), ["succeeded -", left, after, left, left, left]);
    assert!(first.stderr.contains("`another kind`"), "{}", first.stderr);
    assert!(first.stderr.contains("no_capable_agent"), "{}", first.stderr);

    // With an agent that can, the same batch goes on.
    place.write(
        "agents.toml",
        &[agent, quick_agent(&place, "research", "")].concat(),
    );
    let second = run();
    assert_eq!(second.code(), 1, "{second:?}");
    assert_eq!(
        ends(),
        ["succeeded -", "succeeded -", "succeeded -", left, left, left]
    );
}

#[test]
fn a_batch_that_is_started_anew_withdraws_what_its_earlier_run_left_open() {
    let place = Place::new();
    let answer = "echo '{\"version\":1,\"outcome\":\"succeeded\",\"output\":1}'";
    place.write(
        "agents/waits.sh",
        &format!(
            "#!/bin/sh\ncat >/dev/null\ntouch started\nwhile [ ! -e go ]; do sleep 0.05; done\n{answer}\n"
        ),
    );
    place.write(
        "agents/quick.sh",
        &format!("#!/bin/sh\ncat >/dev/null\n{answer}\n"),
    );
    let agents = |command: &str| {
        format!(
            "[[agent]]\nname = \"one\"\ncommand = [\"./agents/{command}.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n"
        )
    };
    let tasks: Vec<String> = (0..3)
        .map(|number| format!("{{\"kind\":\"analysis\",\"title\":\"{number}\"}}"))
        .collect();
    place.write("tasks.jsonl", &tasks.join("\n"));
    place.write("agents.toml", &agents("waits"));
    let mut child = place.start(&["run", "tasks.jsonl", "--agents", "agents.toml"]);
    let begun = (0..200_000).any(|_| {
        assert!(
            child.try_wait().expect("state").is_none(),
            "it ended before its agent ran"
        );
        std::thread::yield_now();
        holds(place.path("").as_path(), "started")
    });
    assert!(begun, "the agent never ran");
    child.kill().expect("killed");
    child.wait().expect("ended");

    place.write("agents.toml", &agents("quick"));
    let fresh = place.run(&["run", "tasks.jsonl", "--agents", "agents.toml", "--fresh"]);
    assert_eq!(fresh.code(), 0, "{fresh:?}");
    let listed = place.run(&["--json", "task", "list"]).json();
    let states: Vec<&str> = listed["tasks"]
        .as_array()
        .expect("tasks")
        .iter()
        .filter_map(|task| task["state"].as_str())
        .collect();
    assert_eq!(
        states.iter().filter(|state| **state == "succeeded").count(),
        3,
        "{states:?}"
    );
    assert_eq!(
        states.iter().filter(|state| **state == "cancelled").count(),
        3,
        "{states:?}"
    );
}

/// Whether a file of this name stands anywhere in the folder.
fn holds(folder: &std::path::Path, name: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name() == name || (entry.path().is_dir() && holds(&entry.path(), name)))
}
