//! Cron expressions in time zones, against tables and against a second way to find instants.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn calendar(cron: &str, zone: &str) -> Calendar {
    Calendar {
        cron: cron.parse().expect(cron),
        zone: Zone::named(zone).expect(zone),
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

/// The first instants after a moment, as the zone's clocks show them.
fn local(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let calendar = calendar(cron, zone);
    let instants = calendar.after(at(after)).take(count);
    instants
        .map(|at| calendar.zone.local(at).expect("a time of the calendar"))
        .collect()
}

#[test]
fn a_time_that_does_not_exist_comes_at_the_first_instant_after_the_gap() {
    // Berlin: 02:00 to 03:00 on 2026-03-29. New York: 02:00 to 03:00 on 2026-03-08.
    assert_eq!(
        local("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3),
        [
            "2026-03-28T02:30:00+01:00",
            "2026-03-29T03:00:00+02:00",
            "2026-03-30T02:30:00+02:00"
        ]
    );
    assert_eq!(
        local("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2),
        ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]
    );
    // All that falls into the gap, and what is due at its end anyway, is one instant.
    assert_eq!(
        local("*/20 1-3 * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", 4),
        [
            "2026-03-29T01:40:00+01:00",
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T03:20:00+02:00",
            "2026-03-29T03:40:00+02:00"
        ]
    );
    // A day that does not exist at all: Samoa crossed the date line.
    assert_eq!(
        local("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", 2),
        ["2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"]
    );
    // Clocks are set forward at midnight.
    assert_eq!(
        local("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", 2),
        ["2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"]
    );
}

#[test]
fn a_time_that_exists_twice_comes_once_the_first_time() {
    // Berlin: 03:00 to 02:00 on 2026-10-25. New York: 02:00 to 01:00 on 2026-11-01.
    assert_eq!(
        local("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
    assert_eq!(
        local("0,30 1,2 * * *", "America/New_York", "2026-11-01T04:30:00Z", 5),
        [
            "2026-11-01T01:00:00-04:00",
            "2026-11-01T01:30:00-04:00",
            "2026-11-01T02:00:00-05:00",
            "2026-11-01T02:30:00-05:00",
            "2026-11-02T01:00:00-05:00"
        ]
    );
    // Asked inside of the repeated hour, the next one is tomorrow's.
    assert_eq!(
        local("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", 1),
        ["2026-10-26T02:30:00+01:00"]
    );
}

#[test]
fn an_expression_of_every_hour_goes_on_by_elapsed_time() {
    assert_eq!(
        local("30 * * * *", "Europe/Berlin", "2026-03-28T23:45:00Z", 3),
        [
            "2026-03-29T01:30:00+01:00",
            "2026-03-29T03:30:00+02:00",
            "2026-03-29T04:30:00+02:00"
        ]
    );
    assert_eq!(
        local("*/30 * * * *", "America/New_York", "2026-11-01T05:00:00Z", 5),
        [
            "2026-11-01T01:30:00-04:00",
            "2026-11-01T01:00:00-05:00",
            "2026-11-01T01:30:00-05:00",
            "2026-11-01T02:00:00-05:00",
            "2026-11-01T02:30:00-05:00"
        ]
    );
    // St John's set its clocks back at one minute past midnight: the day before came again.
    assert_eq!(
        local("*/30 * * * *", "America/St_Johns", "2010-11-07T02:05:00Z", 4),
        [
            "2010-11-07T00:00:00-02:30",
            "2010-11-06T23:30:00-03:30",
            "2010-11-07T00:00:00-03:30",
            "2010-11-07T00:30:00-03:30"
        ]
    );
}

#[test]
fn leap_days_ends_of_months_and_steps() {
    assert_eq!(
        local("0 6 29 2 *", "UTC", "2096-03-01T00:00:00Z", 2),
        ["2104-02-29T06:00:00+00:00", "2108-02-29T06:00:00+00:00"]
    );
    assert_eq!(
        local("0 0 L * *", "Asia/Tokyo", "2028-01-15T00:00:00Z", 4),
        [
            "2028-01-31T00:00:00+09:00",
            "2028-02-29T00:00:00+09:00",
            "2028-03-31T00:00:00+09:00",
            "2028-04-30T00:00:00+09:00"
        ]
    );
    assert_eq!(
        local("0 0 31 * *", "UTC", "2026-01-31T00:00:00Z", 3),
        [
            "2026-03-31T00:00:00+00:00",
            "2026-05-31T00:00:00+00:00",
            "2026-07-31T00:00:00+00:00"
        ]
    );
    assert_eq!(
        local("*/7 9 * * mon-fri", "Asia/Kolkata", "2026-01-09T04:15:00Z", 4),
        [
            "2026-01-09T09:49:00+05:30",
            "2026-01-09T09:56:00+05:30",
            "2026-01-12T09:00:00+05:30",
            "2026-01-12T09:07:00+05:30"
        ]
    );
    // Both day fields hold, as one begins with `*`: a leap day that is a Monday, 28 years after the one before.
    assert_eq!(
        local("0 0 */28 2 mon", "UTC", "2024-03-01T00:00:00Z", 4),
        [
            "2027-02-01T00:00:00+00:00",
            "2038-02-01T00:00:00+00:00",
            "2044-02-01T00:00:00+00:00",
            "2044-02-29T00:00:00+00:00"
        ]
    );
}

#[test]
fn zones_have_the_names_of_the_database() {
    assert_eq!(
        Zone::named("europe/berlin").map(|zone| zone.name()),
        Some("Europe/Berlin")
    );
    for name in ["", "Berlin", "CEST", "+01:00", "../etc/passwd", "Europe/Berlin "] {
        assert!(Zone::named(name).is_none(), "{name}");
    }
}

#[test]
fn the_ends_of_time_are_no_error() {
    let calendar = calendar("* * * * *", "Europe/Berlin");
    assert_eq!(calendar.after(Timestamp::from_micros(i64::MAX)).next(), None);
    assert_eq!(calendar.after(Timestamp::from_micros(i64::MIN)).next(), None);
    let last = at("9999-12-30T20:00:00Z");
    assert!(calendar.after(last).take(3_000).count() < 3_000);
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "America/Havana",
    "Pacific/Chatham",
];

/// Whether a minute that exists is one of the calendar's: its local time is named and, unless the calendar is hourly,
/// comes for the first time; or it ends a gap with a named time in it.
fn is_named(calendar: &Calendar, at: i64) -> bool {
    let zone = &calendar.zone.rules;
    let moment = moment(at).expect("in range");
    let local = zone.to_datetime(moment);
    let named = |local: DateTime| {
        let part = |value: i8| u8::try_from(value).expect("not negative");
        let date = local.date();
        let weekday = part(date.weekday().to_sunday_zero_offset());
        calendar.cron.names_day(
            part(date.month()),
            part(date.day()),
            part(date.days_in_month()),
            weekday,
        ) && calendar.cron.names_time(part(local.hour()), part(local.minute()))
    };
    let hourly = calendar.cron.is_hourly();
    let is_repeat = match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Fold { after, .. } => zone.to_offset(moment) == after,
        _ => false,
    };
    if named(local) && (hourly || !is_repeat) {
        return true;
    }
    // The minutes between the local time just before this one and this one do not exist.
    let before = zone.to_offset(super::moment(at - 1).expect("in range"));
    let missing = (zone.to_offset(moment).seconds() - before.seconds()) / 60;
    let first = before.to_datetime(moment);
    !hourly
        && (0..missing.max(0)).any(|minute| {
            let step = jiff::SignedDuration::from_mins(i64::from(minute));
            first.checked_add(step).is_ok_and(named)
        })
}

fn field(least: u32, most: u32) -> impl Strategy<Value = String> {
    let value = least..=most;
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => value.clone().prop_map(|value| value.to_string()),
        1 => (1..=most).prop_map(|step| format!("*/{step}")),
        1 => (value.clone(), value).prop_map(|(a, b)| format!("{}-{},{a}", a.min(b), a.max(b))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The next instant is strictly after, is one of the calendar's, and no minute between is one.
    #[test]
    fn the_next_instant_is_the_first_named_one(
        minute in field(0, 59), hour in field(0, 23), day in field(1, 31), weekday in field(0, 7),
        zone in prop::sample::select(&ZONES[..]),
        // Around the changes of clocks of 2026, and anywhere in 30 years.
        after in prop_oneof![
            (1_772_000_000_i64..1_776_000_000), (1_790_000_000_i64..1_794_000_000), (1_700_000_000_i64..2_600_000_000),
        ],
    ) {
        let Ok(cron) = format!("{minute} {hour} {day} * {weekday}").parse::<Cron>() else {
            return Ok(());
        };
        let calendar = Calendar { cron, zone: Zone::named(zone).expect("zone") };
        let start = Timestamp::from_micros(after * MICROS + 1);
        // Two days of minutes are enough to meet each rule, and few enough to look at each of them.
        let end = after + 2 * 86_400;
        let expected: Vec<i64> = ((after / 60 + 1) * 60..end)
            .step_by(60)
            .filter(|at| is_named(&calendar, *at))
            .collect();
        let found: Vec<i64> = calendar
            .after(start)
            .map(|at| at.as_micros() / MICROS)
            .take_while(|at| *at < end)
            .collect();
        prop_assert_eq!(&found, &expected, "{} in {}", calendar.cron, zone);
        // From wherever one asks, the answer is the same.
        if let Some((first, second)) = found.first().zip(found.get(1)) {
            let first = Timestamp::from_micros(first * MICROS);
            prop_assert_eq!(calendar.after(first).next(), Some(Timestamp::from_micros(second * MICROS)));
            let just_before = first.minus(Duration::from_micros(1));
            prop_assert_eq!(calendar.after(just_before).next(), Some(first));
        }
    }
}
