//! One owner of retries per call.

use std::time::Duration;

use arbiter_core::mechanism::{Backoff, RetryBudgetSettings};
use arbiter_layers::{GuardSettings, RetrySettings, TwoRetryOwners, one_owner};

use crate::support::Bench;

#[test]
fn a_path_with_two_owners_of_retries_is_refused() {
    let retry = RetrySettings {
        retries: 1,
        backoff: Backoff::TASK,
        longest_wait: Duration::from_secs(1),
        budget: RetryBudgetSettings::DEFAULT,
    };
    let owner = Bench::new(GuardSettings {
        retry: Some(retry),
        ..GuardSettings::default()
    });
    let plain = Bench::new(GuardSettings::default());
    assert!(owner.guard.owns_retries());
    assert_eq!(one_owner([&*plain.guard, &*owner.guard, &*plain.guard]), Ok(()));
    assert_eq!(one_owner([]), Ok(()));
    let two = one_owner([&*owner.guard, &*plain.guard, &*owner.guard]);
    assert_eq!(
        two,
        Err(TwoRetryOwners {
            outer: "peer",
            inner: "peer"
        })
    );
}
