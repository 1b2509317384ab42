//! Incidents: one open incident for each component and kind, its time line, and what people do to it.

mod book;
mod desk;
mod record;
mod view;

pub(crate) use book::{Book, BookPorts, Cause, Writes};
pub use desk::{IncidentDesk, Move};
pub(crate) use record::{IncidentRecord, OPEN, cut, notice_key};
pub use record::{TimelineEntry, TimelineEvent};
pub use view::{Incident, IncidentFilter, IncidentPage};
