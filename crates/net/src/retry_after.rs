//! The header `retry-after`.

use std::time::{Duration, UNIX_EPOCH};

use arbiter_core::model::Timestamp;
use http::HeaderMap;
use http::header::RETRY_AFTER;

/// How long the other side asks to be left alone: seconds or a date (RFC 9110 §10.2.3). `None` when the header is absent
/// or neither; a date that has passed is no wait.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let moment = httpdate::parse_http_date(text).ok()?;
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Timestamp::from_micros(0).plus(since).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_the_rest_is_absent() {
        // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 §5.6.7
        let now = Timestamp::from_micros(784_111_777_000_000).minus(Duration::from_secs(90));
        for (text, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(90)),
            ("Sun, 06 Nov 1994 08:40:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(
                retry_after(&headers, now),
                expected.map(Duration::from_secs),
                "{text}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
