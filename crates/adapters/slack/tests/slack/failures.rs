//! What happens when there is no answer.

use std::sync::Arc;

use arbiter_core::ports::{IncidentNotifier as _, NoticeStep, NotifyError};
use arbiter_testkit::builders::notice;
use arbiter_testkit::contract::whole;
use arbiter_testkit::{ManualClock, StubAnswer};

use crate::support::{Sort, World, config, notifier};

const BOTH: [Sort; 2] = [Sort::Webhook, Sort::Bot];

async fn later(world: &World) {
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
    assert!(!text.contains("canary") && !text.contains("services"), "{text}");
    assert_eq!(world.messages().len(), 1, "one call is one try");
}

#[tokio::test]
async fn an_answer_that_never_comes_may_be_asked_for_again() {
    for sort in BOTH {
        later(&World::answering(sort, |_, clock| StubAnswer::never(clock, b"")).await).await;
    }
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle_may_be_asked_for_again() {
    for sort in BOTH {
        let head = b"HTTP/1.1 200 -\r\ncontent-length: 9\r\n\r\no";
        later(&World::answering(sort, move |_, clock| StubAnswer::never(clock, head)).await).await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_may_be_tried_again() {
    for raw in [
        &b""[..],
        b"HTTP/1.1 200 -\r\n",
        b"HTTP/1.1 200 -\r\ncontent-length: 9\r\n\r\nok",
        b"no HTTP at all\r\n\r\n",
    ] {
        for sort in BOTH {
            later(&World::answering(sort, move |_, _| StubAnswer::Raw(raw.to_vec())).await).await;
        }
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    for sort in BOTH {
        later(&World::answering(sort, |_, _| StubAnswer::reply(200, vec![b' '; 2_000_000])).await).await;
    }
}

#[tokio::test]
async fn nobody_there_may_be_tried_again() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    for sort in BOTH {
        let clock = Arc::new(ManualClock::new());
        let notifier = notifier(&config(sort, &format!("http://{address}")), &clock);
        let error = notifier.notify(&notice(1, NoticeStep::Open)).await.unwrap_err();
        assert!(error.is_transient() && error.status().is_none(), "{error:?}");
        assert!(!whole(&error).contains("canary"));
    }
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    for sort in BOTH {
        let world = World::taking(sort).await;
        assert!(!world.notifier.owns_retries());
        let text = format!("{:?} {:?}", world.notifier, config(sort, "https://a.example"));
        assert!(!text.contains("canary"), "{text}");
    }
}
