//! What a round does with failures: counts them, begins recoveries, adds to incidents.

use arbiter_core::model::{AuditAction, ComponentFailure, ComponentName, Json, Severity, Timestamp};
use arbiter_core::ports::{DocumentError, StoreError};
use serde_json::json;

use super::FailureManager;
use super::handler::TASK_KIND;
use crate::classify::{Tier, severity};
use crate::component::{ComponentRecord, Verdict, placed};
use crate::incident::{Cause, Writes};
use crate::intake::Summed;
use crate::records::{Kept, TRIES, contended, written};
use crate::recovery::Recovery;

impl FailureManager {
    /// Deals with everything that waits. What could not be dealt with waits again.
    ///
    /// # Errors
    /// The store's.
    pub async fn round(&self) -> Result<(), StoreError> {
        let mut failed = None;
        for summed in self.intake.drain() {
            if let Err(error) = self.deal(&summed).await {
                self.intake.give_back(summed);
                failed = Some(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn deal(&self, summed: &Summed) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            if written(self.try_deal(summed).await)? {
                return Ok(());
            }
        }
        Err(contended())
    }

    async fn try_deal(&self, summed: &Summed) -> Result<(), DocumentError> {
        let failure = &summed.last;
        let now = self.ports.clock.now();
        let mut kept = self.component(&failure.component).await?;
        let count = u32::try_from(summed.count).unwrap_or(u32::MAX);
        let noted = (failure.at, count);
        let verdict = kept.body.note(&failure.component, noted, &self.settings, now);
        let begins = verdict == Verdict::Recover;
        let mut writes = Writes::default();
        if begins {
            let actions = self.settings.actions_of(&failure.component, failure.kind);
            let id = self.ports.ids.operation();
            let mut recovery = Recovery::new(id, failure.kind, actions, &self.settings, now);
            recovery.subject = failure.context.get(TASK_KIND).cloned();
            writes.actions.push(AuditAction::RecoveryBegan);
            writes.detail = Some(Json::of(&json!({
                "recovery": id.to_string(),
                "component": failure.component.as_str(),
                "kind": failure.kind.word(),
            })));
            kept.body.recovery = Some(recovery);
        }
        let found = self.book.look(&failure.component, failure.kind).await?;
        if found.open.is_some() || self.is_told_at_once(failure) {
            let cause = self.cause(summed, kept.body.recent(&self.settings, now), now);
            let raised = self.book.raise_found(found, &cause, now).await?;
            writes = raised.and(writes);
        }
        writes.documents.push(self.components.put(
            &kept.id,
            kept.unchanged(),
            &kept.body,
            placed(&kept.body, now),
        )?);
        let told = !writes.outbox.is_empty();
        self.book.commit(writes, None).await?;
        if begins {
            tracing::warn!(
                event = "recovery_began",
                component = %failure.component,
                kind = failure.kind.word(),
                error = failure.error,
                "a component fails; its recovery begins"
            );
            self.drive_soon(failure.component.clone());
        }
        self.stir(told);
        Ok(())
    }

    /// Wakes those who go on after a change.
    pub(super) fn stir(&self, told: bool) {
        self.changed.notify_one();
        if told {
            self.notices.notify_one();
        }
    }

    /// The record of a component; an empty one where there is none yet.
    pub(super) async fn component(
        &self,
        component: &ComponentName,
    ) -> Result<Kept<ComponentRecord>, StoreError> {
        let found = self.components.get::<ComponentRecord>(component.as_str()).await?;
        Ok(found.unwrap_or_else(|| Kept {
            id: component.as_str().to_owned(),
            body: ComponentRecord::default(),
            revision: 0,
        }))
    }

    /// Whether people are told before anything was tried: nothing works without the component, or whoever tells of the failure
    /// says that it is bad.
    fn is_told_at_once(&self, failure: &ComponentFailure) -> bool {
        let is_vital = self.settings.tier(&failure.component) == Tier::Vital;
        is_vital
            || failure
                .severity
                .is_some_and(|severity| severity >= Severity::High)
    }

    fn cause(&self, summed: &Summed, recent: u32, now: Timestamp) -> Cause {
        let failure = &summed.last;
        let by_kind = severity(
            failure.kind,
            self.settings.tier(&failure.component),
            &failure.impact,
        );
        let minutes = self.settings.window.as_secs().div_ceil(60);
        let mut details = vec![("error".to_owned(), failure.error.clone())];
        details.extend(failure.context.clone());
        details.extend(
            failure
                .diagnostics
                .trace
                .iter()
                .map(|trace| ("trace".to_owned(), trace.clone())),
        );
        let readings = failure.diagnostics.metrics.iter();
        details.extend(readings.map(|(name, value)| (name.clone(), value.to_string())));
        if !failure.diagnostics.log.is_empty() {
            details.push(("log".to_owned(), failure.diagnostics.log.join("\n")));
        }
        Cause {
            component: failure.component.clone(),
            kind: failure.kind,
            severity: failure.severity.unwrap_or(by_kind),
            title: format!(
                "{}: {}, {} in {minutes} minutes",
                failure.component,
                failure.kind.word().replace('_', " "),
                if recent == 1 {
                    "once".to_owned()
                } else {
                    format!("{recent} times")
                },
            ),
            failures: summed.count,
            at: failure.at.min(now),
            details,
            impact: failure.impact.clone(),
            why: failure.error.clone(),
        }
    }
}
