//! A server on a local socket, and a registry that asks it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_adapter_registry_http::{CallError, HttpAgentRegistry, RegistryConfig};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{AgentProfile, RegisteredAgent, Timestamp};
use arbiter_core::ports::{Clock, NoMetrics, RegistryError};
use arbiter_net::{HttpPorts, SystemResolver};
use arbiter_testkit::builders::profile;
use arbiter_testkit::{HttpStub, ManualClock, SeededEntropy, SeenRequest, StubAnswer, TestSpawner};
use arbiter_wire::http::Problem;
use async_trait::async_trait;
use serde_json::{Value, json};

/// A key that must never be shown.
pub(crate) const KEY: &str = "arb_canary";

/// Waits up to this long are over at once; time-outs are longer.
const SHORT: Duration = Duration::from_secs(3);

/// Short waits take no time; longer ones last until the test moves the time.
#[derive(Default)]
pub(crate) struct Impatient(ManualClock);

impl Impatient {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

#[async_trait]
impl Clock for Impatient {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    async fn sleep_until(&self, moment: Duration) {
        let wait = moment.saturating_sub(self.monotonic());
        if wait > SHORT {
            return self.0.sleep_until(moment).await;
        }
        self.0.advance(wait);
    }
}

/// A registry, and the server that it asks.
pub(crate) struct World {
    pub(crate) stub: HttpStub,
    pub(crate) registry: HttpAgentRegistry,
    pub(crate) clock: Arc<Impatient>,
    says: Arc<Mutex<StubAnswer>>,
}

impl World {
    /// A server that answers so until told otherwise, which is asked once for each call.
    pub(crate) async fn saying(answer: StubAnswer) -> Self {
        Self::with(answer, |config| {
            config.retries = 0;
            config.breaker = None;
        })
        .await
    }

    pub(crate) async fn with(answer: StubAnswer, change: impl FnOnce(&mut RegistryConfig)) -> Self {
        let says = Arc::new(Mutex::new(answer));
        let script = Arc::clone(&says);
        let answer = move |_: &SeenRequest| script.lock().unwrap().clone();
        Self::answering(says, answer, change).await
    }

    /// A server that answers each call by what it asks, whose answers have 64 KiB at most.
    pub(crate) async fn by_call(answer: impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static) -> Self {
        Self::answering(Arc::new(Mutex::new(problem("internal"))), answer, |config| {
            config.retries = 0;
            config.breaker = None;
            config.max_answer_bytes = 65_536;
        })
        .await
    }

    async fn answering(
        says: Arc<Mutex<StubAnswer>>,
        answer: impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static,
        change: impl FnOnce(&mut RegistryConfig),
    ) -> Self {
        let stub = HttpStub::start(answer).await.unwrap();
        let mut config = RegistryConfig::new(stub.url("/"), SecretText::new(KEY));
        change(&mut config);
        let clock = Arc::new(Impatient::default());
        let registry = HttpAgentRegistry::new(&config, ports(Arc::clone(&clock) as _)).unwrap();
        Self {
            stub,
            registry,
            clock,
            says,
        }
    }

    /// From now on the server answers so.
    pub(crate) fn says(&self, answer: StubAnswer) {
        *self.says.lock().unwrap() = answer;
    }

    pub(crate) fn last(&self) -> SeenRequest {
        self.stub.seen().pop().unwrap()
    }
}

pub(crate) fn ports(clock: Arc<dyn Clock>) -> HttpPorts {
    HttpPorts {
        clock,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Arc::new(NoMetrics),
        spawner: Arc::new(TestSpawner),
        resolver: Arc::new(SystemResolver),
    }
}

/// A JSON answer.
pub(crate) fn json_answer(status: u16, body: &Value) -> StubAnswer {
    StubAnswer::reply(status, body.to_string()).with("content-type", "application/json")
}

/// A problem of this code.
pub(crate) fn problem(code: &str) -> StubAnswer {
    problem_with(&Problem::new(code, format!("it is {code}")))
}

pub(crate) fn problem_with(problem: &Problem) -> StubAnswer {
    StubAnswer::reply(problem.status, serde_json::to_vec(problem).unwrap())
        .with("content-type", "application/problem+json")
}

/// An agent as the interface tells of it: that of the builders, with this number.
pub(crate) fn view(number: u64) -> Value {
    let profile = profile(number);
    json!({
        "id": profile.id.to_string(),
        "tenant": profile.tenant.map(|tenant| tenant.to_string()),
        "name": profile.name,
        "model_family": profile.model_family,
        "kinds": profile.capabilities.kinds.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "languages": [],
        "specialisations": [],
        "tools": [],
        "slots": profile.slots,
        "transport": "pull",
        "mode": "active",
        "clearance": "internal",
        "labels": {},
        "registered_at": "2026-01-01T00:00:00.000001Z",
        "seen_at": "2026-01-01T00:00:05.000002Z",
        "health": "healthy",
        "records": [],
    })
}

/// The same in the model.
pub(crate) fn registered(profile: AgentProfile) -> RegisteredAgent {
    RegisteredAgent {
        profile,
        mode: arbiter_core::model::AgentMode::Active,
        registered_at: "2026-01-01T00:00:00.000001Z".parse().unwrap(),
        seen_at: "2026-01-01T00:00:05.000002Z".parse().unwrap(),
        beat: None,
        records: std::collections::BTreeMap::new(),
    }
}

/// Why the registry is unavailable, and after how long it may be asked again.
pub(crate) fn unavailable(error: RegistryError) -> (CallError, Option<Duration>) {
    match error {
        RegistryError::Unavailable {
            source, retry_after, ..
        } => (*source.downcast::<CallError>().unwrap(), retry_after),
        other => panic!("{other:?}"),
    }
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
