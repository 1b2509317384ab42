//! The section `telemetry`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::file::TelemetrySection;

/// The history of measurements.
#[derive(Debug, Clone)]
pub(crate) struct TelemetryConfig {
    /// How often measurements are added to their history; never, when it is absent.
    pub(crate) sample_every: Option<Duration>,
    /// How long every sample is kept.
    pub(crate) whole: Duration,
    /// How long anything is kept.
    pub(crate) kept: Duration,
}

impl TelemetryConfig {
    pub(super) fn of(section: &TelemetrySection, problems: &mut Vec<String>) -> Self {
        let mut number = |name: &str, given: Option<u32>, default: u32, range: RangeInclusive<u32>| {
            let value = given.unwrap_or(default);
            if !range.contains(&value) {
                let (least, most) = range.into_inner();
                problems.push(format!(
                    "telemetry.{name}: must lie in {least}..={most}, not {value}"
                ));
            }
            value
        };
        let seconds = number("sample_seconds", section.sample_seconds, 15, 0..=3_600);
        let hours = number("whole_hours", section.whole_hours, 24, 1..=8_760);
        let days = number("keep_days", section.keep_days, 15, 1..=3_650);
        if u64::from(hours) > u64::from(days) * 24 {
            problems.push(format!(
                "telemetry.whole_hours: {hours} hours are longer than the {days} days of telemetry.keep_days; raise that or lower this"
            ));
        }
        Self {
            sample_every: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
            whole: Duration::from_hours(hours.into()),
            kept: Duration::from_hours(u64::from(days) * 24),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        sample_seconds: Option<u32>,
        whole_hours: Option<u32>,
        keep_days: Option<u32>,
    ) -> (TelemetryConfig, Vec<String>) {
        let section = TelemetrySection {
            sample_seconds,
            whole_hours,
            keep_days,
        };
        let mut problems = Vec::new();
        (TelemetryConfig::of(&section, &mut problems), problems)
    }

    #[test]
    fn the_history_is_on_unless_it_is_switched_off() {
        let (config, problems) = of(None, None, None);
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.sample_every, Some(Duration::from_secs(15)));
        assert_eq!(
            (config.whole, config.kept),
            (Duration::from_hours(24), Duration::from_hours(360))
        );
        assert_eq!(of(Some(0), None, None).0.sample_every, None);
    }

    #[test]
    fn every_problem_is_told() {
        let (_, problems) = of(Some(3_601), Some(0), Some(0));
        assert_eq!(problems.len(), 3, "{problems:?}");
        let (_, problems) = of(None, Some(49), Some(2));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("keep_days"), "{problems:?}");
        assert_eq!(of(None, Some(48), Some(2)).1, [""; 0]);
    }
}
