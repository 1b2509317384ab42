//! The side that other domains call: never blocks.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use arbiter_core::lifecycle::RetryPlan;
use arbiter_core::model::{
    AgentId, ComponentFailure, ComponentName, Diagnostics, FailureKind, Impact, Severity, TaskKind,
};
use arbiter_core::services::{AttemptFailure, FailureEvent, FailureHandler};

use super::FailureManager;
use crate::classify::kind_of_attempt;
use crate::incident::cut;

/// How much is kept of a failure's texts, in bytes, and how many of its lists' items.
const ERROR_BYTES: usize = 2_048;
const VALUE_BYTES: usize = 512;
const ITEMS: usize = 16;

/// The name of the component that a storm of dead letters is told of.
const DEAD_LETTERS: &str = "tasks/dead-letters";
/// Under which name of the context the kind of a task stands.
pub(super) const TASK_KIND: &str = "task.kind";

impl FailureHandler for FailureManager {
    fn plan(&self, failure: &AttemptFailure<'_>) -> RetryPlan {
        let plan = self.plans.plan(failure, self.ports.clock.monotonic());
        let is_last = failure.attempts >= failure.max_attempts;
        if is_last || matches!(plan, RetryPlan::DeadLetter(_)) {
            self.dead_letter();
        }
        plan
    }

    fn report(&self, event: FailureEvent) {
        let failure = match event {
            FailureEvent::Component(failure) => failure,
            FailureEvent::Attempt {
                task,
                kind,
                agent,
                failure,
                ..
            } => {
                tracing::warn!(
                    event = "attempt_failed",
                    task.id = %task,
                    task.kind = %kind,
                    agent.id = %agent,
                    class = failure.class.word(),
                    "an attempt failed"
                );
                let Some(sort) = kind_of_attempt(failure.class) else {
                    return;
                };
                let component = ComponentName::agent(agent);
                let mut failed =
                    ComponentFailure::new(component, sort, failure.message, self.ports.clock.now());
                failed.context = BTreeMap::from([
                    (TASK_KIND.to_owned(), kind.to_string()),
                    ("task".to_owned(), task.to_string()),
                    ("class".to_owned(), failure.class.word().to_owned()),
                ]);
                failed
                    .context
                    .extend(failure.code.map(|code| ("code".to_owned(), code)));
                failed.impact.tasks = Some(1);
                failed
            }
            _ => {
                tracing::warn!(event = "failure_reported", "something failed");
                return;
            }
        };
        self.take(failure);
    }
}

impl FailureManager {
    /// Takes note of how an attempt of an agent ended: its breaker opens, or closes.
    pub async fn attempted(&self, agent: AgentId, kind: &TaskKind, succeeded: bool) {
        self.plans.attempted(agent, kind, self.ports.clock.monotonic());
        let Some(turn) = self.restrictions.attempted(agent, succeeded) else {
            return;
        };
        if let Err(error) = self.restrictions.turn(agent, turn).await {
            tracing::error!(event = "agent_not_restricted", agent.id = %agent, error = %error, "an agent's breaker could not be written");
        }
    }

    /// Redacts and cuts a failure, and puts it down for the next round.
    fn take(&self, failure: ComponentFailure) {
        let (component, kind) = (failure.component.clone(), failure.kind);
        let labels = [("kind", kind.word())];
        self.ports
            .metrics
            .count("failure_manager.failures_total", &labels, 1);
        if self.intake.take(self.clean(failure)) {
            self.work.notify_one();
        } else {
            self.ports
                .metrics
                .count("failure_manager.dropped_total", &labels, 1);
            tracing::warn!(event = "failure_dropped", component = %component, kind = kind.word(), "too many components fail at once; a failure was dropped");
        }
    }

    fn clean(&self, failure: ComponentFailure) -> ComponentFailure {
        let redactor = &self.ports.redactor;
        // Cut first, so that a huge text is not searched whole; a secret that the cut goes through is found again below.
        let text = |text: &str, bytes| cut(&redactor.text(&cut(text, 2 * bytes)), bytes);
        let cut_keys = |(name, value): (String, String)| (cut(&name, 64), cut(&value, 2 * VALUE_BYTES));
        let mut context: BTreeMap<String, String> =
            failure.context.into_iter().take(ITEMS).map(cut_keys).collect();
        redactor.map(&mut context);
        for value in context.values_mut() {
            *value = cut(value, VALUE_BYTES);
        }
        let services = failure
            .impact
            .services
            .iter()
            .take(ITEMS)
            .map(|name| text(name, 128));
        let lines = failure.diagnostics.log.iter().rev().take(ITEMS).rev();
        let log = lines.map(|line| text(line, VALUE_BYTES)).collect();
        let metrics = failure.diagnostics.metrics.into_iter().take(ITEMS);
        ComponentFailure {
            error: text(&failure.error, ERROR_BYTES),
            context,
            impact: Impact {
                services: services.collect(),
                ..failure.impact
            },
            diagnostics: Diagnostics {
                metrics: metrics.map(|(name, value)| (cut(&name, 128), value)).collect(),
                log,
                trace: failure.diagnostics.trace.map(|trace| cut(&trace, 32)),
            },
            ..failure
        }
    }

    /// Counts a dead letter; too many of them within the window are a failure of their own.
    fn dead_letter(&self) {
        let now = self.ports.clock.now();
        let count = {
            let mut letters = self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner);
            let is_old = letters
                .since
                .is_none_or(|since| now.since(since) > self.settings.window);
            if is_old {
                letters.since = Some(now);
                letters.count = 0;
            }
            letters.count += 1;
            let count = letters.count;
            if count >= self.settings.dead_letters {
                letters.since = None;
            }
            count
        };
        if count < self.settings.dead_letters {
            return;
        }
        let Ok(component) = ComponentName::new(DEAD_LETTERS) else {
            return;
        };
        let minutes = self.settings.window.as_secs() / 60;
        let text = format!("{count} tasks were given up within {minutes} minutes");
        let mut failure = ComponentFailure::new(component, FailureKind::Poison, text, now);
        failure.severity = Some(Severity::High);
        failure.impact.tasks = Some(u64::from(count));
        self.take(failure);
    }
}
