//! `arbiter principal`.

use std::collections::BTreeSet;

use arbiter_api::view;
use arbiter_core::model::{Band, PrincipalId, PrincipalKind, Role};
use arbiter_queue::{NewPrincipal, PrincipalChange};
use arbiter_wire::http::{PrincipalChangeForm, PrincipalForm, PrincipalKindWord, PrincipalView, RoleWord};
use serde_json::{Value, json};

use crate::access;
use crate::cli::PrincipalCommand;
use crate::exit::Failure;
use crate::output;
use crate::reach::Reach;

/// Runs a principal command.
pub(crate) async fn run(reach: &Reach, command: PrincipalCommand, json: bool) -> Result<(), Failure> {
    let shown = match command {
        PrincipalCommand::List { limit, after } => {
            let (found, next) = list(reach, after, usize::from(limit)).await?;
            show_list(&found, next.as_deref(), json);
            return Ok(());
        }
        PrincipalCommand::Get { id } => {
            let id = principal_id(&id)?;
            match reach {
                Reach::Store(app) => {
                    let by = &app.operator;
                    view::principal(&access::directory(app).get(by, by.tenant, id).await?)
                }
                Reach::Server(client) => client.principal_get(None, id).await?,
            }
        }
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
            create(reach, new).await?
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
            update(reach, principal_id(&id)?, if_revision, change).await?
        }
    };
    show(&shown, json);
    Ok(())
}

async fn list(
    reach: &Reach,
    after: Option<String>,
    limit: usize,
) -> Result<(Vec<PrincipalView>, Option<String>), Failure> {
    match reach {
        Reach::Store(app) => {
            let after = after.as_deref().map(principal_id).transpose()?;
            let by = &app.operator;
            let found = access::directory(app).list(by, by.tenant, after, limit).await?;
            let next = found.last().filter(|_| found.len() >= limit);
            let next = next.map(|known| known.principal.id.to_string());
            Ok((found.iter().map(view::principal).collect(), next))
        }
        Reach::Server(client) => {
            let page = client.principal_list(None, after, Some(limit)).await?;
            Ok((page.principals, page.next))
        }
    }
}

async fn create(reach: &Reach, new: NewPrincipal) -> Result<PrincipalView, Failure> {
    match reach {
        Reach::Store(app) => {
            let by = &app.operator;
            let made = access::directory(app).create(by, by.tenant, new, None).await?;
            Ok(view::principal(&made.record))
        }
        Reach::Server(client) => {
            let form = PrincipalForm {
                name: new.name,
                kind: match new.kind {
                    PrincipalKind::User => PrincipalKindWord::User,
                    PrincipalKind::Agent => PrincipalKindWord::Agent,
                    PrincipalKind::Service => PrincipalKindWord::Service,
                },
                roles: new.roles.into_iter().map(role_word).collect(),
                agent: new.agent.map(|agent| agent.to_string()),
                kinds: None,
                highest_band: new.highest_band.get(),
            };
            Ok(client.principal_create(None, &form, None).await?.0)
        }
    }
}

async fn update(
    reach: &Reach,
    id: PrincipalId,
    if_revision: Option<u64>,
    change: PrincipalChange,
) -> Result<PrincipalView, Failure> {
    match reach {
        Reach::Store(app) => {
            let by = &app.operator;
            let directory = access::directory(app);
            let changed = directory.update(by, by.tenant, id, if_revision, change);
            Ok(view::principal(&changed.await?))
        }
        Reach::Server(client) => {
            let form = PrincipalChangeForm {
                name: change.name,
                roles: change
                    .roles
                    .map(|roles| roles.into_iter().map(role_word).collect()),
                kinds: None,
                all_kinds: false,
                highest_band: change.highest_band.map(Band::get),
                disabled: change.disabled,
            };
            Ok(client.principal_update(None, id, if_revision, &form).await?)
        }
    }
}

/// A role as it is written.
pub(super) const fn role_word(role: Role) -> RoleWord {
    match role {
        Role::Submitter => RoleWord::Submitter,
        Role::Agent => RoleWord::Agent,
        Role::Reviewer => RoleWord::Reviewer,
        Role::Operator => RoleWord::Operator,
        Role::Auditor => RoleWord::Auditor,
        Role::Admin => RoleWord::Admin,
        Role::Peer => RoleWord::Peer,
    }
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

fn told(known: &PrincipalView) -> Value {
    json!({
        "id": known.id,
        "tenant": known.tenant,
        "name": known.name,
        "kind": known.kind,
        "roles": known.roles,
        "agent": known.agent,
        "kinds": known.kinds,
        "highest_band": known.highest_band,
        "disabled_at": known.disabled_at,
        "created_at": known.created_at,
        "created_by": known.created_by,
        "revision": known.revision,
    })
}

fn row(known: &PrincipalView) -> Vec<String> {
    let state = if known.disabled_at.is_some() {
        "disabled"
    } else {
        "enabled"
    };
    let word = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let roles: Vec<String> = known.roles.iter().map(|role| word(json!(role))).collect();
    vec![
        known.id.clone(),
        known.name.clone(),
        word(json!(known.kind)),
        roles.join(","),
        state.to_owned(),
    ]
}

const COLUMNS: [&str; 5] = ["ID", "NAME", "KIND", "ROLES", "STATE"];

fn show(known: &PrincipalView, json: bool) {
    if json {
        output::json(&told(known));
        return;
    }
    output::table(&COLUMNS, &[row(known)]);
    if let Some(agent) = &known.agent {
        output::line(&format!("agent {agent}"));
    }
}

fn show_list(found: &[PrincipalView], next: Option<&str>, json: bool) {
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
