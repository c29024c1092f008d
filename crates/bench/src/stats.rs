//! Figures of repeated runs: the median with the range it came from, and ratios taken pair by pair.

use std::fmt;

/// Median and range of one figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Middle value; the mean of the middle two when the count is even.
    pub median: f64,
    /// Smallest value seen.
    pub min: f64,
    /// Largest value seen.
    pub max: f64,
}

impl Spread {
    /// # Panics
    /// On no values: a figure that was never measured must not be asked for.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "a spread needs at least one value");
        values.sort_by(f64::total_cmp);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median: f64::midpoint(low, high), min: values[0], max: values[values.len() - 1] }
    }

    /// Ratios of runs that stood side by side, so that a slow minute of the machine weighs on both.
    ///
    /// # Panics
    /// When the two do not have the same count of rounds.
    pub fn of_ratios(values: &[f64], to: &[f64]) -> Self {
        assert_eq!(values.len(), to.len(), "ratios are taken round by round");
        Self::of(values.iter().zip(to).map(|(value, to)| value / to))
    }
}

/// `median (min..max)`, with as many decimals as the size of the median deserves, or as the format asks for. A ratio to
/// a run that was over before the clock of CPU time ticked has no number.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.median.is_finite() {
            return f.write_str("too short");
        }
        let decimals = f.precision().unwrap_or_else(|| decimals(self.median));
        write!(f, "{:.decimals$} ({:.decimals$}..{:.decimals$})", self.median, self.min, self.max)
    }
}

/// Decimals that leave about three digits that matter.
pub fn decimals(value: f64) -> usize {
    match value.abs() {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]).median, 3.0);
        assert_eq!(Spread::of([5.0]), Spread { median: 5.0, min: 5.0, max: 5.0 });
    }

    #[test]
    fn ratios_pair_the_rounds() {
        assert_eq!(Spread::of_ratios(&[2.0, 9.0], &[1.0, 3.0]), Spread { median: 2.5, min: 2.0, max: 3.0 });
    }

    #[test]
    fn figures_show_three_digits_that_matter() {
        assert_eq!(Spread::of([1.234]).to_string(), "1.23 (1.23..1.23)");
        assert_eq!(Spread::of([12.34]).to_string(), "12.3 (12.3..12.3)");
        assert_eq!(Spread::of([123.4]).to_string(), "123 (123..123)");
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]).to_string(), "too short");
    }
}
