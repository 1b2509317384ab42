//! `arbiter key`.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Band, Operation, Principal, PrincipalId, PrincipalKind, Role, TaskKind};
use arbiter_queue::{KeyInfo, PrincipalRecord};
use serde_json::json;

use crate::app::App;
use crate::bootstrap;
use crate::cli::KeyCommand;
use crate::exit::Failure;
use crate::output;

/// Runs a key command as the local operator.
pub(crate) async fn run(app: &App, command: KeyCommand, json: bool) -> Result<(), Failure> {
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
            show_list(app, &own, json);
        }
        KeyCommand::Revoke { id } => {
            app.queue.permit(&app.operator, Operation::KeyRevoke).await?;
            let key = app
                .keys
                .revoke(Some(app.operator.id), app.operator.tenant, &id)
                .await?;
            if json {
                output::json(&json!({"id": key.id, "revoked_at": key.revoked_at.map(|at| at.to_string())}));
            } else {
                output::line(&format!("{} is revoked", key.id));
            }
        }
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
    if name.trim().is_empty() || name.chars().count() > 100 {
        return Err(Failure::usage("--name must have 1–100 characters"));
    }
    let mut roles = BTreeSet::new();
    for word in allowed.roles {
        let role = Role::from_word(word).ok_or_else(|| {
            let known: Vec<&str> = Role::ALL.iter().map(|role| role.word()).collect();
            Failure::usage(format!("`{word}` is no role; the roles are {}", known.join(", ")))
        })?;
        // Nobody hands out more than it has itself.
        if role == Role::Admin && !app.operator.roles.contains(&Role::Admin) {
            return Err(Failure {
                code: "forbidden",
                exit: arbiter_wire::codes::EXIT_DENIED,
                ..Failure::usage("only an admin makes admins")
            });
        }
        roles.insert(role);
    }
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

fn show_list(app: &App, keys: &[KeyInfo], json: bool) {
    let now = app.clock.now();
    let state = |key: &KeyInfo| match (key.revoked_at, key.is_live(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "live",
        (None, false) => "expired",
    };
    if json {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| {
                json!({
                    "id": key.id,
                    "principal": key.principal.to_string(),
                    "state": state(key),
                    "created_at": key.created_at.to_string(),
                    "expires_at": key.expires_at.map(|at| at.to_string()),
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
                state(key).to_owned(),
                key.created_at.to_string(),
                key.expires_at
                    .map_or_else(|| "never".to_owned(), |at| at.to_string()),
            ]
        })
        .collect();
    output::table(&["ID", "STATE", "CREATED", "EXPIRES"], &rows);
}

fn principal_id(text: &str) -> Result<PrincipalId, Failure> {
    text.parse()
        .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))
}
