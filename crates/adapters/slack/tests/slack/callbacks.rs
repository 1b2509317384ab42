//! What Slack sends when somebody presses a button.

use std::fmt::Write as _;
use std::time::Duration;

use arbiter_adapter_slack::{
    CallbackError, InvalidSigningSecret, MAX_CALLBACK_BYTES, REPLAY_WINDOW, Signed, SlackAction,
    SlackInteraction, SlackSignature,
};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use arbiter_testkit::builders::incident;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The published example (Slack, "Verifying requests from Slack").
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const BODY: &[u8] = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
    channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
    response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
    trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
const SIGNED: Signed<'static> = Signed {
    timestamp: "1531420618",
    signature: "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
};
const AT: Timestamp = Timestamp::from_micros(1_531_420_618_000_000);

fn checker() -> SlackSignature {
    SlackSignature::new(SecretText::new(SECRET)).unwrap()
}

fn verify(signed: Signed<'_>, body: &[u8], now: Timestamp) -> Result<(), CallbackError> {
    checker().verify(signed, body, now, REPLAY_WINDOW)
}

/// The form that Slack makes of a payload.
fn form(payload: &Value) -> Vec<u8> {
    let mut body = "payload=".to_owned();
    for byte in payload.to_string().bytes() {
        write!(body, "%{byte:02X}").unwrap();
    }
    body.into_bytes()
}

fn payload(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut payload = serde_json::from_str(include_str!("../fixtures/block-actions.json")).unwrap();
    change(&mut payload);
    form(&payload)
}

#[test]
fn the_published_example_is_accepted() {
    assert_eq!(verify(SIGNED, BODY, AT), Ok(()));
}

#[test]
fn every_part_is_signed() {
    let other = SlackSignature::new(SecretText::new("another")).unwrap();
    assert_eq!(
        other.verify(SIGNED, BODY, AT, REPLAY_WINDOW),
        Err(CallbackError::Signature)
    );
    let moved = Signed {
        timestamp: "1531420619",
        ..SIGNED
    };
    assert_eq!(verify(moved, BODY, AT), Err(CallbackError::Signature));
    assert_eq!(verify(SIGNED, b"payload=", AT), Err(CallbackError::Signature));
    let opened = checker().open(SIGNED, &payload(|_| ()), AT, REPLAY_WINDOW);
    assert_eq!(opened, Err(CallbackError::Signature));
    // the published example is signed, and no interaction
    assert_eq!(
        checker().open(SIGNED, BODY, AT, REPLAY_WINDOW),
        Err(CallbackError::Form)
    );
}

#[test]
fn old_and_future_requests_are_refused() {
    let late = Duration::from_micros(1);
    for (now, expected) in [
        (AT.plus(REPLAY_WINDOW), Ok(())),
        (AT.minus(REPLAY_WINDOW), Ok(())),
        (AT.plus(REPLAY_WINDOW + late), Err(CallbackError::TooOld)),
        (AT.minus(REPLAY_WINDOW + late), Err(CallbackError::TooNew)),
    ] {
        assert_eq!(verify(SIGNED, BODY, now), expected);
    }
}

#[test]
fn headers_of_another_form_are_refused() {
    for timestamp in ["", "-1", "1531420618.5", "99999999999999", "now"] {
        let signed = Signed { timestamp, ..SIGNED };
        assert_eq!(
            verify(signed, BODY, AT),
            Err(CallbackError::Header),
            "{timestamp}"
        );
    }
    let digits = SIGNED.signature.trim_start_matches("v0=");
    for signature in [
        "",
        "v0=",
        digits,
        &format!("v1={digits}"),
        &SIGNED.signature[..40],
        &format!("v0={digits}00"),
    ] {
        let signed = Signed { signature, ..SIGNED };
        assert_eq!(
            verify(signed, BODY, AT),
            Err(CallbackError::Header),
            "{signature}"
        );
    }
    let large = vec![b' '; MAX_CALLBACK_BYTES + 1];
    assert_eq!(verify(SIGNED, &large, AT), Err(CallbackError::TooLarge));
    assert_eq!(SlackInteraction::parse(&large), Err(CallbackError::TooLarge));
    assert_eq!(
        SlackSignature::new(SecretText::new("")).err(),
        Some(InvalidSigningSecret)
    );
    assert!(!format!("{:?}", checker()).contains("8f74"));
}

#[test]
fn a_pressed_button_is_read() {
    let expected = SlackInteraction {
        action: SlackAction::Acknowledge,
        incident: incident(1),
        user: "U2CERLKJA".to_owned(),
        user_name: Some("ada".to_owned()),
        team: Some("T1DC2JH3J".to_owned()),
        message: Some("CBR2V3XEX:1548261231.000200".to_owned()),
    };
    assert_eq!(SlackInteraction::parse(&payload(|_| ())), Ok(expected));
    let resolve = payload(|payload| payload["actions"][0]["action_id"] = json!("resolve"));
    assert_eq!(
        SlackInteraction::parse(&resolve).unwrap().action,
        SlackAction::Resolve
    );
}

#[test]
fn what_is_not_known_is_absent() {
    let bare = payload(|payload| {
        for name in ["team", "container"] {
            payload[name] = Value::Null;
        }
        payload["user"] = json!({"id": "U1"});
    });
    let read = SlackInteraction::parse(&bare).unwrap();
    assert_eq!((read.user_name, read.team, read.message), (None, None, None));
}

#[test]
fn other_interactions_are_refused() {
    for body in [
        payload(|payload| payload["type"] = json!("view_submission")),
        payload(|payload| payload["actions"] = json!([])),
        payload(|payload| {
            let pressed = payload["actions"][0].clone();
            payload["actions"] = json!([pressed, pressed]);
        }),
        payload(|payload| payload["actions"][0]["action_id"] = json!("delete")),
        payload(|payload| payload["actions"][0]["value"] = Value::Null),
        payload(|payload| payload["actions"][0]["value"] = json!("not an id")),
    ] {
        assert_eq!(SlackInteraction::parse(&body), Err(CallbackError::Action));
    }
    for body in [
        b"".to_vec(),
        b"other=1".to_vec(),
        b"payload=".to_vec(),
        b"payload=%FF".to_vec(),
        form(&json!([])),
        payload(|payload| payload["user"] = Value::Null),
        payload(|payload| payload["user"]["id"] = json!("")),
        payload(|payload| payload["user"]["id"] = json!("x".repeat(256))),
        payload(|payload| payload["actions"] = json!("none")),
    ] {
        assert_eq!(SlackInteraction::parse(&body), Err(CallbackError::Form));
    }
}

proptest! {
    #[test]
    fn no_bytes_bring_the_reader_down(body in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,100}") {
        let _read = SlackInteraction::parse(&body);
        let signed = Signed { timestamp: &text, signature: &text };
        prop_assert!(verify(signed, &body, AT).is_err());
    }
}
