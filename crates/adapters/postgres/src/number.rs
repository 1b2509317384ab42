//! Unsigned numbers in PostgreSQL, whose integers have a sign.

/// A count or limit as PostgreSQL takes it; what is larger than it can say is the largest that it can.
pub(crate) fn whole(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// A count as it was stored; the schema stores none below zero.
pub(crate) fn natural(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
