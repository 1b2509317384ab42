//! What becomes of old samples.

use std::collections::BTreeSet;

use arbiter_core::model::Timestamp;
use arbiter_core::ports::Compaction;

use crate::error::Fault;
use crate::number::whole;
use crate::session::get;
use crate::write::Write;

/// Takes the oldest samples and sums them up; what an earlier step began takes them in, for they are later.
const COMPACT: &str = "WITH taken AS (
       DELETE FROM metric_point WHERE (series, at, span) IN (
         SELECT series, at, span FROM metric_point WHERE span = 0 AND at < $1 ORDER BY at, series LIMIT $3)
       RETURNING series, at, mean),
     put AS (
       INSERT INTO metric_point AS p (series, at, span, count, mean, min, max, last)
       SELECT series, at - at % $2, $2, count(*), sum(mean) / count(*), min(mean), max(mean),
         (array_agg(mean ORDER BY at DESC))[1]
       FROM taken GROUP BY 1, 2
       ON CONFLICT (series, at, span) DO UPDATE SET count = p.count + excluded.count,
         mean = (p.mean * p.count + excluded.mean * excluded.count) / (p.count + excluded.count),
         min = least(p.min, excluded.min), max = greatest(p.max, excluded.max), last = excluded.last)
     SELECT count(*) FROM taken";

const FORGET: &str = "DELETE FROM metric_point WHERE (series, at, span) IN (
       SELECT series, at, span FROM metric_point WHERE at < $1 ORDER BY at, span LIMIT $2)
     RETURNING series";

const FORGET_SERIES: &str = "DELETE FROM metric_series AS s WHERE id = ANY($1)
     AND (SELECT 1 FROM metric_point WHERE series = s.id LIMIT 1) IS NULL";

pub(super) async fn compact(write: &Write<'_>, rule: Compaction) -> Result<usize, Fault> {
    hold_horizon(write, rule.before()).await?;
    let (before, into) = (rule.before().as_micros(), rule.into_micros());
    let row = write
        .session
        .query_opt(COMPACT, &[&before, &into, &whole(rule.limit())])
        .await?
        .ok_or(Fault::Damaged("metric point"))?;
    Ok(usize::try_from(get::<i64>(&row, 0)?).unwrap_or(usize::MAX))
}

pub(super) async fn forget(write: &Write<'_>, before: Timestamp, limit: usize) -> Result<usize, Fault> {
    hold_horizon(write, before).await?;
    let rows = write
        .session
        .query(FORGET, &[&before.as_micros(), &whole(limit)])
        .await?;
    let touched: BTreeSet<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    let touched: Vec<i64> = touched.into_iter().collect();
    write.session.execute(FORGET_SERIES, &[&touched]).await?;
    Ok(rows.len())
}

/// Keeps everybody from recording until the commit, so that no sample comes to what is summed up, and no series that
/// gets a sample is deleted; and raises the horizon.
async fn hold_horizon(write: &Write<'_>, to: Timestamp) -> Result<(), Fault> {
    write
        .session
        .execute(
            "UPDATE metric_horizon SET at = greatest(at, $1)",
            &[&to.as_micros()],
        )
        .await?;
    Ok(())
}
