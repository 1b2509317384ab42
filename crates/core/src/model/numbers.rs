//! Small checked numbers: priorities, bands, ratios.

use std::fmt;

/// A number outside of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{what} must lie in {from}..={to}, not {given}")]
pub struct OutOfRange {
    /// What the number is.
    pub what: &'static str,
    /// The lowest allowed value.
    pub from: f64,
    /// The highest allowed value.
    pub to: f64,
    /// The value that was given.
    pub given: f64,
}

/// How urgent a task is: 0 (least) to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    /// 25.
    pub const LOW: Self = Self(25);
    /// 50, the default.
    pub const NORMAL: Self = Self(50);
    /// 75.
    pub const HIGH: Self = Self(75);
    /// 100.
    pub const CRITICAL: Self = Self(100);

    /// Checks that `value` is at most 100.
    pub fn new(value: u8) -> Result<Self, OutOfRange> {
        if value > 100 {
            return Err(OutOfRange {
                what: "priority",
                from: 0.0,
                to: 100.0,
                given: f64::from(value),
            });
        }
        Ok(Self(value))
    }

    /// The number, 0–100.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The band that the priority falls in.
    pub const fn band(self) -> Band {
        match self.0 {
            0..=24 => Band(0),
            25..=49 => Band(1),
            50..=74 => Band(2),
            _ => Band(3),
        }
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::NORMAL
    }
}

/// One of the four bands of priority: 0 (0–24), 1 (25–49), 2 (50–74), 3 (75–100). Higher bands are served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Band(u8);

impl Band {
    /// All bands, the most urgent first.
    pub const DESCENDING: [Self; 4] = [Self(3), Self(2), Self(1), Self(0)];
    /// The most urgent band.
    pub const HIGHEST: Self = Self(3);

    /// Checks that `value` is at most 3.
    pub fn new(value: u8) -> Result<Self, OutOfRange> {
        if value > 3 {
            return Err(OutOfRange {
                what: "band",
                from: 0.0,
                to: 3.0,
                given: f64::from(value),
            });
        }
        Ok(Self(value))
    }

    /// The number, 0–3.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Band {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A share between 0 and 1, kept in millionths so that it can be compared and hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

impl Ratio {
    /// Checks that `value` lies in 0..=1 (NaN does not) and rounds it to a millionth.
    pub fn new(value: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1.0).contains(&value) {
            Ok(Self((value * 1e6).round() as u32))
        } else {
            Err(OutOfRange {
                what: "ratio",
                from: 0.0,
                to: 1.0,
                given: value,
            })
        }
    }

    /// The share as a floating-point number.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// The share in millionths.
    pub const fn millionths(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_follow_the_published_limits() {
        let bands: Vec<u8> = [0, 24, 25, 49, 50, 74, 75, 100]
            .into_iter()
            .map(|value| Priority::new(value).expect("in range").band().get())
            .collect();
        assert_eq!(bands, [0, 0, 1, 1, 2, 2, 3, 3]);
        assert!(Priority::new(101).is_err());
    }

    #[test]
    fn ratios_refuse_what_lies_outside() {
        assert_eq!(Ratio::new(0.25).expect("in range").millionths(), 250_000);
        for bad in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert!(Ratio::new(bad).is_err(), "{bad}");
        }
    }
}
