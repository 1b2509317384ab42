//! Ids and spans of time as they stand in the status of a task, which is read and written most.

use std::fmt;
use std::time::Duration;

use serde::de::{Error as _, SeqAccess, Unexpected, Visitor};
use serde::ser::{Error as _, SerializeTuple as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// 16 bytes as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(pub(super) [u8; 16]);

/// Writes 16 bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    digits
}

/// Reads 32 lower-case hexadecimal digits.
pub(super) fn unhex(text: &[u8]) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = hex(&self.0);
        serializer.serialize_str(std::str::from_utf8(&digits).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(IdVisitor)
    }
}

struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = Id;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("32 hexadecimal digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
        unhex(text.as_bytes())
            .map(Id)
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// A span of time: whole seconds, or `[seconds, nanoseconds]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            return serializer.serialize_u64(self.0.as_secs());
        }
        let mut pair = serializer.serialize_tuple(2)?;
        pair.serialize_element(&self.0.as_secs())?;
        pair.serialize_element(&self.0.subsec_nanos())?;
        pair.end()
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl<'de> Visitor<'de> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds, or seconds and nanoseconds")
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Span, E> {
        Ok(Span(Duration::from_secs(seconds)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Span, A::Error> {
        let seconds: u64 = pair
            .next_element()?
            .ok_or_else(|| A::Error::invalid_length(0, &self))?;
        let nanos: u32 = pair
            .next_element()?
            .ok_or_else(|| A::Error::invalid_length(1, &self))?;
        if nanos >= 1_000_000_000 {
            return Err(A::Error::invalid_value(Unexpected::Unsigned(nanos.into()), &self));
        }
        Ok(Span(Duration::new(seconds, nanos)))
    }
}
