//! TLS with a real server: who is trusted, who is not, and that nobody goes without it who asks for it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_postgres::{OpenError, PostgresConfig, PostgresStore, PostgresWakeups};
use arbiter_adapter_system::SystemClock;
use arbiter_core::model::TenantScope;
use arbiter_core::ports::{Documents as _, Hint, LeaseStore, Wakeups as _};
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::{node, tenant};
use tokio_postgres::NoTls;

use crate::server::{Authority, PASSWORD, Server};
use crate::support::{MAKE_READER, Place, parts};

const HOST: &str = "db.example";

async fn wakeups(config: &PostgresConfig) -> Result<PostgresWakeups, OpenError> {
    PostgresWakeups::start(config, &TestSpawner, Arc::new(SystemClock::new())).await
}

fn config(url: String, ca_file: Option<PathBuf>) -> PostgresConfig {
    PostgresConfig {
        ca_file,
        ..PostgresConfig::new(url)
    }
}

/// Makes the reader's role, over a connection that is not encrypted, and gives this connection.
async fn prepare(server: &Server) -> tokio_postgres::Client {
    let url = server.url("127.0.0.1", "disable");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the client")]
    tokio::spawn(connection);
    client.batch_execute(MAKE_READER).await.unwrap();
    client
}

/// How many connections of the store there are, and how many of them are encrypted.
async fn connections(client: &tokio_postgres::Client) -> (i64, i64) {
    let row = client
        .query_one(
            "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
             WHERE application_name = 'arbiter'",
            &[],
        )
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

async fn use_it(store: &PostgresStore) {
    let time = Duration::from_secs(10);
    LeaseStore::take(store, "sweep", node(1), time).await.unwrap();
    store.get(TenantScope::Tenant(tenant(1)), &[]).await.unwrap();
}

/// An error with all that is below it, as a log shows it.
fn chain(error: &OpenError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        write!(text, ": {source} {source:?}").unwrap();
        next = source.source();
    }
    text
}

/// Both the store and the wake-ups refuse; gives what they say.
async fn refusals(config: &PostgresConfig) -> [String; 2] {
    let store = PostgresStore::open(config, parts(None)).await.unwrap_err();
    let wakeups = wakeups(config).await.unwrap_err();
    [store, wakeups].map(|error| {
        let text = chain(&error);
        assert!(matches!(error, OpenError::Database { .. }), "{text}");
        assert!(!text.contains(PASSWORD), "{text}");
        text
    })
}

#[tokio::test]
async fn a_server_of_the_right_authority_and_name_is_used_over_encrypted_connections() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = authority.write(folder.path().join("ca.pem"));
    let server = Server::start(&authority, &[HOST, "127.0.0.1"]).await;
    let client = prepare(&server).await;
    for (host, sslmode) in [
        (HOST, "prefer"),
        (HOST, "require"),
        (HOST, "verify-full"),
        ("127.0.0.1", "verify-full"),
    ] {
        let config = config(server.url(host, sslmode), Some(ca_file.clone()));
        let store = PostgresStore::open(&config, parts(None)).await.unwrap();
        let (one, two) = (wakeups(&config).await.unwrap(), wakeups(&config).await.unwrap());
        use_it(&store).await;
        let mut hints = two.subscribe();
        one.publish(&[Hint::Registry]);
        assert_eq!(hints.next().await, [Hint::Registry]);
        // an engine, a reader, and two that listen
        assert_eq!(connections(&client).await, (4, 4), "{host} {sslmode}");
        drop((store, one, two));
        gone(&client).await;
    }
    // what was said to go without it does so
    let config = config(server.url(HOST, "disable"), Some(ca_file));
    let store = PostgresStore::open(&config, parts(None)).await.unwrap();
    use_it(&store).await;
    assert_eq!(connections(&client).await, (2, 0));
}

/// Waits until the server has seen the end of the store's connections.
async fn gone(client: &tokio_postgres::Client) {
    for _ in 0..10_000 {
        if connections(client).await.0 == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("connections of the store are left");
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let right = authority.write(folder.path().join("right.pem"));
    let wrong = other.write(folder.path().join("wrong.pem"));
    let server = Server::start(&authority, &[HOST]).await;
    let client = prepare(&server).await;
    for (host, ca_file, why) in [
        // it has the name of the right one, and another key
        (HOST, Some(&wrong), "BadSignature"),
        // of the public authorities it is none
        (HOST, None, "UnknownIssuer"),
        ("other.example", Some(&right), "NotValidForName"),
        ("127.0.0.1", Some(&right), "NotValidForName"),
    ] {
        for sslmode in ["prefer", "require", "verify-full"] {
            let config = config(server.url(host, sslmode), ca_file.cloned());
            for told in refusals(&config).await {
                assert!(told.contains(why), "{host} {sslmode}: {told}");
                assert!(told.contains("`ca_file`"), "it says what to do: {told}");
            }
        }
    }
    let rows = client
        .query_one("SELECT to_regnamespace('arbiter') IS NULL", &[])
        .await;
    assert!(rows.unwrap().get::<_, bool>(0), "nobody was let in");
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = authority.write(folder.path().join("ca.pem"));
    let server = Server::start(&authority, &[HOST]).await;
    let url = server.url(HOST, "require").replace("engine:", "somebody:");
    for told in refusals(&config(url, Some(ca_file.clone()))).await {
        assert!(told.contains("28P01"), "{told}");
    }
    let url = server.url("-", "require");
    for told in refusals(&config(url, Some(ca_file))).await {
        assert!(told.contains("no name or address"), "{told}");
    }
}

/// Whoever asks for encryption never goes without it unawares.
#[tokio::test]
async fn a_server_without_encryption_is_refused_where_it_is_required() {
    let place = Place::new().await;
    for sslmode in ["require", "verify-full"] {
        let mut config = place.config.clone();
        let sign = if config.url.contains('?') { '&' } else { '?' };
        config.url = format!("{}{sign}sslmode={sslmode}", config.url);
        for told in refusals(&config).await {
            assert!(told.contains("server does not support TLS"), "{told}");
        }
    }
}
