//! What is read of a certificate (RFC 5280): its alternative names, and when it ends. Everything else of it was verified by
//! the TLS handshake.

use arbiter_core::model::Timestamp;

use crate::rules::CertificateName;

const SEQUENCE: u8 = 0x30;
const OBJECT_ID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`, the version.
const VERSION: u8 = 0xa0;
/// `[3]`, the extensions.
const EXTENSIONS: u8 = 0xa3;
/// id-ce-subjectAltName, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// What is read of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// The alternative names that are texts, in their order.
    pub(crate) names: Vec<(CertificateName, String)>,
    /// The last moment at which it is valid.
    pub(crate) not_after: Timestamp,
}

impl Certificate {
    /// Reads a certificate; none when it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut whole = Reader(der);
        let mut outer = Reader(whole.next_of(SEQUENCE)?);
        whole.end()?;
        let mut body = Reader(outer.next_of(SEQUENCE)?);
        body.skip_if(VERSION)?;
        // Serial number, signature algorithm, issuer.
        for _ in 0..3 {
            body.next()?;
        }
        let mut validity = Reader(body.next_of(SEQUENCE)?);
        validity.next()?;
        let (tag, end) = validity.next()?;
        // Subject, public key.
        for _ in 0..2 {
            body.next()?;
        }
        let mut names = Vec::new();
        while !body.0.is_empty() {
            let (tag, content) = body.next()?;
            if tag == EXTENSIONS {
                names = alternative_names(content)?;
            }
        }
        Some(Self {
            names,
            not_after: time(tag, end)?,
        })
    }
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<(CertificateName, String)>> {
    let mut wrapped = Reader(extensions);
    let mut list = Reader(wrapped.next_of(SEQUENCE)?);
    wrapped.end()?;
    let mut found = None;
    while !list.0.is_empty() {
        let mut extension = Reader(list.next_of(SEQUENCE)?);
        let id = extension.next_of(OBJECT_ID)?;
        extension.skip_if(BOOLEAN)?;
        let value = extension.next_of(OCTETS)?;
        extension.end()?;
        if id == ALTERNATIVE_NAMES && found.replace(names(value)?).is_some() {
            return None;
        }
    }
    Some(found.unwrap_or_default())
}

fn names(value: &[u8]) -> Option<Vec<(CertificateName, String)>> {
    let mut wrapped = Reader(value);
    let mut list = Reader(wrapped.next_of(SEQUENCE)?);
    wrapped.end()?;
    let mut names = Vec::new();
    while !list.0.is_empty() {
        let (tag, content) = list.next()?;
        let sort = match tag {
            0x81 => CertificateName::Email,
            0x82 => CertificateName::Dns,
            0x86 => CertificateName::Uri,
            _ => continue,
        };
        // IA5String is ASCII.
        let text = std::str::from_utf8(content).ok().filter(|text| text.is_ascii())?;
        let text = match sort {
            CertificateName::Dns => text.to_ascii_lowercase(),
            CertificateName::Uri | CertificateName::Email => text.to_owned(),
        };
        names.push((sort, text));
    }
    Some(names)
}

/// A time of a certificate: always in UTC, with seconds and without fractions (RFC 5280 §4.1.2.5).
fn time(tag: u8, content: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(content).ok().filter(|text| text.is_ascii())?;
    let (century, rest) = match (tag, text.len()) {
        (UTC_TIME, 13) => (if text < "50" { "20" } else { "19" }, text),
        (GENERALIZED_TIME, 15) => text.split_at(2),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2);
    let zone = rest.get(12..)?;
    format!(
        "{century}{}-{}-{}T{}:{}:{}{zone}",
        part(0)?,
        part(2)?,
        part(4)?,
        part(6)?,
        part(8)?,
        part(10)?
    )
    .parse()
    .ok()
}

/// Reads values one after another.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next value: its tag and content. Lengths are definite and as short as they can be.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of more than one byte occur nowhere in a certificate.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let bytes = usize::from(first & 0x7f);
            let (number, after) = rest
                .split_at_checked(bytes)
                .filter(|_| (1..=3).contains(&bytes))?;
            rest = after;
            let length = number.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            if length < 0x80 || number.first() == Some(&0) {
                return None;
            }
            length
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn next_of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _)| *found == tag)
            .map(|(_, content)| content)
    }

    fn skip_if(&mut self, tag: u8) -> Option<()> {
        if self.0.first() == Some(&tag) {
            self.next()?;
        }
        Some(())
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn certificate(names: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.subject_alt_names = names;
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn all_sorts() -> Vec<u8> {
        certificate(vec![
            SanType::IpAddress([127, 0, 0, 1].into()),
            SanType::Rfc822Name("Ann@example.com".try_into().expect("a name")),
            SanType::DnsName("Runner.Example.com".try_into().expect("a name")),
            SanType::URI("spiffe://example.com/runner".try_into().expect("a name")),
        ])
    }

    #[test]
    fn names_and_end_of_a_certificate_are_read() {
        let read = Certificate::read(&all_sorts()).expect("a certificate");
        let of = |sort, name: &str| (sort, name.to_owned());
        assert_eq!(
            read.names,
            [
                of(CertificateName::Email, "Ann@example.com"),
                of(CertificateName::Dns, "runner.example.com"),
                of(CertificateName::Uri, "spiffe://example.com/runner"),
            ]
        );
        assert_eq!(Ok(read.not_after), "2031-02-03T00:00:00Z".parse());
        let without = Certificate::read(&certificate(Vec::new())).expect("a certificate");
        assert_eq!(without.names, []);
    }

    #[test]
    fn both_forms_of_times_are_read() {
        let cases: [(u8, &str, Option<&str>); 6] = [
            (UTC_TIME, "310203040506Z", Some("2031-02-03T04:05:06Z")),
            (UTC_TIME, "991231235959Z", Some("1999-12-31T23:59:59Z")),
            (GENERALIZED_TIME, "20500203040506Z", Some("2050-02-03T04:05:06Z")),
            (GENERALIZED_TIME, "310203040506Z", None),
            (UTC_TIME, "3102030405061", None),
            (UTC_TIME, "311303040506Z", None),
        ];
        for (tag, text, expected) in cases {
            let expected = expected.map(|text| text.parse().expect("a time"));
            assert_eq!(time(tag, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_certificate_that_is_cut_short_anywhere_or_goes_on_is_none() {
        let whole = all_sorts();
        for length in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..length]), None, "{length}");
        }
        assert_eq!(Certificate::read(&[&whole[..], &[0]].concat()), None);
    }

    proptest! {
        #[test]
        fn nothing_that_is_changed_or_made_up_stops_the_reader(place in 0_usize..600, byte: u8, noise: Vec<u8>) {
            let mut changed = all_sorts();
            let at = place % changed.len();
            changed[at] = byte;
            let _read_or_not = Certificate::read(&changed);
            let _read_or_not = Certificate::read(&noise);
        }
    }
}
