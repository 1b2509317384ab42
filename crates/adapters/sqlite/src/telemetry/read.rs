//! Reading series.

use arbiter_core::model::{Bucket, Labels, SeriesKey, Timestamp};
use arbiter_core::ports::{MAX_SERIES, RangeQuery, Series, TelemetryError};
use arbiter_wire::stored::decode_labels;
use rusqlite::{Connection, Row, params};

use crate::error::Fault;
use crate::number::natural;

/// Samples and buckets of a series in a range, in the order of time.
pub(crate) const POINTS: &str = "SELECT at, count, mean, min, max, last FROM metric_point
     WHERE series = ?1 AND at >= ?2 AND at < ?3 ORDER BY at, span";

pub(super) fn names(connection: &Connection, after: &str, limit: i64) -> Result<Vec<String>, Fault> {
    let mut statement = connection
        .prepare_cached("SELECT DISTINCT name FROM metric_series WHERE name > ?1 ORDER BY name LIMIT ?2")?;
    let names = statement.query_map(params![after, limit], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// The series of a name that have labels, after the text of others.
pub(super) fn keys(
    connection: &Connection,
    (name, labels): (&str, &Labels),
    after: &str,
    limit: usize,
) -> Result<Vec<(i64, SeriesKey)>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT id, labels FROM metric_series WHERE name = ?1 AND labels > ?2 ORDER BY labels",
    )?;
    let mut rows = statement.query(params![name, after])?;
    let mut found = Vec::new();
    while found.len() < limit {
        let Some(row) = rows.next()? else { break };
        let own = decode_labels(row.get_ref(1)?.as_str().map_err(|_| Fault::Damaged("labels"))?)?;
        if own.include(labels) {
            let key = SeriesKey::new(name, own).map_err(|_| Fault::Damaged("metric series"))?;
            found.push((row.get(0)?, key));
        }
    }
    Ok(found)
}

pub(super) fn series(
    connection: &Connection,
    query: &RangeQuery,
) -> Result<Result<Vec<Series>, TelemetryError>, Fault> {
    let keys = keys(connection, (query.name(), query.labels()), "", MAX_SERIES + 1)?;
    if keys.len() > MAX_SERIES {
        return Ok(Err(TelemetryError::TooManySeries));
    }
    let mut found = Vec::new();
    for (id, key) in keys {
        let buckets = buckets(connection, id, query)?;
        if !buckets.is_empty() {
            found.push(Series { key, buckets });
        }
    }
    Ok(Ok(found))
}

fn buckets(connection: &Connection, id: i64, query: &RangeQuery) -> Result<Vec<Bucket>, Fault> {
    let mut statement = connection.prepare_cached(POINTS)?;
    let mut rows = statement.query(params![id, query.from().as_micros(), query.to().as_micros()])?;
    let mut buckets: Vec<Bucket> = Vec::new();
    while let Some(row) = rows.next()? {
        let part = bucket(row)?;
        let at = query.bucket_of(part.at);
        match buckets.last_mut().filter(|last| last.at == at) {
            Some(last) => last.append(&part),
            None => buckets.push(Bucket { at, ..part }),
        }
    }
    Ok(buckets)
}

/// A bucket of the columns at, count, mean, min, max, last.
pub(super) fn bucket(row: &Row<'_>) -> Result<Bucket, Fault> {
    Ok(Bucket {
        at: Timestamp::from_micros(row.get(0)?),
        count: natural(row.get(1)?).max(1),
        mean: row.get(2)?,
        min: row.get(3)?,
        max: row.get(4)?,
        last: row.get(5)?,
    })
}
