//! What every call passes: its id, its trace, limits of number and time, the form of errors, security headers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arbiter_core::model::TraceContext;
use axum::Json;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use crate::body::within;
use crate::failure::{Failure, Told};
use crate::rates::{self, CalledBy};
use crate::routes::{OperationId, Pace};
use crate::state::Api;

/// Names a request, in the log and in answers.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C Trace Context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest header that an operation looks at, in bytes.
pub(crate) const HEADER_CHARS: usize = 255;
/// The longest part of a path, in characters.
pub(crate) const SEGMENT_CHARS: usize = 200;
/// Headers that operations look at.
const LOOKED_AT: [&str; 3] = ["if-match", "idempotency-key", "last-event-id"];

/// Headers of every answer: nothing here is meant to be framed, sniffed, cached or referred to.
const SECURITY: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// The outermost layer.
pub(crate) async fn outer(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let by = CalledBy::default();
    request.extensions_mut().insert(by.clone());
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|value| is_request_id(value.as_bytes()))
        .cloned()
        .or_else(|| HeaderValue::from_str(&api.parts().ids.command().to_string()).ok());
    let trace = request
        .headers()
        .get(&TRACEPARENT)
        .and_then(|value| TraceContext::parse(value.to_str().ok()?).ok());
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(String::new, |path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = tracing::info_span!(
        "http",
        http.request.method = %method,
        http.route = path,
        request.id = id.as_ref().and_then(|id| id.to_str().ok()),
        traceparent = trace.as_ref().map(TraceContext::as_str),
    );
    let started = api.parts().clock.monotonic();
    let mut response = next.run(request).instrument(span.clone()).await;
    let elapsed = api.parts().clock.monotonic().saturating_sub(started);
    if let Some(Told(mut problem)) = response.extensions_mut().remove::<Told>() {
        problem.request_id = id.as_ref().and_then(|id| id.to_str().ok()).map(str::to_owned);
        response = written(&response, problem);
    }
    let operation = response
        .extensions()
        .get::<OperationId>()
        .map_or("none", |operation| operation.0);
    let status = response.status();
    api.parts().metrics.count(
        "http.server.requests_total",
        &[("operation", operation), ("status", status.as_str())],
        1,
    );
    api.parts().metrics.observe(
        "http.server.request_seconds",
        &[("operation", operation)],
        elapsed.as_secs_f64(),
    );
    tracing::debug!(parent: &span, event = "call_answered", status = status.as_u16(), duration_ms = elapsed.as_millis() as u64, "a call was answered");
    let headers = response.headers_mut();
    rates::tell(headers, api.queue(), &by, operation);
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(trace) = trace
        .as_ref()
        .and_then(|trace| HeaderValue::from_str(trace.as_str()).ok())
    {
        headers.insert(TRACEPARENT, trace);
    }
    response
}

/// Writes a problem in place of an empty answer.
fn written(empty: &Response, problem: Box<arbiter_wire::http::Problem>) -> Response {
    let status = empty.status();
    let retry_after = problem.retry_after_ms;
    let challenge = problem.code == "auth_failed";
    let mut response = (status, Json(problem)).into_response();
    response.extensions_mut().extend(empty.extensions().clone());
    let allowed = empty.headers().get(header::ALLOW).cloned();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(arbiter_wire::http::Problem::MEDIA_TYPE),
    );
    if let Some(millis) = retry_after {
        // Whole seconds, rounded up: a caller that comes back too early is refused again.
        headers.insert(
            header::RETRY_AFTER,
            HeaderValue::from(millis.div_ceil(1_000).max(1)),
        );
    }
    if challenge {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(allowed) = allowed {
        headers.insert(header::ALLOW, allowed);
    }
    response
}

fn is_request_id(bytes: &[u8]) -> bool {
    (1..=128).contains(&bytes.len())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

/// Bounds the number of calls under way, and the time of each that does not wait for something.
pub(crate) async fn bounded(State(pace): State<Pace>, request: Request, next: Next) -> Response {
    let operation = request.extensions().get::<OperationId>().copied();
    let Some(api) = request.extensions().get::<Api>().cloned() else {
        return Failure::new("internal", "internal error; the server's log says more").into_response();
    };
    let mut response = match well_sized(&request) {
        Ok(()) => limited(&api, pace, request, next).await,
        Err(failure) => failure.into_response(),
    };
    if let Some(operation) = operation {
        response.extensions_mut().insert(operation);
    }
    response
}

/// Refuses what the document calls too long, before anybody looks at it.
fn well_sized(request: &Request) -> Result<(), Failure> {
    let long_segment = |segment: &str| {
        // An escaped byte takes three characters, and a character up to four bytes.
        segment.len() > SEGMENT_CHARS && percent_decoded_chars(segment) > SEGMENT_CHARS
    };
    if request.uri().path().split('/').any(long_segment) {
        return Err(Failure::not_found());
    }
    let long = LOOKED_AT.iter().find(|name| {
        let values = request.headers().get_all(**name);
        values.iter().any(|value| value.len() > HEADER_CHARS)
    });
    match long {
        Some(name) => Err(Failure::new(
            "invalid_request",
            format!("the header `{name}` has more than {HEADER_CHARS} bytes"),
        )),
        None => Ok(()),
    }
}

/// How many characters an escaped text has: those bytes that begin one.
fn percent_decoded_chars(text: &str) -> usize {
    let (mut count, mut bytes) = (0, text.bytes());
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).unwrap_or(0);
            let (high, low) = (digit(bytes.next()), digit(bytes.next()));
            (high * 16 + low) as u8
        } else {
            byte
        };
        count += usize::from(byte & 0b1100_0000 != 0b1000_0000);
    }
    count
}

async fn limited(api: &Api, pace: Pace, request: Request, next: Next) -> Response {
    let places = match pace {
        Pace::Prompt => &api.0.calls,
        Pace::Waits => &api.0.waiting,
    };
    let Some(permit) = take(places) else {
        let mut problem =
            arbiter_wire::http::Problem::new("unavailable", "too many calls are under way; try again later");
        problem.retry_after_ms = Some(1_000);
        return Failure::of(problem).into_response();
    };
    match pace {
        Pace::Prompt => {
            let answered = within(api, api.settings().call_timeout, next.run(request)).await;
            held(
                answered.unwrap_or_else(|| overdue(api.settings().call_timeout)),
                permit,
            )
        }
        Pace::Waits => held(next.run(request).await, permit),
    }
}

/// How much of an answer is handed to the connection at once.
const PIECE_BYTES: usize = 64 * 1024;

/// An answer keeps its place until its reader has taken it: what is not taken yet is kept in memory.
fn held(response: Response, permit: OwnedSemaphorePermit) -> Response {
    response.map(|body| {
        Body::new(Held {
            body,
            left: Bytes::new(),
            _permit: permit,
        })
    })
}

/// A body in pieces, with the place that it keeps. In one piece it would be the connection's at once, and the place
/// free.
struct Held {
    body: Body,
    /// What is left of the piece that came last.
    left: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.left.is_empty() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => self.left = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let size = self.left.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.left.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, rest) = (self.left.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(left));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(left));
        }
        hint
    }
}

fn take(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(places).try_acquire_owned().ok()
}

fn overdue(limit: Duration) -> Response {
    let mut problem = arbiter_wire::http::Problem::new(
        "unavailable",
        format!(
            "the call took longer than {} s and may have taken effect; send it again with the same ids",
            limit.as_secs()
        ),
    );
    problem.retry_after_ms = Some(1_000);
    Failure::of(problem).into_response()
}
