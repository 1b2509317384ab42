//! `arbiter config`.

use serde_json::json;

use crate::cli::ConfigCommand;
use crate::config::{Config, reference, show};
use crate::exit::Failure;
use crate::output;

/// Runs a config command. That it runs at all means that the configuration could be read.
pub(crate) fn run(config: &Config, command: &ConfigCommand, json: bool) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check => {
            build(config)?;
            if json {
                output::json(&json!({"ok": true}));
            } else {
                output::line("the configuration is valid");
            }
        }
        ConfigCommand::Show { reference: true } => output::line(reference().trim_end()),
        ConfigCommand::Show { reference: false } => {
            let mut shown = show(config);
            shown["enforced"] = crate::engine::enforced(config);
            if json {
                output::json(&shown);
            } else {
                let text = serde_json::to_string_pretty(&shown)
                    .map_err(|error| Failure::internal("the configuration could not be shown", error))?;
                output::line(&text);
            }
        }
    }
    Ok(())
}

/// Finds out what can only be found out by building it: patterns, policies, certificates and providers.
///
/// # Errors
/// A configuration failure.
pub(crate) fn build(config: &Config) -> Result<(), Failure> {
    crate::app::content_policy(config)?;
    crate::app::authorizer(config)?;
    crate::identities::certificate(config)?;
    let ports = super::doctor::identity::ports();
    crate::agent_registry::Elsewhere::of(config, &ports)?;
    crate::identities::Vouched::of(config, ports)?;
    Ok(())
}
