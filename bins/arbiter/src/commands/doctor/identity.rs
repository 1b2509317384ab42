//! The provider of identities: whether its keys can be had.

use std::sync::Arc;

use arbiter_adapter_prometheus::PrometheusMetrics;
use arbiter_adapter_system::{OsEntropy, SystemClock, TokioSpawner};
use arbiter_net::{HttpPorts, SystemResolver};

use super::Finding;
use crate::config::Config;
use crate::exit::Failure;
use crate::identities::{self, Vouched};

const CHECK: &str = "identity provider";

/// What is asked with by itself, without a store.
pub(crate) fn ports() -> HttpPorts {
    HttpPorts {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(OsEntropy::new()),
        metrics: Arc::new(PrometheusMetrics::new()),
        spawner: Arc::new(TokioSpawner::new()),
        resolver: Arc::new(SystemResolver),
    }
}

/// Asks the provider, if there is one. A server works without it, but for those who come with its tokens.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let tokens = match Vouched::of(config, ports()) {
        Ok(vouched) => vouched.tokens,
        // The check of the configuration tells.
        Err(Failure { .. }) => return Vec::new(),
    };
    let Some(tokens) = tokens else {
        return Vec::new();
    };
    tokens.keep_fresh().await;
    let status = tokens.status();
    vec![match identities::trouble(&status) {
        None => Finding::fine(CHECK, format!("it has {} keys that can be used", status.keys)),
        Some(why) => Finding::note(
            CHECK,
            why,
            "see whether the provider can be reached from here, and whether oidc.issuer is its exact name",
        ),
    }]
}
