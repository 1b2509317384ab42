//! The deliverer as the port that the queue's courier calls.

use std::time::Duration;

use arbiter_adapter_webhook::{Signed, WebhookConfig, verify};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Json;
use arbiter_core::ports::{Clock as _, HookAnswer, HookEndpoint, HookMessage, HookTransport, HookTrouble};
use arbiter_testkit::StubAnswer;

use crate::support::{NEXT_SECRET, SECRET, deliverer, local, secret, statuses, stub};

fn to(url: &str, secrets: &[&str]) -> HookEndpoint {
    HookEndpoint {
        url: SecretText::new(url),
        secrets: secrets.iter().map(|text| SecretText::new(*text)).collect(),
    }
}

fn message(tries: u16) -> HookMessage {
    HookMessage {
        id: "0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d".to_owned(),
        body: Json::parse(r#"{"type":"task.closed"}"#).unwrap(),
        tries,
        trace: None,
    }
}

async fn answer(config: &WebhookConfig, endpoint: &HookEndpoint, message: &HookMessage) -> HookAnswer {
    let (deliverer, _) = deliverer(config);
    let port: &dyn HookTransport = &deliverer;
    port.deliver(endpoint, message).await
}

#[tokio::test]
async fn a_message_through_the_port_is_signed_with_each_secret() {
    let stub = stub(|_| StubAnswer::reply(204, "")).await;
    let (deliverer, clock) = deliverer(&local());
    let port: &dyn HookTransport = &deliverer;
    let answer = port
        .deliver(&to(&stub.url("/hook"), &[NEXT_SECRET, SECRET]), &message(0))
        .await;
    assert_eq!(answer, HookAnswer::Delivered { status: 204 });
    let seen = stub.seen().remove(0);
    assert_eq!(seen.body, br#"{"type":"task.closed"}"#);
    let header = |name| seen.header(name).unwrap();
    let signed = Signed {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    for text in [SECRET, NEXT_SECRET] {
        let checked = verify([&secret(text)], signed, &seen.body, clock.now(), Duration::ZERO);
        assert_eq!(checked, Ok(()));
    }
}

#[tokio::test]
async fn each_answer_has_its_word() {
    let stub = statuses().await;
    let retry = |trouble| HookAnswer::Retry { after: None, trouble };
    for (path, tries, expected) in [
        (
            "/410",
            0,
            HookAnswer::GiveUp {
                trouble: HookTrouble::Gone,
            },
        ),
        ("/503", 99, retry(HookTrouble::Unavailable { status: 503 })),
        ("/400", 0, retry(HookTrouble::Refused { status: 400 })),
        (
            "/400",
            4,
            HookAnswer::GiveUp {
                trouble: HookTrouble::Refused { status: 400 },
            },
        ),
        ("/302", 0, retry(HookTrouble::Redirect { status: 302 })),
    ] {
        let got = answer(&local(), &to(&stub.url(path), &[SECRET]), &message(tries)).await;
        assert_eq!(got, expected, "{path} after {tries} tries");
    }
}

#[tokio::test]
async fn a_wait_that_the_receiver_asks_for_is_passed_on() {
    let stub =
        stub(|_| StubAnswer::Raw(b"HTTP/1.1 429 X\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n".to_vec()))
            .await;
    let got = answer(&local(), &to(&stub.url("/"), &[SECRET]), &message(0)).await;
    let expected = HookAnswer::Retry {
        after: Some(Duration::from_secs(7)),
        trouble: HookTrouble::Unavailable { status: 429 },
    };
    assert_eq!(got, expected);
}

#[tokio::test]
async fn what_cannot_be_sent_is_given_up_and_what_cannot_be_reached_is_not() {
    let stub = statuses().await;
    let url = stub.url("/200");
    let never = HookAnswer::GiveUp {
        trouble: HookTrouble::NotAllowed,
    };
    let id_with_dot = HookMessage {
        id: "a.b".to_owned(),
        ..message(0)
    };
    for (endpoint, message) in [
        (to("no address", &[SECRET]), message(0)),
        (to(&url, &[]), message(0)),
        (to(&url, &["whsec_short"]), message(0)),
        (to(&url, &[SECRET]), id_with_dot),
    ] {
        assert_eq!(answer(&local(), &endpoint, &message).await, never, "{endpoint:?}");
    }
    // the default egress denies local addresses and plain HTTP
    let denied = answer(&WebhookConfig::new(), &to(&url, &[SECRET]), &message(0)).await;
    assert_eq!(denied, never);
    assert_eq!(stub.seen().len(), 0, "nothing was sent");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let got = answer(
        &local(),
        &to(&format!("http://{address}/"), &[SECRET]),
        &message(0),
    )
    .await;
    let unreachable = HookAnswer::Retry {
        after: None,
        trouble: HookTrouble::Unreachable,
    };
    assert_eq!(got, unreachable);
}
