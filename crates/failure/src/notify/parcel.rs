//! What stands in the outbox for one target: which step of which incident. What is told of the incident is read when it is
//! told, so that a target that was away hears how things stand, not how they stood.

use arbiter_core::model::{IncidentId, Timestamp};
use arbiter_core::ports::NoticeStep;
use serde::{Deserialize, Serialize};

/// The topic of notices in the outbox.
pub const TOPIC: &str = "incident";

/// The stored form, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parcel {
    pub(crate) version: u32,
    #[serde(with = "crate::word::as_text")]
    pub(crate) incident: IncidentId,
    pub(crate) target: String,
    #[serde(with = "crate::word::as_word")]
    pub(crate) step: NoticeStep,
    /// The number of the notice within its incident.
    pub(crate) number: u32,
    #[serde(with = "crate::word::as_micros")]
    pub(crate) at: Timestamp,
    pub(crate) why: String,
}

impl Parcel {
    /// The version that is written here.
    pub(crate) const VERSION: u32 = 1;
}
