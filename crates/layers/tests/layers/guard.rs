//! Bulkhead, time-outs, breaker, records.

use std::future::pending;
use std::time::Duration;

use arbiter_core::mechanism::{Backoff, BreakerSettings, BreakerState, RetryBudgetSettings};
use arbiter_core::ports::Applied;
use arbiter_layers::{
    BulkheadSettings, Classify as _, Guard, GuardError, GuardPorts, GuardSettings, InvalidGuard,
    RetrySettings, Stopped,
};
use futures_util::FutureExt as _;

use crate::support::{Bench, Failed, SECOND, permanent, transient};

const BULKHEAD: BulkheadSettings = BulkheadSettings {
    concurrent: 2,
    waiting: 1,
    longest_wait: Duration::from_secs(3),
};

const BREAKER: BreakerSettings = BreakerSettings {
    window: 4,
    minimum_calls: 2,
    failure_percent: 50,
    cool_down: SECOND,
    longest_cool_down: SECOND,
    probes: 1,
};

fn stopped<T: std::fmt::Debug>(result: Result<T, GuardError<Failed>>) -> Stopped {
    match result {
        Err(GuardError::Stopped(stopped)) => stopped,
        other => panic!("not stopped: {other:?}"),
    }
}

#[tokio::test]
async fn a_guard_without_parts_passes_everything_on() {
    let bench = Bench::new(GuardSettings::default());
    assert_eq!(
        bench
            .guard
            .call("ask", || async { Ok::<_, Failed>(7) })
            .await
            .unwrap(),
        7
    );
    let failed = bench.guard.call("ask", || async { transient(1) }).await;
    assert!(matches!(failed, Err(GuardError::Call(Failed(1, ..)))));
    assert_eq!((bench.calls("ok"), bench.calls("error")), (1, 1));
    assert_eq!(bench.guard.breaker_state(), None);
    assert!(!bench.guard.owns_retries());
}

#[tokio::test]
async fn the_bulkhead_lets_so_many_in_and_so_many_wait() {
    let bench = Bench::new(GuardSettings {
        bulkhead: Some(BULKHEAD),
        ..GuardSettings::default()
    });
    let guard = &bench.guard;
    let stuck = || Box::pin(guard.once("ask", pending::<Result<u32, Failed>>()));
    let (mut one, mut two) = (stuck(), stuck());
    assert!((&mut one).now_or_never().is_none() && (&mut two).now_or_never().is_none());
    let mut waits = Box::pin(guard.once("ask", async { Ok::<_, Failed>(3) }));
    assert!((&mut waits).now_or_never().is_none());
    let refused = guard.once("ask", async { Ok::<_, Failed>(4) }).now_or_never();
    assert_eq!(stopped(refused.expect("at once")), Stopped::Full);
    drop(one);
    assert_eq!(waits.await.unwrap(), 3);
    drop(two);
    assert_eq!(
        (bench.calls("full"), bench.calls("cancelled"), bench.calls("ok")),
        (1, 2, 1)
    );
}

#[tokio::test]
async fn a_place_in_the_queue_is_given_up_after_the_longest_wait_and_on_drop() {
    let bench = Bench::new(GuardSettings {
        bulkhead: Some(BulkheadSettings {
            concurrent: 1,
            ..BULKHEAD
        }),
        ..GuardSettings::default()
    });
    let mut stuck = Box::pin(bench.guard.once("ask", pending::<Result<u32, Failed>>()));
    assert!((&mut stuck).now_or_never().is_none());
    for _ in 0..3 {
        let mut dropped = Box::pin(bench.guard.once("ask", async { Ok::<_, Failed>(1) }));
        assert!((&mut dropped).now_or_never().is_none(), "waits");
    }
    let (late, waits) = bench.run(bench.guard.once("ask", async { Ok::<_, Failed>(1) }));
    assert_eq!(stopped(late), Stopped::Full);
    assert_eq!(waits, [SECOND * 3]);
}

#[tokio::test]
async fn an_attempt_and_a_call_end_in_time() {
    let attempt = Bench::new(GuardSettings {
        attempt_timeout: Some(SECOND),
        total_timeout: Some(SECOND * 9),
        ..GuardSettings::default()
    });
    let (result, waits) = attempt.run(attempt.guard.once("ask", pending::<Result<u32, Failed>>()));
    assert_eq!(stopped(result), Stopped::AttemptTimeout { after: SECOND });
    assert_eq!(waits, [SECOND]);
    let total = Bench::new(GuardSettings {
        total_timeout: Some(SECOND * 2),
        ..GuardSettings::default()
    });
    let (result, waits) = total.run(total.guard.call("ask", pending::<Result<u32, Failed>>));
    let why = stopped(result);
    assert_eq!(why, Stopped::TotalTimeout { after: SECOND * 2 });
    assert_eq!(why.applied(), Applied::Unknown);
    assert_eq!(waits, [SECOND * 2]);
    assert_eq!(total.calls("total_timeout"), 1);
    let labels = [("guard", "peer"), ("operation", "ask")];
    assert_eq!(
        total.metrics.observations("guard.duration_seconds", &labels),
        [2.0]
    );
}

#[tokio::test]
async fn the_breaker_opens_probes_and_closes() {
    let bench = Bench::new(GuardSettings {
        breaker: Some(BREAKER),
        ..GuardSettings::default()
    });
    let ask = |answer| bench.guard.once("ask", async move { answer });
    let shown = || {
        bench
            .metrics
            .last_gauge("guard.breaker_state", &[("guard", "peer")])
    };
    for _ in 0..5 {
        let refused = ask(permanent(1)).await;
        assert!(
            matches!(refused, Err(GuardError::Call(_))),
            "a refusal does not count"
        );
    }
    for _ in 0..2 {
        assert!(ask(transient(2)).await.is_err());
    }
    assert_eq!(shown(), Some(2.0));
    let open = stopped(ask(Ok(3)).await);
    assert_eq!(open, Stopped::Open { retry_after: SECOND });
    assert_eq!((open.applied(), open.retry_after()), (Applied::No, Some(SECOND)));
    bench.clock.advance(SECOND);
    assert_eq!(bench.guard.breaker_state(), Some(BreakerState::HalfOpen));
    let mut probe = Box::pin(bench.guard.once("ask", pending::<Result<u32, Failed>>()));
    assert!((&mut probe).now_or_never().is_none());
    assert_eq!(shown(), Some(1.0));
    assert_eq!(
        stopped(ask(Ok(3)).await),
        Stopped::Open {
            retry_after: Duration::ZERO
        }
    );
    drop(probe);
    assert_eq!(
        ask(Ok(4)).await.unwrap(),
        4,
        "a dropped probe gives its place back"
    );
    assert_eq!(bench.guard.breaker_state(), Some(BreakerState::Closed));
    assert_eq!(shown(), Some(0.0));
}

#[tokio::test]
async fn no_answer_in_time_counts_for_the_breaker() {
    let bench = Bench::new(GuardSettings {
        breaker: Some(BREAKER),
        attempt_timeout: Some(SECOND),
        ..GuardSettings::default()
    });
    for _ in 0..2 {
        let (result, _) = bench.run(bench.guard.once("ask", pending::<Result<u32, Failed>>()));
        assert_eq!(stopped(result), Stopped::AttemptTimeout { after: SECOND });
    }
    assert_eq!(bench.guard.breaker_state(), Some(BreakerState::Open));
}

#[test]
fn settings_that_cannot_work_are_named() {
    let retry = RetrySettings {
        retries: 0,
        backoff: Backoff::TASK,
        longest_wait: SECOND,
        budget: RetryBudgetSettings::DEFAULT,
    };
    let none = GuardSettings::default();
    let bench = Bench::new(none);
    let make = |settings| {
        let ports = GuardPorts {
            clock: bench.clock.clone(),
            entropy: std::sync::Arc::new(arbiter_testkit::SeededEntropy::new(1)),
            metrics: bench.metrics.clone(),
        };
        Guard::new("peer", settings, ports).map(|_| ())
    };
    for settings in [
        GuardSettings {
            bulkhead: Some(BulkheadSettings {
                concurrent: 0,
                ..BULKHEAD
            }),
            ..none
        },
        GuardSettings {
            bulkhead: Some(BulkheadSettings {
                concurrent: 65_537,
                ..BULKHEAD
            }),
            ..none
        },
    ] {
        assert_eq!(make(settings), Err(InvalidGuard::Bulkhead));
    }
    for settings in [
        GuardSettings {
            total_timeout: Some(Duration::ZERO),
            ..none
        },
        GuardSettings {
            attempt_timeout: Some(Duration::ZERO),
            ..none
        },
    ] {
        assert_eq!(make(settings), Err(InvalidGuard::Timeout));
    }
    let retries = GuardSettings {
        retry: Some(retry),
        ..none
    };
    assert_eq!(make(retries), Err(InvalidGuard::Retries));
    let breaker = GuardSettings {
        breaker: Some(BreakerSettings { window: 0, ..BREAKER }),
        ..none
    };
    assert!(matches!(make(breaker), Err(InvalidGuard::Breaker(_))));
    let budget = RetryBudgetSettings {
        burst: 0,
        ..RetryBudgetSettings::DEFAULT
    };
    let budget = GuardSettings {
        retry: Some(RetrySettings {
            retries: 1,
            budget,
            ..retry
        }),
        ..none
    };
    assert!(matches!(make(budget), Err(InvalidGuard::Budget(_))));
}
