//! `arbiter queue`.

use arbiter_core::model::{AgentId, InvalidId, TaskKind};
use arbiter_wire::http::{PauseForm, PauseView, PauseWord, QueueStatusView};
use serde_json::{Value, json};

use crate::cli::{QueueCommand, QueueTarget, Why};
use crate::exit::Failure;
use crate::output;
use crate::reach::{PauseChoice, Reach, tenant_id};

/// Runs a queue command.
pub(crate) async fn run(reach: &Reach, command: QueueCommand, json: bool) -> Result<(), Failure> {
    match command {
        QueueCommand::Status { of } => {
            let of = of.as_deref().map(tenant_id).transpose()?;
            show(&reach.queue_status(of).await?, json);
        }
        QueueCommand::Pause(target) => {
            let (what, reason) = choice(target)?;
            let form = what.form(reason.clone());
            let paused = reach.pause(what, reason).await?;
            if json {
                output::json(&told(&paused));
            } else {
                output::line(&format!("{} is paused; what runs goes on", described(&form)));
            }
        }
        QueueCommand::Resume(target) => {
            let (what, reason) = choice(target)?;
            let form = what.form(reason.clone());
            let resumed = reach.resume(what, reason).await;
            resumed.map_err(|failure| not_paused(failure, &form))?;
            if json {
                output::json(&json!({
                    "what": form.what,
                    "tenant": form.tenant,
                    "kind": form.kind,
                    "agent": form.agent,
                    "resumed": true,
                }));
            } else {
                output::line(&format!("{} goes on", described(&form)));
            }
        }
    }
    Ok(())
}

/// What is meant, and why.
fn choice(target: QueueTarget) -> Result<(PauseChoice, String), Failure> {
    let (what, Why { reason }) = match target {
        QueueTarget::All(why) => (PauseChoice::Queue, why),
        QueueTarget::Tenant { id, why } => {
            let id = id.as_deref().map(tenant_id).transpose()?;
            (PauseChoice::Tenant(id), why)
        }
        QueueTarget::Kind {
            kind,
            in_tenant,
            everywhere,
            why,
        } => {
            let kind = TaskKind::new(&kind).map_err(|error| Failure::usage(error.to_string()))?;
            let tenant = in_tenant.as_deref().map(tenant_id).transpose()?;
            let what = if everywhere {
                PauseChoice::KindEverywhere(kind)
            } else {
                PauseChoice::Kind(kind, tenant)
            };
            (what, why)
        }
        QueueTarget::Agent { id, why } => {
            let id: AgentId = id
                .parse()
                .map_err(|error: InvalidId| Failure::usage(error.to_string()))?;
            (PauseChoice::Agent(id), why)
        }
    };
    Ok((what, reason))
}

/// Nothing that is paused is found by that name.
fn not_paused(failure: Failure, form: &PauseForm) -> Failure {
    if failure.code != "not_found" {
        return failure;
    }
    let what = described(form);
    Failure {
        message: format!(
            "{what} is not paused, or not known to you; `arbiter queue status` shows what is paused"
        ),
        ..failure
    }
}

/// What is meant, for people.
fn described(form: &PauseForm) -> String {
    let (kind, agent) = (form.kind.as_deref(), form.agent.as_deref());
    match (form.what, form.tenant.as_deref()) {
        (PauseWord::Queue, _) => "the whole queue".to_owned(),
        (PauseWord::Tenant, Some(tenant)) => format!("the tenant {tenant}"),
        (PauseWord::Tenant, None) => "your tenant".to_owned(),
        (PauseWord::Kind, tenant) => {
            let place = match tenant {
                Some(tenant) => format!("the tenant {tenant}"),
                None if form.everywhere => "every tenant".to_owned(),
                None => "your tenant".to_owned(),
            };
            format!("the kind {} in {place}", kind.unwrap_or_default())
        }
        (PauseWord::Agent, _) => format!("the agent {}", agent.unwrap_or_default()),
    }
}

/// A pause as JSON. What is absent is null.
fn told(pause: &PauseView) -> Value {
    json!({
        "what": pause.what,
        "tenant": pause.tenant,
        "kind": pause.kind,
        "agent": pause.agent,
        "reason": pause.reason,
        "by": pause.by,
        "since": pause.since,
    })
}

fn row(pause: &PauseView) -> Vec<String> {
    let what = match pause.what {
        PauseWord::Queue => "the whole queue".to_owned(),
        PauseWord::Tenant => "a tenant".to_owned(),
        PauseWord::Kind => format!("the kind {}", pause.kind.as_deref().unwrap_or_default()),
        PauseWord::Agent => format!("the agent {}", pause.agent.as_deref().unwrap_or_default()),
    };
    let tenant = match (pause.what, &pause.tenant) {
        (_, Some(tenant)) => tenant.clone(),
        (PauseWord::Agent, None) => String::new(),
        (_, None) => "every".to_owned(),
    };
    vec![
        what,
        tenant,
        pause.since.clone(),
        pause.reason.clone().unwrap_or_default(),
    ]
}

fn show(status: &QueueStatusView, json: bool) {
    let tasks = &status.tasks;
    if json {
        let pauses: Vec<Value> = status.pauses.iter().map(told).collect();
        output::json(&json!({
            "tenant": status.tenant,
            "suspended": status.suspended,
            "pauses": pauses,
            "tasks": tasks,
        }));
        return;
    }
    let counts = [
        tasks.open,
        tasks.queued,
        tasks.running,
        tasks.reviewing,
        tasks.held,
        tasks.dead,
    ];
    output::table(
        &["OPEN", "QUEUED", "RUNNING", "REVIEWING", "HELD", "DEAD"],
        &[counts.iter().map(ToString::to_string).collect()],
    );
    if status.suspended {
        output::line(&format!("the tenant {} is suspended", status.tenant));
    }
    if status.pauses.is_empty() {
        output::line("nothing is paused");
        return;
    }
    let rows: Vec<Vec<String>> = status.pauses.iter().map(row).collect();
    output::table(&["PAUSED", "TENANT", "SINCE", "REASON"], &rows);
}
