//! `arbiter hook`.

use arbiter_core::model::{HookId, InvalidId};
use arbiter_wire::http::{HookEventWord, HookView};
use serde_json::{Value, json};

use crate::cli::HookCommand;
use crate::exit::Failure;
use crate::output;
use crate::reach::Reach;

/// Runs a hook command.
pub(crate) async fn run(reach: &Reach, command: HookCommand, json: bool) -> Result<(), Failure> {
    match command {
        HookCommand::List => {
            let hooks = reach.hooks().await?;
            if json {
                output::json(&json!({"hooks": hooks}));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = hooks.iter().map(row).collect();
            output::table(&["ID", "STATE", "EVENTS", "URL"], &rows);
        }
        HookCommand::Get { id } => {
            let hook = reach.hook(hook_id(&id)?).await?;
            output::object(&json!(hook), json)?;
        }
        HookCommand::Deliveries { id } => {
            let deliveries = reach.deliveries(hook_id(&id)?).await?;
            if json {
                output::json(&json!({"deliveries": deliveries}));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = deliveries
                .iter()
                .map(|delivery| {
                    vec![
                        delivery.id.clone(),
                        word(delivery.event),
                        delivery.task.clone(),
                        delivery.status.clone(),
                        delivery.tries.to_string(),
                        delivery.error.clone().unwrap_or_default(),
                    ]
                })
                .collect();
            output::table(&["ID", "EVENT", "TASK", "STATUS", "TRIES", "ERROR"], &rows);
        }
    }
    Ok(())
}

fn row(hook: &HookView) -> Vec<String> {
    let state = match (&hook.disabled, hook.paused) {
        (Some(disabled), _) => format!("off ({})", disabled.reason),
        (None, true) => "paused".to_owned(),
        (None, false) => "on".to_owned(),
    };
    let events: Vec<String> = hook.events.iter().copied().map(word).collect();
    vec![hook.id.clone(), state, events.join(","), hook.url.clone()]
}

/// An event as it is written.
fn word(event: HookEventWord) -> String {
    match json!(event) {
        Value::String(word) => word,
        other => other.to_string(),
    }
}

fn hook_id(text: &str) -> Result<HookId, Failure> {
    text.parse()
        .map_err(|error: InvalidId| Failure::usage(error.to_string()))
}
