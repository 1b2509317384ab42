//! Each sort of answer, as an error or a success.

use std::time::Duration;

use arbiter_client::ClientError;
use arbiter_core::ports::Applied;
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::task;
use arbiter_wire::codes::CODES;
use arbiter_wire::http::Because;

use crate::support::{KEY, World, chain, problem, raw};

fn because() -> Because {
    Because {
        reason: "no longer needed".to_owned(),
    }
}

#[tokio::test]
async fn every_code_of_a_problem_is_told_with_its_status() {
    for code in CODES {
        let world = World::answering(vec![problem(code.word).with("retry-after", "3")]).await;
        let error = world
            .client
            .task_cancel(task(1), None, &because())
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.status()),
            (code.word, Some(code.status)),
            "{error:?}"
        );
        assert_eq!(error.request_id(), Some("r-7"));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        assert_eq!(error.to_string(), format!("it is {}", code.word));
        let transient = matches!(code.status, 408 | 429 | 503);
        assert_eq!(error.is_transient(), transient, "{}", code.word);
        assert_eq!(error.applied() == Applied::No, code.status < 500, "{}", code.word);
    }
}

#[tokio::test]
async fn what_the_problem_says_counts_more_than_the_headers() {
    let text = r#"{"type":"urn:arbiter:problem:rate_limited","title":"rate limited","status":429,"code":"rate_limited",
        "detail":"slower","field":"x","retry_after_ms":250,"server_version":"9.9.9","new":[1]}"#;
    let answer = StubAnswer::reply(429, text)
        .with("content-type", "application/problem+json; charset=utf-8")
        .with("retry-after", "1")
        .with("x-request-id", "h-1");
    let world = World::answering(vec![answer]).await;
    let error = world.client.once().task_get(task(1)).await.unwrap_err();
    let ClientError::Refused(refused) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(refused.retry_after, Some(Duration::from_millis(250)));
    assert_eq!(refused.field.as_deref(), Some("x"));
    assert_eq!(refused.server_version.as_deref(), Some("9.9.9"));
    assert_eq!(error.request_id(), Some("h-1"));
}

#[tokio::test]
async fn what_answers_in_the_servers_place_is_told_by_its_status() {
    for (status, code) in [
        (401, "auth_failed"),
        (403, "forbidden"),
        (404, "not_found"),
        (418, "invalid_request"),
        (429, "rate_limited"),
        (500, "internal"),
        (502, "unavailable"),
        (504, "unavailable"),
        (302, "internal"),
    ] {
        let answer = StubAnswer::reply(status, "<h1>Gateway</h1>").with("content-type", "text/html");
        let world = World::answering(vec![answer]).await;
        let error = world.client.once().task_get(task(1)).await.unwrap_err();
        assert_eq!((error.code(), error.status()), (code, Some(status)), "{error:?}");
        assert!(!error.to_string().contains("Gateway"));
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_read_is_an_error() {
    for body in ["", "{", "[]", "{\"id\":7}"] {
        let world = World::answering(vec![StubAnswer::reply(200, body)]).await;
        let error = world.client.task_get(task(1)).await.unwrap_err();
        assert!(
            matches!(error, ClientError::Answer { status: 200, .. }),
            "{error:?}"
        );
        assert_eq!((error.code(), error.applied()), ("internal", Applied::Unknown));
        assert_eq!(world.stub.seen().len(), 1, "it would not be better the next time");
    }
}

#[tokio::test]
async fn answers_that_break_off_are_unanswered_calls() {
    for answer in [
        raw(""),
        raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\""),
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhalf"),
        raw("220 mail.example ESMTP\r\n\r\n"),
    ] {
        let world = World::answering(vec![answer]).await;
        let error = world
            .client
            .task_cancel(task(1), None, &because())
            .await
            .unwrap_err();
        assert!(matches!(error, ClientError::Unanswered { .. }), "{error:?}");
        assert_eq!((error.code(), error.applied()), ("unavailable", Applied::Unknown));
        assert_eq!(world.stub.seen().len(), 1, "it may not be repeated");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_did_nothing() {
    let world = World::new(|_| raw("")).await;
    let address = world.stub.address();
    let client = world.client.once();
    drop(world.stub);
    while std::net::TcpStream::connect(address).is_ok() {
        tokio::task::yield_now().await;
    }
    let error = client.task_cancel(task(1), None, &because()).await.unwrap_err();
    assert_eq!(
        (error.applied(), error.is_transient()),
        (Applied::No, true),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let world = World::answering(vec![StubAnswer::Stall(b"HTTP/1.1 200 OK\r\n".to_vec())]).await;
    let client = world.client.once();
    let (result, ()) = tokio::join!(client.task_get(task(1)), async {
        world.stub.wait_for(1).await;
        world.clock.advance(Duration::from_secs(20));
    });
    let error = result.unwrap_err();
    assert_eq!(
        (error.code(), error.is_transient()),
        ("unavailable", true),
        "{error:?}"
    );
}

#[tokio::test]
async fn nothing_shows_the_key() {
    let echo = problem("forbidden");
    for answer in [
        echo,
        raw("half"),
        StubAnswer::reply(200, "{"),
        StubAnswer::reply(500, ""),
    ] {
        let world = World::answering(vec![answer]).await;
        let error = world.client.once().task_get(task(1)).await.unwrap_err();
        let shown = format!("{} {:?}", chain(&error), world.client);
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(
            world.stub.seen()[0].header("authorization"),
            Some(format!("Bearer {KEY}").as_str())
        );
    }
}

#[tokio::test]
async fn a_download_that_breaks_off_does_not_look_complete() {
    let whole = raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nline\r\n0\r\n\r\n");
    let broken = raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nline\r\n");
    for (answer, complete) in [(whole, true), (broken, false)] {
        let world = World::answering(vec![answer]).await;
        let mut download = world.client.audit_export().await.unwrap();
        assert_eq!(download.piece().await.unwrap().unwrap(), "line");
        assert_eq!(download.piece().await.is_ok(), complete);
    }
    let world = World::answering(vec![problem("not_found")]).await;
    assert_eq!(world.client.audit_export().await.unwrap_err().code(), "not_found");
}
