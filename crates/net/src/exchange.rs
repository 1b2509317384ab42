//! One attempt: checks, one or more steps, the head of the answer.

use std::sync::Arc;

use arbiter_core::ports::{BoxFuture, Spawner};
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, USER_AGENT};
use hyper::rt::Executor;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioTimer;

use crate::body::{Payload, SentBody};
use crate::client::HttpPorts;
use crate::config::{HttpClientConfig, InvalidConfig};
use crate::connect::{Connector, Parts};
use crate::egress::Egress;
use crate::error::{NetError, from_client};
use crate::redirect::{self, RedirectError, Step};
use crate::request::Request;
use crate::response::{Limits, Response};
use crate::tls;

/// Runs the pool's connections on the `Spawner` port.
#[derive(Clone)]
struct OnSpawner(Arc<dyn Spawner>);

impl Executor<BoxFuture> for OnSpawner {
    fn execute(&self, future: BoxFuture) {
        // it ends with its connection, which ends with the pool
        let _running = self.0.spawn("http_connection", future);
    }
}

/// The pool with the checks around it.
pub(crate) struct Exchange {
    pool: Client<Connector, SentBody>,
    egress: Egress,
    redirects: u8,
    user_agent: HeaderValue,
    max_request_bytes: u64,
    max_request_header_bytes: usize,
    limits: Limits,
}

impl Exchange {
    pub(crate) fn new(config: &HttpClientConfig, ports: &HttpPorts) -> Result<Self, InvalidConfig> {
        config.check()?;
        let connector = Connector::new(Parts {
            egress: config.egress.clone(),
            timeout: config.connect_timeout,
            clock: Arc::clone(&ports.clock),
            resolver: Arc::clone(&ports.resolver),
            tls: tls::client(config)?,
        });
        let pool = Client::builder(OnSpawner(Arc::clone(&ports.spawner)))
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(config.idle_timeout)
            .pool_max_idle_per_host(config.max_idle_per_origin)
            .http1_max_buf_size(config.max_response_header_bytes as usize)
            .http1_max_headers(config.max_response_headers)
            .http2_max_header_list_size(config.max_response_header_bytes)
            .build(connector);
        Ok(Self {
            pool,
            egress: config.egress.clone(),
            redirects: config.redirects,
            user_agent: HeaderValue::from_str(&config.user_agent).map_err(|_| InvalidConfig::UserAgent)?,
            max_request_bytes: config.max_request_bytes,
            max_request_header_bytes: config.max_request_header_bytes,
            limits: Limits {
                clock: Arc::clone(&ports.clock),
                max_bytes: config.max_response_bytes,
                chunk_timeout: config.chunk_timeout,
            },
        })
    }

    /// What can be said without asking anybody.
    pub(crate) fn check(&self, request: &Request) -> Result<(), NetError> {
        if request.body.size_bytes() > self.max_request_bytes {
            return Err(NetError::RequestTooLarge {
                limit_bytes: self.max_request_bytes,
            });
        }
        let header_bytes: usize = request
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if header_bytes > self.max_request_header_bytes {
            return Err(NetError::RequestHeadersTooLarge {
                limit_bytes: self.max_request_header_bytes,
            });
        }
        self.egress.check_url(&request.url).map_err(NetError::Denied)
    }

    /// Sends a request, and follows redirects if the client does so.
    pub(crate) async fn send(&self, request: &Request) -> Result<Response, NetError> {
        let mut step = Step {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        };
        step.headers
            .entry(USER_AGENT)
            .or_insert_with(|| self.user_agent.clone());
        let mut followed = 0;
        loop {
            let response = self.step(&step).await?;
            if self.redirects == 0 {
                return Ok(response);
            }
            let refused = |source| NetError::Redirect {
                origin: step.url.origin(),
                source,
            };
            let next = redirect::next(&step, response.status(), response.headers()).map_err(refused)?;
            let Some(next) = next else {
                return Ok(response);
            };
            if followed == self.redirects {
                return Err(refused(RedirectError::TooMany {
                    limit: self.redirects,
                }));
            }
            followed += 1;
            self.egress.check_url(&next.url).map_err(NetError::Denied)?;
            step = next;
        }
    }

    async fn step(&self, step: &Step) -> Result<Response, NetError> {
        let origin = step.url.origin();
        let body = step.body.open().map_err(|source| NetError::Content { source })?;
        let mut request = http::Request::new(body);
        *request.method_mut() = step.method.clone();
        *request.uri_mut() = step.url.uri().clone();
        *request.headers_mut() = step.headers.clone();
        if matches!(step.body, Payload::Pieces(_)) {
            let length = HeaderValue::from(step.body.size_bytes());
            request.headers_mut().insert(CONTENT_LENGTH, length);
        }
        match self.pool.request(request).await {
            Ok(answer) => Ok(Response::new(answer, origin, self.limits.clone())),
            Err(error) => Err(from_client(&origin, error)),
        }
    }
}
