//! Whether measurements rise or fall.

use crate::model::Timestamp;

/// Where measurements are going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The later half is greater.
    Rising,
    /// The later half is less.
    Falling,
    /// The halves differ by no more than what counts as a difference.
    Steady,
}

/// What measurements have done over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// The direction of the change.
    pub direction: Direction,
    /// The mean of the later half less the mean of the earlier half.
    pub change: f64,
    /// The mean of all.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The standard deviation of all, as of a whole population.
    pub deviation: f64,
}

/// Why there is no trend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTrend {
    /// A value is not a number, or too large to be added up.
    #[error("measurements must be finite and at most 1e300 in size")]
    Value,
    /// What counts as a difference is not a number, or negative.
    #[error("what counts as a difference must be a number that is not negative")]
    Steady,
}

/// The trend of measurements, in whatever order they are given: they are put in the order of their times, and the
/// middle one of an odd number belongs to neither half. A change of up to `steady` is none. `None` when there are
/// fewer than two.
///
/// # Errors
/// [`InvalidTrend`].
pub fn trend(points: &[(Timestamp, f64)], steady: f64) -> Result<Option<Trend>, InvalidTrend> {
    if !steady.is_finite() || steady < 0.0 {
        return Err(InvalidTrend::Steady);
    }
    if !points.iter().all(|(_, value)| (-1e300..=1e300).contains(value)) {
        return Err(InvalidTrend::Value);
    }
    let mut points = points.to_vec();
    points.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let values: Vec<f64> = points.into_iter().map(|(_, value)| value).collect();
    let half = values.len() / 2;
    let (Some(earlier), Some(later)) = (
        values.get(..half).and_then(mean),
        values.get(values.len() - half..).and_then(mean),
    ) else {
        return Ok(None);
    };
    let Some(mean) = mean(&values) else {
        return Ok(None);
    };
    let change = later - earlier;
    let direction = if change.abs() <= steady {
        Direction::Steady
    } else if change > 0.0 {
        Direction::Rising
    } else {
        Direction::Falling
    };
    Ok(Some(Trend {
        direction,
        change,
        mean,
        min: values.iter().copied().fold(f64::INFINITY, f64::min),
        max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        deviation: deviation(&values, mean),
    }))
}

/// The mean, within the least and the greatest value whatever the rounding. None of nothing.
fn mean(values: &[f64]) -> Option<f64> {
    let least = values.iter().copied().reduce(f64::min)?;
    let greatest = values.iter().copied().reduce(f64::max)?;
    let count = values.len() as f64;
    let sum: f64 = values.iter().map(|value| value / count).sum();
    Some(sum.clamp(least, greatest))
}

/// Distances are squared as parts of the greatest one, so that large ones stay finite and small ones do not vanish.
fn deviation(values: &[f64], mean: f64) -> f64 {
    let farthest = values
        .iter()
        .map(|value| (value - mean).abs())
        .fold(0.0, f64::max);
    if farthest == 0.0 {
        return 0.0;
    }
    let squares = values.iter().map(|value| ((value - mean) / farthest).powi(2));
    farthest * (squares.sum::<f64>() / values.len() as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timed(values: &[f64]) -> Vec<(Timestamp, f64)> {
        (0..)
            .zip(values)
            .map(|(at, value)| (Timestamp::from_micros(at), *value))
            .collect()
    }

    fn of(values: &[f64]) -> Trend {
        trend(&timed(values), 0.0).expect("valid").expect("enough")
    }

    #[test]
    fn halves_are_compared_in_the_order_of_time() {
        let rising = of(&[1.0, 3.0, 100.0, 5.0, 7.0]);
        assert_eq!((rising.direction, rising.change), (Direction::Rising, 4.0));
        assert_eq!((rising.min, rising.max, rising.mean), (1.0, 100.0, 23.2));
        let falling = of(&[5.0, 7.0, 1.0, 3.0]);
        assert_eq!((falling.direction, falling.change), (Direction::Falling, -4.0));
        assert!((falling.deviation - 5.0_f64.sqrt()).abs() < 1e-12);
        let newest_first: Vec<_> = timed(&[1.0, 3.0, 100.0, 5.0, 7.0]).into_iter().rev().collect();
        assert_eq!(trend(&newest_first, 0.0), Ok(Some(rising)));
    }

    #[test]
    fn a_small_change_is_steady() {
        let points = timed(&[1.0, 2.0]);
        let direction = |steady| trend(&points, steady).expect("valid").expect("enough").direction;
        assert_eq!(direction(1.0), Direction::Steady);
        assert_eq!(direction(0.999), Direction::Rising);
        assert_eq!(of(&[2.0, 2.0]).direction, Direction::Steady);
    }

    #[test]
    fn too_few_points_have_no_trend() {
        assert_eq!(trend(&[], 0.0), Ok(None));
        assert_eq!(trend(&timed(&[1.0]), 0.0), Ok(None));
    }

    #[test]
    fn what_is_no_number_is_an_error() {
        for value in [f64::NAN, f64::INFINITY, 1e301] {
            assert_eq!(trend(&timed(&[1.0, value]), 0.0), Err(InvalidTrend::Value));
        }
        for steady in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(trend(&timed(&[1.0, 2.0]), steady), Err(InvalidTrend::Steady));
        }
    }

    proptest! {
        #[test]
        fn figures_are_finite_and_in_their_bounds(
            values in prop::collection::vec(-1e300..=1e300_f64, 2..40),
        ) {
            let found = of(&values);
            prop_assert!(found.min <= found.mean && found.mean <= found.max);
            prop_assert!(found.deviation >= 0.0 && found.deviation <= (found.max - found.min) * (1.0 + 1e-9));
            prop_assert!(found.change.abs() <= (found.max - found.min) * (1.0 + 1e-9));
        }

        #[test]
        fn the_order_in_which_points_are_given_does_not_matter(
            points in prop::collection::vec((0..20_i64, -1e6..1e6_f64), 2..40).prop_shuffle(),
        ) {
            let points: Vec<_> = points.into_iter().map(|(at, value)| (Timestamp::from_micros(at), value)).collect();
            let mut sorted = points.clone();
            sorted.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
            prop_assert_eq!(trend(&points, 0.0), trend(&sorted, 0.0));
        }

        #[test]
        fn backwards_is_the_opposite_direction(values in prop::collection::vec(-1e6..1e6_f64, 2..40)) {
            let there = of(&values);
            let back = of(&values.iter().rev().copied().collect::<Vec<_>>());
            prop_assert!((there.change + back.change).abs() <= 1e-6);
            prop_assert_eq!((there.min, there.max), (back.min, back.max));
        }

        #[test]
        fn a_shift_changes_only_where_values_lie(
            values in prop::collection::vec(-1000..1000_i32, 2..40), by in -1000..1000_i32,
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let moved: Vec<f64> = values.iter().map(|value| value + f64::from(by)).collect();
            let (here, there) = (of(&values), of(&moved));
            prop_assert!((here.change - there.change).abs() < 1e-9);
            prop_assert!((here.deviation - there.deviation).abs() < 1e-9);
            prop_assert!((here.mean + f64::from(by) - there.mean).abs() < 1e-9);
        }
    }
}
