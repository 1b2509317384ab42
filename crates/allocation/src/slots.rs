//! Counting slots in memory, for embedders without a task store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arbiter_core::ports::Scope;

/// What is taken up of each scope.
#[derive(Debug, Default)]
pub struct Slots(Mutex<BTreeMap<Scope, u32>>);

impl Slots {
    /// Nothing is taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one of each scope, if all have room; else says which is full, and takes nothing.
    ///
    /// # Errors
    /// The first full scope.
    pub fn take(&self, loads: &[(Scope, u32)]) -> Result<(), Scope> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = loads
            .iter()
            .find(|(scope, limit)| used.get(scope).copied().unwrap_or(0) >= *limit);
        if let Some((scope, _)) = full {
            return Err(scope.clone());
        }
        for (scope, _) in loads {
            *used.entry(scope.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Gives one of each scope back. Gives those of which nothing was taken: releasing twice is harmless, and told.
    pub fn give_back(&self, scopes: &[Scope]) -> Vec<Scope> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unknown = Vec::new();
        for scope in scopes {
            match used.get_mut(scope) {
                Some(1) => {
                    used.remove(scope);
                }
                Some(count) => *count -= 1,
                None => unknown.push(scope.clone()),
            }
        }
        unknown
    }

    /// How many of a scope are taken.
    pub fn used(&self, scope: &Scope) -> u32 {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(scope)
            .copied()
            .unwrap_or(0)
    }
}
