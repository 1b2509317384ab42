//! The world of the test: tenants, those who call, and what they call about. The same facts are told to the script.

use std::collections::BTreeMap;

use arbiter_core::model::{Digest, Role};
use arbiter_tests::http::{Answer, Caller};
use arbiter_tests::{Place, wait_until};
use serde_json::{Value, json};

use super::random::Random;
use crate::server::{Served, task};

/// The tenant that every deployment has.
const HOME: &str = "00000000-0000-7000-8000-000000000001";
/// The system's own tenant, to which agents that serve all tenants belong. It has no record.
pub(super) const SHARED: &str = "00000000-0000-0000-0000-000000000000";
/// An id that nothing has.
pub(super) const NOBODY: &str = "018f1e6a-7b2c-7d3e-8f40-a1b2c3d4e5f6";
/// So many principals of a tenant have several roles.
const MIXED: usize = 8;
/// So many tasks of a tenant are held by its agent.
const HELD: usize = 3;
/// Nobody is refused for asking often, and what is held stays held.
const CONFIG: &str = "
[queue]
calls_per_principal = { per_second = 100000, burst = 100000 }
submit_per_principal = { per_second = 100000, burst = 100000 }
submit_per_tenant = { per_second = 100000, burst = 100000 }
lease_seconds = 3600
acknowledge_seconds = 3600

[policies]
files = [\"authorization.cedar\"]
";

/// One who calls.
pub(super) struct Someone {
    pub(super) id: String,
    pub(super) tenant: String,
    pub(super) roles: Vec<&'static str>,
    pub(super) agent: Option<String>,
    pub(super) caller: Caller,
    highest_band: u8,
}

/// Everything that is there.
pub(super) struct World {
    pub(super) served: Served,
    /// Every tenant that somebody belongs to, also the one without a record.
    pub(super) tenants: Vec<String>,
    pub(super) callers: Vec<Someone>,
    /// The tenant of each thing, by its sort and id.
    pub(super) things: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// What the script is told.
    pub(super) facts: Value,
}

pub(super) fn digest_of(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

fn done(answer: &Answer) -> Value {
    assert!((200..300).contains(&answer.status), "{answer:?}");
    if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json()
    }
}

fn id(told: &Value) -> String {
    told["id"].as_str().expect("an id").to_owned()
}

impl World {
    pub(super) fn new(random: &mut Random) -> Self {
        let place = Place::new();
        place.write(
            "authorization.cedar",
            include_str!("../../../check/authorization.cedar"),
        );
        let served = Served::at(place, CONFIG, &[]);
        let mut world = Self {
            served,
            tenants: vec![HOME.to_owned()],
            callers: Vec::new(),
            things: BTreeMap::new(),
            facts: json!({"principals": {}, "tasks": {}}),
        };
        for name in ["second", "third"] {
            let made = done(&world.served.operator.post("/v1/tenants", &json!({"name": name})));
            world.tenants.push(id(&made));
        }
        world.facts["tenants"] = json!(world.tenants);
        for tenant in world.tenants.clone() {
            world.people(random, &tenant);
            world.furnish(random, &tenant);
        }
        world.tenants.push(SHARED.to_owned());
        for roles in [
            vec!["agent"],
            vec!["agent", "reviewer"],
            vec!["submitter"],
            vec!["peer"],
        ] {
            world.someone(random, SHARED, roles);
        }
        world.entries();
        world.facts.as_object_mut().expect("an object").extend(
            world
                .things
                .iter()
                .filter(|(sort, _)| **sort != "task")
                .map(|(sort, of)| ((*sort).to_owned(), json!(of))),
        );
        world
    }

    /// Somebody with each role alone, and some with several.
    fn people(&mut self, random: &mut Random, tenant: &str) {
        // a peer belongs to the system's own tenant
        let given = || Role::ALL.iter().filter(|role| **role != Role::Peer);
        for role in given() {
            self.someone(random, tenant, vec![role.word()]);
        }
        for _ in 0..MIXED {
            let mut roles: Vec<&str> = given().map(|role| role.word()).collect();
            let wanted = 2 + random.below(2);
            while roles.len() > wanted {
                roles.remove(random.below(roles.len()));
            }
            self.someone(random, tenant, roles);
        }
    }

    fn someone(&mut self, random: &mut Random, tenant: &str, roles: Vec<&'static str>) {
        let kind = *random.pick(&["user", "agent", "service"]);
        let highest_band = u8::try_from(random.below(4)).expect("a band");
        let form =
            json!({"name": roles.join(" "), "kind": kind, "roles": roles, "highest_band": highest_band});
        let operator = &self.served.operator;
        let made = done(&operator.post(&format!("/v1/principals?tenant={tenant}"), &form));
        let id = id(&made);
        let key = operator.post(&format!("/v1/principals/{id}/keys?tenant={tenant}"), &json!({}));
        let agent = made["agent"].as_str().map(str::to_owned);
        self.facts["principals"][&id] = json!({
            "id": id,
            "tenant": tenant,
            "kind": kind,
            "roles": roles,
            "highest_band": highest_band,
            "agent": agent,
        });
        self.own("principal", &id, tenant);
        self.callers.push(Someone {
            id,
            tenant: tenant.to_owned(),
            roles,
            agent,
            caller: Caller::new(&self.served.serving, done(&key)["secret"].as_str()),
            highest_band,
        });
    }

    /// Something of every sort in a tenant.
    fn furnish(&mut self, random: &mut Random, tenant: &str) {
        let of_tenant = |someone: &&Someone| someone.tenant == tenant;
        let alone = |role| {
            let mut known = self.callers.iter().filter(of_tenant);
            known.find(|one| one.roles == [role]).expect("made")
        };
        let (admin, agent) = (&alone("admin").caller, alone("agent"));
        let profile = json!({"name": "puller", "model_family": "none", "kinds": ["analysis"], "slots": HELD});
        let agent_id = id(&done(&agent.caller.post("/v1/agents", &profile)));
        let hook = json!({"url": "https://example.com/hook", "events": ["closed"]});
        let hook = id(&done(&admin.post("/v1/hooks", &hook))["hook"]);
        // A paused one sends nothing again.
        let paused = admin.send(
            "PATCH",
            &format!("/v1/hooks/{hook}"),
            &[],
            &json!({"paused": true}),
        );
        done(&paused);
        let mut template = task();
        template["priority"] = json!(0);
        let schedule = json!({"name": "yearly", "cron": "0 3 1 1 *", "time_zone": "UTC", "task": template});
        let schedule = id(&done(&admin.post("/v1/schedules", &schedule)));
        let digest = digest_of(tenant);
        done(&admin.call("PUT", &format!("/v1/artifacts/{digest}"), &[], tenant.as_bytes()));

        let submitters: Vec<&Someone> = self.callers.iter().filter(of_tenant).collect();
        let submitters: Vec<&Someone> = submitters
            .into_iter()
            .filter(|one| {
                ["submitter", "operator", "admin"]
                    .iter()
                    .any(|role| one.roles.contains(role))
            })
            .collect();
        let mut tasks = BTreeMap::new();
        let submit = |random: &mut Random, by: &Someone, security: &str| {
            let priority = random.below(25 * (usize::from(by.highest_band) + 1));
            let mut form = task();
            form["priority"] = json!(priority);
            form["security"] = json!(security);
            form["constraints"] = json!({"attempt_timeout_seconds": 86_400});
            let answer = by.caller.post("/v1/tasks", &form);
            let fact = json!({
                "tenant": tenant,
                "submitter": by.id,
                "holder": null,
                "priority": priority,
                "security": security,
            });
            (id(&done(&answer)), fact)
        };
        for _ in 0..HELD {
            let by = *random.pick(&submitters);
            tasks.extend([submit(random, by, "internal")]);
        }
        hold(agent, &agent_id, &mut tasks);
        for by in &submitters {
            let securities: &[&str] = if self.facts["principals"][&by.id]["kind"] == "agent" {
                &["internal", "restricted"]
            } else {
                &["internal", "confidential", "restricted"]
            };
            for _ in 0..2 {
                let security = *random.pick(securities);
                tasks.extend([submit(random, by, security)]);
            }
        }
        let (ended, _) = submit(random, alone("admin"), "internal");
        done(&admin.post(&format!("/v1/tasks/{ended}/cancel"), &json!({"reason": "enough"})));

        for (id, fact) in tasks {
            self.facts["tasks"][&id] = fact;
            self.own("task", &id, tenant);
        }
        let things = [
            ("agent", agent_id),
            ("hook", hook),
            ("schedule", schedule),
            ("artifact", digest),
        ];
        for (sort, id) in things {
            self.own(sort, &id, tenant);
        }
    }

    /// The entries of the audit log that a head signs already.
    fn entries(&mut self) {
        let operator = self.served.operator.clone();
        wait_until("what was done so far is signed", || {
            let head = operator.get("/v1/audit/head");
            let newest = done(&operator.get("/v1/audit/entries?limit=1"))["entries"][0]["index"].as_u64();
            head.status == 200 && head.json()["size"].as_u64() > newest
        });
        let found = done(&operator.get("/v1/audit/entries?limit=1000"));
        for entry in found["entries"].as_array().expect("entries") {
            let tenant = entry["leaf"]["tenant"].as_str().expect("a tenant").to_owned();
            self.own("entry", &entry["index"].to_string(), &tenant);
        }
    }

    fn own(&mut self, sort: &'static str, id: &str, tenant: &str) {
        self.things
            .entry(sort)
            .or_default()
            .insert(id.to_owned(), tenant.to_owned());
    }

    /// The id of something: of the tenant, of another one, or of nothing.
    pub(super) fn some(&self, random: &mut Random, sort: &str, tenant: &str) -> String {
        let chance = random.below(100);
        let known = &self.things[sort];
        let wanted: Vec<&String> = known
            .iter()
            .filter(|(_, owner)| (chance < 60) == (owner.as_str() == tenant))
            .map(|(id, _)| id)
            .collect();
        if chance >= 85 || wanted.is_empty() {
            return match sort {
                "artifact" => digest_of("nothing has this"),
                "entry" => u64::from(u32::MAX).to_string(),
                _ => NOBODY.to_owned(),
            };
        }
        (*random.pick(&wanted)).clone()
    }

    /// A tenant: this one, another one, or none.
    pub(super) fn some_tenant(&self, random: &mut Random, own: &str) -> String {
        match random.below(100) {
            0..60 => own.to_owned(),
            60..90 => random.pick(&self.tenants).clone(),
            _ => NOBODY.to_owned(),
        }
    }

    /// What calls could have changed.
    pub(super) fn state(&self) -> BTreeMap<String, Value> {
        let mut state = BTreeMap::new();
        let operator = &self.served.operator;
        let tasks = done(&operator.get("/v1/tasks?limit=1000"));
        for task in tasks["tasks"].as_array().expect("tasks") {
            state.insert(id(task), json!([task["state"], task["version"]]));
        }
        for agent in done(&operator.get("/v1/agents"))["agents"]
            .as_array()
            .expect("agents")
        {
            state.insert(id(agent), json!([agent["mode"], agent["name"]]));
        }
        for path in ["tenants", "queue", "policies"] {
            state.insert(path.to_owned(), done(&operator.get(&format!("/v1/{path}"))));
        }
        for tenant in &self.tenants {
            for path in ["principals", "erasures"] {
                let path = format!("{path}?tenant={tenant}");
                state.insert(path.clone(), done(&operator.get(&format!("/v1/{path}"))));
            }
            let mut known = self.callers.iter().filter(|one| one.tenant == *tenant);
            if let Some(admin) = known.find(|one| one.roles == ["admin"]) {
                for path in ["hooks", "schedules", "artifacts"] {
                    let told = done(&admin.caller.get(&format!("/v1/{path}")));
                    state.insert(format!("{tenant} {path}"), told);
                }
            }
        }
        state
    }
}

/// Has the agent take the tasks.
fn hold(agent: &Someone, agent_id: &str, tasks: &mut BTreeMap<String, Value>) {
    let mut holding: Vec<Value> = Vec::new();
    wait_until("the agent holds the tasks", || {
        let ask = json!({"slots": HELD, "wait_seconds": 10, "holding": holding});
        let given = done(&agent.caller.post("/v1/work/claim", &ask));
        for work in given["work"].as_array().expect("work") {
            let attempt = json!({"task": work["task"], "tenant": work["tenant"], "fence": work["fence"]});
            done(&agent.caller.post("/v1/work/acknowledge", &attempt));
            let task = work["task"].as_str().expect("an id");
            tasks.get_mut(task).expect("submitted here")["holder"] = json!(agent_id);
            holding.push(json!({"task": task, "fence": work["fence"]}));
        }
        holding.len() == tasks.len()
    });
}
