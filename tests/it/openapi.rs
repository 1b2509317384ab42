//! The document of the HTTP interface is what the server does: a property-based fuzz of every operation finds no answer
//! that the document does not tell of, no 5xx, and nothing accepted that breaks the document's schemas.

use std::process::Command;

use arbiter_tests::{Place, Serving, done, python, samples};

/// Limits so high that the fuzz is not refused for its rate.
const CONFIG: &str = "[queue]\n\
    calls_per_principal = { per_second = 100000, burst = 100000 }\n\
    submit_per_principal = { per_second = 100000, burst = 100000 }\n\
    submit_per_tenant = { per_second = 100000, burst = 100000 }\n";

/// What the document cannot say in a schema (an id that names nothing, a kind that may not be submitted) is refused with
/// these statuses; 400 is left for what is no JSON, or has fields that are not known. A batch is answered task by task: a
/// task that is refused is so inside the 200 of the whole. An `If-Match` that was never given out is refused with 412,
/// however it looks.
const FUZZ: &str = "[checks]\n\
    positive_data_acceptance.expected-statuses = [\"2xx\", \"401\", \"403\", \"404\", \"409\", \"412\", \"413\", \"416\", \"422\", \"429\", \"503\"]\n\
    negative_data_rejection.expected-statuses = [\"400\", \"401\", \"403\", \"404\", \"406\", \"412\", \"413\", \"415\", \"422\", \"429\", \"503\"]\n\
    [[operations]]\n\
    include-operation-id = \"task.submit_many\"\n\
    checks.negative_data_rejection.expected-statuses = [\"200\", \"400\", \"401\", \"413\", \"415\", \"422\", \"429\", \"503\"]\n";

/// Lists and what goes on like one: a cursor that was not given out is well-formed and refused with 400.
const LISTS: &[&str] = &[
    "agent.list",
    "artifact.list",
    "audit.query",
    "erasure.list",
    "policy.list",
    "principal.list",
    "routing.decisions",
    "schedule.list",
    "task.cancel_many",
    "task.events",
    "task.list",
    "task.purge_many",
    "task.requeue_many",
    "tenant.list",
];

/// The configuration of the fuzz.
fn fuzz() -> String {
    let lists = LISTS.iter().map(|id| {
        format!(
            "[[operations]]\ninclude-operation-id = \"{id}\"\n\
             checks.positive_data_acceptance.expected-statuses = [\"2xx\", \"400\", \"401\", \"403\", \"404\", \"422\", \"429\", \"503\"]\n"
        )
    });
    lists.fold(FUZZ.to_owned(), |all, one| all + &one)
}

#[test]
fn a_fuzz_of_every_operation_finds_nothing() {
    let place = Place::new();
    let config = place.write("config.toml", CONFIG);
    let fuzz = place.write("schemathesis.toml", &fuzz());
    let serving = Serving::start(&place, &["--config", config.to_str().expect("a path")]);
    let key = std::fs::read_to_string(place.path("data/operator.key")).expect("the operator's key");
    let examples = samples("ARBITER_FUZZ_EXAMPLES", 10).to_string();
    let told = done(
        Command::new(python())
            .args(["-m", "schemathesis.cli", "--config-file"])
            .arg(&fuzz)
            .arg("run")
            .arg(format!("{}/openapi.json", serving.url))
            .args(["-H", &format!("Authorization: Bearer {}", key.trim())])
            .args([
                "--max-examples",
                &examples,
                "--seed",
                "1",
                "--request-timeout",
                "20",
            ])
            // They wait for something to happen.
            .args(["--exclude-operation-id", "task.watch"])
            .args(["--exclude-operation-id", "work.claim"])
            .args(["--no-color", "--generation-database", "none"])
            .current_dir(place.path("")),
    );
    assert_eq!(told.code(), 0, "{}\n{}", told.stdout, told.stderr);
    assert!(told.stdout.contains("Tested:"), "{}", told.stdout);
    assert_eq!(serving.stop().code(), Some(0));
}
