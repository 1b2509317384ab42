//! Bodies and heads that are too large, too slow, or end too early.

use std::time::Duration;

use arbiter_core::ports::{Applied, Retry};
use arbiter_layers::{Classify as _, Stopped};
use arbiter_net::{HttpClientConfig, NetError, Request, Waited};
use arbiter_testkit::StubAnswer;

use crate::support::{client, local, stub, timed, url};

fn raw(text: &str) -> StubAnswer {
    StubAnswer::Raw(text.as_bytes().to_vec())
}

#[tokio::test]
async fn a_body_over_the_limit_is_an_error_however_it_is_announced() {
    let stub = stub(|request| match request.target.as_str() {
        "/exact" => StubAnswer::reply(200, vec![b'x'; 10]),
        // so much is announced; nothing of it has to come
        "/announced" => StubAnswer::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n".to_vec()),
        "/chunked" => StubAnswer::Stall(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\naaaaa\r\n6\r\nbbbbbb\r\n".to_vec(),
        ),
        _ => raw("HTTP/1.1 200 OK\r\n\r\nuntil the end of the connection"),
    })
    .await;
    let client = client(&HttpClientConfig {
        max_response_bytes: 10,
        ..local()
    });
    let get = |path: &str| Request::get(url(&stub.url(path)));
    assert_eq!(client.send(get("/exact")).await.unwrap().body.len(), 10);
    for path in ["/announced", "/chunked", "/unannounced"] {
        let error = client.send(get(path)).await.unwrap_err();
        assert!(
            matches!(error, NetError::ResponseTooLarge { limit_bytes: 10, .. }),
            "{path}: {error:?}"
        );
        assert_eq!(
            (error.retry(), error.applied()),
            (Retry::Permanent, Applied::Unknown)
        );
    }
}

#[tokio::test]
async fn a_body_or_head_that_ends_too_early_is_an_error() {
    let stub = stub(|request| match request.target.as_str() {
        "/length" => raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"),
        "/chunked" => raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf"),
        "/head" => raw("HTTP/1.1 200 OK\r\ncontent-le"),
        _ => raw(""),
    })
    .await;
    let client = client(&local());
    for path in ["/length", "/chunked", "/head", "/nothing"] {
        let error = client.send(Request::get(url(&stub.url(path)))).await.unwrap_err();
        assert!(matches!(error, NetError::Truncated { .. }), "{path}: {error:?}");
        assert_eq!(error.retry(), Retry::Transient);
        assert!(error.counts_as_failure());
    }
}

#[tokio::test]
async fn what_is_not_http_is_an_error() {
    let stub = stub(|_| raw("220 mail.example ESMTP\r\n\r\n")).await;
    let error = client(&local())
        .send(Request::get(url(&stub.url("/"))))
        .await
        .unwrap_err();
    assert!(matches!(error, NetError::Exchange { .. }), "{error:?}");
}

#[tokio::test]
async fn heads_over_the_limits_are_errors() {
    let stub = stub(|request| match request.target.as_str() {
        "/bytes" => StubAnswer::reply(200, "").with("x-long", &"a".repeat(20_000)),
        _ => (0..30).fold(StubAnswer::reply(200, ""), |answer, n| {
            answer.with(&format!("x-{n}"), "v")
        }),
    })
    .await;
    let client = client(&HttpClientConfig {
        max_response_header_bytes: 8_192,
        max_response_headers: 20,
        ..local()
    });
    for path in ["/bytes", "/many"] {
        let error = client.send(Request::get(url(&stub.url(path)))).await.unwrap_err();
        assert!(
            matches!(error, NetError::ResponseHeadersTooLarge { .. }),
            "{path}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let stub = stub(|_| StubAnswer::Stall(Vec::new())).await;
    let (client, clock) = timed(&local());
    let request = Request::get(url(&stub.url("/")));
    let (own, total) = (request.clone().timeout(Duration::from_secs(2)), request);
    let (result, ()) = tokio::join!(client.send(own), async {
        stub.wait_for(1).await;
        clock.advance(Duration::from_secs(2));
    });
    assert!(
        matches!(&result, Err(NetError::Timeout { waited: Waited::Answer, after, .. }) if after.as_secs() == 2),
        "{result:?}"
    );
    let (result, ()) = tokio::join!(client.send(total), async {
        stub.wait_for(2).await;
        clock.advance(Duration::from_secs(30));
    });
    assert!(
        matches!(result, Err(NetError::Stopped(Stopped::TotalTimeout { .. }))),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let stub =
        stub(|_| StubAnswer::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec())).await;
    let (client, clock) = timed(&HttpClientConfig {
        chunk_timeout: Duration::from_secs(3),
        ..local()
    });
    let mut response = client.open(Request::get(url(&stub.url("/")))).await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "half");
    let waiting = async {
        // the wait for the next piece is the one sleeper: the call itself is over
        while clock.sleepers() == 0 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(3));
    };
    let (piece, ()) = tokio::join!(response.chunk(), waiting);
    assert!(
        matches!(
            piece,
            Err(NetError::Timeout {
                waited: Waited::Piece,
                ..
            })
        ),
        "{piece:?}"
    );
}

#[tokio::test]
async fn pieces_come_as_they_are_sent() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n";
    let stub = stub(move |_| raw(&format!("{head}6\r\nevent1\r\n6\r\nevent2\r\n0\r\nx: y\r\n\r\n"))).await;
    let mut response = client(&local())
        .open(Request::get(url(&stub.url("/"))))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let mut text = Vec::new();
    while let Some(piece) = response.chunk().await.unwrap() {
        text.extend_from_slice(&piece);
    }
    assert_eq!(text, b"event1event2");
    assert_eq!(response.chunk().await.unwrap(), None);
}
