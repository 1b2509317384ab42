//! Attempts say which limits did not hold them.

use std::collections::BTreeSet;

use arbiter_tests::http::Caller;
use arbiter_tests::{Place, wait_until};
use serde_json::{Value, json};

use super::Served;

/// A server that runs an agent itself, and one for `analysis` asks for work.
fn served() -> (Served, Caller) {
    let place = Place::new();
    let key = super::work::agent_key(&place, "puller");
    let answer = |body: &str| format!("#!/bin/sh\ncat >/dev/null\nprintf '%s' '{body}'\n");
    place.write(
        "agents/says.sh",
        &answer(r#"{"version":1,"outcome":"succeeded","output":1}"#),
    );
    place.write(
        "agents/fails.sh",
        &answer(r#"{"version":1,"outcome":"failed","error":{"message":"cannot"}}"#),
    );
    let agent = |name: &str, kind: &str| {
        format!(
            "[[agent]]\nname = \"{name}\"\ncommand = [\"./agents/{name}.sh\"]\nmodel_family = \"none\"\nkinds = [\"{kind}\"]\n"
        )
    };
    let agents = [agent("says", "writing"), agent("fails", "testing")].concat();
    let file = place.write("agents.toml", &agents);
    // Without control groups on every machine, so that there is something to tell beside the network.
    let served = Served::at(
        place,
        "[exec]\ncgroup = \"off\"\n",
        &["--agents", file.to_str().expect("a path")],
    );
    let agent = Caller::new(&served.serving, Some(&key));
    let profile = json!({"name": "puller", "model_family": "none", "kinds": ["analysis"], "slots": 1});
    assert_eq!(agent.post("/v1/agents", &profile).status, 200);
    (served, agent)
}

/// Submits a task with one attempt and waits for its end. Gives its id and the attempt.
fn attempt(served: &Served, kind: &str) -> (String, Value) {
    let task = json!({"kind": kind, "title": "x", "constraints": {"max_attempts": 1}});
    let id = served.submit(&task);
    let path = format!("/v1/tasks/{id}/attempts");
    let mut ended = Value::Null;
    wait_until("the attempt has ended", || {
        let mut history = served.operator.get(&path).json();
        ended = history["attempts"].get_mut(0).map_or(Value::Null, Value::take);
        !ended.is_null()
    });
    (id, ended)
}

fn words(attempt: &Value) -> BTreeSet<String> {
    let words = attempt["not_enforced"].as_array().expect("a list");
    words
        .iter()
        .map(|word| word.as_str().expect("a word").to_owned())
        .collect()
}

#[test]
fn an_attempt_lists_the_limits_that_config_show_says_are_not_enforced() {
    let (served, agent) = served();
    let (said, reported) = attempt(&served, "writing");
    assert_eq!(reported["outcome"], "reported", "{reported}");
    let (_, failed) = attempt(&served, "testing");
    assert_eq!(failed["outcome"], "agent", "{failed}");

    let config = served.place.path("config.toml");
    let config = ["--config", config.to_str().expect("a path"), "--json"];
    let run = |words: &[&str]| {
        let done = served.place.run(&[&config, words].concat());
        assert_eq!(done.code(), 0, "{done:?}");
        done.json()
    };
    let shown = run(&["config", "show"]);
    let enforced = shown["enforced"].as_object().expect("limits");
    let missing = enforced
        .iter()
        .filter(|(_, how)| how.as_str().is_some_and(|how| how.starts_with("not enforced: ")));
    let missing: BTreeSet<String> = missing.map(|(limit, _)| limit.clone()).collect();
    assert!(missing.contains("network") && missing.contains("control_groups"));
    assert_eq!(words(&reported), missing);
    assert_eq!(words(&failed), missing);
    assert_eq!(
        words(&run(&["task", "get", &said])["history"]["attempts"][0]),
        missing
    );

    // Nobody knows what holds an agent that asks for its work: nothing is said, not that all is well.
    let asked = served.submit(&json!({"kind": "analysis", "title": "x"}));
    let work = agent.post("/v1/work/claim", &json!({"slots": 1, "wait_seconds": 30}));
    let work = &work.json()["work"][0];
    let report = json!({"attempt": {"task": work["task"], "tenant": work["tenant"], "fence": work["fence"]}});
    assert_eq!(agent.post("/v1/work/report", &report).status, 204);
    let history = served.operator.get(&format!("/v1/tasks/{asked}/attempts")).json();
    assert_eq!(history["attempts"][0]["outcome"], "reported", "{history}");
    assert!(history["attempts"][0].get("not_enforced").is_none(), "{history}");
    let mut claims = report;
    claims["not_enforced"] = json!([]);
    assert_eq!(agent.post("/v1/work/report", &claims).status, 400);
    assert_eq!(served.serving.stop().code(), Some(0));
}
