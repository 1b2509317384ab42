//! Clients and servers for tests.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_client::{Client, ClientConfig, HttpPorts};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Clock, NoMetrics};
use arbiter_net::Resolve;
use arbiter_testkit::{HttpStub, ManualClock, SeededEntropy, SeenRequest, StubAnswer, TestSpawner};
use async_trait::async_trait;

/// A key that must never be shown.
pub(crate) const KEY: &str = "arb_canary";

/// Waits up to this long are over at once; time-outs are longer.
const SHORT: Duration = Duration::from_secs(12);

/// Every name is this machine.
struct Here;

#[async_trait]
impl Resolve for Here {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![IpAddr::from([127, 0, 0, 1])])
    }
}

/// Short waits take no time and are noted; longer ones last until the test moves the time.
#[derive(Default)]
pub(crate) struct Impatient {
    time: ManualClock,
    waited: Mutex<Vec<Duration>>,
}

impl Impatient {
    pub(crate) fn advance(&self, by: Duration) {
        self.time.advance(by);
    }

    /// The short waits so far.
    pub(crate) fn waited(&self) -> Vec<Duration> {
        self.waited.lock().unwrap().clone()
    }
}

#[async_trait]
impl Clock for Impatient {
    fn now(&self) -> Timestamp {
        self.time.now()
    }

    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }

    async fn sleep_until(&self, moment: Duration) {
        let wait = moment.saturating_sub(self.monotonic());
        if wait > SHORT {
            return self.time.sleep_until(moment).await;
        }
        self.waited.lock().unwrap().push(wait);
        self.time.advance(wait);
    }
}

/// A server, and a client of it.
pub(crate) struct World {
    pub(crate) stub: HttpStub,
    pub(crate) client: Client,
    pub(crate) clock: Arc<Impatient>,
}

impl World {
    pub(crate) async fn new(script: impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static) -> Self {
        Self::with(|_| {}, script).await
    }

    pub(crate) async fn with(
        change: impl FnOnce(&mut ClientConfig),
        script: impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static,
    ) -> Self {
        let stub = HttpStub::start(script).await.unwrap();
        let mut config = ClientConfig {
            key: Some(SecretText::new(KEY)),
            connect_timeout: Duration::from_secs(30),
            ..ClientConfig::new(stub.url("/"))
        };
        change(&mut config);
        let clock = Arc::new(Impatient::default());
        let client = Client::new(&config, ports(Arc::clone(&clock) as _)).unwrap();
        Self { stub, client, clock }
    }

    /// Answers in order, the last one for ever.
    pub(crate) async fn answering(answers: Vec<StubAnswer>) -> Self {
        Self::new(in_order(answers)).await
    }

    /// What the server was asked, as `METHOD target`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let seen = self.stub.seen();
        let asked = seen
            .iter()
            .map(|request| format!("{} {}", request.method, request.target));
        asked.collect()
    }
}

pub(crate) fn ports(clock: Arc<dyn Clock>) -> HttpPorts {
    HttpPorts {
        clock,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Arc::new(NoMetrics),
        spawner: Arc::new(TestSpawner),
        resolver: Arc::new(Here),
    }
}

/// Answers in order, the last one for ever.
pub(crate) fn in_order(
    answers: Vec<StubAnswer>,
) -> impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static {
    let asked = AtomicUsize::new(0);
    move |_| answers[asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone()
}

/// A problem of this code.
pub(crate) fn problem(code: &str) -> StubAnswer {
    let problem = arbiter_wire::http::Problem {
        request_id: Some("r-7".to_owned()),
        ..arbiter_wire::http::Problem::new(code, format!("it is {code}"))
    };
    StubAnswer::reply(problem.status, serde_json::to_vec(&problem).unwrap())
        .with("content-type", "application/problem+json")
}

/// An answer without an end.
pub(crate) fn raw(text: &str) -> StubAnswer {
    StubAnswer::Raw(text.as_bytes().to_vec())
}

/// The texts of an error and all its sources, as a log shows them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error:?} | {error}");
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
