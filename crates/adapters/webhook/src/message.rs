//! What is delivered, and where to.

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Json, TraceContext};
use arbiter_net::{HttpUrl, InvalidUrl};

use crate::secret::WebhookSecret;

/// The most secrets of one endpoint.
pub const MAX_SECRETS: usize = 8;

/// Where to deliver to. `Debug` shows scheme, host and port alone: the path often holds a token.
#[derive(Clone)]
pub struct Endpoint {
    url: HttpUrl,
    secrets: Vec<WebhookSecret>,
}

/// An endpoint that nothing can be delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Its address cannot be asked.
    #[error("the webhook's address cannot be used")]
    Url(#[from] InvalidUrl),
    /// It has no secret, or too many.
    #[error("a webhook needs 1 to {MAX_SECRETS} secrets")]
    Secrets,
}

impl Endpoint {
    /// An endpoint whose messages are signed with each of `secrets`.
    ///
    /// # Errors
    /// [`InvalidEndpoint`] if the address cannot be asked, or there are no secrets or too many.
    pub fn new(url: &SecretText, secrets: Vec<WebhookSecret>) -> Result<Self, InvalidEndpoint> {
        if secrets.is_empty() || secrets.len() > MAX_SECRETS {
            return Err(InvalidEndpoint::Secrets);
        }
        let url = url.expose().parse()?;
        Ok(Self { url, secrets })
    }

    pub(crate) const fn url(&self) -> &HttpUrl {
        &self.url
    }

    pub(crate) fn secrets(&self) -> &[WebhookSecret] {
        &self.secrets
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("origin", &self.url.origin())
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

/// What to deliver. `Debug` does not show the body.
#[derive(Debug, Clone)]
pub struct Message {
    id: String,
    body: Json,
    tries: u16,
    trace: Option<TraceContext>,
}

/// An id that cannot be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a webhook message has 1 to 256 visible characters and no dot")]
pub struct InvalidMessage;

impl Message {
    /// A message that was not tried before. `id` stays the same at every try, that of the outbox entry for example.
    ///
    /// # Errors
    /// [`InvalidMessage`] if the id is empty, too long, or holds a dot (which parts what is signed) or anything invisible.
    pub fn new(id: impl Into<String>, body: Json) -> Result<Self, InvalidMessage> {
        let id = id.into();
        let visible = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
        if !visible || !(1..=256).contains(&id.len()) {
            return Err(InvalidMessage);
        }
        Ok(Self {
            id,
            body,
            tries: 0,
            trace: None,
        })
    }

    /// So many tries were made before.
    pub const fn tried(mut self, tries: u16) -> Self {
        self.tries = tries;
        self
    }

    /// As part of this trace.
    pub fn trace(mut self, context: TraceContext) -> Self {
        self.trace = Some(context);
        self
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) const fn body(&self) -> &Json {
        &self.body
    }

    pub(crate) const fn tries(&self) -> u16 {
        self.tries
    }

    pub(crate) const fn trace_context(&self) -> Option<&TraceContext> {
        self.trace.as_ref()
    }
}
