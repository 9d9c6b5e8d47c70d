//! Prometheus text 0.0.4, written: what our own `/metrics` pages serve.

use super::MetricKind;
use super::number::format_float;
use std::borrow::Cow;
use std::fmt::Write;

/// Samples that share a name, a help text and a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name, without suffixes such as `_bucket`.
    pub name: Cow<'static, str>,
    /// One line for people.
    pub help: Cow<'static, str>,
    /// The kind.
    pub kind: MetricKind,
    /// The samples, in the order in which they are written.
    pub samples: Vec<FamilySample>,
}

/// One sample of a [`Family`].
#[derive(Clone, Debug, PartialEq)]
pub struct FamilySample {
    /// `_bucket`, `_sum`, `_count` or nothing.
    pub suffix: &'static str,
    /// The labels, in the order in which they are written.
    pub labels: Vec<(Cow<'static, str>, String)>,
    /// The value.
    pub value: f64,
}

impl Family {
    /// A family without samples yet.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        kind: MetricKind,
    ) -> Family {
        Family { name: name.into(), help: help.into(), kind, samples: Vec::new() }
    }

    /// Adds a sample with the labels given.
    pub fn push(&mut self, labels: &[(&'static str, &str)], value: f64) -> &mut Family {
        let labels = labels
            .iter()
            .map(|(name, value)| (Cow::Borrowed(*name), (*value).to_owned()))
            .collect();
        self.samples.push(FamilySample { suffix: "", labels, value });
        self
    }

    /// A family of one sample without labels.
    pub fn single(
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        kind: MetricKind,
        value: f64,
    ) -> Family {
        let mut family = Family::new(name, help, kind);
        family.push(&[], value);
        family
    }
}

/// The families as a page. Families without samples are left out, as client libraries do.
pub fn encode_text(families: &[Family]) -> String {
    let samples: usize = families.iter().map(|family| family.samples.len()).sum();
    let mut out = String::with_capacity(families.len() * 96 + samples * 64);
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::Summary => "summary",
            _ => "untyped",
        };
        out.push_str("# HELP ");
        out.push_str(&family.name);
        out.push(' ');
        escape(&family.help, false, &mut out);
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n# TYPE {} {kind}", family.name);
        for sample in &family.samples {
            encode_sample(&family.name, sample, &mut out);
        }
    }
    out
}

fn encode_sample(name: &str, sample: &FamilySample, out: &mut String) {
    out.push_str(name);
    out.push_str(sample.suffix);
    for (at, (label, value)) in sample.labels.iter().enumerate() {
        out.push(if at == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        escape(value, true, out);
        out.push('"');
    }
    if !sample.labels.is_empty() {
        out.push('}');
    }
    out.push(' ');
    out.push_str(&format_float(sample.value));
    out.push('\n');
}

fn escape(text: &str, quotes: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}
