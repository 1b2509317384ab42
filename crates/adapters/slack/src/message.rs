//! The message that tells of an incident.
//!
//! Source of limits: Slack, "Reference: blocks" (50 blocks, header 150, section 3 000, 10 fields of 2 000).

use arbiter_core::model::Severity;
use arbiter_core::ports::{IncidentNotice, NoticeStep};
use serde::Serialize;

use crate::blocks::{Block, Button, Text};
use crate::interaction::SlackAction;
use crate::text::{escaped, length, line};

const MAX_HEADER: usize = 150;
const MAX_SECTION: usize = 3_000;
const MAX_FIELDS: usize = 10;
const MAX_FIELD: usize = 2_000;
/// The longest fallback; Slack cuts at 40 000, and a notification shows far less.
const MAX_FALLBACK: usize = 1_000;
/// The most details: three sections.
const MAX_DETAILS: usize = 3 * MAX_FIELDS;
/// Room for all details, in UTF-16 units: a message that people still read.
const DETAILS_ROOM: usize = 12_000;
/// The longest name of a detail and text of a link.
const MAX_NAME: usize = 255;
/// The most links.
const MAX_LINKS: usize = 10;
/// The longest address of a link, in bytes; a longer one is left out, as it would not work when it is cut.
const MAX_HREF: usize = 2_048;

/// A message. The channel is absent for a webhook, which has its own.
#[derive(Serialize)]
pub(crate) struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    text: String,
    blocks: Vec<Block>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_ts: Option<&'a str>,
    unfurl_links: bool,
    unfurl_media: bool,
}

/// Where a bot posts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) channel: &'a str,
    pub(crate) thread: Option<&'a str>,
}

impl<'a> Message<'a> {
    pub(crate) fn of(notice: &IncidentNotice, place: Option<Place<'a>>, buttons: bool) -> Self {
        let headline = headline(notice);
        let fallback = format!("{headline} ({})", notice.incident.component);
        Self {
            channel: place.map(|place| place.channel),
            text: line(&fallback, MAX_FALLBACK),
            blocks: blocks(notice, &headline, buttons),
            thread_ts: place.and_then(|place| place.thread),
            unfurl_links: false,
            unfurl_media: false,
        }
    }
}

fn blocks(notice: &IncidentNotice, headline: &str, buttons: bool) -> Vec<Block> {
    let incident = &notice.incident;
    let mut blocks = vec![
        Block::Header {
            text: Text::plain(line(headline, MAX_HEADER)),
        },
        Block::fields(facts(notice)),
    ];
    let why = escaped(notice.why.trim(), MAX_SECTION);
    if !why.is_empty() {
        blocks.push(Block::text(Text::marked(why)));
    }
    let (mut details, left_out) = details(&incident.details);
    while !details.is_empty() {
        let rest = details.split_off(details.len().min(MAX_FIELDS));
        blocks.push(Block::fields(details));
        details = rest;
    }
    if let Some(links) = links(&incident.links) {
        blocks.push(Block::text(Text::marked(links)));
    }
    if buttons && incident.state.is_open() {
        let id = incident.id.to_string();
        blocks.push(button(
            "I take care of it",
            "Acknowledge",
            SlackAction::Acknowledge,
            id.clone(),
        ));
        blocks.push(button("It works again", "Resolve", SlackAction::Resolve, id));
    }
    let mut elements = vec![Text::marked(format!("incident {}", incident.id))];
    elements.push(Text::marked(format!("notice {}", line(&notice.id, MAX_NAME))));
    if left_out > 0 {
        elements.push(Text::marked(format!("{left_out} more details were left out")));
    }
    blocks.push(Block::Context { elements });
    blocks
}

/// How bad, what happened, and what it is about.
fn headline(notice: &IncidentNotice) -> String {
    let incident = &notice.incident;
    let severity = match incident.severity {
        Severity::Low => "LOW",
        Severity::Medium => "MEDIUM",
        Severity::High => "HIGH",
        Severity::Critical => "CRITICAL",
    };
    let step = match notice.step {
        NoticeStep::Open => "",
        NoticeStep::Update => "Update: ",
        NoticeStep::Acknowledge => "Acknowledged: ",
        NoticeStep::Resolve => "Resolved: ",
    };
    let title = incident.title.trim();
    if title.is_empty() {
        return format!(
            "[{severity}] {step}{}: {}",
            incident.component,
            incident.kind.word()
        );
    }
    format!("[{severity}] {step}{title}")
}

fn facts(notice: &IncidentNotice) -> Vec<Text> {
    let incident = &notice.incident;
    [
        ("Severity", incident.severity.word().to_owned()),
        ("State", incident.state.word().to_owned()),
        ("Component", incident.component.to_string()),
        ("Kind of failure", incident.kind.word().to_owned()),
        ("Failures", incident.failures.to_string()),
        ("Opened", incident.opened_at.to_string()),
        ("Latest failure", incident.last_failure_at.to_string()),
        ("Told", notice.at.to_string()),
    ]
    .map(|(name, value)| field(name, &value))
    .into()
}

fn field(name: &str, value: &str) -> Text {
    let name = line(name, MAX_NAME);
    // two stars and an end of line around the name
    let room = MAX_FIELD - length(&name) - 3;
    Text::marked(format!("*{name}*\n{}", escaped(value.trim(), room)))
}

/// Details in their order until there is no more room, and how many were left out.
fn details(details: &[(String, String)]) -> (Vec<Text>, usize) {
    let mut room = DETAILS_ROOM;
    let mut kept = Vec::new();
    for (name, value) in details.iter().take(MAX_DETAILS) {
        let text = field(name, value);
        let Text::Mrkdwn { text: shown, .. } = &text else {
            break;
        };
        let Some(left) = room.checked_sub(length(shown)) else {
            break;
        };
        room = left;
        kept.push(text);
    }
    let left_out = details.len() - kept.len();
    (kept, left_out)
}

/// Links that a browser follows, as far as one section goes.
fn links(links: &[(String, String)]) -> Option<String> {
    let usable = links.iter().filter(|(_, href)| is_address(href)).take(MAX_LINKS);
    let mut told = String::new();
    for (text, href) in usable {
        let text = match line(text, MAX_NAME) {
            text if text.is_empty() => "link".to_owned(),
            text => text,
        };
        let link = format!("<{}|{text}>\n", href.replace('&', "&amp;"));
        if length(&told) + length(&link) > MAX_SECTION {
            break;
        }
        told.push_str(&link);
    }
    let told = told.trim_end();
    (!told.is_empty()).then(|| told.to_owned())
}

fn is_address(href: &str) -> bool {
    let followed = href.starts_with("https://") || href.starts_with("http://");
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"<>|".contains(&byte);
    followed && href.len() <= MAX_HREF && href.bytes().all(plain)
}

fn button(text: &str, label: &str, action: SlackAction, incident: String) -> Block {
    Block::Section {
        text: Some(Text::plain(text.to_owned())),
        fields: Vec::new(),
        accessory: Some(Button::new(label, action.word(), incident)),
    }
}
