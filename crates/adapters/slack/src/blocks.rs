//! Blocks, as Slack takes them.
//!
//! Source: Slack, "Reference: blocks" and "Composition objects".

use serde::Serialize;

/// A block of a message.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Block {
    Header {
        text: Text,
    },
    Section {
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<Text>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        fields: Vec<Text>,
        #[serde(skip_serializing_if = "Option::is_none")]
        accessory: Option<Button>,
    },
    Context {
        elements: Vec<Text>,
    },
}

impl Block {
    pub(crate) const fn text(text: Text) -> Self {
        Self::Section {
            text: Some(text),
            fields: Vec::new(),
            accessory: None,
        }
    }

    pub(crate) const fn fields(fields: Vec<Text>) -> Self {
        Self::Section {
            text: None,
            fields,
            accessory: None,
        }
    }
}

/// A text of a block.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Text {
    PlainText { text: String, emoji: bool },
    Mrkdwn { text: String, verbatim: bool },
}

impl Text {
    /// A text without any marks; `:words:` stay words.
    pub(crate) const fn plain(text: String) -> Self {
        Self::PlainText { text, emoji: false }
    }

    /// A text with marks, in which Slack looks for no addresses and names by itself.
    pub(crate) const fn marked(text: String) -> Self {
        Self::Mrkdwn { text, verbatim: true }
    }
}

/// A button.
#[derive(Serialize)]
pub(crate) struct Button {
    #[serde(rename = "type")]
    sort: &'static str,
    text: Text,
    action_id: &'static str,
    value: String,
}

impl Button {
    pub(crate) fn new(label: &str, action_id: &'static str, value: String) -> Self {
        Self {
            sort: "button",
            text: Text::plain(label.to_owned()),
            action_id,
            value,
        }
    }
}
