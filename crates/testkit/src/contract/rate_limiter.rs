//! The contract of `RateLimiter`.

use std::time::Duration;

use arbiter_core::ports::{Draw, Drawn};
use futures_util::future::join_all;

use crate::builders::draw;
use crate::contract::{LimiterHarness, suite};

suite!($ rate_limiter_contract, rate_limiter, [
    a_full_bucket_gives_its_burst_and_then_its_rate,
    the_wait_that_is_told_is_enough,
    buckets_are_independent,
    several_buckets_give_all_or_nothing,
    a_cost_takes_as_much_as_it_says,
    what_can_never_be_had_is_an_error,
    setting_the_clock_back_changes_nothing,
    drawing_at_the_same_time_gives_no_more_than_the_burst,
    what_remains_is_known_after_a_draw,
]);

async fn drawn(h: &LimiterHarness, draws: &[Draw]) -> Drawn {
    h.limiter.draw(draws).await.expect("draw")
}

fn wait(drawn: Drawn) -> Duration {
    match drawn {
        Drawn::Refused { retry_after } => retry_after,
        Drawn::Allowed => panic!("the bucket is empty"),
    }
}

/// A full bucket gives its burst at once and then its rate: here three, then ten per second.
pub async fn a_full_bucket_gives_its_burst_and_then_its_rate(h: &LimiterHarness) {
    for _ in 0..3 {
        assert_eq!(drawn(h, &[draw("a")]).await, Drawn::Allowed);
    }
    assert_eq!(wait(drawn(h, &[draw("a")]).await), Duration::from_millis(100));
    let mut granted = 0;
    for _ in 0..100 {
        h.clock.advance(Duration::from_millis(20));
        granted += u32::from(drawn(h, &[draw("a")]).await == Drawn::Allowed);
    }
    assert_eq!(granted, 20, "two seconds at ten per second");
}

/// After the wait that is told the same draw succeeds, and not before.
pub async fn the_wait_that_is_told_is_enough(h: &LimiterHarness) {
    let all = [Draw { cost: 3, ..draw("a") }];
    assert_eq!(drawn(h, &all).await, Drawn::Allowed);
    let told = wait(drawn(h, &all).await);
    h.clock
        .advance(told.checked_sub(Duration::from_millis(1)).expect("a wait"));
    assert_eq!(wait(drawn(h, &all).await), Duration::from_millis(1));
    h.clock.advance(Duration::from_millis(1));
    assert_eq!(drawn(h, &all).await, Drawn::Allowed);
}

/// Buckets are independent of each other.
pub async fn buckets_are_independent(h: &LimiterHarness) {
    let all = |bucket| Draw {
        cost: 3,
        ..draw(bucket)
    };
    assert_eq!(drawn(h, &[all("a")]).await, Drawn::Allowed);
    assert_eq!(drawn(h, &[all("a/b")]).await, Drawn::Allowed);
    wait(drawn(h, &[draw("a")]).await);
}

/// Several buckets give all or nothing; the longest wait is told.
pub async fn several_buckets_give_all_or_nothing(h: &LimiterHarness) {
    let slow = Draw {
        per_second: 1,
        burst: 1,
        ..draw("slow")
    };
    assert_eq!(drawn(h, &[draw("a"), slow.clone()]).await, Drawn::Allowed);
    let refused = drawn(h, &[Draw { cost: 2, ..draw("a") }, slow.clone()]).await;
    assert_eq!(wait(refused), Duration::from_secs(1));
    assert_eq!(
        drawn(h, &[Draw { cost: 2, ..draw("a") }]).await,
        Drawn::Allowed,
        "nothing was taken"
    );
    assert_eq!(drawn(h, &[]).await, Drawn::Allowed);
}

/// A cost takes as much as it says; none is free.
pub async fn a_cost_takes_as_much_as_it_says(h: &LimiterHarness) {
    assert_eq!(drawn(h, &[Draw { cost: 2, ..draw("a") }]).await, Drawn::Allowed);
    assert_eq!(drawn(h, &[draw("a")]).await, Drawn::Allowed);
    wait(drawn(h, &[draw("a")]).await);
    assert_eq!(drawn(h, &[Draw { cost: 0, ..draw("a") }]).await, Drawn::Allowed);
}

/// A cost above the burst, or a bucket that grants nothing, is an error that waiting does not help; nothing is taken.
pub async fn what_can_never_be_had_is_an_error(h: &LimiterHarness) {
    let impossible = [
        Draw { cost: 4, ..draw("a") },
        Draw {
            per_second: 0,
            ..draw("a")
        },
        Draw {
            burst: 0,
            ..draw("a")
        },
    ];
    for bad in impossible {
        let error = h.limiter.draw(&[draw("b"), bad]).await.expect_err("never");
        assert!(!error.is_transient(), "{error:?}");
    }
    assert_eq!(
        drawn(h, &[Draw { cost: 3, ..draw("a") }, Draw { cost: 3, ..draw("b") }]).await,
        Drawn::Allowed
    );
}

/// Setting the clock back neither grants nor refuses anything.
pub async fn setting_the_clock_back_changes_nothing(h: &LimiterHarness) {
    assert_eq!(drawn(h, &[Draw { cost: 3, ..draw("a") }]).await, Drawn::Allowed);
    h.clock.set_back(Duration::from_secs(3600));
    assert_eq!(wait(drawn(h, &[draw("a")]).await), Duration::from_millis(100));
    h.clock.advance(Duration::from_millis(100));
    assert_eq!(drawn(h, &[draw("a")]).await, Drawn::Allowed);
}

/// Draws at the same time together get no more than the burst.
pub async fn drawing_at_the_same_time_gives_no_more_than_the_burst(h: &LimiterHarness) {
    let one = [draw("a")];
    let draws = join_all((0..10).map(|_| drawn(h, &one))).await;
    assert_eq!(draws.iter().filter(|drawn| **drawn == Drawn::Allowed).count(), 3);
}

/// What remains of a bucket is known after a draw, and asking takes nothing.
pub async fn what_remains_is_known_after_a_draw(h: &LimiterHarness) {
    assert_eq!(drawn(h, &[Draw { cost: 2, ..draw("a") }]).await, Drawn::Allowed);
    for _ in 0..5 {
        assert_eq!(h.limiter.remaining(&draw("a")), Some(1));
    }
    wait(drawn(h, &[Draw { cost: 2, ..draw("a") }]).await);
    assert_eq!(
        h.limiter.remaining(&draw("a")),
        Some(1),
        "a refusal takes nothing"
    );
    h.clock.advance(Duration::from_millis(100));
    assert_eq!(h.limiter.remaining(&draw("a")), Some(2));
    let impossible = Draw {
        per_second: 0,
        ..draw("a")
    };
    assert_eq!(h.limiter.remaining(&impossible), None);
}
