//! The signature, computed by another implementation.

use std::io::Write as _;
use std::process::{Command, Stdio};

use arbiter_adapter_webhook::Endpoint;
use arbiter_core::mechanism::SecretText;
use arbiter_testkit::StubAnswer;

use crate::support::{NEXT_SECRET, SECRET, deliverer, endpoint, local, message, secret, stub};

/// Prints the signature of `id.timestamp.` and what comes in.
const SCRIPT: &str = "
import base64, hashlib, hmac, sys
secret, id, timestamp = sys.argv[1:]
key = base64.b64decode(secret.removeprefix('whsec_'))
content = f'{id}.{timestamp}.'.encode() + sys.stdin.buffer.read()
print('v1,' + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode(), end='')
";

#[tokio::test]
async fn python_computes_the_same_signature() {
    let stub = stub(|_| StubAnswer::reply(200, "")).await;
    let (deliverer, _) = deliverer(&local());
    deliverer.deliver(&endpoint(&stub.url("/")), &message()).await;
    let seen = stub.seen().remove(0);
    let header = |name| seen.header(name).unwrap();
    let mut python = Command::new("python3")
        .args([
            "-c",
            SCRIPT,
            SECRET,
            header("webhook-id"),
            header("webhook-timestamp"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(&seen.body).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        header("webhook-signature")
    );
}

/// Runs the example of the documentation against what comes in, with the time of the test's clock.
const CALL: &str = r#"
import sys
secret, id, timestamp, signature, now = sys.argv[1:]
time.time = lambda: int(now)
headers = {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature}
print(verify(secret, headers, sys.stdin.buffer.read()), end="")
"#;

fn example(arguments: &[&str], body: &[u8]) -> String {
    let page = include_str!("../../../../../docs/webhooks.md");
    let (_, rest) = page.split_once("```python\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let mut python = Command::new("python3")
        .arg("-c")
        .arg(format!("{example}{CALL}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(body).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_example_of_the_documentation_verifies_what_is_delivered() {
    let stub = stub(|_| StubAnswer::reply(200, "")).await;
    let (deliverer, _) = deliverer(&local());
    let secrets = vec![secret(NEXT_SECRET), secret(SECRET)];
    let both = Endpoint::new(&SecretText::new(stub.url("/")), secrets).unwrap();
    deliverer.deliver(&both, &message()).await;
    let seen = stub.seen().remove(0);
    let header = |name| seen.header(name).unwrap();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature");
    let late = (time.parse::<u64>().unwrap() + 301).to_string();
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (secret, now, body, expected) in [
        (SECRET, time, &seen.body[..], "True"),
        (NEXT_SECRET, time, &seen.body[..], "True"),
        (other, time, &seen.body[..], "False"),
        (SECRET, &late, &seen.body[..], "False"),
        (SECRET, time, b"{}", "False"),
    ] {
        assert_eq!(example(&[secret, id, time, signature, now], body), expected);
    }
}
