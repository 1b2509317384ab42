//! Webhooks from the task's end to a receiver on this machine.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use super::{Served, task};

/// A message as it came: headers in lower case, and the body.
pub(crate) struct Message {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A receiver that answers the first so many messages with 503.
pub(crate) fn receiver(failures: usize) -> (String, Receiver<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (sender, messages) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let mut stream = BufReader::new(stream);
            let (mut headers, mut line) = (Vec::new(), String::new());
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some((name, value)) = line.trim_end().split_once(": ") {
                    headers.push((name.to_lowercase(), value.to_owned()));
                }
                line.clear();
            }
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_err() {
                continue;
            }
            let status = if number < failures {
                "503 Busy"
            } else {
                "204 No Content"
            };
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            let _it_may_be_gone = stream.get_mut().write_all(answer.as_bytes());
            if sender.send(Message { headers, body }).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}/hook"), messages)
}

pub(crate) fn next(messages: &Receiver<Message>) -> Message {
    messages
        .recv_timeout(std::time::Duration::from_mins(1))
        .expect("a message")
}

fn make(served: &Served, url: &str) -> Value {
    let made = served
        .operator
        .post("/v1/hooks", &json!({"url": url, "events": ["closed"]}));
    assert_eq!(made.status, 201, "{made:?}");
    made.json()
}

#[test]
fn a_receiver_is_told_when_a_task_ends_and_again_when_it_was_busy() {
    let (url, messages) = receiver(1);
    let served = Served::with("[hooks]\nloopback_http = true\n", &[]);
    make(&served, &url);
    let id = served.submit(&task());
    let cancel = json!({"reason": "not needed any more"});
    assert_eq!(
        served
            .operator
            .post(&format!("/v1/tasks/{id}/cancel"), &cancel)
            .status,
        200
    );
    let (first, second) = (next(&messages), next(&messages));
    let told: Value = serde_json::from_slice(&first.body).expect("JSON");
    assert_eq!(
        (&told["type"], &told["task"]["id"]),
        (&json!("task.closed"), &json!(id))
    );
    assert_eq!(told["task"]["state"], "cancelled");
    assert_eq!(first.header("webhook-id"), told["id"].as_str().expect("an id"));
    assert!(first.header("webhook-signature").starts_with("v1,"));
    assert_eq!(first.body, second.body, "a repeat is the same message");
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!(served.serving.stop().code(), Some(0));
}

#[test]
fn what_happened_before_a_kill_is_told_after_it() {
    let (url, messages) = receiver(0);
    let served = Served::with("[hooks]\nloopback_http = true\n", &[]);
    make(&served, &url);
    let id = served.submit(&task());
    let cancel = json!({"reason": "not needed any more"});
    assert_eq!(
        served
            .operator
            .post(&format!("/v1/tasks/{id}/cancel"), &cancel)
            .status,
        200
    );
    let Served { place, serving, .. } = served;
    // Dropping kills it.
    drop(serving);
    let served = Served::at(place, "[hooks]\nloopback_http = true\n", &[]);
    let told: Value = serde_json::from_slice(&next(&messages).body).expect("JSON");
    assert_eq!(told["task"]["id"], json!(id));
    assert_eq!(served.serving.stop().code(), Some(0));
}
