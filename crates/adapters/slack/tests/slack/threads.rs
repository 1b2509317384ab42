//! References and threads.

use arbiter_core::ports::NoticeStep;
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::notice;

use crate::support::{CHANNEL, Sort, World};

#[tokio::test]
async fn later_steps_are_replies_to_the_first_message() {
    let world = World::taking(Sort::Bot).await;
    let mut reference = None;
    for step in NoticeStep::ALL {
        let mut told = notice(1, *step);
        told.reference.clone_from(&reference);
        let taken = world.notify(&told).await.unwrap();
        // a reply is named by its thread, so whichever answer the caller keeps leads to the first message
        assert_eq!(taken.reference.as_deref(), Some("C0123ABC:1503435956.000247"));
        reference = taken.reference;
    }
    let threads: Vec<_> = world
        .messages()
        .iter()
        .map(|message| {
            message
                .get("thread_ts")
                .and_then(|ts| ts.as_str().map(str::to_owned))
        })
        .collect();
    let thread = Some("1503435956.000247".to_owned());
    assert_eq!(threads, [None, thread.clone(), thread.clone(), thread]);
}

#[tokio::test]
async fn a_reply_goes_to_the_channel_of_its_thread() {
    let world = World::taking(Sort::Bot).await;
    let mut told = notice(1, NoticeStep::Resolve);
    told.reference = Some("C9FORMER:1503435956.000247".to_owned());
    world.notify(&told).await.unwrap();
    assert_eq!(world.messages()[0]["channel"], "C9FORMER");
}

#[tokio::test]
async fn a_reference_of_another_form_starts_no_thread() {
    let world = World::taking(Sort::Bot).await;
    let others = [
        "",
        "C1",
        "C1:",
        ":1.2",
        "C1:1",
        "C1:1.",
        "C1:.2",
        "C1:1.x",
        "C1:1.2.3",
        "arbiter/incident-1",
    ];
    for reference in others {
        let mut told = notice(1, NoticeStep::Update);
        told.reference = Some(reference.to_owned());
        world.notify(&told).await.unwrap();
        let message = world.messages().pop().unwrap();
        assert_eq!(
            (message.get("thread_ts"), &message["channel"]),
            (None, &CHANNEL.into()),
            "{reference}"
        );
    }
}

#[tokio::test]
async fn a_webhook_names_no_message_and_knows_no_thread() {
    let world = World::taking(Sort::Webhook).await;
    let mut told = notice(1, NoticeStep::Update);
    told.reference = Some("C1:1503435956.000247".to_owned());
    assert_eq!(world.notify(&told).await.unwrap().reference, None);
    let message = world.messages().remove(0);
    assert_eq!((message.get("thread_ts"), message.get("channel")), (None, None));
}

#[tokio::test]
async fn an_answer_that_names_no_message_gives_no_reference() {
    for body in [
        r#"{"ok":true}"#,
        r#"{"ok":true,"channel":"C1"}"#,
        r#"{"ok":true,"ts":"1.2"}"#,
        r#"{"ok":true,"channel":"","ts":"1.2"}"#,
    ] {
        let world = World::answering(Sort::Bot, move |_, _| StubAnswer::reply(200, body)).await;
        assert_eq!(
            world
                .notify(&notice(1, NoticeStep::Open))
                .await
                .unwrap()
                .reference,
            None
        );
    }
}
