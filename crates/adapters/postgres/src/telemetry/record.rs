//! Storing samples.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{Sample, SeriesKey, Timestamp};
use arbiter_core::ports::Recorded;
use arbiter_wire::stored::encode_labels;

use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::get;
use crate::write::Write;

/// The order in which the asked keys have their numbers.
const FIND: &str =
    "SELECT q.n, s.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (name, labels, n)
     JOIN metric_series s ON s.name = q.name AND s.labels = q.labels";

/// Points come in the order of their keys, so that none waits for another in a circle.
const POINTS: &str = "INSERT INTO metric_point (series, at, span, count, mean, min, max, last)
     SELECT series, at, 0, 1, value, value, value, value
     FROM unnest($1::bigint[], $2::bigint[], $3::float8[]) AS new (series, at, value)
     ON CONFLICT DO NOTHING";

pub(super) async fn record(
    write: &Write<'_>,
    samples: Vec<Sample>,
    max_series: usize,
) -> Result<Recorded, Fault> {
    let mut told = Recorded::default();
    if samples.is_empty() {
        return Ok(told);
    }
    // held until the commit: what is down-sampled or forgotten meanwhile waits for these samples
    let row = write
        .session
        .query_opt("SELECT at FROM metric_horizon FOR SHARE", &[])
        .await?
        .ok_or(Fault::Damaged("metric horizon"))?;
    let horizon = Timestamp::from_micros(get(&row, 0)?);
    let total = samples.len();
    let samples: Vec<_> = samples
        .into_iter()
        .filter(|sample| sample.at() >= horizon)
        .collect();
    told.late = total - samples.len();
    let ids = series_ids(write, &samples, max_series).await?;
    let mut points = BTreeMap::new();
    for sample in &samples {
        match ids.get(sample.series()) {
            Some(id) => {
                points
                    .entry((*id, sample.at().as_micros()))
                    .or_insert(sample.value());
            }
            None => told.without_room += 1,
        }
    }
    let series: Vec<i64> = points.keys().map(|(id, _)| *id).collect();
    let times: Vec<i64> = points.keys().map(|(_, at)| *at).collect();
    let values: Vec<f64> = points.into_values().collect();
    let stored = write.session.execute(POINTS, &[&series, &times, &values]).await?;
    told.stored = usize::try_from(stored).unwrap_or(usize::MAX);
    Ok(told)
}

/// The numbers of series. Those that are new are made, in the order of the samples, while there is room.
async fn series_ids<'s>(
    write: &Write<'_>,
    samples: &'s [Sample],
    max_series: usize,
) -> Result<BTreeMap<&'s SeriesKey, i64>, Fault> {
    let mut seen = BTreeSet::new();
    let keys: Vec<_> = samples
        .iter()
        .map(Sample::series)
        .filter(|key| seen.insert(*key))
        .collect();
    let mut ids = find(write, &keys).await?;
    let mut new: Vec<_> = keys.into_iter().filter(|key| !ids.contains_key(key)).collect();
    if new.is_empty() {
        return Ok(ids);
    }
    let row = write
        .session
        .query_opt("SELECT count(*) FROM metric_series", &[])
        .await?
        .ok_or(Fault::Damaged("metric series"))?;
    let room = whole(max_series) - get::<i64>(&row, 0)?;
    new.truncate(usize::try_from(room).unwrap_or(0));
    // in one order for all nodes, so that none waits for another in a circle
    new.sort_unstable();
    let (names, labels) = columns(&new);
    write
        .session
        .execute(
            "INSERT INTO metric_series (name, labels) SELECT * FROM unnest($1::text[], $2::text[])
             ON CONFLICT DO NOTHING",
            &[&names, &labels],
        )
        .await?;
    // those that another node made at the same time have its numbers
    ids.extend(find(write, &new).await?);
    Ok(ids)
}

async fn find<'s>(write: &Write<'_>, keys: &[&'s SeriesKey]) -> Result<BTreeMap<&'s SeriesKey, i64>, Fault> {
    let (names, labels) = columns(keys);
    let rows = write.session.query(FIND, &[&names, &labels]).await?;
    let mut ids = BTreeMap::new();
    for row in &rows {
        let place = natural(get::<i64>(row, 0)? - 1);
        let key = usize::try_from(place).ok().and_then(|place| keys.get(place));
        ids.insert(*key.ok_or(Fault::Damaged("metric series"))?, get(row, 1)?);
    }
    Ok(ids)
}

fn columns<'s>(keys: &[&'s SeriesKey]) -> (Vec<&'s str>, Vec<String>) {
    keys.iter()
        .map(|key| (key.name(), encode_labels(key.labels())))
        .unzip()
}
