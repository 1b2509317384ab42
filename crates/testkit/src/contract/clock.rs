//! The contract of `Clock`, for clocks that go by themselves as for those that a test moves.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::Clock;

use crate::contract::suite;

suite!($ clock_contract, clock, [
    monotonic_time_never_goes_back,
    sleeping_until_the_past_returns_at_once,
    a_sleep_that_is_dropped_is_harmless,
]);

/// Monotonic time never goes back.
pub async fn monotonic_time_never_goes_back(clock: &Arc<dyn Clock>) {
    let mut last = clock.monotonic();
    for _ in 0..1000 {
        let now = clock.monotonic();
        assert!(now >= last);
        last = now;
    }
}

/// Sleeping until a moment that has come returns at once.
pub async fn sleeping_until_the_past_returns_at_once(clock: &Arc<dyn Clock>) {
    clock.sleep_until(Duration::ZERO).await;
    let now = clock.monotonic();
    clock.sleep_until(now).await;
    assert!(clock.monotonic() >= now);
}

/// A sleep that is dropped is harmless.
pub async fn a_sleep_that_is_dropped_is_harmless(clock: &Arc<dyn Clock>) {
    use futures_util::FutureExt as _;
    let far = clock.monotonic().saturating_add(Duration::from_secs(3600));
    for _ in 0..10 {
        assert_eq!(clock.sleep_until(far).now_or_never(), None);
    }
    clock.sleep_until(Duration::ZERO).await;
}
