//! A server that answers as PagerDuty does, and a notifier that tells it.

use std::sync::Arc;

use arbiter_adapter_pagerduty::{PagerDutyConfig, PagerDutyNotifier};
use arbiter_core::mechanism::SecretText;
use arbiter_core::ports::{IncidentNotice, IncidentNotifier as _, Notified, NotifyError};
use arbiter_net::{HttpPorts, SystemResolver};
use arbiter_testkit::{
    HttpStub, ManualClock, RecordingMetrics, SeededEntropy, SeenRequest, StubAnswer, TestSpawner,
};
use serde_json::{Value, json};

use crate::schema::event;

/// A routing key that must never be shown.
pub(crate) const KEY: &str = "canary0canary0canary0canary0cana";

/// The answer of an Events API that takes the event.
pub(crate) fn taken(request: &SeenRequest) -> StubAnswer {
    let event: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let body = json!({"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]});
    StubAnswer::reply(202, body.to_string()).with("content-type", "application/json")
}

/// The answer of one that refuses it.
pub(crate) fn refused(status: u16, message: &str, errors: &[&str]) -> StubAnswer {
    let body = json!({"status": "invalid event", "message": message, "errors": errors});
    StubAnswer::reply(status, body.to_string()).with("content-type", "application/json")
}

/// A server and a notifier.
pub(crate) struct World {
    pub(crate) stub: Arc<HttpStub>,
    pub(crate) notifier: PagerDutyNotifier,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    /// A server that answers so.
    pub(crate) async fn answering(
        script: impl Fn(&SeenRequest, &ManualClock) -> StubAnswer + Send + Sync + 'static,
    ) -> Self {
        Self::with(script, |_| ()).await
    }

    /// A server that answers so, and changed settings.
    pub(crate) async fn with(
        script: impl Fn(&SeenRequest, &ManualClock) -> StubAnswer + Send + Sync + 'static,
        change: impl FnOnce(&mut PagerDutyConfig),
    ) -> Self {
        let clock = Arc::new(ManualClock::new());
        let time = Arc::clone(&clock);
        let stub = HttpStub::start(move |request| script(request, &time))
            .await
            .unwrap();
        let mut config = config(&stub.url(""));
        change(&mut config);
        let notifier = notifier(&config, &clock);
        Self {
            stub: Arc::new(stub),
            notifier,
            clock,
        }
    }

    pub(crate) async fn notify(&self, notice: &IncidentNotice) -> Result<Notified, NotifyError> {
        self.notifier.notify(notice).await
    }

    /// What came in, checked against the contract.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.stub
            .seen()
            .iter()
            .map(|request| event(&request.body))
            .collect()
    }
}

pub(crate) fn config(url: &str) -> PagerDutyConfig {
    PagerDutyConfig {
        url: url.to_owned(),
        ..PagerDutyConfig::new(SecretText::new(KEY))
    }
}

pub(crate) fn notifier(config: &PagerDutyConfig, clock: &Arc<ManualClock>) -> PagerDutyNotifier {
    let ports = HttpPorts {
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Arc::new(RecordingMetrics::new()),
        spawner: Arc::new(TestSpawner),
        resolver: Arc::new(SystemResolver),
    };
    PagerDutyNotifier::new(config, ports).unwrap()
}
