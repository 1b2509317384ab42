//! The client's guard: what is tried again, and what opens the breaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arbiter_core::mechanism::{Backoff, BreakerSettings, RetryBudgetSettings};
use arbiter_layers::{GuardSettings, RetrySettings, Stopped};
use arbiter_net::{HttpClientConfig, NetError, Request};
use arbiter_testkit::{HttpStub, StubAnswer};

use crate::support::{client, local, stub, url};

fn retrying() -> HttpClientConfig {
    let retry = RetrySettings {
        retries: 2,
        backoff: Backoff {
            base: Duration::from_millis(1),
            factor: 1,
            cap: Duration::from_millis(1),
        },
        longest_wait: Duration::from_secs(5),
        budget: RetryBudgetSettings::DEFAULT,
    };
    HttpClientConfig {
        guard: GuardSettings {
            retry: Some(retry),
            ..local().guard
        },
        ..local()
    }
}

/// Gives the answers in order, the last one for ever.
async fn answers(list: Vec<StubAnswer>) -> HttpStub {
    let asked = Arc::new(AtomicUsize::new(0));
    stub(move |_| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        list[number.min(list.len() - 1)].clone()
    })
    .await
}

#[tokio::test]
async fn what_may_be_repeated_is_tried_again() {
    for failure in [
        StubAnswer::reply(503, "busy"),
        StubAnswer::reply(502, ""),
        StubAnswer::reply(429, "").with("retry-after", "0"),
        StubAnswer::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()),
    ] {
        let stub = answers(vec![failure, StubAnswer::reply(200, "done")]).await;
        let client = client(&retrying());
        assert!(client.owns_retries());
        let answer = client.send(Request::get(url(&stub.url("/")))).await.unwrap();
        assert_eq!(answer.body, "done");
        let repeatable = Request::post(url(&stub.url("/")), "x").repeatable();
        assert!(client.send(repeatable).await.is_ok());
    }
}

#[tokio::test]
async fn what_may_not_be_repeated_is_sent_once() {
    let stub = answers(vec![StubAnswer::reply(503, "busy")]).await;
    let answer = client(&retrying())
        .send(Request::post(url(&stub.url("/")), "x"))
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), stub.seen().len()), (503, 1));
}

#[tokio::test]
async fn other_answers_and_too_long_a_wait_are_not_tried_again() {
    for answer in [
        StubAnswer::reply(400, ""),
        StubAnswer::reply(404, ""),
        StubAnswer::reply(500, ""),
        StubAnswer::reply(503, "").with("retry-after", "6"),
    ] {
        let stub = answers(vec![answer.clone()]).await;
        let client = client(&retrying());
        let given = client.send(Request::get(url(&stub.url("/")))).await.unwrap();
        assert_eq!(stub.seen().len(), 1, "{answer:?}");
        assert!(given.status.as_u16() >= 400);
    }
}

#[tokio::test]
async fn the_last_answer_is_given_when_the_retries_are_used_up() {
    let stub = answers(vec![
        StubAnswer::reply(503, "one"),
        StubAnswer::reply(504, "more"),
    ])
    .await;
    let answer = client(&retrying())
        .send(Request::get(url(&stub.url("/"))))
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), &*answer.body), (504, &b"more"[..]));
    assert_eq!(stub.seen().len(), 3);
}

#[tokio::test]
async fn server_errors_open_the_breaker_and_refusals_do_not() {
    let config = HttpClientConfig {
        guard: GuardSettings {
            breaker: Some(BreakerSettings {
                window: 4,
                minimum_calls: 2,
                cool_down: Duration::from_secs(3_600),
                longest_cool_down: Duration::from_secs(3_600),
                ..BreakerSettings::DEFAULT
            }),
            ..local().guard
        },
        ..local()
    };
    let client = client(&config);
    let stub = stub(|request| StubAnswer::reply(request.target[1..].parse().unwrap(), "")).await;
    let ask = |status: &str| client.send(Request::get(url(&stub.url(&format!("/{status}")))));
    for status in ["404", "429", "400", "404"] {
        assert!(ask(status).await.is_ok());
    }
    for status in ["500", "503"] {
        assert!(ask(status).await.is_ok());
    }
    let open = ask("200").await;
    assert!(
        matches!(open, Err(NetError::Stopped(Stopped::Open { .. }))),
        "{open:?}"
    );
    assert_eq!(stub.seen().len(), 6);
}
