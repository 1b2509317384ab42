//! Every call of the port, with the answers that mean something to it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use arbiter_adapter_registry_http::{CallError, HttpAgentRegistry};
use arbiter_core::model::{
    AgentBeat, AgentCost, AgentId, AgentMode, AgentProfile, Fence, Json, OutcomeDelta, Ratio, RecordDraft,
    SecurityLevel, TenantId, TenantScope, Timestamp, Transport,
};
use arbiter_core::ports::{AgentQuery, AgentRegistry as _, HeardFrom, Registered, RegistryError, Revision};
use arbiter_testkit::builders::{agent, kind, principal, profile, task, tenant};
use arbiter_wire::http::Problem;
use serde_json::{Value, json};

use crate::support::{registered, unavailable, view};

type Done<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A call, the answer that it gets, and what the caller makes of it.
pub(super) struct Interaction {
    pub(super) description: &'static str,
    /// What must be so at the provider's.
    pub(super) state: &'static str,
    pub(super) status: u16,
    pub(super) body: Option<Value>,
    /// Where the answer may differ, and how far.
    pub(super) rules: Vec<(&'static str, Value)>,
    pub(super) call: fn(&HttpAgentRegistry) -> Done<'_>,
}

impl Interaction {
    pub(super) fn media(&self) -> Option<&'static str> {
        self.body.as_ref()?;
        Some(if self.status < 400 {
            "application/json"
        } else {
            Problem::MEDIA_TYPE
        })
    }
}

/// What may be so at the provider's. It keeps to these names.
const NOBODY: &str = "no agent is registered";
const ONE: &str = "agent 1 is registered";
const TWO: &str = "agents 1 and 2 are registered";
const WORKED: &str = "agent 1 is registered, has told a heartbeat and ended an attempt";
const FOREIGN: &str = "agent 1 is registered for tenant 2";
const FULL: &str = "as many agents as it takes are registered, and agent 1 is none of them";
const UNKNOWN_KEY: &str = "the key is not known";
const NO_PEER: &str = "the key is of a principal that is no peer";

/// RFC 3339 in UTC.
fn moment() -> Value {
    json!({"match": "regex", "regex": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{6}Z$"})
}

fn same_type() -> Value {
    json!({"match": "type"})
}

fn refused(code: &str) -> Value {
    serde_json::to_value(Problem::new(code, "why")).unwrap()
}

fn full() -> Value {
    let mut told = refused("registry_full");
    told["limit"] = json!(2);
    told
}

fn problem_rules() -> Vec<(&'static str, Value)> {
    vec![("$.detail", same_type())]
}

fn draft() -> RecordDraft {
    RecordDraft {
        principal: Some(principal(4)),
        ..RecordDraft::default()
    }
}

/// An agent of which everything is said that can be.
fn whole() -> AgentProfile {
    let mut whole = profile(1);
    let words = |text: &str| BTreeSet::from([text.to_owned()]);
    whole.model_version = Some("4".to_owned());
    whole.capabilities.languages = words("rust");
    whole.capabilities.specialisations = words("parsers");
    whole.capabilities.tools = words("git");
    whole.transport = Transport::Exec;
    whole.slots = 3;
    whole.clearance = SecurityLevel::Restricted;
    whole.cost = AgentCost {
        per_task_micros: Some(5),
        per_1k_tokens_micros: Some(7),
    };
    whole.labels.insert("team".to_owned(), "a".to_owned());
    whole
}

fn whole_view() -> Value {
    let mut told = view(1);
    told["model_version"] = json!("4");
    told["languages"] = json!(["rust"]);
    told["specialisations"] = json!(["parsers"]);
    told["tools"] = json!(["git"]);
    told["transport"] = json!("exec");
    told["slots"] = json!(3);
    told["clearance"] = json!("restricted");
    told["cost_per_task_micros"] = json!(5);
    told["cost_per_1k_tokens_micros"] = json!(7);
    told["labels"] = json!({"team": "a"});
    told["beat"] = json!({"able": false, "cpu": 0.25});
    let sums = json!({"judged": 1, "quality": 0.5, "latency_seconds": 4.0, "costed": 1, "cost_micros": 10});
    told["records"] = json!([{
        "kind": kind().to_string(),
        "attempts": 1,
        "succeeded": 1,
        "success_rate": 0.84,
        "latency_seconds": 4.8,
        "sums": sums,
    }]);
    told
}

fn beat(number: u64) -> AgentBeat {
    AgentBeat {
        agent: agent(number),
        able: false,
        cpu: Ratio::new(0.25).ok(),
        memory: None,
    }
}

fn outcome() -> OutcomeDelta {
    OutcomeDelta {
        agent: agent(1),
        kind: kind(),
        attempt: (task(1), Fence(1)),
        succeeded: true,
        quality: Ratio::new(0.5).ok(),
        latency: Duration::from_secs(4),
        cost_micros: Some(10),
    }
}

fn far_future() -> Timestamp {
    "2999-01-01T00:00:00Z".parse().unwrap()
}

fn ids(agents: &[arbiter_core::model::RegisteredAgent]) -> Vec<AgentId> {
    agents.iter().map(|agent| agent.profile.id).collect()
}

async fn list(registry: &HttpAgentRegistry, scope: TenantScope, query: AgentQuery) -> Vec<AgentId> {
    ids(&registry.list(scope, query).await.unwrap().agents)
}

/// Every interaction.
pub(super) fn all() -> Vec<Interaction> {
    let mut all = registering();
    all.extend(operating());
    all.extend(reading());
    all.extend(telling());
    all.extend(refusals());
    all
}

fn registering() -> Vec<Interaction> {
    let outcome = |word: &str| Some(json!({"id": agent(1).to_string(), "outcome": word}));
    vec![
        Interaction {
            description: "registers a new agent with all that it says of itself",
            state: NOBODY,
            status: 200,
            body: outcome("new"),
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    let told = registry.register(whole(), draft()).await.unwrap();
                    assert_eq!(told, Registered::New);
                })
            },
        },
        Interaction {
            description: "registers an agent that serves every tenant",
            state: NOBODY,
            status: 200,
            body: outcome("new"),
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    let shared = AgentProfile {
                        tenant: None,
                        ..profile(1)
                    };
                    let told = registry.register(shared, RecordDraft::default()).await.unwrap();
                    assert_eq!(told, Registered::New);
                })
            },
        },
        Interaction {
            description: "registers an agent again with the same content",
            state: ONE,
            status: 200,
            body: outcome("unchanged"),
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    let told = registry.register(profile(1), draft()).await.unwrap();
                    assert_eq!(told, Registered::Unchanged);
                })
            },
        },
        Interaction {
            description: "registers an agent again with another content",
            state: ONE,
            status: 200,
            body: outcome("replaced"),
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    let told = registry.register(whole(), draft()).await.unwrap();
                    assert_eq!(told, Registered::Replaced);
                })
            },
        },
        Interaction {
            description: "registers an agent that another tenant has",
            state: FOREIGN,
            status: 403,
            body: Some(refused("forbidden")),
            rules: problem_rules(),
            call: |registry| {
                Box::pin(async {
                    let error = registry.register(profile(1), draft()).await.unwrap_err();
                    assert!(unavailable(error).0.is_code("forbidden"));
                })
            },
        },
        Interaction {
            description: "registers one agent more than the registry takes",
            state: FULL,
            status: 503,
            body: Some(full()),
            rules: problem_rules(),
            call: |registry| {
                Box::pin(async {
                    let error = registry.register(profile(1), draft()).await.unwrap_err();
                    assert!(matches!(error, RegistryError::Full { limit: 2 }), "{error:?}");
                })
            },
        },
    ]
}

fn operating() -> Vec<Interaction> {
    vec![
        Interaction {
            description: "puts an agent into quarantine",
            state: ONE,
            status: 204,
            body: None,
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    let why = Json::of(&json!({"reason": "it lies"}));
                    let set = registry.set_mode(agent(1), AgentMode::Quarantined, draft().with_detail(why));
                    assert!(set.await.unwrap());
                })
            },
        },
        Interaction {
            description: "drains an agent that is not there",
            state: NOBODY,
            status: 404,
            body: Some(refused("not_found")),
            rules: problem_rules(),
            call: |registry| {
                Box::pin(async {
                    let set = registry.set_mode(agent(1), AgentMode::Draining, draft());
                    assert!(!set.await.unwrap());
                })
            },
        },
        Interaction {
            description: "removes an agent",
            state: ONE,
            status: 204,
            body: None,
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    assert!(registry.remove(agent(1), draft()).await.unwrap());
                })
            },
        },
        Interaction {
            description: "removes an agent that is not there",
            state: NOBODY,
            status: 404,
            body: Some(refused("not_found")),
            rules: problem_rules(),
            call: |registry| {
                Box::pin(async {
                    assert!(!registry.remove(agent(1), draft()).await.unwrap());
                })
            },
        },
        Interaction {
            description: "removes agents that were silent",
            state: ONE,
            status: 200,
            body: Some(json!({"removed": [agent(1).to_string()]})),
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    let removed = registry.remove_silent(far_future(), draft()).await.unwrap();
                    assert_eq!(removed, [agent(1)]);
                })
            },
        },
    ]
}

fn reading() -> Vec<Interaction> {
    vec![
        Interaction {
            description: "reads an agent of which everything is known",
            state: WORKED,
            status: 200,
            body: Some(whole_view()),
            rules: vec![
                ("$.registered_at", moment()),
                ("$.seen_at", moment()),
                ("$.health", same_type()),
                ("$.records[*].success_rate", same_type()),
                ("$.records[*].latency_seconds", same_type()),
            ],
            call: |registry| {
                Box::pin(async {
                    let mut expected = registered(whole());
                    expected.beat = Some(beat(1));
                    expected.records.insert(
                        kind(),
                        arbiter_core::model::AgentRecord::default().with(&outcome()),
                    );
                    assert_eq!(registry.get(&[agent(1)]).await.unwrap(), [Some(expected)]);
                })
            },
        },
        Interaction {
            description: "reads an agent that is not there",
            state: NOBODY,
            status: 404,
            body: Some(refused("not_found")),
            rules: problem_rules(),
            call: |registry| {
                Box::pin(async {
                    assert_eq!(registry.get(&[agent(1)]).await.unwrap(), [None]);
                })
            },
        },
        Interaction {
            description: "reads several agents, of which one is not there",
            state: TWO,
            status: 200,
            body: Some(json!({"agents": [view(1), view(2)]})),
            rules: vec![
                ("$.agents[*].registered_at", moment()),
                ("$.agents[*].seen_at", moment()),
                ("$.agents[*].health", same_type()),
            ],
            call: |registry| {
                Box::pin(async {
                    let found = registry.get(&[agent(2), agent(9), agent(1)]).await.unwrap();
                    let found: Vec<_> = found
                        .iter()
                        .map(|agent| agent.as_ref().map(|agent| agent.profile.id))
                        .collect();
                    assert_eq!(found, [Some(agent(2)), None, Some(agent(1))]);
                })
            },
        },
        Interaction {
            description: "lists the agents of a tenant, one at a time",
            state: TWO,
            status: 200,
            body: Some(json!({
                "agents": [view(1)],
                "next": "a-cursor",
                "next_after": agent(1).to_string(),
            })),
            rules: vec![
                ("$.agents[*].registered_at", moment()),
                ("$.agents[*].seen_at", moment()),
                ("$.agents[*].health", same_type()),
                ("$.next", same_type()),
            ],
            call: |registry| {
                Box::pin(async {
                    let query = AgentQuery {
                        after: None,
                        limit: 1,
                    };
                    let page = registry
                        .list(TenantScope::Tenant(tenant(1)), query)
                        .await
                        .unwrap();
                    assert_eq!((ids(&page.agents), page.next), (vec![agent(1)], Some(agent(1))));
                })
            },
        },
        Interaction {
            description: "lists the agents after one, of all tenants",
            state: TWO,
            status: 200,
            body: Some(json!({"agents": [view(2)]})),
            rules: vec![
                ("$.agents[*].registered_at", moment()),
                ("$.agents[*].seen_at", moment()),
                ("$.agents[*].health", same_type()),
            ],
            call: |registry| {
                Box::pin(async {
                    let query = AgentQuery {
                        after: Some(agent(1)),
                        limit: 1_000,
                    };
                    assert_eq!(list(registry, TenantScope::All, query).await, [agent(2)]);
                })
            },
        },
        Interaction {
            description: "follows what changed",
            state: ONE,
            status: 200,
            body: Some(json!({"agents": [view(1)], "removed": [], "revision": 1, "more": false})),
            rules: vec![
                ("$.agents[*].registered_at", moment()),
                ("$.agents[*].seen_at", moment()),
                ("$.agents[*].health", same_type()),
                // what earlier states left behind
                ("$.removed", same_type()),
                ("$.revision", same_type()),
            ],
            call: |registry| {
                Box::pin(async {
                    let changes = registry.changes(Revision(0), 1_000).await.unwrap();
                    assert_eq!((ids(&changes.agents), changes.more), (vec![agent(1)], false));
                })
            },
        },
        Interaction {
            description: "asks who was heard of at all",
            state: ONE,
            status: 200,
            body: Some(
                json!({"agents": [{"agent": agent(1).to_string(), "at": "2026-01-01T00:00:05.000002Z"}], "more": false}),
            ),
            rules: vec![("$.agents[*].at", moment())],
            call: |registry| {
                Box::pin(async {
                    let heard = registry.heard(HeardFrom::START, 1_000).await.unwrap();
                    assert_eq!((heard.agents.len(), heard.more), (1, false));
                })
            },
        },
        Interaction {
            description: "asks who was heard of, one at a time",
            state: TWO,
            status: 200,
            body: Some(
                json!({"agents": [{"agent": agent(1).to_string(), "at": "2026-01-01T00:00:05.000002Z"}], "more": true}),
            ),
            rules: vec![("$.agents[*].at", moment())],
            call: |registry| {
                Box::pin(async {
                    let heard = registry.heard(HeardFrom::START, 1).await.unwrap();
                    assert_eq!((heard.agents.len(), heard.more), (1, true));
                })
            },
        },
        Interaction {
            description: "asks who was heard of since a moment",
            state: ONE,
            status: 200,
            body: Some(json!({"agents": [], "more": false})),
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    let from = HeardFrom {
                        since: far_future(),
                        after: Some(agent(1)),
                    };
                    let heard = registry.heard(from, 1_000).await.unwrap();
                    assert_eq!((heard.agents, heard.more), (Vec::new(), false));
                })
            },
        },
    ]
}

fn telling() -> Vec<Interaction> {
    vec![
        Interaction {
            description: "tells heartbeats of an agent that is there and of one that is not",
            state: ONE,
            status: 200,
            body: Some(json!({"unknown": [agent(2).to_string()]})),
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    let unknown = registry.beat(vec![beat(2), beat(1)]).await.unwrap();
                    assert_eq!(unknown, [agent(2)]);
                })
            },
        },
        Interaction {
            description: "tells how an attempt ended",
            state: ONE,
            status: 204,
            body: None,
            rules: Vec::new(),
            call: |registry| {
                Box::pin(async {
                    registry.learn(vec![outcome()]).await.unwrap();
                })
            },
        },
    ]
}

fn refusals() -> Vec<Interaction> {
    vec![
        Interaction {
            description: "calls with a key that is not known",
            state: UNKNOWN_KEY,
            status: 401,
            body: Some(refused("auth_failed")),
            rules: problem_rules(),
            call: |registry| {
                Box::pin(async {
                    let error = registry.changes(Revision(0), 1_000).await.unwrap_err();
                    assert!(unavailable(error).0.is_code("auth_failed"));
                })
            },
        },
        Interaction {
            description: "follows what changed without being a peer",
            state: NO_PEER,
            status: 403,
            body: Some(refused("forbidden")),
            rules: problem_rules(),
            call: |registry| {
                Box::pin(async {
                    let error = registry.changes(Revision(0), 1_000).await.unwrap_err();
                    assert!(unavailable(error).0.is_code("forbidden"));
                })
            },
        },
        Interaction {
            description: "names another tenant without being a peer",
            state: NO_PEER,
            status: 422,
            body: Some(refused("invalid_value")),
            rules: problem_rules(),
            call: |registry| {
                Box::pin(async {
                    let other = AgentProfile {
                        tenant: Some(TenantId::from_bytes([9; 16])),
                        ..profile(1)
                    };
                    let error = registry
                        .register(other, RecordDraft::default())
                        .await
                        .unwrap_err();
                    let RegistryError::Refused { source, .. } = error else {
                        panic!("{error:?}");
                    };
                    assert!(source.downcast::<CallError>().unwrap().is_code("invalid_value"));
                })
            },
        },
    ]
}
