//! A server that answers as a target does, and a notifier that tells it.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_webhook::{NoticeFormat, NotifierConfig, Signed, WebhookNotifier, verify};
use arbiter_core::mechanism::SecretText;
use arbiter_core::ports::{Clock as _, IncidentNotice, IncidentNotifier as _, Notified, NotifyError};
use arbiter_net::{HttpPorts, SystemResolver};
use arbiter_testkit::{
    HttpStub, ManualClock, RecordingMetrics, SeededEntropy, SeenRequest, StubAnswer, TestSpawner,
};
use serde_json::Value;

use super::schema::alerts;
use crate::support::{SECRET, secret};

/// The path of the receiver, which must never be shown.
pub(crate) const PATH: &str = "/hooks/canary0123456789abcdef01?key=canary-query-0123456789";
/// A token that must never be shown.
pub(crate) const TOKEN: &str = "canary-token";

/// Which of the two targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Receiver,
    Alertmanager,
}

pub(crate) const BOTH: [Sort; 2] = [Sort::Receiver, Sort::Alertmanager];

/// A server and a notifier.
pub(crate) struct World {
    pub(crate) sort: Sort,
    pub(crate) stub: Arc<HttpStub>,
    pub(crate) notifier: WebhookNotifier,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    /// A server that takes everything.
    pub(crate) async fn taking(sort: Sort) -> Self {
        Self::answering(sort, |_, _| StubAnswer::reply(200, "")).await
    }

    /// A server that answers so.
    pub(crate) async fn answering(
        sort: Sort,
        script: impl Fn(&SeenRequest, &ManualClock) -> StubAnswer + Send + Sync + 'static,
    ) -> Self {
        let clock = Arc::new(ManualClock::new());
        let time = Arc::clone(&clock);
        let stub = HttpStub::start(move |request| script(request, &time))
            .await
            .unwrap();
        let notifier = notifier(&config(sort, &stub.url("")), &clock);
        Self {
            sort,
            stub: Arc::new(stub),
            notifier,
            clock,
        }
    }

    pub(crate) async fn notify(&self, notice: &IncidentNotice) -> Result<Notified, NotifyError> {
        self.notifier.notify(notice).await
    }

    /// The bodies that came in, checked: alerts against their contract, messages against their signature.
    pub(crate) fn told(&self) -> Vec<Value> {
        let seen = self.stub.seen();
        seen.iter()
            .map(|request| checked(self.sort, request, &self.clock))
            .collect()
    }
}

/// The body of a request, checked.
pub(crate) fn checked(sort: Sort, request: &SeenRequest, clock: &ManualClock) -> Value {
    if sort == Sort::Alertmanager {
        return Value::Array(alerts(&request.body));
    }
    let header = |name| request.header(name).unwrap();
    let signed = Signed {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    let day = Duration::from_hours(24);
    assert_eq!(
        verify([&secret(SECRET)], signed, &request.body, clock.now(), day),
        Ok(())
    );
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(body["id"], header("webhook-id"));
    body
}

pub(crate) fn config(sort: Sort, origin: &str) -> NotifierConfig {
    NotifierConfig::new(match sort {
        Sort::Receiver => NoticeFormat::Arbiter {
            url: SecretText::new(format!("{origin}{PATH}")),
            secrets: vec![secret(SECRET)],
        },
        Sort::Alertmanager => {
            let mut format = NoticeFormat::alertmanager(format!("{origin}/am/"));
            if let NoticeFormat::Alertmanager { token, .. } = &mut format {
                *token = Some(SecretText::new(TOKEN));
            }
            format
        }
    })
}

pub(crate) fn notifier(config: &NotifierConfig, clock: &Arc<ManualClock>) -> WebhookNotifier {
    let ports = HttpPorts {
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Arc::new(RecordingMetrics::new()),
        spawner: Arc::new(TestSpawner),
        resolver: Arc::new(SystemResolver),
    };
    WebhookNotifier::new(config, ports).unwrap()
}
