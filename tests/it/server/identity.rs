//! Callers with tokens of a provider and with certificates.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arbiter_core::ports::Clock as _;
use arbiter_tests::http::Caller;
use arbiter_tests::{Done, Place, Serving, curl, done, wait_until};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{Served, refused, task};

/// A provider with one key, on this machine.
struct Provider {
    issuer: String,
    pair: Ed25519KeyPair,
    is_down: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn new_pair() -> Ed25519KeyPair {
    let made = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).expect("a key");
    Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key")
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let provider = Self {
            pair: new_pair(),
            is_down: Arc::default(),
            seen: Arc::default(),
            issuer,
        };
        let (is_down, seen) = (Arc::clone(&provider.is_down), Arc::clone(&provider.seen));
        let discovery = json!({"issuer": provider.issuer, "jwks_uri": format!("{}/keys", provider.issuer)});
        let x = encoded(provider.pair.public_key());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "alg": "EdDSA", "x": x});
        let keys = json!({"keys": [key]});
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = BufReader::new(stream);
                let (mut first, mut line) = (String::new(), String::new());
                let _read = stream.read_line(&mut first);
                while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                    line.clear();
                }
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let (status, body) = match path.as_str() {
                    _ if is_down.load(Ordering::SeqCst) => (503, String::new()),
                    "/.well-known/openid-configuration" => (200, discovery.to_string()),
                    "/keys" => (200, keys.to_string()),
                    _ => (404, String::new()),
                };
                seen.lock().expect("a lock").push(path);
                let head = format!(
                    "HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let _it_may_be_gone = stream.get_mut().write_all(format!("{head}{body}").as_bytes());
            }
        });
        provider
    }

    fn config(&self) -> String {
        format!(
            "[oidc]\nissuer = \"{}\"\naudience = [\"arbiter\"]\nloopback_http = true\n\
             [identity]\nrules = [{{ claim = \"groups\", value = \"staff\", roles = [\"submitter\"] }}]\n",
            self.issuer
        )
    }

    fn claims(&self) -> Value {
        let now = arbiter_adapter_system::SystemClock::new().now().as_micros() / 1_000_000;
        json!({
            "iss": self.issuer,
            "aud": "arbiter",
            "sub": "ann",
            "iat": now,
            "exp": now + 600,
            "groups": ["staff"],
        })
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        signed(
            &self.pair,
            &json!({"alg": "EdDSA", "kid": "one", "typ": "at+jwt"}),
            self,
            change,
        )
    }
}

fn signed(pair: &Ed25519KeyPair, header: &Value, of: &Provider, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = of.claims();
    change(&mut claims);
    let input = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
    format!("{input}.{}", encoded(pair.sign(input.as_bytes())))
}

/// The reasons for which callers were not let in, as the log tells them.
fn reasons(served: &Served) -> Vec<String> {
    let told = served
        .operator
        .get("/v1/audit/entries?action=authentication_failed&limit=100");
    let told = told.json();
    let entries = told["entries"].as_array().expect("entries").iter();
    entries
        .map(|entry| entry["leaf"]["reason"].as_str().expect("a reason").to_owned())
        .collect()
}

#[test]
fn a_token_of_the_provider_lets_its_subject_in_and_every_other_one_is_refused_alike() {
    let provider = Provider::start();
    let served = Served::with(&provider.config(), &[]);
    let ann = Caller::new(&served.serving, Some(&provider.token(|_| {})));
    assert_eq!(ann.post("/v1/tasks", &task()).status, 201);
    // It may do what its role may, and no more.
    refused(&ann.get("/v1/principals"), 403, "forbidden");
    let unknown = Caller::new(&served.serving, Some("arb_0123456789abcdef_x")).get("/v1/tasks");
    let cases = [
        (
            "foreign",
            provider.token(|claims| claims["aud"] = json!("billing")),
        ),
        (
            "foreign",
            provider.token(|claims| claims["iss"] = json!("https://other.example")),
        ),
        ("expired", provider.token(|claims| claims["exp"] = json!(1))),
        (
            "not_yet_valid",
            provider.token(|claims| claims["nbf"] = json!(9_999_999_999_u64)),
        ),
        ("unknown", provider.token(|claims| claims["groups"] = json!([]))),
        (
            "unknown",
            signed(
                &new_pair(),
                &json!({"alg": "EdDSA", "kid": "one"}),
                &provider,
                |_| {},
            ),
        ),
        (
            "malformed",
            signed(
                &provider.pair,
                &json!({"alg": "none", "kid": "one"}),
                &provider,
                |_| {},
            ),
        ),
        ("malformed", "a.b.c".to_owned()),
    ];
    for (reason, token) in cases {
        let answer = Caller::new(&served.serving, Some(&token)).post("/v1/tasks", &task());
        refused(&answer, 401, "auth_failed");
        let bare = |answer: &arbiter_tests::http::Answer| {
            let mut told = answer.json();
            for member in ["instance", "request_id", "trace_id"] {
                told.as_object_mut().expect("an object").remove(member);
            }
            told
        };
        assert_eq!(bare(&answer), bare(&unknown), "{reason}");
        let told = reasons(&served);
        assert!(told.iter().any(|told| told == reason), "{reason}: {told:?}");
    }
    assert_eq!(ann.get("/v1/tasks").status, 200);
    assert_eq!(served.serving.stop().code(), Some(0));
}

#[test]
fn a_subject_is_a_principal_that_an_operator_sees_and_disables() {
    let provider = Provider::start();
    let served = Served::with(&provider.config(), &[]);
    let ann = Caller::new(&served.serving, Some(&provider.token(|_| {})));
    assert_eq!(ann.post("/v1/tasks", &task()).status, 201);
    let listed = served.operator.get("/v1/principals").json();
    let listed = listed["principals"].as_array().expect("a page");
    let name = format!("ann ({})", provider.issuer);
    let found: Vec<&Value> = listed.iter().filter(|known| known["name"] == name).collect();
    assert_eq!(found.len(), 1, "{listed:?}");
    assert_eq!(
        (&found[0]["roles"], &found[0]["kind"]),
        (&json!(["submitter"]), &json!("user"))
    );
    let path = format!("/v1/principals/{}", found[0]["id"].as_str().expect("an id"));
    let disabled = served
        .operator
        .send("PATCH", &path, &[], &json!({"disabled": true}));
    assert_eq!(disabled.status, 200, "{disabled:?}");
    refused(&ann.get("/v1/tasks"), 401, "auth_failed");
    assert_eq!(reasons(&served), ["disabled"]);
    // Another token of the same subject changes nothing.
    let again = Caller::new(
        &served.serving,
        Some(&provider.token(|claims| claims["jti"] = json!("2"))),
    );
    refused(&again.get("/v1/tasks"), 401, "auth_failed");
    assert_eq!(served.serving.stop().code(), Some(0));
}

#[test]
fn a_provider_that_is_down_is_degraded_and_stops_nobody_else() {
    let provider = Provider::start();
    provider.is_down.store(true, Ordering::SeqCst);
    let served = Served::with(&provider.config(), &[]);
    served.submit(&task());
    let ann = Caller::new(&served.serving, Some(&provider.token(|_| {})));
    refused(&ann.get("/v1/tasks"), 503, "unavailable");
    let ready = served.operator.get("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    let part = |ready: &Value| {
        let parts = ready["parts"].as_array().expect("parts");
        let found = parts.iter().find(|part| part["name"] == "identity provider");
        found.expect("the provider is a part").clone()
    };
    let told = part(&ready.json());
    assert_eq!(told["ready"], json!(true), "{told}");
    let why = told["why"].as_str().expect("why");
    assert!(why.contains("answered with the status 503"), "{why}");
    let config = served.place.path("config.toml");
    let doctor = |place: &Place| {
        let config = config.to_str().expect("a path").to_owned();
        let told = place.run(&["--json", "--config", &config, "doctor"]).json();
        let findings = told["findings"].as_array().expect("findings");
        let found = findings
            .iter()
            .find(|finding| finding["check"] == "identity provider");
        found.expect("the provider was looked at").clone()
    };
    assert_eq!(doctor(&served.place)["grade"], "note");
    provider.is_down.store(false, Ordering::SeqCst);
    wait_until("the keys are fetched again", || {
        part(&served.operator.get("/readyz").json())["why"].is_null()
    });
    assert_eq!(ann.get("/v1/tasks").status, 200);
    assert_eq!(doctor(&served.place)["grade"], "ok");
    // As long as they are there, nobody asks for them.
    let before = provider.seen.lock().expect("a lock").len();
    for _ in 0..20 {
        assert_eq!(ann.get("/v1/tasks").status, 200);
    }
    assert_eq!(provider.seen.lock().expect("a lock").len(), before);
    assert_eq!(served.serving.stop().code(), Some(0));
}

#[test]
fn every_problem_of_the_settings_is_named_at_once() {
    let place = Place::new();
    let config = place.write(
        "config.toml",
        "[oidc]\nissuer = \"http://issuer.example\"\nalgorithms = [\"none\", \"HS256\", \"RS256\"]\nleeway_seconds = 301\n\
         max_age_seconds = 1\nmax_stale_seconds = 20\nrefetch_seconds = 0\njwks_url = \"file:///keys\"\nnetworks = [\"x\"]\n\
         [server]\ntls_client_ca = \"clients.pem\"\n\
         [[identity.rules]]\nclaim = \"groups\"\nvalue = \"\"\nroles = []\n\
         [[identity.rules]]\ncertificate = \"cn\"\nvalue = \"x\"\nroles = [\"root\", \"peer\"]\ntenant = \"default\"\n\
         [[identity.rules]]\nvalue = \"x\"\nroles = [\"submitter\"]\nkind = \"robot\"\nhighest_band = 200\n\
         [[identity.rules]]\ncertificate = \"dns\"\nvalue = \"Host\"\nroles = [\"submitter\"]\nkinds = []\n",
    );
    let config = config.to_str().expect("a path");
    let told = place.run(&["--config", config, "config", "check"]);
    assert_eq!(told.code(), 3, "{told:?}");
    let problems = [
        "oidc.issuer: the issuer must be",
        "oidc.audience: the audience must",
        "oidc.jwks_url: the address of the keys",
        "oidc.algorithms: `none` is none of",
        "oidc.algorithms: `HS256` is none of",
        "oidc.leeway_seconds: must lie in 0..=300",
        "oidc.max_age_seconds: must lie in",
        "oidc.max_stale_seconds: must be at least",
        "oidc.refetch_seconds: must lie in",
        "oidc.networks: `x` is not a network",
        "server.tls_client_ca: certificates are shown over TLS only",
        "identity.rules[0]: `value` must not be empty",
        "identity.rules[0]: `roles` must name at least one",
        "identity.rules[1]: `certificate`: `cn` is none of",
        "identity.rules[1]: `root` is no role",
        "identity.rules[1]: `roles` must not name `peer`",
        "identity.rules[1]: `tenant`:",
        "identity.rules[2]: give either `claim` or `certificate`",
        "identity.rules[2]: `kind` is none of",
        "identity.rules[2]: `highest_band`:",
        "identity.rules[3]: `value`: the name of a host",
        "identity.rules[3]: `kinds` must name",
    ];
    for problem in problems {
        assert!(told.stderr.contains(problem), "{problem}: {}", told.stderr);
    }
    let halves = [
        (
            "[oidc]\nsingle_use = true\n",
            "oidc: settings of a provider without oidc.issuer",
        ),
        (
            "[oidc]\nissuer = \"https://issuer.example\"\naudience = [\"a\"]\n",
            "no rule of identity.rules is about a claim",
        ),
        (
            "[[identity.rules]]\nclaim = \"sub\"\nvalue = \"a\"\nroles = [\"agent\"]\n",
            "no provider is set",
        ),
        (
            "[[identity.rules]]\ncertificate = \"uri\"\nvalue = \"a\"\nroles = [\"agent\"]\n",
            "clients cannot show any",
        ),
        (
            "[server]\ntls_certificate = \"a\"\ntls_key = \"b\"\ntls_client_ca = \"c\"\n",
            "no rule of identity.rules is about one",
        ),
    ];
    for (text, problem) in halves {
        place.write("config.toml", text);
        let told = place.run(&["--config", config, "config", "check"]);
        assert_eq!(told.code(), 3, "{told:?}");
        assert!(told.stderr.contains(problem), "{problem}: {}", told.stderr);
    }
}

/// An authority of clients.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("a certificate");
        Self(Issuer::new(params, key), made.pem())
    }

    /// Files of a client's certificate and its key.
    fn client(&self, place: &Place, name: &str, uri: &str, usage: ExtendedKeyUsagePurpose) {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("a name"))];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &self.0).expect("a certificate");
        place.write(&format!("{name}.pem"), &made.pem());
        place.write(&format!("{name}.key"), &key.serialize_pem());
    }
}

fn ask(place: &Place, serving: &Serving, client: Option<&str>, header: Option<&str>) -> Done {
    let port = serving.url.rsplit(':').next().expect("a port");
    let mut command = Command::new(curl());
    command
        .args([
            "--silent",
            "--show-error",
            "--write-out",
            " %{http_code}",
            "--cacert",
        ])
        .arg(place.path("server.pem"));
    if let Some(client) = client {
        command.arg("--cert").arg(place.path(&format!("{client}.pem")));
        command.arg("--key").arg(place.path(&format!("{client}.key")));
    }
    if let Some(header) = header {
        command.args(["--header", &format!("authorization: Bearer {header}")]);
    }
    done(command.arg(format!("https://localhost:{port}/v1/tasks")))
}

#[test]
fn a_client_with_a_certificate_of_the_authority_is_let_in_and_a_foreign_one_is_not() {
    const RUNNER: &str = "spiffe://example.com/runner";
    let place = Place::new();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    place.write("server.pem", &made.cert.pem());
    place.write("server.key", &made.signing_key.serialize_pem());
    let (ours, other) = (Authority::new(), Authority::new());
    place.write("clients.pem", &ours.1);
    let of_clients = || ExtendedKeyUsagePurpose::ClientAuth;
    ours.client(&place, "runner", RUNNER, of_clients());
    ours.client(&place, "stranger", "spiffe://example.com/stranger", of_clients());
    ours.client(&place, "server-like", RUNNER, ExtendedKeyUsagePurpose::ServerAuth);
    other.client(&place, "foreign", RUNNER, of_clients());
    let config = place.write(
        "config.toml",
        &format!(
            "[server]\ntls_certificate = \"server.pem\"\ntls_key = \"server.key\"\ntls_client_ca = \"clients.pem\"\n\
             [[identity.rules]]\ncertificate = \"uri\"\nvalue = \"{RUNNER}\"\nroles = [\"submitter\"]\n"
        ),
    );
    let serving = Serving::start(&place, &["--config", config.to_str().expect("a path")]);
    let key = std::fs::read_to_string(place.path("data/operator.key")).expect("the operator's key");
    let key = key.trim();
    let status = |client: Option<&str>, header: Option<&str>| {
        let told = ask(&place, &serving, client, header);
        (
            told.code(),
            told.stdout.rsplit(' ').next().unwrap_or_default().to_owned(),
        )
    };
    let answered = |status: &str| (0, status.to_owned());
    assert_eq!(status(Some("runner"), None), answered("200"));
    // A subject that no rule names is told what everybody is told.
    assert_eq!(status(Some("stranger"), None), answered("401"));
    // Of another authority, or not made for clients: there is no connection to be answered on.
    for refused in ["foreign", "server-like"] {
        let (code, told) = status(Some(refused), None);
        assert_ne!(code, 0, "{refused}: {told}");
        assert_eq!(told, "000", "{refused}");
        let (code, _) = status(Some(refused), Some(key));
        assert_ne!(code, 0, "{refused}: nor with a key");
    }
    // Without a certificate a key is enough.
    assert_eq!(status(None, None), answered("401"));
    assert_eq!(status(None, Some(key)), answered("200"));
    // A header is who the caller says that it is, whatever certificate it has.
    assert_eq!(status(Some("stranger"), Some(key)), answered("200"));
    assert_eq!(
        status(Some("runner"), Some("arb_0123456789abcdef_wrong")),
        answered("401")
    );
    assert_eq!(status(Some("runner"), Some("a.b.c")), answered("401"));
    assert_eq!(serving.stop().code(), Some(0));
}
