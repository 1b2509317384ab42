//! What is tried again, when, and what is not.

use std::time::Duration;

use arbiter_client::{ClientConfig, TaskFilter};
use arbiter_core::model::HookId;
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::{agent, principal, task};
use arbiter_wire::http::{
    AttemptForm, Because, HookForm, KeyForm, KeyRotationForm, PrincipalForm, RotateForm, SubmitMany,
    TenantForm,
};
use arbiter_wire::task::TaskForm;

use crate::support::{World, in_order, problem, raw};

fn page() -> StubAnswer {
    StubAnswer::reply(200, r#"{"tasks":[]}"#)
}

fn form(key: Option<&str>) -> TaskForm {
    let mut form: TaskForm = serde_json::from_str(r#"{"kind":"analysis","title":"Count"}"#).unwrap();
    form.idempotency_key = key.map(str::to_owned);
    form
}

#[tokio::test]
async fn reads_are_tried_again_with_growing_waits() {
    for failure in [
        problem("unavailable"),
        problem("rate_limited"),
        StubAnswer::reply(502, ""),
        raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
    ] {
        let world = World::answering(vec![failure.clone(), failure, page()]).await;
        world.client.task_list(&TaskFilter::default()).await.unwrap();
        let waited = world.clock.waited();
        assert_eq!((world.stub.seen().len(), waited.len()), (3, 2));
        assert!(waited[0] <= Duration::from_millis(200) && waited[1] <= Duration::from_millis(400));
    }
}

#[tokio::test]
async fn the_wait_that_the_server_asks_for_is_kept() {
    let busy = problem("rate_limited").with("retry-after", "7");
    let world = World::answering(vec![busy, page()]).await;
    world.client.task_list(&TaskFilter::default()).await.unwrap();
    assert_eq!(world.clock.waited(), [Duration::from_secs(7)]);
    // Longer than the client would wait: the caller decides.
    let later = problem("unavailable").with("retry-after", "11");
    let world = World::answering(vec![later, page()]).await;
    let error = world.client.task_list(&TaskFilter::default()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(11)));
    assert_eq!(world.stub.seen().len(), 1);
}

#[tokio::test]
async fn the_last_error_is_told_after_the_last_try() {
    let world = World::answering(vec![problem("unavailable")]).await;
    let error = world.client.task_list(&TaskFilter::default()).await.unwrap_err();
    assert_eq!((error.code(), world.stub.seen().len()), ("unavailable", 5));
}

#[tokio::test]
async fn refusals_are_final() {
    for code in ["forbidden", "not_found", "invalid_value", "internal"] {
        let world = World::answering(vec![problem(code)]).await;
        let error = world.client.task_list(&TaskFilter::default()).await.unwrap_err();
        assert_eq!((error.code(), world.stub.seen().len()), (code, 1));
    }
}

#[tokio::test]
async fn a_lost_answer_does_not_store_a_task_twice() {
    let lost = raw("HTTP/1.1 201 Created\r\ncontent-length: 50\r\n\r\n{");
    let stored = StubAnswer::reply(200, r#"{"id":"x","repeated":true}"#);
    let world = World::answering(vec![lost.clone(), stored.clone()]).await;
    let told = world.client.task_submit(&form(None)).await.unwrap();
    assert!(told.repeated);
    let seen = world.stub.seen();
    let keys: Vec<_> = seen
        .iter()
        .map(|request| request.header("idempotency-key"))
        .collect();
    assert!(keys[0].is_some_and(|key| key.len() > 30));
    assert_eq!(keys[0], keys[1]);
    // The caller's own key stays what it is.
    let world = World::answering(vec![lost, stored]).await;
    world.client.task_submit(&form(Some("mine"))).await.unwrap();
    let seen = world.stub.seen();
    assert_eq!((seen.len(), seen[0].header("idempotency-key")), (2, None));
    assert!(String::from_utf8_lossy(&seen[1].body).contains(r#""idempotency_key":"mine""#));
}

#[tokio::test]
async fn what_a_call_makes_is_made_once_although_answers_are_lost() {
    let read = "forms are read";
    let hook: HookForm =
        serde_json::from_str(r#"{"url":"https://x.example","events":["closed"]}"#).expect(read);
    let tenant: TenantForm = serde_json::from_str(r#"{"name":"guests"}"#).expect(read);
    let somebody: PrincipalForm =
        serde_json::from_str(r#"{"name":"Ada","roles":["submitter"]}"#).expect(read);
    let rotation: KeyRotationForm = serde_json::from_str("{}").expect(read);
    let (key, of) = (KeyForm::default(), principal(1));
    for own in [None, Some("mine")] {
        let world = World::answering(vec![problem("unavailable")]).await;
        let client = &world.client;
        assert!(client.hook_create(&hook, own).await.is_err());
        assert!(client.tenant_create(&tenant, own).await.is_err());
        assert!(client.principal_create(None, &somebody, own).await.is_err());
        assert!(client.key_create(None, of, &key, own).await.is_err());
        assert!(
            client
                .key_rotate(None, of, "0123456789abcdef", &rotation, own)
                .await
                .is_err()
        );
        let seen = world.stub.seen();
        assert_eq!(seen.len(), 25, "{:?}", world.asked());
        let keys: Vec<_> = seen
            .iter()
            .map(|request| request.header("idempotency-key"))
            .collect();
        for tries in keys.chunks(5) {
            assert!(tries.iter().all(|key| *key == tries[0]), "{keys:?}");
            assert!(own.is_none() || tries[0] == own, "{keys:?}");
        }
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), if own.is_some() { 1 } else { 5 }, "{keys:?}");
    }
    let found = r#"{"key":{"id":"0123456789abcdef","principal":"p","state":"live","created_at":"t"}}"#;
    let world = World::answering(vec![problem("unavailable"), StubAnswer::reply(200, found)]).await;
    let made = world
        .client
        .key_create(None, of, &key, None)
        .await
        .expect("found");
    assert_eq!((made.key.id.as_str(), made.secret), ("0123456789abcdef", None));
}

#[tokio::test]
async fn every_task_of_many_has_a_key_of_its_own() {
    let world = World::answering(vec![StubAnswer::reply(200, r#"{"answers":[]}"#)]).await;
    let many = SubmitMany {
        tasks: vec![form(None), form(Some("mine")), form(None)],
        all_or_nothing: false,
    };
    world.client.task_submit_many(many).await.unwrap();
    let sent: serde_json::Value = serde_json::from_slice(&world.stub.seen()[0].body).unwrap();
    let key = |place: usize| {
        sent["tasks"][place]["idempotency_key"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(key(1), "mine");
    assert!(key(0) != key(2) && key(0).starts_with("call:"));
}

#[tokio::test]
async fn what_the_server_would_not_recognise_is_sent_once() {
    let because = Because {
        reason: "why".to_owned(),
    };
    let mut attempt = AttemptForm {
        task: task(1).to_string(),
        tenant: None,
        fence: 1,
        command: None,
    };
    let world = World::answering(vec![problem("unavailable")]).await;
    let client = &world.client;
    assert!(client.task_cancel(task(1), Some(3), &because).await.is_err());
    let rotate: RotateForm = serde_json::from_str("{}").unwrap();
    let hook = HookId::from_bytes([7; 16]);
    assert!(client.hook_rotate(hook, Some(1), &rotate).await.is_err());
    assert!(client.hook_delete(hook, None).await.is_err());
    assert!(client.work_acknowledge(&attempt).await.is_err());
    assert_eq!(world.stub.seen().len(), 4, "{:?}", world.asked());
    attempt.command = Some("c".to_owned());
    assert!(client.work_acknowledge(&attempt).await.is_err());
    assert!(client.agent_heartbeat(agent(1)).await.is_err());
    assert_eq!(world.stub.seen().len(), 14, "{:?}", world.asked());
}

#[tokio::test]
async fn callers_that_try_again_themselves_are_the_only_ones() {
    let world = World::answering(vec![problem("unavailable")]).await;
    assert!(world.client.owns_retries() && !world.client.once().owns_retries());
    assert!(
        world
            .client
            .once()
            .task_list(&TaskFilter::default())
            .await
            .is_err()
    );
    assert_eq!(world.stub.seen().len(), 1);
    let none = |config: &mut ClientConfig| config.retries = 0;
    let world = World::with(none, in_order(vec![problem("unavailable")])).await;
    assert!(!world.client.owns_retries());
    assert!(world.client.task_list(&TaskFilter::default()).await.is_err());
    assert_eq!(world.stub.seen().len(), 1);
}
