//! `arbiter principal`.

use std::collections::BTreeSet;

use arbiter_core::model::{Band, PrincipalId, PrincipalKind, Role};
use arbiter_queue::{KnownPrincipal, NewPrincipal, PrincipalChange};
use serde_json::{Value, json};

use crate::access;
use crate::app::App;
use crate::cli::PrincipalCommand;
use crate::exit::Failure;
use crate::output;

/// Runs a principal command as the local operator.
pub(crate) async fn run(app: &App, command: PrincipalCommand, json: bool) -> Result<(), Failure> {
    let (directory, by) = (access::directory(app), &app.operator);
    let known = match command {
        PrincipalCommand::List { limit, after } => {
            let after = after.as_deref().map(principal_id).transpose()?;
            let found = directory.list(by, by.tenant, after, usize::from(limit)).await?;
            show_list(&found, usize::from(limit), json);
            return Ok(());
        }
        PrincipalCommand::Get { id } => directory.get(by, by.tenant, principal_id(&id)?).await?,
        PrincipalCommand::Create {
            name,
            kind,
            role,
            agent,
            highest_band,
        } => {
            let agent = agent.map(|text| text.parse()).transpose();
            let agent =
                agent.map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))?;
            let new = NewPrincipal {
                name,
                kind: kind_of(&kind)?,
                roles: roles(&role)?,
                agent,
                kinds: None,
                highest_band: band(highest_band)?,
            };
            directory.create(by, by.tenant, new).await?
        }
        PrincipalCommand::Update {
            id,
            name,
            role,
            highest_band,
            disable,
            enable,
            if_revision,
        } => {
            let change = PrincipalChange {
                name,
                roles: (!role.is_empty()).then(|| roles(&role)).transpose()?,
                kinds: None,
                highest_band: highest_band.map(band).transpose()?,
                disabled: (disable || enable).then_some(disable),
            };
            let id = principal_id(&id)?;
            directory.update(by, by.tenant, id, if_revision, change).await?
        }
    };
    show(&known, json);
    Ok(())
}

fn principal_id(text: &str) -> Result<PrincipalId, Failure> {
    text.parse()
        .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))
}

fn kind_of(word: &str) -> Result<PrincipalKind, Failure> {
    PrincipalKind::from_word(word)
        .ok_or_else(|| Failure::usage(format!("`{word}` is no kind; the kinds are user, agent, service")))
}

fn roles(words: &[String]) -> Result<BTreeSet<Role>, Failure> {
    let role = |word: &String| {
        Role::from_word(word).ok_or_else(|| {
            let known: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
            Failure::usage(format!("`{word}` is no role; the roles are {}", known.join(", ")))
        })
    };
    words.iter().map(role).collect()
}

fn band(number: u8) -> Result<Band, Failure> {
    Band::new(number).map_err(|error| Failure::usage(error.to_string()))
}

fn role_words(known: &KnownPrincipal) -> Vec<&'static str> {
    known.principal.roles.iter().map(|role| role.word()).collect()
}

fn told(known: &KnownPrincipal) -> Value {
    let principal = &known.principal;
    json!({
        "id": principal.id.to_string(),
        "tenant": principal.tenant.to_string(),
        "name": known.name,
        "kind": principal.kind.word(),
        "roles": role_words(known),
        "agent": principal.agent.map(|agent| agent.to_string()),
        "kinds": principal.kinds.as_ref().map(|kinds| kinds.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "highest_band": principal.highest_band.get(),
        "disabled_at": known.disabled_at.map(|at| at.to_string()),
        "created_at": known.created_at.map(|at| at.to_string()),
        "created_by": known.created_by.map(|by| by.to_string()),
        "revision": known.revision,
    })
}

fn row(known: &KnownPrincipal) -> Vec<String> {
    let state = if known.disabled_at.is_some() {
        "disabled"
    } else {
        "enabled"
    };
    vec![
        known.principal.id.to_string(),
        known.name.clone(),
        known.principal.kind.word().to_owned(),
        role_words(known).join(","),
        state.to_owned(),
    ]
}

const COLUMNS: [&str; 5] = ["ID", "NAME", "KIND", "ROLES", "STATE"];

fn show(known: &KnownPrincipal, json: bool) {
    if json {
        output::json(&told(known));
        return;
    }
    output::table(&COLUMNS, &[row(known)]);
    if let Some(agent) = known.principal.agent {
        output::line(&format!("agent {agent}"));
    }
}

fn show_list(found: &[KnownPrincipal], limit: usize, json: bool) {
    let next = found.last().filter(|_| found.len() >= limit);
    let next = next.map(|known| known.principal.id.to_string());
    if json {
        let principals: Vec<Value> = found.iter().map(told).collect();
        output::json(&json!({"principals": principals, "next": next}));
        return;
    }
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    output::table(&COLUMNS, &rows);
    if let Some(next) = next {
        output::error_line(&format!("there may be more: --after {next}"));
    }
}
