//! Streams and files.

use std::io::BufReader;
use std::net::TcpStream;

use arbiter_tests::http;
use serde_json::{Value, json};

use super::{Served, refused, task};

/// A file of some pieces, and the SHA-256 of it as `sha256sum` gives it.
const HELLO: (&[u8], &str) = (
    b"hello",
    "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
);

/// The next event of a stream with its id; none at its end.
fn event(stream: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    loop {
        let text = String::from_utf8(http::chunk(stream)?).expect("text");
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim_start().to_owned())
        };
        // Comments keep the connection alive.
        if let (Some(id), Some(data)) = (field("id"), field("data")) {
            return Some((id, serde_json::from_str(&data).expect("JSON")));
        }
    }
}

#[test]
fn a_task_is_followed_to_its_end() {
    let served = Served::new();
    let id = served.submit(&task());
    let path = format!("/v1/tasks/{id}/watch");
    let mut stream = served.operator.open("GET", &path, &[], Some(0));
    assert_eq!(http::head(&mut stream).0, 200);
    let (first, told) = event(&mut stream).expect("the present state");
    assert_eq!(told["state"], "queued");
    let because = json!({"reason": "enough"});
    let cancel = format!("/v1/tasks/{id}/cancel");
    assert_eq!(served.operator.post(&cancel, &because).status, 200);
    let (last, told) = event(&mut stream).expect("its end");
    assert_eq!(told["state"], "cancelled");
    assert_eq!(event(&mut stream), None);
    // A client that lost the connection goes on where it was.
    let resumed = |seen: &str| {
        let headers = [("last-event-id", seen)];
        served.operator.call("GET", &path, &headers, b"")
    };
    let missed = resumed(&first);
    assert_eq!(missed.status, 200);
    assert!(
        String::from_utf8_lossy(&missed.body).contains("cancelled"),
        "{missed:?}"
    );
    assert_eq!(resumed(&last).status, 204, "nothing more will come");
}

#[test]
fn files_are_kept_by_their_digest() {
    let served = Served::new();
    let (bytes, digest) = HELLO;
    let path = format!("/v1/artifacts/{digest}");
    let plain = [("content-type", "application/octet-stream")];
    refused(
        &served.operator.call("PUT", &path, &plain, b"hullo"),
        422,
        "invalid_value",
    );
    refused(&served.operator.get(&path), 404, "not_found");
    let put = served.operator.call("PUT", &path, &plain, bytes);
    assert_eq!(
        (put.status, &put.json()["size_bytes"]),
        (200, &json!(5)),
        "{put:?}"
    );
    assert_eq!(served.operator.get(&path).body, bytes);
    let range = |range: &str| served.operator.call("GET", &path, &[("range", range)], b"");
    let part = range("bytes=1-3");
    assert_eq!((part.status, part.body.as_slice()), (206, b"ell".as_slice()));
    assert_eq!(part.header("content-range"), Some("bytes 1-3/5"));
    assert_eq!(range("bytes=-2").body, b"lo");
    refused(&range("bytes=9-"), 416, "range_not_satisfiable");
    assert_eq!(served.operator.call("DELETE", &path, &[], b"").status, 204);
    refused(&served.operator.get(&path), 404, "not_found");
}

#[test]
fn a_stream_ends_when_its_key_is_revoked() {
    let served = Served::new();
    let id = served.submit(&task());
    let made = served
        .operator
        .post("/v1/principals", &json!({"name": "reader", "roles": ["auditor"]}));
    let principal = made.json()["id"].as_str().expect("an id").to_owned();
    let made = served
        .operator
        .post(&format!("/v1/principals/{principal}/keys"), &json!({}));
    let key = made.json();
    let reader = http::Caller::new(&served.serving, key["secret"].as_str());
    let mut stream = reader.open("GET", &format!("/v1/tasks/{id}/watch"), &[], Some(0));
    assert_eq!(http::head(&mut stream).0, 200);
    assert!(event(&mut stream).is_some());
    let path = format!(
        "/v1/principals/{principal}/keys/{}",
        key["key"]["id"].as_str().expect("an id")
    );
    let revoked = served.operator.call("DELETE", &path, &[], b"");
    assert!((200..300).contains(&revoked.status), "{revoked:?}");
    assert_eq!(event(&mut stream), None, "nothing more is told");
    refused(&reader.get(&format!("/v1/tasks/{id}")), 401, "auth_failed");
}
