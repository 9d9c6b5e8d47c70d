//! Counter resets: whether a histogram can have grown from the one before.

use super::{Bucket, FloatHistogram, exponential_bound};
use vigie_model::histogram::ResetHint;

impl FloatHistogram {
    /// Whether the counter was reset between `previous` and this sample: the sender says so, or a
    /// count has shrunk, or the resolution has grown.
    pub(crate) fn is_reset_after(&self, previous: &FloatHistogram) -> bool {
        match self.reset_hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.has_custom_buckets() {
            if !previous.has_custom_buckets() {
                return true;
            }
            if self.custom_values != previous.custom_values {
                return self.has_shrunk_over_common_bounds(previous);
            }
            return has_shrunk(&self.positive, &previous.positive);
        }
        if previous.has_custom_buckets()
            || self.schema > previous.schema
            || self.zero_threshold < previous.zero_threshold
        {
            return true;
        }
        let (count, width, _) = previous.zero_count_at(self.zero_threshold, false);
        if width != self.zero_threshold || self.zero_count < count {
            return true;
        }
        let coarse = previous.at_schema(self.schema);
        has_shrunk(self.outside(&self.positive), self.outside(&coarse.positive))
            || has_shrunk(self.outside(&self.negative), self.outside(&coarse.negative))
    }

    /// The buckets that the zero bucket does not cover.
    fn outside<'b>(&self, buckets: &'b [Bucket]) -> &'b [Bucket] {
        let covered =
            |bucket: &Bucket| exponential_bound(bucket.index, self.schema) <= self.zero_threshold;
        if self.zero_threshold == 0.0 {
            return buckets;
        }
        &buckets[buckets.partition_point(covered)..]
    }

    fn has_shrunk_over_common_bounds(&self, previous: &FloatHistogram) -> bool {
        let below = |histogram: &FloatHistogram, from: f64, to: f64| -> f64 {
            let upper = |bucket: &&Bucket| {
                let bound = histogram.bound(bucket.index);
                bound > from && bound <= to
            };
            histogram.positive.iter().filter(upper).map(|bucket| bucket.count).sum()
        };
        let common = self.custom_values.iter().filter(|b| previous.custom_values.contains(b));
        let mut from = f64::NEG_INFINITY;
        for to in common.copied().chain([f64::INFINITY]) {
            if below(self, from, to) < below(previous, from, to) {
                return true;
            }
            from = to;
        }
        false
    }
}

/// Whether a bucket that had observations has fewer now. The lists ascend.
fn has_shrunk(now: &[Bucket], before: &[Bucket]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|old| {
        while now.next_if(|bucket| bucket.index < old.index).is_some() {}
        match now.peek().filter(|bucket| bucket.index == old.index) {
            Some(bucket) => bucket.count < old.count,
            None => old.count != 0.0,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::add::coarse_index;

    #[test]
    fn buckets_of_a_finer_schema_land_in_the_coarser_one() {
        // 2^(1/2) and 2 end in the bucket that ends at 2.
        assert_eq!([-1, 0, 1, 2, 3].map(|index| coarse_index(index, 1, 0)), [0, 0, 1, 1, 2]);
    }
}
