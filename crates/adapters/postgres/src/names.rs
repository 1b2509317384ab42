//! Names of declared values, which the ports want for the length of the program.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps each name once. There are as many as the program's aggregates declare, so what is kept is bounded by them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Arc<Mutex<BTreeSet<&'static str>>>);

impl Names {
    pub(crate) fn keep(&self, name: &str) -> &'static str {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = names.get(name) {
            return kept;
        }
        let kept: &'static str = Box::leak(name.into());
        names.insert(kept);
        kept
    }
}
