//! Measurements over time: series, samples, and the buckets that sum samples up.

use std::collections::BTreeMap;

use super::Timestamp;

/// How long the name of a metric may be.
const MAX_NAME_BYTES: usize = 200;
/// How many labels a series may have.
const MAX_LABELS: usize = 16;
/// How long the name of a label may be.
const MAX_LABEL_BYTES: usize = 64;
/// How long the value of a label may be.
const MAX_VALUE_BYTES: usize = 256;
/// The size that no value exceeds, so that sums of a hundred million stay finite.
const MAX_SIZE: f64 = 1e300;

/// Why something is no series or no sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSample {
    /// The name of the metric.
    #[error(
        "the name of a metric has 1 to {MAX_NAME_BYTES} letters, digits, `_`, `.` and `:` and begins with no digit"
    )]
    Name,
    /// The name of a label.
    #[error(
        "the name of a label has 1 to {MAX_LABEL_BYTES} letters, digits and `_` and begins with no digit"
    )]
    Label,
    /// The value of a label.
    #[error("the value of the label `{label}` has up to {MAX_VALUE_BYTES} bytes and no control characters")]
    LabelValue {
        /// The label.
        label: String,
    },
    /// Too many labels.
    #[error("a series has up to {MAX_LABELS} labels")]
    Labels,
    /// The value.
    #[error("a sample's value is finite and at most 1e300 in size")]
    Value,
    /// The time.
    #[error("a sample's time does not lie before 1970")]
    Time,
}

fn is_word(text: &str, longest: usize, more: &[char]) -> bool {
    (1..=longest).contains(&text.len())
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || more.contains(&c))
}

/// Labels by name, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// Checks labels.
    ///
    /// # Errors
    /// [`InvalidSample`] when a name or value is not allowed or there are too many.
    pub fn new(labels: BTreeMap<String, String>) -> Result<Self, InvalidSample> {
        if labels.len() > MAX_LABELS {
            return Err(InvalidSample::Labels);
        }
        for (label, value) in &labels {
            if !is_word(label, MAX_LABEL_BYTES, &[]) {
                return Err(InvalidSample::Label);
            }
            if value.len() > MAX_VALUE_BYTES || value.chars().any(char::is_control) {
                return Err(InvalidSample::LabelValue { label: label.clone() });
            }
        }
        Ok(Self(labels))
    }

    /// The value of a label.
    pub fn get(&self, label: &str) -> Option<&str> {
        self.0.get(label).map(String::as_str)
    }

    /// Names and values in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(label, value)| (label.as_str(), value.as_str()))
    }

    /// Whether each of `asked` is among these.
    pub fn include(&self, asked: &Self) -> bool {
        asked.iter().all(|(label, value)| self.get(label) == Some(value))
    }
}

/// Which series a sample belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    name: String,
    labels: Labels,
}

impl SeriesKey {
    /// The series of a metric with these labels.
    ///
    /// # Errors
    /// [`InvalidSample::Name`] when the name is not allowed.
    pub fn new(name: impl Into<String>, labels: Labels) -> Result<Self, InvalidSample> {
        let name = name.into();
        if !is_word(&name, MAX_NAME_BYTES, &['.', ':']) {
            return Err(InvalidSample::Name);
        }
        Ok(Self { name, labels })
    }

    /// The name of the metric.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The labels.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Name and labels.
    pub fn into_parts(self) -> (String, Labels) {
        (self.name, self.labels)
    }
}

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    series: SeriesKey,
    at: Timestamp,
    value: f64,
}

impl Sample {
    /// A measurement at a moment, by the clock of whoever measured. Negative zero is zero.
    ///
    /// # Errors
    /// [`InvalidSample::Value`] and [`InvalidSample::Time`].
    pub fn new(series: SeriesKey, at: Timestamp, value: f64) -> Result<Self, InvalidSample> {
        // what is not a number is not within either
        if !(-MAX_SIZE..=MAX_SIZE).contains(&value) {
            return Err(InvalidSample::Value);
        }
        if at.as_micros() < 0 {
            return Err(InvalidSample::Time);
        }
        // not every store keeps the sign of zero
        let value = value + 0.0;
        Ok(Self { series, at, value })
    }

    /// Its series.
    pub const fn series(&self) -> &SeriesKey {
        &self.series
    }

    /// When it was measured.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// What was measured.
    pub const fn value(&self) -> f64 {
        self.value
    }
}

/// Samples of one series that lie in one span of time, summed up. It always has a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// When the span begins.
    pub at: Timestamp,
    /// How many samples, at least one.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The least of them.
    pub min: f64,
    /// The greatest of them.
    pub max: f64,
    /// The one that was measured last: for a counter its reading at the end.
    pub last: f64,
}

impl Bucket {
    /// A bucket of one sample.
    pub const fn of(at: Timestamp, value: f64) -> Self {
        Self {
            at,
            count: 1,
            mean: value,
            min: value,
            max: value,
            last: value,
        }
    }

    /// Takes in what was measured after everything in here. The beginning stays.
    pub fn append(&mut self, later: &Self) {
        let total = self.count + later.count;
        self.mean = (self.mean * self.count as f64 + later.mean * later.count as f64) / total as f64;
        self.count = total;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, InvalidSample> {
        Labels::new(
            pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn names_labels_and_values_are_checked() {
        for name in ["", "1a", "a b", "a-b", "é", &"a".repeat(201)] {
            assert_eq!(
                SeriesKey::new(name, Labels::default()),
                Err(InvalidSample::Name),
                "{name}"
            );
        }
        assert!(SeriesKey::new("queue.submitted_total", Labels::default()).is_ok());
        for label in ["", "1", "a.b", "a=b", "a\n"] {
            assert_eq!(labels(&[(label, "x")]), Err(InvalidSample::Label), "{label}");
        }
        for value in ["\n", "a\0", &"a".repeat(257)] {
            let told = InvalidSample::LabelValue { label: "a".into() };
            assert_eq!(labels(&[("a", value)]), Err(told));
        }
        assert!(labels(&[("a", ""), ("b", "= \"é")]).is_ok());
        let many: Vec<_> = (0..17).map(|number| format!("l{number}")).collect();
        let many: Vec<_> = many.iter().map(|label| (label.as_str(), "x")).collect();
        assert_eq!(labels(&many), Err(InvalidSample::Labels));
        assert!(labels(&many[..16]).is_ok());
    }

    #[test]
    fn samples_are_finite_and_not_before_1970() {
        let series = SeriesKey::new("a", Labels::default()).expect("a series");
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e301, f64::MIN] {
            let sample = Sample::new(series.clone(), Timestamp::default(), value);
            assert_eq!(sample, Err(InvalidSample::Value), "{value}");
        }
        let early = Sample::new(series.clone(), Timestamp::from_micros(-1), 1.0);
        assert_eq!(early, Err(InvalidSample::Time));
        assert!(Sample::new(series, Timestamp::default(), -1e300).is_ok());
    }

    #[test]
    fn labels_include_what_is_asked_for_with_its_value() {
        let all = labels(&[("a", "1"), ("b", "2")]).expect("labels");
        let asked = |pairs: &[(&str, &str)]| all.include(&labels(pairs).expect("labels"));
        assert!(asked(&[]) && asked(&[("b", "2")]));
        assert!(!asked(&[("b", "1")]) && !asked(&[("c", "")]));
    }

    #[test]
    fn a_bucket_takes_later_samples_in() {
        let mut bucket = Bucket::of(Timestamp::from_micros(5), 4.0);
        let mut later = Bucket::of(Timestamp::from_micros(6), -2.0);
        later.append(&Bucket::of(Timestamp::from_micros(7), 1.0));
        bucket.append(&later);
        let whole = Bucket {
            at: Timestamp::from_micros(5),
            count: 3,
            mean: 1.0,
            min: -2.0,
            max: 4.0,
            last: 1.0,
        };
        assert_eq!(bucket, whole);
    }
}
