//! Agents and review stages that do their work, or not.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{
    Failure, FailureClass, HoldReason, Json, Progress, Ratio, Report, ReviewPlan, Stage, StageOutcome, Usage,
};
use arbiter_core::ports::{AgentTransport, Clock as _, Delivered, Delivery, TransportError};
use arbiter_core::services::{ReviewError, ReviewStage, ReviewVerdict, ReviewWork};
use async_trait::async_trait;
use futures_util::{FutureExt as _, select_biased};

use crate::world::World;

/// An agent whose behaviour is drawn anew for each attempt.
pub(crate) struct Agent(pub(crate) Arc<World>);

#[async_trait]
impl AgentTransport for Agent {
    async fn deliver(&self, delivery: Delivery) -> Result<Delivered, TransportError> {
        let task = delivery.stored.task.id;
        self.0.journal().delivered.push((task, delivery.fence));
        let behaviour = if self.0.wild() { self.0.draw(100) } else { 0 };
        let seconds = |below| Duration::from_secs(1 + self.0.draw(below));
        let report = || {
            // what is recorded tells whose it is
            let text = format!("{{\"fence\":{},\"task\":\"{task}\"}}", delivery.fence.0);
            Report {
                output: Json::parse(text).ok(),
                ..Report::default()
            }
        };
        let failed = |class| {
            Ok(Delivered::Failed(Failure {
                class,
                code: None,
                message: "drawn".to_owned(),
                usage: Usage::default(),
                not_enforced: None,
            }))
        };
        let ended = match behaviour {
            0..50 => self.work(&delivery, seconds(8), 3).await,
            50..65 => self.work(&delivery, seconds(90), 10).await,
            65..75 => {
                self.work(&delivery, seconds(10), 1).await;
                return failed(FailureClass::Agent);
            }
            75..82 => {
                self.work(&delivery, seconds(5), 1).await;
                return failed(FailureClass::Crash);
            }
            82..86 => {
                return Err(TransportError::Unreachable {
                    operation: "deliver",
                    source: "drawn".into(),
                });
            }
            // hangs until it is stopped
            86..92 => {
                delivery.stop.stopped().await;
                true
            }
            // goes on although it was told to stop, and hands in what nobody waits for
            92..97 => {
                self.0.sleep(seconds(100)).await;
                false
            }
            _ => {
                let usage = Usage {
                    tokens: Some(1_000_000),
                    ..Usage::default()
                };
                delivery.progress.tell(None, Some(usage));
                self.work(&delivery, seconds(40), 1).await
            }
        };
        if ended {
            return Ok(Delivered::Stopped);
        }
        Ok(Delivered::Reported(report()))
    }
}

impl Agent {
    /// Works for so long and tells progress. True when it was stopped before.
    async fn work(&self, delivery: &Delivery, duration: Duration, parts: u32) -> bool {
        for part in 1..=parts {
            select_biased! {
                () = delivery.stop.stopped().fuse() => return true,
                () = self.0.sleep(duration / parts).fuse() => {}
            }
            let progress = Progress {
                at: self.0.clock.now(),
                fraction: Ratio::new(f64::from(part) / f64::from(parts)).ok(),
                message: "working".to_owned(),
            };
            delivery.progress.tell(Some(progress), None);
        }
        false
    }
}

/// A stage whose verdict is drawn.
pub(crate) struct DrawnStage(pub(crate) Arc<World>, pub(crate) Stage);

#[async_trait]
impl ReviewStage for DrawnStage {
    fn stage(&self) -> Stage {
        self.1
    }

    fn accepts(&self, _: &ReviewPlan) -> bool {
        true
    }

    async fn review(&self, _: ReviewWork) -> Result<ReviewVerdict, ReviewError> {
        let world = &self.0;
        world.sleep(Duration::from_millis(100 + world.draw(20_000))).await;
        let outcome = match if world.wild() { world.draw(100) } else { 0 } {
            0..70 => StageOutcome::Passed,
            70..80 => StageOutcome::Failed {
                reasons: vec!["drawn".to_owned()],
            },
            80..88 => StageOutcome::Unsure {
                why: HoldReason::LowConfidence,
            },
            _ => return Err(ReviewError("drawn".into())),
        };
        Ok(ReviewVerdict {
            outcome,
            schema: "drawn/1".to_owned(),
            body: None,
        })
    }
}
