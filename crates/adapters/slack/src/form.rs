//! Forms (`application/x-www-form-urlencoded`), as the URL standard reads them.

/// The value of the first field of this name; `None` if there is none, or it is not UTF-8.
pub(crate) fn field(body: &[u8], name: &str) -> Option<String> {
    body.split(|byte| *byte == b'&')
        .find_map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let (key, value) = (halves.next()?, halves.next().unwrap_or_default());
            (decoded(key) == name.as_bytes()).then(|| decoded(value))
        })
        .and_then(|value| String::from_utf8(value).ok())
}

/// Pluses are spaces, `%` and two digits are a byte; a `%` without them stands for itself.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let mut byte = [0];
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) if hex::decode_to_slice([*high, *low], &mut byte).is_ok() => {
                bytes.extend(byte);
                rest = after;
            }
            (other, _) => bytes.push(*other),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let body = b"a=1&pay%6Coad=%7B%22x%22%3A+%C3%BC%7D%zz%2&payload=second&b";
        assert_eq!(field(body, "payload").as_deref(), Some("{\"x\": ü}%zz%2"));
        assert_eq!(field(body, "b").as_deref(), Some(""));
        assert_eq!(field(body, "c"), None);
        assert_eq!(field(b"payload=%FF", "payload"), None);
        assert_eq!(field(b"", "payload"), None);
    }
}
