//! Binary operators: numbers with numbers, vectors with numbers, vectors with vectors.

use super::labels::Projection;
use super::native_binary::{Outcome, combine};
use super::notes::Note;
use super::value::{Metric, Out, Point, Series, Steps, Vector, absent, same_labels};
use super::{Eval, EvalError, Result, STEPS_PER_LOOK, execution};
use crate::syntax::{BinaryOp, Cardinality, Chain, ChainStep, Matching, Span};
use std::collections::HashMap;
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

fn compares(op: BinaryOp, left: f64, right: f64) -> bool {
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
        let before = self.samples;
        let mut left = self.node(&chain.first, steps)?;
        for step in &chain.steps {
            let right = self.node(&step.rhs, steps)?;
            let span = chain.first.span.to(step.rhs.span);
            left = self.binary(step, span, left, right, steps)?;
            // The operands are gone; a long chain must not be charged for all of them.
            self.samples = before + left.samples();
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
        let mut signatures = Signatures::new(&step.matching);
        let many = signatures.side(self, &left)?;
        let one = signatures.side(self, &right)?;
        let mut join = Join {
            step,
            swapped,
            delayed: self.options.delayed_name_removal,
            left: &left,
            right: &right,
            kept: Projection::new(&step.matching.labels, step.matching.on),
            left_labels: many.labels,
            right_labels: one.labels,
            places: HashMap::new(),
            pairs: HashMap::new(),
            found: Vec::new(),
            taken: Vec::new(),
            count: steps.count,
            note: None,
        };
        let fill = step.matching.fill;
        let fills = fill.left.is_some() || fill.right.is_some();
        // Prometheus does not turn these with the sides.
        let fill = [fill.left, fill.right];
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
            for (index, signature) in one.ordinals.iter().enumerate() {
                if is_absent(right.series[index].values[at]) {
                    continue;
                }
                if let Some(other) = present[*signature].replace(index) {
                    return Err(join.duplicate(index, other));
                }
            }
            for (index, signature) in many.ordinals.iter().enumerate() {
                if is_absent(left.series[index].values[at]) {
                    continue;
                }
                let partner = match (present[*signature], fill[1]) {
                    (Some(partner), _) => Partner::Series(partner),
                    (None, Some(value)) => Partner::Filled(value),
                    (None, None) => continue,
                };
                if step.matching.cardinality == Cardinality::OneToOne {
                    if met[*signature] == at {
                        return Err(execution(
                            "multiple matches for labels: many-to-one matching must be explicit \
                             (group_left/group_right)",
                        ));
                    }
                    met[*signature] = at;
                }
                join.pair(self, Partner::Series(index), partner, *signature, at)?;
            }
            if let Some(value) = fill[0] {
                let mut matched = vec![false; signatures.count()];
                for (index, signature) in many.ordinals.iter().enumerate() {
                    matched[*signature] |= !is_absent(left.series[index].values[at]);
                }
                for (index, signature) in one.ordinals.iter().enumerate() {
                    if !is_absent(right.series[index].values[at]) && !matched[*signature] {
                        let (filled, series) = (Partner::Filled(value), Partner::Series(index));
                        join.pair(self, filled, series, *signature, at)?;
                    }
                }
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
enum Partner<T> {
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

/// The two sides of an operator while pairs are found.
struct Join<'a> {
    step: &'a ChainStep,
    swapped: bool,
    delayed: bool,
    left: &'a Vector,
    right: &'a Vector,
    left_labels: Vec<Labels>,
    right_labels: Vec<Labels>,
    /// What the labels of `on` or `ignoring` leave of a series.
    kept: Projection<'a>,
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

impl Join<'_> {
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
        let (Some(many), Some(one)) = (point(left, self.left), point(right, self.right)) else {
            return Ok(());
        };
        let (first, second) = if self.swapped { (one, many) } else { (many, one) };
        let (outcome, note) = sample(self.step, &first, &second);
        if note.is_some() {
            self.note = note;
        }
        let Some(outcome) = outcome else { return Ok(()) };
        let place = self.place(eval, left, right, signature)?;
        if self.taken[place].0 == at {
            if self.step.matching.cardinality != Cardinality::OneToOne
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
        if let Some(point) = outcome.filtered(self.step.return_bool) {
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
        eval.room_for(((self.found.len() + 1) * self.count) as u64)?;
        let labels = self.result_labels(left, right);
        let drop_name = self.step.return_bool
            || matches!(left, Partner::Series(index) if self.left.series[index].drop_name);
        let (found, taken, count) = (&mut self.found, &mut self.taken, self.count);
        let place = *self.places.entry(labels.clone()).or_insert_with(|| {
            found.push(Series::floats(Metric::Built(labels), drop_name, absent(count)));
            taken.push((usize::MAX, 0));
            found.len() - 1
        });
        self.pairs.insert(key, place);
        Ok(place)
    }

    /// The labels of one side; of a filled one those by which the other side is matched.
    fn labels_of(&self, side: Partner<f64>, own: &[Labels], other: Option<&Labels>) -> Labels {
        match (side, other) {
            (Partner::Series(index), _) => own[index].clone(),
            (Partner::Filled(_), Some(other)) => {
                let group = self.kept.of(other);
                if self.step.matching.on { group } else { group.without(&[METRIC_NAME]) }
            }
            (Partner::Filled(_), None) => Labels::default(),
        }
    }

    fn result_labels(&self, left: Partner<f64>, right: Partner<f64>) -> Labels {
        let matching = &self.step.matching;
        let arithmetic = !self.step.op.is_comparison() && !self.step.op.is_trim();
        let other = match right {
            Partner::Series(index) => Some(&self.right_labels[index]),
            Partner::Filled(_) => None,
        };
        let mut labels = self.labels_of(left, &self.left_labels, other);
        if arithmetic || (!self.delayed && self.step.return_bool) {
            let mut metric = Metric::Built(labels);
            metric.drop_name();
            labels = metric.labels();
        }
        if matching.cardinality == Cardinality::OneToOne {
            labels = self.kept.of(&labels);
        }
        if matching.include.is_empty() {
            return labels;
        }
        let left_labels = match left {
            Partner::Series(index) => Some(&self.left_labels[index]),
            Partner::Filled(_) => None,
        };
        let right_labels = self.labels_of(right, &self.right_labels, left_labels);
        let mut builder = labels.to_builder();
        for name in &matching.include {
            builder.set(name.as_str(), right_labels.value_or_empty(name));
        }
        builder.build()
    }

    fn duplicate(&self, index: usize, other: usize) -> EvalError {
        let labels = &self.right_labels[index];
        let group = self.kept.of(labels);
        let group = if self.step.matching.on { group } else { group.without(&[METRIC_NAME]) };
        let side = if self.swapped { "left" } else { "right" };
        let mut texts = [labels.to_string(), self.right_labels[other].to_string()];
        texts.sort();
        execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the \
             operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique \
             on one side",
            texts[0], texts[1]
        ))
    }
}

/// Numbers the label sets by which series are matched.
struct Signatures<'a> {
    kept: Projection<'a>,
    ordinals: HashMap<Labels, usize>,
}

/// One side's labels and signatures.
struct Side {
    labels: Vec<Labels>,
    ordinals: Vec<usize>,
}

impl<'a> Signatures<'a> {
    fn new(matching: &'a Matching) -> Signatures<'a> {
        let mut kept = Projection::new(&matching.labels, matching.on);
        if !matching.on {
            kept.add(METRIC_NAME);
        }
        Signatures { kept, ordinals: HashMap::new() }
    }

    fn side(&mut self, eval: &Eval<'_>, vector: &Vector) -> Result<Side> {
        let mut side = Side { labels: Vec::new(), ordinals: Vec::new() };
        for series in &vector.series {
            eval.tick()?;
            let labels = series.metric.labels();
            let next = self.ordinals.len();
            side.ordinals.push(*self.ordinals.entry(self.kept.of(&labels)).or_insert(next));
            side.labels.push(labels);
        }
        Ok(side)
    }

    fn count(&self) -> usize {
        self.ordinals.len()
    }
}

/// `and`, `or`, `unless`.
fn set_operation(
    eval: &Eval<'_>,
    step: &ChainStep,
    mut left: Vector,
    mut right: Vector,
    steps: Steps,
) -> Result<Vector> {
    let op = step.op;
    let mut signatures = Signatures::new(&step.matching);
    let left_side = signatures.side(eval, &left)?;
    let right_side = signatures.side(eval, &right)?;
    let mut present = vec![false; signatures.count()];
    for at in 0..steps.count {
        if at % STEPS_PER_LOOK == 0 {
            eval.tick()?;
        }
        present.fill(false);
        let (known, ordinals) = match op {
            BinaryOp::Or => (&left, &left_side.ordinals),
            _ => (&right, &right_side.ordinals),
        };
        for (series, signature) in known.series.iter().zip(ordinals) {
            present[*signature] |= !is_absent(series.values[at]);
        }
        let (changed, ordinals) = match op {
            BinaryOp::Or => (&mut right, &right_side.ordinals),
            _ => (&mut left, &left_side.ordinals),
        };
        let keep = op == BinaryOp::And;
        for (series, signature) in changed.series.iter_mut().zip(ordinals) {
            if present[*signature] != keep {
                series.put(at, None);
            }
        }
    }
    for (vector, side) in [(&mut left, left_side), (&mut right, right_side)] {
        for (series, labels) in vector.series.iter_mut().zip(side.labels) {
            series.metric = Metric::Built(labels);
        }
    }
    if op != BinaryOp::Or {
        return Ok(left);
    }
    left.series.append(&mut right.series);
    left.series.retain(|series| !series.values.iter().all(|value| is_absent(*value)));
    left.merged()
}
