//! The registry of agents: in the store, or another arbiter's.

#[cfg(feature = "registry-http")]
mod recorded;

use std::sync::Arc;

use arbiter_core::ports::{AgentRegistry, AuditLog, IdSource};
use arbiter_net::HttpPorts;

use crate::config::Config;
use crate::exit::Failure;

/// Which agents there are, and who knows it.
pub(crate) struct Agents {
    pub(crate) registry: Arc<dyn AgentRegistry>,
    /// The other arbiter, if it is one.
    pub(crate) elsewhere: Option<Elsewhere>,
}

/// What this process has itself.
#[cfg_attr(
    not(feature = "registry-http"),
    expect(dead_code, reason = "this build knows no registry elsewhere")
)]
pub(crate) struct Own {
    /// The registry in the store.
    pub(crate) registry: Arc<dyn AgentRegistry>,
    /// What is done to agents elsewhere is recorded here as well.
    pub(crate) audit: Arc<dyn AuditLog>,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl Agents {
    /// The registry of the configuration. Nothing is asked of it yet.
    ///
    /// # Errors
    /// A failure that says what cannot be used.
    pub(crate) fn of(config: &Config, ports: &HttpPorts, own: Own) -> Result<Self, Failure> {
        let elsewhere = Elsewhere::of(config, ports)?;
        Ok(Self {
            registry: match &elsewhere {
                None => own.registry,
                Some(elsewhere) => elsewhere.recorded(ports, own),
            },
            elsewhere,
        })
    }
}

/// A registry that is another arbiter's.
#[cfg(feature = "registry-http")]
#[derive(Clone)]
pub(crate) struct Elsewhere {
    registry: Arc<arbiter_adapter_registry_http::HttpAgentRegistry>,
    url: Arc<str>,
}

#[cfg(feature = "registry-http")]
impl Elsewhere {
    /// The registry elsewhere, if the configuration names one.
    ///
    /// # Errors
    /// A configuration failure that says what cannot be used.
    pub(crate) fn of(config: &Config, ports: &HttpPorts) -> Result<Option<Self>, Failure> {
        use arbiter_adapter_registry_http::{HttpAgentRegistry, RegistryConfig};

        let Some(given) = &config.registry else {
            return Ok(None);
        };
        let shown = given.key_file.display();
        let key = crate::bootstrap::read(&given.key_file)?.ok_or_else(|| {
            Failure::configuration(format!("registry.key_file: `{shown}` is not there, or empty"))
        })?;
        let mut settings = RegistryConfig::new(given.url.clone(), key);
        settings.stale_after = config.allocation.stale_after;
        settings.attempt_timeout = given.timeout;
        settings.call_timeout = given.timeout.saturating_mul(5) / 2;
        if let Some(path) = &given.ca_file {
            let pem = std::fs::read(path).map_err(|error| {
                let shown = path.display();
                Failure::configuration(format!("registry.ca_file: `{shown}` cannot be read: {error}"))
            })?;
            settings.extra_roots_pem.push(pem);
        }
        let registry = HttpAgentRegistry::new(&settings, ports.clone());
        let registry = registry.map_err(|error| {
            let error: &dyn std::error::Error = &error;
            let causes = std::iter::successors(Some(error), |error| error.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            Failure::configuration(format!("registry: {}", causes.join(": ")))
        })?;
        Ok(Some(Self {
            registry: Arc::new(registry),
            url: given.url.as_str().into(),
        }))
    }

    fn recorded(&self, ports: &HttpPorts, own: Own) -> Arc<dyn AgentRegistry> {
        Arc::new(recorded::Recorded {
            inner: self.registry.clone(),
            audit: own.audit,
            ids: own.ids,
            clock: Arc::clone(&ports.clock),
        })
    }

    /// Its address.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What is wrong with it, as the latest calls have shown, if anything is.
    pub(crate) fn trouble(&self) -> Option<String> {
        let status = self.registry.status();
        match (status.problem, status.answered) {
            (Some(why), Some(ago)) => Some(format!("it last answered {} s ago: {why}", ago.as_secs())),
            (Some(why), None) => Some(format!("it has not answered yet: {why}")),
            (None, Some(_)) => None,
            (None, None) => Some("nothing was asked of it yet".to_owned()),
        }
    }

    /// Asks it for something that any peer may read.
    ///
    /// # Errors
    /// Why it did not answer, in one line.
    pub(crate) async fn probe(&self) -> Result<(), String> {
        let asked = self
            .registry
            .changes(arbiter_core::ports::Revision::default(), 1)
            .await;
        match asked {
            Ok(_) => Ok(()),
            Err(error) => Err(self.trouble().unwrap_or_else(|| error.to_string())),
        }
    }
}

/// A registry that is another arbiter's: this build knows none.
#[cfg(not(feature = "registry-http"))]
#[derive(Clone)]
pub(crate) enum Elsewhere {}

#[cfg(not(feature = "registry-http"))]
impl Elsewhere {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "a build that knows a registry elsewhere may not find its key"
    )]
    pub(crate) fn of(_: &Config, _: &HttpPorts) -> Result<Option<Self>, Failure> {
        Ok(None)
    }

    fn recorded(&self, _: &HttpPorts, _: Own) -> Arc<dyn AgentRegistry> {
        match *self {}
    }

    pub(crate) fn url(&self) -> &str {
        match *self {}
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        match *self {}
    }

    #[expect(clippy::unused_async, reason = "nothing is asked of what is not there")]
    pub(crate) async fn probe(&self) -> Result<(), String> {
        match *self {}
    }
}
