//! Settings of the store.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where the server is, and how it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// The server, the database and the engine's login: `postgres://user:password@host:port/database`.
    ///
    /// The engine owns the schema; it makes and migrates the tables.
    ///
    /// `?sslmode=` says whether the connection is encrypted: `disable`, `prefer` (when the server offers it; this is
    /// what none says), or `require` and `verify-full`, which are the same. Whoever is encrypted is verified.
    pub url: String,
    /// The login of readers, when it is not the engine's own.
    pub reader_url: Option<String>,
    /// The authorities (PEM) of which the server's certificate must be; without it the public ones.
    pub ca_file: Option<PathBuf>,
    /// The role that readers have: one that owns nothing and is under row-level security. The login of readers must be
    /// this role or a member of it; `arbiter_reader`.
    pub reader_role: String,
    /// The schema that holds the tables; `arbiter`.
    pub schema: String,
    /// What the server's own views call the connections; `arbiter`.
    pub application_name: String,
    /// How many connections write, and read for all tenants; 8.
    pub engine_connections: usize,
    /// How many connections read for one tenant; 4.
    pub reader_connections: usize,
    /// How long a connection may take to be made; 5 s.
    pub connect_timeout: Duration,
    /// How long a call waits for a free connection before it is told that the store is busy; 5 s.
    pub wait_timeout: Duration,
    /// How long a statement may take; 10 s.
    pub statement_timeout: Duration,
    /// How long a statement waits for a lock of another one; 5 s.
    pub lock_timeout: Duration,
    /// How many agents the registry takes; 10 000.
    pub max_agents: usize,
    /// How many series of measurements there is room for; 20 000.
    pub max_series: usize,
}

impl PostgresConfig {
    /// The default settings for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            reader_url: None,
            ca_file: None,
            reader_role: "arbiter_reader".to_owned(),
            schema: "arbiter".to_owned(),
            application_name: "arbiter".to_owned(),
            engine_connections: 8,
            reader_connections: 4,
            connect_timeout: Duration::from_secs(5),
            wait_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            max_agents: 10_000,
            max_series: 20_000,
        }
    }
}

/// Shows no URL: they carry passwords.
impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("ca_file", &self.ca_file)
            .field("reader_role", &self.reader_role)
            .field("schema", &self.schema)
            .field("engine_connections", &self.engine_connections)
            .field("reader_connections", &self.reader_connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let config = PostgresConfig::new("postgres://a:sesame@localhost/b");
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
