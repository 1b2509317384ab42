//! The file that remembers which servers were started here.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::server::Server;
use crate::workspace::Workspace;

/// The servers that were started and not yet stopped.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// In the order in which they were started.
    pub(crate) servers: Vec<Server>,
    #[serde(skip)]
    file: PathBuf,
}

impl State {
    /// Reads the file; no file means no server.
    pub(crate) fn load(workspace: &Workspace) -> anyhow::Result<Self> {
        Self::read(workspace.target.join("services/state.json"))
    }

    fn read(file: PathBuf) -> anyhow::Result<Self> {
        if !file.exists() {
            return Ok(Self {
                servers: Vec::new(),
                file,
            });
        }
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let mut state: Self =
            serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
        state.file = file;
        Ok(state)
    }

    /// Remembers a server.
    pub(crate) fn add(&mut self, server: Server) -> anyhow::Result<()> {
        self.servers.push(server);
        self.write()
    }

    /// Forgets a server.
    pub(crate) fn remove(&mut self, server: &Server) -> anyhow::Result<()> {
        self.servers.retain(|other| other != server);
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let folder = self.file.parent().context("the state file has no folder")?;
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        // A reader sees the old file or the new one.
        let fresh = self.file.with_extension("json.new");
        fs::write(&fresh, serde_json::to_string_pretty(self)?)
            .and_then(|()| fs::rename(&fresh, &self.file))
            .with_context(|| format!("writing {}", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use crate::services::Kind;
    use crate::services::server::Server;

    #[test]
    fn what_is_added_is_read_back_until_removed() {
        let folder = std::env::temp_dir().join(format!("xtask-state-{}", std::process::id()));
        let file = folder.join("state.json");
        let server = Server {
            kind: Kind::Redis,
            pid: 7,
            started: 99,
            url: "redis://127.0.0.1:1".to_owned(),
            folder: folder.join("data"),
        };
        State::read(file.clone()).unwrap().add(server.clone()).unwrap();
        let mut state = State::read(file.clone()).unwrap();
        assert_eq!(state.servers, std::slice::from_ref(&server));
        state.remove(&server).unwrap();
        assert_eq!(State::read(file).unwrap().servers, []);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
