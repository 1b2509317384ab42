//! `arbiter agent`.

use arbiter_core::model::{AgentId, InvalidId};
use arbiter_wire::http::AgentModeWord;
use serde_json::json;

use crate::cli::{AgentCommand, AgentOperate, AgentPerformanceArgs};
use crate::exit::Failure;
use crate::reach::Reach;
use crate::{output, view};

/// Runs an agent command other than `run`.
pub(crate) async fn run(reach: &Reach, command: AgentCommand, json: bool) -> Result<(), Failure> {
    match command {
        AgentCommand::List => {
            let agents = reach.agents().await?;
            if json {
                output::json(&json!({"agents": agents}));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = agents.iter().map(view::agent_row).collect();
            output::table(
                &["ID", "NAME", "MODE", "HEALTH", "TRANSPORT", "SLOTS", "KINDS"],
                &rows,
            );
            Ok(())
        }
        AgentCommand::Get { id } => {
            let agent = reach.agent(agent_id(&id)?).await?;
            output::object(&json!(agent), json)
        }
        AgentCommand::Performance(asked) => performance(reach, asked, json).await,
        AgentCommand::Drain(operate) => set(reach, operate, AgentModeWord::Draining, json).await,
        AgentCommand::Quarantine(operate) => set(reach, operate, AgentModeWord::Quarantined, json).await,
        AgentCommand::Activate(operate) => set(reach, operate, AgentModeWord::Active, json).await,
        // Handled before anything is opened.
        AgentCommand::Run(_) => Ok(()),
    }
}

async fn performance(reach: &Reach, asked: AgentPerformanceArgs, json: bool) -> Result<(), Failure> {
    let id = agent_id(&asked.id)?;
    let span = (asked.from, asked.to);
    let told = reach.agent_performance(id, asked.kind.as_deref(), span).await?;
    if json {
        output::json(&json!(told));
        return Ok(());
    }
    let all = told.kinds.iter().map(view::kind_row).collect::<Vec<_>>();
    let part = told
        .period
        .iter()
        .flat_map(|period| period.kinds.iter().map(view::period_row));
    let rows: Vec<Vec<String>> = all.into_iter().chain(part).collect();
    output::table(
        &[
            "KIND",
            "SPAN",
            "ATTEMPTS",
            "SUCCEEDED",
            "SECONDS EACH",
            "COST EACH",
        ],
        &rows,
    );
    Ok(())
}

async fn set(reach: &Reach, operate: AgentOperate, mode: AgentModeWord, json: bool) -> Result<(), Failure> {
    let id = agent_id(&operate.id)?;
    reach.set_mode(id, mode, operate.reason).await?;
    if json {
        output::json(&json!({"id": id.to_string(), "mode": mode}));
    } else {
        let shown = match mode {
            AgentModeWord::Active => "active",
            AgentModeWord::Draining => "draining",
            AgentModeWord::Quarantined => "quarantined",
        };
        output::line(&format!("{id} is {shown} now"));
    }
    Ok(())
}

fn agent_id(text: &str) -> Result<AgentId, Failure> {
    text.parse()
        .map_err(|error: InvalidId| Failure::usage(error.to_string()))
}
