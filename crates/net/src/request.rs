//! Requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::TraceContext;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::body::{Content, Payload};
use crate::error::NetError;
use crate::url::HttpUrl;

/// A request with its whole body.
///
/// `Debug` shows method, address without query, and the names of the headers.
#[derive(Clone)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: HttpUrl,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Payload,
    pub(crate) repeatable: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) operation: &'static str,
    path_is_secret: bool,
}

impl Request {
    /// A request without headers and body. It may be repeated if its method is idempotent (RFC 9110 §9.2.2).
    pub fn new(method: Method, url: HttpUrl) -> Self {
        Self {
            repeatable: method.is_idempotent(),
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new().into(),
            timeout: None,
            operation: "http.request",
            path_is_secret: false,
        }
    }

    /// A `GET`.
    pub fn get(url: HttpUrl) -> Self {
        Self::new(Method::GET, url)
    }

    /// A `POST`. It is not repeated unless [`Self::repeatable`] says so.
    pub fn post(url: HttpUrl, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, url).with_body(body)
    }

    /// With this body.
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Payload::Whole(body.into());
        self
    }

    /// With a body that is sent piece by piece; each attempt reads it from its beginning.
    pub fn with_content(mut self, content: Arc<dyn Content>) -> Self {
        self.body = Payload::Pieces(content);
        self
    }

    /// With this header instead of those of the same name.
    ///
    /// # Errors
    /// [`NetError::Header`] if the name is no token or the value has control characters.
    pub fn header(self, name: &str, value: &str) -> Result<Self, NetError> {
        self.insert(name, value, false)
    }

    /// With this header, whose value no log of the HTTP layers shows.
    ///
    /// # Errors
    /// As [`Self::header`].
    pub fn secret_header(self, name: &str, value: &SecretText) -> Result<Self, NetError> {
        self.insert(name, value.expose(), true)
    }

    /// With `authorization: Bearer <token>` (RFC 6750).
    ///
    /// # Errors
    /// As [`Self::header`].
    pub fn bearer(self, token: &SecretText) -> Result<Self, NetError> {
        let value = SecretText::new(format!("Bearer {}", token.expose()));
        self.insert(AUTHORIZATION.as_str(), value.expose(), true)
    }

    /// As part of this trace: the header `traceparent` of W3C Trace Context.
    pub fn trace(mut self, context: &TraceContext) -> Self {
        // the context was checked for form: digits and hyphens
        if let Ok(value) = HeaderValue::from_str(context.as_str()) {
            self.headers.insert(HeaderName::from_static("traceparent"), value);
        }
        self
    }

    /// May be sent again, because the other side recognises repeats.
    pub const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Is sent once, because the caller tries again itself.
    pub const fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// Each attempt may take at most this long, beside the time-outs of the client.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// The label `operation` of the metrics; without it `http.request`.
    pub const fn operation(mut self, operation: &'static str) -> Self {
        self.operation = operation;
        self
    }

    /// The path is secret, as that of many incoming webhooks: only the origin is shown.
    pub const fn secret_path(mut self) -> Self {
        self.path_is_secret = true;
        self
    }

    /// The address as it may be shown.
    pub fn shown_url(&self) -> String {
        if self.path_is_secret {
            self.url.origin()
        } else {
            self.url.to_string()
        }
    }

    fn insert(mut self, name: &str, value: &str, secret: bool) -> Result<Self, NetError> {
        let invalid = || NetError::Header {
            name: name.to_owned(),
        };
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        value.set_sensitive(secret);
        self.headers.insert(key, value);
        Ok(self)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.shown_url())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body.size_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> HttpUrl {
        "https://hooks.example/T0/canary-path?key=canary-query"
            .parse()
            .unwrap()
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = SecretText::new("canary-token");
        let request = Request::post(url(), "canary-body")
            .bearer(&token)
            .and_then(|request| request.secret_header("x-api-key", &token))
            .and_then(|request| request.header("accept", "canary-value"))
            .unwrap();
        let shown = format!("{request:?}");
        assert!(
            shown.contains("canary-path") && shown.contains("x-api-key"),
            "{shown}"
        );
        for secret in ["canary-token", "canary-query", "canary-body", "canary-value"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let shown = format!("{:?}", request.secret_path());
        assert!(
            shown.contains("https://hooks.example:443") && !shown.contains("canary"),
            "{shown}"
        );
    }

    #[test]
    fn headers_that_cannot_be_sent_are_refused_without_their_value() {
        for (name, value) in [
            ("bad name", "v"),
            ("", "v"),
            ("x", "a\r\nb: c"),
            ("x", "canary\0"),
        ] {
            let error = Request::get(url()).header(name, value).unwrap_err();
            assert!(matches!(&error, NetError::Header { name: shown } if shown == name));
            assert!(!format!("{error} {error:?}").contains("canary"));
        }
    }

    #[test]
    fn idempotent_methods_may_be_repeated() {
        for (method, repeatable) in [
            (Method::GET, true),
            (Method::PUT, true),
            (Method::DELETE, true),
            (Method::POST, false),
            (Method::PATCH, false),
        ] {
            assert_eq!(Request::new(method, url()).repeatable, repeatable);
        }
        assert!(Request::post(url(), "").repeatable().repeatable);
    }
}
