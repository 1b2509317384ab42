//! One arbiter is the registry of agents of another one, as two processes.

use std::process::Command;

use arbiter_tests::http::{Answer, Caller};
use arbiter_tests::proxy::Proxy;
use arbiter_tests::{Place, curl, done, peer, wait_until, workspace};
use serde_json::{Value, json};

use crate::server::{Served, refused, task};

/// Two arbiters: the one whose agents are elsewhere, and the one that knows them. Between them is a way that can be cut.
struct Pair {
    registry: Served,
    /// As whom the registry knows the other one.
    peer: String,
    way: Proxy,
    near: Served,
    /// The key of an agent of the near one, and its principal.
    key: String,
    agent: String,
}

/// The way to a server.
fn before(served: &Served) -> Proxy {
    Proxy::before(
        served
            .serving
            .url
            .strip_prefix("http://")
            .expect("a plain address"),
    )
}

fn id(answer: &Answer) -> String {
    assert!((200..300).contains(&answer.status), "{answer:?}");
    answer.json()["id"].as_str().expect("an id").to_owned()
}

impl Pair {
    fn new(config: &str) -> Self {
        let registry = Served::new();
        let way = before(&registry);
        let (peer, key) = peer::new(&registry.operator);
        let place = Place::new();
        let own = peer::configure(&place, &format!("http://{}", way.address), &key);
        let near = Served::at(place, &format!("{own}{config}"), &[]);
        let form = json!({"name": "puller", "kind": "agent", "roles": ["agent"]});
        let agent = id(&near.operator.post("/v1/principals", &form));
        let key = near
            .operator
            .post(&format!("/v1/principals/{agent}/keys"), &json!({}));
        let key = key.json()["secret"].as_str().expect("a key").to_owned();
        Self {
            registry,
            peer,
            way,
            near,
            key,
            agent,
        }
    }

    /// The agent, as it calls the near one.
    fn puller(&self) -> Caller {
        Caller::new(&self.near.serving, Some(&self.key))
    }

    fn register(&self) -> String {
        let profile = json!({"name": "puller", "model_family": "none", "kinds": ["analysis"], "slots": 5});
        id(&self.puller().post("/v1/agents", &profile))
    }

    fn ask(&self, wait: u32) -> Answer {
        let asked = json!({"slots": 1, "wait_seconds": wait});
        self.puller().post("/v1/work/claim", &asked)
    }

    /// Nobody reaches the registry any more.
    fn cut(&self) {
        self.way.refuse(true);
        self.way.cut();
    }

    /// What the near one says of its registry.
    fn trouble(&self) -> Value {
        trouble(&self.near, "agent registry")
    }

    /// Why nobody would get a task; null when somebody would.
    fn reason(&self) -> Value {
        let asked = json!({"kind": "analysis", "title": "who would get it"});
        let told = self.near.operator.post("/v1/routing/route", &asked);
        if told.status == 200 {
            return told.json()["reason"].clone();
        }
        refused(&told, 503, "registry_unavailable");
        told.json()["code"].clone()
    }
}

/// What a server says of one of its parts; null when nothing is wrong with it.
fn trouble(served: &Served, part: &str) -> Value {
    let told = served.operator.get("/readyz");
    assert_eq!(told.status, 200, "{told:?}");
    let told = told.json();
    let parts = told["parts"].as_array().expect("parts");
    let found = parts.iter().find(|known| known["name"] == part);
    found.expect("it is a part of it")["why"].clone()
}

/// The records about something, oldest first: what was done, by whom, and the detail.
fn records(caller: &Caller, about: &str) -> Vec<(String, Value, Value)> {
    let found = caller.get(&format!("/v1/audit/entries?limit=1000&resource={about}"));
    assert_eq!(found.status, 200, "{found:?}");
    let found = found.json();
    let entries = found["entries"].as_array().expect("entries").iter().rev();
    entries
        .map(|entry| {
            let actions = entry["leaf"]["actions"].as_array().expect("actions").iter();
            // beside the operation, in which a dot stands
            let mut words = actions
                .filter_map(Value::as_str)
                .filter(|word| !word.contains('.'));
            let action = words.next().expect("an action").to_owned();
            (
                action,
                entry["leaf"]["principal"].clone(),
                entry["detail"].clone(),
            )
        })
        .collect()
}

#[test]
fn agents_of_one_arbiter_are_in_the_registry_of_another() {
    let pair = Pair::new("");
    let agent = pair.register();
    let path = format!("/v1/agents/{agent}");
    let known = pair.registry.operator.get(&path);
    assert_eq!(
        (known.status, &known.json()["name"]),
        (200, &json!("puller")),
        "{known:?}"
    );
    assert_eq!(pair.trouble(), Value::Null);

    let task = pair.near.submit(&task());
    let work = pair.ask(30).json()["work"][0].clone();
    assert_eq!(work["task"], json!(task));
    let attempt = json!({"task": work["task"], "tenant": work["tenant"], "fence": work["fence"]});
    let report = json!({"attempt": attempt, "output": {"words": 3}});
    let told = pair.puller().post("/v1/work/report", &report);
    assert_eq!(told.status, 204, "{told:?}");
    let record = pair.registry.operator.get(&format!("{path}/performance")).json();
    assert_eq!(
        (&record["kinds"][0]["attempts"], &record["kinds"][0]["succeeded"]),
        (&json!(1), &json!(1))
    );

    // An operator there stops it for all that use the registry.
    let mode = json!({"mode": "quarantined", "reason": "it invents results"});
    let set = pair.registry.operator.post(&format!("{path}/mode"), &mode);
    assert_eq!(set.status, 204, "{set:?}");
    wait_until("the near arbiter knows of the quarantine", || {
        pair.reason() == json!("none_healthy")
    });
    let mode = json!({"mode": "active", "reason": "it was a mistake"});
    let set = pair.near.operator.post(&format!("{path}/mode"), &mode);
    assert_eq!(set.status, 204, "{set:?}");
    assert_eq!(pair.registry.operator.get(&path).json()["mode"], "active");
    let removed = pair.near.operator.call("DELETE", &path, &[], b"");
    assert_eq!(removed.status, 204, "{removed:?}");
    refused(&pair.registry.operator.get(&path), 404, "not_found");
    refused(&pair.near.operator.get(&path), 404, "not_found");

    // Both logs have it: here who did it, there which arbiter did it for whom.
    let near = records(&pair.near.operator, &agent);
    let there = records(&pair.registry.operator, &agent);
    let acts = |records: &[(String, Value, Value)]| -> Vec<String> {
        records.iter().map(|(action, ..)| action.clone()).collect()
    };
    assert_eq!(
        acts(&near),
        [
            "agent_change_asked",
            "agent_registered",
            "agent_change_asked",
            "agent_mode_set",
            "agent_change_asked",
            "agent_removed"
        ]
    );
    for pair in near.chunks(2) {
        assert!(pair[0].2["change"].is_string(), "{pair:?}");
        assert_eq!(pair[0].2["change"], pair[1].2["change"]);
    }
    assert_eq!(
        acts(&there),
        [
            "agent_registered",
            "agent_mode_set",
            "agent_mode_set",
            "agent_removed"
        ]
    );
    let (_, by, detail) = &there[0];
    assert_eq!(
        (by, &detail["on_behalf_of"]),
        (&json!(pair.peer), &json!(pair.agent))
    );
    assert_eq!(near[0].1, json!(pair.agent));
    let (_, by, detail) = &there[2];
    assert_eq!(
        (by, &detail["reason"]),
        (&json!(pair.peer), &json!("it was a mistake"))
    );
    assert_eq!(detail["on_behalf_of"], near[3].1);
}

#[test]
fn without_its_registry_an_arbiter_goes_on_with_what_it_read_and_invents_nothing() {
    let pair = Pair::new("");
    let agent = pair.register();
    assert_eq!(pair.ask(0).json()["work"], json!([]));
    assert_ne!(pair.reason(), json!("registry_unavailable"));
    pair.cut();
    let operator = &pair.near.operator;
    let listed = operator.get("/v1/agents");
    refused(&listed, 503, "registry_unavailable");
    assert!(listed.header("retry-after").is_some(), "{listed:?}");
    let path = format!("/v1/agents/{agent}");
    assert_eq!(operator.get(&path).json()["name"], "puller");
    let other = "0190f3c2-7b5e-7c3a-9d41-000000000000";
    refused(
        &operator.get(&format!("/v1/agents/{other}")),
        503,
        "registry_unavailable",
    );
    let mode = json!({"mode": "draining", "reason": "because"});
    refused(
        &operator.post(&format!("/v1/agents/{other}/mode"), &mode),
        503,
        "registry_unavailable",
    );
    let task = pair.near.submit(&task());
    assert_eq!(pair.ask(30).json()["work"][0]["task"], json!(task));
    wait_until("it says what is wrong", || pair.trouble().is_string());
    pair.way.refuse(false);
    wait_until("the registry is asked again", || {
        operator.get("/v1/agents").status == 200
    });
    wait_until("all is well", || pair.trouble().is_null());
}

#[test]
fn profiles_that_are_too_old_are_not_offered() {
    let pair = Pair::new("[allocation]\nstale_seconds = 15\n");
    pair.register();
    assert_eq!(pair.ask(0).json()["work"], json!([]));
    assert_ne!(pair.reason(), json!("registry_unavailable"));
    pair.cut();
    refused(&pair.near.operator.get("/v1/agents"), 503, "registry_unavailable");
    assert_eq!(pair.ask(0).json()["work"], json!([]), "it is still known");
    wait_until("what was read is too old", || pair.ask(0).status == 503);
    let task = pair.near.submit(&task());
    refused(&pair.ask(1), 503, "registry_unavailable");
    let path = format!("/v1/tasks/{task}");
    assert_eq!(pair.near.operator.get(&path).json()["state"], "queued");
}

#[test]
fn an_arbiter_starts_without_its_registry_and_registers_its_agents_when_it_is_there() {
    let registry = Served::new();
    let way = before(&registry);
    way.refuse(true);
    let (_, key) = peer::new(&registry.operator);
    let place = Place::new();
    let agents = "[[agent]]\nname = \"slow\"\ncommand = [\"./agents/slow.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n";
    place.write("agents.toml", agents);
    let own = peer::configure(&place, &format!("http://{}", way.address), &key);
    let near = Served::at(place, &format!("{own}[server]\nagents = \"agents.toml\"\n"), &[]);
    refused(&near.operator.get("/v1/agents"), 503, "registry_unavailable");
    let names = |served: &Served| {
        let told = served.operator.get("/v1/agents");
        let told = told.json();
        let agents = told["agents"].as_array().cloned().unwrap_or_default();
        agents
            .into_iter()
            .map(|agent| (agent["name"].clone(), agent["transport"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&registry), []);
    way.refuse(false);
    wait_until("its agent is registered", || {
        names(&registry) == [(json!("slow"), json!("exec"))]
    });
    wait_until("it reads them there", || names(&near) == names(&registry));
}

#[test]
fn a_hosted_agent_that_the_registry_refuses_is_told_and_stops_nothing() {
    let registry = Served::with("[agents]\nmost = 2\n", &[]);
    let (_, key) = peer::new(&registry.operator);
    let blocker = "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d";
    let form = json!({"id": blocker, "name": "blocker", "model_family": "none", "kinds": ["writing"]});
    id(&registry.operator.post("/v1/agents", &form));
    let place = Place::new();
    let agents = ["first", "second"].map(|name| {
        format!(
            "[[agent]]\nname = \"{name}\"\ncommand = [\"./agents/slow.sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n"
        )
    });
    place.write("agents.toml", &agents.concat());
    let own = peer::configure(&place, &registry.serving.url, &key);
    let near = Served::at(place, &format!("{own}[server]\nagents = \"agents.toml\"\n"), &[]);
    let agent = |name: &str| {
        let told = registry.operator.get("/v1/agents?limit=100").json();
        let agents = told["agents"].as_array().cloned().unwrap_or_default();
        let found = agents.into_iter().find(|agent| agent["name"] == name);
        found.map(|agent| agent["id"].as_str().expect("an id").to_owned())
    };
    let first = agent("first").expect("there is room for one");
    assert_eq!(agent("second"), None);
    let told = trouble(&near, "hosted agents").to_string();
    assert!(
        told.contains("refuses `second`") && told.contains("full"),
        "{told}"
    );
    let refused_agents = || {
        let told = near.operator.get("/metrics");
        String::from_utf8_lossy(&told.body).contains("agent_registry_refused_agents{} 1")
    };
    assert!(refused_agents());
    // What is done at the registry is followed all the same.
    let mode = json!({"mode": "quarantined", "reason": "it invents results"});
    let set = registry.operator.post(&format!("/v1/agents/{first}/mode"), &mode);
    assert_eq!(set.status, 204, "{set:?}");
    let asked = json!({"kind": "analysis", "title": "who would get it"});
    wait_until("the near arbiter knows of the quarantine", || {
        near.operator.post("/v1/routing/route", &asked).json()["reason"] == "none_healthy"
    });
    // It is tried again, and has its place when there is one.
    let removed = registry
        .operator
        .call("DELETE", &format!("/v1/agents/{blocker}"), &[], b"");
    assert_eq!(removed.status, 204, "{removed:?}");
    wait_until("the second one is registered", || agent("second").is_some());
    wait_until("nothing is wrong any more", || {
        trouble(&near, "hosted agents").is_null() && !refused_agents()
    });
}

#[test]
fn a_key_that_is_none_of_a_peer_is_found_out() {
    let registry = Served::new();
    let key = std::fs::read_to_string(registry.place.path("data/operator.key")).expect("a key");
    let place = Place::new();
    let examine = |key: &str| {
        let config = peer::configure(&place, &registry.serving.url, key);
        let config = place.write("config.toml", &config);
        let told = place
            .run(&["--config", config.to_str().expect("a path"), "--json", "doctor"])
            .json();
        let findings = told["findings"].as_array().expect("findings").clone();
        let finding = findings
            .into_iter()
            .find(|finding| finding["check"] == "agent registry");
        let finding = finding.expect("the registry was looked at");
        (finding["grade"].clone(), finding["what"].to_string())
    };
    let (_, peer) = peer::new(&registry.operator);
    assert_eq!(examine(&peer).0, json!("ok"));
    let (grade, what) = examine("arb_0000000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(grade == json!("problem") && what.contains("401"), "{what}");
    // An admin of a tenant may follow the registry, and may not tell heartbeats of others.
    let admin = Caller::new(&registry.serving, Some(&key));
    assert_eq!(admin.get("/v1/agents/changes").status, 200);
    refused(
        &admin.post("/v1/agents/heartbeats", &json!({"beats": []})),
        403,
        "forbidden",
    );
    refused(
        &admin.post("/v1/agents/outcomes", &json!({"outcomes": []})),
        403,
        "forbidden",
    );
    let plain = registry.plain_operator();
    refused(&plain.get("/v1/agents/changes"), 403, "forbidden");
    refused(&plain.get("/v1/agents/heard"), 403, "forbidden");
    refused(
        &plain.post(
            "/v1/agents/remove-silent",
            &json!({"since": "2999-01-01T00:00:00Z"}),
        ),
        403,
        "forbidden",
    );
    let form = json!({"id": "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d", "name": "x", "model_family": "none", "kinds": ["analysis"]});
    for (field, value) in [("tenant", peer::SYSTEM), ("transport", "exec")] {
        let mut form = form.clone();
        form[field] = json!(value);
        refused(&plain.post("/v1/agents", &form), 422, "invalid_value");
    }
    let for_another = [("on-behalf-of", "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d")];
    refused(
        &plain.send("POST", "/v1/agents", &for_another, &form),
        422,
        "invalid_value",
    );
}

#[test]
fn the_example_of_two_arbiters_works() {
    let place = Place::new();
    let curl = curl();
    let of_curl = curl.parent().expect("a folder").display();
    let path = format!(
        "{}:{of_curl}:/usr/local/bin:/usr/bin:/bin",
        place.path("").display()
    );
    let shown = done(
        Command::new("sh")
            .arg(workspace().join("docs/examples/registry/two-arbiters.sh"))
            .env("PATH", path)
            .env("TMPDIR", place.path("")),
    );
    assert_eq!(shown.code(), 0, "{shown:?}");
    for line in [
        "agent registry: http://127.0.0.1:",
        "\ncounter\n",
        "\nquarantined\n",
    ] {
        assert!(shown.stdout.contains(line), "{line}: {shown:?}");
    }
}
