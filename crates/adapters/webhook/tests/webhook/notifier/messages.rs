//! What receivers that know Arbiter get.

use arbiter_core::ports::{NoticeStep, NotifyError};
use arbiter_testkit::builders::notice;
use serde_json::{Value, json};

use super::support::{PATH, Sort, World};

#[tokio::test]
async fn a_notice_is_told_as_the_readme_shows_it() {
    let world = World::taking(Sort::Receiver).await;
    let open = notice(1, NoticeStep::Open);
    assert_eq!(world.notify(&open).await.unwrap().reference, None);
    let page = include_str!("../../../README.md");
    let (_, rest) = page.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    assert_eq!(world.told(), [serde_json::from_str::<Value>(example).unwrap()]);
    let request = world.stub.seen().remove(0);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", PATH));
    assert_eq!(request.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn each_step_has_its_type() {
    let world = World::taking(Sort::Receiver).await;
    for step in NoticeStep::ALL {
        world.notify(&notice(1, *step)).await.unwrap();
    }
    let told = world.told();
    let types: Vec<_> = told.iter().map(|body| body["type"].as_str().unwrap()).collect();
    let expected = [
        "incident.opened",
        "incident.updated",
        "incident.acknowledged",
        "incident.resolved",
    ];
    assert_eq!(types, expected);
}

#[tokio::test]
async fn a_repeat_is_the_same_message() {
    let world = World::taking(Sort::Receiver).await;
    let mut open = notice(1, NoticeStep::Open);
    open.id = "node-1.notice".to_owned();
    world.notify(&open).await.unwrap();
    world.notify(&open).await.unwrap();
    let told = world.told();
    assert_eq!(told[0], told[1]);
    assert_eq!(
        told[0]["id"].as_str().unwrap().len(),
        64,
        "a dot parts what is signed"
    );
}

#[tokio::test]
async fn long_texts_are_cut_and_what_was_left_out_is_counted() {
    let world = World::taking(Sort::Receiver).await;
    let mut open = notice(1, NoticeStep::Open);
    let value = "\u{0}\"\\\u{1F525}".repeat(10_000);
    open.incident.title.clone_from(&value);
    open.incident.details = (0..300)
        .map(|number| (format!("n{number}"), value.clone()))
        .collect();
    let long = format!("https://arbiter.example/{}", "x".repeat(2_048));
    open.incident.links = vec![
        ("long".to_owned(), long),
        ("short".to_owned(), "https://a.example".to_owned()),
    ];
    world.notify(&open).await.unwrap();
    assert!(world.stub.seen()[0].body.len() < 1 << 20);
    let told = world.told().remove(0);
    let incident = &told["incident"];
    let kept = incident["details"].as_array().unwrap();
    assert_eq!(
        kept.len() as u64 + incident["details_left_out"].as_u64().unwrap(),
        300
    );
    assert!(kept.len() > 3 && kept[0]["name"] == "n0", "{}", kept.len());
    assert_eq!(kept[0]["value"].as_str().unwrap().chars().count(), 8_192);
    assert_eq!(incident["title"].as_str().unwrap().chars().count(), 1_024);
    assert_eq!(
        incident["links"],
        json!([{"text": "short", "href": "https://a.example"}])
    );
}

#[tokio::test]
async fn a_key_that_is_far_too_long_is_refused_and_not_sent() {
    let world = World::taking(Sort::Receiver).await;
    let mut open = notice(1, NoticeStep::Open);
    open.key = "k".repeat(2 << 20);
    let error = world.notify(&open).await.unwrap_err();
    assert!(
        matches!(error, NotifyError::Refused { status: None, .. }),
        "{error:?}"
    );
    assert!(world.stub.seen().is_empty());
}
