//! Redirects (RFC 9110 §15.4), for clients that follow them.

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::body::Payload;
use crate::url::{HttpUrl, InvalidUrl};

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// There were too many.
    #[error("more than {limit} redirects")]
    TooMany {
        /// The limit.
        limit: u8,
    },
    /// It does not say where to, or not as an address.
    #[error("its target is missing or not readable")]
    Target,
    /// Its target cannot be asked.
    #[error("its target cannot be asked")]
    Url(#[from] InvalidUrl),
    /// It gives up TLS.
    #[error("it leads from https to http")]
    Downgrade,
    /// It would hand a body to another origin.
    #[error("it asks to send a body to another origin")]
    BodyElsewhere,
}

/// One request on the way.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) method: Method,
    pub(crate) url: HttpUrl,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Payload,
}

/// What another origin may see. Everything else may be a credential: a signature, a key, a cookie.
const HARMLESS: [&HeaderName; 4] = [&ACCEPT, &ACCEPT_LANGUAGE, &CONTENT_TYPE, &USER_AGENT];

/// The step after an answer; `None` when it is no redirect.
pub(crate) fn next(
    step: &Step,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Option<Step>, RedirectError> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = headers.get(LOCATION).ok_or(RedirectError::Target)?;
    let url = step
        .url
        .join(location.to_str().map_err(|_| RedirectError::Target)?)?;
    if step.url.is_https() && !url.is_https() {
        return Err(RedirectError::Downgrade);
    }
    let mut after = Step { url, ..step.clone() };
    // 303 asks for a GET; 301 and 302 to a POST are taken so by all clients (Fetch, HTTP-redirect fetch, step 12)
    let to_get = match status {
        StatusCode::SEE_OTHER => step.method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => step.method == Method::POST,
        _ => false,
    };
    if to_get {
        after.method = Method::GET;
        after.body = Bytes::new().into();
        after.headers.remove(CONTENT_TYPE);
    }
    if after.url.origin() != step.url.origin() {
        if !after.body.is_empty() {
            return Err(RedirectError::BodyElsewhere);
        }
        after.headers = HARMLESS
            .into_iter()
            .filter_map(|name| Some((name.clone(), step.headers.get(name)?.clone())))
            .collect();
    }
    Ok(Some(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(method: Method, body: &'static str) -> Step {
        let headers = [
            ("authorization", "Bearer canary"),
            ("x-api-key", "canary"),
            ("accept", "text/plain"),
        ];
        Step {
            method,
            url: "https://one.example/a/b".parse().unwrap(),
            headers: headers
                .into_iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect(),
            body: Bytes::from_static(body.as_bytes()).into(),
        }
    }

    fn follow(step: &Step, status: u16, location: &str) -> Result<Option<Step>, RedirectError> {
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        next(step, StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn methods_change_as_the_status_says() {
        for (status, method, expected, body) in [
            (301, Method::POST, Method::GET, ""),
            (302, Method::POST, Method::GET, ""),
            (302, Method::PUT, Method::PUT, "body"),
            (303, Method::PUT, Method::GET, ""),
            (303, Method::HEAD, Method::HEAD, "body"),
            (307, Method::POST, Method::POST, "body"),
            (308, Method::POST, Method::POST, "body"),
        ] {
            let after = follow(&step(method, "body"), status, "/c").unwrap().unwrap();
            assert_eq!(
                (after.method, after.body.size_bytes()),
                (expected, body.len() as u64),
                "{status}"
            );
            assert_eq!(after.headers.len(), 3, "same origin, same headers");
        }
        for status in [200, 300, 304, 305, 400] {
            assert!(follow(&step(Method::GET, ""), status, "/c").unwrap().is_none());
        }
    }

    #[test]
    fn another_origin_sees_neither_credentials_nor_body() {
        for location in [
            "https://two.example/",
            "https://one.example:8443/",
            "//two.example",
        ] {
            let after = follow(&step(Method::GET, ""), 302, location).unwrap().unwrap();
            let names: Vec<&HeaderName> = after.headers.keys().collect();
            assert_eq!(names, [ACCEPT], "{location}");
            let body = follow(&step(Method::POST, "body"), 307, location);
            assert!(matches!(body, Err(RedirectError::BodyElsewhere)));
        }
    }

    #[test]
    fn targets_that_cannot_be_followed_are_refused() {
        let from = step(Method::GET, "");
        for (location, expected) in [
            ("http://one.example/", RedirectError::Downgrade),
            ("ftp://one.example/", RedirectError::Url(InvalidUrl::Scheme)),
            (
                "https://user@one.example/",
                RedirectError::Url(InvalidUrl::Credentials),
            ),
        ] {
            assert_eq!(follow(&from, 302, location).err(), Some(expected), "{location}");
        }
        let missing = next(&from, StatusCode::FOUND, &HeaderMap::new());
        assert_eq!(missing.err(), Some(RedirectError::Target));
    }
}
