//! The egress policy holds at the address that is connected to.

use arbiter_core::ports::{Applied, Retry};
use arbiter_layers::Classify as _;
use arbiter_net::{ConnectError, Egress, HttpClientConfig, NetError, Reason, Request, Special};
use arbiter_testkit::StubAnswer;

use crate::support::{Names, client, client_with, local, stub, url};

fn public() -> HttpClientConfig {
    HttpClientConfig {
        egress: Egress::public().plain_http(),
        ..HttpClientConfig::new("test")
    }
}

fn denied(error: &NetError) -> Option<Special> {
    match error {
        NetError::Denied(denied) => match denied.reason {
            Reason::Special { special, .. } => Some(special),
            _ => None,
        },
        _ => None,
    }
}

#[tokio::test]
async fn names_that_lead_to_this_host_are_refused() {
    let stub = stub(|_| StubAnswer::reply(200, "")).await;
    let port = stub.address().port();
    let client = client(&public());
    // localhost is resolved by the system; the others are forms that getaddrinfo takes for 127.0.0.1
    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
    ] {
        let request = Request::get(url(&format!("http://{host}:{port}/")));
        let error = client.send(request).await.unwrap_err();
        assert_eq!(denied(&error), Some(Special::Loopback), "{host}: {error:?}");
        assert_eq!((error.retry(), error.applied()), (Retry::Permanent, Applied::No));
        assert!(!error.counts_as_failure());
    }
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let stub = stub(|_| StubAnswer::reply(200, "inside").with("connection", "close")).await;
    let config = HttpClientConfig {
        egress: public().egress.allow_network("127.0.0.1/32".parse().unwrap()),
        ..public()
    };
    let names = Names::new(&[(
        "rebinds.example",
        &[&["127.0.0.1"], &["127.0.0.2"], &["10.0.0.1"]],
    )]);
    let client = client_with(&config, names);
    let ask = || {
        client.send(Request::get(url(&format!(
            "http://rebinds.example:{}/",
            stub.address().port()
        ))))
    };
    assert_eq!(ask().await.unwrap().body, "inside");
    assert_eq!(denied(&ask().await.unwrap_err()), Some(Special::Loopback));
    assert_eq!(denied(&ask().await.unwrap_err()), Some(Special::Private));
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn of_several_addresses_only_the_permitted_ones_are_tried() {
    let stub = stub(|_| StubAnswer::reply(200, "found")).await;
    let names = Names::new(&[
        // the first is not permitted, nothing listens at the second
        ("many.example", &[&["10.0.0.1", "127.0.0.9", "127.0.0.1"]]),
        ("metadata.example", &[&["169.254.169.254"]]),
        ("nowhere.example", &[&[]]),
    ]);
    let client = client_with(&local(), names);
    let port = stub.address().port();
    let ask = |host: &str| client.send(Request::get(url(&format!("http://{host}:{port}/"))));
    assert_eq!(ask("many.example").await.unwrap().body, "found");
    assert_eq!(
        denied(&ask("metadata.example").await.unwrap_err()),
        Some(Special::Metadata)
    );
    let error = ask("nowhere.example").await.unwrap_err();
    assert!(matches!(
        error,
        NetError::Connect {
            source: ConnectError::NoAddress,
            ..
        }
    ));
    let error = ask("unknown.example").await.unwrap_err();
    assert!(matches!(
        error,
        NetError::Connect {
            source: ConnectError::Resolve(_),
            ..
        }
    ));
    assert_eq!(error.retry(), Retry::Transient);
}

#[tokio::test]
async fn a_redirect_to_the_inside_is_refused() {
    let inside = stub(|_| StubAnswer::reply(200, "secret")).await;
    let port = inside.address().port();
    let outside = stub(move |request| {
        let target = match request.target.as_str() {
            "/address" => format!("http://127.0.0.2:{port}/"),
            "/name" => format!("http://inside.example:{port}/"),
            _ => "http://169.254.169.254/latest/meta-data/".to_owned(),
        };
        StubAnswer::reply(302, "").with("location", &target)
    })
    .await;
    let names = Names::new(&[
        ("inside.example", &[&["127.0.0.2"]]),
        ("out.example", &[&["127.0.0.1"]]),
    ]);
    let config = HttpClientConfig {
        egress: public().egress.allow_network("127.0.0.1/32".parse().unwrap()),
        redirects: 5,
        ..public()
    };
    let client = client_with(&config, names);
    for (path, expected) in [
        ("/address", Special::Loopback),
        ("/name", Special::Loopback),
        ("/metadata", Special::Metadata),
    ] {
        let from = url(&format!("http://out.example:{}{path}", outside.address().port()));
        let error = client.send(Request::get(from)).await.unwrap_err();
        assert_eq!(denied(&error), Some(expected), "{path}: {error:?}");
    }
    assert!(inside.seen().is_empty());
}

#[tokio::test]
async fn without_tls_nothing_is_sent_unless_that_is_permitted() {
    let config = HttpClientConfig {
        egress: Egress::public().allow_host("localhost"),
        ..public()
    };
    let error = client(&config)
        .send(Request::get(url("http://localhost/")))
        .await
        .unwrap_err();
    assert!(matches!(&error, NetError::Denied(denied) if denied.reason == Reason::PlainHttp));
}

#[tokio::test]
async fn nobody_there_is_a_transient_failure() {
    // nothing listens on port 1
    let error = client(&local())
        .send(Request::get(url("http://127.0.0.1:1/")))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            NetError::Connect {
                source: ConnectError::Tcp(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!((error.retry(), error.applied()), (Retry::Transient, Applied::No));
    assert!(error.counts_as_failure());
}
