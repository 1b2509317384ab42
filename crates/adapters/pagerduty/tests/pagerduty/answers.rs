//! What each answer means.

use std::time::Duration;

use arbiter_core::ports::{NoticeStep, NotifyError};
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::notice;
use arbiter_testkit::contract::whole;
use serde_json::Value;

use crate::schema::violations;
use crate::support::{KEY, World, refused, taken};

async fn told(answer: StubAnswer) -> Result<Option<String>, NotifyError> {
    let world = World::answering(move |_, _| answer.clone()).await;
    let result = world.notify(&notice(1, NoticeStep::Open)).await;
    assert_eq!(world.events().len(), 1, "one call is one try");
    result.map(|taken| taken.reference)
}

#[tokio::test]
async fn the_stub_answers_as_the_contract_says() {
    let world = World::answering(|request, _| taken(request)).await;
    world.notify(&notice(1, NoticeStep::Open)).await.unwrap();
    let body = |answer| match answer {
        StubAnswer::Reply { body, .. } => serde_json::from_slice::<Value>(&body).unwrap(),
        other => panic!("{other:?}"),
    };
    let seen = world.stub.seen().remove(0);
    assert_eq!(violations("Accepted", &body(taken(&seen))), Vec::<String>::new());
    assert_eq!(
        violations("Rejected", &body(refused(400, "no", &["why"]))),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn the_reference_is_the_key_that_pagerduty_names() {
    let named = r#"{"status":"success","message":"Event processed","dedup_key":"its own"}"#;
    assert_eq!(
        told(StubAnswer::reply(202, named)).await.unwrap().as_deref(),
        Some("its own")
    );
    for absent in [
        r#"{"status":"success"}"#,
        r#"{"status":"success","dedup_key":""}"#,
    ] {
        assert_eq!(told(StubAnswer::reply(202, absent)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn every_status_has_its_meaning() {
    for status in 200..600 {
        if status == 204 || status == 304 {
            continue;
        }
        let later = matches!(status, 200..=299 | 408 | 425 | 429 | 500..=599);
        let answer = refused(status, "no, because", &["first", "second"]);
        let error = told(answer).await.unwrap_err();
        assert_eq!(error.status(), Some(status));
        assert_eq!(error.is_transient(), later, "{status}");
        let text = whole(&error);
        assert!(text.contains("no, because; first; second"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_pagerdutys_takes_nothing() {
    for body in [
        "",
        "<html>signed in</html>",
        "[]",
        r#"{"status":"invalid event"}"#,
        r#"{"status":1}"#,
    ] {
        let error = told(StubAnswer::reply(202, body)).await.unwrap_err();
        assert!(error.is_transient() && error.status() == Some(202), "{error:?}");
    }
    let error = told(StubAnswer::reply(404, "")).await.unwrap_err();
    assert!(
        matches!(&error, NotifyError::Refused { message, .. } if !message.is_empty()),
        "{error:?}"
    );
    let error = told(StubAnswer::reply(403, "plain\r\nwords")).await.unwrap_err();
    assert!(whole(&error).contains("plain  words"), "{error:?}");
    let error = told(StubAnswer::reply(
        400,
        r#"{"status":"invalid event","message":7}"#,
    ))
    .await
    .unwrap_err();
    assert!(whole(&error).contains("invalid event"), "{error:?}");
}

#[tokio::test]
async fn a_wait_is_kept_as_seconds_or_as_a_date_and_cut_to_a_day() {
    for status in [429, 500, 503] {
        for (asked, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            // the clock of the tests shows 2026-01-01T00:00:00Z
            ("Thu, 01 Jan 2026 00:01:30 GMT", Some(90)),
            ("Wed, 31 Dec 2025 00:00:00 GMT", Some(0)),
            ("99999999", Some(86_400)),
            ("soon", None),
        ] {
            let answer = refused(status, "later", &[]).with("retry-after", asked);
            let error = told(answer).await.unwrap_err();
            let NotifyError::Later { after, .. } = error else {
                panic!("{error:?}")
            };
            assert_eq!(after, expected.map(Duration::from_secs), "{status} {asked}");
        }
    }
    let error = told(refused(503, "later", &[])).await.unwrap_err();
    assert!(
        matches!(error, NotifyError::Later { after: None, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn no_answer_brings_the_routing_key_into_an_error() {
    for status in [202, 302, 400, 429, 500] {
        for body in [
            KEY.to_owned(),
            format!(r#"{{"message":"bad key {KEY}","errors":["{KEY}"]}}"#),
        ] {
            let error = told(StubAnswer::reply(status, body)).await.unwrap_err();
            let text = whole(&error);
            assert!(
                !text.contains("canary") && text.contains("[redacted]"),
                "{status}: {text}"
            );
        }
    }
}
