//! The contract of `Spawner`, for those that run futures beside their caller.

use std::future::pending;
use std::sync::Arc;

use arbiter_core::ports::{Ended, Spawner};
use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use crate::contract::suite;

suite!($ spawner_contract, spawner, [
    a_future_runs_to_its_end,
    a_future_runs_although_its_handle_is_dropped,
    a_panic_is_told_and_harms_nobody,
    an_aborted_future_is_dropped,
    waiting_can_be_given_up_and_taken_up_again,
]);

/// A future runs to its end, and its end is told as often as it is asked for.
pub async fn a_future_runs_to_its_end(spawner: &Arc<dyn Spawner>) {
    let (send, receive) = oneshot::channel();
    let mut handle = spawner.spawn(
        "sends",
        Box::pin(async move { send.send(7).expect("somebody waits") }),
    );
    assert_eq!(receive.await, Ok(7));
    assert_eq!(handle.join().await, Ended::Finished);
    assert_eq!(handle.join().await, Ended::Finished);
}

/// A future runs although its handle is dropped.
pub async fn a_future_runs_although_its_handle_is_dropped(spawner: &Arc<dyn Spawner>) {
    let (go, wait) = oneshot::channel::<()>();
    let (send, receive) = oneshot::channel();
    let future = async move {
        let _told = wait.await;
        send.send(7).expect("somebody waits");
    };
    drop(spawner.spawn("waits", Box::pin(future)));
    go.send(()).expect("it waits");
    assert_eq!(receive.await, Ok(7));
}

/// A panic is told, and harms no other future.
pub async fn a_panic_is_told_and_harms_nobody(spawner: &Arc<dyn Spawner>) {
    let mut panics = spawner.spawn("panics", Box::pin(async { panic!("as asked for") }));
    assert_eq!(panics.join().await, Ended::Panicked);
    let mut next = spawner.spawn("ends", Box::pin(async {}));
    assert_eq!(next.join().await, Ended::Finished);
}

/// An aborted future is dropped where it waits.
pub async fn an_aborted_future_is_dropped(spawner: &Arc<dyn Spawner>) {
    let (held, dropped) = oneshot::channel::<()>();
    let future = async move {
        let _held = held;
        pending::<()>().await;
    };
    let mut handle = spawner.spawn("never", Box::pin(future));
    handle.abort();
    assert_eq!(handle.join().await, Ended::Aborted);
    assert!(dropped.await.is_err(), "what it held is dropped");
}

/// Waiting for an end can be given up and taken up again.
pub async fn waiting_can_be_given_up_and_taken_up_again(spawner: &Arc<dyn Spawner>) {
    let (go, wait) = oneshot::channel::<()>();
    let mut handle = spawner.spawn(
        "waits",
        Box::pin(async move { wait.await.expect("told to go on") }),
    );
    for _ in 0..3 {
        assert_eq!(handle.join().now_or_never(), None);
    }
    go.send(()).expect("it waits");
    assert_eq!(handle.join().await, Ended::Finished);
}
