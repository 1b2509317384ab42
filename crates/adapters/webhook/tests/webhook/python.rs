//! The signature, computed by another implementation.

use std::io::Write as _;
use std::process::{Command, Stdio};

use arbiter_testkit::StubAnswer;

use crate::support::{SECRET, deliverer, endpoint, local, message, stub};

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
