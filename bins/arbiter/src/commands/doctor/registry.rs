//! The registry of agents, where it is another arbiter's: whether it answers.

use super::Finding;
use super::identity::ports;
use crate::agent_registry::Elsewhere;
use crate::config::Config;

const CHECK: &str = "agent registry";

/// Asks the registry, if it is elsewhere.
pub(super) async fn look(config: &Config) -> Option<Finding> {
    // What cannot be set up, the check of the configuration tells.
    let registry = Elsewhere::of(config, &ports()).ok().flatten()?;
    Some(match registry.probe().await {
        Ok(()) => Finding::fine(CHECK, format!("{} answers", registry.url())),
        Err(why) => Finding::problem(
            CHECK,
            why,
            "see whether registry.url is an arbiter that can be reached from here, and whether the key in \
             registry.key_file is of a principal with the role `peer` in its system tenant",
        ),
    })
}
