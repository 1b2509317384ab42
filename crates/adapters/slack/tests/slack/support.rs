//! A server that answers as Slack does, and a notifier that tells it.

use std::sync::Arc;

use arbiter_adapter_slack::{SlackConfig, SlackNotifier, SlackTarget};
use arbiter_core::mechanism::SecretText;
use arbiter_core::ports::{IncidentNotice, IncidentNotifier as _, Notified, NotifyError};
use arbiter_net::{HttpPorts, SystemResolver};
use arbiter_testkit::{
    HttpStub, ManualClock, RecordingMetrics, SeededEntropy, SeenRequest, StubAnswer, TestSpawner,
};
use serde_json::{Value, json};

use crate::schema::message;

/// The path of the webhook, which must never be shown.
pub(crate) const PATH: &str = "/services/T00canary/B00canary/canary0123456789abcdef01";
/// The part of it that is the secret.
pub(crate) const PART: &str = "canary0123456789abcdef01";
/// A token that must never be shown.
pub(crate) const TOKEN: &str = "xoxb-canary-token";
/// Where the bot posts.
pub(crate) const CHANNEL: &str = "C0123ABC";

/// The answer of an incoming webhook that takes the message.
pub(crate) fn ok() -> StubAnswer {
    StubAnswer::reply(200, "ok").with("content-type", "text/html")
}

/// The answer of the Web API that takes the message.
pub(crate) fn posted(request: &SeenRequest) -> StubAnswer {
    let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut own = json!({"text": message["text"], "ts": "1503435956.000247", "type": "message"});
    if let Some(thread) = message.get("thread_ts") {
        own["thread_ts"] = thread.clone();
        own["ts"] = json!("1503435999.000300");
    }
    let body = json!({"ok": true, "channel": CHANNEL, "ts": own["ts"], "message": own});
    StubAnswer::reply(200, body.to_string()).with("content-type", "application/json")
}

/// The answer of the Web API that takes nothing.
pub(crate) fn not_ok(word: &str) -> StubAnswer {
    let body = json!({"ok": false, "error": word});
    StubAnswer::reply(200, body.to_string()).with("content-type", "application/json")
}

/// Which of the two targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Webhook,
    Bot,
}

/// A server and a notifier.
pub(crate) struct World {
    pub(crate) stub: Arc<HttpStub>,
    pub(crate) notifier: SlackNotifier,
    pub(crate) clock: Arc<ManualClock>,
}

impl World {
    /// A server that answers so.
    pub(crate) async fn answering(
        sort: Sort,
        script: impl Fn(&SeenRequest, &ManualClock) -> StubAnswer + Send + Sync + 'static,
    ) -> Self {
        Self::with(sort, script, |_| ()).await
    }

    /// A server that takes everything.
    pub(crate) async fn taking(sort: Sort) -> Self {
        Self::answering(sort, move |request, _| match sort {
            Sort::Webhook => ok(),
            Sort::Bot => posted(request),
        })
        .await
    }

    /// A server that answers so, and changed settings.
    pub(crate) async fn with(
        sort: Sort,
        script: impl Fn(&SeenRequest, &ManualClock) -> StubAnswer + Send + Sync + 'static,
        change: impl FnOnce(&mut SlackConfig),
    ) -> Self {
        let clock = Arc::new(ManualClock::new());
        let time = Arc::clone(&clock);
        let stub = HttpStub::start(move |request| script(request, &time))
            .await
            .unwrap();
        let mut config = config(sort, &stub.url(""));
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
    pub(crate) fn messages(&self) -> Vec<Value> {
        self.stub
            .seen()
            .iter()
            .map(|request| message(&request.body))
            .collect()
    }
}

pub(crate) fn config(sort: Sort, origin: &str) -> SlackConfig {
    match sort {
        Sort::Webhook => SlackConfig::webhook(SecretText::new(format!("{origin}{PATH}"))),
        Sort::Bot => {
            let mut config = SlackConfig::bot(SecretText::new(TOKEN), CHANNEL);
            config.target = SlackTarget::Bot {
                url: format!("{origin}/api"),
                token: SecretText::new(TOKEN),
                channel: CHANNEL.to_owned(),
            };
            config
        }
    }
}

pub(crate) fn notifier(config: &SlackConfig, clock: &Arc<ManualClock>) -> SlackNotifier {
    let ports = HttpPorts {
        clock: Arc::clone(clock) as _,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics: Arc::new(RecordingMetrics::new()),
        spawner: Arc::new(TestSpawner),
        resolver: Arc::new(SystemResolver),
    };
    SlackNotifier::new(config, ports).unwrap()
}
