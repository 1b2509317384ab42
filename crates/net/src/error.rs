//! How a request fails, and the only mapping of the driver's errors.

use std::error::Error;
use std::io;
use std::time::Duration;

use arbiter_core::ports::{Applied, BoxError, Retry};
use arbiter_layers::{Classify, Stopped};

use crate::connect::ConnectError;
use crate::egress::Denied;
use crate::redirect::RedirectError;
use crate::url::InvalidUrl;

/// Why there is no answer. Texts name the origin at most, never a path, a query, a header or a body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The address is none that can be asked.
    #[error("the address cannot be asked")]
    Url(#[from] InvalidUrl),
    /// A header's name or value cannot be sent.
    #[error("the header `{name}` cannot be sent: names are tokens, values visible text")]
    Header {
        /// The name as it was given.
        name: String,
    },
    /// The body is larger than allowed.
    #[error("the body to send is larger than {limit_bytes} bytes")]
    RequestTooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The content to send cannot be read.
    #[error("the content to send cannot be read")]
    Content {
        /// Why.
        source: BoxError,
    },
    /// The headers are larger than allowed.
    #[error("the headers to send are larger than {limit_bytes} bytes")]
    RequestHeadersTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The egress policy does not permit the connection.
    #[error(transparent)]
    Denied(Denied),
    /// There is no connection.
    #[error("no connection to {origin}")]
    Connect {
        /// Scheme, host and port.
        origin: String,
        /// Why.
        source: ConnectError,
    },
    /// Something did not come in time.
    #[error("{origin} did not send {waited} within {} ms", after.as_millis())]
    Timeout {
        /// Scheme, host and port.
        origin: String,
        /// What was waited for.
        waited: Waited,
        /// The limit.
        after: Duration,
    },
    /// The connection ended before the answer was complete.
    #[error("{origin} ended the connection before its answer was complete")]
    Truncated {
        /// Scheme, host and port.
        origin: String,
        /// How.
        source: BoxError,
    },
    /// The answer's body is larger than allowed.
    #[error("the answer of {origin} is larger than {limit_bytes} bytes")]
    ResponseTooLarge {
        /// Scheme, host and port.
        origin: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The answer's head is larger than allowed.
    #[error("the head of the answer of {origin} is larger than allowed")]
    ResponseHeadersTooLarge {
        /// Scheme, host and port.
        origin: String,
    },
    /// A redirect was not followed.
    #[error("{origin} redirects to where it is not followed")]
    Redirect {
        /// Scheme, host and port.
        origin: String,
        /// Why not.
        source: RedirectError,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the exchange with {origin} broke off")]
    Exchange {
        /// Scheme, host and port.
        origin: String,
        /// How.
        source: BoxError,
    },
    /// The client's guard ended the call.
    #[error("the request was ended by its guard")]
    Stopped(#[source] Stopped),
}

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The whole answer, or its head when the body is read piece by piece.
    Answer,
    /// The next piece of the body.
    Piece,
}

impl std::fmt::Display for Waited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Answer => "an answer",
            Self::Piece => "the next piece of its answer",
        })
    }
}

impl NetError {
    /// Whether the request cannot be sent as it is, however often it is tried.
    pub const fn is_unsendable(&self) -> bool {
        matches!(
            self,
            Self::Url(_)
                | Self::Header { .. }
                | Self::RequestTooLarge { .. }
                | Self::RequestHeadersTooLarge { .. }
                | Self::Denied(_)
        )
    }

    /// Whether the other side may have acted on the request.
    pub const fn applied(&self) -> Applied {
        match self {
            Self::Url(_)
            | Self::Header { .. }
            | Self::RequestTooLarge { .. }
            | Self::Content { .. }
            | Self::RequestHeadersTooLarge { .. }
            | Self::Denied(_)
            | Self::Connect { .. } => Applied::No,
            Self::Stopped(stopped) => stopped.applied(),
            Self::Timeout { .. }
            | Self::Truncated { .. }
            | Self::ResponseTooLarge { .. }
            | Self::ResponseHeadersTooLarge { .. }
            | Self::Redirect { .. }
            | Self::Exchange { .. } => Applied::Unknown,
        }
    }
}

impl Classify for NetError {
    fn retry(&self) -> Retry {
        match self {
            Self::Connect { source, .. } => connect_retry(source),
            Self::Timeout { .. } | Self::Truncated { .. } | Self::Exchange { .. } => Retry::Transient,
            Self::Stopped(stopped) => stopped.retry(),
            _ => Retry::Permanent,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Stopped(stopped) => stopped.retry_after(),
            _ => None,
        }
    }

    fn counts_as_failure(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Truncated { .. }
            | Self::ResponseHeadersTooLarge { .. }
            | Self::Exchange { .. } => true,
            Self::Stopped(stopped) => stopped.counts_as_failure(),
            _ => false,
        }
    }
}

fn connect_retry(error: &ConnectError) -> Retry {
    match error {
        ConnectError::Resolve(_) | ConnectError::Tcp(_) | ConnectError::Timeout { .. } => Retry::Transient,
        // rustls reports what is wrong with certificates and protocol as invalid data
        ConnectError::Tls(error) if error.kind() != io::ErrorKind::InvalidData => Retry::Transient,
        _ => Retry::Permanent,
    }
}

/// An error of the pool or the protocol, before there was a head.
pub(crate) fn from_client(origin: &str, error: hyper_util::client::legacy::Error) -> NetError {
    let origin = origin.to_owned();
    if let Some(source) = find::<ConnectError>(&error) {
        return match source.clone() {
            ConnectError::Denied(denied) => NetError::Denied(denied),
            ConnectError::Url(invalid) => NetError::Url(invalid),
            source => NetError::Connect { origin, source },
        };
    }
    match find::<hyper::Error>(&error) {
        Some(inner) if inner.is_parse_too_large() => NetError::ResponseHeadersTooLarge { origin },
        Some(inner) if inner.is_incomplete_message() => NetError::Truncated {
            origin,
            source: Box::new(error),
        },
        _ => NetError::Exchange {
            origin,
            source: Box::new(error),
        },
    }
}

/// An error in the middle of a body.
pub(crate) fn from_body(origin: &str, error: hyper::Error) -> NetError {
    let origin = origin.to_owned();
    let ended = error.is_incomplete_message()
        || find::<io::Error>(&error).is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    let source = Box::new(error);
    if ended {
        NetError::Truncated { origin, source }
    } else {
        NetError::Exchange { origin, source }
    }
}

/// The first error of a type in a chain of sources.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
