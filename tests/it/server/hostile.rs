//! Callers that are slow, huge or broken cost bounded memory, and others are served meanwhile.

use std::io::{BufReader, Read as _, Write as _};

use arbiter_tests::http;
use serde_json::json;

use super::{Served, refused, task};

/// Bodies and heads have a second here, so that the tests need not wait long.
const HASTY: &str = "[server]\nhead_seconds = 1\nbody_seconds = 1\n";

#[test]
fn bodies_of_another_kind_are_refused() {
    let served = Served::new();
    let send =
        |headers: &[(&str, &str)], body: &[u8]| served.operator.call("POST", "/v1/tasks", headers, body);
    refused(&send(&[], b"{}"), 415, "unsupported_media_type");
    refused(
        &send(&[("content-type", "text/plain")], b"{}"),
        415,
        "unsupported_media_type",
    );
    let json = ("content-type", "application/json");
    // What would unpack to far more is not unpacked at all.
    refused(
        &send(&[json, ("content-encoding", "gzip")], b"\x1f\x8b\x08"),
        415,
        "unsupported_media_type",
    );
    refused(&send(&[json], b"{\"kind\": "), 400, "invalid_request");
    refused(&send(&[json], b"\xff\xfe"), 400, "invalid_request");
    refused(&send(&[json], b"[]"), 422, "invalid_value");
    assert_eq!(served.operator.get("/v1/tasks").json()["tasks"], json!([]));
}

#[test]
fn deep_json_is_refused_before_it_costs_anything() {
    let served = Served::new();
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let body = |depth| {
        format!(
            "{{\"kind\":\"analysis\",\"title\":\"x\",\"instructions\":\"y\",\"input\":{}}}",
            deep(depth)
        )
    };
    let send = |depth| {
        let json = [("content-type", "application/json")];
        served
            .operator
            .call("POST", "/v1/tasks", &json, body(depth).as_bytes())
    };
    assert_eq!(send(10).status, 201);
    for depth in [200, 10_000, 100_000] {
        let answer = send(depth);
        assert!([400, 422].contains(&answer.status), "{depth}: {answer:?}");
    }
    assert_eq!(served.operator.get("/v1/tasks").status, 200);
}

#[test]
fn a_body_that_is_too_large_is_refused_without_being_read() {
    let served = Served::new();
    // A gibibyte is announced, and not a byte of it is sent.
    let json = [("content-type", "application/json")];
    let mut stream = served.operator.open("POST", "/v1/tasks", &json, Some(1 << 30));
    refused(&http::read(&mut stream), 413, "too_large");
    // Nothing is announced, and it does not end.
    let chunked = [json[0], ("transfer-encoding", "chunked")];
    let mut stream = served.operator.open("POST", "/v1/tasks", &chunked, None);
    let piece = [b"10000\r\n".as_slice(), &vec![b' '; 0x1_0000], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 64 << 20 && stream.get_mut().write_all(&piece).is_ok() {
        sent += piece.len();
    }
    assert!(sent < 64 << 20, "the server went on reading");
    assert_eq!(served.operator.get("/v1/tasks").status, 200);
}

#[test]
fn slow_heads_and_bodies_are_cut_off_while_others_are_served() {
    let served = Served::with(HASTY, &[]);
    let heads: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = served.operator.connect();
            stream
                .write_all(b"GET /v1/tasks HTTP/1.1\r\nhost: x\r\nx-slow: ")
                .expect("sent");
            stream
        })
        .collect();
    let json = [("content-type", "application/json")];
    let mut body = served.operator.open("POST", "/v1/tasks", &json, Some(100));
    body.get_mut().write_all(b"{\"kind\":").expect("sent");
    served.submit(&task());
    refused(&http::read(&mut body), 408, "payload_timeout");
    for mut stream in heads {
        let mut told = Vec::new();
        // Closed, with or without a word.
        let _ended = stream.read_to_end(&mut told);
        let told = String::from_utf8_lossy(&told);
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 408"), "{told}");
    }
    served.submit(&task());
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    let served = Served::new();
    let smuggled: [&[u8]; 4] = [
        b"POST /v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"GET /v1/tasks HTTP/1.1\r\nhost: x\r\n broken: y\r\n\r\n",
        b"GET /v1/tasks HTTP/1.1\r\nhost: x\r\nna me: y\r\n\r\n",
        b"GET\0 /v1/tasks HTTP/1.1\r\n\r\n",
    ];
    for request in smuggled {
        let mut stream = BufReader::new(served.operator.connect());
        stream.get_mut().write_all(request).expect("sent");
        let (status, _) = http::head(&mut stream);
        assert_eq!(status, 400, "{}", String::from_utf8_lossy(request));
    }
    assert_eq!(served.operator.get("/v1/tasks").status, 200);
}

#[test]
fn idle_connections_are_bounded_and_others_are_served() {
    let served = Served::with("[server]\nconnections = 300\n", &[]);
    let idle: Vec<_> = (0..290).map(|_| served.operator.connect()).collect();
    served.submit(&task());
    let mut over: Vec<_> = (0..50).map(|_| served.operator.connect()).collect();
    // They are accepted in order: the last of them are certainly over the limit, and closed at once.
    for stream in &mut over[20..] {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(read) => assert_eq!(read, 0, "closed without a word"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
    drop(idle);
    arbiter_tests::wait_until("there are places again", || {
        let mut stream = served.operator.open("GET", "/healthz", &[], Some(0));
        let mut told = Vec::new();
        stream.read_to_end(&mut told).is_ok() && told.starts_with(b"HTTP/1.1 200")
    });
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off_and_gives_its_place_back() {
    let served = Served::with("[server]\nwrite_seconds = 1\n", &[]);
    let large = vec![7; 16 << 20];
    let path = format!("/v1/artifacts/{}", arbiter_core::model::Digest::of(&large));
    let stored = served.operator.call("PUT", &path, &[], &large);
    assert!((200..300).contains(&stored.status), "{stored:?}");
    let taken = || served.operator.get("/v1/system/status").json()["calls"]["taken"].clone();
    let mut deaf = served.operator.open("GET", &path, &[], Some(0));
    arbiter_tests::wait_until("the answer waits for its reader", || taken() == 2);
    arbiter_tests::wait_until("its place was given back", || taken() == 1);
    let mut rest = Vec::new();
    let _it_was_cut = std::io::Read::read_to_end(&mut deaf, &mut rest);
    assert!(rest.len() < large.len(), "{} bytes came", rest.len());
}
