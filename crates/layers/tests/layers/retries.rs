//! When a call is tried again.

use std::future::pending;
use std::time::Duration;

use arbiter_core::mechanism::{Backoff, BreakerSettings, RetryBudgetSettings};
use arbiter_core::ports::Retry;
use arbiter_layers::{GuardError, GuardSettings, RetrySettings, Stopped};

use crate::support::{Bench, Failed, SECOND, Script, permanent, transient};

const RETRY: RetrySettings = RetrySettings {
    retries: 3,
    backoff: Backoff {
        base: SECOND,
        factor: 2,
        cap: Duration::from_secs(8),
    },
    longest_wait: Duration::from_secs(20),
    budget: RetryBudgetSettings {
        percent: 10,
        floor_per_second: 0,
        burst: 3,
    },
};

fn bench(settings: GuardSettings) -> Bench {
    Bench::new(GuardSettings {
        retry: Some(RETRY),
        ..settings
    })
}

#[test]
fn transient_errors_are_tried_again_with_growing_waits() {
    let bench = bench(GuardSettings::default());
    let script = Script::new([transient(1), transient(2), transient(3), Ok(4)]);
    let (result, waits) = bench.run(bench.guard.call("ask", || script.answer()));
    assert_eq!(result.unwrap(), 4);
    assert_eq!(waits, [SECOND / 2, SECOND, SECOND * 2]);
    let labels = [("guard", "peer"), ("operation", "ask")];
    assert_eq!(bench.metrics.counter("guard.retries_total", &labels), 3);
    assert_eq!(bench.calls("ok"), 1, "one call, however many attempts");
}

#[test]
fn permanent_errors_and_single_calls_are_not_tried_again() {
    let bench = bench(GuardSettings::default());
    let script = Script::new([permanent(1), Ok(2)]);
    let (result, waits) = bench.run(bench.guard.call("ask", || script.answer()));
    assert!(matches!(result, Err(GuardError::Call(Failed(1, ..)))));
    assert!(waits.is_empty());
    let (result, waits) = bench.run(bench.guard.once("ask", async { transient(3) }));
    assert!(matches!(result, Err(GuardError::Call(Failed(3, ..)))));
    assert!(waits.is_empty());
}

#[test]
fn the_last_error_is_the_answer_when_the_retries_are_used_up() {
    let bench = bench(GuardSettings::default());
    let script = Script::new((1..=5).map(transient));
    let (result, _) = bench.run(bench.guard.call("ask", || script.answer()));
    assert!(matches!(result, Err(GuardError::Call(Failed(4, ..)))));
    assert_eq!(script.left(), 1);
}

#[test]
fn retry_after_is_the_least_wait_and_too_long_a_one_is_the_answer() {
    let asked = |seconds| Err(Failed(1, Retry::Transient, Some(Duration::from_secs(seconds))));
    let patient = bench(GuardSettings::default());
    let script = Script::new([asked(7), Ok(2)]);
    let (result, waits) = patient.run(patient.guard.call("ask", || script.answer()));
    assert_eq!((result.unwrap(), waits), (2, vec![SECOND * 7]));
    let script = Script::new([asked(21), Ok(2)]);
    let (result, waits) = patient.run(patient.guard.call("ask", || script.answer()));
    assert!(matches!(result, Err(GuardError::Call(Failed(1, _, Some(_))))));
    assert!(waits.is_empty());
    let hurried = bench(GuardSettings {
        total_timeout: Some(SECOND * 7),
        ..GuardSettings::default()
    });
    let script = Script::new([asked(7), Ok(2)]);
    let (result, waits) = hurried.run(hurried.guard.call("ask", || script.answer()));
    assert!(
        matches!(result, Err(GuardError::Call(_))),
        "a retry that would come too late is not waited for"
    );
    assert!(waits.is_empty());
}

#[test]
fn the_budget_ends_retries_of_all_calls_together() {
    let bench = bench(GuardSettings::default());
    let mut attempts = 0;
    for _ in 0..10 {
        let script = Script::new((1..=4).map(transient));
        let (result, _) = bench.run(bench.guard.call("ask", || script.answer()));
        assert!(result.is_err());
        attempts += 4 - script.left();
    }
    // 10 first attempts; 3 saved retries; 10 calls at 10 % earn less than one more, the first deposit being over the rim
    assert_eq!(attempts, 13);
}

#[test]
fn an_attempt_that_was_too_slow_is_tried_again() {
    let bench = bench(GuardSettings {
        attempt_timeout: Some(SECOND * 2),
        ..GuardSettings::default()
    });
    let mut tries = 0;
    let call = bench.guard.call("ask", || {
        tries += 1;
        let slow = tries == 1;
        async move {
            if slow {
                pending().await
            } else {
                Ok::<_, Failed>(tries)
            }
        }
    });
    let (result, waits) = bench.run(call);
    assert_eq!((result.unwrap(), waits), (2, vec![SECOND * 2, SECOND / 2]));
}

#[test]
fn a_breaker_that_opens_between_attempts_ends_the_retries_with_the_error_before() {
    let bench = bench(GuardSettings {
        breaker: Some(BreakerSettings {
            window: 4,
            minimum_calls: 2,
            cool_down: SECOND * 30,
            ..BreakerSettings::DEFAULT
        }),
        ..GuardSettings::default()
    });
    let script = Script::new((1..=4).map(transient));
    let (result, _) = bench.run(bench.guard.call("ask", || script.answer()));
    assert!(
        matches!(result, Err(GuardError::Call(Failed(2, ..)))),
        "{result:?}"
    );
    assert_eq!(script.left(), 2);
    let (result, waits) = bench.run(bench.guard.call("ask", || script.answer()));
    assert!(matches!(result, Err(GuardError::Stopped(Stopped::Open { .. }))));
    assert!(waits.is_empty() && script.left() == 2);
}
