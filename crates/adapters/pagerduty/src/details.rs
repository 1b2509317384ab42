//! What more an event says, as far as there is room.

use std::collections::BTreeSet;

use arbiter_core::mechanism::one_line;
use arbiter_core::ports::IncidentNotice;
use serde::{Serialize, Serializer};

use crate::event::moment;
use crate::text::lines;

/// Room for the incident's details, in bytes of JSON.
const DETAILS_BYTES: usize = 384 << 10;
/// The longest name of a detail and text of a link, in characters.
const MAX_NAME: usize = 255;
/// The longest value of a detail, in characters.
const MAX_VALUE: usize = 8_192;
/// The longest reason, in characters.
const MAX_WHY: usize = 1_024;
/// Room for links, in bytes of JSON.
const LINKS_BYTES: usize = 64 << 10;
/// The longest address of a link, in bytes; a longer one would not work when it is cut, so it is left out.
const MAX_HREF: usize = 2_048;

/// `custom_details`.
#[derive(Serialize)]
pub(crate) struct CustomDetails {
    incident: String,
    notice: String,
    step: &'static str,
    state: &'static str,
    why: String,
    failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    opened_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure_at: Option<String>,
    details: Named,
    #[serde(skip_serializing_if = "Option::is_none")]
    details_left_out: Option<usize>,
}

impl CustomDetails {
    pub(crate) fn of(notice: &IncidentNotice) -> Self {
        let incident = &notice.incident;
        let details = named(&incident.details);
        let left_out = incident.details.len().saturating_sub(details.0.len());
        Self {
            incident: incident.id.to_string(),
            notice: one_line(&notice.id, MAX_NAME),
            step: notice.step.word(),
            state: incident.state.word(),
            why: one_line(&notice.why, MAX_WHY),
            failures: incident.failures,
            opened_at: moment(incident.opened_at),
            last_failure_at: moment(incident.last_failure_at),
            details,
            details_left_out: (left_out > 0).then_some(left_out),
        }
    }
}

/// Names with values, in order, each name once.
struct Named(Vec<(String, String)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Details in their order until there is no more room.
fn named(details: &[(String, String)]) -> Named {
    let mut kept = Vec::new();
    let mut names = BTreeSet::new();
    let mut room = DETAILS_BYTES;
    for (name, value) in details {
        let entry = (unused(one_line(name, MAX_NAME), &names), lines(value, MAX_VALUE));
        let Some(left) = room.checked_sub(size(&entry)) else {
            break;
        };
        room = left;
        names.insert(entry.0.clone());
        kept.push(entry);
    }
    Named(kept)
}

/// The name, numbered if another detail has it.
fn unused(name: String, names: &BTreeSet<String>) -> String {
    if !names.contains(&name) {
        return name;
    }
    // one more number than there are names is enough to find a free one
    let mut numbered = (2..=names.len().saturating_add(2)).map(|number| format!("{name} ({number})"));
    numbered.find(|name| !names.contains(name)).unwrap_or_default()
}

/// A link of an alert.
#[derive(Serialize)]
pub(crate) struct Link {
    href: String,
    text: String,
}

/// Links that a browser follows, in their order until there is no more room.
pub(crate) fn links(links: &[(String, String)]) -> Vec<Link> {
    let mut room = LINKS_BYTES;
    let usable = links.iter().filter(|(_, href)| is_address(href));
    let mut kept = Vec::new();
    for (text, href) in usable {
        let link = Link {
            href: href.clone(),
            text: one_line(text, MAX_NAME),
        };
        let Some(left) = room.checked_sub(size(&link)) else {
            break;
        };
        room = left;
        kept.push(link);
    }
    kept
}

fn is_address(href: &str) -> bool {
    let followed = href.starts_with("https://") || href.starts_with("http://");
    followed && href.len() <= MAX_HREF && href.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The room that something takes as JSON, its comma included.
fn size(value: &impl Serialize) -> usize {
    // what cannot be written takes more room than there is
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn details_keep_their_order_and_no_name_hides_another() {
        let details = [
            pair("z", "1"),
            pair("a", "2"),
            pair("z", "3"),
            pair("z (2)", "4"),
            pair("z", "5"),
        ];
        let text = serde_json::to_string(&named(&details)).unwrap();
        assert_eq!(
            text,
            r#"{"z":"1","a":"2","z (2)":"3","z (2) (2)":"4","z (3)":"5"}"#
        );
    }

    #[test]
    fn only_addresses_that_a_browser_follows_become_links() {
        let long = format!("https://a.example/{}", "x".repeat(MAX_HREF));
        let given = [
            pair("good\nlink", "https://a.example/?q#f"),
            pair("bad", "javascript:alert(1)"),
            pair("bad", "https://a.example/a b"),
            pair("bad", ""),
            pair("bad", &long),
            pair("plain", "http://a.example/"),
        ];
        let text = serde_json::to_string(&links(&given)).unwrap();
        let expected = r#"[{"href":"https://a.example/?q#f","text":"good link"},{"href":"http://a.example/","text":"plain"}]"#;
        assert_eq!(text, expected);
    }
}
