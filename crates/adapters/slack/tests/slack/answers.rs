//! What each answer means.

use std::time::Duration;

use arbiter_core::ports::{NoticeStep, Notified, NotifyError};
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::notice;
use arbiter_testkit::contract::whole;

use crate::support::{PART, PATH, Sort, TOKEN, World, not_ok};

async fn told(sort: Sort, answer: StubAnswer) -> Result<Notified, NotifyError> {
    let world = World::answering(sort, move |_, _| answer.clone()).await;
    let result = world.notify(&notice(1, NoticeStep::Open)).await;
    assert_eq!(world.messages().len(), 1, "one call is one try");
    result
}

#[tokio::test]
async fn the_words_of_webhooks_are_refusals() {
    for (status, word) in [
        (400, "invalid_payload"),
        (400, "user_not_found"),
        (403, "action_prohibited"),
        (404, "no_service"),
        (404, "channel_not_found"),
        (410, "channel_is_archived"),
    ] {
        let error = told(Sort::Webhook, StubAnswer::reply(status, word))
            .await
            .unwrap_err();
        let NotifyError::Refused {
            status: Some(shown),
            message,
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((*shown, message.as_str()), (status, word));
    }
    let error = told(Sort::Webhook, StubAnswer::reply(500, "rollup_error"))
        .await
        .unwrap_err();
    assert!(
        error.is_transient() && whole(&error).contains("rollup_error"),
        "{error:?}"
    );
}

#[tokio::test]
async fn every_status_has_its_meaning() {
    for sort in [Sort::Webhook, Sort::Bot] {
        for status in 200..600 {
            if status == 204 || status == 304 {
                continue;
            }
            let later = matches!(status, 200..=299 | 408 | 425 | 429 | 500..=599);
            let error = told(sort, StubAnswer::reply(status, "because"))
                .await
                .unwrap_err();
            assert_eq!(
                (error.status(), error.is_transient()),
                (Some(status), later),
                "{sort:?}"
            );
            assert!(whole(&error).contains("because"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_not_slacks_takes_nothing() {
    for body in ["", "<html>signed in</html>", "okay", "OK", r#"{"ok":true}"#] {
        let error = told(Sort::Webhook, StubAnswer::reply(200, body))
            .await
            .unwrap_err();
        assert!(error.is_transient(), "{body}: {error:?}");
    }
    for body in ["", "ok", "[]", "{}", r#"{"ok":"yes"}"#] {
        let error = told(Sort::Bot, StubAnswer::reply(200, body)).await.unwrap_err();
        assert!(error.is_transient(), "{body}: {error:?}");
    }
    let error = told(Sort::Bot, StubAnswer::reply(500, r#"{"ok":true}"#))
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(
        told(Sort::Webhook, StubAnswer::reply(200, "ok\n")).await.unwrap(),
        Notified::default()
    );
}

#[tokio::test]
async fn each_word_of_the_web_api_has_its_meaning() {
    for (word, later) in [
        ("ratelimited", true),
        ("rate_limited", true),
        ("message_limit_exceeded", true),
        ("internal_error", true),
        ("fatal_error", true),
        ("service_unavailable", true),
        ("request_timeout", true),
        ("team_added_to_org", true),
        ("org_login_required", true),
        ("invalid_auth", false),
        ("not_authed", false),
        ("token_revoked", false),
        ("account_inactive", false),
        ("missing_scope", false),
        ("channel_not_found", false),
        ("not_in_channel", false),
        ("is_archived", false),
        ("msg_too_long", false),
        ("msg_blocks_too_long", false),
        ("invalid_blocks", false),
        ("no_text", false),
        ("restricted_action", false),
        ("a_word_of_next_year", false),
    ] {
        let error = told(Sort::Bot, not_ok(word)).await.unwrap_err();
        assert_eq!(
            (error.is_transient(), error.status()),
            (later, Some(200)),
            "{word}"
        );
        assert!(whole(&error).contains(word), "{error:?}");
    }
    let body = r#"{"ok":false,"error":"missing_scope","needed":"chat:write","response_metadata":{"messages":["[ERROR] one"]}}"#;
    let error = told(Sort::Bot, StubAnswer::reply(200, body)).await.unwrap_err();
    assert!(
        whole(&error).contains("missing_scope (needs `chat:write`); [ERROR] one"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_wait_is_kept_as_seconds_or_as_a_date_and_cut_to_a_day() {
    for sort in [Sort::Webhook, Sort::Bot] {
        for (asked, expected) in [
            ("7", Some(7)),
            ("0", Some(0)),
            // the clock of the tests shows 2026-01-01T00:00:00Z
            ("Thu, 01 Jan 2026 00:01:30 GMT", Some(90)),
            ("99999999", Some(86_400)),
            ("soon", None),
        ] {
            for answer in [StubAnswer::reply(429, "rate_limited"), StubAnswer::reply(503, "")] {
                let error = told(sort, answer.with("retry-after", asked)).await.unwrap_err();
                let NotifyError::Later { after, .. } = error else {
                    panic!("{error:?}")
                };
                assert_eq!(after, expected.map(Duration::from_secs), "{asked}");
            }
        }
    }
    let limited = not_ok("ratelimited").with("retry-after", "30");
    let error = told(Sort::Bot, limited).await.unwrap_err();
    assert!(
        matches!(error, NotifyError::Later { after: Some(after), .. } if after == Duration::from_secs(30)),
        "{error:?}"
    );
}

#[tokio::test]
async fn no_answer_brings_a_secret_into_an_error() {
    for status in [201, 302, 400, 429, 500] {
        for secret in [PATH, PART] {
            let answer = StubAnswer::reply(status, format!("no such hook: {secret}"));
            let text = whole(&told(Sort::Webhook, answer).await.unwrap_err());
            assert!(!text.contains("canary") && text.contains("[redacted]"), "{text}");
        }
        let answer = StubAnswer::reply(status, format!("bad token {TOKEN}"));
        let text = whole(&told(Sort::Bot, answer).await.unwrap_err());
        assert!(!text.contains("canary") && text.contains("[redacted]"), "{text}");
    }
    let text = whole(&told(Sort::Bot, not_ok(TOKEN)).await.unwrap_err());
    assert!(!text.contains("canary"), "{text}");
}
