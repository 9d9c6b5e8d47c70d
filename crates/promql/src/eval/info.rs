//! `info(v, selector)`: the labels of info metrics joined to the series that they describe.
//!
//! An info series describes the series with the same `instance` and `job`. Of several with the same
//! name the one whose sample is newest counts; of several names each adds its labels
//! (`promql/info.go`).

use super::labels::Projection;
use super::select::Reading;
use super::value::{Metric, Series, Steps, Vector, absent, same_labels};
use super::{Eval, Result, STEPS_PER_LOOK, execution};
use crate::syntax::{At, Extended, Length, Node, NodeKind, VectorSelector};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use vigie_model::{Labels, METRIC_NAME, MatchOp, Matcher, is_absent};

/// The labels by which series and info series meet.
const IDENTIFYING: [&str; 2] = ["instance", "job"];
const DEFAULT_NAME: &str = "target_info";

/// Info series, and where they stand.
struct Infos {
    series: Vec<Series>,
    labels: Vec<Labels>,
    ids: Vec<Labels>,
}

impl Eval<'_> {
    pub(super) fn info(&mut self, args: &[Node], steps: Steps) -> Result<Vector> {
        let base = self.vector(&args[0], steps)?;
        let wanted: &[Matcher] = match args.get(1).map(|arg| &arg.unparenthesised().kind) {
            Some(NodeKind::Vector(selector)) => &selector.matchers,
            _ => &[],
        };
        let (names, data): (Vec<Matcher>, Vec<Matcher>) =
            wanted.iter().cloned().partition(|matcher| matcher.name == METRIC_NAME);
        let names = effective_names(names)?;
        let labels: Vec<Labels> = base.series.iter().map(|s| s.metric.labels()).collect();
        let is_info = |labels: &Labels| {
            names.iter().all(|matcher| matcher.matches(labels.value_or_empty(METRIC_NAME)))
        };
        let ignored: Vec<bool> = labels.iter().map(is_info).collect();
        let infos = self.info_series(&args[0], &labels, &ignored, names, &data, steps)?;
        Joined { base, labels, ignored, infos, data }.evaluate(self, steps)
    }

    /// The info series that may describe any of the series.
    fn info_series(
        &mut self,
        arg: &Node,
        labels: &[Labels],
        ignored: &[bool],
        names: Vec<Matcher>,
        data: &[Matcher],
        steps: Steps,
    ) -> Result<Infos> {
        let mut infos = Infos { series: Vec::new(), labels: Vec::new(), ids: Vec::new() };
        let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (labels, _) in labels.iter().zip(ignored).filter(|(_, ignored)| !**ignored) {
            for name in IDENTIFYING {
                let value = labels.value_or_empty(name);
                if !value.is_empty() {
                    values.entry(name).or_default().insert(value);
                }
            }
        }
        if values.is_empty() {
            return Ok(infos);
        }
        let mut matchers = names;
        for (name, values) in values {
            let texts: Vec<String> = values.into_iter().map(quoted).collect();
            matchers.push(matcher(name, MatchOp::Regex, texts.join("|"))?);
        }
        matchers.extend(data.iter().cloned());
        let (at, offset_ms) = self.time_of(arg)?;
        let selector = VectorSelector {
            name: String::new(),
            matchers,
            at,
            offset: Length::Fixed { ms: offset_ms },
            extended: Extended::No,
            span: arg.span,
        };
        infos.series = self.selector(&selector, steps, Reading::Origin)?.series;
        let identity = IDENTIFYING.map(str::to_owned);
        let identity = Projection::new(&identity, true);
        for series in &infos.series {
            if series.histograms.iter().any(Option::is_some) {
                return Err(execution("info sample should be float"));
            }
            let labels = series.metric.labels();
            infos.ids.push(identity.of(&labels));
            infos.labels.push(labels);
        }
        Ok(infos)
    }

    /// The time that the first selector in an expression looks at: its `@` and its offset, with those
    /// of the subqueries around it.
    fn time_of(&self, node: &Node) -> Result<(Option<At>, i64)> {
        let mut path = Vec::new();
        let Some(selector) = first_selector(node, &mut path) else { return Ok((None, 0)) };
        let mut at = selector.at;
        let mut offset_ms = self.offset_ms(&selector.offset)?;
        for subquery in path.into_iter().rev() {
            if at.is_some() {
                break;
            }
            if let NodeKind::Subquery(subquery) = &subquery.kind {
                offset_ms = offset_ms.saturating_add(self.offset_ms(&subquery.offset)?);
                at = subquery.at;
            }
        }
        Ok((at, offset_ms))
    }
}

/// Both sides of the join.
struct Joined {
    base: Vector,
    labels: Vec<Labels>,
    ignored: Vec<bool>,
    infos: Infos,
    /// What the info labels must fulfil, the metric name apart.
    data: Vec<Matcher>,
}

impl Joined {
    fn evaluate(self, eval: &Eval<'_>, steps: Steps) -> Result<Vector> {
        let identity = IDENTIFYING.map(str::to_owned);
        let identity = Projection::new(&identity, true);
        let ids: Vec<Labels> = self.labels.iter().map(|labels| identity.of(labels)).collect();
        let names: BTreeSet<&str> =
            self.infos.labels.iter().map(|labels| labels.value_or_empty(METRIC_NAME)).collect();
        let mut found: Vec<Series> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut known: HashMap<(usize, Vec<usize>), Option<Labels>> = HashMap::new();
        for step in 0..steps.count {
            if step % STEPS_PER_LOOK == 0 {
                eval.tick()?;
            }
            let newest = self.newest(step)?;
            for (at, series) in self.base.series.iter().enumerate() {
                let Some(point) = series.point(step) else { continue };
                let labels = if self.ignored[at] {
                    self.labels[at].clone()
                } else {
                    let met = names.iter().filter_map(|name| newest.get(&(*name, &ids[at])));
                    let key = (at, met.copied().collect::<Vec<usize>>());
                    let joined = match known.get(&key) {
                        Some(joined) => joined.clone(),
                        None => {
                            let joined = self.joined(at, &key.1)?;
                            known.insert(key, joined.clone());
                            joined
                        }
                    };
                    let Some(labels) = joined else { continue };
                    labels
                };
                let place = match places.get(&labels) {
                    Some(place) => *place,
                    None => {
                        eval.room_for_rows(found.len() + 1, steps.count)?;
                        places.insert(labels.clone(), found.len());
                        let values = absent(steps.count);
                        found.push(Series::floats(Metric::Built(labels), series.drop_name, values));
                        found.len() - 1
                    }
                };
                if !is_absent(found[place].values[step]) {
                    return Err(same_labels());
                }
                found[place].put(step, Some(point));
            }
        }
        Ok(Vector { series: found, one_name: false })
    }

    /// By name and identity, the info series whose sample is newest.
    fn newest(&self, step: usize) -> Result<HashMap<(&str, &Labels), usize>> {
        let mut newest: HashMap<(&str, &Labels), usize> = HashMap::new();
        for (at, series) in self.infos.series.iter().enumerate() {
            let time = series.values[step];
            if is_absent(time) {
                continue;
            }
            let name = self.infos.labels[at].value_or_empty(METRIC_NAME);
            let key = (name, &self.infos.ids[at]);
            let Some(other) = newest.insert(key, at) else { continue };
            let other_time = self.infos.series[other].values[step];
            if other_time > time {
                newest.insert(key, other);
            } else if other_time == time {
                let ms = (time * 1000.0).round() as i64;
                return Err(execution(format!(
                    "found duplicate series for info metric: existing {} @ {ms}, new {} @ {ms}",
                    self.infos.labels[other], self.infos.labels[at]
                )));
            }
        }
        Ok(newest)
    }

    /// The labels of a series with those of its info series; nothing when it lacks one that it must
    /// have.
    fn joined(&self, base: usize, infos: &[usize]) -> Result<Option<Labels>> {
        let own = &self.labels[base];
        if infos.is_empty() {
            let optional = self.data.iter().all(Matcher::matches_empty);
            return Ok(optional.then(|| own.clone()));
        }
        let mut added: BTreeMap<String, String> = BTreeMap::new();
        for info in infos {
            for label in self.infos.labels[*info].iter() {
                let (name, value): (&str, &str) = (label.name.as_ref(), label.value.as_ref());
                let wanted =
                    self.data.is_empty() || self.data.iter().any(|matcher| matcher.name == name);
                if name == METRIC_NAME || !wanted {
                    continue;
                }
                if added.get(name).is_some_and(|other| other != value) {
                    return Err(execution(format!("conflicting label: {name}")));
                }
                if own.get(name).is_none() {
                    added.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        let mut builder = own.to_builder();
        for (name, value) in added {
            builder.set(name.as_str(), value);
        }
        Ok(Some(builder.build()))
    }
}

/// What the names of info metrics must fulfil: as asked for, but never any name at all.
fn effective_names(names: Vec<Matcher>) -> Result<Vec<Matcher>> {
    if names.iter().any(|name| matches!(name.op, MatchOp::Equal | MatchOp::Regex)) {
        return Ok(names);
    }
    if names.is_empty() {
        return Ok(vec![Matcher::equal(METRIC_NAME, DEFAULT_NAME)]);
    }
    let mut all = vec![matcher(METRIC_NAME, MatchOp::Regex, ".+_info".to_owned())?];
    all.extend(names);
    Ok(all)
}

fn matcher(name: &str, op: MatchOp, value: String) -> Result<Matcher> {
    Matcher::new(name, op, value).map_err(|error| execution(error.to_string()))
}

/// A text as a regular expression that matches nothing else.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

/// The first vector selector of a tree, and the nodes above it.
fn first_selector<'n>(node: &'n Node, path: &mut Vec<&'n Node>) -> Option<&'n VectorSelector> {
    path.push(node);
    let found = match &node.kind {
        NodeKind::Vector(selector) | NodeKind::Matrix { selector, .. } => Some(&**selector),
        NodeKind::Subquery(subquery) => first_selector(&subquery.expr, path),
        NodeKind::Aggregate(aggregate) => {
            let parameter = aggregate.parameter.iter();
            std::iter::once(&aggregate.expr)
                .chain(parameter)
                .find_map(|node| first_selector(node, path))
        }
        NodeKind::Call(call) => call.args.iter().find_map(|node| first_selector(node, path)),
        NodeKind::Unary { operand, .. } | NodeKind::Paren(operand) => first_selector(operand, path),
        NodeKind::Binary(chain) => {
            let rest = chain.steps.iter().map(|step| &step.rhs);
            std::iter::once(&chain.first).chain(rest).find_map(|node| first_selector(node, path))
        }
        NodeKind::Number { .. } | NodeKind::Text(_) => None,
    };
    if found.is_none() {
        path.pop();
    }
    found
}
