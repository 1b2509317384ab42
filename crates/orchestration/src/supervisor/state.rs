//! How services stand.

use std::sync::{Mutex, PoisonError};

/// How a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has not been started yet.
    Waiting,
    /// It runs.
    Running,
    /// It crashed and is started again after a while.
    Restarting {
        /// How often it crashed in a row.
        crashes: u32,
    },
    /// It was told to stop, and has ended.
    Stopped,
}

/// One service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceState {
    /// Its name.
    pub name: &'static str,
    /// How it stands.
    pub standing: Standing,
}

/// All services, in the order of starting.
pub(super) struct States(Mutex<Vec<ServiceState>>);

impl States {
    pub(super) fn new(names: Vec<&'static str>) -> Self {
        let waiting = |name| ServiceState {
            name,
            standing: Standing::Waiting,
        };
        Self(Mutex::new(names.into_iter().map(waiting).collect()))
    }

    pub(super) fn set(&self, name: &'static str, standing: Standing) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for state in states.iter_mut().filter(|state| state.name == name) {
            state.standing = standing;
        }
    }

    pub(super) fn all(&self) -> Vec<ServiceState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
