//! `arbiter key`.

mod remote;

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Band, Operation, Principal, PrincipalId, PrincipalKind, Role, TaskKind};
use arbiter_queue::{KeyInfo, PrincipalRecord, roles_count_in};
use arbiter_wire::http::KeyView;
use serde_json::json;

use crate::app::App;
use crate::bootstrap;
use crate::cli::KeyCommand;
use crate::exit::Failure;
use crate::output;
use crate::reach::Reach;

/// Runs a key command.
pub(crate) async fn run(reach: &Reach, command: KeyCommand, json: bool) -> Result<(), Failure> {
    match reach {
        Reach::Store(app) => here(app, command, json).await,
        Reach::Server(client) => remote::run(client, command, json).await,
    }
}

/// As the operator of the local store.
async fn here(app: &App, command: KeyCommand, json: bool) -> Result<(), Failure> {
    match command {
        KeyCommand::Create {
            principal,
            name,
            role,
            kind,
            highest_band,
            expires_in_days,
            output,
        } => {
            app.queue.permit(&app.operator, Operation::KeyCreate).await?;
            let principal = match principal {
                Some(text) => principal_id(&text)?,
                None => {
                    let allowed = Allowed {
                        roles: &role,
                        kinds: &kind,
                        highest_band,
                    };
                    make_principal(app, name.unwrap_or_default(), allowed).await?
                }
            };
            let lifetime = expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
            let key = app
                .keys
                .create(Some(app.operator.id), app.operator.tenant, principal, lifetime)
                .await?;
            if let Some(path) = &output {
                bootstrap::write_secret(path, &key.text)?;
            }
            show_new(principal, &key.id, output.is_none().then_some(&key.text), json);
        }
        KeyCommand::List { principal } => {
            app.queue.permit(&app.operator, Operation::KeyList).await?;
            let principal = principal.map_or(Ok(app.operator.id), |text| principal_id(&text))?;
            let keys = app.keys.list(principal).await?;
            let own: Vec<KeyInfo> = keys
                .into_iter()
                .filter(|key| key.tenant == app.operator.tenant)
                .collect();
            let now = app.clock.now();
            let own: Vec<KeyView> = own.iter().map(|key| arbiter_api::view::key(key, now)).collect();
            show_list(&own, json);
        }
        KeyCommand::Revoke { id, .. } => {
            app.queue.permit(&app.operator, Operation::KeyRevoke).await?;
            let key = app
                .keys
                .revoke(Some(app.operator.id), app.operator.tenant, &id)
                .await?;
            show_revoked(&arbiter_api::view::key(&key, app.clock.now()), json);
        }
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Failure> {
    if name.trim().is_empty() || name.chars().count() > 100 {
        return Err(Failure::usage("--name must have 1–100 characters"));
    }
    Ok(())
}

/// What a new principal may do, as it was typed.
struct Allowed<'a> {
    roles: &'a [String],
    kinds: &'a [String],
    highest_band: u8,
}

async fn make_principal(app: &App, name: String, allowed: Allowed<'_>) -> Result<PrincipalId, Failure> {
    check_name(&name)?;
    let mut roles = BTreeSet::new();
    for word in allowed.roles {
        let role = role(word)?;
        // Nobody hands out more than it has itself.
        if matches!(role, Role::Admin | Role::Peer) && !app.operator.roles.contains(&Role::Admin) {
            return Err(Failure {
                code: "forbidden",
                exit: arbiter_wire::codes::EXIT_DENIED,
                ..Failure::usage("only an admin makes admins and peers")
            });
        }
        roles.insert(role);
    }
    roles_count_in(app.operator.tenant, &roles).map_err(|problem| {
        Failure::usage(format!(
            "--role {problem}; an admin makes it over HTTP, see docs/agent-registry.md"
        ))
    })?;
    let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    let kinds: BTreeSet<TaskKind> = (allowed.kinds.iter())
        .map(|word| TaskKind::new(word).map_err(|error| usage(&error)))
        .collect::<Result<_, _>>()?;
    let highest_band = Band::new(allowed.highest_band).map_err(|error| usage(&error))?;
    if highest_band > app.operator.highest_band {
        return Err(Failure {
            code: "forbidden",
            exit: arbiter_wire::codes::EXIT_DENIED,
            ..Failure::usage("nobody hands out a higher band than it may use itself")
        });
    }
    let id = app.ids.principal();
    let agent = roles.contains(&Role::Agent).then(|| app.ids.agent());
    let principal = Principal {
        id,
        tenant: app.operator.tenant,
        kind: if agent.is_some() {
            PrincipalKind::Agent
        } else {
            PrincipalKind::Service
        },
        roles,
        agent,
        kinds: (!kinds.is_empty()).then_some(kinds),
        highest_band,
    };
    bootstrap::create_principal(
        &app.keys,
        &PrincipalRecord { principal, name },
        Some(app.operator.id),
    )
    .await?;
    Ok(id)
}

fn show_new(principal: PrincipalId, id: &str, text: Option<&SecretText>, json: bool) {
    if json {
        output::json(
            &json!({"principal": principal.to_string(), "id": id, "key": text.map(SecretText::expose)}),
        );
        return;
    }
    output::error_line(&format!("principal {principal}, key {id}"));
    if let Some(text) = text {
        output::error_line("the key is shown this once:");
        output::line(text.expose());
    }
}

fn show_list(keys: &[KeyView], json: bool) {
    if json {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({
                    "id": key.id,
                    "principal": key.principal,
                    "state": key.state,
                    "created_at": key.created_at,
                    "expires_at": key.expires_at,
                    "last_used_at": key.last_used_at,
                })
            })
            .collect();
        output::json(&json!({"keys": keys}));
        return;
    }
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            vec![
                key.id.clone(),
                key.state.clone(),
                key.created_at.clone(),
                key.expires_at.clone().unwrap_or_else(|| "never".to_owned()),
            ]
        })
        .collect();
    output::table(&["ID", "STATE", "CREATED", "EXPIRES"], &rows);
}

fn show_revoked(key: &KeyView, json: bool) {
    if json {
        output::json(&json!({"id": key.id, "revoked_at": key.revoked_at}));
    } else {
        output::line(&format!("{} is revoked", key.id));
    }
}

fn role(word: &str) -> Result<Role, Failure> {
    Role::from_word(word).ok_or_else(|| {
        let known: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
        Failure::usage(format!("`{word}` is no role; the roles are {}", known.join(", ")))
    })
}

fn principal_id(text: &str) -> Result<PrincipalId, Failure> {
    text.parse()
        .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))
}
