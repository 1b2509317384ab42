//! Cron expressions: which days, hours and minutes one names. When those come in a time zone, `calendar` says.

use std::fmt;
use std::str::FromStr;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 200;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const ALL_HOURS: u64 = (1 << 24) - 1;

/// A cron expression of five fields: minute, hour, day of month, month, day of week.
///
/// A field is `*`, or a list of values and ranges (`1,10-20`); `*` and ranges may have a step (`*/15`, `9-17/2`).
/// Months and days of week have English names of three letters in either case; Sunday is 0 or 7; `L` is the last day
/// of a month. If both day fields are restricted, which means that neither begins with `*`, a day counts when one of
/// them names it, as cron has always done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    last_day: bool,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCron {
    /// It does not have five fields, or is too long.
    #[error("has no five fields: minute, hour, day of month, month, day of week")]
    Fields,
    /// A part of a field is not of a known form or out of its range.
    #[error("names `{part}` as {field}, which takes {takes}")]
    Part {
        /// The field.
        field: &'static str,
        /// The part.
        part: String,
        /// What the field takes.
        takes: &'static str,
    },
    /// No month has such a day.
    #[error("names a day that never comes")]
    Never,
}

struct Field {
    name: &'static str,
    takes: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const MINUTE: Field = Field {
    name: "minute",
    takes: "0-59",
    least: 0,
    most: 59,
    names: &[],
};
const HOUR: Field = Field {
    name: "hour",
    takes: "0-23",
    least: 0,
    most: 23,
    names: &[],
};
const DAY: Field = Field {
    name: "day of month",
    takes: "1-31, or L for the last one",
    least: 1,
    most: 31,
    names: &[],
};
const MONTH: Field = Field {
    name: "month",
    takes: "1-12 or jan-dec",
    least: 1,
    most: 12,
    names: &MONTHS,
};
const WEEKDAY: Field = Field {
    name: "day of week",
    takes: "0-7 or sun-sat",
    least: 0,
    most: 7,
    names: &WEEKDAYS,
};

impl Cron {
    /// Whether this day is one of the expression's. `weekday` counts from Sunday, 0.
    pub fn names_day(&self, month: u8, day: u8, days_in_month: u8, weekday: u8) -> bool {
        let of_month = has(self.days, day) || (self.last_day && day == days_in_month);
        let of_week = has(self.weekdays, weekday);
        let counts = if self.either_day {
            of_month || of_week
        } else {
            of_month && of_week
        };
        counts && has(self.months, month)
    }

    /// Whether this time of day is one of the expression's.
    pub const fn names_time(&self, hour: u8, minute: u8) -> bool {
        has(self.hours, hour) && has(self.minutes, minute)
    }

    /// The hours and minutes of a day, in order.
    pub fn times(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        let hours = (0..24).filter(|hour| has(self.hours, *hour));
        hours.flat_map(|hour| {
            let minutes = (0..60).filter(|minute| has(self.minutes, *minute));
            minutes.map(move |minute| (hour, minute))
        })
    }

    /// Whether every hour is named: such an expression speaks of elapsed time, not of times of day.
    pub const fn is_hourly(&self) -> bool {
        self.hours == ALL_HOURS
    }

    /// Whether no month has a named day. Days of week come in every month.
    fn is_void(&self) -> bool {
        if self.last_day || self.either_day {
            return false;
        }
        let first = self.days.trailing_zeros();
        (1..=12).all(|month| !has(self.months, month) || first > longest(month))
    }
}

/// How many days a month can have.
const fn longest(month: u8) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const fn has(set: u64, value: u8) -> bool {
    value < 64 && set & (1 << value) != 0
}

impl FromStr for Cron {
    type Err = InvalidCron;

    fn from_str(text: &str) -> Result<Self, InvalidCron> {
        if text.len() > MAX_BYTES {
            return Err(InvalidCron::Fields);
        }
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(InvalidCron::Fields);
        };
        let is_last = |part: &&str| part.eq_ignore_ascii_case("l");
        let (last, days): (Vec<&str>, Vec<&str>) = day.split(',').partition(is_last);
        let weekdays = WEEKDAY.set(weekday.split(','))?;
        let cron = Self {
            text: fields.join(" "),
            minutes: MINUTE.set(minute.split(','))?,
            hours: HOUR.set(hour.split(','))?,
            days: DAY.set(days)?,
            last_day: !last.is_empty(),
            months: MONTH.set(month.split(','))?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        if cron.is_void() {
            return Err(InvalidCron::Never);
        }
        Ok(cron)
    }
}

/// The fields, with one space between them.
impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Field {
    fn set<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Result<u64, InvalidCron> {
        parts.into_iter().try_fold(0, |set, part| {
            let values = self.values(part).ok_or_else(|| InvalidCron::Part {
                field: self.name,
                part: part.to_owned(),
                takes: self.takes,
            })?;
            Ok(set | values)
        })
    }

    fn values(&self, part: &str) -> Option<u64> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step)?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (self.value(from)?, self.last(to)?),
            None if range == "*" => (self.least, self.most),
            // A single value has no step: `5/10` means different things to different programs.
            None if step.is_none() => (self.value(range)?, self.value(range)?),
            None => return None,
        };
        let step = step.unwrap_or(1);
        if from > to || !(1..=self.most).contains(&step) {
            return None;
        }
        let values = (from..=to).step_by(step as usize);
        Some(values.fold(0, |set, value| set | 1 << value))
    }

    fn value(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let value = match named {
            Some(place) => u32::try_from(place).ok()? + self.least,
            None => number(text)?,
        };
        (self.least..=self.most).contains(&value).then_some(value)
    }

    /// The end of a range: Sunday ends a week, as in `sat-sun`.
    fn last(&self, text: &str) -> Option<u32> {
        let value = self.value(text)?;
        Some(if self.most == 7 && value == 0 { 7 } else { value })
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(set: u64) -> Vec<u8> {
        (0..64).filter(|value| has(set, *value)).collect()
    }

    fn cron(text: &str) -> Cron {
        text.parse()
            .unwrap_or_else(|error: InvalidCron| panic!("{text}: {error}"))
    }

    #[test]
    fn fields_take_lists_ranges_steps_and_names() {
        let minutes = |text: &str| values(cron(&format!("{text} * * * *")).minutes);
        assert_eq!(minutes("*/7"), [0, 7, 14, 21, 28, 35, 42, 49, 56]);
        assert_eq!(minutes("5,1-3,50-59/4"), [1, 2, 3, 5, 50, 54, 58]);
        assert_eq!(minutes("00"), [0]);
        assert_eq!(values(cron("0 0 * JAN,mar-may *").months), [1, 3, 4, 5]);
        let weekdays = |text: &str| values(cron(&format!("0 0 * * {text}")).weekdays);
        assert_eq!(weekdays("Mon-Fri"), [1, 2, 3, 4, 5]);
        assert_eq!(weekdays("sat-sun"), [0, 6]);
        assert_eq!(weekdays("7"), [0]);
        assert_eq!(weekdays("5-7"), [0, 5, 6]);
        assert_eq!(weekdays("*"), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(cron(" 0\t0  1 * * ").to_string(), "0 0 1 * *");
        assert!(cron("0 */1 * * *").is_hourly() && !cron("0 */2 * * *").is_hourly());
    }

    #[test]
    fn restricted_days_count_either_way_and_a_star_leaves_the_other_alone() {
        // 2026-01-13 is a Tuesday, 2026-01-16 a Friday.
        let day = |text: &str, day, weekday| cron(text).names_day(1, day, 31, weekday);
        assert!(day("0 0 13 * fri", 13, 2) && day("0 0 13 * fri", 16, 5) && !day("0 0 13 * fri", 14, 3));
        assert!(day("0 0 13 * *", 13, 2) && !day("0 0 13 * *", 16, 5));
        assert!(day("0 0 */2 * fri", 9, 5) && !day("0 0 */2 * fri", 16, 5));
        assert!(day("0 0 L * *", 31, 6) && !day("0 0 l * *", 30, 5));
        assert!(day("0 0 1,L * *", 1, 4) && day("0 0 1,L * *", 31, 6));
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * 0 *",
            "* * * * 8",
            "5/10 * * * *",
            "*/0 * * * *",
            "*/60 * * * *",
            "9-5 * * * *",
            "1- * * * *",
            ",1 * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "1.5 * * * *",
            "001 * * * *",
            "* * * january *",
            "* * * * fri-mon",
            "L * * * *",
            "* * 15W * *",
            "@daily",
            "0 0 30 2 *",
            "0 0 31 4,6,9,11 *",
        ] {
            assert!(text.parse::<Cron>().is_err(), "{text}");
        }
        assert_eq!("0 0 30 2 *".parse::<Cron>(), Err(InvalidCron::Never));
        assert!("0 0 29 2 *".parse::<Cron>().is_ok() && "0 0 30 2 mon".parse::<Cron>().is_ok());
        let error = "0 0 * * noday".parse::<Cron>().expect_err("refused");
        assert_eq!(
            error.to_string(),
            "names `noday` as day of week, which takes 0-7 or sun-sat"
        );
    }
}
