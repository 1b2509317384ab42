//! What PagerDuty calls back.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use arbiter_adapter_pagerduty::{
    CallbackAction, CallbackError, InvalidSigningSecrets, MAX_CALLBACK_BYTES, PagerDutyCallback,
    PagerDutySignature, Person, REPLAY_WINDOW,
};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const BODY: &[u8] = include_bytes!("../fixtures/incident-acknowledged.json");
const SECRET: &str = "canary-signing-secret";
const NEXT: &str = "canary-next-secret";
/// When the fixture's event happened: 2026-01-01T00:00:00.169Z.
const AT: Timestamp = Timestamp::from_micros(1_767_225_600_169_000);

/// The signature, computed by another implementation.
fn signature(secret: &str, body: &[u8]) -> String {
    let script = "import hashlib, hmac, sys\n\
        print(hmac.new(sys.argv[1].encode(), sys.stdin.buffer.read(), hashlib.sha256).hexdigest(), end='')";
    let mut python = Command::new("python3")
        .args(["-c", script, secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(body).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    format!("v1={}", String::from_utf8(output.stdout).unwrap())
}

fn checker(secrets: &[&str]) -> PagerDutySignature {
    PagerDutySignature::new(secrets.iter().map(|text| SecretText::new(*text)).collect()).unwrap()
}

fn event(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut delivery: Value = serde_json::from_slice(BODY).unwrap();
    change(&mut delivery["event"]);
    delivery.to_string().into_bytes()
}

#[test]
fn a_signed_delivery_is_read() {
    let header = signature(SECRET, BODY);
    let callback = checker(&[SECRET]).open(&header, BODY, AT, REPLAY_WINDOW).unwrap();
    let expected = PagerDutyCallback {
        id: "01CG2N4Q8VQHYJ4XZGOV0K9A2D".to_owned(),
        action: CallbackAction::Acknowledged,
        key: Some("arbiter/incident-1".to_owned()),
        incident: Some("PGR0VU2".to_owned()),
        who: Some(Person {
            id: "PLH1HKV".to_owned(),
            name: Some("Ada Example".to_owned()),
        }),
        occurred_at: AT,
    };
    assert_eq!(callback, expected);
}

#[test]
fn any_of_the_signatures_and_any_of_the_secrets_will_do() {
    let (one, two) = (signature(SECRET, BODY), signature(NEXT, BODY));
    let both = format!("{two}, {one}");
    for (secrets, header) in [
        (&[SECRET][..], &both),
        (&[NEXT], &both),
        (&[NEXT, SECRET], &one),
        (&[SECRET, NEXT], &two),
        (&[SECRET], &format!("v2=00,v1=zz,{one}")),
    ] {
        assert_eq!(checker(secrets).verify(header, BODY), Ok(()), "{header}");
    }
    let other = checker(&["another"]);
    assert_eq!(other.verify(&both, BODY), Err(CallbackError::Signature));
}

#[test]
fn what_was_not_signed_is_refused() {
    let header = signature(SECRET, BODY);
    let checker = checker(&[SECRET]);
    let mut changed = BODY.to_vec();
    changed[40] ^= 1;
    assert_eq!(checker.verify(&header, &changed), Err(CallbackError::Signature));
    assert_eq!(
        checker.open(&header, &changed, AT, REPLAY_WINDOW),
        Err(CallbackError::Signature)
    );
    let digits = header.trim_start_matches("v1=");
    let many = vec![header.as_str(); 17].join(",");
    for bad in [
        "",
        "v1=",
        "v1",
        digits,
        &format!("v0={digits}"),
        &header[..40],
        &format!("{header}00"),
        &many,
    ] {
        assert_eq!(checker.verify(bad, BODY), Err(CallbackError::Header), "{bad}");
    }
    let large = vec![b' '; MAX_CALLBACK_BYTES + 1];
    assert_eq!(checker.verify(&header, &large), Err(CallbackError::TooLarge));
    assert_eq!(PagerDutyCallback::parse(&large), Err(CallbackError::TooLarge));
}

#[test]
fn old_and_future_deliveries_are_refused() {
    let header = signature(SECRET, BODY);
    let checker = checker(&[SECRET]);
    let late = Duration::from_micros(1);
    for (now, expected) in [
        (AT.plus(REPLAY_WINDOW), None),
        (AT.minus(REPLAY_WINDOW), None),
        (AT.plus(REPLAY_WINDOW + late), Some(CallbackError::TooOld)),
        (AT.minus(REPLAY_WINDOW + late), Some(CallbackError::TooNew)),
    ] {
        assert_eq!(checker.open(&header, BODY, now, REPLAY_WINDOW).err(), expected);
    }
}

#[test]
fn each_kind_of_event_has_its_action() {
    for (word, action) in [
        ("incident.triggered", CallbackAction::Triggered),
        ("incident.acknowledged", CallbackAction::Acknowledged),
        ("incident.unacknowledged", CallbackAction::Unacknowledged),
        ("incident.resolved", CallbackAction::Resolved),
        ("incident.reopened", CallbackAction::Reopened),
        ("pagey.ping", CallbackAction::Ping),
        (
            "incident.escalated",
            CallbackAction::Other("incident.escalated".to_owned()),
        ),
    ] {
        let body = event(|event| event["event_type"] = json!(word));
        assert_eq!(PagerDutyCallback::parse(&body).unwrap().action, action);
    }
}

#[test]
fn what_is_not_known_is_absent() {
    let body = event(|event| {
        event["agent"] = Value::Null;
        event["data"]["incident_key"] = Value::Null;
    });
    let callback = PagerDutyCallback::parse(&body).unwrap();
    assert_eq!((callback.who, callback.key), (None, None));
    assert_eq!(callback.incident.as_deref(), Some("PGR0VU2"));
    // a note on an incident is in the same place as an incident, and has an id of its own
    let body = event(|event| event["data"] = json!({"type": "incident_note", "id": "PNOTE", "content": "x"}));
    assert_eq!(PagerDutyCallback::parse(&body).unwrap().incident, None);
    let body =
        event(|event| event["data"] = json!({"type": "ping", "message": "Hello from your friend Pagey!"}));
    assert_eq!(PagerDutyCallback::parse(&body).unwrap().incident, None);
}

#[test]
fn what_is_no_delivery_is_refused() {
    let long = "x".repeat(1_025);
    for body in [
        b"".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        br#"{"event":null}"#.to_vec(),
        event(|event| event["id"] = Value::Null),
        event(|event| event["id"] = json!("")),
        event(|event| event["id"] = json!(long)),
        event(|event| event["event_type"] = json!(7)),
        event(|event| event["occurred_at"] = json!("yesterday")),
        event(|event| event["agent"] = json!("Ada")),
        event(|event| event["data"]["incident_key"] = json!(long)),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(
            PagerDutyCallback::parse(&body),
            Err(CallbackError::Form),
            "{text}"
        );
    }
}

#[test]
fn secrets_are_one_or_two_and_never_shown() {
    let make = |secrets: &[&str]| {
        PagerDutySignature::new(secrets.iter().map(|text| SecretText::new(*text)).collect()).err()
    };
    assert_eq!(make(&[SECRET]), None);
    assert_eq!(make(&[SECRET, NEXT]), None);
    for bad in [&[][..], &[""], &[SECRET, ""], &[SECRET, NEXT, "third"]] {
        assert_eq!(make(bad), Some(InvalidSigningSecrets));
    }
    assert!(!format!("{:?}", checker(&[SECRET])).contains("canary"));
}

proptest! {
    #[test]
    fn no_bytes_bring_the_reader_down(body in prop::collection::vec(any::<u8>(), 0..300), header in ".{0,100}") {
        let _read = PagerDutyCallback::parse(&body);
        prop_assert!(checker(&[SECRET]).verify(&header, &body).is_err());
    }
}
