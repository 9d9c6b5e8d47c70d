//! Aggregations: series to groups, groups to one value per step (or to the series they keep).
//!
//! Labels are looked at only when the grouping names some, and then by the numbers of their parts
//! ([`Keys`]): `count(up)` touches none, and `sum by(job)` those of each job and each metric once.

use super::cells::Cells;
use super::keys::Keys;
use super::labels::{Projection, by_value, text};
use super::native_aggregate::NativeCells;
use super::notes::Note;
use super::select::Reading;
use super::value::{Metric, Point, Series, Steps, Vector, absent};
use super::{Eval, Result, STEPS_PER_LOOK, execution};
use crate::syntax::{Aggregate, AggregateOp, Grouping, Span};
use std::collections::HashMap;
use vigie_model::value::{format_value, quantile};
use vigie_model::{Labels, METRIC_NAME, go_quote, is_absent};

/// One group: its labels and the places of its series.
struct Group {
    labels: Labels,
    members: Vec<usize>,
}

impl Eval<'_> {
    /// Evaluates an aggregation.
    pub(super) fn aggregate(
        &mut self,
        aggregate: &Aggregate,
        span: Span,
        steps: Steps,
    ) -> Result<Vector> {
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(aggregate, steps);
        }
        let parameter = match &aggregate.parameter {
            Some(parameter) => self.scalar(parameter, steps)?,
            None => Vec::new(),
        };
        match aggregate.op {
            AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK => {
                let mut vector = self.vector(&aggregate.expr, steps)?;
                if aggregate.op != AggregateOp::LimitK {
                    self.ignore_histograms(&mut vector, aggregate.op, span);
                }
                let groups = grouped(&vector, &aggregate.grouping);
                self.picked(aggregate.op, &parameter, vector, groups, steps)
            }
            AggregateOp::LimitRatio => {
                let span = aggregate.parameter.as_ref().map_or(span, |parameter| parameter.span);
                let vector = self.vector(&aggregate.expr, steps)?;
                self.limit_ratio(&parameter, span, vector, steps)
            }
            AggregateOp::Quantile => {
                let span = aggregate.parameter.as_ref().map_or(aggregate.expr.span, |p| p.span);
                for q in parameter.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
                    self.notes.invalid_quantile(*q, span);
                }
                let mut vector = self.vector(&aggregate.expr, steps)?;
                self.ignore_histograms(&mut vector, aggregate.op, aggregate.expr.span);
                let groups = grouped(&vector, &aggregate.grouping);
                self.group_quantiles(&parameter, &vector, groups, steps)
            }
            _ => self.folded(aggregate, steps),
        }
    }

    /// Forgets native histograms and tells so.
    fn ignore_histograms(&mut self, vector: &mut Vector, op: AggregateOp, span: Span) {
        for series in &mut vector.series {
            if series.histograms.iter().any(Option::is_some) {
                self.notes.told(&Note::IgnoredInAggregation(op.as_str()), span);
                series.drop_histograms();
            }
        }
    }

    /// `limit_ratio`: the series whose place between 0 and 1 lies below the ratio, or, for a negative
    /// ratio, all others.
    fn limit_ratio(
        &mut self,
        ratios: &[f64],
        span: Span,
        mut vector: Vector,
        steps: Steps,
    ) -> Result<Vector> {
        if ratios.iter().any(|ratio| ratio.is_nan()) {
            return Err(execution("Ratio value is NaN"));
        }
        for ratio in ratios.iter().filter(|ratio| ratio.abs() > 1.0) {
            let used = ratio.clamp(-1.0, 1.0);
            self.notes.told(&Note::InvalidRatio { got: *ratio, used }, span);
        }
        for series in &mut vector.series {
            self.tick()?;
            let offset = super::native_aggregate::ratio_offset(&series.metric.labels());
            for (step, ratio) in ratios.iter().enumerate().take(steps.count) {
                let ratio = ratio.clamp(-1.0, 1.0);
                let kept =
                    (ratio >= 0.0 && offset < ratio) || (ratio < 0.0 && offset >= 1.0 + ratio);
                if !kept || ratio == 0.0 {
                    series.put(step, None);
                }
            }
        }
        vector.series.retain(|series| !series.values.iter().all(|value| is_absent(*value)));
        Ok(vector)
    }

    /// The operators that need to see each series only once: they keep one cell per group and step,
    /// however many series there are.
    fn folded(&mut self, aggregate: &Aggregate, steps: Steps) -> Result<Vector> {
        let (op, mut keys) = (aggregate.op, Keys::new(projection(&aggregate.grouping)));
        let lone = is_lone(&aggregate.grouping);
        let mut drops_name: Vec<bool> = Vec::new();
        let mut cells = Cells::new(op);
        let mut natives = NativeCells::new(op, aggregate.expr.span);
        // These ask only where there are values.
        let reading = match op {
            AggregateOp::Count | AggregateOp::Group => Reading::Presence,
            _ => Reading::Value,
        };
        self.stream(&aggregate.expr, steps, reading, &mut |eval, metric, drop_name, row| {
            let place = if lone { 0 } else { keys.of(&metric) };
            if place == drops_name.len() {
                drops_name.push(false);
                // A cell is as large as four samples.
                eval.room_for(4 * (drops_name.len() * steps.count) as u64)?;
                cells.grow(steps.count);
            }
            drops_name[place] |= drop_name;
            let first = place * steps.count;
            if !row.histograms.is_empty() || !natives.is_empty() {
                return natives.add_row(eval, &metric, row, first, &mut cells);
            }
            cells.add_row(first, row.values);
            Ok(())
        })?;
        let groups = drops_name.into_iter().enumerate().map(|(place, drop_name)| match lone {
            true => (Labels::default(), drop_name),
            false => (keys.labels(place).clone(), drop_name),
        });
        Ok(self.results(groups.collect(), &cells, natives, steps))
    }

    /// The results of all groups.
    fn results(
        &mut self,
        groups: Vec<(Labels, bool)>,
        cells: &Cells,
        natives: NativeCells,
        steps: Steps,
    ) -> Vector {
        let series = groups.into_iter().enumerate().map(|(place, (labels, drop_name))| {
            let first = place * steps.count;
            let values = (first..first + steps.count).map(|at| cells.result(at)).collect();
            Series::floats(Metric::Built(labels), drop_name, values)
        });
        let mut series: Vec<Series> = series.collect();
        natives.finish(self, cells, &mut series, steps);
        Vector { series, one_name: false }
    }

    fn group_quantiles(
        &mut self,
        parameter: &[f64],
        vector: &Vector,
        groups: Vec<Group>,
        steps: Steps,
    ) -> Result<Vector> {
        let mut found = Vec::with_capacity(groups.len());
        let mut at_step = Vec::new();
        for group in groups {
            let mut values = absent(steps.count);
            for (step, value) in values.iter_mut().enumerate() {
                if step % STEPS_PER_LOOK == 0 {
                    self.tick()?;
                }
                at_step.clear();
                let members =
                    group.members.iter().map(|member| vector.series[*member].values[step]);
                at_step.extend(members.filter(|value| !is_absent(*value)));
                if !at_step.is_empty() {
                    *value = quantile(parameter[step], &mut at_step);
                }
            }
            push_group(&mut found, vector, group, values);
        }
        Ok(Vector { series: found, one_name: false })
    }

    /// `topk`, `bottomk`, `limitk`: the series themselves, at the steps at which they are picked.
    fn picked(
        &mut self,
        op: AggregateOp,
        parameter: &[f64],
        vector: Vector,
        groups: Vec<Group>,
        steps: Steps,
    ) -> Result<Vector> {
        let one_name = vector.one_name;
        let nothing = Ok(Vector { series: Vec::new(), one_name });
        // Prometheus compares the largest parameter first, and a NaN among others hides behind it.
        let largest = parameter.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if parameter.iter().any(|k| k.is_nan()) {
            return Err(execution("Parameter value is NaN"));
        }
        if largest < 1.0 {
            return nothing;
        }
        for k in parameter {
            if *k <= i64::MIN as f64 {
                return Err(execution(format!("Scalar value {} underflows int64", go(*k))));
            }
            if *k >= i64::MAX as f64 {
                return Err(execution(format!("Scalar value {} overflows int64", go(*k))));
            }
        }
        let mut kept: Vec<Vec<f64>> = Vec::new();
        kept.resize_with(vector.series.len(), Vec::new);
        let mut order = Vec::new();
        let mut ranked: Vec<(f64, usize)> = Vec::new();
        for group in &groups {
            for (step, k) in parameter.iter().enumerate() {
                if step % STEPS_PER_LOOK == 0 {
                    self.tick()?;
                }
                ranked.clear();
                let members = group.members.iter();
                let at_step = members.map(|member| (vector.series[*member].values[step], *member));
                ranked.extend(at_step.filter(|(value, _)| !is_absent(*value)));
                let count = k.max(0.0) as usize;
                if op != AggregateOp::LimitK {
                    take_best(&mut ranked, count, op == AggregateOp::TopK);
                }
                for (value, member) in ranked.iter().take(count) {
                    if kept[*member].is_empty() {
                        kept[*member] = absent(steps.count);
                        order.push(*member);
                    }
                    kept[*member][step] = *value;
                }
            }
        }
        let mut series: Vec<Option<Series>> = vector.series.into_iter().map(Some).collect();
        let picked = order.into_iter().filter_map(|member| {
            let mut series = series[member].take()?;
            for (step, value) in std::mem::take(&mut kept[member]).into_iter().enumerate() {
                if is_absent(value) {
                    series.put(step, None);
                }
            }
            Some(series)
        });
        Ok(Vector { series: picked.collect(), one_name })
    }

    fn count_values(&mut self, aggregate: &Aggregate, steps: Steps) -> Result<Vector> {
        let label = aggregate.parameter.as_ref().map(text);
        let Some(label) = label.filter(|label| !label.value.is_empty() && label.raw.is_none())
        else {
            let name = label.map_or_else(String::new, |label| go_quote(label.bytes()));
            return Err(execution(format!("invalid label name {name}")));
        };
        let vector = self.vector(&aggregate.expr, steps)?;
        let grouping = projection(&aggregate.grouping);
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut found: Vec<Series> = Vec::new();
        for series in &vector.series {
            self.tick()?;
            let labels = grouping.of(&series.metric.labels());
            for step in 0..series.values.len() {
                let value = match series.point(step) {
                    None => continue,
                    Some(Point::Float(value)) => format_value(value),
                    Some(Point::Histogram(histogram)) => histogram.to_string(),
                };
                let mut builder = labels.to_builder();
                if !(aggregate.grouping.without && aggregate.grouping.labels.contains(&label.value))
                {
                    builder.set(label.value.as_str(), value);
                }
                let labels = builder.build();
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        self.room_for_rows(found.len() + 1, steps.count)?;
                        places.insert(labels.clone(), found.len());
                        let (metric, values) = (Metric::Built(labels), absent(steps.count));
                        found.push(Series::floats(metric, false, values));
                        found.len() - 1
                    }
                };
                let cell = &mut found[place].values[step];
                *cell = if is_absent(*cell) { 1.0 } else { *cell + 1.0 };
            }
        }
        Ok(Vector { series: found, one_name: false })
    }
}

/// Puts the best `count` in front, the best first; of equals the earlier member. The rest is dropped.
fn take_best(ranked: &mut Vec<(f64, usize)>, count: usize, descending: bool) {
    let order = |left: &(f64, usize), right: &(f64, usize)| {
        by_value(left.0, right.0, descending).then(left.1.cmp(&right.1))
    };
    if count > 0 && count < ranked.len() {
        ranked.select_nth_unstable_by(count - 1, order);
    }
    ranked.truncate(count);
    ranked.sort_unstable_by(order);
}

fn go(value: f64) -> String {
    crate::syntax::go_general(value, None)
}

fn push_group(found: &mut Vec<Series>, vector: &Vector, group: Group, values: Vec<f64>) {
    if values.iter().all(|value| is_absent(*value)) {
        return;
    }
    let drop_name = group.members.iter().any(|member| vector.series[*member].drop_name);
    found.push(Series::floats(Metric::Built(group.labels), drop_name, values));
}

/// The groups of a vector's series, in the order of their first members.
fn grouped(vector: &Vector, grouping: &Grouping) -> Vec<Group> {
    if vector.series.is_empty() {
        return Vec::new();
    }
    if is_lone(grouping) {
        let members = (0..vector.series.len()).collect();
        return vec![Group { labels: Labels::default(), members }];
    }
    let mut keys = Keys::new(projection(grouping));
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (at, series) in vector.series.iter().enumerate() {
        let key = keys.of(&series.metric);
        if key == members.len() {
            members.push(Vec::new());
        }
        members[key].push(at);
    }
    let groups = members.into_iter().enumerate();
    groups.map(|(key, members)| Group { labels: keys.labels(key).clone(), members }).collect()
}

/// Whether all series are in one group.
fn is_lone(grouping: &Grouping) -> bool {
    !grouping.without && grouping.labels.is_empty()
}

fn projection(grouping: &Grouping) -> Projection<'_> {
    let mut projection = Projection::new(&grouping.labels, !grouping.without);
    if grouping.without {
        projection.add(METRIC_NAME);
    }
    projection
}
