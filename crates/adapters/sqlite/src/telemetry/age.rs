//! What becomes of old samples.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{Bucket, Timestamp};
use arbiter_core::ports::Compaction;
use rusqlite::{OptionalExtension as _, params};

use super::read::bucket;
use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;

/// The oldest samples before a moment.
pub(crate) const OLDEST_SAMPLES: &str = "SELECT at, series, mean FROM metric_point
     WHERE span = 0 AND at < ?1 ORDER BY at, series LIMIT ?2";

/// The oldest samples and buckets that begin before a moment.
pub(crate) const OLDEST: &str =
    "SELECT series, at, span FROM metric_point WHERE at < ?1 ORDER BY at, span LIMIT ?2";

pub(super) fn compact(group: &Group<'_>, rule: Compaction) -> Result<usize, Fault> {
    raise_horizon(group, rule.before())?;
    let mut statement = group.statement(OLDEST_SAMPLES)?;
    let mut rows = statement.query(params![rule.before().as_micros(), whole(rule.limit())])?;
    let mut samples = Vec::new();
    while let Some(row) = rows.next()? {
        let (at, series, value) = (row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?);
        samples.push((series, Bucket::of(Timestamp::from_micros(at), value)));
    }
    let mut buckets: BTreeMap<(i64, Timestamp), Bucket> = BTreeMap::new();
    for (series, sample) in &samples {
        let at = rule.bucket_of(sample.at);
        buckets
            .entry((*series, at))
            .and_modify(|bucket| bucket.append(sample))
            .or_insert(Bucket { at, ..*sample });
        group
            .statement("DELETE FROM metric_point WHERE series = ?1 AND at = ?2 AND span = 0")?
            .execute(params![series, sample.at.as_micros()])?;
    }
    for ((series, _), bucket) in buckets {
        put(group, series, rule.into_micros(), bucket)?;
    }
    Ok(samples.len())
}

/// Stores a bucket, or takes it into the one that an earlier step began.
fn put(group: &Group<'_>, series: i64, span: i64, later: Bucket) -> Result<(), Fault> {
    let begun = group
        .statement(
            "SELECT at, count, mean, min, max, last FROM metric_point WHERE series = ?1 AND at = ?2 AND span = ?3",
        )?
        .query_row(params![series, later.at.as_micros(), span], |row| Ok(bucket(row)))
        .optional()?
        .transpose()?;
    let whole_bucket = match begun {
        None => later,
        Some(mut begun) => {
            begun.append(&later);
            begun
        }
    };
    let Bucket {
        at,
        count,
        mean,
        min,
        max,
        last,
    } = whole_bucket;
    group
        .statement(
            "INSERT OR REPLACE INTO metric_point (series, at, span, count, mean, min, max, last)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            series,
            at.as_micros(),
            span,
            whole(count),
            mean,
            min,
            max,
            last
        ])?;
    Ok(())
}

pub(super) fn forget(group: &Group<'_>, before: Timestamp, limit: usize) -> Result<usize, Fault> {
    raise_horizon(group, before)?;
    let sql = format!("DELETE FROM metric_point WHERE (series, at, span) IN ({OLDEST}) RETURNING series");
    let mut statement = group.statement(&sql)?;
    let rows = statement.query_map(params![before.as_micros(), whole(limit)], |row| row.get(0))?;
    let touched: Vec<i64> = rows.collect::<Result<_, _>>()?;
    for series in touched.iter().copied().collect::<BTreeSet<_>>() {
        group
            .statement(
                "DELETE FROM metric_series
                 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM metric_point WHERE series = ?1)",
            )?
            .execute([series])?;
    }
    Ok(touched.len())
}

fn raise_horizon(group: &Group<'_>, to: Timestamp) -> Result<(), Fault> {
    group
        .statement("UPDATE metric_horizon SET at = ?1 WHERE at < ?1")?
        .execute([to.as_micros()])?;
    Ok(())
}
