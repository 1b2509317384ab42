//! Recall, precision and laws of redaction.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ";

fn redactor() -> Redactor {
    Redactor::new(&RedactionRules::default()).expect("rules")
}

/// Texts and the part of each that must not survive.
fn canaries() -> Vec<(String, &'static str)> {
    let pairs = [
        ("sk-4bC9dE8fG7hJ6kL5mN4p", "4bC9dE8fG7hJ6kL5mN4p"),
        ("key is sk-ant-api03-canaryvalue-x", "canaryvalue"),
        ("(sk-proj-canaryvalue)", "canaryvalue"),
        ("100% (sk-proj-canaryvalue)", "canaryvalue"),
        ("q%3Dsk-proj-canaryvalue", "canaryvalue"),
        ("use AKIAIOSFODNN7EXAMPLE now", "AKIAIOSFODNN7EXAMPLE"),
        ("ASIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "16C7e42F292c6912"),
        ("gho_16C7e42F292c6912E7710c838347Ae178B4a", "16C7e42F292c6912"),
        ("ghs_16C7e42F292c6912E7710c838347Ae178B4a.", "16C7e42F292c6912"),
        (
            "github_pat_11ABCDEFG0abcdefghijkl_mnop",
            "11ABCDEFG0abcdefghijkl_mnop",
        ),
        ("xoxb-123456789012-abcdefABCDEF", "abcdefABCDEF"),
        ("xoxe.xoxp-1-Mi0yLTEyMzQ1Njc4", "Mi0yLTEyMzQ1Njc4"),
        (
            "AIzaSyA-1234567890abcdefghijklmnopqrstu",
            "SyA-1234567890abcdefghijklmnopqrstu",
        ),
        ("glpat-aB3dE5fG7hJ9kL1mN2pQ", "aB3dE5fG7hJ9"),
        ("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "4eC39HqLyjWDarjtT1zdp7dc"),
        ("npm_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "a1B2c3D4e5F6"),
        ("hf_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH", "aBcDeFgHiJkL"),
        ("ya29.a0AfH6SMBx1234567890", "a0AfH6SMBx1234567890"),
        ("arb_01J8ZQ4X9T7M3C5V2N6B8K0D1F", "01J8ZQ4X9T7M3C5V2N6B8K0D1F"),
        (
            "https://hooks.slack.com/services/T000/B000/XXXXcanary123456",
            "XXXXcanary123456",
        ),
        (
            "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl!",
            "c2lnbmF0dXJl",
        ),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0.", "eyJzdWIiOiIxMjM0In0"),
        ("cut eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0", "eyJzdWIi"),
        ("a\\neyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "eyJzdWIi"),
        ("Bearer abc123", "abc123"),
        ("bearer  mF_9.B5f-4.1JqM", "mF_9"),
        ("Authorization: Bearer opaquetoken", "opaquetoken"),
        ("Authorization: Basic dXNlcjpodW50ZXIy", "dXNlcjpodW50ZXIy"),
        ("sent Basic dXNlcjpodW50ZXIy as a header", "dXNlcjpodW50ZXIy"),
        ("curl -H 'Authorization: token canary0' x", "canary0"),
        (
            "Authorization: Digest username=\"x\", response=\"canary0\"",
            "canary0",
        ),
        ("-H \"Cookie: a=canary0; b=canary0\" -v", "canary0"),
        ("Set-Cookie: sid=canary0; Path=/; HttpOnly", "canary0"),
        ("postgres://app:hunter2@db.example/app", "hunter2"),
        ("redis://:hunter2@cache:6379/0", "hunter2"),
        ("https://user:p@ss:w0rd@host/x", "p@ss:w0rd"),
        ("postgres://u:hun/ter2@db.example/app", "hun/ter2"),
        (
            "https://x1y2z3a4b5c6d7e8f9g0h1@host.example/repo.git",
            "x1y2z3a4b5c6",
        ),
        ("https://api.example/v1?access_token=canary0&x=1", "canary0"),
        ("https://api.example/v1?x=1&api_key=canary0", "canary0"),
        ("password=hunter2", "hunter2"),
        ("PASSWORD = 'hunter two'", "hunter two"),
        ("the password: hunter2, then", "hunter2"),
        ("db_password=Tr0ub4dor&3", "Tr0ub4dor&3"),
        ("Server=x;Uid=sa;Pwd=hunter2;Encrypt=yes", "hunter2"),
        ("api_key: \"canary zero\"", "canary zero"),
        ("API key: canary0", "canary0"),
        ("export GITHUB_TOKEN=canary", "canary"),
        ("x-api-key: canary0", "canary0"),
        ("{\"password\":\"hunter2\"", "hunter2"),
        ("{\\\"apiKey\\\":\\\"canary0\\\",\\\"n\\\":1} tail", "canary0"),
        ("config['secret'] = 'canary0'", "canary0"),
        (":client_secret => \"canary0\"", "canary0"),
        ("if password == \"hunter2\" {", "hunter2"),
        ("login --password hunter2 --user x", "hunter2"),
        ("login --token=canary", "canary"),
        ("<password>hunter2</password>", "hunter2"),
        ("token%3Dcanary0", "canary0"),
        ("secret := `canary0`", "canary0"),
        ("passphrase: correct-horse9", "correct-horse9"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "wJalrXUtnFEMI",
        ),
        ("AccountKey=abc123+/def==;EndpointSuffix=x", "abc123+/def"),
        ("password = \"\"\"hunter2\"\"\"", "hunter2"),
        ("PASSWORD=hunter2)", "hunter2"),
        ("pässword → password=hünter2 ✓", "hünter2"),
        ("session=canary0abc", "canary0abc"),
        ("refresh_token: 1//canary0", "canary0"),
        ("pwd={hunter2}", "hunter2"),
        (
            "\"private_key\": \"-----BEGIN RSA PRIVATE KEY-----\\nMIICanary\\n\"",
            "MIICanary",
        ),
    ];
    let mut all: Vec<_> = pairs
        .iter()
        .map(|(text, canary)| ((*text).to_owned(), *canary))
        .collect();
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQCcanary+/=";
    for (begin, end) in [
        ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"),
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----END OPENSSH PRIVATE KEY-----",
        ),
        ("-----BEGIN EC PRIVATE KEY-----", "cut off here"),
    ] {
        all.push((format!("key:\n{begin}\n{body}\n{end}\nafter"), "canary"));
        all.push((
            format!("key {begin}\\n{}\\n{end}", body.replace('\n', "\\n")),
            "canary",
        ));
    }
    all
}

#[test]
fn every_canary_is_removed_in_every_place() {
    let redactor = redactor();
    let canaries = canaries();
    assert!(canaries.len() >= 60);
    for (text, canary) in &canaries {
        let clean = redactor.text(text);
        assert!(
            !clean.contains(canary) && clean.contains(REDACTED),
            "{text:?} became {clean:?}"
        );
        assert_eq!(redactor.text(&clean), clean, "{text:?} is not stable");
        for padded in [
            format!("see {text}"),
            format!("{text}\nnext line"),
            format!("(“{text}” – ok)"),
        ] {
            let clean = redactor.text(&padded);
            assert!(!clean.contains(canary), "{padded:?} became {clean:?}");
        }
        let value = json!({"a": [{"note": text}], "inner": json!({"b": [text]}).to_string()});
        let clean = redactor.json_text(&value.to_string()).expect("JSON").into_owned();
        let escaped = Value::from(*canary).to_string();
        assert!(
            !clean.contains(canary) && !clean.contains(escaped.trim_matches('"')),
            "{clean}"
        );
        serde_json::from_str::<Value>(&clean).expect("still JSON");
    }
}

#[test]
fn clean_text_is_given_back_borrowed() {
    let redactor = redactor();
    let texts = [
        "",
        "Wait... the range 0..10, then ../README.md",
        "the token bucket holds 10 tokens",
        "Authorization is required for every route.",
        "Authorization: required",
        "token: https://auth.example/token, secret=http://vault.example/",
        "token: the smallest unit of text",
        "Tokens: 512, max_tokens=4096, token_count: 17",
        "{\"usage\":{\"input_tokens\":12,\"output_tokens\":34,\"total_tokens\":46}}",
        "cost_per_token: 0.00002",
        "next_token=abcdef0123456789",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d",
        "task-0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d",
        "disk-usage-report-2026-01-31-final.txt",
        "risk-assessment-2026-framework",
        "class=\"sk-folding-cube sk-circle-fade-dot\"",
        "use sk-learn for this",
        "the secretary kept a secret",
        "it is no secret: nobody reads the manual",
        "Reset your password on the settings page.",
        "password: required",
        "password: String,",
        "pub token: Option<Token>,",
        "secret: Vec<u8>, token: &'a str",
        "let token = lexer.next();",
        "token = get_token()",
        "password = os.environ[\"DB_PASSWORD\"]",
        "const secret = process.env.SECRET;",
        "connect(user=user, password=password)",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "password=$DB_PASSWORD",
        "--password ${PASSWORD}",
        "api_key: <your-api-key>",
        "Authorization: Bearer <token>",
        "Authorization: Bearer $TOKEN",
        "use a bearer token with each request",
        "Bearer authentication is specified in RFC 6750",
        "Basic authentication; basic understanding of Rust",
        "the bearer of bad news",
        "password: ********",
        "password=[redacted]",
        "token: null, secret: none, password = false",
        "if token == other { return; }",
        "Token::new(secret::Key)",
        "session: 5 minutes",
        "session=3",
        "the session key: see chapter 4",
        "cookie: chocolate",
        "the cookie banner",
        "--token-file /etc/arbiter/token",
        "--password-stdin is read",
        "use --token to pass it",
        "private_key: /etc/ssl/private/key.pem",
        "credentials: ~/.aws/credentials",
        "files beginning with -----BEGIN PRIVATE KEY----- are refused",
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEbGVnYWN5\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrB\n-----END PUBLIC KEY-----",
        "https://example.com:8443/@scope/package",
        "https://medium.com/@user/story",
        "postgres://localhost:5432/app",
        "git clone ssh://git@github.com/org/repo",
        "git@github.com:org/repo.git, mail ops@example.com",
        "eyJ is how JSON begins in base64",
        "npm_config_registry and hf_hub_download and arb_trage_bot",
        "asia-northeast1, ASIAN markets, AKIA",
        "primary_key: id, foreign_key: user_id, idempotency_key=abc123def456",
        "key: value, the key = 5, keyboard: qwerty",
        "fencing_token: 17 grows",
        "Passwords must have 12 characters",
        "The API key must be rotated.",
        "wie geht's? 日本語のテキスト — ‘quotes’ 🎉",
        "[note] a list, not JSON]",
        "[1, 2, {\"a\": \"b\\u00e9\"}]",
        "fn check(password: &str, salt: &[u8]) -> bool",
        "signature: MEUCIQDx and pipeline: x",
        "string: \"abc\", connection: keep-alive",
    ];
    assert!(texts.len() >= 60);
    for text in texts {
        let clean = redactor.text(text);
        assert!(matches!(clean, Cow::Borrowed(_)), "{text:?} became {clean:?}");
        assert_eq!(clean, text);
    }
}

#[test]
fn nothing_but_the_secret_goes() {
    let redactor = redactor();
    for (text, clean) in [
        ("a password=hunter2, b", "a password=[redacted], b"),
        ("password=hunter2.", "password=[redacted]."),
        ("?token=canary0&page=2", "?token=[redacted]&page=2"),
        ("redis://u:hunter2@h/0", "redis://u:[redacted]@h/0"),
        (
            "Authorization: Bearer abc123 sent",
            "Authorization: Bearer [redacted] sent",
        ),
        ("-H \"Cookie: a=b; c=d\" -v", "-H \"Cookie: [redacted]\" -v"),
        ("x 'sk-4bC9dE8fG7hJ6kL5mN4p' y", "x '[redacted]' y"),
        (
            "Uid=sa;Pwd=hunter2;Encrypt=yes",
            "Uid=sa;Pwd=[redacted];Encrypt=yes",
        ),
        (
            "f(\"x\", token=\"abc\", n=1)",
            "f(\"x\", token=\"[redacted]\", n=1)",
        ),
        ("<secret>abc1</secret>", "<secret>[redacted]</secret>"),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n-----END PRIVATE KEY-----\nx",
            "[redacted]\nx",
        ),
    ] {
        assert_eq!(redactor.text(text), clean);
    }
}

#[test]
fn json_text_changes_nothing_else() {
    let redactor = redactor();
    for (text, clean) in [
        (
            r#"{ "b" : 1.50, "password" : "x", "a" : 1e400 }"#,
            r#"{ "b" : 1.50, "password" : "[redacted]", "a" : 1e400 }"#,
        ),
        (
            r#"{"token":12345,"n":12345}"#,
            r#"{"token":"[redacted]","n":12345}"#,
        ),
        (
            r#"{"credentials":{"u":"a","p":["}","{\""]},"z":1}"#,
            r#"{"credentials":"[redacted]","z":1}"#,
        ),
        (
            r#"[{"secrets":["a","b"]},"Bearer abc123"]"#,
            r#"[{"secrets":"[redacted]"},"Bearer [redacted]"]"#,
        ),
        (r#"{"pass\u0077ord":"x"}"#, r#"{"pass\u0077ord":"[redacted]"}"#),
        (
            r#"{"note":"https:\/\/u:hunter2@h\/","k":"\/"}"#,
            r#"{"note":"https://u:[redacted]@h/","k":"\/"}"#,
        ),
        (
            r#"{"log":"{\"token\":\"abc\",\"n\":1}"}"#,
            r#"{"log":"{\"token\":\"[redacted]\",\"n\":1}"}"#,
        ),
        (
            r#"{"a":"line\nsk-ant-canary0000\t\"x\""}"#,
            r#"{"a":"line\n[redacted]\t\"x\""}"#,
        ),
        (r#"{"sk-ant-canary0000":1}"#, r#"{"[redacted]":1}"#),
        (r#""password=hunter2""#, r#""password=[redacted]""#),
        (
            r#"{"id":{"token":"a"},"token":{"x":{}},"y":"t"}"#,
            r#"{"id":{"token":"[redacted]"},"token":"[redacted]","y":"t"}"#,
        ),
    ] {
        serde_json::from_str::<serde::de::IgnoredAny>(text).expect("test input");
        assert_eq!(redactor.json_text(text), Ok(Cow::Borrowed(clean)), "{text}");
        assert!(
            matches!(redactor.json_text(clean), Ok(Cow::Borrowed(_))),
            "{clean} is not stable"
        );
    }
    for text in [
        r#"{"max_tokens":5,"usage":{"input_tokens":12},"token":null,"password":true,"secret":"","cookies":[ ],"session":{}}"#,
        "17",
        "null",
        r#"[true,false,null,-1.5e-3,"\\","\"",{}]"#,
    ] {
        assert!(
            matches!(redactor.json_text(text), Ok(Cow::Borrowed(same)) if same == text),
            "{text}"
        );
    }
    for bad in [
        "",
        "{",
        "{\"password\": x}",
        "{password: \"x\"}",
        "[1] 2",
        "\"\\ud800\"",
    ] {
        assert_eq!(
            redactor.json_text(bad).map(Cow::into_owned),
            Err(NotJson),
            "{bad}"
        );
    }
}

#[test]
fn json_in_strings_is_looked_into_to_a_bounded_depth() {
    let redactor = redactor();
    let mut text = json!({"credentials": {"user": "canary0"}, "list": ["canary-not-secret"]}).to_string();
    for _ in 0..4 {
        text = json!({ "body": text }).to_string();
    }
    let clean = redactor.json_text(&text).expect("JSON");
    assert!(
        !clean.contains("canary0") && clean.contains("canary-not-secret"),
        "{clean}"
    );
    let deep = (0..12).fold("{\"password\":\"hunter2\"}".to_owned(), |text, _| {
        json!([text]).to_string()
    });
    let clean = redactor.json_text(&deep).expect("JSON");
    serde_json::from_str::<Value>(&clean).expect("still JSON");
}

#[test]
fn values_and_maps_are_counted() {
    let redactor = redactor();
    let mut value = json!({
        "password": "x", "token": 5, "nested": [{"apiKey": {"a": 1}}, "Bearer abc123", "fine"],
        "sk-ant-canary0000": 1, "usage": {"input_tokens": 3}, "secret": null,
    });
    assert_eq!(redactor.value(&mut value), 5);
    assert_eq!(
        value,
        json!({
            "password": REDACTED, "token": REDACTED,
            "nested": [{"apiKey": REDACTED}, "Bearer [redacted]", "fine"],
            REDACTED: 1, "usage": {"input_tokens": 3}, "secret": null,
        })
    );
    assert_eq!(redactor.value(&mut value), 0);

    let mut map: BTreeMap<String, String> = [
        ("GITHUB_TOKEN", "x"),
        ("note", "password=hunter2"),
        ("team", "core"),
        ("secret", ""),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    assert_eq!(redactor.map(&mut map), 2);
    assert_eq!(
        (map["GITHUB_TOKEN"].as_str(), map["note"].as_str()),
        (REDACTED, "password=[redacted]")
    );
    assert_eq!(map["team"], "core");
    assert_eq!(redactor.map(&mut map), 0);
}

#[test]
fn emails_go_only_by_policy() {
    let text = "mail Jane.Doe+x@mail.example.org, git@github.com:org/repo, pkg@1.2.3, a@b and @scope/x";
    assert_eq!(redactor().text(text), text);
    let strict = Redactor::new(&RedactionRules {
        emails: true,
        ..RedactionRules::default()
    })
    .expect("rules");
    assert_eq!(
        strict.text(text),
        "mail [redacted], git@github.com:org/repo, pkg@1.2.3, a@b and @scope/x"
    );
    assert_eq!(strict.text("<ops@example.com>."), "<[redacted]>.");
    assert_eq!(
        strict.text("https://u:pw1@h.example/"),
        "https://u:[redacted]@h.example/"
    );
}

#[test]
fn extra_rules_join_the_built_in_ones() {
    let rules = RedactionRules {
        extra_keys: vec!["Badge Number".to_owned(), "personal-code".to_owned()],
        emails: false,
        extra_patterns: vec![r"\bACME-\d{4}\b".to_owned(), r"re\w*|x*".to_owned()],
    };
    let redactor = Redactor::new(&rules).expect("rules");
    assert_eq!(
        redactor.text("badge_number=ab12 on ACME-1234"),
        "badge_number=[redacted] on [redacted]"
    );
    assert_eq!(redactor.text("password=abc"), "password=[redacted]");
    let json = r#"{"employeeBadgeNumber":"ab12","personalCode":"cd34"}"#;
    let clean = r#"{"employeeBadgeNumber":"[redacted]","personalCode":"[redacted]"}"#;
    assert_eq!(redactor.json_text(json), Ok(Cow::Borrowed(clean)));
    assert_eq!(
        redactor.json_text(r#"["a ACME-1234"]"#),
        Ok(Cow::Borrowed(r#"["a [redacted]"]"#))
    );
    assert!(!format!("{redactor:?}").to_lowercase().contains("acme"));
    assert_eq!(format!("{redactor:?}"), "Redactor { .. }");

    let with = |key: &str, pattern: &str| {
        Redactor::new(&RedactionRules {
            extra_keys: vec![key.to_owned()],
            extra_patterns: vec![pattern.to_owned()],
            ..RedactionRules::default()
        })
    };
    assert!(matches!(with("--", "a"), Err(InvalidRules::Key(key)) if key == "--"));
    assert!(matches!(
        with("a", "("),
        Err(InvalidRules::Pattern { number: 1, .. })
    ));
}

#[test]
fn hostile_repetition_stays_linear() {
    // Quadratic rules would need minutes for these.
    let redactor = redactor();
    for part in [
        "eyJ",
        "eyJ-",
        "eyJaaaaaaaaaa.",
        "sk-",
        "token",
        "token=\"",
        "password:'",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "a://b:c/",
        "bearer ",
        "basic ",
        "@",
        "cookie: a",
        "&token=",
        "key key ",
        "\\\"token\\\":\\\"",
        "xoxb-1-",
        "[[",
        "{\"a\":",
    ] {
        let text = part.repeat(200_000 / part.len());
        let clean = redactor.text(&text).into_owned();
        assert_eq!(redactor.text(&clean), clean, "{part}");
    }
}

/// Text made of pieces that touch the rules.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "password",
            "token",
            "api key",
            "Authorization",
            "Cookie",
            "Bearer ",
            "Basic ",
            "--",
            "secret",
            "=",
            ":",
            ": ",
            " = ",
            "=>",
            "\"",
            "'",
            "\\\"",
            "\\",
            "\\n",
            "\n",
            " ",
            "&",
            ";",
            ",",
            ")",
            "[",
            "]",
            "{",
            "}",
            "<",
            ">",
            "$",
            "hunter2",
            "abc123def456",
            "sk-ant-canary0000",
            "AKIAIOSFODNN7EXAMPLE",
            "eyJ",
            "://",
            "user:pw@host",
            "@",
            "a.example",
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "MIIEvQIBADANBgkqhkiG",
            "xoxb-",
            "[redacted]",
            "dXNlcjpodW50ZXIy",
            "é",
            "日",
            "a=b",
            "%3D",
            "null",
            "Digest ",
        ])
        .prop_map(str::to_owned),
        Just(JWT.to_owned()),
        "\\PC{0,6}",
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        pieces().prop_map(Value::from),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "password",
            "apiKey",
            "max_tokens",
            "note",
            "Set-Cookie",
            "pass\"word",
            "a\\b"
        ])
        .prop_map(str::to_owned),
        "[a-z_é\"\\\\]{0,7}",
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner.clone(), 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

#[test]
fn redaction_of_text_is_idempotent() {
    let redactors = [
        redactor(),
        Redactor::new(&RedactionRules {
            emails: true,
            ..RedactionRules::default()
        })
        .expect("rules"),
    ];
    proptest!(ProptestConfig::with_cases(2000), |(text in pieces())| {
        for redactor in &redactors {
            let once = redactor.text(&text).into_owned();
            prop_assert_eq!(redactor.text(&once), once.as_str());
        }
    });
}

#[test]
fn json_text_and_value_agree_and_are_idempotent() {
    let redactor = redactor();
    proptest!(ProptestConfig::with_cases(1000), |(value in any_json(), pretty in any::<bool>())| {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("JSON");
        let clean = redactor.json_text(&text).expect("JSON");
        let parsed: Value = serde_json::from_str(&clean).expect("still JSON");
        let mut in_memory = value.clone();
        let count = redactor.value(&mut in_memory);
        prop_assert_eq!(&parsed, &in_memory);
        prop_assert_eq!(count == 0, matches!(clean, Cow::Borrowed(_)));
        prop_assert_eq!(redactor.value(&mut in_memory), 0);
        prop_assert!(matches!(redactor.json_text(&clean).expect("JSON"), Cow::Borrowed(_)));
    });
}

#[test]
fn a_planted_secret_never_survives_its_surroundings() {
    let redactor = redactor();
    proptest!(|(before in "[ a-z.,(\n]{0,20}", after in "([ ,)\n][ a-z.,\n]{0,20})?", at in 0..4_usize)| {
        let canary = ["sk-ant-canary0000", "AKIAIOSFODNN7EXAMPLE", JWT, "ghp_16C7e42F292c6912E7710c838347Ae178B4a"][at];
        let text = format!("{before} {canary}{after}");
        prop_assert_eq!(redactor.text(&text), format!("{before} [redacted]{after}"));
    });
}
