//! Which addresses a hook may have. What they resolve to is checked at every delivery, by the egress policy of the
//! transport.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest address, in bytes.
const MAX_BYTES: usize = 2_048;

/// Checks the form of an address: https, or http to this machine if `loopback_http` allows it, without a user and
/// without a fragment.
pub(super) fn check(url: &str, loopback_http: bool) -> Result<(), &'static str> {
    if url.len() > MAX_BYTES {
        return Err("is longer than 2048 bytes");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("may hold visible ASCII characters only; encode others");
    }
    if url.contains('#') {
        return Err("may have no fragment");
    }
    let (secure, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err("must begin with https://"),
    };
    let authority = rest.split(['/', '?', '\\']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("may hold no user name and no password");
    }
    let host = host(authority).ok_or("has no valid host and port")?;
    if secure {
        return Ok(());
    }
    if !is_loopback(host) {
        return Err("must begin with https://");
    }
    if loopback_http {
        Ok(())
    } else {
        Err("must begin with https://: plain http to this machine is switched off")
    }
}

/// The host of an authority whose port, if it has one, is a number.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        (
            host,
            rest.strip_prefix(':')
                .or_else(|| rest.is_empty().then_some("443"))?,
        )
    } else {
        authority.split_once(':').unwrap_or((authority, "443"))
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port_is_valid = digits && port.parse::<u16>().is_ok_and(|port| port > 0);
    (!host.is_empty() && port_is_valid).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let v4 = host.parse::<Ipv4Addr>().map(IpAddr::V4);
    let ip = v4.or_else(|_| host.parse::<Ipv6Addr>().map(IpAddr::V6));
    ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_permitted_loopback_are_taken() {
        for url in [
            "https://example.com",
            "https://example.com:8443/hook?x=1",
            "https://[2001:db8::1]:443/",
            "https://127.0.0.1/", // refused at delivery, unless the deployment permits it
        ] {
            assert_eq!(check(url, false), Ok(()), "{url}");
        }
        for url in ["http://127.0.0.1:80/a", "http://localhost/", "http://[::1]:8080"] {
            assert_eq!(check(url, true), Ok(()), "{url}");
            assert!(check(url, false).is_err(), "{url}");
        }
    }

    #[test]
    fn every_other_form_is_refused() {
        let long = format!("https://example.com/{}", "x".repeat(MAX_BYTES));
        for url in [
            "",
            "example.com",
            "ftp://example.com",
            "HTTPS://example.com",
            "https://",
            "https:///path",
            "https://:443/",
            "https://example.com:0",
            "https://example.com:99999",
            "https://example.com:+1",
            "https://example.com:",
            "https://user:password@example.com/",
            "https://example.com\\@127.0.0.1/#",
            "https://example.com/#part",
            "https://exa mple.com",
            "https://exämple.com",
            "https://[::1",
            "https://[zz]/",
            "http://example.com/",
            "http://127.0.0.1.example.com/",
            "http://localhost.example.com/",
            "http://2130706433/",
            &long,
        ] {
            assert!(check(url, true).is_err(), "{url}");
        }
    }
}
