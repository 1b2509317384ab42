//! A database of a test's own, and nodes on it.

use arbiter_tests::http::Caller;
use arbiter_tests::{Place, Serving};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio_postgres::NoTls;

/// The variable that names the server, with a login that may make schemas.
const URL: &str = "ARBITER_TEST_POSTGRES_URL";

/// A schema that is dropped at the end.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) schema: String,
}

impl Database {
    /// A new schema on the server of the tests; the first node makes it.
    pub(crate) fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests find their server in the environment"
        )]
        let url = std::env::var(URL);
        let url = url
            .unwrap_or_else(|_| panic!("{URL} is not set; `cargo xtask test` starts a server and sets it"));
        Self::at(url)
    }

    /// A new schema on a server.
    pub(crate) fn at(url: String) -> Self {
        let schema = format!("nodes_{:016x}", rand::random::<u64>());
        Self { url, schema }
    }

    /// Runs statements in the schema and gives the first column of what they find, as text.
    pub(crate) fn ask(&self, sql: &str) -> Vec<String> {
        // whoever asks may run on a runtime, which cannot be waited for in another
        std::thread::scope(|scope| scope.spawn(|| self.ask_alone(sql)).join()).expect("an answer")
    }

    fn ask_alone(&self, sql: &str) -> Vec<String> {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut config: tokio_postgres::Config = self.url.parse().expect("a URL");
            config.options(format!("-c search_path={}", self.schema));
            let (client, connection) = config.connect(NoTls).await.expect("the server answers");
            let work = async {
                let found = client.simple_query(sql).await.expect("the statements run");
                drop(client);
                found
            };
            let (found, _ended) = futures_util::future::join(work, connection).await;
            let row = |message: &tokio_postgres::SimpleQueryMessage| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            };
            found.iter().filter_map(row).collect()
        })
    }

    /// A place for a node on this database. `config` is added to its configuration.
    pub(crate) fn place(&self, config: &str) -> Place {
        self.place_over(&self.url, config)
    }

    /// As [`Database::place`], by another way to the server.
    pub(crate) fn place_over(&self, url: &str, config: &str) -> Place {
        let place = Place::new().with_variable("ARBITER_STORE_URL", url);
        let store = format!("[store]\nschema = \"{}\"\n", self.schema);
        place.write("config.toml", &format!("{store}{config}"));
        place
    }

    /// A node with nothing but the defaults.
    pub(crate) fn node(&self) -> Node {
        Node::start(self.place(""), &[])
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // a store in this process may not have ended its sessions yet
            self.ask(&format!(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '{0}';
                 DROP SCHEMA IF EXISTS {0} CASCADE",
                self.schema
            ));
        }
    }
}

/// A process that serves, with its operator.
pub(crate) struct Node {
    pub(crate) serving: Serving,
    pub(crate) operator: Caller,
    pub(crate) place: Place,
}

impl Node {
    pub(crate) fn start(place: Place, arguments: &[&str]) -> Self {
        let config = place.path("config.toml");
        let mut all = vec!["--config", config.to_str().expect("a path")];
        all.extend(arguments);
        let serving = Serving::start(&place, &all);
        let key = std::fs::read_to_string(place.path("data/operator.key")).expect("the operator's key");
        let operator = Caller::new(&serving, Some(&key));
        Self {
            serving,
            operator,
            place,
        }
    }

    /// Stops the process and starts another one in its place.
    pub(crate) fn restart(self, arguments: &[&str]) -> Self {
        let Self { serving, place, .. } = self;
        assert_eq!(serving.stop().code(), Some(0));
        Self::start(place, arguments)
    }

    pub(crate) fn submit(&self) -> String {
        let answer = self.operator.post("/v1/tasks", &task());
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) fn task(&self, id: &str) -> Value {
        let answer = self.operator.get(&format!("/v1/tasks/{id}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Runs a command in the data folder of the node, beside it.
    pub(crate) fn run(&self, arguments: &[&str]) -> arbiter_tests::Done {
        let config = self.place.path("config.toml");
        let mut all = vec!["--config", config.to_str().expect("a path")];
        all.extend(arguments);
        self.place.run(&all)
    }

    /// An agent that asks for work, registered here, and its id.
    pub(crate) fn agent(&self, slots: u32) -> (Agent, String) {
        let form = json!({"name": "puller", "kind": "agent", "roles": ["agent"]});
        let made = self.operator.post("/v1/principals", &form);
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.json()["id"].as_str().expect("an id").to_owned();
        let key = self
            .operator
            .post(&format!("/v1/principals/{id}/keys"), &json!({}))
            .json();
        let agent = Agent {
            key: key["secret"].as_str().expect("a key").to_owned(),
            key_id: key["key"]["id"].as_str().expect("an id").to_owned(),
            principal: id,
        };
        let profile =
            json!({"name": "puller", "model_family": "none", "kinds": ["analysis"], "slots": slots});
        let registered = agent.at(self).post("/v1/agents", &profile);
        assert_eq!(registered.status, 200, "{registered:?}");
        let id = registered.json()["id"].as_str().expect("an id").to_owned();
        (agent, id)
    }
}

/// An agent with its key.
pub(crate) struct Agent {
    pub(crate) key: String,
    pub(crate) key_id: String,
    pub(crate) principal: String,
}

impl Agent {
    /// The agent as a caller of a node.
    pub(crate) fn at(&self, node: &Node) -> Caller {
        Caller::new(&node.serving, Some(&self.key))
    }

    /// Asks a node for work.
    pub(crate) fn claim(&self, node: &Node, slots: u32, wait: u32) -> Vec<Value> {
        let asked = json!({"slots": slots, "wait_seconds": wait});
        let answer = self.at(node).post("/v1/work/claim", &asked);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["work"].as_array().expect("work").clone()
    }
}

/// A task that no agent takes unless one is registered for it.
pub(crate) fn task() -> Value {
    json!({"kind": "analysis", "title": "count", "instructions": "count the words"})
}

/// The report of a piece of work.
pub(crate) fn report(work: &Value) -> Value {
    let attempt = json!({"task": work["task"], "tenant": work["tenant"], "fence": work["fence"]});
    json!({"attempt": attempt, "output": {"words": 3}})
}
