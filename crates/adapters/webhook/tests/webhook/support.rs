//! A deliverer that may reach local servers.

use std::sync::Arc;

use arbiter_adapter_webhook::{Endpoint, Message, WebhookConfig, WebhookDeliverer, WebhookSecret};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Json;
use arbiter_net::{Egress, HttpPorts, SystemResolver};
use arbiter_testkit::{
    HttpStub, ManualClock, RecordingMetrics, SeededEntropy, SeenRequest, StubAnswer, TestSpawner,
};

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const NEXT_SECRET: &str = "whsec_bmV4dC1zZWNyZXQtb2YtMzItYnl0ZXMtbG9uZy0xMjM=";

pub(crate) fn local() -> WebhookConfig {
    WebhookConfig {
        egress: Egress::public()
            .plain_http()
            .allow_network("127.0.0.1/32".parse().unwrap()),
        ..WebhookConfig::new()
    }
}

pub(crate) fn deliverer(config: &WebhookConfig) -> (WebhookDeliverer, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let ports = HttpPorts {
        clock: Arc::clone(&clock) as _,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Arc::new(RecordingMetrics::new()),
        spawner: Arc::new(TestSpawner),
        resolver: Arc::new(SystemResolver),
    };
    (WebhookDeliverer::new(config, ports).unwrap(), clock)
}

pub(crate) fn secret(text: &str) -> WebhookSecret {
    WebhookSecret::parse(&SecretText::new(text)).unwrap()
}

pub(crate) fn endpoint(url: &str) -> Endpoint {
    Endpoint::new(&SecretText::new(url), vec![secret(SECRET)]).unwrap()
}

pub(crate) fn message() -> Message {
    let body = Json::parse(r#"{"event":"task.closed","text":"schöne Grüße"}"#).unwrap();
    Message::new("0190f3c2-7b5e-7c3a-9d41-5f6e8a1b2c3d", body).unwrap()
}

pub(crate) async fn stub(script: impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static) -> HttpStub {
    HttpStub::start(script).await.unwrap()
}

/// A server that answers with the status that the path names.
pub(crate) async fn statuses() -> HttpStub {
    stub(|request| StubAnswer::reply(request.target[1..].parse().unwrap(), "")).await
}
