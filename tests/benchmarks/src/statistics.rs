//! Medians and percentiles.

/// A value at a rank of sorted values, by the nearest rank; 0 without values.
fn at_rank(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    // Truncation is meant: a rank is a position.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "share is in 0..=1")]
    let rank = ((sorted.len() as f64) * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(last)).copied().unwrap_or_default()
}

/// Values for percentiles.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(Vec<f64>);

impl Values {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        at_rank(&self.0, percent / 100.0)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.percentile(50.0)
    }

    pub(crate) fn p95(&self) -> f64 {
        self.percentile(95.0)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.percentile(99.0)
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / (self.0.len().max(1) as f64)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The middle value; of an even number the mean of both.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (0, Some(left), Some(right)) => f64::midpoint(*left, *right),
        (_, _, Some(value)) => *value,
        _ => f64::NAN,
    }
}

/// The median of the ratios of one round each.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    median(ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values = Values::new((1..=100).rev().map(f64::from).collect());
        assert!((values.p50() - 50.0).abs() < f64::EPSILON);
        assert!((values.p99() - 99.0).abs() < f64::EPSILON);
        assert!((values.percentile(100.0) - 100.0).abs() < f64::EPSILON);
        assert!(Values::default().p50().abs() < f64::EPSILON);
    }

    #[test]
    fn ratios_are_taken_inside_a_round() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
        // A slow round is slow for both.
        assert!((ratio(&[10.0, 1.0, 12.0], &[20.0, 2.0, 20.0]) - 0.5).abs() < f64::EPSILON);
    }
}
