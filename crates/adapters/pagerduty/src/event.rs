//! The event as PagerDuty takes it.
//!
//! Source of names and limits: PagerDuty, "Send an alert event" (Events API v2).

use arbiter_core::mechanism::{cut, one_line};
use arbiter_core::model::{Digest, Severity, Timestamp};
use arbiter_core::ports::{IncidentNotice, NoticeStep};
use serde::Serialize;

use crate::details::{CustomDetails, Link, links};

/// The largest event, in bytes: PagerDuty takes 512 KB, read here as the smaller of its two meanings.
pub(crate) const MAX_EVENT_BYTES: usize = 512_000;
/// The longest `summary`, in characters.
const MAX_SUMMARY: usize = 1_024;
/// The longest `dedup_key`, in characters.
const MAX_KEY: usize = 255;
/// How many characters of a longer key stay readable: the rest is `~` and the 64 digits of a SHA-256.
const KEPT_OF_KEY: usize = MAX_KEY - 65;

/// What every event of a notifier says.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) source: String,
    pub(crate) client: Option<String>,
    pub(crate) client_url: Option<String>,
}

/// One event. There is no `Debug`: it holds the routing key.
#[derive(Serialize)]
pub(crate) struct Event<'a> {
    routing_key: &'a str,
    #[serde(rename = "event_action")]
    action: &'static str,
    dedup_key: String,
    payload: Payload<'a>,
    links: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_url: Option<&'a str>,
}

#[derive(Serialize)]
struct Payload<'a> {
    summary: String,
    severity: &'static str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    component: &'a str,
    class: &'static str,
    custom_details: CustomDetails,
}

impl<'a> Event<'a> {
    /// The event that tells of `notice`.
    pub(crate) fn of(notice: &'a IncidentNotice, routing_key: &'a str, sender: &'a Sender) -> Self {
        let incident = &notice.incident;
        Self {
            routing_key,
            action: action(notice.step),
            dedup_key: dedup_key(&notice.key),
            payload: Payload {
                summary: summary(notice),
                severity: severity(incident.severity),
                source: &sender.source,
                timestamp: moment(notice.at),
                component: incident.component.as_str(),
                class: incident.kind.word(),
                custom_details: CustomDetails::of(notice),
            },
            links: links(&incident.links),
            client: sender.client.as_deref(),
            client_url: sender.client_url.as_deref(),
        }
    }
}

const fn action(step: NoticeStep) -> &'static str {
    match step {
        NoticeStep::Open | NoticeStep::Update => "trigger",
        NoticeStep::Acknowledge => "acknowledge",
        NoticeStep::Resolve => "resolve",
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "info",
        Severity::Medium => "warning",
        Severity::High => "error",
        Severity::Critical => "critical",
    }
}

/// The title; what is known besides, if there is none.
fn summary(notice: &IncidentNotice) -> String {
    let incident = &notice.incident;
    let title = one_line(&incident.title, MAX_SUMMARY);
    if title.is_empty() {
        return format!("{}: {}", incident.component, incident.kind.word());
    }
    title
}

/// The key by which PagerDuty knows the alert: as it is, or its beginning with a digest of the whole.
fn dedup_key(key: &str) -> String {
    if key.chars().nth(MAX_KEY).is_none() {
        return key.to_owned();
    }
    let kept: String = key.chars().take(KEPT_OF_KEY).collect();
    format!("{kept}~{}", hex::encode(Digest::of(key.as_bytes()).as_bytes()))
}

/// As RFC 3339; absent for years that it has no form for.
pub(crate) fn moment(at: Timestamp) -> Option<String> {
    let text = at.to_string();
    text.parse::<Timestamp>().is_ok().then(|| cut(&text, 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_stay_apart_and_are_the_same_each_time() {
        let longest = "ü".repeat(255);
        assert_eq!(dedup_key(&longest), longest);
        let (one, two) = (format!("{longest}1"), format!("{longest}2"));
        assert_ne!(dedup_key(&one), dedup_key(&two));
        assert_eq!(dedup_key(&one), dedup_key(&one));
        assert_eq!(dedup_key(&one).chars().count(), 255);
        assert!(dedup_key(&one).starts_with(&"ü".repeat(190)));
    }

    #[test]
    fn a_moment_without_a_form_is_absent() {
        assert_eq!(
            moment(Timestamp::from_micros(0)).as_deref(),
            Some("1970-01-01T00:00:00.000000Z")
        );
        assert_eq!(moment(Timestamp::from_micros(i64::MAX)), None);
    }
}
