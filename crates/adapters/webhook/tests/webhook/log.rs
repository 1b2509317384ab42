//! What the log shows of a delivery.

use std::io;
use std::sync::{Arc, Mutex};

use arbiter_testkit::StubAnswer;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{deliverer, endpoint, local, message, stub};

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_shows_neither_path_nor_content() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(kept.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let stub = stub(|_| StubAnswer::reply(200, "")).await;
    let (deliverer, _) = deliverer(&local());
    deliverer
        .deliver(&endpoint(&stub.url("/canary-path?canary-query")), &message())
        .await;
    let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    let origin = format!("http://{}", stub.address());
    for shown in ["webhook.deliver", "status=200", &origin] {
        assert!(log.contains(shown), "{log}");
    }
    for hidden in ["canary", "v1,", "task.closed"] {
        assert!(!log.contains(hidden), "{log}");
    }
}
