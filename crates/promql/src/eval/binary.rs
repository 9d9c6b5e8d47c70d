//! Binary operators: numbers with numbers, vectors with numbers, vectors with vectors.

use super::labels::Projection;
use super::value::{Metric, Out, Series, Steps, Vector, absent, same_labels};
use super::{Eval, EvalError, Result, STEPS_PER_LOOK, execution};
use crate::syntax::{BinaryOp, Cardinality, Chain, ChainStep, Matching};
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
            left = self.binary(step, left, right, steps)?;
            // The operands are gone; a long chain must not be charged for all of them.
            self.samples = before + left.samples();
        }
        Ok(left)
    }

    fn binary(&mut self, step: &ChainStep, left: Out, right: Out, steps: Steps) -> Result<Out> {
        let op = step.op;
        match (left, right) {
            (Out::Scalar(left), Out::Scalar(right)) => {
                let pairs = left.iter().zip(&right);
                Ok(Out::Scalar(pairs.map(|(left, right)| number(op, *left, *right)).collect()))
            }
            (Out::Vector(vector), Out::Scalar(scalar)) => {
                self.with_scalar(step, vector, &scalar, false).map(Out::Vector)
            }
            (Out::Scalar(scalar), Out::Vector(vector)) => {
                self.with_scalar(step, vector, &scalar, true).map(Out::Vector)
            }
            (Out::Vector(left), Out::Vector(right)) => {
                if op.is_set() {
                    return set_operation(self, step, left, right, steps).map(Out::Vector);
                }
                self.matched(step, left, right, steps).map(Out::Vector)
            }
            _ => Err(execution(
                "binary expression must contain only scalar and instant vector types",
            )),
        }
    }

    fn with_scalar(
        &mut self,
        step: &ChainStep,
        mut vector: Vector,
        scalar: &[f64],
        swapped: bool,
    ) -> Result<Vector> {
        let (op, return_bool) = (step.op, step.return_bool);
        for series in &mut vector.series {
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
        if op.is_comparison() && !return_bool { Ok(vector) } else { self.nameless(vector) }
    }

    /// Arithmetic and comparisons between vectors.
    fn matched(
        &mut self,
        step: &ChainStep,
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
        };
        let mut present: Vec<Option<usize>> = vec![None; signatures.count()];
        let mut met = vec![usize::MAX; signatures.count()];
        for at in 0..steps.count {
            if at % STEPS_PER_LOOK == 0 {
                self.tick()?;
            }
            if !left.any_at(at) || !right.any_at(at) {
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
                let Some(partner) = present[*signature] else { continue };
                if step.matching.cardinality == Cardinality::OneToOne {
                    if met[*signature] == at {
                        return Err(execution(
                            "multiple matches for labels: many-to-one matching must be explicit \
                             (group_left/group_right)",
                        ));
                    }
                    met[*signature] = at;
                }
                join.pair(self, index, partner, *signature, at)?;
            }
        }
        Ok(Vector { series: join.found, one_name: false })
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
    pairs: HashMap<(usize, usize), usize>,
    found: Vec<Series>,
    /// The step and signature at which each found series was met last.
    taken: Vec<(usize, usize)>,
    count: usize,
}

impl Join<'_> {
    fn pair(
        &mut self,
        eval: &Eval<'_>,
        left: usize,
        right: usize,
        signature: usize,
        at: usize,
    ) -> Result<()> {
        let (op, return_bool) = (self.step.op, self.step.return_bool);
        let (many, one) = (self.left.series[left].values[at], self.right.series[right].values[at]);
        let (first, second) = if self.swapped { (one, many) } else { (many, one) };
        let place = self.place(eval, left, right)?;
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
        self.found[place].values[at] = if !op.is_comparison() || return_bool {
            number(op, first, second)
        } else if compares(op, first, second) {
            first
        } else {
            return Ok(());
        };
        Ok(())
    }

    fn place(&mut self, eval: &Eval<'_>, left: usize, right: usize) -> Result<usize> {
        if let Some(place) = self.pairs.get(&(left, right)) {
            return Ok(*place);
        }
        eval.tick()?;
        eval.room_for(((self.found.len() + 1) * self.count) as u64)?;
        let labels = self.result_labels(left, right);
        let drop_name = self.step.return_bool || self.left.series[left].drop_name;
        let (found, taken, count) = (&mut self.found, &mut self.taken, self.count);
        let place = *self.places.entry(labels.clone()).or_insert_with(|| {
            let metric = Metric::Built(labels);
            found.push(Series { metric, drop_name, values: absent(count) });
            taken.push((usize::MAX, 0));
            found.len() - 1
        });
        self.pairs.insert((left, right), place);
        Ok(place)
    }

    fn result_labels(&self, left: usize, right: usize) -> Labels {
        let matching = &self.step.matching;
        let arithmetic = !self.step.op.is_comparison();
        let mut labels = self.left_labels[left].clone();
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
        let mut builder = labels.to_builder();
        for name in &matching.include {
            builder.set(name.as_str(), self.right_labels[right].value_or_empty(name));
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
                series.values[at] = ABSENT;
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
