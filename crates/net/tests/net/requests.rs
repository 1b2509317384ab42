//! What is sent, and answers of every class.

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::TraceContext;
use arbiter_net::{HttpClientConfig, InvalidConfig, Method, NetError, RedirectError, Request};
use arbiter_testkit::StubAnswer;

use crate::support::{chain, client, local, stub, timed, url};

#[tokio::test]
async fn every_class_of_status_is_an_answer() {
    let stub = stub(|request| {
        let status = request.target.trim_start_matches('/').parse().unwrap();
        StubAnswer::reply(
            status,
            if status == 204 || status == 304 {
                ""
            } else {
                "body"
            },
        )
        .with("x-kind", "test")
    })
    .await;
    let client = client(&local());
    for status in [200, 201, 204, 301, 304, 400, 404, 410, 429, 500, 503, 599] {
        let answer = client
            .send(Request::get(url(&stub.url(&format!("/{status}")))))
            .await
            .unwrap();
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header("x-kind"), Some("test"));
        let expected = if status == 204 || status == 304 {
            ""
        } else {
            "body"
        };
        assert_eq!(answer.body, expected, "{status}");
    }
    assert_eq!(stub.seen().len(), 12, "each was asked once");
}

#[tokio::test]
async fn a_request_is_sent_as_it_was_made() {
    let stub = stub(|_| StubAnswer::reply(200, "")).await;
    let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let request = Request::post(url(&stub.url("/a/b?c=d")), "content")
        .bearer(&SecretText::new("token"))
        .and_then(|request| request.header("content-type", "text/plain"))
        .unwrap()
        .trace(&trace);
    client(&local()).send(request).await.unwrap();
    let seen = stub.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/a/b?c=d"));
    assert_eq!(seen.body, b"content");
    let host = stub.address().to_string();
    let agent = format!("arbiter/{}", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("authorization", "Bearer token"),
        ("content-type", "text/plain"),
        ("content-length", "7"),
        ("host", &host),
        ("traceparent", trace.as_str()),
        ("user-agent", &agent),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    let put = Request::new(Method::PUT, url(&stub.url("/"))).with_body("x");
    let put = put.header("user-agent", "own").unwrap();
    client(&local()).send(put).await.unwrap();
    assert_eq!(stub.seen()[1].header("user-agent"), Some("own"));
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let stub = stub(|_| StubAnswer::reply(200, "")).await;
    let client = client(&HttpClientConfig {
        max_request_bytes: 10,
        max_request_header_bytes: 20,
        ..local()
    });
    let post = |body: &'static str| Request::post(url(&stub.url("/")), body);
    let refused = client.send(post("01234567890")).await;
    assert!(matches!(
        refused,
        Err(NetError::RequestTooLarge { limit_bytes: 10 })
    ));
    let long = post("").header("x-long", "0123456789abcdef").unwrap();
    let refused = client.send(long).await;
    assert!(matches!(
        refused,
        Err(NetError::RequestHeadersTooLarge { limit_bytes: 20 })
    ));
    assert!(client.send(post("0123456789")).await.is_ok());
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn redirects_are_answers_unless_they_are_switched_on() {
    let stub = stub(|request| match request.target.as_str() {
        "/end" => StubAnswer::reply(200, "end"),
        "/loop" => StubAnswer::reply(302, "").with("location", "/loop"),
        _ => StubAnswer::reply(307, "").with("location", "end"),
    })
    .await;
    let start = || Request::post(url(&stub.url("/start")), "body");
    let answer = client(&local()).send(start()).await.unwrap();
    assert_eq!(answer.status, 307);
    let following = client(&HttpClientConfig {
        redirects: 2,
        ..local()
    });
    let answer = following.send(start()).await.unwrap();
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &b"end"[..]));
    assert_eq!(stub.seen()[2].body, b"body");
    let before = stub.seen().len();
    let refused = following.send(Request::get(url(&stub.url("/loop")))).await;
    assert!(matches!(
        refused,
        Err(NetError::Redirect {
            source: RedirectError::TooMany { limit: 2 },
            ..
        })
    ));
    assert_eq!(stub.seen().len() - before, 3);
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_origin() {
    let other = stub(|_| StubAnswer::reply(200, "other")).await;
    let elsewhere = other.url("/");
    let first = stub(move |_| StubAnswer::reply(302, "").with("location", &elsewhere)).await;
    let following = client(&HttpClientConfig {
        redirects: 1,
        ..local()
    });
    let secret = SecretText::new("canary");
    let request = Request::get(url(&first.url("/")))
        .bearer(&secret)
        .and_then(|request| request.secret_header("webhook-signature", &secret))
        .and_then(|request| request.header("accept", "text/plain"))
        .unwrap();
    assert_eq!(following.send(request).await.unwrap().body, "other");
    assert!(format!("{:?}", first.seen()).contains("canary"));
    let seen = format!("{:?}", other.seen());
    assert!(!seen.contains("canary") && seen.contains("text/plain"), "{seen}");
}

#[tokio::test]
async fn no_error_shows_query_headers_or_body() {
    let (client, _) = timed(&local());
    let secret = SecretText::new("canary-token");
    // nothing listens on port 1
    for target in [
        "http://127.0.0.1:1/canary-path?canary-query",
        "https://10.0.0.1/canary-path?canary-query",
    ] {
        let request = Request::post(url(target), "canary-body").bearer(&secret).unwrap();
        let error = client.send(request).await.unwrap_err();
        let text = chain(&error);
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    let make = |config| {
        let clock = std::sync::Arc::new(arbiter_testkit::ManualClock::new());
        let ports = crate::support::ports(clock, std::sync::Arc::new(arbiter_net::SystemResolver));
        arbiter_net::HttpClient::new(&config, ports).map(|_| ())
    };
    let base = local();
    let zero = HttpClientConfig {
        connect_timeout: std::time::Duration::ZERO,
        ..base.clone()
    };
    assert!(matches!(make(zero), Err(InvalidConfig::Timeout)));
    let small = HttpClientConfig {
        max_response_header_bytes: 8_191,
        ..base.clone()
    };
    assert!(matches!(make(small), Err(InvalidConfig::Headers)));
    let agent = HttpClientConfig {
        user_agent: "a\nb".to_owned(),
        ..base.clone()
    };
    assert!(matches!(make(agent), Err(InvalidConfig::UserAgent)));
    let none = HttpClientConfig {
        extra_roots_pem: vec![b"no certificate".to_vec()],
        ..base.clone()
    };
    assert!(matches!(make(none), Err(InvalidConfig::NoRoots)));
    let mut guard = base;
    guard.guard.total_timeout = Some(std::time::Duration::ZERO);
    assert!(matches!(make(guard), Err(InvalidConfig::Guard(_))));
}
