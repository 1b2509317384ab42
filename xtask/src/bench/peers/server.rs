//! The PostgreSQL that all sides use: its programs, version and settings.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::shell;

const URL: &str = "ARBITER_TEST_POSTGRES_URL";
const PROGRAMS: &str = "ARBITER_TEST_POSTGRES_PROGRAMS";
/// Schemas that the sides make and remove, whatever is in them.
const SCHEMAS: [&str; 4] = ["apalis", "peer_graphile", "peer_pg_boss", super::raw::SCHEMA];
/// What decides how much a commit costs, and how much the server may keep in memory.
const SETTINGS: [&str; 6] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
];

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    programs: Option<PathBuf>,
    /// Names and values of the settings that matter here.
    pub(crate) settings: Vec<(String, String)>,
}

impl Server {
    /// Finds the server and its programs in what tests find in their environment, and asks for its settings.
    ///
    /// # Errors
    /// When `psql` is missing or the server does not answer.
    pub(crate) fn find(variables: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let value = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
        };
        let mut server = Self {
            url: value(URL).with_context(|| format!("no server in {URL}"))?,
            programs: value(PROGRAMS).map(PathBuf::from),
            settings: Vec::new(),
        };
        let names = SETTINGS.map(|name| format!("'{name}'")).join(", ");
        let order = SETTINGS.join(",");
        let rows = server.ask(&format!(
            "SELECT name || '=' || current_setting(name) FROM pg_settings WHERE name IN ({names}) \
             ORDER BY array_position(string_to_array('{order}', ','), name)"
        ))?;
        for row in rows {
            let (name, value) = row.split_once('=').context("a setting without a value")?;
            server.settings.push((name.to_owned(), value.to_owned()));
        }
        Ok(server)
    }

    /// Checks that commits are durable and that no side would remove what is not its own.
    ///
    /// # Errors
    /// When not; the message says what to change.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        not_durable(&self.settings)?;
        let names = SCHEMAS.map(|name| format!("'{name}'")).join(", ");
        let sql = format!("SELECT nspname FROM pg_namespace WHERE nspname IN ({names}) ORDER BY 1");
        if let Some(name) = self.ask(&sql)?.first() {
            bail!(
                "the database has a schema `{name}`, which this bench would remove; use an empty database, or \
                 remove what an earlier run left behind with `DROP SCHEMA {name} CASCADE`"
            );
        }
        Ok(())
    }

    /// The rows of a statement's answer.
    ///
    /// # Errors
    /// When `psql` is missing or the statement fails.
    pub(crate) fn ask(&self, sql: &str) -> anyhow::Result<Vec<String>> {
        let mut ask = Command::new(self.program("psql")?);
        ask.env("PGOPTIONS", "-c client_min_messages=error")
            .args(["-Atqw", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg(&self.url);
        let text = shell::output(&mut ask)?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// A command that runs `pgbench` against the server.
    ///
    /// # Errors
    /// When it is missing.
    pub(crate) fn pgbench(&self) -> anyhow::Result<Command> {
        Ok(Command::new(self.program("pgbench")?))
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn program(&self, name: &str) -> anyhow::Result<PathBuf> {
        let beside = self.programs.as_ref().map(|folder| folder.join(name));
        let found = beside.filter(|path| path.is_file());
        found.or_else(|| shell::find_program(name)).with_context(|| {
            format!(
                "{name} is missing; install it with `apt-get install postgresql postgresql-client`, or name the folder \
                 of the server's programs in {PROGRAMS}"
            )
        })
    }
}

/// Finds a setting under which a commit is told of before it is on the disk.
fn not_durable(settings: &[(String, String)]) -> anyhow::Result<()> {
    for name in ["fsync", "synchronous_commit"] {
        let value = settings.iter().find(|(known, _)| known == name);
        let (_, value) = value.with_context(|| format!("the server does not tell its `{name}`"))?;
        ensure!(
            value != "off",
            "the server has `{name} = off`: its commits are not durable, and rates say nothing; turn it on"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::not_durable;

    #[test]
    fn a_server_that_forgets_is_refused() {
        let with = |fsync: &str, commit: &str| {
            not_durable(&[
                ("fsync".to_owned(), fsync.to_owned()),
                ("synchronous_commit".to_owned(), commit.to_owned()),
            ])
        };
        assert!(with("on", "on").is_ok());
        assert!(with("on", "local").is_ok());
        let error = with("off", "on").unwrap_err().to_string();
        assert!(error.contains("`fsync = off`"), "{error}");
        let error = with("on", "off").unwrap_err().to_string();
        assert!(error.contains("`synchronous_commit = off`"), "{error}");
        assert!(not_durable(&[]).is_err());
    }
}
