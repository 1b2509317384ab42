//! What is sent.

use arbiter_core::model::{Severity, Timestamp};
use arbiter_core::ports::{NoticeStep, NotifyError};
use arbiter_testkit::builders::notice;
use serde_json::json;

use crate::support::{KEY, World, taken};

async fn world() -> World {
    World::answering(|request, _| taken(request)).await
}

#[tokio::test]
async fn an_incident_is_told_whole() {
    let world = World::with(
        |request, _| taken(request),
        |config| {
            config.source = "arbiter.example".to_owned();
            config.client = Some("Arbiter".to_owned());
            config.client_url = Some("https://arbiter.example/".to_owned());
        },
    )
    .await;
    let open = notice(1, NoticeStep::Open);
    let taken = world.notify(&open).await.unwrap();
    assert_eq!(taken.reference.as_deref(), Some("arbiter/incident-1"));
    let expected = json!({
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": "arbiter/incident-1",
        "payload": {
            "summary": "store: could not be reached 3 times in 5 minutes",
            "severity": "error",
            "source": "arbiter.example",
            "timestamp": "1970-01-01T00:01:00.000000Z",
            "component": "store",
            "class": "connection",
            "custom_details": {
                "incident": open.incident.id.to_string(),
                "notice": "notice-1-open",
                "step": "open",
                "state": "open",
                "why": "a test",
                "failures": 3,
                "opened_at": "1970-01-01T00:01:00.000000Z",
                "last_failure_at": "1970-01-01T00:01:00.000000Z",
                "details": {"error": "connection refused"},
            },
        },
        "links": [{"href": "https://arbiter.example/incidents/1", "text": "Incident"}],
        "client": "Arbiter",
        "client_url": "https://arbiter.example/",
    });
    assert_eq!(world.events(), [expected]);
    let request = world.stub.seen().remove(0);
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/v2/enqueue")
    );
    assert_eq!(request.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn each_step_is_an_action_on_the_same_alert() {
    let world = world().await;
    for step in NoticeStep::ALL {
        world.notify(&notice(1, *step)).await.unwrap();
    }
    let told: Vec<_> = world
        .events()
        .iter()
        .map(|event| (event["event_action"].clone(), event["dedup_key"].clone()))
        .collect();
    let key = json!("arbiter/incident-1");
    let expected =
        ["trigger", "trigger", "acknowledge", "resolve"].map(|action| (json!(action), key.clone()));
    assert_eq!(told, expected);
    assert_eq!(world.events()[0].get("client"), None);
    assert_eq!(world.events()[0]["payload"]["source"], "arbiter");
}

#[tokio::test]
async fn each_severity_has_its_word() {
    let world = world().await;
    for severity in Severity::ALL {
        let mut open = notice(1, NoticeStep::Open);
        open.incident.severity = *severity;
        world.notify(&open).await.unwrap();
    }
    let told = world.events();
    let told: Vec<_> = told
        .iter()
        .map(|event| event["payload"]["severity"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["info", "warning", "error", "critical"]);
}

#[tokio::test]
async fn texts_are_cut_to_what_pagerduty_takes() {
    let world = world().await;
    let mut open = notice(1, NoticeStep::Open);
    open.key = "ü".repeat(300);
    open.incident.title = format!("store\r\n{}", "\u{1F525}".repeat(2_000));
    open.at = Timestamp::from_micros(i64::MAX);
    let value = "\u{0}\"\\\n".repeat(10_000);
    open.incident.details = (0..300)
        .map(|number| (format!("n{number:03}"), value.clone()))
        .collect();
    let link = format!("https://arbiter.example/{}", "x".repeat(2_000));
    open.incident.links = (0..300).map(|_| ("link".to_owned(), link.clone())).collect();
    let reference = world.notify(&open).await.unwrap().reference.unwrap();
    let event = world.events().remove(0);
    let body = world.stub.seen().remove(0).body;
    assert!(body.len() <= 512_000, "{} bytes", body.len());
    assert!(body.len() > 400_000, "the room is used: {} bytes", body.len());
    let summary = event["payload"]["summary"].as_str().unwrap();
    assert_eq!(summary.chars().count(), 1_024);
    assert!(summary.starts_with("store  \u{1F525}") && summary.ends_with('…'));
    assert_eq!(event["dedup_key"].as_str().unwrap(), reference);
    assert_eq!(reference.chars().count(), 255);
    assert_eq!(event["payload"].get("timestamp"), None, "a year without a form");
    let custom = &event["payload"]["custom_details"];
    let kept = custom["details"].as_object().unwrap();
    assert!(kept.contains_key("n000") && !kept.contains_key("n299"));
    let left_out = custom["details_left_out"].as_u64().unwrap();
    assert_eq!(kept.len() as u64 + left_out, 300);
    assert!((10..300).contains(&event["links"].as_array().unwrap().len()));
}

#[tokio::test]
async fn an_incident_without_a_title_is_named_by_what_failed() {
    let world = world().await;
    let mut open = notice(1, NoticeStep::Open);
    open.incident.title = " \n".to_owned();
    world.notify(&open).await.unwrap();
    assert_eq!(world.events()[0]["payload"]["summary"], "store: connection");
}

#[tokio::test]
async fn a_notice_without_a_key_is_not_sent() {
    let world = world().await;
    let mut open = notice(1, NoticeStep::Open);
    open.key = String::new();
    let error = world.notify(&open).await.unwrap_err();
    assert!(
        matches!(error, NotifyError::Refused { status: None, .. }),
        "{error:?}"
    );
    assert!(world.stub.seen().is_empty());
}
