//! Choosers with one fixed behaviour each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_core::model::{Holder, TaskId, Timestamp};
use arbiter_core::ports::{Candidate, Choice, Chooser, Scope};

/// Gives every candidate to one holder.
#[derive(Debug, Clone)]
pub struct AssignAll {
    /// The holder.
    pub to: Holder,
    /// Whether it has taken the tasks already.
    pub acknowledged: bool,
    /// What each lease takes up, with the limit of each scope.
    pub loads: Vec<(Scope, u32)>,
}

impl AssignAll {
    /// Gives every candidate to a holder that has taken it already and counts nothing.
    pub const fn to(holder: Holder) -> Self {
        Self {
            to: holder,
            acknowledged: true,
            loads: Vec::new(),
        }
    }

    fn choice(&self) -> Choice {
        Choice {
            to: self.to,
            acknowledged: self.acknowledged,
            loads: self.loads.clone(),
            decision: None,
        }
    }
}

impl Chooser for AssignAll {
    fn choose(&self, candidates: &[Candidate], _: Timestamp) -> Vec<Option<Choice>> {
        candidates.iter().map(|_| Some(self.choice())).collect()
    }
}

/// Gives some tasks to whom a map says and leaves the others in their lanes.
#[derive(Debug, Clone, Default)]
pub struct Fixed(pub BTreeMap<TaskId, Choice>);

impl Chooser for Fixed {
    fn choose(&self, candidates: &[Candidate], _: Timestamp) -> Vec<Option<Choice>> {
        candidates
            .iter()
            .map(|candidate| self.0.get(&candidate.task).cloned())
            .collect()
    }
}

/// Panics.
#[derive(Debug, Clone, Copy, Default)]
pub struct Panicking;

impl Chooser for Panicking {
    #[expect(
        clippy::panic,
        reason = "this chooser shows what a store does with one that panics"
    )]
    fn choose(&self, _: &[Candidate], _: Timestamp) -> Vec<Option<Choice>> {
        panic!("a chooser that panics on purpose")
    }
}

/// Gives one answer more than there are candidates, all of them to one holder.
#[derive(Debug, Clone)]
pub struct WrongLength(pub AssignAll);

impl Chooser for WrongLength {
    fn choose(&self, candidates: &[Candidate], now: Timestamp) -> Vec<Option<Choice>> {
        let mut choices = self.0.choose(candidates, now);
        choices.push(None);
        choices
    }
}

/// Passes on what another chooser says and keeps what it was asked.
pub struct RecordingChooser {
    inner: Arc<dyn Chooser>,
    asked: Mutex<Vec<Vec<Candidate>>>,
}

impl RecordingChooser {
    /// Records what `inner` is asked.
    pub fn new(inner: Arc<dyn Chooser>) -> Self {
        Self {
            inner,
            asked: Mutex::default(),
        }
    }

    /// The candidates of each call so far.
    pub fn asked(&self) -> Vec<Vec<Candidate>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl std::fmt::Debug for RecordingChooser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingChooser").finish_non_exhaustive()
    }
}

impl Chooser for RecordingChooser {
    fn choose(&self, candidates: &[Candidate], now: Timestamp) -> Vec<Option<Choice>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(candidates.to_vec());
        drop(asked);
        self.inner.choose(candidates, now)
    }
}
