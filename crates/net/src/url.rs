//! Addresses of HTTP resources.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// The longest address, in bytes.
const MAX_LENGTH: usize = 8_192;

/// A text that is not the address of something that can be asked. The text itself is not kept: it may hold secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is longer than 8 192 bytes.
    #[error("an address must not be longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// It is not an absolute URI (RFC 3986).
    #[error("an address must be an absolute URI such as https://example.com/path")]
    Form,
    /// Its scheme is another one.
    #[error("an address must begin with https:// or http://")]
    Scheme,
    /// It holds a user name or a password.
    #[error("credentials do not belong in an address; send them in a header")]
    Credentials,
}

/// An absolute `http` or `https` address without credentials.
///
/// Shown without its query, which may hold secrets; a fragment is not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Uri);

impl HttpUrl {
    /// Whether it is asked over TLS.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == Some(&Scheme::HTTPS)
    }

    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// Whether the host is this machine, by its name or by its address as it is written. Names are not looked up.
    pub fn is_this_machine(&self) -> bool {
        self.host().eq_ignore_ascii_case("localhost")
            || self.host_address().is_some_and(|address| address.is_loopback())
    }

    /// The port, the scheme's own if none is written.
    pub fn port(&self) -> u16 {
        self.0
            .port_u16()
            .unwrap_or(if self.is_https() { 443 } else { 80 })
    }

    /// Scheme, host and port (RFC 6454): what may be shown of an address whose path is secret.
    pub fn origin(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let host = self.host().to_ascii_lowercase();
        format!("{scheme}://{host}:{}", self.port())
    }

    /// The address that a relative or absolute reference leads to from here (RFC 3986 §5.2).
    ///
    /// # Errors
    /// [`InvalidUrl`] if that is not an address that can be asked.
    pub fn join(&self, reference: &str) -> Result<Self, InvalidUrl> {
        let reference = reference.split('#').next().unwrap_or_default();
        if has_scheme(reference) {
            return reference.parse();
        }
        let scheme = self.0.scheme_str().unwrap_or_default();
        if reference.starts_with("//") {
            return format!("{scheme}:{reference}").parse();
        }
        let authority = self.0.authority().map_or("", Authority::as_str);
        let (path, query) = match reference.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (reference, None),
        };
        let query = if path.is_empty() {
            query.or(self.0.query())
        } else {
            query
        };
        let path = match path {
            "" => self.0.path().to_owned(),
            absolute if absolute.starts_with('/') => without_dots(absolute),
            relative => {
                let base = self.0.path();
                let folder = base.rfind('/').map_or("/", |end| &base[..=end]);
                without_dots(&format!("{folder}{relative}"))
            }
        };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{authority}{path}{query}").parse()
    }

    /// The host as an address, if it is written as one.
    pub(crate) fn host_address(&self) -> Option<IpAddr> {
        let host = self.host();
        let plain = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        plain.unwrap_or(host).parse().ok()
    }

    pub(crate) const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for HttpUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidUrl::TooLong);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Form)?;
        Self::of(uri)
    }
}

impl HttpUrl {
    pub(crate) fn of(uri: Uri) -> Result<Self, InvalidUrl> {
        let mut parts = uri.into_parts();
        if !matches!(parts.scheme.as_ref().map(Scheme::as_str), Some("http" | "https")) {
            return Err(InvalidUrl::Scheme);
        }
        let authority = parts.authority.as_ref().ok_or(InvalidUrl::Form)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::Credentials);
        }
        let port_is_written = authority.as_str().len() > authority.host().len();
        if authority.host().is_empty()
            || (port_is_written && authority.port_u16().is_none_or(|port| port == 0))
        {
            return Err(InvalidUrl::Form);
        }
        if parts
            .path_and_query
            .as_ref()
            .is_none_or(|path| path.path().is_empty())
        {
            parts.path_and_query = Some(PathAndQuery::from_static("/"));
        }
        Uri::from_parts(parts).map(Self).map_err(|_| InvalidUrl::Form)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.0.query().is_some() { "?…" } else { "" };
        write!(f, "{}{}{query}", self.origin(), self.0.path())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({self})")
    }
}

/// Whether a reference begins with a scheme (RFC 3986 §3.1).
fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

/// An absolute path without its `.` and `..` segments (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_asked_is_refused() {
        for (text, why) in [
            ("", InvalidUrl::Form),
            ("/path", InvalidUrl::Scheme),
            ("example.com", InvalidUrl::Scheme),
            ("ftp://example.com/", InvalidUrl::Scheme),
            ("https:///path", InvalidUrl::Form),
            ("https://example.com:0/", InvalidUrl::Form),
            ("https://example.com:99999/", InvalidUrl::Form),
            ("https://example.com:/", InvalidUrl::Form),
            ("https://user@example.com/", InvalidUrl::Credentials),
            ("https://user:secret@example.com/", InvalidUrl::Credentials),
            ("https://exa mple.com/", InvalidUrl::Form),
            (
                &format!("https://example.com/{}", "a".repeat(8_192)),
                InvalidUrl::TooLong,
            ),
        ] {
            assert_eq!(text.parse::<HttpUrl>(), Err(why), "{text}");
        }
    }

    #[test]
    fn parts_are_found_and_the_query_is_never_shown() {
        let url: HttpUrl = "https://Example.com/hook/7?token=canary#part".parse().unwrap();
        assert_eq!(
            (url.host(), url.port(), url.is_https()),
            ("Example.com", 443, true)
        );
        assert_eq!(url.to_string(), "https://example.com:443/hook/7?…");
        assert!(!format!("{url:?}").contains("canary"));
        assert_eq!(url.origin(), "https://example.com:443");
        let six: HttpUrl = "http://[::1]:8080".parse().unwrap();
        assert_eq!(six.host_address(), Some("::1".parse().unwrap()));
        assert_eq!(six.to_string(), "http://[::1]:8080/");
    }

    #[test]
    fn references_are_resolved_as_the_rfc_says() {
        let base: HttpUrl = "http://a/b/c/d?q".parse().unwrap();
        // RFC 3986 §5.4, without what has parameters or no address of a resource
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d?q"),
            ("", "http://a/b/c/d?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("https://h/x", "https://h/x"),
        ] {
            let joined = base.join(reference).unwrap();
            assert_eq!(joined.uri().to_string(), expected, "{reference}");
        }
        assert_eq!(base.join("ftp://g/"), Err(InvalidUrl::Scheme));
        assert_eq!(base.join("javascript:alert(1)"), Err(InvalidUrl::Scheme));
        assert_eq!(base.join("https://user@h/"), Err(InvalidUrl::Credentials));
    }
}
