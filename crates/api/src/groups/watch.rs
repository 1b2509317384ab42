//! Following a task over server-sent events (WHATWG HTML, "Server-sent events").

use std::convert::Infallible;
use std::time::Duration;

use arbiter_core::model::{StoredTask, TaskId, Timestamp, Version};
use arbiter_core::ports::{Hint, HintStream};
use arbiter_queue::QueueError;
use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{FutureExt as _, select_biased, stream};
use http::{HeaderMap, HeaderName, StatusCode};

use super::tasks::task_id;
use crate::auth::{Caller, Shown};
use crate::failure::Failure;
use crate::state::Api;
use crate::view;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Hints may be lost: the task is looked at this often without one.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A comment this often keeps the connection alive through proxies.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn watch(
    State(api): State<Api>,
    Caller(caller): Caller,
    shown: Shown,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let id = task_id(&id)?;
    // Before the task is read, so that no change falls in between.
    let hints = api.parts().wakeups.subscribe();
    let stored = api.queue().watch(&caller, id).await?;
    let seen = seen(&headers) == Some(stored.task.version);
    if seen && stored.task.state.is_closed() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut following = Following {
        api,
        shown,
        hints,
        told: None,
        task: id,
        next: None,
    };
    if seen {
        following.tell(stored);
    } else {
        following.next = Some(stored);
    }
    let events = stream::unfold(following, |mut following| async move {
        let stored = following.next_change().await?;
        let event = Event::default()
            .event("task")
            .id(stored.task.version.0.to_string())
            .json_data(view::task(&stored))
            .unwrap_or_else(|_| Event::default().comment("a task that has no JSON form"));
        Some((Ok::<_, Infallible>(event), following))
    });
    // The comments are timed by the transport; nothing of the task depends on them.
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

/// The version that a client saw before it lost the connection.
fn seen(headers: &HeaderMap) -> Option<Version> {
    let text = headers.get(LAST_EVENT_ID)?.to_str().ok()?;
    text.trim().parse().ok().map(Version)
}

/// The task as it is now, if the caller would still be let in: its key may have been revoked, its tenant suspended, its
/// rights taken.
async fn look(api: &Api, shown: &Shown, task: TaskId) -> Result<StoredTask, QueueError> {
    let caller = shown.authenticate(api).await?;
    api.queue().watch(&caller, task).await
}

/// Whether a look failed for a reason that does not last.
fn is_passing(error: &QueueError) -> bool {
    matches!(
        error,
        QueueError::RateLimited { .. } | QueueError::Unavailable { .. } | QueueError::Internal { .. }
    )
}

struct Following {
    api: Api,
    /// What the caller showed: a stream ends when it would not be let in any more.
    shown: Shown,
    hints: Box<dyn HintStream>,
    /// The version and progress that were told last.
    told: Option<(Version, Option<Timestamp>, bool)>,
    next: Option<StoredTask>,
    task: TaskId,
}

impl Following {
    /// The task at its next change; none when there will be no other, or the node stops.
    async fn next_change(&mut self) -> Option<StoredTask> {
        if let Some(first) = self.next.take() {
            return Some(self.tell(first));
        }
        let (version, progress, closed) = self.told?;
        if closed {
            return None;
        }
        let id = self.task;
        loop {
            let clock = &self.api.parts().clock;
            let until = clock.monotonic() + LOOK_EVERY;
            select_biased! {
                () = self.api.parts().stop.wait().fuse() => return None,
                hints = self.hints.next().fuse() => {
                    let about = |hint: &Hint| matches!(hint, Hint::Task(task) if *task == id);
                    if !hints.is_empty() && !hints.iter().any(about) {
                        continue;
                    }
                }
                () = clock.sleep_until(until).fuse() => {}
            }
            let stored = match look(&self.api, &self.shown, id).await {
                Ok(stored) => stored,
                Err(error) if is_passing(&error) => continue,
                Err(_) => return None,
            };
            let told_at = stored.task.progress.as_ref().map(|told| told.at);
            if stored.task.version != version || told_at != progress {
                return Some(self.tell(stored));
            }
        }
    }

    fn tell(&mut self, stored: StoredTask) -> StoredTask {
        let task = &stored.task;
        self.told = Some((
            task.version,
            task.progress.as_ref().map(|told| told.at),
            task.state.is_closed(),
        ));
        stored
    }
}
