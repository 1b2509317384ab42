//! The circuit breaker: stops calling what keeps failing, and asks again after a while.

use std::collections::VecDeque;
use std::time::Duration;

/// The largest window of a breaker, so that its memory is bounded.
pub const MAX_WINDOW: u32 = 4_096;

/// When a breaker opens and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// How many of the latest calls are looked at, 1 to [`MAX_WINDOW`].
    pub window: u32,
    /// How many calls the window must hold before it can open the breaker, 1 to `window`.
    pub minimum_calls: u32,
    /// The share of failures that opens the breaker, in percent, 1 to 100.
    pub failure_percent: u32,
    /// How long the breaker stays open the first time.
    pub cool_down: Duration,
    /// How long it stays open at most: the time doubles each time that a probe fails. Not below `cool_down`.
    pub longest_cool_down: Duration,
    /// How many probes may be under way at once when it is half-open, and how many must succeed to close it.
    pub probes: u32,
}

impl BreakerSettings {
    /// A window of 20 calls, open at half of at least 5, for 5 s doubling to 60 s, one probe.
    pub const DEFAULT: Self = Self {
        window: 20,
        minimum_calls: 5,
        failure_percent: 50,
        cool_down: Duration::from_secs(5),
        longest_cool_down: Duration::from_mins(1),
        probes: 1,
    };
}

/// Settings of a breaker that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBreaker {
    /// The window is empty or too large.
    #[error("the window of a circuit breaker must hold 1 to {MAX_WINDOW} calls")]
    Window,
    /// The minimum is zero or exceeds the window.
    #[error("the minimum of calls of a circuit breaker must be between 1 and its window")]
    MinimumCalls,
    /// The share is not a percentage above zero.
    #[error("a circuit breaker must open at 1 to 100 percent of failures")]
    FailurePercent,
    /// There is no cool-down, or the longest one is shorter than the first.
    #[error("the cool-down of a circuit breaker must be above zero and not above the longest one")]
    CoolDown,
    /// It could never close again.
    #[error("a circuit breaker needs at least one probe")]
    Probes,
}

/// Whether calls pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All calls pass.
    Closed,
    /// No call passes.
    Open,
    /// A few probes pass.
    HalfOpen,
}

/// What a call told about its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// The target works.
    Success,
    /// The target failed.
    Failure,
    /// Nothing: the caller went away before there was an answer.
    Unknown,
}

/// The right to make one call; its outcome is handed in with [`Breaker::record`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a call that is never recorded keeps its place among the probes"]
pub struct BreakerPermit {
    phase: u64,
}

/// A circuit breaker over a sliding window of counted calls, as a state machine without a clock: `now` is monotonic
/// time.
///
/// Closed until failures reach their share of the window; then open until the cool-down has passed; then half-open
/// until enough probes succeeded (closed, with an empty window) or one failed (open again, for twice as long).
///
/// Source: Michael Nygard, "Release It!", 2nd ed. 2018, §5.2; the count-based window is that of resilience4j.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    phase: Phase,
    /// Rises with each change of phase, so that late answers to earlier phases are ignored.
    number: u64,
    /// The cool-down of the next opening.
    cool_down: Duration,
}

#[derive(Debug)]
enum Phase {
    Closed { failed: VecDeque<bool>, failures: u32 },
    Open { until: Duration },
    HalfOpen { under_way: u32, succeeded: u32 },
}

impl Phase {
    const CLOSED: Self = Self::Closed {
        failed: VecDeque::new(),
        failures: 0,
    };
}

impl Breaker {
    /// A closed breaker with an empty window.
    ///
    /// # Errors
    /// [`InvalidBreaker`] names the setting that cannot work.
    pub fn new(settings: BreakerSettings) -> Result<Self, InvalidBreaker> {
        if settings.window == 0 || settings.window > MAX_WINDOW {
            return Err(InvalidBreaker::Window);
        }
        if settings.minimum_calls == 0 || settings.minimum_calls > settings.window {
            return Err(InvalidBreaker::MinimumCalls);
        }
        if settings.failure_percent == 0 || settings.failure_percent > 100 {
            return Err(InvalidBreaker::FailurePercent);
        }
        if settings.cool_down.is_zero() || settings.longest_cool_down < settings.cool_down {
            return Err(InvalidBreaker::CoolDown);
        }
        if settings.probes == 0 {
            return Err(InvalidBreaker::Probes);
        }
        Ok(Self {
            settings,
            phase: Phase::CLOSED,
            number: 0,
            cool_down: settings.cool_down,
        })
    }

    /// The state at `now`. An open breaker whose cool-down has passed counts as half-open.
    pub fn state(&self, now: Duration) -> BreakerState {
        match self.phase {
            Phase::Closed { .. } => BreakerState::Closed,
            Phase::Open { until } if now < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Asks for the right to call.
    ///
    /// # Errors
    /// How long to wait before asking again: the rest of the cool-down, or zero while all probes are under way.
    pub fn admit(&mut self, now: Duration) -> Result<BreakerPermit, Duration> {
        if let Phase::Open { until } = self.phase {
            if now < until {
                return Err(until.saturating_sub(now));
            }
            self.enter(Phase::HalfOpen {
                under_way: 0,
                succeeded: 0,
            });
        }
        if let Phase::HalfOpen { under_way, .. } = &mut self.phase {
            if *under_way >= self.settings.probes {
                return Err(Duration::ZERO);
            }
            *under_way += 1;
        }
        Ok(BreakerPermit { phase: self.number })
    }

    /// Hands in the outcome of a call. An answer to a call of an earlier phase changes nothing.
    pub fn record(&mut self, permit: BreakerPermit, outcome: CallOutcome, now: Duration) {
        if permit.phase != self.number {
            return;
        }
        match &mut self.phase {
            Phase::Closed { failed, failures } => {
                let failure = match outcome {
                    CallOutcome::Success => false,
                    CallOutcome::Failure => true,
                    CallOutcome::Unknown => return,
                };
                failed.push_back(failure);
                *failures += u32::from(failure);
                if failed.len() > self.settings.window as usize {
                    *failures -= u32::from(failed.pop_front().unwrap_or_default());
                }
                let calls = failed.len() as u64;
                let reached = u64::from(*failures) * 100 >= calls * u64::from(self.settings.failure_percent);
                if failure && reached && calls >= u64::from(self.settings.minimum_calls) {
                    self.open(now);
                }
            }
            // no permit of this phase exists
            Phase::Open { .. } => {}
            Phase::HalfOpen { under_way, succeeded } => {
                *under_way = under_way.saturating_sub(1);
                match outcome {
                    CallOutcome::Unknown => {}
                    CallOutcome::Failure => self.open(now),
                    CallOutcome::Success => {
                        *succeeded += 1;
                        if *succeeded >= self.settings.probes {
                            self.cool_down = self.settings.cool_down;
                            self.enter(Phase::CLOSED);
                        }
                    }
                }
            }
        }
    }

    fn open(&mut self, now: Duration) {
        let until = now.saturating_add(self.cool_down);
        self.cool_down = self
            .cool_down
            .saturating_mul(2)
            .min(self.settings.longest_cool_down);
        self.enter(Phase::Open { until });
    }

    fn enter(&mut self, phase: Phase) {
        self.number += 1;
        self.phase = phase;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::CallOutcome::{Failure, Success, Unknown};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> BreakerSettings {
        BreakerSettings {
            window: 4,
            minimum_calls: 3,
            failure_percent: 50,
            cool_down: SECOND,
            longest_cool_down: SECOND * 3,
            probes: 2,
        }
    }

    fn call(breaker: &mut Breaker, outcome: CallOutcome, now: Duration) {
        let permit = breaker.admit(now).unwrap();
        breaker.record(permit, outcome, now);
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(settings()).unwrap();
        [Failure, Failure, Failure]
            .into_iter()
            .for_each(|outcome| call(&mut breaker, outcome, Duration::ZERO));
        breaker
    }

    #[test]
    fn it_opens_at_the_share_of_failures_but_not_before_the_minimum() {
        let mut breaker = Breaker::new(settings()).unwrap();
        call(&mut breaker, Failure, Duration::ZERO);
        call(&mut breaker, Failure, Duration::ZERO);
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Closed);
        call(&mut breaker, Success, Duration::ZERO);
        assert_eq!(
            breaker.state(Duration::ZERO),
            BreakerState::Closed,
            "a success never opens"
        );
        call(&mut breaker, Failure, Duration::ZERO);
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Open);
        assert_eq!(breaker.admit(Duration::from_millis(400)), Err(SECOND * 3 / 5));
    }

    #[test]
    fn old_failures_leave_the_window() {
        let mut breaker = Breaker::new(settings()).unwrap();
        for outcome in [
            Failure, Success, Success, Success, Success, Failure, Success, Success,
        ] {
            call(&mut breaker, outcome, Duration::ZERO);
        }
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Closed);
        call(&mut breaker, Failure, Duration::ZERO);
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Open, "two of four");
    }

    #[test]
    fn what_tells_nothing_does_not_count() {
        let mut breaker = Breaker::new(settings()).unwrap();
        for outcome in [Failure, Unknown, Failure, Unknown, Unknown] {
            call(&mut breaker, outcome, Duration::ZERO);
        }
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Closed);
    }

    #[test]
    fn half_open_lets_its_probes_through_and_closes_when_they_succeed() {
        let mut breaker = opened();
        assert_eq!(breaker.state(SECOND), BreakerState::HalfOpen);
        let probes = [breaker.admit(SECOND).unwrap(), breaker.admit(SECOND).unwrap()];
        assert_eq!(breaker.admit(SECOND), Err(Duration::ZERO));
        let [first, second] = probes;
        breaker.record(first, Unknown, SECOND);
        let third = breaker.admit(SECOND).unwrap();
        breaker.record(second, Success, SECOND);
        assert_eq!(breaker.state(SECOND), BreakerState::HalfOpen);
        breaker.record(third, Success, SECOND);
        assert_eq!(breaker.state(SECOND), BreakerState::Closed);
        call(&mut breaker, Failure, SECOND);
        assert_eq!(
            breaker.state(SECOND),
            BreakerState::Closed,
            "the window starts empty"
        );
    }

    #[test]
    fn a_failed_probe_opens_again_for_twice_as_long_up_to_the_longest() {
        let mut breaker = opened();
        let mut now = SECOND;
        for wait in [2, 3, 3] {
            call(&mut breaker, Failure, now);
            assert_eq!(breaker.admit(now), Err(SECOND * wait));
            now += SECOND * wait;
        }
        call(&mut breaker, Success, now);
        call(&mut breaker, Success, now);
        for _ in 0..3 {
            call(&mut breaker, Failure, now);
        }
        assert_eq!(breaker.admit(now), Err(SECOND), "closing forgets the doubling");
    }

    #[test]
    fn a_late_answer_to_an_earlier_phase_changes_nothing() {
        let mut breaker = Breaker::new(settings()).unwrap();
        let late = [0, 1].map(|_| breaker.admit(Duration::ZERO).unwrap());
        for _ in 0..3 {
            call(&mut breaker, Failure, Duration::ZERO);
        }
        let [before, during] = late;
        breaker.record(before, Success, Duration::ZERO);
        assert_eq!(breaker.state(Duration::ZERO), BreakerState::Open);
        let probe = breaker.admit(SECOND).unwrap();
        breaker.record(during, Failure, SECOND);
        assert_eq!(breaker.state(SECOND), BreakerState::HalfOpen);
        breaker.record(probe, Success, SECOND);
        call(&mut breaker, Success, SECOND);
        assert_eq!(breaker.state(SECOND), BreakerState::Closed);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let base = settings();
        for (broken, expected) in [
            (BreakerSettings { window: 0, ..base }, InvalidBreaker::Window),
            (
                BreakerSettings {
                    window: MAX_WINDOW + 1,
                    ..base
                },
                InvalidBreaker::Window,
            ),
            (
                BreakerSettings {
                    minimum_calls: 5,
                    ..base
                },
                InvalidBreaker::MinimumCalls,
            ),
            (
                BreakerSettings {
                    failure_percent: 101,
                    ..base
                },
                InvalidBreaker::FailurePercent,
            ),
            (
                BreakerSettings {
                    longest_cool_down: Duration::ZERO,
                    ..base
                },
                InvalidBreaker::CoolDown,
            ),
            (BreakerSettings { probes: 0, ..base }, InvalidBreaker::Probes),
        ] {
            assert_eq!(Breaker::new(broken).unwrap_err(), expected);
        }
        assert!(Breaker::new(BreakerSettings::DEFAULT).is_ok());
    }

    proptest! {
        /// Whatever happens, there are never more probes under way than allowed, and an open breaker passes nothing.
        #[test]
        fn probes_are_bounded_and_open_means_closed_doors(steps in prop::collection::vec((0_u8..5, 0_u64..1500), 1..200)) {
            let mut breaker = Breaker::new(settings()).unwrap();
            let mut now = Duration::ZERO;
            let mut held = Vec::new();
            for (action, millis) in steps {
                now += Duration::from_millis(millis);
                let before = breaker.state(now);
                match action {
                    0 | 1 => match breaker.admit(now) {
                        Ok(permit) => {
                            prop_assert_ne!(before, BreakerState::Open);
                            held.push(permit);
                        }
                        Err(_) => prop_assert_ne!(before, BreakerState::Closed),
                    },
                    _ => if let Some(permit) = held.pop() {
                        let outcome = [Success, Failure, Unknown][usize::from(action) - 2];
                        breaker.record(permit, outcome, now);
                    },
                }
                if let Phase::HalfOpen { under_way, .. } = breaker.phase {
                    let own = held.iter().filter(|permit| permit.phase == breaker.number).count();
                    prop_assert!(under_way <= 2);
                    prop_assert_eq!(under_way as usize, own);
                }
            }
        }
    }
}
