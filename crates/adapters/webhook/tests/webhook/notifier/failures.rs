//! What happens when there is no answer.

use std::sync::Arc;

use arbiter_core::ports::{IncidentNotifier as _, NoticeStep, NotifyError};
use arbiter_testkit::builders::notice;
use arbiter_testkit::contract::whole;
use arbiter_testkit::{ManualClock, StubAnswer};

use super::support::{BOTH, World, config, notifier};

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
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(world.told().len(), 1, "one call is one try");
}

#[tokio::test]
async fn an_answer_that_does_not_come_whole_may_be_asked_for_again() {
    for sort in BOTH {
        for first in [&b""[..], b"HTTP/1.1 200 -\r\ncontent-length: 9\r\n\r\no"] {
            later(&World::answering(sort, move |_, clock| StubAnswer::never(clock, first)).await).await;
            later(&World::answering(sort, move |_, _| StubAnswer::Raw(first.to_vec())).await).await;
        }
        later(&World::answering(sort, |_, _| StubAnswer::Raw(b"no HTTP\r\n\r\n".to_vec())).await).await;
        later(&World::answering(sort, |_, _| StubAnswer::reply(200, vec![b' '; 100_000])).await).await;
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
