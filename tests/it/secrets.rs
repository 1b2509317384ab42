//! Secrets that are pasted into tasks, printed by agents or shown in failures stand nowhere afterwards.

use std::path::Path;

use arbiter_tests::{Place, done};

const FORMS: usize = 10;

/// 200 canaries in ten shapes, all different.
fn canaries() -> Vec<String> {
    (0..200_u32)
        .map(|number: u32| {
            let tail: String = (0..24_u32)
                .map(|at| char::from(b'a' + ((number * 7 + at * at + at * number) % 26) as u8))
                .collect();
            match number as usize % FORMS {
                0 => format!("sk-{tail}{number:04}ABCD"),
                1 => format!(
                    "AKIA{}",
                    format!("{:0>16}", format!("{number}{}", tail.to_uppercase()))
                        .chars()
                        .take(16)
                        .collect::<String>()
                ),
                2 => format!("ghp_{tail}{number:04}AbCdEfGh"),
                3 => format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI{tail}{number:04}.{tail}Zz{number:04}"),
                4 => format!("xoxb-{number:010}-{tail}"),
                5 => format!("AIza{tail}{number:04}AbCdEfG"),
                6 => format!("password=Pw{number:04}{tail}"),
                7 => format!("https://user:Pw{number:04}{tail}@example.org/"),
                8 => format!("Authorization: Bearer {tail}{number:04}{tail}"),
                _ => format!("api_key: \"K{number:04}{tail}\""),
            }
        })
        .collect()
}

/// The part of a canary that must not survive.
fn core(canary: &str) -> &str {
    let tail = canary
        .trim_start_matches("password=")
        .trim_start_matches("https://user:")
        .trim_start_matches("Authorization: Bearer ");
    let tail = tail.trim_start_matches("api_key: \"").trim_end_matches('"');
    tail.split('@').next().unwrap_or(tail)
}

fn files(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into);
        } else if !path.ends_with("operator.key") {
            into.push((
                path.display().to_string(),
                std::fs::read(&path).unwrap_or_default(),
            ));
        }
    }
}

#[test]
fn two_hundred_canaries_in_every_input_leave_no_trace() {
    let place = Place::new();
    // Prints what it was told as output, as progress, as log and as the message of its failures.
    let leaky = r#"#!/usr/bin/env python3
import json, sys
order = json.load(sys.stdin)
with open(sys.argv[1]) as file:
    text = file.read()
print(json.dumps({"progress": {"message": text[:1500]}}), file=sys.stderr, flush=True)
print(text[-2000:], file=sys.stderr, flush=True)
if order["task"]["kind"] == "testing":
    print(json.dumps({"version": 1, "outcome": "failed", "error": {"class": "x", "message": text[:1800]}}))
elif order["task"]["kind"] == "writing":
    sys.exit(3)
else:
    print(json.dumps({"version": 1, "outcome": "succeeded", "output": {"text": text, "token": "T0pS3cretValue"}, "claims": [text], "evidence": [{"password": "T0pS3cretValue"}]}))
"#;
    place.write("agents/leaky.py", leaky);
    let canaries = canaries();
    place.write("agents/known.txt", &canaries.join("\n"));
    place.write(
        "agents.toml",
        "[[agent]]\nname = \"a\"\ncommand = [\"./agents/leaky.py\", \"./agents/known.txt\"]\nmodel_family = \"none\"\nkinds = [\"analysis\", \"testing\", \"writing\"]\n",
    );
    let mut tasks = Vec::new();
    for (number, canary) in canaries.iter().enumerate() {
        let kind = ["analysis", "testing", "writing"][number % 3];
        let task = serde_json::json!({
            "kind": if number < 6 { kind } else { "research" },
            "title": format!("about {}", canary.replace('\n', " ")),
            "instructions": format!("use {canary} now"),
            "input": {"nested": [{"deep": canary}], "secret": canary},
            "labels": {"note": canary},
            "constraints": {"max_attempts": 1},
        });
        tasks.push(task.to_string());
    }
    place.write("tasks.jsonl", &tasks[..6].join("\n"));
    let run = done(&mut place.command(&[
        "-vvv",
        "--log-format",
        "json",
        "run",
        "tasks.jsonl",
        "--agents",
        "agents.toml",
    ]));
    assert_eq!(run.code(), 1, "{run:?}");
    // The rest is submitted and stays queued.
    place.write("more.jsonl", &tasks[6..].join("\n"));
    let submitted = done(&mut place.command(&["-vvv", "task", "submit", "more.jsonl"]));
    assert_eq!(submitted.code(), 0, "{}", submitted.stderr);
    let listed = place.run(&["--json", "task", "list", "--limit", "1000"]);
    assert_eq!(place.run(&["audit", "export", "data/export.jsonl"]).code(), 0);

    let mut texts = vec![
        ("the log of run".to_owned(), run.stderr.into_bytes()),
        ("the log of submit".to_owned(), submitted.stderr.into_bytes()),
        ("the list".to_owned(), listed.stdout.into_bytes()),
        (
            "the results".to_owned(),
            std::fs::read(place.path("tasks.results.jsonl")).expect("results"),
        ),
    ];
    files(&place.path("data"), &mut texts);
    assert!(
        texts.iter().any(|(name, _)| name.ends_with("arbiter.db")),
        "the store was looked at"
    );
    for (name, bytes) in &texts {
        let text = String::from_utf8_lossy(bytes);
        for canary in canaries
            .iter()
            .map(|canary| core(canary))
            .chain(["T0pS3cretValue"])
        {
            assert!(!text.contains(canary), "`{canary}` stands in {name}");
        }
    }
}
