//! Answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::Clock;
use arbiter_layers::within;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::error::{NetError, Waited, from_body};

/// An answer whose body is read piece by piece, within the client's limit of size and time per piece.
///
/// Dropping it before its end gives the connection up.
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    origin: String,
    read: u64,
    limits: Limits,
}

/// What bounds the reading of a body.
#[derive(Clone)]
pub(crate) struct Limits {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) max_bytes: u64,
    pub(crate) chunk_timeout: Duration,
}

impl Response {
    pub(crate) fn new(answer: http::Response<Incoming>, origin: String, limits: Limits) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            origin,
            read: 0,
            limits,
        }
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`NetError::ResponseTooLarge`] as soon as the body goes over the limit, [`NetError::Timeout`] when no piece came in
    /// time, [`NetError::Truncated`] when it ended too early, [`NetError::Exchange`] when the connection broke. After an
    /// error there are no more pieces.
    ///
    /// # Cancel safety
    /// Safe: no piece is lost.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        loop {
            let after = self.limits.chunk_timeout;
            let frame = within(&*self.limits.clock, Some(after), self.body.frame()).await;
            let timeout = |_| NetError::Timeout {
                origin: self.origin.clone(),
                waited: Waited::Piece,
                after,
            };
            let Some(frame) = frame.map_err(timeout)? else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| from_body(&self.origin, error))?;
            // trailers are left out
            let Ok(piece) = frame.into_data() else { continue };
            self.read = self.read.saturating_add(piece.len() as u64);
            self.within_limit(self.read)?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// Reads the body to its end.
    ///
    /// # Errors
    /// As [`Self::chunk`]; a body whose announced length is over the limit is not read at all.
    ///
    /// # Cancel safety
    /// Safe: what was read is lost with the answer.
    pub async fn whole(mut self) -> Result<WholeResponse, NetError> {
        let announced = self
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        self.within_limit(announced.unwrap_or(0))?;
        let mut body = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            body.extend_from_slice(&piece);
        }
        Ok(WholeResponse {
            status: self.status,
            headers: self.headers,
            body: body.freeze(),
        })
    }

    fn within_limit(&self, bytes: u64) -> Result<(), NetError> {
        if bytes <= self.limits.max_bytes {
            return Ok(());
        }
        Err(NetError::ResponseTooLarge {
            origin: self.origin.clone(),
            limit_bytes: self.limits.max_bytes,
        })
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// An answer with its whole body.
#[derive(Clone, PartialEq, Eq)]
pub struct WholeResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl WholeResponse {
    /// A header as text; `None` when it is absent or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Debug for WholeResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeResponse")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
