//! What the corpora say only in passing: identities of the arithmetic.

use super::*;

fn sample(schema: i32, threshold: f64, positive: &[(i32, f64)], sum: f64) -> FloatHistogram {
    let mut histogram = FloatHistogram::empty(schema, Arc::from([]));
    histogram.zero_threshold = threshold;
    histogram.positive = positive
        .iter()
        .map(|(index, count)| Bucket { index: *index, count: *count, lost: 0.0 })
        .collect();
    histogram.count = positive.iter().map(|(_, count)| count).sum();
    histogram.sum = sum;
    histogram
}

#[test]
fn stored_samples_come_back_the_same() {
    let histogram = sample(1, 0.0, &[(-3, 1.0), (-2, 2.0), (4, 5.0)], 7.5);
    let stored = histogram.to_stored();
    assert_eq!(stored.positive_spans.len(), 2);
    assert!(stored.validate().is_ok());
    assert_eq!(FloatHistogram::from_stored(&stored), histogram);
    let text = sample(0, 0.0, &[(0, 3.0)], 1.5).to_string();
    assert_eq!(text, "{count:3, sum:1.5, (0.5,1]:3}");
}

#[test]
fn sums_of_different_resolution_meet_at_the_coarser_one() {
    let mut left = sample(1, 0.0, &[(1, 1.0), (2, 2.0), (3, 4.0)], 1.0);
    left.add(&sample(0, 0.0, &[(1, 10.0)], 1.0)).unwrap();
    assert_eq!(left, sample(0, 0.0, &[(1, 13.0), (2, 4.0)], 2.0));
}

#[test]
fn a_wider_zero_bucket_swallows_whole_buckets_of_the_other() {
    let mut left = sample(0, 0.0, &[(-1, 1.0), (0, 2.0), (3, 4.0)], 1.0);
    let mut right = sample(0, 0.75, &[(3, 1.0)], 1.0);
    (right.zero_count, right.count) = (5.0, 6.0);
    left.add(&right).unwrap();
    // 0.75 lies inside (0.5, 1], so the zero bucket grows to 1.
    assert_eq!((left.zero_threshold, left.zero_count), (1.0, 8.0));
    assert_eq!(left.positive.len(), 1);
}

#[test]
fn what_rounding_loses_is_added_in_the_end() {
    let mut sum = sample(0, 0.0, &[(0, 1e100)], 1e100);
    sum.add_compensated(&sample(0, 0.0, &[(0, 1.0)], 1.0)).unwrap();
    sum.add_compensated(&sample(0, 0.0, &[(0, -1e100)], -1e100)).unwrap();
    let mut plain = sum.clone();
    plain.forget_lost();
    assert_eq!(plain.count, 0.0);
    assert_eq!((sum.clone().settle().count, sum.settle().positive[0].count), (1.0, 1.0));
}

#[test]
fn resets_are_seen_and_exponential_does_not_mix_with_custom() {
    let old = sample(0, 0.0, &[(0, 2.0), (1, 2.0)], 1.0);
    for (new, wanted) in [
        (sample(0, 0.0, &[(0, 2.0), (1, 3.0)], 1.0), false),
        (sample(0, 0.0, &[(0, 1.0), (1, 4.0)], 1.0), true),
        (sample(0, 0.0, &[(1, 9.0)], 1.0), true),
        (sample(1, 0.0, &[(0, 9.0), (1, 9.0), (2, 9.0)], 1.0), true),
        (sample(-1, 0.0, &[(0, 2.0), (1, 2.0)], 1.0), false),
    ] {
        assert_eq!(new.is_reset_after(&old), wanted, "{new}");
    }
    let mut custom = FloatHistogram::empty(CUSTOM_BUCKETS_SCHEMA, Arc::from([1.0]));
    assert!(custom.add(&old).is_err());
}
