//! How the registry stands.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How the registry stands, as the latest calls have shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryStatus {
    /// How long ago it last answered; none when it never did.
    pub answered: Option<Duration>,
    /// Why the latest call failed; none when it did not.
    pub problem: Option<String>,
}

/// Notes how calls end.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<(Option<Duration>, Option<String>)>);

impl Standing {
    pub(crate) fn answered(&self, now: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Some(now), None);
    }

    pub(crate) fn failed(&self, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(why);
    }

    pub(crate) fn status(&self, now: Duration) -> RegistryStatus {
        let (answered, problem) = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        RegistryStatus {
            answered: answered.map(|at| now.saturating_sub(at)),
            problem,
        }
    }
}
