//! Storing samples.

use std::collections::BTreeMap;

use arbiter_core::model::{Sample, SeriesKey, Timestamp};
use arbiter_core::ports::Recorded;
use arbiter_wire::stored::encode_labels;
use rusqlite::{OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;

pub(super) fn record(group: &Group<'_>, samples: &[Sample], max_series: usize) -> Result<Recorded, Fault> {
    let horizon: i64 = group
        .statement("SELECT at FROM metric_horizon")?
        .query_row([], |row| row.get(0))?;
    let horizon = Timestamp::from_micros(horizon);
    let mut ids = BTreeMap::new();
    let mut told = Recorded::default();
    for sample in samples {
        if sample.at() < horizon {
            told.late += 1;
            continue;
        }
        let key = sample.series();
        let id = match ids.get(key) {
            Some(id) => *id,
            None => {
                let id = series_id(group, key, max_series)?;
                ids.insert(key, id);
                id
            }
        };
        let Some(id) = id else {
            told.without_room += 1;
            continue;
        };
        told.stored += group
            .statement(
                "INSERT INTO metric_point (series, at, span, count, mean, min, max, last)
                 VALUES (?1, ?2, 0, 1, ?3, ?3, ?3, ?3) ON CONFLICT DO NOTHING",
            )?
            .execute(params![id, sample.at().as_micros(), sample.value()])?;
    }
    Ok(told)
}

/// The number of a series, which is made if there is room.
fn series_id(group: &Group<'_>, key: &SeriesKey, max_series: usize) -> Result<Option<i64>, Fault> {
    let labels = encode_labels(key.labels());
    let found = group
        .statement("SELECT id FROM metric_series WHERE name = ?1 AND labels = ?2")?
        .query_row(params![key.name(), labels], |row| row.get(0))
        .optional()?;
    if found.is_some() {
        return Ok(found);
    }
    let made = group
        .statement(
            "INSERT INTO metric_series (name, labels)
             SELECT ?1, ?2 WHERE (SELECT count(*) FROM metric_series) < ?3 RETURNING id",
        )?
        .query_row(params![key.name(), labels, whole(max_series)], |row| row.get(0))
        .optional()?;
    Ok(made)
}
