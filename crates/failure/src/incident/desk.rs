//! What people do to incidents. Who may do it is asked before, by whoever has the caller.

use std::sync::Arc;

use arbiter_core::model::{AuditAction, IncidentId, IncidentState, PrincipalId};
use arbiter_core::ports::{Clock, NoticeStep, StoreError};
use tokio::sync::Notify;

use super::book::{Book, Writes};
use super::record::{IncidentRecord, OPEN, TimelineEvent};
use super::view::{Incident, IncidentFilter, IncidentPage};
use crate::records::{FailureError, Kept};

/// What can be done to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Take note of it: nobody further is called.
    Acknowledge,
    /// Work on it.
    Investigate,
    /// Say that what failed works again.
    Resolve,
    /// Say that it was looked back on.
    Close,
    /// Write something down.
    Note,
}

impl Move {
    /// The stable word of interfaces.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledged",
            Self::Investigate => "investigated",
            Self::Resolve => "resolved",
            Self::Close => "closed",
            Self::Note => "noted",
        }
    }

    /// Whether it can be done to an incident that stands so, and how that stands then. A move that was made already changes
    /// nothing, but is no error.
    pub const fn apply(self, state: IncidentState) -> Option<IncidentState> {
        match (self, state) {
            (Self::Note, state) => Some(state),
            (Self::Acknowledge, IncidentState::Open | IncidentState::Acknowledged) => {
                Some(IncidentState::Acknowledged)
            }
            (Self::Acknowledge | Self::Investigate, IncidentState::Investigating)
            | (Self::Investigate, IncidentState::Open | IncidentState::Acknowledged) => {
                Some(IncidentState::Investigating)
            }
            (
                Self::Resolve,
                IncidentState::Open
                | IncidentState::Acknowledged
                | IncidentState::Investigating
                | IncidentState::Resolved,
            ) => Some(IncidentState::Resolved),
            (Self::Close, IncidentState::Resolved | IncidentState::Closed) => Some(IncidentState::Closed),
            _ => None,
        }
    }
}

/// The longest reason or note, in characters.
const MAX_TEXT: usize = 1_000;
/// How often a change is tried that others come before.
const TRIES: usize = 8;

/// Reads incidents and does what people want done to them.
pub struct IncidentDesk {
    pub(crate) book: Book,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) changed: Arc<Notify>,
    pub(crate) notices: Arc<Notify>,
}

impl std::fmt::Debug for IncidentDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncidentDesk").finish_non_exhaustive()
    }
}

impl IncidentDesk {
    /// An incident.
    ///
    /// # Errors
    /// See [`FailureError`].
    pub async fn get(&self, id: IncidentId) -> Result<Incident, FailureError> {
        let kept = self.book.get(id).await?;
        let kept = kept.ok_or(FailureError::NotFound { what: "incident" })?;
        Ok(Incident::of(id, kept.body, kept.revision))
    }

    /// A page of incidents, the oldest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, filter: IncidentFilter) -> Result<IncidentPage, StoreError> {
        let limit = filter.limit.clamp(1, 200);
        let index = match (&filter.component, filter.state) {
            (Some(component), _) => Some(("component", component.to_string())),
            (None, Some(state)) => Some(("state", state.word().to_owned())),
            (None, None) if filter.open => Some((OPEN.0, OPEN.1.to_owned())),
            (None, None) => None,
        };
        let after = filter.after.map(|after| after.to_string());
        let kept = self
            .book
            .incidents
            .list::<IncidentRecord>(index, after, limit)
            .await?;
        let full = kept.len() >= limit;
        let mut page = IncidentPage::default();
        for kept in kept {
            let id: IncidentId = kept
                .id
                .parse()
                .map_err(|error| crate::records::corrupt("incident", error))?;
            page.next = full.then_some(id);
            let state = kept.body.state;
            let wanted = filter.state.is_none_or(|only| only == state) && (!filter.open || state.is_open());
            if wanted {
                page.incidents.push(Incident::of(id, kept.body, kept.revision));
            }
        }
        Ok(page)
    }

    /// Does something to an incident. `expected` is the revision that the caller read, if it must be that one.
    ///
    /// # Errors
    /// See [`FailureError`].
    ///
    /// # Cancel safety
    /// It may be done although the future is dropped; a repeat changes nothing then.
    pub async fn act(
        &self,
        id: IncidentId,
        what: Move,
        by: PrincipalId,
        why: &str,
        expected: Option<u64>,
    ) -> Result<Incident, FailureError> {
        if why.chars().count() > MAX_TEXT || (what == Move::Note && why.is_empty()) {
            return Err(FailureError::invalid(
                "why",
                format!("has up to {MAX_TEXT} characters, a note at least one"),
            ));
        }
        let mut found = 0;
        for _ in 0..TRIES {
            let kept = self.book.get(id).await?;
            let mut kept = kept.ok_or(FailureError::NotFound { what: "incident" })?;
            if expected.is_some_and(|expected| expected != kept.revision) {
                return Err(FailureError::Changed {
                    current: kept.revision,
                });
            }
            let state = kept.body.state;
            let Some(next) = what.apply(state) else {
                return Err(FailureError::Illegal {
                    state: state.word(),
                    asked: what.word(),
                });
            };
            if next == state && what != Move::Note {
                return Ok(Incident::of(id, kept.body, kept.revision));
            }
            let writes = self.writes(id, &mut kept, (what, next), by, why).await?;
            let told = !writes.outbox.is_empty();
            match self
                .book
                .commit(writes, Some(by))
                .await
                .map_err(FailureError::from)
            {
                Ok(()) => {
                    self.changed.notify_one();
                    if told {
                        self.notices.notify_one();
                    }
                    return Ok(Incident::of(id, kept.body, kept.revision + 1));
                }
                Err(FailureError::Changed { current }) => found = current,
                Err(error) => return Err(error),
            }
        }
        Err(FailureError::Changed { current: found })
    }

    async fn writes(
        &self,
        id: IncidentId,
        kept: &mut Kept<IncidentRecord>,
        (what, next): (Move, IncidentState),
        by: PrincipalId,
        why: &str,
    ) -> Result<Writes, StoreError> {
        let now = self.clock.now();
        let event = match what {
            Move::Resolve | Move::Close => return self.book.end(id, kept, next, Some(by), why, now).await,
            Move::Acknowledge => TimelineEvent::Acknowledged,
            Move::Investigate => TimelineEvent::Investigating,
            Move::Note => TimelineEvent::Note,
        };
        let was_open = kept.body.state == IncidentState::Open;
        kept.body.state = next;
        kept.body.tell(now, event, Some(by), why);
        let mut writes = Writes {
            actions: vec![AuditAction::IncidentAcknowledged],
            ..Writes::default()
        };
        if was_open && next != IncidentState::Open {
            kept.body.escalation.next_at = None;
            let told = kept.body.escalation.told.iter().cloned().collect();
            let step = Some(NoticeStep::Acknowledge);
            self.book
                .tell(&mut kept.body, id, told, step, why, now, &mut writes)?;
        }
        writes.documents.push(self.book.changed(kept)?);
        Ok(writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_follow_the_table() {
        use IncidentState::{Acknowledged, Closed, Investigating, Open, Resolved};
        let moves = [
            Move::Acknowledge,
            Move::Investigate,
            Move::Resolve,
            Move::Close,
            Move::Note,
        ];
        let table = [
            (
                Open,
                [
                    Some(Acknowledged),
                    Some(Investigating),
                    Some(Resolved),
                    None,
                    Some(Open),
                ],
            ),
            (
                Acknowledged,
                [
                    Some(Acknowledged),
                    Some(Investigating),
                    Some(Resolved),
                    None,
                    Some(Acknowledged),
                ],
            ),
            (
                Investigating,
                [
                    Some(Investigating),
                    Some(Investigating),
                    Some(Resolved),
                    None,
                    Some(Investigating),
                ],
            ),
            (
                Resolved,
                [None, None, Some(Resolved), Some(Closed), Some(Resolved)],
            ),
            (Closed, [None, None, None, Some(Closed), Some(Closed)]),
        ];
        assert_eq!(table.len(), IncidentState::ALL.len());
        for (state, expected) in table {
            assert_eq!(moves.map(|what| what.apply(state)), expected, "{state:?}");
        }
    }
}
