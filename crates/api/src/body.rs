//! Reading what was sent, within limits.

use std::time::Duration;

use arbiter_wire::object::Object;
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::auth::Shown;
use crate::failure::Failure;
use crate::routes::BodyLimit;
use crate::state::Api;

/// Who sends a body for longer is authenticated again at its end.
const SLOW: Duration = Duration::from_millis(250);

/// A JSON body.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Failure> {
        let is_json = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or_default().trim())
            .is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(Failure::new(
                "unsupported_media_type",
                "send the body as `Content-Type: application/json`",
            ));
        }
        let bytes = whole(request, api).await?;
        serde_json::from_slice(&bytes)
            .map(|Object(body)| Self(body))
            .map_err(|error| malformed(&error))
    }
}

/// Says what is wrong with a JSON text. A field that is not known may be known to a newer server.
fn malformed(error: &serde_json::Error) -> Failure {
    let detail = error.to_string();
    if !detail.starts_with("unknown field") {
        let code = if error.is_data() {
            "invalid_value"
        } else {
            "invalid_request"
        };
        return Failure::new(code, format!("the body is not what the document says: {detail}"));
    }
    let mut problem = Failure::new("unsupported_field", detail).into_problem();
    problem.server_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    Failure::of(problem)
}

/// The whole body, within the operation's limit and the time that a body may take.
pub(crate) async fn whole(request: Request, api: &Api) -> Result<Bytes, Failure> {
    plain(request.headers())?;
    let limit = request
        .extensions()
        .get::<BodyLimit>()
        .map_or(api.settings().body_bytes, |limit| limit.bytes(api.settings()));
    let (parts, body) = request.into_parts();
    // What is announced to be larger is not read at all.
    announced(&body, limit as u64)?;
    let read = Limited::new(body, limit).collect();
    let began = api.parts().clock.monotonic();
    match within(api, api.settings().body_timeout, read).await {
        None => Err(too_slow()),
        Some(Ok(collected)) => {
            let took = api.parts().clock.monotonic().saturating_sub(began);
            if let (true, Ok(shown)) = (took >= SLOW, Shown::of(&parts)) {
                // The caller was let in before: a key may have been revoked since, or its owner erased.
                shown.authenticate(api).await?;
            }
            Ok(collected.to_bytes())
        }
        Some(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit as u64)),
        Some(Err(_)) => Err(Failure::new(
            "invalid_request",
            "the body could not be read to its end",
        )),
    }
}

/// Refuses a body that is compressed: it could be a bomb, and nothing that is sent here is large enough to need it.
pub(crate) fn plain(headers: &HeaderMap) -> Result<(), Failure> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(Failure::new(
            "unsupported_media_type",
            "the body is compressed; send it as it is",
        )),
        _ => Ok(()),
    }
}

/// Refuses a body whose announced length is over the limit.
pub(crate) fn announced(body: &Body, limit: u64) -> Result<(), Failure> {
    if body.size_hint().lower() > limit {
        return Err(too_large(limit));
    }
    Ok(())
}

fn too_large(limit: u64) -> Failure {
    Failure::new("too_large", format!("the body is larger than {limit} bytes"))
}

pub(crate) fn too_slow() -> Failure {
    Failure::new("payload_timeout", "the body took too long to arrive")
}

/// What the future gives, or nothing when the time is up.
pub(crate) async fn within<T>(api: &Api, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let clock = &api.parts().clock;
    let until = clock.monotonic() + limit;
    let future = std::pin::pin!(future);
    match futures_util::future::select(future, clock.sleep_until(until)).await {
        futures_util::future::Either::Left((value, _)) => Some(value),
        futures_util::future::Either::Right(_) => None,
    }
}

/// The query of a request: unknown parameters are refused.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, Failure> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| {
                let detail =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                let code = if detail.contains("unknown field") {
                    "unsupported_field"
                } else {
                    "invalid_value"
                };
                Failure::new(code, format!("the query is not what the document says: {detail}"))
            })
    }
}

/// The stream of a body that is not JSON.
pub(crate) fn stream(request: Request) -> Result<Body, Failure> {
    plain(request.headers())?;
    Ok(request.into_body())
}
