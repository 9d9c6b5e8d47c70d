//! Annotations: what a query's author should know although there is an answer.
//!
//! Each text is told once; its position is added at the end, when the query's text is at hand.
//! Of many texts only the first few are told, and how many there are more.

use crate::syntax::{Span, go_general};
use std::collections::BTreeMap;
use vigie_model::go_quote;

/// Most texts of one kind that are told, as Prometheus' API tells them.
const TOLD_MAX: usize = 10;
/// Most texts of one kind that are collected; a query may meet a hundred thousand metric names.
const COLLECTED_MAX: usize = 1000;

/// The annotations collected so far, by text.
#[derive(Default)]
pub(super) struct Notes {
    warnings: BTreeMap<String, Span>,
    infos: BTreeMap<String, Span>,
    monotonicity: BTreeMap<String, (Span, Repair)>,
    /// By metric, how many series and steps have start timestamps that overlap.
    overlaps: BTreeMap<String, (Span, u64)>,
}

/// How histogram buckets were made monotonic, over all steps and series of one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repair {
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) bucket_min: f64,
    pub(super) bucket_max: f64,
    pub(super) difference_max: f64,
    pub(super) count: u64,
}

/// What is odd about native histograms. Fields are metric names and operators.
#[derive(Clone, Debug)]
pub(super) enum Note {
    MixedFloats(String),
    MixedFloatsInAggregation,
    MixedClassic(String),
    NotCounter(String),
    NotGauge(String),
    MixedCustom(String),
    IncompatibleLayout(&'static str),
    IncompatibleTypes { left: &'static str, op: &'static str, right: &'static str },
    IgnoredInAggregation(&'static str),
    IgnoredInRange(String),
    NanResult(String),
    NanSkew(String),
    NanFraction(String),
    ResetsCollide(&'static str),
    BoundsDiffer(&'static str),
    InvalidRatio { got: f64, used: f64 },
    NoCounterLabel { metric: String, kind: String },
}

impl Note {
    /// Whether it is a warning, and Prometheus' words (`util/annotations`).
    fn text(&self) -> (bool, String) {
        let quoted = |text: &str| go_quote(text.as_bytes());
        match self {
            Note::MixedFloats(metric) => (
                true,
                format!(
                    "encountered a mix of histograms and floats for metric name {}",
                    quoted(metric)
                ),
            ),
            Note::MixedFloatsInAggregation => {
                (true, "encountered a mix of histograms and floats for aggregation".to_owned())
            }
            Note::MixedClassic(metric) => {
                let of = for_metric(metric);
                (true, format!("vector contains a mix of classic and native histograms{of}"))
            }
            Note::NotCounter(metric) => {
                (true, format!("this native histogram metric is not a counter: {}", quoted(metric)))
            }
            Note::NotGauge(metric) => {
                (true, format!("this native histogram metric is not a gauge: {}", quoted(metric)))
            }
            Note::MixedCustom(metric) => (
                true,
                format!(
                    "vector contains a mix of histograms with exponential and custom buckets \
                     schemas for metric name {}",
                    quoted(metric)
                ),
            ),
            Note::IncompatibleLayout(op) => {
                (true, format!("incompatible bucket layout encountered for binary operator {op}"))
            }
            Note::ResetsCollide(what) => {
                (true, format!("conflicting counter resets during histogram {what}"))
            }
            Note::InvalidRatio { got, used } => (
                true,
                format!(
                    "ratio value should be between -1 and 1, got {}, capping to {}",
                    go_general(*got, None),
                    go_general(*used, None)
                ),
            ),
            info => (false, info.info_text()),
        }
    }

    fn info_text(&self) -> String {
        let quoted = |text: &str| go_quote(text.as_bytes());
        match self {
            Note::IncompatibleTypes { left, op, right } => format!(
                "incompatible sample types encountered for binary operator {}: {left} {op} {right}",
                quoted(op)
            ),
            Note::IgnoredInAggregation(op) => format!("ignored histogram in {op} aggregation"),
            Note::IgnoredInRange(metric) => format!(
                "ignored histograms in a range containing both floats and histograms for metric \
                 name {}",
                quoted(metric)
            ),
            Note::NanResult(metric) => format!(
                "input to histogram_quantile has NaN observations, result is NaN{}",
                for_metric(metric)
            ),
            Note::NanSkew(metric) => format!(
                "input to histogram_quantile has NaN observations, result is skewed higher{}",
                for_metric(metric)
            ),
            Note::NanFraction(metric) => format!(
                "input to histogram_fraction has NaN observations, which are excluded from all \
                 fractions{}",
                for_metric(metric)
            ),
            Note::BoundsDiffer(what) => {
                format!("mismatched custom buckets were reconciled during {what}")
            }
            Note::NoCounterLabel { metric, kind } => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \
                 \"histogram\", got {}: {}",
                quoted(kind),
                quoted(metric)
            ),
            _ => String::new(),
        }
    }
}

impl Notes {
    fn warn(&mut self, text: String, span: Span) {
        collect(&mut self.warnings, text, span);
    }

    pub(super) fn invalid_quantile(&mut self, quantile: f64, span: Span) {
        let got = go_general(quantile, None);
        self.warn(format!("quantile value should be between 0 and 1, got {got}"), span);
    }

    pub(super) fn bad_bucket(&mut self, metric: &str, label: &str, span: Span) {
        let label = go_quote(label.as_bytes());
        let of = for_metric(metric);
        let text =
            format!("bucket label \"le\" is missing or has a malformed value of {label}{of}");
        self.warn(text, span);
    }

    pub(super) fn sort_in_range(&mut self, span: Span) {
        let text =
            "sort is ineffective for range queries since results are always ordered by labels";
        self.warn(text.to_owned(), span);
    }

    pub(super) fn maybe_no_counter(&mut self, metric: &str, span: Span) {
        let metric = go_quote(metric.as_bytes());
        let text = format!(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {metric}"
        );
        collect(&mut self.infos, text, span);
    }

    /// A warning in words that name no more than one metric.
    pub(super) fn told(&mut self, note: &Note, span: Span) {
        let (is_warning, text) = note.text();
        let texts = if is_warning { &mut self.warnings } else { &mut self.infos };
        collect(texts, text, span);
    }

    /// A counter is said to have begun before an earlier run of it ended.
    pub(super) fn starts_overlap(&mut self, metric: &str, span: Span) {
        if self.overlaps.len() < COLLECTED_MAX || self.overlaps.contains_key(metric) {
            self.overlaps.entry(metric.to_owned()).or_insert((span, 0)).1 += 1;
        }
    }

    pub(super) fn forced_monotonicity(&mut self, metric: &str, span: Span, repair: Repair) {
        let of = for_metric(metric);
        if self.monotonicity.len() >= COLLECTED_MAX && !self.monotonicity.contains_key(&of) {
            return;
        }
        let entry = self.monotonicity.entry(of).or_insert((span, repair));
        let sum = &mut entry.1;
        sum.first_ms = sum.first_ms.min(repair.first_ms);
        sum.last_ms = sum.last_ms.max(repair.last_ms);
        sum.bucket_min = sum.bucket_min.min(repair.bucket_min);
        sum.bucket_max = sum.bucket_max.max(repair.bucket_max);
        sum.difference_max = sum.difference_max.max(repair.difference_max);
        sum.count += 1;
    }

    /// Warnings and infos with their positions in `query`.
    pub(super) fn into_texts(self, query: &str) -> (Vec<String>, Vec<String>) {
        let place = |span: Span| span.line_column(query);
        let warnings = self.warnings.into_iter();
        let warnings =
            warnings.map(|(text, span)| format!("PromQL warning: {text} ({})", place(span)));
        let repairs = self.monotonicity.into_iter().map(|(of, (span, repair))| {
            format!(
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)\
                 {of}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {} ({})",
                go_general(repair.bucket_min, None),
                go_general(repair.bucket_max, None),
                go_general(repair.difference_max, Some(2)),
                repair.count,
                super::dates::rfc3339(repair.first_ms),
                super::dates::rfc3339(repair.last_ms),
                place(span)
            )
        });
        let infos = self.infos.into_iter();
        let infos = infos.map(|(text, span)| format!("PromQL info: {text} ({})", place(span)));
        let overlaps = self.overlaps.into_iter().map(|(metric, (span, count))| {
            let times = if count > 1 { format!(" ({count} occurrences)") } else { String::new() };
            format!(
                "PromQL warning: sample has start time that overlaps with previous sample timestamp \
                 for metric {}{times} ({})",
                go_quote(metric.as_bytes()),
                place(span)
            )
        });
        let warnings = warnings.chain(overlaps);
        (told(warnings, "warning"), told(infos.chain(repairs), "info"))
    }
}

fn collect(texts: &mut BTreeMap<String, Span>, text: String, span: Span) {
    if texts.len() < COLLECTED_MAX || texts.contains_key(&text) {
        texts.insert(text, span);
    }
}

/// The first texts, and how many are left out.
fn told(mut texts: impl Iterator<Item = String>, kind: &str) -> Vec<String> {
    let mut told: Vec<String> = texts.by_ref().take(TOLD_MAX).collect();
    let more = texts.count();
    if more > 0 {
        told.push(format!("{more} more {kind} annotations omitted"));
    }
    told
}

fn for_metric(metric: &str) -> String {
    match metric {
        "" => String::new(),
        metric => format!(" for metric name {}", go_quote(metric.as_bytes())),
    }
}
