//! Bodies that are sent piece by piece.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arbiter_core::mechanism::{Backoff, RetryBudgetSettings};
use arbiter_core::ports::{Applied, BoxError, ByteSource};
use arbiter_net::{Content, GuardSettings, HttpClientConfig, Method, NetError, Request, RetrySettings};
use arbiter_testkit::StubAnswer;
use async_trait::async_trait;

use crate::support::{client, local, stub, url};

/// So many pieces of 1000 bytes; counts how often it is opened.
struct Pieces {
    announced: u64,
    count: usize,
    opened: AtomicUsize,
}

struct Left(usize);

#[async_trait]
impl ByteSource for Left {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        let Some(left) = self.0.checked_sub(1) else {
            return Ok(None);
        };
        self.0 = left;
        Ok(Some(vec![b'a' + u8::try_from(left % 26)?; 1_000]))
    }
}

impl Content for Pieces {
    fn size_bytes(&self) -> u64 {
        self.announced
    }

    fn open(&self) -> Result<Box<dyn ByteSource>, BoxError> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        if self.count == 0 {
            return Err("gone".into());
        }
        Ok(Box::new(Left(self.count)))
    }
}

fn pieces(announced: u64, pieces: usize) -> Arc<Pieces> {
    Arc::new(Pieces {
        announced,
        count: pieces,
        opened: AtomicUsize::new(0),
    })
}

fn retrying() -> HttpClientConfig {
    let wait = Duration::from_millis(1);
    let retry = RetrySettings {
        retries: 2,
        backoff: Backoff {
            base: wait,
            factor: 1,
            cap: wait,
        },
        longest_wait: wait,
        budget: RetryBudgetSettings::DEFAULT,
    };
    HttpClientConfig {
        guard: GuardSettings {
            retry: Some(retry),
            ..local().guard
        },
        ..local()
    }
}

#[tokio::test]
async fn each_attempt_reads_the_content_from_its_beginning() {
    let asked = AtomicUsize::new(0);
    let stub = stub(move |_| {
        let status = if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            503
        } else {
            200
        };
        StubAnswer::reply(status, "")
    })
    .await;
    let content = pieces(300_000, 300);
    let request = Request::new(Method::PUT, url(&stub.url("/"))).with_content(content.clone());
    assert!(format!("{request:?}").contains("300000"));
    let answer = client(&retrying()).send(request).await.unwrap();
    assert_eq!(answer.status.as_u16(), 200);
    let seen = stub.seen();
    assert_eq!((seen.len(), content.opened.load(Ordering::SeqCst)), (2, 2));
    assert_eq!(seen[0].body.len(), 300_000);
    assert!(seen[0].body == seen[1].body);
    assert_eq!(seen[0].header("content-length"), Some("300000"));
}

#[tokio::test]
async fn what_the_caller_tries_again_is_sent_once() {
    let stub = stub(|_| StubAnswer::reply(503, "")).await;
    let request = Request::get(url(&stub.url("/"))).once();
    client(&retrying()).send(request).await.unwrap();
    assert_eq!(stub.seen().len(), 1);
}

#[tokio::test]
async fn content_that_cannot_be_had_or_is_too_large_or_too_short_is_an_error() {
    let stub = stub(|_| StubAnswer::reply(200, "")).await;
    let put = |content: Arc<Pieces>| Request::new(Method::PUT, url(&stub.url("/"))).with_content(content);
    let config = HttpClientConfig {
        max_request_bytes: 10_000,
        ..local()
    };
    let client = client(&config);
    let gone = client.send(put(pieces(1_000, 0))).await.unwrap_err();
    assert!(matches!(gone, NetError::Content { .. }), "{gone:?}");
    assert_eq!(gone.applied(), Applied::No);
    let large = client.send(put(pieces(10_001, 11))).await.unwrap_err();
    assert!(
        matches!(large, NetError::RequestTooLarge { limit_bytes: 10_000 }),
        "{large:?}"
    );
    assert!(stub.seen().is_empty());
    assert!(client.send(put(pieces(5_000, 1))).await.is_err());
    assert!(stub.seen().is_empty(), "half a body is no request");
}
