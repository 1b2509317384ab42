//! What follows for a task after a failed attempt.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::lifecycle::RetryPlan;
use arbiter_core::mechanism::{Backoff, InvalidRetryBudget, RetryBudget, RetryBudgetSettings};
use arbiter_core::model::{AgentId, DeadReason, FailureClass, TaskKind};
use arbiter_core::services::AttemptFailure;

/// What a deployment can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanSettings {
    /// Retries that the failures of one agent at one kind of task may cause at once: a tenth of its attempts and one per
    /// second, up to 30 saved up. What is above that waits as long as a retry can.
    pub budget: RetryBudgetSettings,
    /// How long a task waits whose agent's budget is used up; 60 s, the cap of a task's back-off.
    pub over_budget_wait: Duration,
    /// After so many attempts over a limit of output, memory or processes a task is given up as one that takes its agents
    /// down; 2.
    pub over_limit: u16,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            budget: RetryBudgetSettings {
                floor_per_second: 1,
                ..RetryBudgetSettings::DEFAULT
            },
            over_budget_wait: Backoff::TASK.cap,
            over_limit: 2,
        }
    }
}

/// How many budgets are kept; the least recently used go first.
const BUDGETS: usize = 4_096;

/// Decides about retries. Per process: a budget is a bound on bursts, not a promise.
#[derive(Debug)]
pub struct RetryPlans {
    settings: PlanSettings,
    budgets: Mutex<BTreeMap<(AgentId, TaskKind), (RetryBudget, Duration)>>,
}

impl RetryPlans {
    /// Plans with full budgets.
    ///
    /// # Errors
    /// [`InvalidRetryBudget`] names what cannot work.
    pub fn new(settings: PlanSettings) -> Result<Self, InvalidRetryBudget> {
        RetryBudget::new(settings.budget)?;
        Ok(Self {
            settings,
            budgets: Mutex::default(),
        })
    }

    /// What follows a failed attempt, at a monotonic time.
    pub fn plan(&self, failed: &AttemptFailure<'_>, now: Duration) -> RetryPlan {
        let over_limit =
            failed.failure.class == FailureClass::Limit && failed.attempts >= self.settings.over_limit;
        if over_limit {
            // Another agent met the same limit: the task is what breaks it.
            return RetryPlan::DeadLetter(DeadReason::Poison);
        }
        let may = match failed.agent {
            Some(agent) => self
                .with(agent, failed.kind, now, |budget| budget.withdraw(now))
                .unwrap_or(true),
            None => true,
        };
        let after = (!may).then_some(self.settings.over_budget_wait);
        RetryPlan::Retry { after }
    }

    /// Takes note of an attempt of an agent, however it ended.
    pub fn attempted(&self, agent: AgentId, kind: &TaskKind, now: Duration) {
        self.with(agent, kind, now, |budget| budget.deposit(now));
    }

    /// `None` when there is no budget, which [`Self::new`] has ruled out.
    fn with<T>(
        &self,
        agent: AgentId,
        kind: &TaskKind,
        now: Duration,
        act: impl FnOnce(&mut RetryBudget) -> T,
    ) -> Option<T> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if budgets.len() >= BUDGETS && !budgets.contains_key(&(agent, kind.clone())) {
            let oldest = budgets
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(key, _)| key.clone());
            oldest.and_then(|key| budgets.remove(&key));
        }
        let (budget, used) = match budgets.entry((agent, kind.clone())) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(free) => free.insert((RetryBudget::new(self.settings.budget).ok()?, now)),
        };
        *used = now;
        Some(act(budget))
    }
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::Failure;
    use arbiter_testkit::builders::{agent, failure, kind, task, tenant};

    use super::*;

    fn plan(plans: &RetryPlans, number: u64, class: FailureClass, attempts: u16, now: Duration) -> RetryPlan {
        let failed = Failure { class, ..failure() };
        plans.plan(
            &AttemptFailure {
                task: task(1),
                tenant: tenant(1),
                kind: &kind(),
                agent: Some(agent(number)),
                attempts,
                max_attempts: 5,
                failure: &failed,
            },
            now,
        )
    }

    #[test]
    fn every_class_is_tried_again_but_what_breaks_limits_twice() {
        let plans = RetryPlans::new(PlanSettings::default()).unwrap();
        for class in FailureClass::ALL {
            let first = plan(&plans, 1, *class, 1, Duration::ZERO);
            assert_eq!(first, RetryPlan::Retry { after: None }, "{class:?}");
            let second = plan(&plans, 1, *class, 2, Duration::ZERO);
            let expected = match class {
                FailureClass::Limit => RetryPlan::DeadLetter(DeadReason::Poison),
                _ => RetryPlan::Retry { after: None },
            };
            assert_eq!(second, expected, "{class:?}");
        }
    }

    #[test]
    fn an_agent_that_only_fails_uses_up_its_own_budget() {
        let plans = RetryPlans::new(PlanSettings::default()).unwrap();
        let now = Duration::from_secs(100);
        let crash = |number| plan(&plans, number, FailureClass::Crash, 1, now);
        let immediate = (0..100)
            .filter(|_| crash(1) == RetryPlan::Retry { after: None })
            .count();
        assert_eq!(immediate, 30, "what was saved up");
        let waits = RetryPlan::Retry {
            after: Some(Duration::from_secs(60)),
        };
        assert_eq!(crash(1), waits);
        assert_eq!(
            crash(2),
            RetryPlan::Retry { after: None },
            "another agent has its own"
        );
        let later = plan(&plans, 1, FailureClass::Crash, 1, now + Duration::from_secs(2));
        assert_eq!(later, RetryPlan::Retry { after: None }, "it fills up again");
    }

    #[test]
    fn the_number_of_budgets_is_bounded() {
        let plans = RetryPlans::new(PlanSettings::default()).unwrap();
        for number in 0..10_000 {
            plans.attempted(agent(number), &kind(), Duration::from_millis(number));
        }
        assert_eq!(plans.budgets.lock().unwrap().len(), BUDGETS);
    }
}
