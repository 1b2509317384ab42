//! The guard.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::mechanism::{Breaker, BreakerState, CallOutcome, RetryBudget};
use arbiter_core::ports::{Clock, Retry};
use tracing::Instrument as _;

use crate::breaker::SharedBreaker;
use crate::bulkhead::Bulkhead;
use crate::classify::Classify;
use crate::error::{GuardError, Stopped};
use crate::record::Record;
use crate::settings::{GuardPorts, GuardSettings, InvalidGuard, RetrySettings};
use crate::time::within;

/// Stands around the calls to one other side.
///
/// From the outside in: bulkhead, total time-out, retries, circuit breaker, attempt time-out; each may be absent. All
/// calls through one guard share its places, its budget and its breaker, so a guard is made once per target and kept.
pub struct Guard {
    name: &'static str,
    settings: GuardSettings,
    ports: GuardPorts,
    bulkhead: Option<Bulkhead>,
    retries: Option<Retries>,
    breaker: Option<SharedBreaker>,
}

struct Retries {
    settings: RetrySettings,
    budget: Mutex<RetryBudget>,
}

impl Retries {
    fn budget(&self) -> MutexGuard<'_, RetryBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// A guard with these parts. `name` is the metrics' label `guard`.
    ///
    /// # Errors
    /// [`InvalidGuard`] names the part that cannot work.
    pub fn new(name: &'static str, settings: GuardSettings, ports: GuardPorts) -> Result<Self, InvalidGuard> {
        settings.check()?;
        let retries = match settings.retry {
            Some(retry) => Some(Retries {
                settings: retry,
                budget: Mutex::new(RetryBudget::new(retry.budget)?),
            }),
            None => None,
        };
        let breaker = match settings.breaker {
            Some(breaker) => Some(SharedBreaker::new(name, Breaker::new(breaker)?, &ports)),
            None => None,
        };
        Ok(Self {
            name,
            bulkhead: settings.bulkhead.map(Bulkhead::new),
            settings,
            ports,
            retries,
            breaker,
        })
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it tries calls again. Only one guard on the way of a call may.
    pub const fn owns_retries(&self) -> bool {
        self.retries.is_some()
    }

    /// The state of its circuit breaker, if it has one.
    pub fn breaker_state(&self) -> Option<BreakerState> {
        self.breaker.as_ref().map(SharedBreaker::state)
    }

    /// Makes a call that may be repeated: `attempt` makes one attempt each time that it is called.
    ///
    /// Tried again are errors that say [`Retry::Transient`], and attempts that were not over in time.
    ///
    /// # Errors
    /// [`GuardError::Call`] with the call's own, last error; [`GuardError::Stopped`] when the guard ended it.
    ///
    /// # Cancel safety
    /// That of the attempt: dropping the call drops the attempt under way. Places and probes are given back.
    pub async fn call<T, E, F, Fut>(
        &self,
        operation: &'static str,
        mut attempt: F,
    ) -> Result<T, GuardError<E>>
    where
        E: Classify,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut record = Record::start(self.name, operation, &self.ports);
        let span = record.span();
        let result = self
            .enter(async {
                let deadline = self.deadline();
                if let Some(retries) = &self.retries {
                    retries.budget().deposit(self.clock().monotonic());
                }
                let mut failed = match self.attempt(&mut record, &mut attempt).await {
                    Ok(value) => return Ok(value),
                    Err(failed) => failed,
                };
                let mut tried = 1;
                while let Some(until) = self.wait(&failed, tried, deadline) {
                    self.clock().sleep_until(until).await;
                    match self.attempt(&mut record, &mut attempt).await {
                        Ok(value) => return Ok(value),
                        // the breaker opened meanwhile: what happened before says more
                        Err(GuardError::Stopped(Stopped::Open { .. })) => break,
                        Err(again) => failed = again,
                    }
                    tried += 1;
                }
                Err(failed)
            })
            .instrument(span)
            .await;
        end(record, result)
    }

    /// Makes a call that cannot be repeated, through all parts but the retries.
    ///
    /// # Errors
    /// As [`Self::call`].
    ///
    /// # Cancel safety
    /// As [`Self::call`].
    pub async fn once<T, E, Fut>(&self, operation: &'static str, attempt: Fut) -> Result<T, GuardError<E>>
    where
        E: Classify,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut record = Record::start(self.name, operation, &self.ports);
        let span = record.span();
        let result = self
            .enter(self.attempt(&mut record, || attempt))
            .instrument(span)
            .await;
        end(record, result)
    }

    /// Bulkhead and total time-out around `work`.
    async fn enter<T, E>(
        &self,
        work: impl Future<Output = Result<T, GuardError<E>>>,
    ) -> Result<T, GuardError<E>> {
        let _place = match &self.bulkhead {
            Some(bulkhead) => {
                let place = bulkhead.enter(self.clock()).await;
                Some(place.ok_or(GuardError::Stopped(Stopped::Full))?)
            }
            None => None,
        };
        let limit = self.settings.total_timeout;
        let over = |_| {
            GuardError::Stopped(Stopped::TotalTimeout {
                after: limit.unwrap_or_default(),
            })
        };
        within(self.clock(), limit, work).await.map_err(over)?
    }

    /// Circuit breaker and attempt time-out around one attempt.
    async fn attempt<T, E, Fut>(
        &self,
        record: &mut Record<'_>,
        attempt: impl FnOnce() -> Fut,
    ) -> Result<T, GuardError<E>>
    where
        E: Classify,
        Fut: Future<Output = Result<T, E>>,
    {
        let admission = match self.breaker.as_ref().map(SharedBreaker::admit) {
            Some(Ok(admission)) => Some(admission),
            Some(Err(retry_after)) => return Err(GuardError::Stopped(Stopped::Open { retry_after })),
            None => None,
        };
        record.attempt();
        let limit = self.settings.attempt_timeout;
        let result = match within(self.clock(), limit, attempt()).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(GuardError::Call(error)),
            Err(_) => Err(GuardError::Stopped(Stopped::AttemptTimeout {
                after: limit.unwrap_or_default(),
            })),
        };
        if let Some(admission) = admission {
            let failure = result.as_ref().is_err_and(Classify::counts_as_failure);
            admission.record(if failure {
                CallOutcome::Failure
            } else {
                CallOutcome::Success
            });
        }
        result
    }

    /// Until when to wait before the next attempt; `None` when there is none.
    fn wait<E: Classify>(
        &self,
        failed: &GuardError<E>,
        tried: u32,
        deadline: Option<Duration>,
    ) -> Option<Duration> {
        let retries = self.retries.as_ref()?;
        let open = matches!(failed, GuardError::Stopped(Stopped::Open { .. }));
        if open || failed.retry() == Retry::Permanent || tried > retries.settings.retries {
            return None;
        }
        let jitter = retries.settings.backoff.delay(tried, self.ports.entropy.number());
        let wait = failed.retry_after().map_or(jitter, |asked| asked.max(jitter));
        let now = self.clock().monotonic();
        let until = now.saturating_add(wait);
        if wait > retries.settings.longest_wait || deadline.is_some_and(|deadline| until >= deadline) {
            return None;
        }
        retries.budget().withdraw(now).then_some(until)
    }

    fn deadline(&self) -> Option<Duration> {
        let limit = self.settings.total_timeout?;
        Some(self.clock().monotonic().saturating_add(limit))
    }

    fn clock(&self) -> &dyn Clock {
        &*self.ports.clock
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

fn end<T, E>(record: Record<'_>, result: Result<T, GuardError<E>>) -> Result<T, GuardError<E>> {
    record.ended(match &result {
        Ok(_) => "ok",
        Err(GuardError::Call(_)) => "error",
        Err(GuardError::Stopped(stopped)) => stopped.outcome(),
    });
    result
}

/// Two guards on the way of one call try it again: attempts would multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guards `{outer}` and `{inner}` both retry the same call; leave retries to one of them")]
pub struct TwoRetryOwners {
    /// The outer guard.
    pub outer: &'static str,
    /// The inner guard.
    pub inner: &'static str,
}

/// Checks the guards that a call passes, from the outside in.
///
/// # Errors
/// [`TwoRetryOwners`] names the first two that own retries.
pub fn one_owner<'a>(path: impl IntoIterator<Item = &'a Guard>) -> Result<(), TwoRetryOwners> {
    let mut owners = path.into_iter().filter(|guard| guard.owns_retries());
    match (owners.next(), owners.next()) {
        (Some(outer), Some(inner)) => Err(TwoRetryOwners {
            outer: outer.name,
            inner: inner.name,
        }),
        _ => Ok(()),
    }
}
