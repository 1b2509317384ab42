//! Private servers for the contract suites: PostgreSQL and Redis on free loopback ports.
//!
//! A URL in `ARBITER_TEST_POSTGRES_URL` or `ARBITER_TEST_REDIS_URL` is used as it is. Servers that
//! this package starts are written down in `target/services/state.json`, with the start time of the
//! process, so that no other process with the same number is ever taken for ours.

pub(crate) mod postgres;
mod redis;
mod server;
mod state;

use std::env;
use std::fmt;

use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::workspace::Workspace;
use server::Server;
pub(crate) use server::random_word;
use state::State;

/// What to do with the servers.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Start the servers that the present suites need, or those named
    Up {
        /// Servers to start although no suite needs them
        kinds: Vec<Kind>,
    },
    /// Stop the servers that were started here
    Down,
    /// List the servers that were started here
    Status,
}

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// PostgreSQL
    Postgres,
    /// Redis
    Redis,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Postgres, Self::Redis];

    /// The crate whose suites need this server.
    fn adapter(self) -> &'static str {
        match self {
            Self::Postgres => "arbiter-adapter-postgres",
            Self::Redis => "arbiter-adapter-redis",
        }
    }

    /// The variable in which tests expect its URL.
    fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "ARBITER_TEST_POSTGRES_URL",
            Self::Redis => "ARBITER_TEST_REDIS_URL",
        }
    }

    /// What tests are told besides, once the server is there.
    fn further_variables(self, state: &State) -> anyhow::Result<Vec<(&'static str, String)>> {
        match self {
            Self::Postgres => {
                let server = state.servers.iter().find(|server| server.kind == self);
                Ok(vec![postgres::for_tests(server)?])
            }
            Self::Redis => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        })
    }
}

/// Runs one action.
pub(crate) fn run(workspace: &Workspace, action: Action) -> anyhow::Result<()> {
    match action {
        Action::Up { kinds } => {
            let kinds = if kinds.is_empty() {
                needed(workspace)
            } else {
                kinds
            };
            let mut state = State::load(workspace)?;
            for kind in &kinds {
                let (url, note) = provide(workspace, *kind, &mut state)?;
                println!("{note}\n{}={url}", kind.variable());
                for (name, value) in kind.further_variables(&state)? {
                    println!("{name}={value}");
                }
            }
            if kinds.is_empty() {
                println!("nothing to start: no suite of this workspace needs a server");
            }
            Ok(())
        }
        Action::Down => {
            let mut state = State::load(workspace)?;
            for server in state.servers.clone() {
                server.stop()?;
                state.remove(&server)?;
                println!("stopped  {}", server.kind);
            }
            Ok(())
        }
        Action::Status => {
            for server in &State::load(workspace)?.servers {
                let word = if server.is_running() { "running" } else { "gone" };
                println!("{word:<8} {} (pid {}) {}", server.kind, server.pid, server.url);
            }
            Ok(())
        }
    }
}

/// The servers of one test run; it stops those that it started.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    started: Vec<Server>,
    variables: Vec<(&'static str, String)>,
    notes: Vec<String>,
}

impl Session {
    /// Provides what the suites of the workspace need.
    ///
    /// # Errors
    /// When a server cannot be had. Those that were already started are stopped again.
    pub(crate) fn start(workspace: &Workspace) -> anyhow::Result<Self> {
        let state = State::load(workspace)?;
        let mut session = Self {
            state,
            started: Vec::new(),
            variables: Vec::new(),
            notes: Vec::new(),
        };
        for kind in needed(workspace) {
            let before = session.state.servers.clone();
            let provided = provide(workspace, kind, &mut session.state).and_then(|(url, note)| {
                let mut variables = kind.further_variables(&session.state)?;
                variables.push((kind.variable(), url));
                Ok((variables, note))
            });
            let new = session
                .state
                .servers
                .iter()
                .filter(|server| !before.contains(server));
            session.started.extend(new.cloned());
            match provided {
                Ok((variables, note)) => {
                    session.variables.extend(variables);
                    session.notes.push(note);
                }
                Err(error) => {
                    session.stop()?;
                    return Err(error);
                }
            }
        }
        if session.notes.is_empty() {
            session
                .notes
                .push("started  no server: no suite of this workspace needs one".to_owned());
        }
        Ok(session)
    }

    /// What was found and started, one line each.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The variables that tests read.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        self.variables.clone()
    }

    /// Stops what this session started.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        for server in &self.started {
            server.stop()?;
            self.state.remove(server)?;
        }
        Ok(())
    }
}

/// The servers whose adapter crate exists.
pub(crate) fn needed(workspace: &Workspace) -> Vec<Kind> {
    Kind::ALL
        .into_iter()
        .filter(|kind| workspace.has(kind.adapter()))
        .collect()
}

/// The URL of a server of this kind, and how it came about: given, running, or started now.
fn provide(workspace: &Workspace, kind: Kind, state: &mut State) -> anyhow::Result<(String, String)> {
    if let Ok(url) = env::var(kind.variable()) {
        return Ok((url, format!("found    {kind} (given by {})", kind.variable())));
    }
    for server in state
        .servers
        .clone()
        .into_iter()
        .filter(|server| server.kind == kind)
    {
        if server.is_running() {
            let note = format!("found    {kind} (pid {}, started earlier)", server.pid);
            return Ok((server.url, note));
        }
        server.stop()?;
        state.remove(&server)?;
    }
    let server = match kind {
        Kind::Postgres => postgres::start(workspace)?,
        Kind::Redis => redis::start(workspace)?,
    };
    let note = format!(
        "started  {kind} (pid {}, data in {})",
        server.pid,
        server.folder.display()
    );
    let url = server.url.clone();
    state.add(server)?;
    Ok((url, note))
}
