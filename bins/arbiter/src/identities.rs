//! Callers for whom another party vouches: which adapter reads what they show.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_oidc::{CertificateIdentities, OidcTokens, ProviderStatus, When};
use arbiter_api::TlsIdentity;
use arbiter_core::ports::Clock;
use arbiter_net::HttpPorts;
use arbiter_orchestration::Stop;
use arbiter_orchestration::supervisor::{self, Service};
use arbiter_queue::Identities;
use futures_util::{FutureExt as _, select_biased};

use crate::app::App;
use crate::config::Config;
use crate::exit::Failure;

/// How often it is looked whether the provider's keys are due.
const EVERY: Duration = Duration::from_secs(5);

/// Those who read tokens and certificates, as far as the configuration wants them.
#[derive(Clone)]
pub(crate) struct Vouched {
    pub(crate) tokens: Option<Arc<OidcTokens>>,
    certificates: Option<Arc<CertificateIdentities>>,
}

impl Vouched {
    /// Makes them. Nothing is asked of a provider yet.
    ///
    /// # Errors
    /// A configuration failure that says what cannot be used.
    pub(crate) fn of(config: &Config, ports: HttpPorts) -> Result<Self, Failure> {
        let rules = &config.identity.rules;
        let clock = Arc::clone(&ports.clock);
        let is_of_certificates = rules
            .iter()
            .any(|rule| matches!(rule.when, When::Certificate { .. }));
        let tokens = match &config.identity.oidc {
            None => None,
            Some(oidc) => {
                let mut oidc = oidc.clone();
                if let Some(path) = &config.identity.ca_file {
                    oidc.extra_roots_pem.push(read(path)?);
                }
                let tokens = OidcTokens::new(oidc, ports)
                    .map_err(|error| Failure::configuration(format!("oidc: {}", chain(&error))))?;
                Some(Arc::new(tokens))
            }
        };
        Ok(Self {
            tokens,
            certificates: is_of_certificates
                .then(|| Arc::new(CertificateIdentities::new(rules.clone(), clock))),
        })
    }

    /// Lets credentials be read by them.
    pub(crate) fn join(&self, mut identities: Identities) -> Identities {
        if let Some(tokens) = &self.tokens {
            identities = identities.with_tokens(tokens.clone());
        }
        if let Some(certificates) = &self.certificates {
            identities = identities.with_certificates(certificates.clone());
        }
        identities
    }
}

/// The service that keeps the provider's keys fresh, if there is a provider.
pub(crate) fn service(app: &App) -> Option<Arc<dyn Service>> {
    let (tokens, clock) = (app.vouched.tokens.clone()?, Arc::clone(&app.clock));
    Some(supervisor::service("identity-keys", move |stop| {
        let (tokens, clock) = (Arc::clone(&tokens), Arc::clone(&clock));
        Box::pin(async move { keep(&tokens, clock.as_ref(), &stop).await })
    }))
}

async fn keep(tokens: &OidcTokens, clock: &dyn Clock, stop: &Stop) {
    while !stop.is_stopped() {
        select_biased! {
            () = stop.wait().fuse() => return,
            () = tokens.keep_fresh().fuse() => {}
        }
        let until = clock.monotonic() + EVERY;
        select_biased! {
            () = stop.wait().fuse() => return,
            () = clock.sleep_until(until).fuse() => {}
        }
    }
}

/// What is wrong with the provider, if anything is.
pub(crate) fn trouble(status: &ProviderStatus) -> Option<String> {
    match (&status.problem, status.age) {
        (Some(problem), None) => Some(format!(
            "its tokens are not accepted: {}",
            chain(problem.as_ref())
        )),
        (Some(problem), Some(age)) => Some(format!(
            "its keys are {} s old: {}",
            age.as_secs(),
            chain(problem.as_ref())
        )),
        (None, None) => Some("its keys were not fetched yet".to_owned()),
        (None, Some(_)) if status.keys == 0 => Some("it has no key that can be used".to_owned()),
        (None, Some(_)) => None,
    }
}

/// The certificate that the server shows, if one is configured, and whether clients may show theirs.
///
/// # Errors
/// A configuration failure that says which file cannot be used.
pub(crate) fn certificate(config: &Config) -> Result<Option<TlsIdentity>, Failure> {
    let Some((certificate, key)) = &config.server.tls else {
        return Ok(None);
    };
    let (certificate, key) = (read(certificate)?, read(key)?);
    let made = match &config.server.client_ca {
        Some(authorities) => TlsIdentity::with_clients(&certificate, &key, &read(authorities)?),
        None => TlsIdentity::from_pem(&certificate, &key),
    };
    made.map(Some)
        .map_err(|error| Failure::configuration(format!("TLS: {}", chain(&error))))
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::configuration(format!("`{}` cannot be read: {error}", path.display())))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
