//! Alerts, as Alertmanager takes them.
//!
//! Source: prometheus/alertmanager, `api/v2/openapi.yaml` (`postableAlerts`), and how `types.Alert.Merge` puts an alert
//! together with the one that it has.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use arbiter_core::mechanism::{cut, one_line};
use arbiter_core::model::{Severity, Timestamp};
use arbiter_core::ports::{IncidentNotice, NoticeStep};
use arbiter_net::HttpUrl;
use serde::Serialize;

/// The name of every alert.
const NAME: &str = "ArbiterIncident";
/// The longest summary and reason, in characters.
const MAX_LINE: usize = 1_024;
/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 8_192;

/// How the times of alerts are chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// How long an alert fires after the latest word of it.
    pub(crate) firing_for: Duration,
    /// How far the clock of Alertmanager may be behind.
    pub(crate) clock_skew: Duration,
}

/// One alert. Alertmanager takes alerts of equal labels for one.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(crate) struct Alert {
    labels: BTreeMap<&'static str, String>,
    annotations: BTreeMap<&'static str, String>,
    #[serde(rename = "startsAt")]
    starts_at: String,
    #[serde(rename = "endsAt")]
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

/// The alerts that tell of `notice`; `None` if one of its times has no form.
///
/// The severity is a label, because alerts are routed by it. So an incident whose severity changed is another alert to
/// Alertmanager, and the alerts of its other severities are ended along with an update and with the end.
pub(crate) fn alerts(notice: &IncidentNotice, times: Times) -> Option<Vec<Alert>> {
    let incident = &notice.incident;
    let fires = notice.step != NoticeStep::Resolve;
    let others = match notice.step {
        NoticeStep::Open | NoticeStep::Acknowledge => &[][..],
        NoticeStep::Update | NoticeStep::Resolve => Severity::ALL,
    };
    let others = others.iter().filter(|severity| **severity != incident.severity);
    let severities = std::iter::once((incident.severity, fires)).chain(others.map(|other| (*other, false)));
    severities
        .map(|(severity, fires)| {
            Some(Alert {
                labels: labels(notice, severity),
                annotations: annotations(notice),
                starts_at: moment(incident.opened_at)?,
                ends_at: moment(end(notice, fires, times))?,
                generator_url: generator(&incident.links),
            })
        })
        .collect()
}

/// When an alert ends. One without an end would be ended by Alertmanager itself after some minutes without a word of it.
/// The end of one that is over must have passed by Alertmanager's clock: else the later end of the alert that it has wins.
fn end(notice: &IncidentNotice, fires: bool, times: Times) -> Timestamp {
    let end = if fires {
        notice.at.plus(times.firing_for)
    } else {
        notice.at.minus(times.clock_skew)
    };
    end.max(notice.incident.opened_at)
}

fn labels(notice: &IncidentNotice, severity: Severity) -> BTreeMap<&'static str, String> {
    let incident = &notice.incident;
    BTreeMap::from([
        ("alertname", NAME.to_owned()),
        ("component", incident.component.to_string()),
        ("incident", incident.id.to_string()),
        ("key", notice.key.clone()),
        ("kind", incident.kind.word().to_owned()),
        ("severity", severity.word().to_owned()),
    ])
}

fn annotations(notice: &IncidentNotice) -> BTreeMap<&'static str, String> {
    let incident = &notice.incident;
    let why = one_line(&notice.why, MAX_LINE);
    let mut description = why.clone();
    for (name, value) in &incident.details {
        // writing to a text does not fail
        let _written = write!(
            description,
            "\n{}: {}",
            one_line(name, MAX_LINE),
            cut(value, MAX_DESCRIPTION)
        );
        if description.len() > MAX_DESCRIPTION * 4 {
            break;
        }
    }
    let mut annotations = BTreeMap::from([
        ("description", cut(description.trim(), MAX_DESCRIPTION)),
        ("failures", incident.failures.to_string()),
        ("state", incident.state.word().to_owned()),
        ("step", notice.step.word().to_owned()),
        ("summary", one_line(&incident.title, MAX_LINE)),
        ("why", why),
    ]);
    // an annotation without a text says nothing
    annotations.retain(|_, text| !text.is_empty());
    annotations
}

/// The first link that is an address.
fn generator(links: &[(String, String)]) -> Option<String> {
    let is_address = |href: &str| {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        href.bytes().all(plain) && href.parse::<HttpUrl>().is_ok()
    };
    let mut addresses = links.iter().map(|(_, href)| href);
    addresses.find(|href| is_address(href)).cloned()
}

/// As RFC 3339; absent for years that it has no form for.
fn moment(at: Timestamp) -> Option<String> {
    let text = at.to_string();
    text.parse::<Timestamp>().is_ok().then_some(text)
}
