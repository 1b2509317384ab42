//! One call: from an operation and its parts to an answer.

use std::fmt::{Display, Write as _};
use std::sync::Arc;
use std::time::Duration;

use arbiter_net::{Bytes, Content, HttpUrl, Request, Response, StatusCode, WholeResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::ClientError;
use crate::operations::Operation;

const JSON: &str = "application/json";

/// What stands for a brace in a path.
pub(crate) type Part<'a> = &'a (dyn Display + Sync);

/// A call that is being put together.
pub(crate) struct Call {
    client: Client,
    operation: &'static str,
    request: Result<Request, ClientError>,
    waits: bool,
}

impl Client {
    /// A call of an operation; `parts` stand for the braces in its path, in order.
    pub(crate) fn call(&self, operation: &Operation, parts: &[Part<'_>]) -> Call {
        self.call_with(operation, parts, &[])
    }

    /// The same with a query; what is absent is left out.
    pub(crate) fn call_with(
        &self,
        operation: &Operation,
        parts: &[Part<'_>],
        query: &[(&str, Option<String>)],
    ) -> Call {
        let (id, method, path) = operation;
        let address = address(&self.shared.base, path, parts, query);
        let request = address.parse::<HttpUrl>().map_err(|error| ClientError::Request {
            operation: id,
            source: error.into(),
        });
        let call = Call {
            client: self.clone(),
            operation: id,
            request: request.map(|url| Request::new(method.clone(), url).operation(id)),
            waits: false,
        };
        let call = call.header("accept", JSON);
        match (&self.shared.key, &self.trace) {
            (None, None) => call,
            (key, trace) => call.and(|request| {
                let request = match trace {
                    Some(trace) => request.trace(trace),
                    None => request,
                };
                match key {
                    Some(key) => request.bearer(key).map_err(Into::into),
                    None => Ok(request),
                }
            }),
        }
    }
}

impl Call {
    fn and(
        mut self,
        change: impl FnOnce(Request) -> Result<Request, Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let operation = self.operation;
        self.request = self
            .request
            .and_then(|request| change(request).map_err(|source| ClientError::Request { operation, source }));
        self
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.and(|request| request.header(name, value).map_err(Into::into))
    }

    /// Insists on the version that was read.
    pub(crate) fn if_match(self, version: Option<u64>) -> Self {
        match version {
            Some(version) => self.header("if-match", &format!("\"{version}\"")),
            None => self,
        }
    }

    pub(crate) fn json<T: Serialize + ?Sized>(self, body: &T) -> Self {
        self.and(|request| {
            let text = serde_json::to_vec(body)?;
            Ok(request.with_body(text).header("content-type", JSON)?)
        })
    }

    pub(crate) fn content(self, content: Arc<dyn Content>) -> Self {
        self.and(|request| {
            let request = request.with_content(content);
            Ok(request.header("content-type", "application/octet-stream")?)
        })
    }

    /// The server recognises a repeat.
    pub(crate) fn repeatable(self) -> Self {
        self.and(|request| Ok(request.repeatable()))
    }

    /// A repeat would not be recognised, although the method's name promises it.
    pub(crate) fn once(self) -> Self {
        self.and(|request| Ok(request.once()))
    }

    /// Waits for something to happen, or moves much: each attempt may take so long, and all together as long as they do.
    pub(crate) fn waits(mut self, attempt: Duration) -> Self {
        self.waits = true;
        self.and(|request| Ok(request.timeout(attempt)))
    }

    fn ready(self) -> Result<(Client, &'static str, Request, bool), ClientError> {
        let request = self.request?;
        let request = if self.client.once { request.once() } else { request };
        Ok((self.client, self.operation, request, self.waits))
    }

    /// The whole answer, if it is a success.
    pub(crate) async fn send(self) -> Result<WholeResponse, ClientError> {
        let answer = self.answer(&[]).await?;
        Ok(answer)
    }

    /// The whole answer, if it is a success or has one of these statuses.
    pub(crate) async fn answer(self, also: &[StatusCode]) -> Result<WholeResponse, ClientError> {
        let (client, operation, request, waits) = self.ready()?;
        let http = if waits {
            &client.shared.waits
        } else {
            &client.shared.prompt
        };
        let answer = http
            .send(request)
            .await
            .map_err(|error| ClientError::unanswered(operation, error))?;
        if answer.status.is_success() || also.contains(&answer.status) {
            return Ok(answer);
        }
        Err(ClientError::refused(
            operation,
            &answer,
            client.shared.clock.now(),
        ))
    }

    /// The head of a successful answer, whose body comes piece by piece.
    pub(crate) async fn open(self) -> Result<Response, ClientError> {
        let (client, operation, request, _) = self.ready()?;
        let unanswered = |error| ClientError::unanswered(operation, error);
        let response = client.shared.streams.open(request).await.map_err(unanswered)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = response.whole().await.map_err(unanswered)?;
        Err(ClientError::refused(
            operation,
            &answer,
            client.shared.clock.now(),
        ))
    }

    /// The answer's JSON.
    pub(crate) async fn read<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let operation = self.operation;
        let answer = self.send().await?;
        read(operation, answer.status, &answer.body)
    }

    /// Makes something once: a call without an idempotency key gets one, so that a lost answer does not make it twice.
    /// Gives it, and whether a call with the same key had made it before.
    pub(crate) async fn make<T: DeserializeOwned>(self, key: Option<&str>) -> Result<(T, bool), ClientError> {
        let operation = self.operation;
        let key = key.map_or_else(|| self.client.fresh_key(), str::to_owned);
        let call = self.header("idempotency-key", &key).repeatable();
        let answer = call.send().await?;
        let made = read(operation, answer.status, &answer.body)?;
        Ok((made, answer.status != StatusCode::CREATED))
    }

    /// A success that says nothing more.
    pub(crate) async fn done(self) -> Result<(), ClientError> {
        self.send().await.map(|_| ())
    }
}

/// Reads an answer's JSON.
pub(crate) fn read<T: DeserializeOwned>(
    operation: &'static str,
    status: StatusCode,
    body: &Bytes,
) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Answer {
        operation,
        status: status.as_u16(),
        source: error.into(),
    })
}

/// Puts an address together. Only unreserved characters stand as they are (RFC 3986 §2.3), so that no part can be more
/// than one segment.
fn address(base: &str, path: &str, parts: &[Part<'_>], query: &[(&str, Option<String>)]) -> String {
    let mut address = base.to_owned();
    let mut parts = parts.iter();
    for segment in path.split('/').skip(1) {
        address.push('/');
        if segment.starts_with('{') {
            let part = parts.next().map(ToString::to_string).unwrap_or_default();
            encode(&mut address, &part);
        } else {
            address.push_str(segment);
        }
    }
    let given = query
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    for (place, (name, value)) in given.enumerate() {
        address.push(if place == 0 { '?' } else { '&' });
        address.push_str(name);
        address.push('=');
        encode(&mut address, value);
    }
    address
}

fn encode(address: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            address.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _written = write!(address, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_values_stay_what_they_are() {
        let parts: [Part<'_>; 2] = [&"a/b?c", &7];
        let query = [
            ("limit", Some("5".to_owned())),
            ("state", None),
            ("label", Some("a=b&c ü".to_owned())),
        ];
        assert_eq!(
            address(
                "https://x.example/p",
                "/v1/hooks/{id}/deliveries/{delivery}/replay",
                &parts,
                &query
            ),
            "https://x.example/p/v1/hooks/a%2Fb%3Fc/deliveries/7/replay?limit=5&label=a%3Db%26c%20%C3%BC"
        );
    }
}
