//! Following a task.

use std::time::Duration;

use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::task;
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::support::{World, problem};

fn event(version: u64, state: &str) -> String {
    let task = json!({"id": task(1).to_string(), "tenant": "t", "submitter": "s", "kind": "analysis", "title": "x",
        "priority": 50, "security": "internal", "labels": {}, "state": state, "version": version, "attempts": 1,
        "submitted_at": "a", "changed_at": "b"});
    format!("event: task\nid: {version}\ndata: {task}\n\n")
}

fn stream(events: &[String]) -> StubAnswer {
    let mut text = String::from("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: keep-alive\n\n");
    text.extend(events.iter().map(String::as_str));
    StubAnswer::Raw(text.into_bytes())
}

#[tokio::test]
async fn a_task_is_followed_to_its_end_over_broken_streams() {
    let world = World::answering(vec![
        stream(&[event(1, "queued"), event(2, "assigned")]),
        problem("unavailable"),
        stream(&[event(3, "running"), event(4, "succeeded")]),
    ])
    .await;
    let told: Vec<_> = world
        .client
        .task_watch(task(1))
        .into_stream()
        .try_collect()
        .await
        .unwrap();
    let versions: Vec<_> = told.iter().map(|task| task.version).collect();
    assert_eq!(versions, [1, 2, 3, 4]);
    let seen = world.stub.seen();
    let last: Vec<_> = seen
        .iter()
        .map(|request| request.header("last-event-id"))
        .collect();
    assert_eq!(last, [None, Some("2"), Some("2")]);
    assert_eq!(world.clock.waited()[0], Duration::from_secs(1));
}

#[tokio::test]
async fn a_task_that_ended_meanwhile_has_no_more_changes() {
    let ended = StubAnswer::reply(204, "");
    let world = World::answering(vec![stream(&[event(1, "queued")]), ended]).await;
    let mut watch = world.client.task_watch(task(1));
    assert_eq!(watch.next().await.unwrap().unwrap().version, 1);
    assert!(watch.next().await.unwrap().is_none());
    assert!(watch.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_stream_that_keeps_breaking_is_given_up() {
    let world = World::answering(vec![stream(&[])]).await;
    let mut watch = world.client.task_watch(task(1));
    assert!(watch.next().await.is_err());
    assert_eq!(world.stub.seen().len(), 5);
    let mut once = world.client.once().task_watch(task(1));
    assert!(once.next().await.is_err());
    assert_eq!(world.stub.seen().len(), 6);
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_opened_again() {
    let silent = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n".to_vec();
    let world = World::answering(vec![
        StubAnswer::Stall([silent, event(1, "queued").into_bytes()].concat()),
        stream(&[event(2, "cancelled")]),
    ])
    .await;
    let mut watch = world.client.task_watch(task(1));
    assert_eq!(watch.next().await.unwrap().unwrap().version, 1);
    let (next, ()) = tokio::join!(watch.next(), async {
        // Its waiting began with the poll before.
        tokio::task::yield_now().await;
        world.clock.advance(Duration::from_secs(30));
    });
    assert_eq!(next.unwrap().unwrap().version, 2);
}

#[tokio::test]
async fn refusals_are_told() {
    let world = World::answering(vec![problem("not_found")]).await;
    let error = world.client.task_watch(task(1)).next().await.unwrap_err();
    assert_eq!(error.code(), "not_found");
}
