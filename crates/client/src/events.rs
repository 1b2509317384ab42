//! Following a task over server-sent events (WHATWG HTML, "Server-sent events").

mod parser;

use std::collections::VecDeque;
use std::time::Duration;

use arbiter_core::model::{StateName, TaskId};
use arbiter_core::ports::BoxError;
use arbiter_net::{Response, StatusCode};
use arbiter_wire::http::TaskView;
use futures_util::Stream;
use futures_util::stream;

use self::parser::{Event, Parser};
use crate::client::Client;
use crate::error::ClientError;
use crate::operations::WATCH;

/// How long the head of a stream may take.
const HEAD_WITHIN: Duration = Duration::from_secs(20);
/// How long to wait before a stream that broke is opened again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Gives a task at each of its changes, from its present state until it has ended.
///
/// A stream that breaks is opened again where it was, as often as the client tries calls again, counted from the last
/// change that was seen.
pub struct TaskWatch {
    client: Client,
    task: TaskId,
    stream: Option<Response>,
    parser: Parser,
    waiting: VecDeque<Event>,
    last_event: Option<String>,
    closed: bool,
    broken: u32,
}

impl TaskWatch {
    pub(crate) fn new(client: Client, task: TaskId) -> Self {
        Self {
            client,
            task,
            stream: None,
            parser: Parser::default(),
            waiting: VecDeque::new(),
            last_event: None,
            closed: false,
            broken: 0,
        }
    }

    /// The task at its next change; `None` when it has ended.
    ///
    /// # Errors
    /// [`ClientError`]; a later call goes on where the stream was.
    ///
    /// # Cancel safety
    /// Safe: no change is lost.
    pub async fn next(&mut self) -> Result<Option<TaskView>, ClientError> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                if let Some(task) = self.seen(event)? {
                    return Ok(Some(task));
                }
                continue;
            }
            if self.closed {
                return Ok(None);
            }
            let Some(stream) = &mut self.stream else {
                self.open().await?;
                continue;
            };
            match stream.chunk().await {
                Ok(Some(piece)) => {
                    let events = self.parser.feed(&piece).map_err(unreadable)?;
                    self.waiting.extend(events);
                }
                Ok(None) => self.again(None).await?,
                Err(error) => {
                    let error = ClientError::unanswered(WATCH.0, error);
                    self.again(Some(error)).await?;
                }
            }
        }
    }

    /// The same as a stream; it ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<TaskView, ClientError>> + Send {
        stream::try_unfold(self, |mut watch| async move {
            Ok(watch.next().await?.map(|task| (task, watch)))
        })
    }

    async fn open(&mut self) -> Result<(), ClientError> {
        let call = self.client.call(&WATCH, &[&self.task]);
        let mut call = call.header("accept", "text/event-stream").waits(HEAD_WITHIN);
        if let Some(last) = &self.last_event {
            call = call.header("last-event-id", last);
        }
        let stream = call.open().await?;
        self.parser = Parser::default();
        // What was seen last was the end.
        self.closed = stream.status() == StatusCode::NO_CONTENT;
        self.stream = Some(stream);
        Ok(())
    }

    /// Opens the stream again, after a while; gives up when that was done too often.
    async fn again(&mut self, error: Option<ClientError>) -> Result<(), ClientError> {
        self.stream = None;
        self.broken += 1;
        let tries = if self.client.once {
            0
        } else {
            self.client.shared.retries
        };
        if self.broken > tries {
            self.broken = 0;
            return Err(error.unwrap_or_else(|| unreadable("the stream ended before the task did".into())));
        }
        let clock = &self.client.shared.clock;
        clock.sleep_until(clock.monotonic() + AGAIN_AFTER).await;
        Ok(())
    }

    fn seen(&mut self, event: Event) -> Result<Option<TaskView>, ClientError> {
        if event.name != "task" {
            return Ok(None);
        }
        let task: TaskView = serde_json::from_str(&event.data).map_err(|error| unreadable(error.into()))?;
        self.last_event = event.id.or(self.last_event.take());
        self.broken = 0;
        self.closed = has_ended(&task.state);
        Ok(Some(task))
    }
}

fn unreadable(source: BoxError) -> ClientError {
    ClientError::Answer {
        operation: WATCH.0,
        status: StatusCode::OK.as_u16(),
        source,
    }
}

/// Whether a task in this state has ended. A state that a newer server knows has not, for all that is known.
fn has_ended(state: &str) -> bool {
    matches!(
        StateName::from_word(state),
        Some(StateName::Succeeded | StateName::Failed | StateName::Cancelled | StateName::DeadLettered)
    )
}

impl std::fmt::Debug for TaskWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskWatch")
            .field("task", &self.task)
            .field("last_event", &self.last_event)
            .finish_non_exhaustive()
    }
}
