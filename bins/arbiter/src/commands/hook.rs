//! `arbiter hook`.

use std::collections::BTreeSet;
use std::path::Path;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{HookId, InvalidId, OutboxId, TaskKind};
use arbiter_queue::hooks::{HookChange, HookEvent, NewHook};
use arbiter_wire::http::{DeliveryView, HookEventWord, HookSecretView, HookView};
use serde_json::{Value, json};

use crate::cli::{EventWord, HookCommand, HookUpdate, WhichHook};
use crate::exit::Failure;
use crate::reach::Reach;
use crate::{bootstrap, output};

/// Runs a hook command.
pub(crate) async fn run(reach: &Reach, command: HookCommand, json: bool) -> Result<(), Failure> {
    match command {
        HookCommand::List => show_list(&reach.hooks().await?, json),
        HookCommand::Get { id } => output::object(&json!(reach.hook(hook_id(&id)?).await?), json)?,
        HookCommand::Create {
            url,
            event,
            kind,
            output,
        } => {
            let new = NewHook {
                url: address(url)?,
                events: events(&event),
                kinds: (!kind.is_empty()).then(|| kinds(&kind)).transpose()?,
            };
            is_free(output.as_deref())?;
            show_secret(&reach.create_hook(new).await?, output.as_deref(), json)?;
        }
        HookCommand::Update(arguments) => {
            let hook = update(reach, arguments).await?;
            if json {
                output::json(&json!(hook));
            } else {
                output::table(&COLUMNS, &[row(&hook)]);
            }
        }
        HookCommand::Pause(which) => told(&pause(reach, which, true).await?, "is paused", json),
        HookCommand::Resume(which) => told(&pause(reach, which, false).await?, "goes on", json),
        HookCommand::Delete(WhichHook { id, if_revision }) => {
            reach.delete_hook(hook_id(&id)?, if_revision).await?;
            if json {
                output::json(&json!({"id": id, "deleted": true}));
            } else {
                output::line(&format!("{id} is deleted with its log"));
            }
        }
        HookCommand::Rotate {
            which: WhichHook { id, if_revision },
            overlap_seconds,
            output,
        } => {
            is_free(output.as_deref())?;
            let made = reach.rotate_hook(hook_id(&id)?, if_revision, overlap_seconds);
            show_secret(&made.await?, output.as_deref(), json)?;
        }
        HookCommand::Deliveries { id } => show_log(&reach.deliveries(hook_id(&id)?).await?, json),
        HookCommand::Replay { id, delivery } => {
            let delivery: OutboxId = delivery
                .parse()
                .map_err(|error: InvalidId| Failure::usage(error.to_string()))?;
            let replayed = reach.replay_delivery(hook_id(&id)?, delivery).await?;
            if json {
                output::json(&json!(replayed));
            } else {
                output::line(&format!("{} waits for its next try", replayed.id));
            }
        }
    }
    Ok(())
}

async fn update(reach: &Reach, arguments: HookUpdate) -> Result<HookView, Failure> {
    let HookUpdate {
        which: WhichHook { id, if_revision },
        url,
        event,
        kind,
        all_kinds,
    } = arguments;
    let kinds = if all_kinds {
        Some(None)
    } else if kind.is_empty() {
        None
    } else {
        Some(Some(kinds(&kind)?))
    };
    let id = hook_id(&id)?;
    let change = HookChange {
        url: url.map(address).transpose()?,
        events: (!event.is_empty()).then(|| events(&event)),
        kinds,
        paused: None,
    };
    reach.update_hook(id, if_revision, change).await
}

async fn pause(reach: &Reach, which: WhichHook, paused: bool) -> Result<HookView, Failure> {
    let change = HookChange {
        paused: Some(paused),
        ..HookChange::default()
    };
    let id = hook_id(&which.id)?;
    reach.update_hook(id, which.if_revision, change).await
}

/// An address as it was typed, or as it stands on standard input.
fn address(typed: String) -> Result<SecretText, Failure> {
    if typed != "-" {
        return Ok(SecretText::new(typed));
    }
    let text = SecretText::new(super::run::read_input(Path::new("-"))?);
    let address = text.expose().trim();
    if address.is_empty() {
        return Err(Failure::usage(
            "standard input holds no address; write the hook's URL to it",
        ));
    }
    Ok(SecretText::new(address))
}

fn events(words: &[EventWord]) -> BTreeSet<HookEvent> {
    let event = |word: &EventWord| match word {
        EventWord::Closed => HookEvent::Closed,
        EventWord::Held => HookEvent::Held,
        EventWord::DeadLettered => HookEvent::DeadLettered,
        EventWord::ReviewNeeded => HookEvent::ReviewNeeded,
    };
    words.iter().map(event).collect()
}

fn kinds(words: &[String]) -> Result<BTreeSet<TaskKind>, Failure> {
    let kind = |word: &String| TaskKind::new(word).map_err(|error| Failure::usage(error.to_string()));
    words.iter().map(kind).collect()
}

/// Refuses a file that could not be written, before there is a secret that nobody would know.
fn is_free(file: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = file else { return Ok(()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let problem = if path.exists() {
        "is there already"
    } else if folder.is_some_and(|folder| !folder.is_dir()) {
        "is in a folder that is not there"
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!(
        "`{}` {problem}; name another file with --output",
        path.display()
    )))
}

/// Prints a secret, or writes it to a file; nobody can read it again.
fn show_secret(made: &HookSecretView, file: Option<&Path>, json: bool) -> Result<(), Failure> {
    let id = &made.hook.id;
    if let Some(path) = file {
        let secret = SecretText::new(made.secret.as_str());
        bootstrap::write_secret(path, &secret).map_err(|failure| Failure {
            message: format!(
                "{}; nobody knows the new secret of the hook {id}: make another with `arbiter hook rotate {id}`",
                failure.message
            ),
            ..failure
        })?;
    }
    let printed = file.is_none().then_some(&made.secret);
    if json {
        output::json(&json!({"hook": made.hook, "secret": printed}));
        return Ok(());
    }
    match printed {
        Some(secret) => {
            output::error_line(&format!("hook {id}; the secret is shown this once:"));
            output::line(secret);
        }
        None => output::line(id),
    }
    Ok(())
}

const COLUMNS: [&str; 4] = ["ID", "STATE", "EVENTS", "URL"];

fn show_list(hooks: &[HookView], json: bool) {
    if json {
        output::json(&json!({"hooks": hooks}));
        return;
    }
    let rows: Vec<Vec<String>> = hooks.iter().map(row).collect();
    output::table(&COLUMNS, &rows);
}

fn show_log(deliveries: &[DeliveryView], json: bool) {
    if json {
        output::json(&json!({"deliveries": deliveries}));
        return;
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

fn told(hook: &HookView, what: &str, json: bool) {
    if json {
        output::json(&json!(hook));
    } else {
        output::line(&format!("{} {what}", hook.id));
    }
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
