//! The pact of the consumer `arbiter-adapter-registry-http` is kept by a running arbiter: every interaction is replayed,
//! in the state that it names, and the answer compared by the pact's own rules.

#![expect(clippy::panic, reason = "a file that cannot be read fails the test")]

mod matching;

use std::collections::BTreeSet;

use arbiter_tests::http::Caller;
use arbiter_tests::{peer, workspace};
use serde_json::{Value, json};

use crate::server::Served;

const PACT: &str = "docs/api/pacts/agent-registry.json";
/// Operations of the group that agents and people call, and control planes do not.
const NOT_OF_PEERS: [&str; 2] = ["agent.performance", "agent.heartbeat"];

fn pact() -> Value {
    let text = std::fs::read_to_string(workspace().join(PACT)).expect(PACT);
    serde_json::from_str(&text).expect("a pact")
}

fn interactions(pact: &Value) -> &Vec<Value> {
    pact["interactions"].as_array().expect("interactions")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("`{value}` is no text"))
}

/// The provider, and what brings it into a state.
struct Provider {
    served: Served,
    peer: Caller,
    submitter: Caller,
}

impl Provider {
    fn new() -> Self {
        let served = Served::with("[agents]\nmost = 2\n", &[]);
        let (_, key) = peer::new(&served.operator);
        let made = served
            .operator
            .post("/v1/principals", &json!({"name": "x", "roles": ["submitter"]}));
        let path = format!("/v1/principals/{}/keys", text(&made.json()["id"]));
        let other = served.operator.post(&path, &json!({})).json();
        Self {
            peer: Caller::new(&served.serving, Some(&key)),
            submitter: Caller::new(&served.serving, Some(text(&other["secret"]))),
            served,
        }
    }

    /// Who calls in a state.
    fn caller(&self, state: &str) -> Caller {
        match state {
            "the key is not known" => {
                let unknown = format!("arb_{}_{}", "0".repeat(16), "A".repeat(43));
                Caller::new(&self.served.serving, Some(&unknown))
            }
            "the key is of a principal that is no peer" => self.submitter.clone(),
            _ => self.peer.clone(),
        }
    }

    fn bring_about(&self, state: &str, whole: &Value) {
        let known = self.peer.get("/v1/agents?limit=1000").json();
        for agent in known["agents"].as_array().expect("agents") {
            let removed = self
                .peer
                .call("DELETE", &format!("/v1/agents/{}", text(&agent["id"])), &[], b"");
            assert_eq!(removed.status, 204, "{removed:?}");
        }
        match state {
            "no agent is registered"
            | "the key is not known"
            | "the key is of a principal that is no peer" => {}
            "agent 1 is registered" => self.register(&form(1)),
            "agents 1 and 2 are registered" => [1, 2].map(form).iter().for_each(|form| self.register(form)),
            "agent 1 is registered for tenant 2" => {
                let mut foreign = form(1);
                foreign["tenant"] = json!(arbiter_testkit::builders::tenant(2).to_string());
                self.register(&foreign);
            }
            "as many agents as it takes are registered, and agent 1 is none of them" => {
                [5, 6].map(form).iter().for_each(|form| self.register(form));
            }
            "agent 1 is registered, has told a heartbeat and ended an attempt" => {
                self.register(whole);
                let id = &whole["id"];
                let beats = json!({"beats": [{"agent": id, "able": false, "cpu": 0.25}]});
                self.tell("/v1/agents/heartbeats", &beats);
                // an attempt that no other state tells of: it would be counted once only
                let task = arbiter_testkit::builders::task(77).to_string();
                let ended = json!({"agent": id, "kind": whole["kinds"][0], "task": task, "fence": 1,
                    "succeeded": true, "quality": 0.5, "latency_micros": 4_000_000, "cost_micros": 10});
                self.tell("/v1/agents/outcomes", &json!({"outcomes": [ended]}));
            }
            other => panic!("`{other}` is no state that is known here"),
        }
    }

    fn register(&self, form: &Value) {
        let told = self.peer.post("/v1/agents", form);
        assert_eq!(
            (told.status, text(&told.json()["outcome"])),
            (200, "new"),
            "{told:?}"
        );
    }

    fn tell(&self, path: &str, body: &Value) {
        let told = self.peer.post(path, body);
        assert!((200..300).contains(&told.status), "{told:?}");
    }

    /// What differs between the answer and what the consumer needs.
    fn differences(&self, interaction: &Value, whole: &Value) -> Vec<String> {
        let state = text(&interaction["providerStates"][0]["name"]);
        self.bring_about(state, whole);
        let request = &interaction["request"];
        let mut path = text(&request["path"]).to_owned();
        for (place, (name, values)) in request["query"].as_object().into_iter().flatten().enumerate() {
            path.push(if place == 0 { '?' } else { '&' });
            path.extend([name.as_str(), "=", text(&values[0])]);
        }
        let headers = request["headers"].as_object().expect("headers").iter();
        let headers: Vec<(&str, &str)> = headers
            // each caller has a key of its own
            .filter(|(name, _)| *name != "authorization")
            .map(|(name, value)| (name.as_str(), text(value)))
            .collect();
        let body = request.get("body").map(Value::to_string).unwrap_or_default();
        let caller = self.caller(state);
        let answer = caller.call(text(&request["method"]), &path, &headers, body.as_bytes());
        let expected = &interaction["response"];
        let mut found = Vec::new();
        if json!(answer.status) != expected["status"] {
            found.push(format!(
                "the status is {}, not {}",
                answer.status, expected["status"]
            ));
        }
        for (name, value) in expected["headers"].as_object().into_iter().flatten() {
            let media = answer.header(name).and_then(|told| told.split(';').next());
            if media != value.as_str() {
                found.push(format!("the header `{name}` is {media:?}, not {value}"));
            }
        }
        if let Some(body) = expected.get("body") {
            let told = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
            found.extend(matching::differences(
                body,
                &told,
                &expected["matchingRules"]["body"],
            ));
        }
        found
    }
}

/// What an agent of the builders says of itself.
fn form(number: u64) -> Value {
    let profile = arbiter_testkit::builders::profile(number);
    let kinds: Vec<String> = profile
        .capabilities
        .kinds
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "id": profile.id.to_string(),
        "tenant": profile.tenant.map(|tenant| tenant.to_string()),
        "name": profile.name,
        "model_family": profile.model_family,
        "kinds": kinds,
        "slots": profile.slots,
    })
}

#[test]
fn every_interaction_of_the_pact_is_kept() {
    let pact = pact();
    let provider = Provider::new();
    let all = interactions(&pact);
    // What the consumer registers when it says everything is what is read of an agent of which everything is known.
    let whole = &all[0]["request"]["body"];
    let mut broken = Vec::new();
    for interaction in all {
        let found = provider.differences(interaction, whole);
        if !found.is_empty() {
            broken.push(format!("{}: {found:#?}", interaction["description"]));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    println!(
        "report: {} interactions of the pact of the agent registry are kept",
        all.len()
    );
}

#[test]
fn the_pact_has_every_call_that_a_control_plane_makes() {
    let pact = pact();
    let document = std::fs::read_to_string(workspace().join("docs/api/agent-registry.yaml"));
    assert!(document.expect("the contract").contains("agent.changes"));
    let operations = arbiter_api::operations().into_iter();
    let wanted: BTreeSet<(String, String)> = operations
        .filter(|(id, ..)| id.starts_with("agent.") && !NOT_OF_PEERS.contains(id))
        .map(|(_, method, path)| (method.to_string(), path.to_owned()))
        .collect();
    let id = arbiter_testkit::builders::agent(1).to_string();
    let sent: BTreeSet<(String, String)> = interactions(&pact)
        .iter()
        .map(|interaction| {
            let request = &interaction["request"];
            (
                text(&request["method"]).to_owned(),
                text(&request["path"]).replace(&id, "{id}"),
            )
        })
        .collect();
    assert_eq!(sent, wanted);
}
