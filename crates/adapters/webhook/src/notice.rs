//! The form of a notice for receivers that know Arbiter. Fields may be added; `version` changes when one is removed or
//! means something else.

use arbiter_core::mechanism::{cut, one_line};
use arbiter_core::model::Digest;
use arbiter_core::ports::{IncidentNotice, NoticeStep};
use serde::Serialize;

/// The version of this form.
const VERSION: u8 = 1;
/// The longest title, reason, name of a detail and text of a link, in characters.
const MAX_LINE: usize = 1_024;
/// The longest value of a detail, in characters.
const MAX_VALUE: usize = 8_192;
/// The longest address of a link, in bytes; a longer one is left out.
const MAX_HREF: usize = 2_048;
/// Room for details and for links, in bytes of JSON each: half of what a message may have.
const ROOM_BYTES: usize = 256 << 10;

/// A notice.
#[derive(Serialize)]
pub(crate) struct NoticeForm<'a> {
    version: u8,
    id: &'a str,
    #[serde(rename = "type")]
    sort: &'static str,
    at: String,
    key: &'a str,
    why: String,
    incident: IncidentForm,
}

#[derive(Serialize)]
struct IncidentForm {
    id: String,
    title: String,
    component: String,
    kind: &'static str,
    severity: &'static str,
    state: &'static str,
    opened_at: String,
    last_failure_at: String,
    failures: u64,
    details: Vec<Detail>,
    details_left_out: usize,
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Detail {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Link {
    text: String,
    href: String,
}

impl<'a> NoticeForm<'a> {
    /// The form of `notice`, whose message is called `id`.
    pub(crate) fn of(notice: &'a IncidentNotice, id: &'a str) -> Self {
        let incident = &notice.incident;
        let details = fitting(incident.details.iter().map(|(name, value)| Detail {
            name: one_line(name, MAX_LINE),
            value: cut(value, MAX_VALUE),
        }));
        let short = incident.links.iter().filter(|(_, href)| href.len() <= MAX_HREF);
        let links = fitting(short.map(|(text, href)| Link {
            text: one_line(text, MAX_LINE),
            href: href.clone(),
        }));
        Self {
            version: VERSION,
            id,
            sort: sort(notice.step),
            at: notice.at.to_string(),
            key: &notice.key,
            why: one_line(&notice.why, MAX_LINE),
            incident: IncidentForm {
                id: incident.id.to_string(),
                title: one_line(&incident.title, MAX_LINE),
                component: incident.component.to_string(),
                kind: incident.kind.word(),
                severity: incident.severity.word(),
                state: incident.state.word(),
                opened_at: incident.opened_at.to_string(),
                last_failure_at: incident.last_failure_at.to_string(),
                failures: incident.failures,
                details_left_out: incident.details.len() - details.len(),
                details,
                links,
            },
        }
    }
}

const fn sort(step: NoticeStep) -> &'static str {
    match step {
        NoticeStep::Open => "incident.opened",
        NoticeStep::Update => "incident.updated",
        NoticeStep::Acknowledge => "incident.acknowledged",
        NoticeStep::Resolve => "incident.resolved",
    }
}

/// The id of the message: that of the notice, or its SHA-256 where a message cannot be called so (a dot parts what is
/// signed).
pub(crate) fn message_id(notice: &str) -> String {
    let plain = notice.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
    if plain && (1..=256).contains(&notice.len()) {
        return notice.to_owned();
    }
    hex::encode(Digest::of(notice.as_bytes()).as_bytes())
}

/// The first ones, as far as there is room.
fn fitting<T: Serialize>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut room = ROOM_BYTES;
    let mut kept = Vec::new();
    for one in all {
        // what cannot be written takes more room than there is
        let size = serde_json::to_vec(&one).map_or(usize::MAX, |bytes| bytes.len().saturating_add(1));
        let Some(left) = room.checked_sub(size) else { break };
        room = left;
        kept.push(one);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_names_a_message() {
        assert_eq!(message_id("notice-1"), "notice-1");
        let other = message_id("v1.notice");
        assert_eq!(other.len(), 64);
        assert_eq!(other, message_id("v1.notice"));
        assert_ne!(other, message_id("v2.notice"));
        assert_eq!(message_id("nötig").len(), 64);
    }
}
