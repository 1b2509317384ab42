//! The retry budget: retries in proportion to calls, so that they never multiply the load on what is failing.

use std::time::Duration;

/// How many retries there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudgetSettings {
    /// Retries earned per hundred calls, 0 to 1 000.
    pub percent: u32,
    /// Retries per second that there may be however few calls there are.
    pub floor_per_second: u32,
    /// How many retries may be saved up, at least 1.
    pub burst: u32,
}

impl RetryBudgetSettings {
    /// A tenth of the calls and three per second, up to 30 saved up.
    pub const DEFAULT: Self = Self {
        percent: 10,
        floor_per_second: 3,
        burst: 30,
    };
}

/// A budget that never pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRetryBudget {
    /// The share is out of bounds.
    #[error("a retry budget earns 0 to 1000 retries per hundred calls")]
    Percent,
    /// Nothing is ever earned.
    #[error("a retry budget must earn something, by its share of the calls or per second")]
    Nothing,
    /// Nothing can be saved up.
    #[error("a retry budget must be able to save up at least one retry")]
    Burst,
}

/// A token bucket that calls fill and retries empty, without a clock: `now` is monotonic time. It starts full.
///
/// Source: `RetryBudget` of Twitter's Finagle (deposit per call, withdrawal per retry, floor per second).
#[derive(Debug)]
pub struct RetryBudget {
    settings: RetryBudgetSettings,
    /// In billionths of a retry.
    balance: u128,
    filled_at: Duration,
}

/// One retry.
const RETRY: u128 = 1_000_000_000;

impl RetryBudget {
    /// A full budget.
    ///
    /// # Errors
    /// [`InvalidRetryBudget`] if it could never pay a retry.
    pub const fn new(settings: RetryBudgetSettings) -> Result<Self, InvalidRetryBudget> {
        if settings.percent > 1_000 {
            return Err(InvalidRetryBudget::Percent);
        }
        if settings.percent == 0 && settings.floor_per_second == 0 {
            return Err(InvalidRetryBudget::Nothing);
        }
        if settings.burst == 0 {
            return Err(InvalidRetryBudget::Burst);
        }
        Ok(Self {
            settings,
            balance: settings.burst as u128 * RETRY,
            filled_at: Duration::ZERO,
        })
    }

    /// Earns the share of one call.
    pub fn deposit(&mut self, now: Duration) {
        self.fill(now);
        self.add(u128::from(self.settings.percent) * RETRY / 100);
    }

    /// Pays one retry; false, and nothing is taken, when the budget is used up.
    pub fn withdraw(&mut self, now: Duration) -> bool {
        self.fill(now);
        match self.balance.checked_sub(RETRY) {
            Some(rest) => {
                self.balance = rest;
                true
            }
            None => false,
        }
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at);
        self.filled_at = self.filled_at.max(now);
        self.add(
            passed
                .as_nanos()
                .saturating_mul(u128::from(self.settings.floor_per_second)),
        );
    }

    fn add(&mut self, amount: u128) {
        let full = u128::from(self.settings.burst) * RETRY;
        self.balance = self.balance.saturating_add(amount).min(full);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZERO: Duration = Duration::ZERO;

    fn empty(percent: u32, floor_per_second: u32, burst: u32) -> RetryBudget {
        let settings = RetryBudgetSettings {
            percent,
            floor_per_second,
            burst,
        };
        let mut budget = RetryBudget::new(settings).unwrap();
        while budget.withdraw(ZERO) {}
        budget
    }

    #[test]
    fn ten_calls_pay_one_retry() {
        let mut budget = empty(10, 0, 5);
        for _ in 0..9 {
            budget.deposit(ZERO);
        }
        assert!(!budget.withdraw(ZERO));
        budget.deposit(ZERO);
        assert!(budget.withdraw(ZERO));
        assert!(!budget.withdraw(ZERO));
    }

    #[test]
    fn the_floor_pays_by_time_and_never_twice() {
        let mut budget = empty(0, 2, 5);
        assert!(!budget.withdraw(Duration::from_millis(499)));
        assert!(budget.withdraw(Duration::from_millis(500)));
        assert!(!budget.withdraw(Duration::from_millis(400)));
        assert!(!budget.withdraw(Duration::from_millis(500)));
        let paid = (0..9).filter(|_| budget.withdraw(Duration::MAX)).count();
        assert_eq!(paid, 5, "no more than the burst is saved up");
    }

    #[test]
    fn a_budget_that_never_pays_is_refused() {
        let base = RetryBudgetSettings::DEFAULT;
        assert!(RetryBudget::new(base).is_ok());
        for (settings, expected) in [
            (
                RetryBudgetSettings {
                    percent: 1_001,
                    ..base
                },
                InvalidRetryBudget::Percent,
            ),
            (
                RetryBudgetSettings {
                    percent: 0,
                    floor_per_second: 0,
                    ..base
                },
                InvalidRetryBudget::Nothing,
            ),
            (
                RetryBudgetSettings { burst: 0, ..base },
                InvalidRetryBudget::Burst,
            ),
        ] {
            assert_eq!(RetryBudget::new(settings).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn retries_never_exceed_what_was_earned(
            percent in 1_u32..200, burst in 1_u32..20, calls in prop::collection::vec(any::<bool>(), 0..500),
        ) {
            let mut budget = RetryBudget::new(RetryBudgetSettings { percent, floor_per_second: 0, burst }).unwrap();
            let (mut deposits, mut retries) = (0_u64, 0_u64);
            for retry in calls {
                if retry {
                    retries += u64::from(budget.withdraw(ZERO));
                } else {
                    budget.deposit(ZERO);
                    deposits += 1;
                }
            }
            prop_assert!(retries * 100 <= u64::from(burst) * 100 + deposits * u64::from(percent));
        }
    }
}
