//! What somebody pressed in Slack.
//!
//! Source: Slack, "Reference: block_actions payload".

use arbiter_core::model::IncidentId;
use serde::Deserialize;

use crate::form::field;
use crate::signature::{CallbackError, MAX_CALLBACK_BYTES};

/// The longest id or name, in characters. Longer ones are nothing of Slack's.
const MAX_TEXT: usize = 255;

/// The press of one button of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackInteraction {
    /// Which button.
    pub action: SlackAction,
    /// Of which incident.
    pub incident: IncidentId,
    /// Slack's id of who pressed it.
    pub user: String,
    /// The name of who pressed it.
    pub user_name: Option<String>,
    /// Slack's id of the workspace.
    pub team: Option<String>,
    /// The message with the button, in the form of the notifier's references: `channel:ts`.
    pub message: Option<String>,
}

/// What a button does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlackAction {
    /// Somebody takes note.
    Acknowledge,
    /// It works again.
    Resolve,
}

impl SlackAction {
    /// The `action_id`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Resolve => "resolve",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Acknowledge, Self::Resolve]
            .into_iter()
            .find(|action| action.word() == word)
    }
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    sort: String,
    user: Option<User>,
    team: Option<Team>,
    container: Option<Container>,
    #[serde(default)]
    actions: Vec<Pressed>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: Option<String>,
    username: Option<String>,
}

#[derive(Deserialize)]
struct Team {
    id: String,
}

#[derive(Deserialize)]
struct Container {
    channel_id: Option<String>,
    message_ts: Option<String>,
}

#[derive(Deserialize)]
struct Pressed {
    action_id: String,
    value: Option<String>,
}

impl SlackInteraction {
    /// Reads a request whose signature was checked; [`SlackSignature::open`](crate::SlackSignature::open) does both.
    ///
    /// # Errors
    /// [`CallbackError::TooLarge`], [`CallbackError::Form`] if it is no interaction, [`CallbackError::Action`] if it is
    /// another one than the press of one button of an incident.
    pub fn parse(body: &[u8]) -> Result<Self, CallbackError> {
        if body.len() > MAX_CALLBACK_BYTES {
            return Err(CallbackError::TooLarge);
        }
        let payload = field(body, "payload").ok_or(CallbackError::Form)?;
        let payload: Payload = serde_json::from_str(&payload).map_err(|_| CallbackError::Form)?;
        let [pressed] = payload.actions.as_slice() else {
            return Err(CallbackError::Action);
        };
        let action = SlackAction::from_word(&pressed.action_id).filter(|_| payload.sort == "block_actions");
        let incident = pressed.value.as_deref().and_then(|value| value.parse().ok());
        let (Some(action), Some(incident)) = (action, incident) else {
            return Err(CallbackError::Action);
        };
        let user = payload.user.ok_or(CallbackError::Form)?;
        let message = payload
            .container
            .and_then(|place| Some(format!("{}:{}", place.channel_id?, place.message_ts?)));
        Ok(Self {
            action,
            incident,
            user: text(user.id)?,
            user_name: user.username.or(user.name).map(text).transpose()?,
            team: payload.team.map(|team| text(team.id)).transpose()?,
            message: message.map(text).transpose()?,
        })
    }
}

/// A text of usual length, and not the empty one.
fn text(text: String) -> Result<String, CallbackError> {
    if text.is_empty() || text.chars().nth(MAX_TEXT).is_some() {
        return Err(CallbackError::Form);
    }
    Ok(text)
}
