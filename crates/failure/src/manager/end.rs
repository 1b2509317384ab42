//! The end of a recovery: stored together with the incident that it opens or resolves.

use std::time::Duration;

use arbiter_core::model::{AuditAction, ComponentName, Impact, Json, OperationId, Severity, Timestamp};
use arbiter_core::ports::{DocumentError, StoreError};
use serde_json::json;

use super::FailureManager;
use crate::actions::Action;
use crate::classify::severity;
use crate::component::{Outcome, PastRecovery, placed};
use crate::incident::{Cause, Writes};
use crate::records::{TRIES, contended, written};

impl FailureManager {
    /// Drives the recovery of a component to its end, and does what its end leads to. Nothing when another node has it.
    pub(super) async fn recover(&self, component: &ComponentName) -> Result<(), StoreError> {
        let Some(ended) = self.runner.drive(component).await? else {
            return Ok(());
        };
        self.end(component, ended.id, ended.outcome).await?;
        self.runner.give_back(component).await;
        Ok(())
    }

    /// Ends a recovery; it has one end, whoever comes first.
    async fn end(
        &self,
        component: &ComponentName,
        id: OperationId,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            if written(self.try_end(component, id, outcome).await)? {
                return Ok(());
            }
        }
        Err(contended())
    }

    async fn try_end(
        &self,
        component: &ComponentName,
        id: OperationId,
        outcome: Outcome,
    ) -> Result<(), DocumentError> {
        let now = self.ports.clock.now();
        let mut kept = self.component(component).await?;
        let tried = kept.body.recovery.as_ref().map(|recovery| recovery.tried.clone());
        let Some(past) = kept.body.end(id, outcome, now) else {
            return Ok(());
        };
        if let Outcome::Contained {
            by: Action::Isolate { for_seconds },
        } = outcome
        {
            kept.body.isolated_until = Some(now.plus(Duration::from_secs(u64::from(for_seconds))));
        }
        let flaps = kept.body.is_flapping(&self.settings, now);
        let mut writes = Writes {
            actions: vec![AuditAction::RecoveryEnded],
            detail: Some(Json::of(&json!({
                "recovery": id.to_string(),
                "component": component.as_str(),
                "outcome": outcome.word(),
            }))),
            ..Writes::default()
        };
        let follows = self
            .follows(component, &past, tried.unwrap_or_default(), flaps, now)
            .await?;
        writes = match follows {
            Some(incident) => incident.and(writes),
            None => writes,
        };
        writes.documents.push(self.components.put(
            &kept.id,
            kept.unchanged(),
            &kept.body,
            placed(&kept.body, now),
        )?);
        let told = !writes.outbox.is_empty();
        self.book.commit(writes, None).await?;
        let took = past.ended_at.since(past.began_at);
        let labels = [("outcome", outcome.word()), ("kind", past.kind.word())];
        self.ports
            .metrics
            .count("failure_manager.recoveries_total", &labels, 1);
        self.ports.metrics.observe(
            "failure_manager.recovery_seconds",
            &[("outcome", outcome.word())],
            took.as_secs_f64(),
        );
        tracing::warn!(
            event = "recovery_ended",
            component = %component,
            outcome = outcome.word(),
            flapping = flaps,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "the recovery of a component has ended"
        );
        self.stir(told);
        Ok(())
    }

    /// The incident that an end opens, goes on with, or resolves.
    async fn follows(
        &self,
        component: &ComponentName,
        past: &PastRecovery,
        tried: Vec<String>,
        flaps: bool,
        now: Timestamp,
    ) -> Result<Option<Writes>, StoreError> {
        let outcome = past.outcome;
        if !outcome.needs_people() && !flaps {
            return match outcome {
                Outcome::Recovered { by } => {
                    let why = format!("it is healthy after `{}`", by.word());
                    self.book.settle(component, past.kind, &why, now).await
                }
                _ => Ok(None),
            };
        }
        let (title, why) = if flaps {
            let times = self.settings.flapping.recoveries;
            let minutes = self.settings.flapping.within.as_secs() / 60;
            let text = format!("{component}: recovered {times} times or more in {minutes} minutes");
            (text, "its recoveries do not last".to_owned())
        } else if outcome == Outcome::TimedOut {
            let seconds = self.settings.recovery_limit.as_secs();
            let text = format!("{component}: not recovered within {seconds} s");
            (
                text,
                "the recovery took too long; what ran was cancelled".to_owned(),
            )
        } else {
            let kind = past.kind.word().replace('_', " ");
            let text = format!("{component}: {kind}, not recovered");
            (text, "no action restored its health".to_owned())
        };
        let by_kind = severity(past.kind, self.settings.tier(component), &Impact::default());
        let tried = tried
            .iter()
            .enumerate()
            .map(|(number, line)| (format!("tried {}", number + 1), line.clone()));
        let cause = Cause {
            component: component.clone(),
            kind: past.kind,
            // a component that flaps is worse than its kind says: it looks well now and then
            severity: if flaps {
                by_kind.max(Severity::Medium)
            } else {
                by_kind
            },
            title,
            failures: 0,
            at: past.ended_at,
            details: tried.collect(),
            impact: Impact::default(),
            why,
        };
        Ok(Some(self.book.raise(&cause, now).await?))
    }
}
