//! What PagerDuty calls back.
//!
//! Source: PagerDuty, "Webhooks overview", version 3: the envelope `event`, its types and the incident in `data`.

use arbiter_core::model::Timestamp;
use serde::Deserialize;

use crate::signature::{CallbackError, MAX_CALLBACK_BYTES};

/// The longest id, key or name, in characters. Longer ones are no delivery of PagerDuty's.
const MAX_TEXT: usize = 1_024;

/// What happened to an incident at PagerDuty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagerDutyCallback {
    /// Names the event; repeats of a delivery carry the same one.
    pub id: String,
    /// What happened.
    pub action: CallbackAction,
    /// The `dedup_key` that the incident was opened with; absent for incidents that were opened otherwise and for events
    /// that are about none.
    pub key: Option<String>,
    /// PagerDuty's own id of the incident; absent where the event is about none.
    pub incident: Option<String>,
    /// Who did it; absent where PagerDuty did it by itself.
    pub who: Option<Person>,
    /// When.
    pub occurred_at: Timestamp,
}

/// Who did something at PagerDuty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// PagerDuty's id of the user or the service.
    pub id: String,
    /// The name.
    pub name: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallbackAction {
    /// The incident was opened.
    Triggered,
    /// Somebody took note.
    Acknowledged,
    /// The note was taken back, or ran out.
    Unacknowledged,
    /// It was ended.
    Resolved,
    /// It was opened again.
    Reopened,
    /// Somebody tests the subscription.
    Ping,
    /// Something else, by PagerDuty's word.
    Other(String),
}

impl CallbackAction {
    fn of(event_type: String) -> Self {
        match event_type.as_str() {
            "incident.triggered" => Self::Triggered,
            "incident.acknowledged" => Self::Acknowledged,
            "incident.unacknowledged" => Self::Unacknowledged,
            "incident.resolved" => Self::Resolved,
            "incident.reopened" => Self::Reopened,
            "pagey.ping" => Self::Ping,
            _ => Self::Other(event_type),
        }
    }
}

#[derive(Deserialize)]
struct Delivery {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "event_type")]
    sort: String,
    occurred_at: String,
    agent: Option<Agent>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Agent {
    id: String,
    summary: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "type")]
    sort: Option<String>,
    id: Option<String>,
    incident_key: Option<String>,
}

impl PagerDutyCallback {
    /// Reads a delivery whose signature was checked; [`PagerDutySignature::open`](crate::PagerDutySignature::open) does
    /// both.
    ///
    /// # Errors
    /// [`CallbackError::TooLarge`], or [`CallbackError::Form`] if it is no delivery.
    pub fn parse(body: &[u8]) -> Result<Self, CallbackError> {
        if body.len() > MAX_CALLBACK_BYTES {
            return Err(CallbackError::TooLarge);
        }
        let delivery: Delivery = serde_json::from_slice(body).map_err(|_| CallbackError::Form)?;
        let Event {
            id,
            sort,
            occurred_at,
            agent,
            data,
        } = delivery.event;
        let data = data.filter(|data| data.sort.as_deref() == Some("incident"));
        let (incident, key) = data.map_or((None, None), |data| (data.id, data.incident_key));
        Ok(Self {
            id: text(id)?,
            action: CallbackAction::of(text(sort)?),
            key: key.filter(|key| !key.is_empty()).map(text).transpose()?,
            incident: incident.map(text).transpose()?,
            who: agent.map(person).transpose()?,
            occurred_at: occurred_at.parse().map_err(|_| CallbackError::Form)?,
        })
    }
}

fn person(agent: Agent) -> Result<Person, CallbackError> {
    Ok(Person {
        id: text(agent.id)?,
        name: agent.summary.map(text).transpose()?,
    })
}

/// A text of usual length, and not the empty one.
fn text(text: String) -> Result<String, CallbackError> {
    if text.is_empty() || text.chars().nth(MAX_TEXT).is_some() {
        return Err(CallbackError::Form);
    }
    Ok(text)
}
