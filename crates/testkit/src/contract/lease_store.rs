//! The contract of `LeaseStore`.

use std::time::Duration;

use arbiter_core::model::Fence;
use arbiter_core::ports::Turn;
use futures_util::future::join_all;

use crate::builders::node;
use crate::contract::{Desk, Harness, suite};

suite!($ lease_store_contract, lease_store, [
    one_node_holds_a_name_at_a_time,
    the_holder_extends_its_turn_and_keeps_the_fence,
    every_change_of_holder_raises_the_fence,
    giving_back_what_one_does_not_hold_is_harmless,
    names_are_independent,
    of_two_takers_one_gets_the_name,
]);

const TTL: Duration = Duration::from_secs(10);

async fn take(desk: &Desk<'_>, name: &str, number: u64) -> Option<Turn> {
    desk.stores()
        .leases
        .take(name, node(number), TTL)
        .await
        .expect("take")
}

/// One node holds a name until its turn ends, by the store's clock.
pub async fn one_node_holds_a_name_at_a_time(h: &dyn Harness) {
    let desk = Desk::at(h);
    let turn = take(&desk, "sweep", 1).await.expect("free");
    assert_eq!(turn.until, desk.now().await.plus(TTL));
    assert_eq!(take(&desk, "sweep", 2).await, None);
    desk.advance(TTL.checked_sub(Duration::from_micros(1)).expect("time"))
        .await;
    assert_eq!(take(&desk, "sweep", 2).await, None);
    desk.advance(Duration::from_micros(1)).await;
    assert!(take(&desk, "sweep", 2).await.is_some());
    assert_eq!(take(&desk, "sweep", 1).await, None);
}

/// The holder takes again, which extends its turn and keeps the fence.
pub async fn the_holder_extends_its_turn_and_keeps_the_fence(h: &dyn Harness) {
    let desk = Desk::at(h);
    let first = take(&desk, "sweep", 1).await.expect("free");
    desk.advance(TTL / 2).await;
    let second = take(&desk, "sweep", 1).await.expect("its own");
    assert_eq!(
        (second.fence, second.until),
        (first.fence, desk.now().await.plus(TTL))
    );
    desk.advance(TTL / 2).await;
    assert_eq!(
        take(&desk, "sweep", 2).await,
        None,
        "the first turn would have ended"
    );
}

/// Every change of holder raises the fence, over expiry as over giving back.
pub async fn every_change_of_holder_raises_the_fence(h: &dyn Harness) {
    let desk = Desk::at(h);
    let mut last = Fence(0);
    for number in [1, 2, 1, 2] {
        let turn = take(&desk, "sweep", number).await.expect("free");
        assert!(turn.fence > last);
        last = turn.fence;
        desk.advance(TTL).await;
    }
    for number in [1, 2, 1] {
        let turn = take(&desk, "sweep", number).await.expect("free");
        assert!(turn.fence > last);
        last = turn.fence;
        desk.stores()
            .leases
            .give_back("sweep", node(number))
            .await
            .expect("give back");
    }
}

/// Giving back what one does not hold is harmless.
pub async fn giving_back_what_one_does_not_hold_is_harmless(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.stores()
        .leases
        .give_back("sweep", node(1))
        .await
        .expect("never taken");
    take(&desk, "sweep", 1).await.expect("free");
    desk.stores()
        .leases
        .give_back("sweep", node(2))
        .await
        .expect("another's");
    assert_eq!(take(&desk, "sweep", 2).await, None);
    desk.stores()
        .leases
        .give_back("sweep", node(1))
        .await
        .expect("its own");
    desk.stores()
        .leases
        .give_back("sweep", node(1))
        .await
        .expect("twice");
    assert!(take(&desk, "sweep", 2).await.is_some());
}

/// Names are independent of each other.
pub async fn names_are_independent(h: &dyn Harness) {
    let desk = Desk::at(h);
    assert!(take(&desk, "sweep", 1).await.is_some());
    assert!(take(&desk, "sweeper", 2).await.is_some());
    assert!(take(&desk, "", 3).await.is_some());
    assert!(take(&desk, "sweep", 1).await.is_some());
}

/// Of takers at the same time one gets the name.
pub async fn of_two_takers_one_gets_the_name(h: &dyn Harness) {
    let desk = Desk::at(h);
    for _ in 0..3 {
        let taken = join_all((1..=6).map(|number| take(&desk, "sweep", number))).await;
        assert_eq!(taken.iter().flatten().count(), 1);
        desk.advance(TTL).await;
    }
}
