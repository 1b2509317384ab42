//! `arbiter key` against a server.

use std::collections::BTreeSet;

use arbiter_client::Client;
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{PrincipalId, Role, TaskKind};
use arbiter_wire::http::{KeyForm, PrincipalForm, PrincipalKindWord};

use super::{check_name, principal_id, role, show_list, show_new, show_revoked};
use crate::bootstrap;
use crate::cli::KeyCommand;
use crate::commands::principal::role_word;
use crate::exit::Failure;

/// Runs a key command as whoever the client's key says.
pub(super) async fn run(client: &Client, command: KeyCommand, json: bool) -> Result<(), Failure> {
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
            let existing = principal.as_deref().map(principal_id).transpose()?;
            let principal = match existing {
                Some(id) => id,
                None => make_principal(client, name.unwrap_or_default(), &role, &kind, highest_band).await?,
            };
            let form = KeyForm {
                expires_in_seconds: expires_in_days.map(|days| u64::from(days) * 86_400),
            };
            let made = client.key_create(None, principal, &form, None).await.map_err(|error| {
                let failure = Failure::from(error);
                let message = format!(
                    "the principal {principal} has no new key: {}; try again with --principal {principal}",
                    failure.message
                );
                Failure { message, ..failure }
            })?;
            let Some(secret) = made.secret.map(SecretText::new) else {
                // An answer was lost on the way, and the call was repeated: nobody knows the secret.
                let id = &made.key.id;
                let revoke = format!("arbiter key revoke {id} --principal {principal}");
                let message = format!(
                    "the key {id} was made, but its secret was lost on the way; run `{revoke}`, and try again with --principal {principal}"
                );
                return Err(Failure {
                    code: "unavailable",
                    exit: arbiter_wire::codes::EXIT_UNAVAILABLE,
                    ..Failure::usage(message)
                });
            };
            if let Some(path) = &output {
                bootstrap::write_secret(path, &secret)?;
            }
            show_new(principal, &made.key.id, output.is_none().then_some(&secret), json);
        }
        KeyCommand::List { principal } => {
            let keys = client.key_list(None, needed(principal.as_deref())?).await?.keys;
            show_list(&keys, json);
        }
        KeyCommand::Revoke { id, principal } => {
            let principal = needed(principal.as_deref())?;
            let key = client.key_revoke(None, principal, &id).await?;
            show_revoked(&key, json);
        }
    }
    Ok(())
}

/// A server keeps keys by principal.
fn needed(principal: Option<&str>) -> Result<PrincipalId, Failure> {
    let text =
        principal.ok_or_else(|| Failure::usage("a server wants to know whose key: give --principal"))?;
    principal_id(text)
}

async fn make_principal(
    client: &Client,
    name: String,
    roles: &[String],
    kinds: &[String],
    highest_band: u8,
) -> Result<PrincipalId, Failure> {
    check_name(&name)?;
    let roles: BTreeSet<Role> = roles.iter().map(|word| role(word)).collect::<Result<_, _>>()?;
    for kind in kinds {
        TaskKind::new(kind).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let form = PrincipalForm {
        name,
        kind: if roles.contains(&Role::Agent) {
            PrincipalKindWord::Agent
        } else {
            PrincipalKindWord::Service
        },
        roles: roles.into_iter().map(role_word).collect(),
        agent: None,
        kinds: (!kinds.is_empty()).then(|| kinds.iter().cloned().collect()),
        highest_band,
    };
    let (made, _) = client.principal_create(None, &form, None).await?;
    made.id.parse().map_err(|error: arbiter_core::model::InvalidId| {
        Failure::internal("the server's answer cannot be read", error)
    })
}
