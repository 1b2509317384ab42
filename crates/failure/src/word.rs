//! Stored forms of words and times.

/// A closed set of values with a stable word each.
pub(crate) trait Word: Sized + Copy {
    fn to_word(self) -> &'static str;
    fn of_word(word: &str) -> Option<Self>;
}

macro_rules! word {
    ($($name:ty),+ $(,)?) => {
        $(impl Word for $name {
            fn to_word(self) -> &'static str {
                self.word()
            }

            fn of_word(word: &str) -> Option<Self> {
                Self::from_word(word)
            }
        })+
    };
}

word!(
    arbiter_core::model::FailureKind,
    arbiter_core::model::IncidentState,
    arbiter_core::model::Severity,
    arbiter_core::ports::NoticeStep,
);

/// A value as its word: `#[serde(with = "crate::word::as_word")]`.
pub(crate) mod as_word {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::Word;

    pub(crate) fn serialize<S: Serializer, W: Word>(value: &W, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(value.to_word())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, W: Word>(from: D) -> Result<W, D::Error> {
        let word = String::deserialize(from)?;
        W::of_word(&word)
            .ok_or_else(|| serde::de::Error::custom(format!("`{word}` is no word of this program")))
    }
}

/// A moment as microseconds: `#[serde(with = "crate::word::as_micros")]`.
pub(crate) mod as_micros {
    use arbiter_core::model::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    pub(crate) fn serialize<S: Serializer>(value: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(value.as_micros())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp::from_micros)
    }
}

/// A moment that may be absent.
pub(crate) mod as_micros_if_any {
    use arbiter_core::model::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Timestamp::as_micros).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(Timestamp::from_micros))
    }
}

/// Something that is written and read as text: `#[serde(with = "crate::word::as_text")]`.
pub(crate) mod as_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer, T: Display>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
