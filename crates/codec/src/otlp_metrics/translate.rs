//! From OpenTelemetry's points to series and samples.
//!
//! Labels are put together in upstream's order, later ones winning where not said otherwise: the
//! point's attributes (two that become one name are joined by `;`), the resource's promoted ones
//! where there is no such label yet, `job` and `instance`, the scope, `__type__` and `__unit__`, and
//! last the name and `le` or `quantile`.

use super::names::{MetricType, Namer, unit_name};
use super::{
    Data, Described, Explicit, OtlpError, Point, REASONS_MAX, Resource, Scope, Settings, Summary,
    Temporality, Translated, WireExemplar, histogram, target_info,
};
use crate::otlp_logs::value::Attributes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use vigie_model::value::format_value;
use vigie_model::{
    Exemplar, Histogram, Labels, METRIC_NAME, PushedExemplar, PushedHistogram, PushedSample,
    PushedStart, STALE_NAN,
};

/// Most characters of an exemplar's labels; attributes that would be too many are left out.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// A label set that is being put together. An empty value is no label.
pub(super) type Parts = BTreeMap<Arc<str>, String>;

/// Most names of labels that are remembered as they become.
const NAMES_MAX: usize = 1024;

pub(super) fn translate(
    resources: &[Resource],
    settings: &Settings,
) -> Result<Translated, OtlpError> {
    let mut translator = Translator::new(settings);
    for resource in resources {
        translator.resource(resource);
    }
    translator.finish()
}

pub(super) struct Translator<'a> {
    pub(super) settings: &'a Settings,
    pub(super) namer: Namer,
    out: Translated,
    places: HashMap<Labels, u32>,
    /// What names of attributes have become: the points of a request share most of theirs.
    names: HashMap<String, Arc<str>>,
    info_seen: HashSet<(u32, i64)>,
    is_info_described: bool,
    reasons: Vec<String>,
    /// Reasons that are not kept.
    others: usize,
}

/// What all series of a scope have in common.
struct Common<'a> {
    promoted: &'a Parts,
    identity: &'a [(&'static str, String)],
    scope: Parts,
}

/// A metric's name, and the labels that all its series have.
struct Family<'a> {
    name: Arc<str>,
    kind: &'static str,
    unit: String,
    common: &'a Common<'a>,
}

impl<'a> Translator<'a> {
    fn new(settings: &'a Settings) -> Translator<'a> {
        let namer = Namer {
            escapes: settings.strategy.escapes(),
            has_suffixes: settings.strategy.has_suffixes(),
            key_before_underscore: settings.key_before_underscore,
            keep_underscores: settings.keep_underscores,
        };
        let (out, places) = (Translated::default(), HashMap::new());
        Translator {
            settings,
            namer,
            out,
            places,
            names: HashMap::new(),
            info_seen: HashSet::new(),
            is_info_described: false,
            reasons: Vec::new(),
            others: 0,
        }
    }

    fn finish(mut self) -> Result<Translated, OtlpError> {
        if !self.reasons.is_empty() {
            if self.others > 0 {
                self.reasons.push(format!("and {} more", self.others));
            }
            return Err(OtlpError::Untranslatable(self.reasons.join("\n")));
        }
        self.out.exemplars.sort_by_key(|one| (one.series, one.exemplar.ts_ms));
        Ok(self.out)
    }

    fn refuse(&mut self, reason: String) {
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push(reason);
        } else {
            self.others += 1;
        }
    }

    fn resource(&mut self, resource: &Resource) {
        let promoted = match self.promoted(&resource.attributes) {
            Ok(promoted) => promoted,
            Err(reason) => return self.refuse(reason),
        };
        let identity = target_info::identity(&resource.attributes);
        let mut times = None;
        for scope in &resource.scopes {
            let scope_labels = match self.scope_labels(scope) {
                Ok(labels) => labels,
                Err(reason) => {
                    self.refuse(reason);
                    continue;
                }
            };
            let common = Common { promoted: &promoted, identity: &identity, scope: scope_labels };
            for metric in &scope.metrics {
                target_info::widen(&mut times, &metric.data);
                if let Err(reason) = self.metric(metric, &common) {
                    self.refuse(reason);
                }
            }
        }
        if let Some(times) = times
            && let Err(reason) = target_info::add(self, &resource.attributes, &identity, times)
        {
            self.refuse(reason);
        }
    }

    /// The name of a label.
    fn label_name(&mut self, name: &str) -> Result<Arc<str>, String> {
        if let Some(known) = self.names.get(name) {
            return Ok(known.clone());
        }
        let made: Arc<str> = self.namer.label(name)?.into();
        if self.names.len() < NAMES_MAX {
            self.names.insert(name.to_owned(), made.clone());
        }
        Ok(made)
    }

    fn promoted(&mut self, attributes: &Attributes) -> Result<Parts, String> {
        let mut out = Parts::new();
        for (name, value) in attributes {
            if self.settings.promote.takes(name) {
                set(&mut out, self.label_name(name)?, value.text());
            }
        }
        Ok(out)
    }

    fn scope_labels(&mut self, scope: &Scope) -> Result<Parts, String> {
        let mut out = Parts::new();
        if !self.settings.promote_scope || scope.name.is_empty() {
            return Ok(out);
        }
        for (name, value) in &scope.attributes {
            set(&mut out, self.label_name(&format!("otel_scope_{name}"))?, value.text());
        }
        for (name, value) in [
            ("otel_scope_name", &scope.name),
            ("otel_scope_version", &scope.version),
            ("otel_scope_schema_url", &scope.schema_url),
        ] {
            // An empty one is kept until the end: it takes a point's own away.
            out.insert(name.into(), value.clone());
        }
        Ok(out)
    }

    fn metric(&mut self, metric: &super::Metric, common: &Common<'_>) -> Result<(), String> {
        let (kind, naming, temporality) = kind_of(&metric.data);
        if matches!(metric.data, Data::Nothing) {
            return Err(format!(
                "could not get aggregation temporality for {} as it has unsupported metric type Empty",
                metric.name
            ));
        }
        let is_allowed = match temporality {
            None | Some(Temporality::Cumulative) => true,
            Some(Temporality::Delta) => self.settings.allow_delta,
            Some(Temporality::Unspecified) => false,
        };
        if !is_allowed {
            return Err(format!(
                "invalid temporality and type combination for metric {:?}",
                metric.name
            ));
        }
        let name: Arc<str> = self.namer.metric(&metric.name, &metric.unit, naming)?.into();
        let unit = unit_name(&metric.unit, true);
        let family = Family { name, kind, unit, common };
        match &metric.data {
            Data::Nothing => {}
            Data::Gauge(points) => self.numbers(&family, points, false)?,
            Data::Sum { points, .. } => self.numbers(&family, points, true)?,
            Data::Histogram(points, temporality) if self.settings.histograms_to_nhcb => {
                self.natives(&family, points, |one, stale| {
                    histogram::custom(one, stale, *temporality)
                })?;
            }
            Data::Histogram(points, _) => self.classic(&family, points)?,
            Data::Exponential(points, temporality) => {
                self.natives(&family, points, |one, stale| {
                    histogram::exponential(one, stale, *temporality)
                })?;
            }
            Data::Summary(points) => self.summaries(&family, points)?,
        }
        let Family { name, unit, .. } = family;
        let help = metric.description.clone();
        self.out.described.push(Described { name: name.to_string(), kind, help, unit });
        Ok(())
    }

    fn numbers(
        &mut self,
        family: &Family<'_>,
        points: &[Point<f64>],
        with_exemplars: bool,
    ) -> Result<(), String> {
        for point in points {
            let labels = self.labels(family, &point.attributes)?;
            let series = self.series(&labels, &family.name, None)?;
            self.sample(series, point, point.value);
            if with_exemplars {
                self.exemplars(series, exemplars(&point.exemplars, ms(point.time_ns))?);
            }
        }
        Ok(())
    }

    fn natives<T>(
        &mut self,
        family: &Family<'_>,
        points: &[Point<T>],
        native: impl Fn(&T, bool) -> Result<Histogram, String>,
    ) -> Result<(), String> {
        for point in points {
            let histogram = native(&point.value, point.is_stale)?;
            let labels = self.labels(family, &point.attributes)?;
            let series = self.series(&labels, &family.name, None)?;
            let ts_ms = ms(point.time_ns);
            self.out.histograms.push(PushedHistogram { series, ts_ms, histogram });
            self.start(series, point);
            self.exemplars(series, exemplars(&point.exemplars, ts_ms)?);
        }
        Ok(())
    }

    fn classic(&mut self, family: &Family<'_>, points: &[Point<Explicit>]) -> Result<(), String> {
        let [sum_name, count_name, bucket] = ["_sum", "_count", "_bucket"]
            .map(|suffix| Arc::<str>::from(format!("{}{suffix}", family.name)));
        for point in points {
            let labels = self.labels(family, &point.attributes)?;
            if let Some(sum) = point.value.sum {
                let series = self.series(&labels, &sum_name, None)?;
                self.sample(series, point, sum);
            }
            let count = point.value.count as f64;
            let series = self.series(&labels, &count_name, None)?;
            self.sample(series, point, count);
            let mut left = exemplars(&point.exemplars, ms(point.time_ns))?.into_iter().peekable();
            let mut below = 0u64;
            for (bound, more) in point.value.bounds.iter().zip(&point.value.counts) {
                below = below.wrapping_add(*more);
                let le = Some(("le", format_value(*bound)));
                let series = self.series(&labels, &bucket, le)?;
                self.sample(series, point, below as f64);
                // Buckets rise, and exemplars are expected to.
                let mut own = Vec::new();
                while let Some(one) = left.next_if(|one| one.value <= *bound || bound.is_nan()) {
                    own.push(one);
                }
                self.exemplars(series, own);
            }
            let series = self.series(&labels, &bucket, Some(("le", "+Inf".to_owned())))?;
            self.sample(series, point, count);
            self.exemplars(series, left.collect());
        }
        Ok(())
    }

    fn summaries(&mut self, family: &Family<'_>, points: &[Point<Summary>]) -> Result<(), String> {
        let [sum_name, count_name] =
            ["_sum", "_count"].map(|suffix| Arc::<str>::from(format!("{}{suffix}", family.name)));
        for point in points {
            let labels = self.labels(family, &point.attributes)?;
            let series = self.series(&labels, &sum_name, None)?;
            self.sample(series, point, point.value.sum);
            let series = self.series(&labels, &count_name, None)?;
            self.sample(series, point, point.value.count as f64);
            for (quantile, value) in &point.value.quantiles {
                let quantile = Some(("quantile", format_value(*quantile)));
                let series = self.series(&labels, &family.name, quantile)?;
                self.sample(series, point, *value);
            }
        }
        Ok(())
    }

    /// The labels of a point's series but for the name.
    fn labels(&mut self, family: &Family<'_>, attributes: &Attributes) -> Result<Labels, String> {
        let mut out = self.attributes(attributes, &[METRIC_NAME])?;
        for (name, value) in family.common.promoted {
            out.entry(name.clone()).or_insert_with(|| value.clone());
        }
        for (name, value) in family.common.identity {
            set(&mut out, *name, value.as_str());
        }
        for (name, value) in &family.common.scope {
            set(&mut out, name.clone(), value.clone());
        }
        if self.settings.type_and_unit_labels {
            if family.kind != "unknown" {
                set(&mut out, "__type__", family.kind);
            }
            if !family.unit.is_empty() {
                let unit = unit_name(&family.unit, self.namer.escapes);
                set(&mut out, "__unit__", unit);
            }
        }
        labels_of(out)
    }

    /// Attributes as labels, those of `ignored` left out.
    pub(super) fn attributes(
        &mut self,
        attributes: &Attributes,
        ignored: &[&str],
    ) -> Result<Parts, String> {
        let mut sorted: Vec<_> =
            attributes.iter().filter(|(name, _)| !ignored.contains(&name.as_str())).collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut out = Parts::new();
        for (name, value) in sorted {
            let name = match self.namer.escapes {
                true => self.label_name(name)?,
                // Upstream does not look at them here.
                false => name.as_str().into(),
            };
            let value = value.text();
            match out.get_mut(&name) {
                Some(before) if self.namer.escapes => {
                    before.push(';');
                    before.push_str(&value);
                }
                _ => set(&mut out, name, value),
            }
        }
        Ok(out)
    }

    /// The number of a series.
    pub(super) fn series(
        &mut self,
        labels: &Labels,
        name: &Arc<str>,
        extra: Option<(&str, String)>,
    ) -> Result<u32, String> {
        let mut labels = labels.to_builder();
        if let Some((name, value)) = extra {
            labels.set(name, value);
        }
        labels.set(METRIC_NAME, name.clone());
        let labels = labels.build();
        if let Some(known) = self.places.get(&labels) {
            return Ok(*known);
        }
        let place = u32::try_from(self.out.series.len()).map_err(|_| "too many series")?;
        self.out.series.push(labels.clone());
        self.places.insert(labels, place);
        Ok(place)
    }

    fn sample<T>(&mut self, series: u32, point: &Point<T>, value: f64) {
        let value = if point.is_stale { STALE_NAN } else { value };
        self.put(series, ms(point.time_ns), value);
        self.start(series, point);
    }

    fn start<T>(&mut self, series: u32, point: &Point<T>) {
        let (ts_ms, start_ms) = (ms(point.time_ns), ms(point.start_ns));
        if start_ms != 0 {
            self.out.starts.push(PushedStart { series, ts_ms, start_ms });
        }
    }

    pub(super) fn put(&mut self, series: u32, ts_ms: i64, value: f64) {
        self.out.samples.push(PushedSample { series, ts_ms, value });
    }

    /// A sample of `target_info`, unless another resource led to the same.
    pub(super) fn put_once(&mut self, series: u32, ts_ms: i64) {
        if self.info_seen.insert((series, ts_ms)) {
            self.put(series, ts_ms, 1.0);
        }
    }

    /// Says once what `target_info` is.
    pub(super) fn describe_info(&mut self, described: Described) {
        if !std::mem::replace(&mut self.is_info_described, true) {
            self.out.described.push(described);
        }
    }

    fn exemplars(&mut self, series: u32, exemplars: Vec<Exemplar>) {
        let pushed = exemplars.into_iter().map(|exemplar| PushedExemplar { series, exemplar });
        self.out.exemplars.extend(pushed);
    }
}

/// An empty value takes a label away.
pub(super) fn set(labels: &mut Parts, name: impl Into<Arc<str>>, value: impl Into<String>) {
    let (name, value) = (name.into(), value.into());
    if value.is_empty() {
        labels.remove(&name);
    } else {
        labels.insert(name, value);
    }
}

/// The finished set.
pub(super) fn labels_of(parts: Parts) -> Result<Labels, String> {
    if parts.contains_key("") {
        return Err("label name is empty".to_owned());
    }
    Ok(Labels::from_pairs(parts))
}

/// Nanoseconds as milliseconds.
pub(super) fn ms(ns: u64) -> i64 {
    ns.cast_signed() / 1_000_000
}

/// Prometheus' word for the type, what the name depends on, and whether points are sums.
fn kind_of(data: &Data) -> (&'static str, MetricType, Option<Temporality>) {
    let unless_delta = |kind, temporality: &Temporality| match temporality {
        // Deltas have no type in Prometheus yet.
        Temporality::Delta => "unknown",
        _ => kind,
    };
    match data {
        Data::Nothing => ("unknown", MetricType::Other, None),
        Data::Gauge(_) => ("gauge", MetricType::Gauge, None),
        Data::Sum { temporality, is_monotonic, .. } => {
            let (kind, naming) = match is_monotonic {
                true => ("counter", MetricType::Counter),
                false => ("gauge", MetricType::Other),
            };
            (unless_delta(kind, temporality), naming, Some(*temporality))
        }
        Data::Histogram(_, temporality) | Data::Exponential(_, temporality) => {
            (unless_delta("histogram", temporality), MetricType::Other, Some(*temporality))
        }
        Data::Summary(_) => ("summary", MetricType::Other, None),
    }
}

/// Exemplars as Prometheus keeps them; one without an instant has that of its point.
fn exemplars(wire: &[WireExemplar], point_ms: i64) -> Result<Vec<Exemplar>, String> {
    let read = |one: &WireExemplar| {
        let value = one.value.ok_or("unsupported exemplar value type: Empty")?;
        let ids = [("trace_id", &one.trace_id), ("span_id", &one.span_id)];
        let mut pairs: Vec<(String, String)> = ids
            .into_iter()
            .filter(|(_, id)| !id.is_empty())
            .map(|(name, id)| (name.to_owned(), id.clone()))
            .collect();
        let others = || one.attributes.iter().map(|(name, value)| (name.clone(), value.text()));
        let chars = |(name, value): &(String, String)| name.chars().count() + value.chars().count();
        let own: usize = pairs.iter().map(chars).sum();
        if own + others().map(|pair| chars(&pair)).sum::<usize>() <= EXEMPLAR_CHARS_MAX {
            pairs.extend(others());
        }
        let ts_ms = if one.time_ns == 0 { point_ms } else { ms(one.time_ns) };
        Ok(Exemplar { ts_ms, value, labels: Labels::from_pairs(pairs) })
    };
    wire.iter().map(read).collect()
}
