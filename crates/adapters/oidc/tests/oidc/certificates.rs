//! Identities of certificates.

use std::sync::Arc;

use arbiter_adapter_oidc::{CertificateIdentities, CertificateName, Rule, When};
use arbiter_core::model::{AgentId, Role};
use arbiter_core::ports::{
    AuthenticationError, Authenticator as _, ClientCertificate, Credential, Identity, IdentityProvider as _,
};
use arbiter_testkit::ManualClock;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use crate::support::{bearer, grant, rules};

const SPIFFE: &str = "spiffe://example.com/runner";

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("a name"))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("a name"))
}

fn email(text: &str) -> SanType {
    SanType::Rfc822Name(text.try_into().expect("a name"))
}

fn certificate(names: Vec<SanType>) -> Credential {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
    params.subject_alt_names = names;
    params.distinguished_name.push(DnType::CommonName, SPIFFE);
    params.not_after = rcgen::date_time_ymd(2026, 1, 2);
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    Credential::Certificate(ClientCertificate::verified(made.der()))
}

struct World {
    clock: Arc<ManualClock>,
    identities: CertificateIdentities,
}

fn world() -> World {
    let named = [
        (CertificateName::Uri, SPIFFE, Role::Agent),
        (CertificateName::Dns, "runner.example.com", Role::Submitter),
        (CertificateName::Email, "ann@example.com", Role::Operator),
    ];
    let named = named.map(|(sort, value, role)| Rule {
        when: When::Certificate {
            sort,
            value: value.to_owned(),
        },
        grant: arbiter_adapter_oidc::Grant {
            roles: [role].into(),
            ..grant()
        },
    });
    let clock = Arc::new(ManualClock::new());
    World {
        identities: CertificateIdentities::new(
            rules().into_iter().chain(named).collect(),
            Arc::clone(&clock) as _,
        ),
        clock,
    }
}

impl World {
    async fn show(&self, names: Vec<SanType>) -> Result<Identity, AuthenticationError> {
        self.identities.identify(&certificate(names)).await
    }
}

#[tokio::test]
async fn the_subject_is_the_first_uri_else_the_first_host_else_the_first_address() {
    let world = world();
    let cases = [
        (vec![uri(SPIFFE)], Ok(Role::Agent)),
        (vec![dns("runner.example.com"), uri(SPIFFE)], Ok(Role::Agent)),
        (vec![dns("Runner.Example.com")], Ok(Role::Submitter)),
        (
            vec![email("ann@example.com"), dns("runner.example.com")],
            Ok(Role::Submitter),
        ),
        (vec![email("ann@example.com")], Ok(Role::Operator)),
        // Another name than the subject says nothing.
        (
            vec![uri("spiffe://example.com/other"), dns("runner.example.com")],
            Err("unknown"),
        ),
        (
            vec![uri("spiffe://example.com/other"), uri(SPIFFE)],
            Err("unknown"),
        ),
        (
            vec![dns("other.example.com"), email("ann@example.com")],
            Err("unknown"),
        ),
        // Nor does a name of another sort, or one that is like it.
        (vec![dns(SPIFFE)], Err("unknown")),
        (vec![uri("spiffe://example.com/Runner")], Err("unknown")),
        (vec![uri("spiffe://example.com/runner/x")], Err("unknown")),
        (vec![dns("*.example.com")], Err("unknown")),
        (vec![email("Ann@example.com")], Err("unknown")),
        // The distinguished name is not looked at.
        (vec![], Err("malformed")),
        (vec![SanType::IpAddress([127, 0, 0, 1].into())], Err("malformed")),
        (vec![uri("")], Err("malformed")),
        (vec![dns("runner.example.com\0.evil.example")], Err("malformed")),
    ];
    for (names, expected) in cases {
        let told = world.show(names.clone()).await;
        let told = told
            .map(|identity| identity.principal.roles)
            .map_err(|error| error.word());
        assert_eq!(told, expected.map(|role| [role].into()), "{names:?}");
    }
}

#[tokio::test]
async fn an_agent_is_the_same_agent_with_every_certificate_of_its_name() {
    let world = world();
    let one = world.show(vec![uri(SPIFFE)]).await.expect("accepted");
    let renewed = world.show(vec![uri(SPIFFE)]).await.expect("accepted");
    assert_eq!(one, renewed);
    let id = *one.principal.id.as_bytes();
    assert_eq!(one.principal.agent, Some(AgentId::from_bytes(id)));
    assert_eq!(one.name, "spiffe://example.com/runner (certificate uri)");
    let other = world
        .show(vec![dns("runner.example.com")])
        .await
        .expect("accepted");
    assert_ne!(other.principal.id, one.principal.id);
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_refused_although_its_connection_is_open() {
    let world = world();
    let shown = certificate(vec![uri(SPIFFE)]);
    world.clock.advance(std::time::Duration::from_secs(86_400));
    world
        .identities
        .authenticate(&shown)
        .await
        .expect("its last moment");
    world.clock.advance(std::time::Duration::from_micros(1));
    let told = world
        .identities
        .authenticate(&shown)
        .await
        .expect_err("it has ended");
    assert_eq!(told.word(), "expired");
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let world = world();
    for der in [&[][..], &[0x30], b"-----BEGIN CERTIFICATE-----"] {
        let credential = Credential::Certificate(ClientCertificate::verified(der));
        let told = world
            .identities
            .authenticate(&credential)
            .await
            .expect_err("none");
        assert_eq!(told.word(), "malformed");
    }
    let told = world
        .identities
        .authenticate(&bearer("a.b.c"))
        .await
        .expect_err("a token");
    assert_eq!(told.word(), "unsupported");
}
