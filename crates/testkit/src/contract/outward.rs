//! What the cases about ports that act outside need of an adapter.

use std::any::Any;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::model::ComponentName;
use arbiter_core::ports::{Clock, IncidentNotifier, InfrastructureController, Verb};
use async_trait::async_trait;

use crate::http_stub::{HttpStub, SeenRequest};

/// A notifier, and the target that it tells.
pub struct NotifierHarness {
    /// The notifier. Its longest try is a few seconds.
    pub notifier: Arc<dyn IncidentNotifier>,
    /// The target.
    pub target: Box<dyn NotifierTarget>,
    /// Texts that no error may hold: the target's token, password, path.
    pub secrets: Vec<String>,
    /// Kept until the harness is dropped.
    pub kept: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for NotifierHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NotifierHarness").finish_non_exhaustive()
    }
}

/// How a target answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetMood {
    /// It takes everything.
    Takes,
    /// It refuses everything for good, with the text `CONTRACT-REFUSAL` in its answer.
    Refuses,
    /// It is busy, and asks to be left alone for so long where it has words for that.
    Busy(Duration),
    /// It answers nothing.
    Silent,
}

/// What a target was told: everything that came in with one try, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told(pub String);

/// A target whose answers a case chooses.
#[async_trait]
pub trait NotifierTarget: Send + Sync {
    /// From now on it answers so.
    async fn set(&self, mood: TargetMood);

    /// What came in so far, one for each try, whatever was answered.
    async fn told(&self) -> Vec<Told>;

    /// Whether the target keeps one alert for each key, so that the key is in what it is told.
    fn knows_keys(&self) -> bool;

    /// Whether it can ask to be left alone for a while.
    fn asks_for_time(&self) -> bool;
}

/// A target that is an HTTP server of the test.
pub struct StubTarget {
    /// The server. Its script reads `mood`.
    pub stub: Arc<HttpStub>,
    /// How it answers.
    pub mood: Arc<Mutex<TargetMood>>,
    /// Reads what came in with one request, and checks it.
    pub read: Box<dyn Fn(&SeenRequest) -> String + Send + Sync>,
    /// See [`NotifierTarget::knows_keys`].
    pub knows_keys: bool,
    /// See [`NotifierTarget::asks_for_time`].
    pub asks_for_time: bool,
}

impl std::fmt::Debug for StubTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StubTarget")
            .field("mood", &self.mood)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl NotifierTarget for StubTarget {
    async fn set(&self, mood: TargetMood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    async fn told(&self) -> Vec<Told> {
        let seen = self.stub.seen();
        seen.iter().map(|request| Told((self.read)(request))).collect()
    }

    fn knows_keys(&self) -> bool {
        self.knows_keys
    }

    fn asks_for_time(&self) -> bool {
        self.asks_for_time
    }
}

/// An error with all its sources, as texts for people and for developers.
pub fn whole(error: &dyn Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text} {inner} {inner:?}");
        source = inner.source();
    }
    text
}

/// A controller, and what it acts on.
pub struct InfrastructureHarness {
    /// The controller.
    pub controller: Arc<dyn InfrastructureController>,
    /// Time, for waiting until an operation ends.
    pub clock: Arc<dyn Clock>,
    /// A component that it knows and that is healthy.
    pub component: ComponentName,
    /// The verbs to try on it, all of which it has.
    pub verbs: Vec<Verb>,
    /// What is acted on, seen from outside.
    pub scene: Box<dyn Scene>,
}

impl std::fmt::Debug for InfrastructureHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InfrastructureHarness")
            .field("component", &self.component)
            .field("verbs", &self.verbs)
            .finish_non_exhaustive()
    }
}

/// What a controller acts on, seen from outside of it.
#[async_trait]
pub trait Scene: Send + Sync {
    /// How often the component was acted on so far: processes started, calls that change something.
    async fn effects(&self) -> usize;
}
