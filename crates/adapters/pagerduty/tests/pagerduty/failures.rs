//! What happens when there is no answer.

use std::sync::Arc;

use arbiter_core::ports::{Clock as _, IncidentNotifier as _, NoticeStep, NotifyError};
use arbiter_testkit::builders::notice;
use arbiter_testkit::contract::whole;
use arbiter_testkit::{ManualClock, StubAnswer};

use crate::support::{KEY, World, config, notifier, taken};

async fn later(world: &World) -> String {
    let error = world.notify(&notice(1, NoticeStep::Open)).await.unwrap_err();
    assert!(
        matches!(
            error,
            NotifyError::Later {
                status: None,
                after: None,
                ..
            }
        ),
        "{error:?}"
    );
    let text = whole(&error);
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(world.events().len(), 1, "one call is one try");
    text
}

#[tokio::test]
async fn an_answer_that_never_comes_may_be_asked_for_again() {
    let world = World::answering(|_, clock| StubAnswer::never(clock, b"")).await;
    assert!(later(&world).await.contains("10"), "the limit is told");
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle_may_be_asked_for_again() {
    let head = b"HTTP/1.1 202 -\r\ncontent-length: 90\r\n\r\n{\"status\":\"success\"";
    let world = World::answering(move |_, clock| StubAnswer::never(clock, head)).await;
    later(&world).await;
}

#[tokio::test]
async fn a_connection_that_ends_may_be_tried_again() {
    for raw in [
        &b""[..],
        b"HTTP/1.1 202 -\r\n",
        b"HTTP/1.1 202 -\r\ncontent-length: 90\r\n\r\n{",
        b"no HTTP at all\r\n\r\n",
    ] {
        let world = World::answering(move |_, _| StubAnswer::Raw(raw.to_vec())).await;
        later(&world).await;
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    let world = World::answering(|_, _| StubAnswer::reply(202, vec![b' '; 100_000])).await;
    later(&world).await;
}

#[tokio::test]
async fn nobody_there_may_be_tried_again() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let clock = Arc::new(ManualClock::new());
    let notifier = notifier(&config(&format!("http://{address}")), &clock);
    let error = notifier.notify(&notice(1, NoticeStep::Open)).await.unwrap_err();
    assert!(error.is_transient() && error.status().is_none(), "{error:?}");
}

#[tokio::test]
async fn what_failed_is_taken_once_pagerduty_is_back() {
    let world = World::answering(|request, clock| {
        if clock.now() == ManualClock::START {
            StubAnswer::never(clock, b"")
        } else {
            taken(request)
        }
    })
    .await;
    let open = notice(1, NoticeStep::Open);
    assert!(world.notify(&open).await.unwrap_err().is_transient());
    world.notify(&open).await.unwrap();
    let keys: Vec<_> = world
        .events()
        .iter()
        .map(|event| event["dedup_key"].clone())
        .collect();
    assert_eq!(keys[0], keys[1], "the second try opens no second alert");
}

#[tokio::test]
async fn nothing_shows_the_routing_key() {
    let world = World::answering(|request, _| taken(request)).await;
    assert!(!world.notifier.owns_retries());
    let text = format!("{:?} {:?}", world.notifier, config("https://a.example"));
    assert!(!text.contains("canary") && KEY.contains("canary"), "{text}");
}
