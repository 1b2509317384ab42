//! Who plays in the demo, and what: agents that are this program and `sh`, over real documents that are compiled in.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{AgentCost, AgentProfile, Capabilities, SecurityLevel, TaskKind, Transport};
use arbiter_wire::task::TaskForm;

use crate::app::App;
use crate::batch::AgentEntry;
use crate::bootstrap::DEFAULT_TENANT;
use crate::exit::Failure;

/// Real input.
const DOCUMENTS: [(&str, &str); 4] = [
    ("README.md", include_str!("../../../../../README.md")),
    ("CONTRIBUTING.md", include_str!("../../../../../CONTRIBUTING.md")),
    (
        "architecture.md",
        include_str!("../../../../../docs/architecture.md"),
    ),
    ("LICENSE-MIT", include_str!("../../../../../LICENSE-MIT")),
];
/// Says which kernel this is, as an exec agent.
const KERNEL: &str = "cat >/dev/null; printf '{\"version\":1,\"outcome\":\"succeeded\",\"output\":{\"kernel\":\"%s\"}}' \"$(uname -s)\"";

/// The agents and tasks of one seed.
pub(super) struct Cast {
    program: String,
    /// The documents in the order in which they are submitted.
    order: Vec<usize>,
    /// Those on which the crashing agent crashes, by name.
    crashes: BTreeSet<&'static str>,
}

/// A task, with the document that it is about.
pub(super) struct Scene {
    pub(super) form: TaskForm,
    pub(super) document: Option<(&'static str, &'static str)>,
}

impl Cast {
    /// The seed says in which order documents come, and on which of them an agent crashes: on one at least, and not on
    /// all.
    pub(super) fn of(seed: u64, program: &str) -> Self {
        let count = DOCUMENTS.len();
        let mut order: Vec<usize> = (0..count).collect();
        let mut rest = seed;
        for place in (1..count).rev() {
            let choices = place as u64 + 1;
            order.swap(place, (rest % choices) as usize);
            rest /= choices;
        }
        let crashing = 1 + (rest % (count as u64 - 1)) as usize;
        let crashes = order.iter().take(crashing).map(|place| DOCUMENTS[*place].0);
        Self {
            program: program.to_owned(),
            crashes: crashes.collect(),
            order,
        }
    }

    pub(super) fn entries(&self, app: &App) -> Result<Vec<AgentEntry>, Failure> {
        let mut crashing = vec![self.program.clone(), "__demo-agent".into()];
        for name in &self.crashes {
            crashing.push("--crash-on".into());
            crashing.push((*name).into());
        }
        let honest = vec![self.program.clone(), "__demo-agent".into()];
        let shell = vec!["sh".into(), "-c".into(), KERNEL.into()];
        [
            ("honest", "analysis", honest),
            ("crashing", "testing", crashing),
            ("shell", "script-execution", shell),
        ]
        .into_iter()
        .map(|(name, kind, command)| entry(app, name, kind, command))
        .collect()
    }

    /// Each document for the honest agent and for the crashing one, and one task for the shell.
    pub(super) fn tasks(&self) -> Vec<Scene> {
        let mut scenes = Vec::new();
        for (name, text) in self.order.iter().map(|place| DOCUMENTS[*place]) {
            for kind in ["analysis", "testing"] {
                let title = format!("Count the words of {name}");
                scenes.push(Scene {
                    form: TaskForm::new(kind, &title, "Count words, lines, bytes."),
                    document: Some(("document", text)),
                });
            }
        }
        scenes.push(Scene {
            form: TaskForm::new("script-execution", "Say which kernel this is", "Run uname."),
            document: None,
        });
        scenes
    }
}

fn entry(app: &App, name: &str, kind: &str, command: Vec<String>) -> Result<AgentEntry, Failure> {
    let kind = TaskKind::new(kind).map_err(|error| Failure::internal("the demo's own task", error))?;
    Ok(AgentEntry {
        profile: AgentProfile {
            id: app.ids.agent(),
            tenant: Some(DEFAULT_TENANT),
            name: name.to_owned(),
            model_family: "none".to_owned(),
            model_version: None,
            capabilities: Capabilities {
                kinds: [kind].into(),
                ..Capabilities::default()
            },
            transport: Transport::Exec,
            slots: 2,
            clearance: SecurityLevel::Internal,
            cost: AgentCost::default(),
            labels: BTreeMap::new(),
        },
        command,
        env: Vec::new(),
        memory_bytes: None,
        output_bytes: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_change_order_and_crashes_and_some_crash_in_each() {
        let casts: Vec<Cast> = (0..200).map(|seed| Cast::of(seed, "arbiter")).collect();
        let kinds: BTreeSet<_> = casts
            .iter()
            .map(|cast| (cast.order.clone(), cast.crashes.clone()))
            .collect();
        assert_eq!(kinds.len(), 72, "24 orders, three counts of crashes");
        assert!(casts.iter().all(|cast| (1..4).contains(&cast.crashes.len())));
        assert_eq!(casts[7].order, Cast::of(7, "other").order, "a seed replays");
    }
}
