//! The contract of `Wakeups`.

use std::sync::Arc;

use arbiter_core::model::LaneId;
use arbiter_core::ports::{Hint, HintStream, Wakeups};
use futures_util::FutureExt as _;

use crate::builders::task;
use crate::contract::suite;

suite!($ wakeups_contract, wakeups, [
    hints_reach_every_subscriber,
    hints_from_before_the_subscription_are_not_given,
    a_dropped_wait_loses_no_hint,
    hints_are_bounded_and_their_loss_is_told,
    publishing_without_subscribers_is_harmless,
]);

async fn covers(hints: &mut dyn HintStream, wanted: Hint) {
    for _ in 0..10_000 {
        let told = hints.next().await;
        if told.is_empty() || told.contains(&wanted) {
            return;
        }
    }
    panic!("the hint never came");
}

/// Hints reach every subscriber, those that wait already and those that ask later.
pub async fn hints_reach_every_subscriber(wakeups: &Arc<dyn Wakeups>) {
    let (mut first, mut second) = (wakeups.subscribe(), wakeups.subscribe());
    let wanted = Hint::Task(task(1));
    let waiting = covers(&mut *first, wanted);
    let publishing = async {
        wakeups.publish(&[Hint::Agents, Hint::Lane(LaneId(3))]);
        wakeups.publish(&[wanted]);
    };
    futures_util::future::join(waiting, publishing).await;
    covers(&mut *second, wanted).await;
}

/// A subscriber gets hints from its subscription on.
pub async fn hints_from_before_the_subscription_are_not_given(wakeups: &Arc<dyn Wakeups>) {
    wakeups.publish(&[Hint::Agents]);
    let mut hints = wakeups.subscribe();
    assert_eq!(hints.next().now_or_never(), None);
}

/// Dropping a wait loses no hint.
pub async fn a_dropped_wait_loses_no_hint(wakeups: &Arc<dyn Wakeups>) {
    let mut hints = wakeups.subscribe();
    for number in 0..50 {
        assert_eq!(hints.next().now_or_never(), None);
        let wanted = Hint::Task(task(number));
        wakeups.publish(&[wanted]);
        covers(&mut *hints, wanted).await;
    }
}

/// A subscriber that is far behind is told to look at everything instead of all that it missed.
pub async fn hints_are_bounded_and_their_loss_is_told(wakeups: &Arc<dyn Wakeups>) {
    let mut hints = wakeups.subscribe();
    for number in 0..200_000 {
        wakeups.publish(&[Hint::Task(task(number))]);
    }
    let mut told = 0;
    let mut lost = false;
    while let Some(next) = hints.next().now_or_never() {
        lost |= next.is_empty();
        told += next.len();
    }
    assert!(lost && told < 100_000, "{told}");
    wakeups.publish(&[Hint::Agents]);
    covers(&mut *hints, Hint::Agents).await;
}

/// Publishing without subscribers, or to one that is gone, is harmless.
pub async fn publishing_without_subscribers_is_harmless(wakeups: &Arc<dyn Wakeups>) {
    wakeups.publish(&[Hint::Agents]);
    drop(wakeups.subscribe());
    wakeups.publish(&[Hint::Agents]);
    wakeups.publish(&[]);
}
