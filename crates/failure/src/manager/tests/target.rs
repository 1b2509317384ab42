//! A target that answers as it is told.

use std::collections::BTreeSet;
use std::sync::Mutex;

use arbiter_core::ports::{IncidentNotice, IncidentNotifier, NoticeStep, Notified, NotifyError};
use async_trait::async_trait;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Takes,
    Away,
    Refuses,
}

pub(super) struct Target(Mutex<(Mood, usize, Vec<IncidentNotice>)>);

impl Target {
    pub(super) fn new() -> Self {
        Self(Mutex::new((Mood::Takes, 0, Vec::new())))
    }

    pub(super) fn set(&self, mood: Mood) {
        self.0.lock().unwrap().0 = mood;
    }

    pub(super) fn tries(&self) -> usize {
        self.0.lock().unwrap().1
    }

    pub(super) fn told(&self) -> Vec<IncidentNotice> {
        self.0.lock().unwrap().2.clone()
    }

    pub(super) fn steps(&self) -> Vec<NoticeStep> {
        self.told().iter().map(|notice| notice.step).collect()
    }

    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.told().into_iter().map(|notice| notice.key).collect()
    }
}

#[async_trait]
impl IncidentNotifier for Target {
    async fn notify(&self, notice: &IncidentNotice) -> Result<Notified, NotifyError> {
        let mut state = self.0.lock().unwrap();
        state.1 += 1;
        match state.0 {
            Mood::Takes => {
                state.2.push(notice.clone());
                Ok(Notified {
                    reference: Some("its own".to_owned()),
                })
            }
            Mood::Away => Err(NotifyError::Later {
                status: Some(503),
                after: None,
                source: "away".into(),
            }),
            Mood::Refuses => Err(NotifyError::Refused {
                status: Some(400),
                message: "no".to_owned(),
            }),
        }
    }
}
