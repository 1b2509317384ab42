//! The client.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::{Clock, Entropy, Metrics, Retry, Spawner};
use arbiter_layers::{Classify, Guard, GuardError, GuardPorts, within};
use http::{HeaderMap, StatusCode};

use crate::config::{HttpClientConfig, InvalidConfig};
use crate::error::{NetError, Waited};
use crate::exchange::Exchange;
use crate::request::Request;
use crate::resolve::Resolve;
use crate::response::{Response, WholeResponse};
use crate::retry_after::retry_after;

/// Sends requests. Made once per other side and shared: connections, places, budget and breaker belong to it.
///
/// Needs a tokio runtime with I/O and time.
pub struct HttpClient {
    exchange: Exchange,
    guard: Guard,
    clock: Arc<dyn Clock>,
}

/// What a client needs from outside.
#[derive(Clone)]
pub struct HttpPorts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
    /// Measurements.
    pub metrics: Arc<dyn Metrics>,
    /// Runs the connections.
    pub spawner: Arc<dyn Spawner>,
    /// Names to addresses.
    pub resolver: Arc<dyn Resolve>,
}

impl std::fmt::Debug for HttpPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpPorts").finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client without connections.
    ///
    /// # Errors
    /// [`InvalidConfig`] names what cannot work.
    pub fn new(config: &HttpClientConfig, ports: HttpPorts) -> Result<Self, InvalidConfig> {
        let exchange = Exchange::new(config, &ports)?;
        let guard = Guard::new(
            config.name,
            config.guard,
            GuardPorts {
                clock: Arc::clone(&ports.clock),
                entropy: ports.entropy,
                metrics: ports.metrics,
            },
        )?;
        Ok(Self {
            exchange,
            guard,
            clock: ports.clock,
        })
    }

    /// The guard around all requests.
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Whether it tries requests again. Only one on the way of a call may.
    pub const fn owns_retries(&self) -> bool {
        self.guard.owns_retries()
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// Answers of status 429, 502, 503 and 504 are reasons to try again, those of 500 and above failures for the breaker;
    /// the last one is given like every other answer.
    ///
    /// # Errors
    /// [`NetError`] when there is no complete answer.
    ///
    /// # Cancel safety
    /// The other side may act on the request although the future is dropped.
    pub async fn send(&self, request: Request) -> Result<WholeResponse, NetError> {
        self.guarded(&request, || async {
            self.exchange.send(&request).await?.whole().await
        })
        .await
    }

    /// Sends a request and gives the answer as soon as its head is there; the body is read piece by piece.
    ///
    /// For the guard the call ends with the head: its time-outs do not bound the body, and an open body holds no place.
    ///
    /// # Errors
    /// [`NetError`] when there is no head.
    ///
    /// # Cancel safety
    /// As [`Self::send`].
    pub async fn open(&self, request: Request) -> Result<Response, NetError> {
        self.guarded(&request, || self.exchange.send(&request)).await
    }

    async fn guarded<T, F, Fut>(&self, request: &Request, exchange: F) -> Result<T, NetError>
    where
        T: Head,
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, NetError>>,
    {
        self.exchange.check(request)?;
        let attempt = || async {
            let after = request.timeout;
            let timeout = |_| NetError::Timeout {
                origin: request.url.origin(),
                waited: Waited::Answer,
                after: after.unwrap_or_default(),
            };
            let response = within(&*self.clock, after, Box::pin(exchange()))
                .await
                .map_err(timeout)
                .flatten()
                .map_err(Failed::Net)?;
            tracing::debug!(
                method = %request.method,
                url = request.shown_url(),
                status = response.status().as_u16(),
                "answered"
            );
            self.judged(response)
        };
        let result = if request.repeatable {
            self.guard.call(request.operation, attempt).await
        } else {
            self.guard.once(request.operation, attempt()).await
        };
        match result {
            Ok(response) | Err(GuardError::Call(Failed::Answered { response, .. })) => Ok(response),
            Err(GuardError::Call(Failed::Net(error))) => Err(error),
            Err(GuardError::Stopped(stopped)) => Err(NetError::Stopped(stopped)),
        }
    }

    /// An answer that speaks against the other side's health is a failure for the guard.
    fn judged<T: Head>(&self, response: T) -> Result<T, Failed<T>> {
        let status = response.status();
        if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
            return Ok(response);
        }
        Err(Failed::Answered {
            retry_after: retry_after(response.headers(), self.clock.now()),
            response,
        })
    }
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient")
            .field("guard", &self.guard)
            .finish_non_exhaustive()
    }
}

/// What both kinds of answer have.
trait Head {
    fn status(&self) -> StatusCode;
    fn headers(&self) -> &HeaderMap;
}

impl Head for Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }
}

impl Head for WholeResponse {
    fn status(&self) -> StatusCode {
        self.status
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// A failed attempt, as the guard sees it.
enum Failed<T> {
    Net(NetError),
    Answered {
        response: T,
        retry_after: Option<Duration>,
    },
}

impl<T: Head> Classify for Failed<T> {
    fn retry(&self) -> Retry {
        match self {
            Self::Net(error) => error.retry(),
            Self::Answered { response, .. } => match response.status().as_u16() {
                429 | 502..=504 => Retry::Transient,
                _ => Retry::Permanent,
            },
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Net(error) => error.retry_after(),
            Self::Answered { retry_after, .. } => *retry_after,
        }
    }

    fn counts_as_failure(&self) -> bool {
        match self {
            Self::Net(error) => error.counts_as_failure(),
            Self::Answered { response, .. } => response.status().is_server_error(),
        }
    }
}
