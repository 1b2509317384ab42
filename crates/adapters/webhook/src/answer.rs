//! What the answers of a notifier's target mean.

use arbiter_core::ports::{Notified, NotifyError};
use arbiter_net::WholeResponse;
use arbiter_net::notice::Judge;

/// The answer of the receiver of a signed message: any 2xx takes it.
pub(crate) fn receiver(judge: Judge<'_>, answer: &WholeResponse) -> Result<Notified, NotifyError> {
    if answer.status.is_success() {
        return Ok(Notified::default());
    }
    Err(judge.not_taken(answer, &String::from_utf8_lossy(&answer.body)))
}

/// The answer of an Alertmanager: 200 takes the alerts; its errors are JSON texts.
pub(crate) fn alertmanager(judge: Judge<'_>, answer: &WholeResponse) -> Result<Notified, NotifyError> {
    if answer.status.as_u16() == 200 {
        return Ok(Notified::default());
    }
    let words: Option<String> = serde_json::from_slice(&answer.body).ok();
    let words = words.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
    Err(judge.not_taken(answer, &words))
}
