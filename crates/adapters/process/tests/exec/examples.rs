//! The example agents answer as their descriptions say.

use std::path::{Path, PathBuf};

use arbiter_core::model::{Digest, FailureClass, Json};
use arbiter_core::ports::Delivered;
use serde_json::{Value, json};

use crate::bench::*;

const DOCUMENT: &[u8] = b"# Title\n\nSome [link](https://example.org) here.\n```\n# no heading\n```\n";

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/examples")
}

/// The example agents, copied to where every user may read them.
fn example(name: &str) -> Bench {
    let mut bench = Bench::command(&[]);
    for file in std::fs::read_dir(examples().join("agents"))
        .expect("agents")
        .flatten()
    {
        if file.file_type().is_ok_and(|kind| kind.is_file()) {
            std::fs::copy(file.path(), bench.folder.path().join(file.file_name())).expect("copied");
        }
    }
    bench.command = vec![bench.folder.path().join(name).display().to_string()];
    bench
}

async fn output(bench: &Bench) -> Value {
    bench
        .reports()
        .await
        .output
        .as_ref()
        .map(Json::value)
        .expect("output")
}

#[tokio::test]
async fn word_count_counts() {
    let mut bench = example("word_count.py");
    bench.input("document", DOCUMENT);
    let expected = json!({"words": 10, "lines": 6, "bytes": DOCUMENT.len(), "headings": 1, "links": 1, "longest_line": 38});
    assert_eq!(output(&bench).await, expected);
    assert_eq!(bench.told.all.lock().unwrap().len(), 2);
    let failure = example("word_count.py").fails().await;
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::Agent, Some("missing_input"))
    );
}

#[tokio::test]
async fn table_stats_are_exact() {
    let mut bench = example("table_stats.py");
    bench.input(
        "table",
        &std::fs::read(examples().join("data/penguins.csv")).expect("data"),
    );
    let output = output(&bench).await;
    assert_eq!(output["rows"], 344);
    let mass = json!({"count": 342, "mean": "4201.7543859649", "min": "2700", "max": "6300", "missing": 2});
    assert_eq!(output["columns"]["body_mass_g"], mass);
    assert!(output["columns"].get("species").is_none());
}

#[tokio::test]
async fn flaky_dies_in_the_attempts_that_its_hash_says() {
    let mut bench = example("flaky.py");
    bench.input("document", DOCUMENT);
    let mut died = 0;
    for number in 1..=6 {
        bench.number = number;
        let task = bench.delivery().stored.task.id;
        let unlucky = Digest::of(format!("{task}/{number}").as_bytes()).as_bytes()[0] % 2 == 1;
        match bench.run().await {
            Delivered::Failed(failure) => {
                assert_eq!(
                    (failure.class, unlucky),
                    (FailureClass::Crash, true),
                    "{failure:?}"
                );
                died += 1;
            }
            Delivered::Reported(report) => assert!(!unlucky, "{report:?}"),
            Delivered::Stopped => panic!("nobody stopped it"),
        }
    }
    assert!((1..6).contains(&died), "{died}");
}

#[tokio::test]
async fn shell_agents_give_digests() {
    let digest = Digest::of(DOCUMENT).to_string();
    let digest = digest.rsplit(':').next().expect("digits");
    let mut slow = example("slow.sh");
    slow.input("document", DOCUMENT);
    assert_eq!(output(&slow).await, json!({"sha256": digest, "lines": 6}));
    assert_eq!(slow.told.all.lock().unwrap().len(), 10);
    let mut checksum = example("checksum.sh");
    assert_eq!(output(&checksum).await, json!({}));
    checksum.input("a.md", DOCUMENT);
    checksum.input("b", b"");
    let empty = Digest::of(b"").to_string();
    let expected = json!({
        "a.md": {"sha256": digest, "bytes": DOCUMENT.len()},
        "b": {"sha256": empty.rsplit(':').next(), "bytes": 0},
    });
    assert_eq!(output(&checksum).await, expected);
}

#[test]
fn the_example_batch_can_be_read_and_names_files_that_exist() {
    let text = std::fs::read_to_string(examples().join("tasks.jsonl")).expect("tasks");
    let agents = std::fs::read_to_string(examples().join("agents.toml")).expect("agents");
    for line in text.lines() {
        let mut value: Value = serde_json::from_str(line).expect(line);
        let files = value
            .as_object_mut()
            .and_then(|task| task.remove("files"))
            .expect("files");
        for (name, path) in files.as_object().expect("a map") {
            assert!(arbiter_core::model::ArtifactRef::is_name(name), "{name}");
            assert!(
                examples().join(path.as_str().expect("a path")).is_file(),
                "{path}"
            );
        }
        let input = arbiter_wire::task::TaskInput::parse(&value.to_string()).expect(line);
        for wanted in &input.spec.requires.specialisations {
            assert!(
                agents.contains(&format!("specialisations = [\"{wanted}\"]")),
                "{wanted}"
            );
        }
    }
}
