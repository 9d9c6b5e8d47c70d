//! Binary operators: numbers with numbers, vectors with numbers, vectors with vectors.

use super::keys::Keys;
use super::labels::Projection;
use super::native_binary::{Outcome, combine};
use super::notes::Note;
use super::value::{METADATA, Metric, Out, Point, Series, Steps, Vector, absent, same_labels};
use super::{Eval, EvalError, Result, STEPS_PER_LOOK, execution, join};
use crate::syntax::{BinaryOp, Cardinality, Chain, ChainStep, Matching, Span};
use std::collections::{HashMap, HashSet};
use vigie_model::{ABSENT, Labels, METRIC_NAME, is_absent};

/// The operator on two numbers; comparisons answer 1 or 0.
pub(super) fn number(op: BinaryOp, left: f64, right: f64) -> f64 {
    match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        op => f64::from(u8::from(compares(op, left, right))),
    }
}

pub(super) fn compares(op: BinaryOp, left: f64, right: f64) -> bool {
    match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Greater => left > right,
        BinaryOp::Less => left < right,
        BinaryOp::GreaterEqual => left >= right,
        _ => left <= right,
    }
}

impl Eval<'_> {
    /// Evaluates a chain of operators from left to right.
    pub(super) fn chain(&mut self, chain: &Chain, steps: Steps) -> Result<Out> {
        let before = (self.samples, self.series);
        let mut left = self.node(&chain.first, steps)?;
        for step in &chain.steps {
            let right = self.node(&step.rhs, steps)?;
            let span = chain.first.span.to(step.rhs.span);
            left = self.binary(step, span, left, right, steps)?;
            // The operands are gone; a long chain must not be charged for all of them.
            self.samples = before.0 + left.samples();
            self.series = before.1 + left.series();
        }
        Ok(left)
    }

    fn binary(
        &mut self,
        step: &ChainStep,
        span: Span,
        left: Out,
        right: Out,
        steps: Steps,
    ) -> Result<Out> {
        let op = step.op;
        match (left, right) {
            (Out::Scalar(left), Out::Scalar(right)) => {
                let pairs = left.iter().zip(&right);
                Ok(Out::Scalar(pairs.map(|(left, right)| number(op, *left, *right)).collect()))
            }
            (Out::Vector(vector), Out::Scalar(scalar)) => {
                self.with_scalar(step, span, vector, &scalar, false).map(Out::Vector)
            }
            (Out::Scalar(scalar), Out::Vector(vector)) => {
                self.with_scalar(step, span, vector, &scalar, true).map(Out::Vector)
            }
            (Out::Vector(left), Out::Vector(right)) => {
                if op.is_set() {
                    return set_operation(self, step, left, right, steps).map(Out::Vector);
                }
                self.matched(step, span, left, right, steps).map(Out::Vector)
            }
            _ => Err(execution(
                "binary expression must contain only scalar and instant vector types",
            )),
        }
    }

    fn with_scalar(
        &mut self,
        step: &ChainStep,
        span: Span,
        mut vector: Vector,
        scalar: &[f64],
        swapped: bool,
    ) -> Result<Vector> {
        let (op, return_bool) = (step.op, step.return_bool);
        for series in &mut vector.series {
            if !series.histograms.is_empty() || op.is_trim() {
                for (at, scalar) in scalar.iter().enumerate() {
                    let Some(point) = series.point(at) else { continue };
                    let scalar = Point::Float(*scalar);
                    let (left, right) = if swapped { (scalar, point) } else { (point, scalar) };
                    let (found, note) = sample(step, &left, &right);
                    if let Some(note) = note {
                        self.notes.told(&note, span);
                    }
                    let found = found.and_then(|outcome| outcome.filtered(return_bool));
                    let found = found.map(|found| match swapped && op.is_comparison() {
                        true if !return_bool => right,
                        _ => found,
                    });
                    series.put(at, found);
                }
                continue;
            }
            for (value, scalar) in series.values.iter_mut().zip(scalar) {
                if is_absent(*value) {
                    continue;
                }
                let (left, right) = if swapped { (*scalar, *value) } else { (*value, *scalar) };
                if !op.is_comparison() || return_bool {
                    *value = number(op, left, right);
                } else if !compares(op, left, right) {
                    *value = ABSENT;
                }
            }
        }
        let keeps_name = op.is_trim() || (op.is_comparison() && !return_bool);
        if keeps_name { Ok(vector) } else { self.nameless(vector) }
    }

    /// Arithmetic and comparisons between vectors.
    fn matched(
        &mut self,
        step: &ChainStep,
        span: Span,
        left: Vector,
        right: Vector,
        steps: Steps,
    ) -> Result<Vector> {
        // The side on which many series may meet one is called left from here on.
        let swapped = step.matching.cardinality == Cardinality::OneToMany;
        let (left, right) = if swapped { (right, left) } else { (left, right) };
        let mut signatures = signatures_of(&step.matching);
        let many = side(&mut signatures, self, &left)?;
        let one = side(&mut signatures, self, &right)?;
        let sides = Sides {
            step,
            swapped,
            delayed: self.options.delayed_name_removal,
            left: &left,
            right: &right,
            kept: Projection::new(&step.matching.labels, step.matching.on),
            signatures: &signatures,
        };
        if let Some(found) = join::paired(self, &sides, [&many, &one], steps)? {
            return Ok(Vector { series: found, one_name: false });
        }
        let mut join = Join::new(sides, steps.count);
        // Prometheus does not turn these with the sides.
        let (fill, fills) = (step.matching.fill, step.matching.fill.is_some());
        let mut present: Vec<Option<usize>> = vec![None; signatures.count()];
        let mut met = vec![usize::MAX; signatures.count()];
        for at in 0..steps.count {
            if at % STEPS_PER_LOOK == 0 {
                self.tick()?;
            }
            let (any_left, any_right) = (left.any_at(at), right.any_at(at));
            if (!any_left || !any_right) && !(fills && (any_left || any_right)) {
                continue;
            }
            present.fill(None);
            join.place_right(&one, &mut present, at)?;
            for (index, signature) in many.iter().enumerate() {
                if is_absent(left.series[index].values[at]) {
                    continue;
                }
                let partner = match (present[*signature], fill.right) {
                    (Some(partner), _) => Partner::Series(partner),
                    (None, Some(value)) => Partner::Filled(value),
                    (None, None) => continue,
                };
                if step.matching.cardinality == Cardinality::OneToOne {
                    if met[*signature] == at {
                        return Err(execution(MANY_TO_ONE));
                    }
                    met[*signature] = at;
                }
                join.pair(self, Partner::Series(index), partner, *signature, at)?;
            }
            if let Some(value) = fill.left {
                join.fill_left(self, value, [&many, &one], at)?;
            }
            if let Some(note) = join.note.take() {
                self.notes.told(&note, span);
            }
        }
        Ok(Vector { series: join.found, one_name: false })
    }
}

/// One partner of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Partner<T> {
    Series(usize),
    /// Nothing stands here; the value of `fill` takes its place.
    Filled(T),
}

/// What an operator answers for two samples, and what is odd about it.
fn sample(step: &ChainStep, left: &Point, right: &Point) -> (Option<Outcome>, Option<Note>) {
    let op = step.op;
    if let (Point::Float(left), Point::Float(right)) = (left, right)
        && !op.is_trim()
    {
        let outcome = match op.is_comparison() {
            true => Outcome {
                point: Point::Float(*left),
                keep: compares(op, *left, *right),
                note: None,
            },
            false => {
                let point = Point::Float(number(op, *left, *right));
                Outcome { point, keep: true, note: None }
            }
        };
        return (Some(outcome), None);
    }
    match combine(op, left, right) {
        Ok(mut outcome) => {
            let note = outcome.note.take();
            (Some(outcome), note)
        }
        Err(note) => (None, Some(note)),
    }
}

impl Outcome {
    /// The sample that is left: the result, nothing, or with `bool` whether it is kept.
    fn filtered(self, return_bool: bool) -> Option<Point> {
        match return_bool {
            true => Some(Point::Float(f64::from(u8::from(self.keep)))),
            false => self.keep.then_some(self.point),
        }
    }
}

const MANY_TO_ONE: &str = "multiple matches for labels: many-to-one matching must be explicit \
                           (group_left/group_right)";

/// The two sides of an operator.
pub(super) struct Sides<'a> {
    pub(super) step: &'a ChainStep,
    pub(super) swapped: bool,
    delayed: bool,
    pub(super) left: &'a Vector,
    pub(super) right: &'a Vector,
    /// What the labels of `on` or `ignoring` leave of a series.
    kept: Projection<'a>,
    /// By which series are matched.
    signatures: &'a Keys<'a>,
}

/// The sides while pairs are found.
struct Join<'a> {
    sides: Sides<'a>,
    /// Where the series of these labels stands in `found`.
    places: HashMap<Labels, usize>,
    /// Where the result of this pair stands.
    pairs: HashMap<(Partner<()>, Partner<()>, usize), usize>,
    found: Vec<Series>,
    /// The step and signature at which each found series was met last.
    taken: Vec<(usize, usize)>,
    count: usize,
    /// What was odd last about the step at hand.
    note: Option<Note>,
}

impl<'a> Join<'a> {
    fn new(sides: Sides<'a>, count: usize) -> Join<'a> {
        Join {
            sides,
            places: HashMap::new(),
            pairs: HashMap::new(),
            found: Vec::new(),
            taken: Vec::new(),
            count,
            note: None,
        }
    }

    /// Finds which series of the right side stands for each signature.
    fn place_right(
        &self,
        ordinals: &[usize],
        present: &mut [Option<usize>],
        at: usize,
    ) -> Result<()> {
        for (index, signature) in ordinals.iter().enumerate() {
            if is_absent(self.sides.right.series[index].values[at]) {
                continue;
            }
            if let Some(other) = present[*signature].replace(index) {
                return Err(self.sides.duplicate(index, other));
            }
        }
        Ok(())
    }

    /// Pairs what the left side lacks at a step with the value that stands for it. The ordinals are
    /// those of the left and of the right side.
    fn fill_left(
        &mut self,
        eval: &Eval<'_>,
        value: f64,
        [many, one]: [&[usize]; 2],
        at: usize,
    ) -> Result<()> {
        let (left, right) = (self.sides.left, self.sides.right);
        let present = many.iter().enumerate();
        let present = present.filter(|(index, _)| !is_absent(left.series[*index].values[at]));
        let matched: HashSet<usize> = present.map(|(_, signature)| *signature).collect();
        for (index, signature) in one.iter().enumerate() {
            if !is_absent(right.series[index].values[at]) && !matched.contains(signature) {
                let (filled, series) = (Partner::Filled(value), Partner::Series(index));
                self.pair(eval, filled, series, *signature, at)?;
            }
        }
        Ok(())
    }

    fn pair(
        &mut self,
        eval: &Eval<'_>,
        left: Partner<f64>,
        right: Partner<f64>,
        signature: usize,
        at: usize,
    ) -> Result<()> {
        let point = |side: Partner<f64>, vector: &Vector| match side {
            Partner::Series(index) => vector.series[index].point(at),
            Partner::Filled(value) => Some(Point::Float(value)),
        };
        let (Some(many), Some(one)) =
            (point(left, self.sides.left), point(right, self.sides.right))
        else {
            return Ok(());
        };
        let (first, second) = if self.sides.swapped { (one, many) } else { (many, one) };
        let (outcome, note) = sample(self.sides.step, &first, &second);
        if note.is_some() {
            self.note = note;
        }
        let Some(outcome) = outcome else { return Ok(()) };
        let place = self.place(eval, left, right, signature)?;
        if self.taken[place].0 == at {
            if self.sides.step.matching.cardinality != Cardinality::OneToOne
                && self.taken[place].1 == signature
            {
                let text =
                    "multiple matches for labels: grouping labels must ensure unique matches";
                return Err(execution(text));
            }
            if !is_absent(self.found[place].values[at]) {
                return Err(same_labels());
            }
        }
        self.taken[place] = (at, signature);
        if let Some(point) = outcome.filtered(self.sides.step.return_bool) {
            self.found[place].put(at, Some(point));
        }
        Ok(())
    }

    fn place(
        &mut self,
        eval: &Eval<'_>,
        left: Partner<f64>,
        right: Partner<f64>,
        signature: usize,
    ) -> Result<usize> {
        let key = |side| match side {
            Partner::Series(index) => Partner::Series(index),
            Partner::Filled(_) => Partner::Filled(()),
        };
        let key = (key(left), key(right), signature);
        if let Some(place) = self.pairs.get(&key) {
            return Ok(*place);
        }
        eval.tick()?;
        eval.room_for_rows(self.found.len() + 1, self.count)?;
        let labels = self.sides.result_labels(left, right, signature);
        let drop_name = self.sides.step.return_bool
            || matches!(left, Partner::Series(at) if self.sides.left.series[at].drop_name);
        let (found, taken, count) = (&mut self.found, &mut self.taken, self.count);
        let place = *self.places.entry(labels.clone()).or_insert_with(|| {
            found.push(Series::floats(Metric::Built(labels), drop_name, absent(count)));
            taken.push((usize::MAX, 0));
            found.len() - 1
        });
        self.pairs.insert(key, place);
        Ok(place)
    }
}

impl Sides<'_> {
    /// The labels of one side; of a filled one those by which the other side is matched.
    fn labels_of(&self, side: Partner<f64>, own: &Vector, other: Option<&Labels>) -> Labels {
        match (side, other) {
            (Partner::Series(index), _) => own.series[index].metric.labels(),
            (Partner::Filled(_), Some(other)) => {
                let group = self.kept.of(other);
                if self.step.matching.on { group } else { group.without(&[METRIC_NAME]) }
            }
            (Partner::Filled(_), None) => Labels::default(),
        }
    }

    /// Whether the result of a pair of series has a name in its matched labels only.
    fn drops_name(&self) -> bool {
        let arithmetic = !self.step.op.is_comparison() && !self.step.op.is_trim();
        arithmetic || (!self.delayed && self.step.return_bool)
    }

    /// The labels of a pair's result.
    pub(super) fn result_labels(
        &self,
        left: Partner<f64>,
        right: Partner<f64>,
        signature: usize,
    ) -> Labels {
        let matching = &self.step.matching;
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        if let (true, true, Partner::Series(_)) = (one_to_one, self.drops_name(), left) {
            // What is left is what the two sides have in common.
            return self.signatures.labels(signature).without(&METADATA);
        }
        let labels = |side, vector: &Vector| match side {
            Partner::Series(index) => Some(vector.series[index].metric.labels()),
            Partner::Filled(_) => None,
        };
        let other = match left {
            Partner::Series(_) => None,
            Partner::Filled(_) => labels(right, self.right),
        };
        let mut result = self.labels_of(left, self.left, other.as_ref());
        if self.drops_name() {
            result = result.without(&METADATA);
        }
        if one_to_one {
            result = self.kept.of(&result);
        }
        if matching.include.is_empty() {
            return result;
        }
        let left_labels = labels(left, self.left);
        let right_labels = self.labels_of(right, self.right, left_labels.as_ref());
        let mut builder = result.to_builder();
        for name in &matching.include {
            builder.set(name.as_str(), right_labels.value_or_empty(name));
        }
        builder.build()
    }

    fn duplicate(&self, index: usize, other: usize) -> EvalError {
        let labels = [index, other].map(|at| self.right.series[at].metric.labels());
        let group = self.kept.of(&labels[0]);
        let group = if self.step.matching.on { group } else { group.without(&[METRIC_NAME]) };
        let side = if self.swapped { "left" } else { "right" };
        let mut texts = labels.map(|labels| labels.to_string());
        texts.sort();
        execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the \
             operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique \
             on one side",
            texts[0], texts[1]
        ))
    }
}

/// By which labels series are matched.
fn signatures_of(matching: &Matching) -> Keys<'_> {
    let mut kept = Projection::new(&matching.labels, matching.on);
    if !matching.on {
        kept.add(METRIC_NAME);
    }
    Keys::new(kept)
}

/// The signatures of a side's series.
fn side(signatures: &mut Keys<'_>, eval: &Eval<'_>, vector: &Vector) -> Result<Vec<usize>> {
    let series = vector.series.iter().enumerate();
    let keys = series.map(|(at, series)| {
        if at % SERIES_PER_LOOK == 0 {
            eval.tick()?;
        }
        Ok(signatures.of(&series.metric))
    });
    keys.collect()
}

/// Series looked at between two looks at the clock.
const SERIES_PER_LOOK: usize = 64;

/// `and`, `or`, `unless`.
fn set_operation(
    eval: &Eval<'_>,
    step: &ChainStep,
    mut left: Vector,
    mut right: Vector,
    steps: Steps,
) -> Result<Vector> {
    let op = step.op;
    let mut signatures = signatures_of(&step.matching);
    let left_side = side(&mut signatures, eval, &left)?;
    let right_side = side(&mut signatures, eval, &right)?;
    let mut present = vec![false; signatures.count()];
    for at in 0..steps.count {
        if at % STEPS_PER_LOOK == 0 {
            eval.tick()?;
        }
        present.fill(false);
        let (known, ordinals) = match op {
            BinaryOp::Or => (&left, &left_side),
            _ => (&right, &right_side),
        };
        for (series, signature) in known.series.iter().zip(ordinals) {
            present[*signature] |= !is_absent(series.values[at]);
        }
        let (changed, ordinals) = match op {
            BinaryOp::Or => (&mut right, &right_side),
            _ => (&mut left, &left_side),
        };
        let keep = op == BinaryOp::And;
        for (series, signature) in changed.series.iter_mut().zip(ordinals) {
            if present[*signature] != keep {
                series.put(at, None);
            }
        }
    }
    if op != BinaryOp::Or {
        return Ok(left);
    }
    left.series.append(&mut right.series);
    left.series.retain(|series| !series.values.iter().all(|value| is_absent(*value)));
    left.merged()
}
