//! What each answer means.

use std::time::Duration;

use arbiter_core::ports::{NoticeStep, Notified, NotifyError};
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::notice;
use arbiter_testkit::contract::whole;

use super::support::{BOTH, PATH, Sort, TOKEN, World};

async fn told(sort: Sort, answer: StubAnswer) -> Result<Notified, NotifyError> {
    let world = World::answering(sort, move |_, _| answer.clone()).await;
    let result = world.notify(&notice(1, NoticeStep::Open)).await;
    assert_eq!(world.told().len(), 1, "one call is one try");
    result
}

#[tokio::test]
async fn every_status_has_its_meaning() {
    for sort in BOTH {
        for status in 200..600 {
            if status == 204 || status == 304 {
                continue;
            }
            let result = told(sort, StubAnswer::reply(status, "because")).await;
            let takes = match sort {
                Sort::Receiver => status < 300,
                Sort::Alertmanager => status == 200,
            };
            if takes {
                assert_eq!(result.unwrap(), Notified::default(), "{status}");
                continue;
            }
            let error = result.unwrap_err();
            let later = matches!(status, 201..=299 | 408 | 425 | 429 | 500..=599);
            assert_eq!(
                (error.status(), error.is_transient()),
                (Some(status), later),
                "{sort:?}"
            );
            assert!(whole(&error).contains("because"), "{error:?}");
        }
    }
    assert_eq!(
        told(Sort::Receiver, StubAnswer::reply(204, "")).await.unwrap(),
        Notified::default()
    );
}

#[tokio::test]
async fn the_words_of_alertmanager_are_kept() {
    let answer = StubAnswer::reply(400, "\"start time must be before \\\"end\\\" time\"\n");
    let error = told(Sort::Alertmanager, answer).await.unwrap_err();
    let NotifyError::Refused { message, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(message, "start time must be before \"end\" time");
}

#[tokio::test]
async fn a_wait_is_kept_as_seconds_or_as_a_date_and_cut_to_a_day() {
    for sort in BOTH {
        for (asked, expected) in [
            ("7", Some(7)),
            // the clock of the tests shows 2026-01-01T00:00:00Z
            ("Thu, 01 Jan 2026 00:01:30 GMT", Some(90)),
            ("99999999", Some(86_400)),
            ("soon", None),
        ] {
            let answer = StubAnswer::reply(429, "").with("retry-after", asked);
            let error = told(sort, answer).await.unwrap_err();
            let NotifyError::Later { after, .. } = error else {
                panic!("{error:?}")
            };
            assert_eq!(after, expected.map(Duration::from_secs), "{asked}");
        }
    }
}

#[tokio::test]
async fn no_answer_brings_a_secret_into_an_error() {
    let path = PATH.split('?').next().unwrap();
    for status in [302, 400, 429, 500] {
        for secret in [PATH, path, "canary-query-0123456789"] {
            let answer = StubAnswer::reply(status, format!("nothing at {secret}"));
            let text = whole(&told(Sort::Receiver, answer).await.unwrap_err());
            assert!(!text.contains("canary") && text.contains("[redacted]"), "{text}");
        }
        let answer = StubAnswer::reply(status, format!("\"bad token {TOKEN}\""));
        let text = whole(&told(Sort::Alertmanager, answer).await.unwrap_err());
        assert!(!text.contains("canary") && text.contains("[redacted]"), "{text}");
    }
}
