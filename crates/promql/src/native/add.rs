//! Adding, subtracting and scaling: schemas, zero buckets and custom bounds are reconciled first.

use super::{Bucket, FloatHistogram, exponential_bound};
use crate::eval::kahan;
use std::sync::Arc;
use vigie_model::histogram::ResetHint;

/// Exponential buckets met custom ones: the two cannot be combined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mixed;

/// What had to be reconciled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Combined {
    /// One side knew of a reset, the other that there was none.
    pub(crate) resets_collide: bool,
    /// Custom bounds differed and only the common ones were kept.
    pub(crate) bounds_differ: bool,
}

/// How counts are added.
#[derive(Clone, Copy)]
struct Sum {
    sign: f64,
    compensated: bool,
}

impl Sum {
    /// Adds to a count and to what it has lost.
    fn add(self, more: f64, count: &mut f64, lost: &mut f64) {
        if self.compensated {
            (*count, *lost) = kahan(more, *count, *lost);
        } else {
            *count += more;
        }
    }
}

impl FloatHistogram {
    /// The sum, unless exponential buckets meet custom ones.
    pub fn plus(&self, other: &FloatHistogram) -> Option<FloatHistogram> {
        let mut sum = self.clone();
        sum.add(other).is_ok().then_some(sum)
    }

    /// The difference, unless exponential buckets meet custom ones.
    pub fn minus(&self, other: &FloatHistogram) -> Option<FloatHistogram> {
        let mut difference = self.clone();
        difference.sub(other).is_ok().then_some(difference)
    }

    /// Adds another histogram.
    pub(crate) fn add(&mut self, other: &FloatHistogram) -> Result<Combined, Mixed> {
        self.combine(other, Sum { sign: 1.0, compensated: false })
    }

    /// Subtracts another histogram.
    pub(crate) fn sub(&mut self, other: &FloatHistogram) -> Result<Combined, Mixed> {
        self.combine(other, Sum { sign: -1.0, compensated: false })
    }

    /// Adds another histogram and remembers what rounding loses.
    pub(crate) fn add_compensated(&mut self, other: &FloatHistogram) -> Result<Combined, Mixed> {
        self.combine(other, Sum { sign: 1.0, compensated: true })
    }

    fn combine(&mut self, other: &FloatHistogram, sum: Sum) -> Result<Combined, Mixed> {
        if self.has_custom_buckets() != other.has_custom_buckets() {
            return Err(Mixed);
        }
        let resets_collide = self.adjust_hint(other.reset_hint);
        if !self.has_custom_buckets() {
            let (count, lost) = self.reconcile_zero(other, sum);
            sum.add(sum.sign * count, &mut self.zero_count, &mut self.lost.zero_count);
            if sum.compensated {
                sum.add(lost, &mut self.zero_count, &mut self.lost.zero_count);
            }
        }
        sum.add(sum.sign * other.count, &mut self.count, &mut self.lost.count);
        sum.add(sum.sign * other.sum, &mut self.sum, &mut self.lost.sum);
        let mut bounds_differ = false;
        if self.has_custom_buckets() {
            bounds_differ = self.custom_values != other.custom_values;
            if bounds_differ {
                self.add_to_common_bounds(other, sum);
            } else {
                merge(&mut self.positive, &other.positive, sum);
            }
        } else {
            self.add_exponential(other, sum);
        }
        Ok(Combined { resets_collide, bounds_differ })
    }

    fn add_exponential(&mut self, other: &FloatHistogram, sum: Sum) {
        let own = self.schema;
        self.schema = own.min(other.schema);
        let (schema, threshold) = (self.schema, self.zero_threshold);
        for (buckets, more) in
            [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)]
        {
            if schema < own {
                *buckets = reduced(buckets, own, schema, sum);
            }
            let coarse = match schema < other.schema {
                true => &reduced(more, other.schema, schema, sum),
                false => more,
            };
            // What the zero bucket covers has been counted there.
            let covered = |bucket: &Bucket| exponential_bound(bucket.index, schema) <= threshold;
            let first = coarse.iter().position(|bucket| !covered(bucket)).unwrap_or(coarse.len());
            merge(buckets, &coarse[first..], sum);
        }
    }

    /// Says whether the hints contradict each other; the sum then knows nothing.
    fn adjust_hint(&mut self, other: ResetHint) -> bool {
        let own = self.reset_hint;
        if own == other || own == ResetHint::Gauge {
            return false;
        }
        if other == ResetHint::Gauge {
            self.reset_hint = ResetHint::Gauge;
            return false;
        }
        self.reset_hint = ResetHint::Unknown;
        own != ResetHint::Unknown && other != ResetHint::Unknown
    }

    /// Widens the zero bucket until it covers both histograms' and ends at a bound of both; answers
    /// what the other's would then hold.
    fn reconcile_zero(&mut self, other: &FloatHistogram, sum: Sum) -> (f64, f64) {
        let (mut count, mut width, mut lost) = (other.zero_count, other.zero_threshold, 0.0);
        while width != self.zero_threshold {
            if self.zero_threshold > width {
                (count, width, lost) = other.zero_count_at(self.zero_threshold, false);
            }
            if width > self.zero_threshold {
                let (own, threshold, own_lost) = self.zero_count_at(width, sum.compensated);
                (self.zero_count, self.zero_threshold) = (own, threshold);
                if sum.compensated {
                    self.lost.zero_count = own_lost;
                }
                self.forget_covered();
            }
        }
        (count, lost)
    }

    /// The count of a zero bucket of at least this width, the width itself, and what the count has
    /// lost. The width grows where it would cut a bucket that has observations.
    pub(super) fn zero_count_at(&self, mut width: f64, compensated: bool) -> (f64, f64, f64) {
        let mut lost = if compensated { self.lost.zero_count } else { 0.0 };
        if width == self.zero_threshold {
            return (self.zero_count, width, lost);
        }
        'wider: loop {
            let mut count = self.zero_count;
            for (buckets, is_negative) in [(&self.positive, false), (&self.negative, true)] {
                for bucket in buckets {
                    let near = exponential_bound(bucket.index - 1, self.schema);
                    let far = exponential_bound(bucket.index, self.schema);
                    if near >= width {
                        break;
                    }
                    (count, lost) = kahan(bucket.count, count, lost);
                    if compensated {
                        (count, lost) = kahan(bucket.lost, count, lost);
                    }
                    if far > width {
                        if bucket.count != 0.0 {
                            width = far;
                            if is_negative {
                                continue 'wider;
                            }
                        }
                        break;
                    }
                }
            }
            return (count, width, lost);
        }
    }

    /// Forgets the buckets that the zero bucket has swallowed.
    fn forget_covered(&mut self) {
        let (schema, width) = (self.schema, self.zero_threshold);
        for buckets in [&mut self.positive, &mut self.negative] {
            buckets.retain(|bucket| {
                exponential_bound(bucket.index - 1, schema) >= width
                    && (bucket.count != 0.0 || bucket.lost != 0.0)
            });
        }
    }

    /// Both histograms over the bounds that they share.
    fn add_to_common_bounds(&mut self, other: &FloatHistogram, sum: Sum) {
        let common: Vec<f64> = (self.custom_values.iter().copied())
            .filter(|bound| other.custom_values.contains(bound))
            .collect();
        let place = |index: i32, bounds: &[f64]| {
            let bound = bounds.get(index as usize);
            bound.map_or(common.len(), |bound| common.partition_point(|c| c < bound))
        };
        let mut target = vec![(0.0, 0.0); common.len() + 1];
        for bucket in &self.positive {
            let cell = &mut target[place(bucket.index, &self.custom_values)];
            *cell = kahan(bucket.count, cell.0, cell.1);
            if sum.compensated {
                *cell = kahan(bucket.lost, cell.0, cell.1);
            }
        }
        for bucket in &other.positive {
            let cell = &mut target[place(bucket.index, &other.custom_values)];
            *cell = kahan(sum.sign * bucket.count, cell.0, cell.1);
        }
        let cells = target.into_iter().enumerate();
        self.positive = cells
            .filter(|(_, cell)| *cell != (0.0, 0.0))
            .map(|(at, (count, lost))| {
                let lost = if sum.compensated { lost } else { 0.0 };
                Bucket { index: at as i32, count, lost }
            })
            .collect();
        self.custom_values = Arc::from(common);
    }

    /// Multiplies all counts.
    pub(crate) fn mul(mut self, factor: f64) -> FloatHistogram {
        self.each_count(|count| *count *= factor);
        if factor < 0.0 {
            self.reset_hint = ResetHint::Gauge;
        }
        self
    }

    /// Divides all counts; a division by zero leaves no bucket.
    pub(crate) fn div(mut self, divisor: f64) -> FloatHistogram {
        if divisor == 0.0 {
            self.positive.clear();
            self.negative.clear();
        }
        self.each_count(|count| *count /= divisor);
        if divisor < 0.0 {
            self.reset_hint = ResetHint::Gauge;
        }
        self
    }

    fn each_count(&mut self, f: impl Fn(&mut f64)) {
        let lost = &mut self.lost;
        for count in [&mut self.zero_count, &mut self.count, &mut self.sum] {
            f(count);
        }
        for count in [&mut lost.zero_count, &mut lost.count, &mut lost.sum] {
            if *count != 0.0 {
                f(count);
            }
        }
        for bucket in self.positive.iter_mut().chain(&mut self.negative) {
            f(&mut bucket.count);
            if bucket.lost != 0.0 {
                f(&mut bucket.lost);
            }
        }
    }

    /// Adds what the sum has lost.
    pub(crate) fn settle(mut self) -> FloatHistogram {
        let lost = std::mem::take(&mut self.lost);
        self.zero_count += lost.zero_count;
        self.count += lost.count;
        self.sum += lost.sum;
        for bucket in self.positive.iter_mut().chain(&mut self.negative) {
            bucket.count += std::mem::take(&mut bucket.lost);
        }
        self
    }

    /// Forgets what the sum has lost.
    #[cfg(test)]
    pub(super) fn forget_lost(&mut self) {
        self.lost = super::Lost::default();
    }

    /// Whether a count has become infinite.
    pub(crate) fn overflows(&self) -> bool {
        let totals = [self.zero_count, self.count, self.sum];
        let buckets = self.positive.iter().chain(&self.negative).map(|bucket| bucket.count);
        let mut all = totals.into_iter().chain(buckets).chain(self.custom_values.iter().copied());
        all.any(f64::is_infinite)
    }

    /// The same observations in fewer buckets.
    pub(crate) fn at_schema(&self, schema: i32) -> FloatHistogram {
        let mut histogram = self.clone();
        if schema < self.schema && !self.has_custom_buckets() {
            let sum = Sum { sign: 1.0, compensated: false };
            histogram.positive = reduced(&self.positive, self.schema, schema, sum);
            histogram.negative = reduced(&self.negative, self.schema, schema, sum);
            histogram.schema = schema;
            histogram.reset_hint = ResetHint::Unknown;
        }
        histogram
    }
}

/// Adds the buckets of one sorted list to another.
fn merge(buckets: &mut Vec<Bucket>, more: &[Bucket], sum: Sum) {
    let same = buckets.len() == more.len()
        && buckets.iter().zip(more).all(|(left, right)| left.index == right.index);
    if same {
        for (bucket, other) in buckets.iter_mut().zip(more) {
            add_bucket(bucket, other, sum);
        }
        return;
    }
    let mut merged = Vec::with_capacity(buckets.len() + more.len());
    let mut own = std::mem::take(buckets).into_iter().peekable();
    for other in more {
        while let Some(bucket) = own.next_if(|bucket| bucket.index < other.index) {
            merged.push(bucket);
        }
        match own.next_if(|bucket| bucket.index == other.index) {
            Some(mut bucket) => {
                add_bucket(&mut bucket, other, sum);
                merged.push(bucket);
            }
            None => merged.push(Bucket { count: sum.sign * other.count, ..*other }),
        }
    }
    merged.extend(own);
    *buckets = merged;
}

fn add_bucket(bucket: &mut Bucket, other: &Bucket, sum: Sum) {
    sum.add(sum.sign * other.count, &mut bucket.count, &mut bucket.lost);
    if other.lost != 0.0 {
        sum.add(sum.sign * other.lost, &mut bucket.count, &mut bucket.lost);
    }
}

/// The index of the bucket of a coarser schema in which a bucket lies.
pub(super) fn coarse_index(index: i32, from: i32, to: i32) -> i32 {
    ((index - 1) >> (from - to)) + 1
}

fn reduced(buckets: &[Bucket], from: i32, to: i32, sum: Sum) -> Vec<Bucket> {
    let mut found: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        let index = coarse_index(bucket.index, from, to);
        match found.last_mut().filter(|last| last.index == index) {
            None => found.push(Bucket { index, ..*bucket }),
            Some(last) => {
                sum.add(bucket.count, &mut last.count, &mut last.lost);
                sum.add(bucket.lost, &mut last.count, &mut last.lost);
            }
        }
    }
    found
}
