//! Calls that make something once: the idempotency key of their caller.

use http::{HeaderMap, HeaderName};

use crate::failure::Failure;

/// The header of the key, as the document writes it.
pub(crate) const HEADER: &str = "Idempotency-Key";
const NAME: HeaderName = HeaderName::from_static("idempotency-key");

/// The idempotency key of a call, if it has one.
///
/// # Errors
/// `invalid_value` when it is not plain text, or there are several.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut given = headers.get_all(NAME).iter();
    let Some(key) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(Failure::invalid(HEADER, "is given more than once"));
    }
    key.to_str()
        .map(Some)
        .map_err(|_| Failure::invalid(HEADER, "is not plain text"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_call_has_one_key_of_plain_text_or_none() {
        let told = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(NAME, HeaderValue::from_bytes(value).expect("a value"));
            }
            match idempotency_key(&headers) {
                Ok(key) => key.unwrap_or("-").to_owned(),
                Err(failure) => failure.into_problem().code,
            }
        };
        assert_eq!(told(&[]), "-");
        assert_eq!(told(&[b"k 1"]), "k 1");
        assert_eq!(told(&[b"k", b"k"]), "invalid_value");
        assert_eq!(told(&[b"\xff"]), "invalid_value");
    }
}
