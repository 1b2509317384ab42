//! Reading series.

use arbiter_core::model::{Bucket, Labels, SeriesKey, Timestamp};
use arbiter_core::ports::{MAX_SERIES, RangeQuery, Series, TelemetryError};
use arbiter_wire::stored::{decode_labels, encode_labels, label_part};
use tokio_postgres::Row;

use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::{Session, get};

/// Names one after the other by the index, however many series each has.
const NAMES: &str = "WITH RECURSIVE found AS (
       (SELECT name, 1 AS n FROM metric_series WHERE name > $1 ORDER BY name LIMIT 1)
       UNION ALL
       SELECT next.name, found.n + 1 FROM found CROSS JOIN LATERAL (
         SELECT name FROM metric_series WHERE name > found.name ORDER BY name LIMIT 1) next
       WHERE found.n < $2)
     SELECT name FROM found ORDER BY name";

const KEYS: &str = "SELECT id, labels FROM metric_series
     WHERE name = $1 AND labels > $2 AND NOT EXISTS (
       SELECT FROM unnest($3::text[]) AS asked WHERE position(asked IN labels) = 0)
     ORDER BY labels LIMIT $4";

/// Buckets of series in the order in which these are asked for, then of time.
const BUCKETS: &str = "SELECT q.n, b.* FROM unnest($1::bigint[]) WITH ORDINALITY AS q (id, n)
     CROSS JOIN LATERAL (
       SELECT at - (at - $2) % $4 AS bucket, sum(count)::bigint AS count, sum(mean * count) / sum(count) AS mean,
         min(min) AS min, max(max) AS max, (array_agg(last ORDER BY at DESC, span DESC))[1] AS last
       FROM metric_point WHERE series = q.id AND at >= $2 AND at < $3 GROUP BY 1) b
     ORDER BY q.n, b.bucket";

pub(super) async fn names(session: &Session<'_>, after: &str, limit: usize) -> Result<Vec<String>, Fault> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    let rows = session.query(NAMES, &[&after, &limit]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// The series of a name that have labels, after others.
pub(super) async fn keys(
    session: &Session<'_>,
    (name, labels): (&str, &Labels),
    after: Option<&Labels>,
    limit: usize,
) -> Result<Vec<(i64, SeriesKey)>, Fault> {
    let after = after.map(encode_labels).unwrap_or_default();
    let asked: Vec<_> = labels
        .iter()
        .map(|(label, value)| label_part(label, value))
        .collect();
    let rows = session
        .query(KEYS, &[&name, &after, &asked, &whole(limit)])
        .await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let key = SeriesKey::new(name, decode_labels(get(row, 1)?)?)
            .map_err(|_| Fault::Damaged("metric series"))?;
        found.push((get(row, 0)?, key));
    }
    Ok(found)
}

pub(super) async fn series(
    session: &Session<'_>,
    query: &RangeQuery,
) -> Result<Result<Vec<Series>, TelemetryError>, Fault> {
    let keys = keys(session, (query.name(), query.labels()), None, MAX_SERIES + 1).await?;
    if keys.len() > MAX_SERIES {
        return Ok(Err(TelemetryError::TooManySeries));
    }
    let (ids, keys): (Vec<i64>, Vec<SeriesKey>) = keys.into_iter().unzip();
    let (from, to) = (query.from().as_micros(), query.to().as_micros());
    let rows = session
        .query(BUCKETS, &[&ids, &from, &to, &query.step_micros()])
        .await?;
    let mut all = vec![Vec::new(); keys.len()];
    for row in &rows {
        let place = usize::try_from(natural(get::<i64>(row, 0)? - 1)).ok();
        let own = place.and_then(|place| all.get_mut(place));
        own.ok_or(Fault::Damaged("metric series"))?.push(bucket(row)?);
    }
    let found = keys.into_iter().zip(all);
    Ok(Ok(found
        .filter(|(_, buckets)| !buckets.is_empty())
        .map(|(key, buckets)| Series { key, buckets })
        .collect()))
}

fn bucket(row: &Row) -> Result<Bucket, Fault> {
    Ok(Bucket {
        at: Timestamp::from_micros(get(row, 1)?),
        count: natural(get(row, 2)?).max(1),
        mean: get(row, 3)?,
        min: get(row, 4)?,
        max: get(row, 5)?,
        last: get(row, 6)?,
    })
}
