//! The trim operators: `histogram </ x` keeps what was observed below `x`, `>/` what was above.
//!
//! The sum is estimated anew when anything is cut: each bucket's observations are taken to lie in
//! the middle of what is left of it.

use super::{BucketRange, FloatHistogram};

/// What is kept of a bucket, and where its middle lies.
struct Kept {
    count: f64,
    middle: f64,
}

/// Which side of a value is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Below,
    Above,
}

impl FloatHistogram {
    /// Keeps the observations below `limit`, or those above it.
    pub(crate) fn trimmed(mut self, limit: f64, keep_below: bool) -> FloatHistogram {
        let side = if keep_below { Side::Below } else { Side::Above };
        let linear = self.has_custom_buckets();
        let (mut count, mut sum, mut is_cut) = (0.0, 0.0, false);
        let mut has = [false, false];
        for (at, is_positive) in [(0, true), (1, false)] {
            let length = if is_positive { self.positive.len() } else { self.negative.len() };
            for place in 0..length {
                let list = if is_positive { &self.positive } else { &self.negative };
                let range = self.range(&list[place], is_positive);
                if range.count == 0.0 {
                    continue;
                }
                has[at] = true;
                let kept = keep(&range, limit, side, is_positive, linear);
                count += kept.count;
                sum += kept.middle * kept.count;
                is_cut |= kept.count != range.count;
                let list = if is_positive { &mut self.positive } else { &mut self.negative };
                list[place].count = kept.count;
            }
        }
        if self.zero_count > 0.0 {
            let kept = keep_of_zero(self.zero_range(), limit, side, has);
            is_cut |= self.zero_count != kept.count;
            self.zero_count = kept.count;
            sum += kept.middle * kept.count;
            count += kept.count;
        }
        if !is_cut {
            return self;
        }
        (self.count, self.sum) = (count, sum);
        self.compact()
    }
}

fn keep(range: &BucketRange, limit: f64, side: Side, is_positive: bool, linear: bool) -> Kept {
    let (lower, upper) = (range.lower, range.upper);
    let (inside, cut) = match side {
        Side::Below => (upper <= limit, lower < limit),
        Side::Above => (lower >= limit, upper > limit),
    };
    if inside {
        return Kept { count: range.count, middle: middle(lower, upper, is_positive, linear) };
    }
    if !cut {
        return Kept { count: 0.0, middle: 0.0 };
    }
    if lower == f64::NEG_INFINITY || upper == f64::INFINITY {
        return keep_of_infinite(range, limit, side);
    }
    let below = range.count * range.fraction_below(limit, linear);
    match side {
        Side::Below => Kept { count: below, middle: middle(lower, limit, is_positive, linear) },
        Side::Above => {
            let count = range.count - below;
            Kept { count, middle: middle(limit, upper, is_positive, linear) }
        }
    }
}

/// A bucket that has no end: what lies in it is unknown, so it is kept whole or not at all. Only a
/// custom bucket from -Inf to a positive bound is taken to start at zero.
fn keep_of_infinite(range: &BucketRange, limit: f64, side: Side) -> Kept {
    let (count, upper) = (range.count, range.upper);
    let nothing = Kept { count: 0.0, middle: 0.0 };
    if range.lower == f64::NEG_INFINITY {
        let finite = upper != f64::INFINITY;
        return match side {
            Side::Below if limit > 0.0 && upper > 0.0 && finite => {
                Kept { count: count * limit / upper, middle: limit / 2.0 }
            }
            Side::Below if upper <= 0.0 => Kept { count, middle: limit },
            Side::Above if limit >= 0.0 && upper > limit && finite => {
                Kept { count: count * (1.0 - limit / upper), middle: (limit + upper) / 2.0 }
            }
            _ => nothing,
        };
    }
    match side {
        Side::Above if limit >= range.lower => Kept { count, middle: limit },
        _ => nothing,
    }
}

fn keep_of_zero(zero: BucketRange, limit: f64, side: Side, has: [bool; 2]) -> Kept {
    let (mut lower, mut upper) = (zero.lower, zero.upper);
    match has {
        [false, true] => upper = 0.0,
        [true, false] => lower = 0.0,
        _ => {}
    }
    let all = Kept { count: zero.count, middle: (lower + upper) / 2.0 };
    let nothing = Kept { count: 0.0, middle: 0.0 };
    let part = |width: f64| zero.count * (width / (upper - lower));
    match side {
        Side::Below if limit <= lower => nothing,
        Side::Below if limit >= upper => all,
        Side::Below => Kept { count: part(limit - lower), middle: (lower + limit) / 2.0 },
        Side::Above if limit <= lower => all,
        Side::Above if limit >= upper => nothing,
        Side::Above => Kept { count: part(upper - limit), middle: (limit + upper) / 2.0 },
    }
}

fn middle(lower: f64, upper: f64, is_positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        _ if linear => (lower + upper) / 2.0,
        _ => {
            let geometric = (lower * upper).abs().sqrt();
            if is_positive { geometric } else { -geometric }
        }
    }
}
