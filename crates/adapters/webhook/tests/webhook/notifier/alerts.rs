//! What an Alertmanager gets.

use std::time::Duration;

use arbiter_core::model::{Severity, Timestamp};
use arbiter_core::ports::{IncidentNotice, NoticeStep, NotifyError};
use arbiter_testkit::builders::notice;
use serde_json::{Value, json};

use super::support::{Sort, TOKEN, World};

const DAY: Duration = Duration::from_hours(24);

/// A step that happens a day after the incident was opened.
fn later(step: NoticeStep) -> IncidentNotice {
    let mut notice = notice(1, step);
    notice.at = notice.at.plus(DAY);
    notice
}

fn labels(severity: &str) -> Value {
    let open = notice(1, NoticeStep::Open);
    json!({
        "alertname": "ArbiterIncident", "component": "store", "incident": open.incident.id.to_string(),
        "key": "arbiter/incident-1", "kind": "connection", "severity": severity,
    })
}

/// The alerts of one notice as severity and end.
async fn ends(notice: &IncidentNotice) -> Vec<(String, String)> {
    let world = World::taking(Sort::Alertmanager).await;
    world.notify(notice).await.unwrap();
    let alerts = world.told().remove(0);
    let alerts = alerts.as_array().unwrap().iter();
    alerts
        .map(|alert| {
            let severity = alert["labels"]["severity"].as_str().unwrap();
            assert_eq!(alert["labels"], labels(severity), "labels never change");
            assert_eq!(alert["startsAt"], "1970-01-01T00:01:00.000000Z");
            (severity.to_owned(), alert["endsAt"].as_str().unwrap().to_owned())
        })
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = expected
        .iter()
        .map(|(severity, end)| ((*severity).to_owned(), (*end).to_owned()));
    owned.collect()
}

#[tokio::test]
async fn an_incident_is_told_whole() {
    let world = World::taking(Sort::Alertmanager).await;
    assert_eq!(
        world
            .notify(&notice(1, NoticeStep::Open))
            .await
            .unwrap()
            .reference,
        None
    );
    let expected = json!([{
        "labels": labels("high"),
        "annotations": {
            "description": "a test\nerror: connection refused",
            "failures": "3",
            "state": "open",
            "step": "open",
            "summary": "store: could not be reached 3 times in 5 minutes",
            "why": "a test",
        },
        "startsAt": "1970-01-01T00:01:00.000000Z",
        "endsAt": "1970-01-08T00:01:00.000000Z",
        "generatorURL": "https://arbiter.example/incidents/1",
    }]);
    assert_eq!(world.told(), [expected]);
    let request = world.stub.seen().remove(0);
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/am/api/v2/alerts")
    );
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {TOKEN}").as_str())
    );
}

#[tokio::test]
async fn an_alert_fires_until_the_incident_ends() {
    let week_later = "1970-01-09T00:01:00.000000Z";
    assert_eq!(
        ends(&later(NoticeStep::Open)).await,
        pairs(&[("high", week_later)])
    );
    assert_eq!(
        ends(&later(NoticeStep::Acknowledge)).await,
        pairs(&[("high", week_later)])
    );
    let minute_before = "1970-01-02T00:00:00.000000Z";
    let others = [
        ("low", minute_before),
        ("medium", minute_before),
        ("critical", minute_before),
    ];
    let update = [&[("high", week_later)][..], &others].concat();
    assert_eq!(ends(&later(NoticeStep::Update)).await, pairs(&update));
    let resolve = [&[("high", minute_before)][..], &others].concat();
    assert_eq!(ends(&later(NoticeStep::Resolve)).await, pairs(&resolve));
}

#[tokio::test]
async fn no_alert_ends_before_it_begins() {
    let mut resolve = notice(1, NoticeStep::Resolve);
    resolve.at = resolve.incident.opened_at.minus(DAY);
    for (_, end) in ends(&resolve).await {
        assert_eq!(end, "1970-01-01T00:01:00.000000Z");
    }
}

#[tokio::test]
async fn a_severity_that_changed_ends_the_former_alert() {
    let mut worse = later(NoticeStep::Update);
    worse.incident.severity = Severity::Critical;
    let told = ends(&worse).await;
    assert_eq!(told[0].0, "critical");
    assert!(
        told.contains(&("high".to_owned(), "1970-01-02T00:00:00.000000Z".to_owned())),
        "{told:?}"
    );
    assert_eq!(told.len(), Severity::ALL.len());
}

#[tokio::test]
async fn an_acknowledgement_is_told_in_annotations() {
    let world = World::taking(Sort::Alertmanager).await;
    let mut acknowledge = notice(1, NoticeStep::Acknowledge);
    acknowledge.why = "Ada takes care of it".to_owned();
    world.notify(&acknowledge).await.unwrap();
    let annotations = &world.told()[0][0]["annotations"];
    assert_eq!(annotations["state"], "acknowledged");
    assert_eq!(annotations["why"], "Ada takes care of it");
}

#[tokio::test]
async fn what_is_not_known_is_absent_and_only_addresses_are_addresses() {
    let world = World::taking(Sort::Alertmanager).await;
    let mut open = notice(1, NoticeStep::Open);
    open.why = " ".to_owned();
    open.incident.details.clear();
    open.incident.links = [
        "javascript:alert(1)",
        "",
        "https://a.example/{b}",
        "https://a.example/ü",
    ]
    .map(|href| ("bad".to_owned(), href.to_owned()))
    .to_vec();
    world.notify(&open).await.unwrap();
    open.incident
        .links
        .push(("good".to_owned(), "https://a.example/?b#c".to_owned()));
    world.notify(&open).await.unwrap();
    let told = world.told();
    let (without, with) = (&told[0][0], &told[1][0]);
    assert_eq!(without.get("generatorURL"), None);
    assert_eq!(
        (
            without["annotations"].get("why"),
            without["annotations"].get("description")
        ),
        (None, None)
    );
    assert_eq!(with["generatorURL"], "https://a.example/?b#c");
}

#[tokio::test]
async fn what_would_be_another_alert_is_not_sent() {
    let world = World::taking(Sort::Alertmanager).await;
    let mut without_key = notice(1, NoticeStep::Open);
    without_key.key = String::new();
    let mut without_time = notice(1, NoticeStep::Open);
    without_time.at = Timestamp::from_micros(i64::MAX);
    for bad in [without_key, without_time] {
        let error = world.notify(&bad).await.unwrap_err();
        assert!(
            matches!(error, NotifyError::Refused { status: None, .. }),
            "{error:?}"
        );
    }
    assert!(world.stub.seen().is_empty());
}
