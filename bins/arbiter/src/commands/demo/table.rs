//! The live table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arbiter_client::{Client, ClientError};
use arbiter_wire::http::TaskView;

use crate::output;

/// Draws tasks over the table before.
pub(super) struct Table {
    /// Names of agents by id.
    names: BTreeMap<String, String>,
    /// Who had a task last.
    last: BTreeMap<String, String>,
    lines: usize,
}

impl Table {
    pub(super) async fn new(client: &Client) -> Result<Self, ClientError> {
        let agents = client.agent_list(None, None).await?.agents;
        Ok(Self {
            names: agents.into_iter().map(|agent| (agent.id, agent.name)).collect(),
            last: BTreeMap::new(),
            lines: 0,
        })
    }

    pub(super) async fn draw(&mut self, client: &Client, tasks: &[TaskView]) -> Result<(), ClientError> {
        let mut text = String::new();
        if self.lines > 0 {
            let _always = write!(text, "\u{1b}[{}A\u{1b}[J", self.lines);
        }
        let _always = writeln!(
            text,
            "{:<36} {:<10} {:<9} {:<10}",
            "TASK", "STATE", "ATTEMPTS", "AGENT"
        );
        for task in tasks {
            let agent = self.agent(client, task).await?;
            let name = self.names.get(&agent).map_or("", String::as_str);
            let _always = writeln!(
                text,
                "{:<36} {:<10} {:<9} {name:<10}",
                task.title, task.state, task.attempts
            );
        }
        output::error_line(text.trim_end());
        self.lines = tasks.len() + 1;
        Ok(())
    }

    /// Who has a task, or had it last.
    async fn agent(&mut self, client: &Client, task: &TaskView) -> Result<String, ClientError> {
        if let Some(agent) = &task.agent {
            self.last.insert(task.id.clone(), agent.clone());
            return Ok(agent.clone());
        }
        if let Some(agent) = self.last.get(&task.id) {
            return Ok(agent.clone());
        }
        let Ok(id) = task.id.parse() else {
            return Ok(String::new());
        };
        let attempts = client.task_attempts(id).await?.attempts;
        let Some(agent) = attempts.into_iter().next_back().map(|attempt| attempt.agent) else {
            return Ok(String::new());
        };
        self.last.insert(task.id.clone(), agent.clone());
        Ok(agent)
    }
}
