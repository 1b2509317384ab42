//! What the server itself does of the same work: the least statements by `pgbench`, nothing encoded and nobody answered.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use super::measure::{Line, Measure};
use super::server::Server;
use crate::services::random_word;
use crate::shell;

/// What this side is called.
pub(crate) const NAME: &str = "raw";
/// The schema that it makes and removes.
pub(crate) const SCHEMA: &str = "peer_raw";

const SINGLE: Clients = Clients { count: 32, batch: 1 };
const BATCHED: Clients = Clients { count: 4, batch: 100 };

/// How many clients do how much in a statement.
#[derive(Debug, Clone, Copy)]
struct Clients {
    count: usize,
    batch: usize,
}

/// The server's own limit.
#[derive(Debug)]
pub(crate) struct Raw<'a>(&'a Server);

impl<'a> Raw<'a> {
    /// Asks this server.
    pub(crate) fn new(server: &'a Server) -> Self {
        Self(server)
    }

    /// One round. `tasks` is what the others drain; more is done of what is quicker here.
    ///
    /// # Errors
    /// When `pgbench` is missing or a statement fails.
    pub(crate) fn round(&self, tasks: usize) -> anyhow::Result<Vec<Line>> {
        self.0.ask(&format!(
            "CREATE SCHEMA {SCHEMA}; CREATE TABLE {SCHEMA}.task (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
             state smallint NOT NULL DEFAULT 0, body text NOT NULL); \
             CREATE INDEX ON {SCHEMA}.task (id) WHERE state = 0"
        ))?;
        let lines = self.lines(tasks);
        self.0.ask(&format!("DROP SCHEMA {SCHEMA} CASCADE"))?;
        lines
    }

    fn lines(&self, tasks: usize) -> anyhow::Result<Vec<Line>> {
        Ok(vec![
            self.submit(Measure::SubmitSingle, SINGLE, tasks)?,
            self.submit(Measure::SubmitBatch, BATCHED, 8 * tasks)?,
            self.drain(Measure::DrainBatch, BATCHED, 4 * tasks)?,
            self.drain(Measure::DrainSingle, SINGLE, tasks / 2)?,
        ])
    }

    fn submit(&self, measure: Measure, clients: Clients, tasks: usize) -> anyhow::Result<Line> {
        self.clear()?;
        let insert = insert(clients.batch);
        let seconds = self.run(clients, tasks, &format!("{insert};\n"))?;
        self.line(measure, "true", seconds)
    }

    /// Takes and ends a backlog: a commit for each, as in the other queues.
    fn drain(&self, measure: Measure, clients: Clients, tasks: usize) -> anyhow::Result<Line> {
        self.clear()?;
        self.0.ask(&insert(tasks))?;
        self.0.ask(&format!("ANALYZE {SCHEMA}.task"))?;
        let batch = clients.batch;
        let script = format!(
            "WITH head AS MATERIALIZED (SELECT id FROM {SCHEMA}.task WHERE state = 0 ORDER BY id LIMIT {batch} \
             FOR UPDATE SKIP LOCKED), taken AS (UPDATE {SCHEMA}.task SET state = 1 FROM head \
             WHERE task.id = head.id RETURNING task.id) \
             SELECT coalesce(array_agg(id), '{{}}') AS ids FROM taken \\gset\n\
             UPDATE {SCHEMA}.task SET state = 2 WHERE id = ANY(CAST(:ids AS bigint[]));\n"
        );
        let seconds = self.run(clients, tasks, &script)?;
        self.line(measure, "state = 2", seconds)
    }

    fn clear(&self) -> anyhow::Result<()> {
        self.0.ask(&format!("TRUNCATE {SCHEMA}.task")).map(|_| ())
    }

    /// Runs a script until all clients together have done so many tasks; gives the seconds that it took.
    fn run(&self, clients: Clients, tasks: usize, script: &str) -> anyhow::Result<f64> {
        let file = Script::write(script)?;
        let each = tasks / (clients.count * clients.batch);
        let mut pgbench = self.0.pgbench()?;
        pgbench
            .args(["-n", "-M", "prepared", "-j", "2"])
            .args(["-c", &clients.count.to_string(), "-t", &each.to_string(), "-f"])
            .arg(&file.0)
            .arg(self.0.url());
        let told = shell::output(&mut pgbench)?;
        let rate = rate(&told).with_context(|| format!("no rate in what pgbench says: {told}"))?;
        Ok((each * clients.count) as f64 / rate)
    }

    /// A measurement of the rows for which something holds.
    fn line(&self, measure: Measure, holds: &str, seconds: f64) -> anyhow::Result<Line> {
        let counted = self
            .0
            .ask(&format!("SELECT count(*) FROM {SCHEMA}.task WHERE {holds}"))?;
        let tasks = counted.first().context("no count")?.parse()?;
        Ok(Line {
            measure,
            tasks,
            seconds,
        })
    }
}

/// A statement that inserts so many rows of 300 bytes.
fn insert(rows: usize) -> String {
    let body = "x".repeat(300);
    if rows == 1 {
        format!("INSERT INTO {SCHEMA}.task (body) VALUES ('{body}')")
    } else {
        format!("INSERT INTO {SCHEMA}.task (body) SELECT '{body}' FROM generate_series(1, {rows})")
    }
}

/// Transactions a second, as `pgbench` tells them.
fn rate(told: &str) -> Option<f64> {
    let line = told.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

/// A script in a file, which is removed at the end.
struct Script(PathBuf);

impl Script {
    fn write(text: &str) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("arbiter-pgbench-{}.sql", random_word()?));
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("xtask: removing {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{insert, rate};

    #[test]
    fn the_rate_of_pgbench_is_read() {
        let told = "number of failed transactions: 0 (0.000%)\nlatency average = 3.1 ms\n\
                    tps = 10234.567 (without initial connection time)\n";
        assert_eq!(rate(told), Some(10_234.567));
        assert_eq!(rate("pgbench: error: connection failed"), None);
    }

    #[test]
    fn a_row_is_inserted_by_its_values_and_many_at_once() {
        assert!(insert(1).contains("VALUES"));
        assert!(insert(100).ends_with("generate_series(1, 100)"));
    }
}
