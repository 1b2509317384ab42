//! What is sent, and what is made of each answer.

use std::time::Duration;

use arbiter_adapter_webhook::{
    Delivery, Endpoint, InvalidEndpoint, InvalidMessage, MAX_SECRETS, Message, Signed, Trouble,
    WebhookConfig, verify,
};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Json, TraceContext};
use arbiter_core::ports::Clock as _;
use arbiter_net::{ConnectError, InvalidUrl, NetError};
use arbiter_testkit::{HttpStub, StubAnswer};

use crate::support::{NEXT_SECRET, SECRET, deliverer, endpoint, local, message, secret, statuses, stub};

const TOLERANCE: Duration = Duration::from_mins(5);

async fn one(stub: &HttpStub, path: &str, message: &Message) -> Delivery {
    let (deliverer, _) = deliverer(&local());
    deliverer.deliver(&endpoint(&stub.url(path)), message).await
}

#[tokio::test]
async fn what_is_sent_is_signed_for_every_secret() {
    let stub = stub(|_| StubAnswer::reply(204, "")).await;
    let (deliverer, clock) = deliverer(&local());
    assert!(!deliverer.owns_retries());
    let secrets = vec![secret(NEXT_SECRET), secret(SECRET)];
    let endpoint = Endpoint::new(&SecretText::new(stub.url("/hook?x=y")), secrets).unwrap();
    let trace = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    let answer = deliverer
        .deliver(&endpoint, &message().trace(trace.clone()))
        .await;
    assert!(
        matches!(answer, Delivery::Delivered { status: 204 }),
        "{answer:?}"
    );
    let seen = stub.seen().remove(0);
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/hook?x=y")
    );
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("traceparent"), Some(trace.as_str()));
    assert_eq!(seen.header("webhook-timestamp"), Some("1767225600"));
    let signed = Signed {
        id: seen.header("webhook-id").unwrap(),
        timestamp: seen.header("webhook-timestamp").unwrap(),
        signature: seen.header("webhook-signature").unwrap(),
    };
    assert_eq!(signed.id, "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d");
    assert_eq!(signed.signature.split(' ').count(), 2);
    for text in [SECRET, NEXT_SECRET] {
        assert_eq!(
            verify([&secret(text)], signed, &seen.body, clock.now(), TOLERANCE),
            Ok(())
        );
    }
    clock.advance(Duration::from_secs(90));
    deliverer.deliver(&endpoint, &message().tried(1)).await;
    let again = stub.seen().remove(1);
    assert_eq!(
        again.header("webhook-id"),
        Some(signed.id),
        "the same id at every try"
    );
    assert_eq!(again.header("webhook-timestamp"), Some("1767225690"));
    assert_ne!(again.header("webhook-signature"), Some(signed.signature));
}

#[tokio::test]
async fn success_is_delivered() {
    let stub = statuses().await;
    for status in [200_u16, 201, 202, 204, 299] {
        let delivery = one(&stub, &format!("/{status}"), &message()).await;
        assert!(
            matches!(delivery, Delivery::Delivered { status: given } if given == status),
            "{delivery:?}"
        );
    }
}

#[tokio::test]
async fn a_success_is_one_whatever_its_body() {
    let endless =
        stub(|_| StubAnswer::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nx".to_vec()));
    let delivery = one(&endless.await, "/", &message()).await;
    assert!(
        matches!(delivery, Delivery::Delivered { status: 200 }),
        "{delivery:?}"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_given_up() {
    let delivery = one(&statuses().await, "/410", &message()).await;
    assert!(
        matches!(delivery, Delivery::GiveUp { why: Trouble::Gone }),
        "{delivery:?}"
    );
}

#[tokio::test]
async fn what_may_pass_is_tried_again_however_often() {
    let stub = statuses().await;
    for status in [408_u16, 425, 429, 500, 502, 503, 504, 599] {
        for tries in [0, 1_000] {
            let delivery = one(&stub, &format!("/{status}"), &message().tried(tries)).await;
            assert!(
                matches!(delivery, Delivery::Retry { after: None, why: Trouble::Unavailable { status: given } } if given == status),
                "{delivery:?}"
            );
        }
    }
    assert_eq!(stub.seen().len(), 16, "each call is one try");
}

#[tokio::test]
async fn refusals_and_redirects_are_given_up_after_the_set_number_of_tries() {
    let stub = statuses().await;
    for status in [300_u16, 301, 302, 307, 308, 400, 401, 403, 404, 413, 422] {
        let path = format!("/{status}");
        for tries in [0, 3] {
            let delivery = one(&stub, &path, &message().tried(tries)).await;
            assert!(matches!(delivery, Delivery::Retry { .. }), "{delivery:?}");
        }
        for tries in [4, u16::MAX] {
            let Delivery::GiveUp { why } = one(&stub, &path, &message().tried(tries)).await else {
                panic!("{status} after {tries}");
            };
            match why {
                Trouble::Redirect { status: given } => assert!(given == status && status < 400),
                Trouble::Refused { status: given } => assert!(given == status && status >= 400),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = statuses().await;
    let target = other.url("/200");
    let stub = stub(move |_| StubAnswer::reply(307, "").with("location", &target)).await;
    assert!(matches!(
        one(&stub, "/", &message()).await,
        Delivery::Retry { .. }
    ));
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn the_wait_that_the_endpoint_asks_for_is_told() {
    let stub = stub(|request| {
        let (status, after) = match request.target.as_str() {
            "/seconds" => (429, "120"),
            // half an hour after the clock's start
            "/date" => (503, "Thu, 01 Jan 2026 00:30:00 GMT"),
            "/long" => (503, "999999999"),
            _ => (503, "soon"),
        };
        StubAnswer::reply(status, "").with("retry-after", after)
    })
    .await;
    for (path, expected) in [
        ("/seconds", Some(120)),
        ("/date", Some(1_800)),
        ("/long", Some(86_400)),
        ("/unreadable", None),
    ] {
        let Delivery::Retry { after, .. } = one(&stub, path, &message()).await else {
            panic!("{path}");
        };
        assert_eq!(after, expected.map(Duration::from_secs), "{path}");
    }
}

#[tokio::test]
async fn without_an_answer_it_is_tried_again() {
    let broken = stub(|_| StubAnswer::Raw(b"HTTP/1.1 20".to_vec())).await;
    let delivery = one(&broken, "/", &message()).await;
    assert!(
        matches!(
            delivery,
            Delivery::Retry {
                why: Trouble::Net(NetError::Truncated { .. }),
                ..
            }
        ),
        "{delivery:?}"
    );
    let (deliverer, clock) = deliverer(&local());
    // nothing listens on port 1
    let delivery = deliverer
        .deliver(&endpoint("http://127.0.0.1:1/"), &message().tried(9))
        .await;
    assert!(
        matches!(
            delivery,
            Delivery::Retry {
                why: Trouble::Net(NetError::Connect {
                    source: ConnectError::Tcp(_),
                    ..
                }),
                ..
            }
        ),
        "{delivery:?}"
    );
    let silent = stub(|_| StubAnswer::Stall(Vec::new())).await;
    let (to, what) = (endpoint(&silent.url("/")), message());
    let (delivery, ()) = tokio::join!(deliverer.deliver(&to, &what), async {
        silent.wait_for(1).await;
        clock.advance(Duration::from_secs(15));
    });
    assert!(
        matches!(
            delivery,
            Delivery::Retry {
                after: None,
                why: Trouble::Net(NetError::Stopped(_))
            }
        ),
        "{delivery:?}"
    );
}

#[tokio::test]
async fn what_can_never_be_sent_is_given_up() {
    let stub = statuses().await;
    let (strict, _) = deliverer(&WebhookConfig::new());
    let inside = strict
        .deliver(&endpoint("https://127.0.0.1/hook"), &message())
        .await;
    let plain = strict.deliver(&endpoint(&stub.url("/200")), &message()).await;
    for delivery in [inside, plain] {
        assert!(
            matches!(
                delivery,
                Delivery::GiveUp {
                    why: Trouble::Net(NetError::Denied(_))
                }
            ),
            "{delivery:?}"
        );
    }
    let (narrow, _) = deliverer(&WebhookConfig {
        max_message_bytes: 10,
        ..local()
    });
    let large = narrow.deliver(&endpoint(&stub.url("/200")), &message()).await;
    assert!(
        matches!(
            large,
            Delivery::GiveUp {
                why: Trouble::Net(NetError::RequestTooLarge { limit_bytes: 10 })
            }
        ),
        "{large:?}"
    );
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn neither_secret_nor_address_is_shown() {
    let (deliverer, _) = deliverer(&local());
    let to = endpoint("http://127.0.0.1:1/canary-path?canary-query");
    let Delivery::Retry { why, .. } = deliverer.deliver(&to, &message()).await else {
        panic!("nothing listens there");
    };
    let mut text = format!("{to:?} {:?} {deliverer:?} {why:?} {why}", message());
    let mut next: Option<&dyn std::error::Error> = Some(&why);
    while let Some(error) = next {
        text = format!("{text} {error}");
        next = error.source();
    }
    for hidden in ["canary", "MfKQ9r8G", "task.closed"] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert!(text.contains("http://127.0.0.1:1"));
}

#[test]
fn endpoints_and_messages_that_cannot_be_used_are_refused() {
    let make = |url: &str, secrets: usize| {
        Endpoint::new(&SecretText::new(url), vec![secret(SECRET); secrets]).map(|_| ())
    };
    assert_eq!(make("https://example.com/hook", MAX_SECRETS), Ok(()));
    for secrets in [0, MAX_SECRETS + 1] {
        assert_eq!(
            make("https://example.com/hook", secrets),
            Err(InvalidEndpoint::Secrets)
        );
    }
    assert_eq!(
        make("https://user:pass@example.com/", 1),
        Err(InvalidEndpoint::Url(InvalidUrl::Credentials))
    );
    let body = || Json::parse("{}").unwrap();
    for id in ["", "a.b", "a b", "a\nb", "ä", &"x".repeat(257)] {
        assert_eq!(Message::new(id, body()).err(), Some(InvalidMessage), "{id}");
    }
    assert!(Message::new("x".repeat(256), body()).is_ok());
}
