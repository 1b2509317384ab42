//! A store in a schema of its own on the server of the tests.

use std::sync::Arc;

use arbiter_adapter_postgres::{PostgresConfig, PostgresParts, PostgresStore};
use arbiter_adapter_system::OsEntropy;
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{AuditAction, Record, RecordOutcome, Resource, Timestamp};
use arbiter_core::ports::{Clock, Entropy};
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::tenant;
use tokio_postgres::{Client, Config, NoTls};

/// The variable that names the server, with a login that may make schemas and, if the reader's role is not there, roles.
const URL: &str = "ARBITER_TEST_POSTGRES_URL";
const READER: &str = "arbiter_reader";

/// One at a time makes the role, on every server.
pub(crate) const MAKE_READER: &str = "SELECT pg_advisory_lock(1098016361);
     DO $$ BEGIN
       IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'arbiter_reader') THEN
         CREATE ROLE arbiter_reader NOLOGIN;
       END IF;
       IF NOT pg_has_role('arbiter_reader', 'MEMBER') THEN
         EXECUTE format('GRANT arbiter_reader TO %I', current_user);
       END IF;
     END $$;
     SELECT pg_advisory_unlock(1098016361)";

/// What stores of tests work with.
pub(crate) fn parts(clock: Option<Arc<dyn Clock>>) -> PostgresParts<'static> {
    PostgresParts {
        entropy: Arc::new(OsEntropy::new()),
        spawner: &TestSpawner,
        rules: Rules::default(),
        clock,
    }
}

/// A schema that is dropped at the end.
pub(crate) struct Place {
    pub(crate) config: PostgresConfig,
}

impl Place {
    /// A new schema; it is made by the first store that is opened.
    pub(crate) async fn new() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests find their server in the environment"
        )]
        let url = std::env::var(URL);
        let url = url
            .unwrap_or_else(|_| panic!("{URL} is not set; `cargo xtask test` starts a server and sets it"));
        let mut word = [0; 8];
        OsEntropy::new().fill(&mut word);
        let config = PostgresConfig {
            schema: format!("test_{:016x}", u64::from_be_bytes(word)),
            reader_role: READER.to_owned(),
            application_name: format!("test_{:016x}", u64::from_be_bytes(word)),
            max_agents: 20,
            ..PostgresConfig::new(url)
        };
        let place = Self { config };
        let client = place.client().await;
        client
            .batch_execute(MAKE_READER)
            .await
            .expect("the reader's role");
        place
    }

    /// Opens a store.
    pub(crate) async fn open(&self) -> PostgresStore {
        self.open_with(&self.config).await
    }

    /// Opens a store with changed settings.
    pub(crate) async fn open_with(&self, config: &PostgresConfig) -> PostgresStore {
        PostgresStore::open(config, parts(None))
            .await
            .expect("the store opens")
    }

    /// Opens a store that takes the time from a clock.
    pub(crate) async fn open_at(&self, clock: Arc<dyn Clock>) -> PostgresStore {
        PostgresStore::open(&self.config, parts(Some(clock)))
            .await
            .expect("the store opens")
    }

    /// A connection that is the test's own, as the engine.
    pub(crate) async fn client(&self) -> Client {
        self.client_with("").await
    }

    /// A connection that acts as readers do.
    pub(crate) async fn reader(&self) -> Client {
        self.client_with(&format!("-c role={READER}")).await
    }

    async fn client_with(&self, options: &str) -> Client {
        let mut config: Config = self.config.url.parse().expect("a URL");
        config.options(format!("-c search_path={} {options}", self.config.schema));
        config.application_name(format!("of_{}", self.config.schema));
        let (client, connection) = config.connect(NoTls).await.expect("the server answers");
        #[expect(clippy::disallowed_methods, reason = "it ends with the client")]
        tokio::spawn(connection);
        client
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let place = Self {
            config: self.config.clone(),
        };
        // the runtime of the test cannot be waited for in it
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                // the test's runtime stands still, so its connections cannot end what they have begun
                let name = &place.config.application_name;
                let schema = &place.config.schema;
                let statements = format!(
                    "SET statement_timeout = '10s';
                     SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                     WHERE application_name IN ('{name}', 'of_{schema}') AND pid <> pg_backend_pid();
                     DROP SCHEMA IF EXISTS {schema} CASCADE"
                );
                let dropped = place.client().await.batch_execute(&statements).await;
                dropped.expect("the schema is dropped");
            });
            std::mem::forget(place);
        });
        let ended = thread.join();
        if !std::thread::panicking() {
            ended.expect("the schema is dropped");
        }
    }
}

/// A record of tenant 1.
pub(crate) fn record(number: u64) -> Record {
    Record {
        at: Timestamp::from_micros(1),
        tenant: tenant(1),
        principal: None,
        operation: None,
        actions: vec![AuditAction::KeyCreated],
        resource: Resource::new("key", number.to_string()),
        outcome: RecordOutcome::Done,
        reason: None,
        count: None,
        detail: None,
    }
}
