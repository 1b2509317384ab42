//! The whole contract of `AgentRegistry`, kept by a second arbiter: the port is HTTP calls to a process that serves.
//!
//! Its store is a database in which the time stands still until a case moves it. The log is read from that database.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_postgres::{PostgresConfig, PostgresParts, PostgresStore};
use arbiter_adapter_registry_http::{HttpAgentRegistry, RegistryConfig};
use arbiter_adapter_system::{OsEntropy, SystemClock, TokioSpawner};
use arbiter_core::lifecycle::Rules;
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Band, Principal, PrincipalKind, RecordDraft, Role, TenantId, Timestamp};
use arbiter_core::ports::NoMetrics;
use arbiter_net::{HttpPorts, SystemResolver};
use arbiter_queue::{ApiKeys, PrincipalRecord};
use arbiter_testkit::builders::principal;
use arbiter_testkit::contract::{Harness, Stores};
use async_trait::async_trait;

use crate::cluster::{Database, Node};

/// How many agents the second arbiter takes.
const MOST: usize = 20;
const CONFIG: &str = "
[agents]
most = 20
remove_after_hours = 8760

[queue]
calls_per_principal = { per_second = 100000, burst = 100000 }
";

/// The time of the database, in the place of the server's own.
const CLOCK: &str = "
CREATE TABLE test_clock (now bigint NOT NULL);
INSERT INTO test_clock SELECT store_now();
GRANT SELECT ON test_clock TO PUBLIC;
CREATE OR REPLACE FUNCTION store_now() RETURNS bigint LANGUAGE sql VOLATILE AS
  $$ SELECT now FROM test_clock $$;
";

/// A second arbiter, and the registry that is calls to it.
struct Second {
    stores: Stores,
    served: Option<(Node, Database)>,
    clock: tokio_postgres::Client,
}

impl Second {
    async fn new() -> Self {
        let (node, database) = tokio::task::spawn_blocking(|| {
            let database = Database::new();
            let node = Node::start(database.place(CONFIG), &[]);
            database.ask(CLOCK);
            (node, database)
        })
        .await
        .expect("a second arbiter");
        let mut config: tokio_postgres::Config = database.url.parse().expect("a URL");
        config.options(format!("-c search_path={}", database.schema));
        let (clock, connection) = config
            .connect(tokio_postgres::NoTls)
            .await
            .expect("the server answers");
        #[expect(clippy::disallowed_methods, reason = "it ends with the client")]
        tokio::spawn(connection);
        let store = Arc::new(open(&database).await);
        let key = peer(&store).await;
        let registry = HttpAgentRegistry::new(&RegistryConfig::new(node.serving.url.as_str(), key), ports());
        let stores = Stores {
            agents: Arc::new(registry.expect("settings that work")),
            ..Stores::of(&store)
        };
        Self {
            stores,
            served: Some((node, database)),
            clock,
        }
    }
}

/// What connections of the test itself are called.
fn name(database: &Database) -> String {
    format!("of_{}", database.schema)
}

/// The database of the second arbiter, by itself.
async fn open(database: &Database) -> PostgresStore {
    let config = PostgresConfig {
        schema: database.schema.clone(),
        application_name: name(database),
        ..PostgresConfig::new(database.url.clone())
    };
    let parts = PostgresParts {
        entropy: Arc::new(OsEntropy::new()),
        spawner: &TokioSpawner::new(),
        rules: Rules::default(),
        clock: None,
    };
    PostgresStore::open(&config, parts)
        .await
        .expect("the store opens")
}

/// A peer with the id that the cases write into records: the log names whoever was authenticated.
async fn peer(store: &Arc<PostgresStore>) -> SecretText {
    let keys = ApiKeys::new(
        Arc::clone(store) as _,
        Arc::new(SystemClock::new()),
        Arc::new(OsEntropy::new()),
    );
    let record = PrincipalRecord {
        name: "first arbiter".to_owned(),
        principal: Principal {
            id: principal(4),
            tenant: TenantId::SYSTEM,
            kind: PrincipalKind::Service,
            roles: [Role::Peer].into(),
            agent: None,
            kinds: None,
            highest_band: Band::HIGHEST,
        },
    };
    let made = keys.principals().create(&record, RecordDraft::default()).await;
    made.expect("a principal");
    let key = keys.create(None, TenantId::SYSTEM, principal(4), None).await;
    key.expect("a key").text
}

fn ports() -> HttpPorts {
    HttpPorts {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy::new()),
        metrics: Arc::new(NoMetrics),
        spawner: Arc::new(TokioSpawner::new()),
        resolver: Arc::new(SystemResolver),
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let served = self.served.take();
        // the database is asked by a runtime of its own; this one stands still, so that its connections cannot end what
        // they have begun
        let ended = std::thread::spawn(move || {
            if let Some((node, database)) = served {
                drop(node);
                database.ask(&format!(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '{}'",
                    name(&database)
                ));
            }
        });
        let ended = ended.join();
        if !std::thread::panicking() {
            ended.expect("the second arbiter ends");
        }
    }
}

#[async_trait]
impl Harness for Second {
    fn stores(&self) -> &Stores {
        &self.stores
    }

    fn rules(&self) -> Rules {
        Rules::default()
    }

    fn max_agents(&self) -> usize {
        MOST
    }

    async fn now(&self) -> Timestamp {
        let row = self.clock.query_one("SELECT store_now()", &[]).await;
        Timestamp::from_micros(row.expect("the time").get(0))
    }

    async fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).expect("a short time");
        let moved = self
            .clock
            .execute("UPDATE test_clock SET now = now + $1", &[&by])
            .await;
        assert_eq!(moved.expect("moved"), 1);
    }
}

arbiter_testkit::agent_registry_contract!(Second::new().await);
