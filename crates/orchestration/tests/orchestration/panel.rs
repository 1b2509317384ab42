//! A review stage that says what a test tells it to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use arbiter_core::model::{HoldReason, ReviewPlan, Stage, StageOutcome};
use arbiter_core::services::{ReviewError, ReviewStage, ReviewVerdict, ReviewWork};
use arbiter_testkit::builders::json;
use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::watch::lock;

/// What the panel says to one output.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    Passed,
    Failed(&'static str),
    Unsure(HoldReason),
    /// Its backend fails.
    Broken,
    /// Nothing until [`Panel::decide`].
    Wait,
}

/// One stage of review.
pub(crate) struct Panel {
    stage: Stage,
    says: Mutex<VecDeque<Say>>,
    seen: Mutex<Vec<ReviewWork>>,
    waiting: Mutex<VecDeque<oneshot::Sender<Say>>>,
}

impl Panel {
    /// Says these things, one per output, and then that it passes.
    pub(crate) fn new(stage: Stage, says: impl IntoIterator<Item = Say>) -> Arc<Self> {
        Arc::new(Self {
            stage,
            says: Mutex::new(says.into_iter().collect()),
            seen: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    /// What it was asked to review, in order.
    pub(crate) fn seen(&self) -> Vec<ReviewWork> {
        lock(&self.seen).clone()
    }

    /// How many reviews wait for a decision now.
    pub(crate) fn waiting(&self) -> usize {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|sender| !sender.is_closed());
        waiting.len()
    }

    /// Decides the review that has waited longest.
    pub(crate) fn decide(&self, say: Say) {
        let first = lock(&self.waiting).pop_front();
        let told = first.expect("a review waits").send(say);
        told.expect("the review is still there");
    }
}

#[async_trait]
impl ReviewStage for Panel {
    fn stage(&self) -> Stage {
        self.stage
    }

    fn accepts(&self, _: &ReviewPlan) -> bool {
        true
    }

    async fn review(&self, work: ReviewWork) -> Result<ReviewVerdict, ReviewError> {
        lock(&self.seen).push(work);
        let said = lock(&self.says).pop_front().unwrap_or(Say::Passed);
        let said = match said {
            Say::Wait => {
                let (sender, decided) = oneshot::channel();
                lock(&self.waiting).push_back(sender);
                decided.await.expect("the test decides")
            }
            said => said,
        };
        let outcome = match said {
            Say::Failed(reason) => StageOutcome::Failed {
                reasons: vec![reason.to_owned()],
            },
            Say::Unsure(why) => StageOutcome::Unsure { why },
            Say::Broken => return Err(ReviewError("the backend is away".into())),
            Say::Passed | Say::Wait => StageOutcome::Passed,
        };
        Ok(ReviewVerdict {
            outcome,
            schema: "panel/1".to_owned(),
            body: Some(json("{\"looked\":true}")),
        })
    }
}
