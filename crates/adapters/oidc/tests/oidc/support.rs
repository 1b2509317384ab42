//! A provider on a local socket, and who believes it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_adapter_oidc::{Grant, OidcConfig, OidcTokens, Rule, When};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Band, Principal, PrincipalKind, Role};
use arbiter_core::ports::{AuthenticationError, Authenticator as _, Credential};
use arbiter_net::{Egress, HttpPorts, SystemResolver};
use arbiter_testkit::{
    HttpStub, ManualClock, RecordingMetrics, SeededEntropy, StubAnswer, TestSpawner, builders,
};
use serde_json::{Value, json};

use crate::signer::Signer;

/// Now, in seconds since 1970.
pub(crate) const NOW: i64 = ManualClock::START.as_micros() / 1_000_000;

pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(crate) const KEYS: &str = "/keys";

/// What the provider answers.
struct Said {
    discovery: StubAnswer,
    keys: StubAnswer,
}

pub(crate) struct World {
    pub(crate) stub: HttpStub,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) tokens: Arc<OidcTokens>,
    said: Arc<Mutex<Said>>,
}

/// Staff of tenant 1 may submit; nobody else may anything.
pub(crate) fn rules() -> Vec<Rule> {
    vec![Rule {
        when: When::Claim {
            name: "groups".to_owned(),
            value: "staff".to_owned(),
        },
        grant: grant(),
    }]
}

pub(crate) fn grant() -> Grant {
    Grant {
        tenant: builders::tenant(1),
        kind: PrincipalKind::User,
        roles: [Role::Submitter].into(),
        kinds: None,
        highest_band: Band::HIGHEST,
    }
}

impl World {
    pub(crate) async fn new(signers: &[&Signer]) -> Self {
        Self::with(signers, |_| {}).await
    }

    pub(crate) async fn with(signers: &[&Signer], change: impl FnOnce(&mut OidcConfig)) -> Self {
        let said = Arc::new(Mutex::new(Said {
            discovery: StubAnswer::reply(404, ""),
            keys: StubAnswer::reply(404, ""),
        }));
        let script = Arc::clone(&said);
        let stub = HttpStub::start(move |request| {
            let said = script.lock().expect("a lock");
            match request.target.as_str() {
                DISCOVERY => said.discovery.clone(),
                KEYS => said.keys.clone(),
                _ => StubAnswer::reply(404, ""),
            }
        });
        let stub = stub.await.expect("a server");
        let clock = Arc::new(ManualClock::new());
        let mut config = OidcConfig::new(stub.url(""), vec!["arbiter".to_owned()], rules());
        config.loopback_http = true;
        config.egress = Egress::public()
            .plain_http()
            .allow_network("127.0.0.1/32".parse().expect("a network"));
        change(&mut config);
        let ports = HttpPorts {
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SeededEntropy::new(1)),
            metrics: Arc::new(RecordingMetrics::new()),
            spawner: Arc::new(TestSpawner),
            resolver: Arc::new(SystemResolver),
        };
        let tokens = OidcTokens::new(config, ports).expect("settings that work");
        let world = Self {
            stub,
            clock,
            tokens: Arc::new(tokens),
            said,
        };
        world.says_keys(signers);
        world.says_discovery(&json!({"issuer": world.stub.url(""), "jwks_uri": world.stub.url(KEYS)}));
        world
    }

    /// From now on the provider has these keys.
    pub(crate) fn says_keys(&self, signers: &[&Signer]) {
        let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk()).collect();
        self.says(StubAnswer::reply(200, json!({"keys": keys}).to_string()));
    }

    /// From now on the provider answers so when it is asked for keys.
    pub(crate) fn says(&self, keys: StubAnswer) {
        self.said.lock().expect("a lock").keys = keys;
    }

    pub(crate) fn says_discovery(&self, document: &Value) {
        let answer = StubAnswer::reply(200, document.to_string());
        self.said.lock().expect("a lock").discovery = answer;
    }

    /// Claims of somebody who is accepted for five minutes.
    pub(crate) fn claims(&self) -> Value {
        json!({
            "iss": self.stub.url(""),
            "aud": "arbiter",
            "sub": "ann",
            "iat": NOW,
            "exp": NOW + 300,
            "groups": ["staff"],
        })
    }

    /// Claims that differ in one.
    pub(crate) fn claims_with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    pub(crate) async fn show(&self, token: &str) -> Result<Principal, AuthenticationError> {
        self.tokens.authenticate(&bearer(token)).await
    }

    /// The word for a refusal, or `accepted`.
    pub(crate) async fn word(&self, token: &str) -> &'static str {
        word(&self.show(token).await)
    }

    /// How often the keys were asked for.
    pub(crate) fn fetches(&self) -> usize {
        self.asked(KEYS)
    }

    pub(crate) fn asked(&self, path: &str) -> usize {
        let seen = self.stub.seen();
        seen.iter().filter(|request| request.target == path).count()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

pub(crate) fn bearer(token: &str) -> Credential {
    Credential::Bearer(SecretText::new(token))
}

pub(crate) fn word(answer: &Result<Principal, AuthenticationError>) -> &'static str {
    match answer {
        Ok(_) => "accepted",
        Err(error) => error.word(),
    }
}
