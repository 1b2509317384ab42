//! The sections `oidc` and `identity`.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use arbiter_adapter_oidc::{Algorithm, CertificateName, Grant, OidcConfig, Rule, When};
use arbiter_core::model::{Band, PrincipalKind, Role, TaskKind, TenantId};
use arbiter_net::{Egress, IpNet};

use super::file::{IdentityRule, IdentitySection, OidcSection};
use crate::bootstrap::DEFAULT_TENANT;

/// Callers for whom another party vouches.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdentityConfig {
    /// The provider of tokens, if there is one. Its further authorities are in `ca_file`.
    pub(crate) oidc: Option<OidcConfig>,
    /// File of further authorities for the provider's certificate.
    pub(crate) ca_file: Option<PathBuf>,
    /// Hosts in private networks that the provider may have.
    pub(crate) hosts: Vec<String>,
    /// Private networks that it may be in.
    pub(crate) networks: Vec<IpNet>,
    /// Who gets which rights.
    pub(crate) rules: Vec<Rule>,
}

impl IdentityConfig {
    /// `clients` says whether clients may show certificates.
    pub(super) fn of(
        oidc: &OidcSection,
        identity: &IdentitySection,
        folder: &Path,
        clients: bool,
        problems: &mut Vec<String>,
    ) -> Self {
        let mut rules = Vec::new();
        for (place, given) in identity.rules.iter().enumerate() {
            let told = problems.len();
            let rule = rule(given, &mut |problem| {
                problems.push(format!("identity.rules[{place}]: {problem}"));
            });
            if problems.len() == told {
                rules.extend(rule);
            }
        }
        // Only those that are whole: what is wrong with the others is said already.
        let about_claims = |rule: &Rule| matches!(rule.when, When::Claim { .. });
        let (claims, certificates) = (
            identity.rules.iter().any(|rule| rule.claim.is_some()),
            identity.rules.iter().any(|rule| rule.certificate.is_some()),
        );
        match (oidc.issuer.is_some(), claims) {
            (true, false) => problems.push(
                "oidc.issuer: no token would be accepted, because no rule of identity.rules is about a claim"
                    .into(),
            ),
            (false, true) => problems.push(
                "identity.rules: a rule is about a claim, but no provider is set; set oidc.issuer".into(),
            ),
            _ => {}
        }
        match (clients, certificates) {
            (true, false) => problems.push(
                "server.tls_client_ca: no certificate would be accepted, because no rule of identity.rules is about one"
                    .into(),
            ),
            (false, true) => problems.push(
                "identity.rules: a rule is about a certificate, but clients cannot show any; set server.tls_client_ca"
                    .into(),
            ),
            _ => {}
        }
        let networks = networks(oidc, problems);
        let tokens: Vec<Rule> = rules.iter().filter(|rule| about_claims(rule)).cloned().collect();
        Self {
            oidc: provider(oidc, &networks, tokens, problems),
            ca_file: oidc.ca_file.as_ref().map(|path| folder.join(path)),
            hosts: oidc.hosts.clone(),
            networks,
            rules,
        }
    }
}

fn networks(section: &OidcSection, problems: &mut Vec<String>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in &section.networks {
        match IpNet::from_str(text) {
            Ok(network) => networks.push(network),
            Err(_) => problems.push(format!(
                "oidc.networks: `{text}` is not a network, such as `10.1.0.0/16`"
            )),
        }
    }
    networks
}

fn provider(
    section: &OidcSection,
    networks: &[IpNet],
    rules: Vec<Rule>,
    problems: &mut Vec<String>,
) -> Option<OidcConfig> {
    let Some(issuer) = &section.issuer else {
        if *section != OidcSection::default() {
            problems.push("oidc: settings of a provider without oidc.issuer".into());
        }
        return None;
    };
    let mut config = OidcConfig::new(issuer.clone(), section.audience.clone(), rules);
    config.jwks_url.clone_from(&section.jwks_url);
    config.single_use = section.single_use;
    config.loopback_http = section.loopback_http;
    if let Some(words) = &section.algorithms {
        config.algorithms.clear();
        for word in words {
            match Algorithm::from_word(word) {
                Some(algorithm) => config.algorithms.push(algorithm),
                None => problems.push(format!(
                    "oidc.algorithms: `{word}` is none of {}",
                    Algorithm::ALL.map(Algorithm::word).join(", ")
                )),
            }
        }
        if words.is_empty() {
            problems.push("oidc.algorithms: must name at least one".into());
        }
    }
    let mut seconds = |name: &str, given: Option<u32>, range: RangeInclusive<u32>, into: &mut Duration| {
        let Some(value) = given else { return };
        if range.contains(&value) {
            *into = Duration::from_secs(value.into());
        } else {
            let (least, most) = range.into_inner();
            problems.push(format!("oidc.{name}: must lie in {least}..={most}, not {value}"));
        }
    };
    seconds(
        "leeway_seconds",
        section.leeway_seconds,
        0..=300,
        &mut config.leeway,
    );
    seconds(
        "max_age_seconds",
        section.max_age_seconds,
        10..=86_400,
        &mut config.max_age,
    );
    seconds(
        "max_stale_seconds",
        section.max_stale_seconds,
        10..=604_800,
        &mut config.max_stale,
    );
    seconds(
        "refetch_seconds",
        section.refetch_seconds,
        1..=3_600,
        &mut config.refetch_after,
    );
    if config.max_stale < config.max_age {
        problems.push("oidc.max_stale_seconds: must be at least oidc.max_age_seconds".into());
    }
    config.egress = egress(section, networks);
    problems.extend(addresses(&config));
    Some(config)
}

/// What is wrong with issuer, audience and address of the keys, each by itself.
fn addresses(config: &OidcConfig) -> Vec<String> {
    let sound = OidcConfig {
        loopback_http: config.loopback_http,
        ..OidcConfig::new("https://issuer.example", vec!["audience".into()], Vec::new())
    };
    let issuer = OidcConfig {
        issuer: config.issuer.clone(),
        ..sound.clone()
    };
    let audience = OidcConfig {
        audience: config.audience.clone(),
        ..sound.clone()
    };
    let keys = OidcConfig {
        jwks_url: config.jwks_url.clone(),
        ..sound
    };
    let each = [("issuer", issuer), ("audience", audience), ("jwks_url", keys)];
    let wrong = each.into_iter().filter_map(|(name, config)| {
        let error = config.check().err()?;
        Some(format!("oidc.{name}: {error}"))
    });
    wrong.collect()
}

/// The provider is on the public Internet, or where the configuration permits.
fn egress(section: &OidcSection, networks: &[IpNet]) -> Egress {
    let mut egress = section
        .hosts
        .iter()
        .fold(Egress::public(), |egress, host| egress.allow_host(host));
    egress = networks
        .iter()
        .fold(egress, |egress, network| egress.allow_network(*network));
    if section.loopback_http {
        // An address without TLS is accepted for this machine only, when it is read.
        egress = ["localhost", "127.0.0.1", "[::1]", "::1"]
            .into_iter()
            .fold(egress.plain_http(), Egress::allow_host);
    }
    egress
}

fn rule(given: &IdentityRule, problem: &mut dyn FnMut(String)) -> Option<Rule> {
    if given.value.is_empty() {
        problem("`value` must not be empty".into());
    }
    let when = when(given, problem);
    let mut roles = BTreeSet::new();
    for word in &given.roles {
        match Role::from_word(word) {
            Some(role) => {
                roles.insert(role);
            }
            None => problem(format!("`{word}` is no role")),
        }
    }
    if given.roles.is_empty() {
        problem("`roles` must name at least one".into());
    }
    // Nobody who is vouched for belongs to the system's own tenant.
    if roles.contains(&Role::Peer) {
        problem("`roles` must not name `peer`: a peer is known by a key (docs/agent-registry.md)".into());
    }
    let tenant = match given.tenant.as_deref().map(str::parse::<TenantId>) {
        None => DEFAULT_TENANT,
        Some(Ok(tenant)) if tenant != TenantId::SYSTEM => tenant,
        Some(Ok(_)) => {
            problem("`tenant` must not be the system's own".into());
            DEFAULT_TENANT
        }
        Some(Err(error)) => {
            problem(format!("`tenant`: {error}"));
            DEFAULT_TENANT
        }
    };
    let usual = if roles.contains(&Role::Agent) {
        PrincipalKind::Agent
    } else if given.certificate.is_some() {
        PrincipalKind::Service
    } else {
        PrincipalKind::User
    };
    let kind = given
        .kind
        .as_deref()
        .map_or(Some(usual), PrincipalKind::from_word);
    if kind.is_none() {
        problem("`kind` is none of user, agent, service".into());
    }
    let mut kinds = BTreeSet::new();
    for word in given.kinds.iter().flatten() {
        match TaskKind::new(word) {
            Ok(kind) => {
                kinds.insert(kind);
            }
            Err(error) => problem(format!("`kinds`: {error}")),
        }
    }
    if given.kinds.as_ref().is_some_and(Vec::is_empty) {
        problem("`kinds` must name at least one kind, or be absent for those of the tenant".into());
    }
    let band = given.highest_band.map_or(Ok(Band::HIGHEST), Band::new);
    let highest_band = band
        .map_err(|error| problem(format!("`highest_band`: {error}")))
        .ok()?;
    Some(Rule {
        when: when?,
        grant: Grant {
            tenant,
            kind: kind?,
            roles,
            kinds: given.kinds.as_ref().map(|_| kinds),
            highest_band,
        },
    })
}

fn when(given: &IdentityRule, problem: &mut dyn FnMut(String)) -> Option<When> {
    let value = given.value.clone();
    match (&given.claim, &given.certificate) {
        (Some(name), None) if !name.is_empty() => Some(When::Claim {
            name: name.clone(),
            value,
        }),
        (None, Some(word)) => {
            let sort = CertificateName::ALL.into_iter().find(|sort| sort.word() == word);
            let Some(sort) = sort else {
                problem(format!("`certificate`: `{word}` is none of uri, dns, email"));
                return None;
            };
            if sort == CertificateName::Dns && value.chars().any(|letter| letter.is_ascii_uppercase()) {
                problem("`value`: the name of a host is written in lower case".into());
            }
            Some(When::Certificate { sort, value })
        }
        _ => {
            problem("give either `claim` or `certificate`".into());
            None
        }
    }
}
