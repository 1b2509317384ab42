//! Versions of things as `ETag`, and what a caller expects of them by `If-Match` (RFC 9110 §8.8.3, §13.1.1).

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::failure::Failure;

/// An answer that tells the version of what it shows.
pub(crate) fn tagged(version: u64, body: impl serde::Serialize) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The same for something that was made by this call, and where it is found from now on.
fn created(version: u64, location: &str, body: impl serde::Serialize) -> Response {
    let mut response = tagged(version, body);
    *response.status_mut() = StatusCode::CREATED;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The same for something that this call made, or that an earlier call with the same idempotency key had made.
pub(crate) fn made(repeated: bool, version: u64, location: &str, body: impl serde::Serialize) -> Response {
    if repeated {
        tagged(version, body)
    } else {
        created(version, location, body)
    }
}

/// The version that the caller insists on, if it does.
///
/// # Errors
/// `precondition_failed` when the header is none that was given out.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    text.strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|number| number.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Failure::new(
                "precondition_failed",
                "`If-Match` is no version that was given out; read it again",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &'static str) -> Result<Option<u64>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_static(text));
        if_match(&headers)
    }

    #[test]
    fn versions_are_read_as_they_are_written() {
        let response = tagged(7, "x");
        assert_eq!(response.headers()[header::ETAG], "\"7\"");
        assert_eq!(asked("\"7\"").ok(), Some(Some(7)));
        assert_eq!(asked("*").ok(), Some(None));
        assert_eq!(if_match(&HeaderMap::new()).ok(), Some(None));
        for other in ["7", "W/\"7\"", "\"x\"", "\"-1\"", ""] {
            let code = asked(other).err().map(|failure| failure.into_problem().code);
            assert_eq!(code.as_deref(), Some("precondition_failed"), "{other}");
        }
    }
}
