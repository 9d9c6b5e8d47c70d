//! From the raw bytes of a series to its labels.

use super::MetricKind;
use super::number::{format_openmetrics_float, parse_float, quote};
use std::borrow::Cow;
use vigie_model::limits::LABELS_PER_SERIES_MAX;
use vigie_model::{Labels, METRIC_NAME};

/// Names and values.
type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Name and labels of a series in the order and the form in which they are written.
pub(super) fn pairs(text: &str) -> Pairs<'_> {
    let (name, braces) = split(text);
    let mut pairs = Pairs::new();
    if !name.is_empty() {
        pairs.push((METRIC_NAME.into(), name.into()));
    }
    read_pairs(braces, MetricKind::Unknown, &mut pairs);
    pairs
}

/// What stands in front of the braces and what behind the first of them.
fn split(text: &str) -> (&str, &str) {
    match text.find('{') {
        Some(at) => (text[..at].trim(), &text[at + 1..]),
        None => (text.trim(), ""),
    }
}

/// The labels of `series`, which the scanner has accepted.
pub(super) fn labels(series: &[u8], kind: MetricKind) -> Result<Labels, String> {
    let text = std::str::from_utf8(series).map_err(|_| "invalid UTF-8 in the series".to_owned())?;
    let (name, braces) = split(text);
    let mut pairs: Pairs<'_> = Vec::with_capacity(8);
    if !name.is_empty() {
        pairs.push((METRIC_NAME.into(), name.into()));
    }
    read_pairs(braces, kind, &mut pairs);
    pairs.sort_by(|left, right| left.0.cmp(&right.0));
    if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
        let name = quote(twice[0].0.as_bytes());
        return Err(format!("label name {name} is not unique: invalid sample"));
    }
    if pairs.len() > LABELS_PER_SERIES_MAX {
        return Err(format!(
            "label_limit exceeded (metric: {name:.50}, number of labels: {}, limit: \
             {LABELS_PER_SERIES_MAX})",
            pairs.len()
        ));
    }
    let labels =
        Labels::from_pairs(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
    if labels.metric_name().is_none() {
        return Err("series missing metric name".to_owned());
    }
    Ok(labels)
}

/// The labels of an exemplar, whose braces the scanner has accepted.
pub(super) fn exemplar_labels(braces: &[u8]) -> Result<Labels, String> {
    let text =
        std::str::from_utf8(braces).map_err(|_| "invalid UTF-8 in an exemplar".to_owned())?;
    let mut pairs = Vec::new();
    read_pairs(text.strip_prefix('{').unwrap_or(text), MetricKind::Unknown, &mut pairs);
    let pairs = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
    Ok(Labels::from_pairs(pairs))
}

/// Reads what stands between the braces. The scanner has checked the form.
fn read_pairs<'a>(mut rest: &'a str, kind: MetricKind, pairs: &mut Pairs<'a>) {
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = match rest.as_bytes().first() {
            None | Some(b'}') => return,
            Some(b'"') => quoted(rest),
            Some(_) => {
                let end = rest.find(['=', ' ', '\t']).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        let after = after.trim_start_matches([' ', '\t']);
        let Some(value) = after.strip_prefix('=') else {
            // A quoted text without a value is the metric's name.
            pairs.push((METRIC_NAME.into(), name));
            rest = after;
            continue;
        };
        let (value, after) = quoted(value.trim_start_matches([' ', '\t']));
        let value = normalise(kind, &name, value);
        pairs.push((name, value));
        rest = after;
    }
}

/// The text in quotes at the start of `text`, unescaped, and what follows it.
fn quoted(text: &str) -> (Cow<'_, str>, &str) {
    let bytes = text.as_bytes();
    let mut at = 1;
    let mut escaped = false;
    while at < bytes.len() && bytes[at] != b'"' {
        if bytes[at] == b'\\' {
            escaped = true;
            at += 1;
        }
        at += 1;
    }
    let inner = text.get(1..at).unwrap_or("");
    let rest = text.get(at + 1..).unwrap_or("");
    (if escaped { unescape(inner, true).into() } else { inner.into() }, rest)
}

/// Undoes `\\`, `\n` and, in label values, `\"`; other backslashes stay.
pub(super) fn unescape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes().get(at + 1) {
            Some(b'\\') => out.push('\\'),
            Some(b'n') => out.push('\n'),
            Some(b'"') if quotes => out.push('"'),
            _ => {
                out.push('\\');
                rest = &rest[at + 1..];
                continue;
            }
        }
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    out
}

/// `le` of a histogram and `quantile` of a summary in the one form that Prometheus 3 stores.
fn normalise<'a>(kind: MetricKind, name: &str, value: Cow<'a, str>) -> Cow<'a, str> {
    let bound = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => name == "le",
        MetricKind::Summary => name == "quantile",
        _ => false,
    };
    if !bound {
        return value;
    }
    match parse_float(value.as_bytes()) {
        Ok(number) => format_openmetrics_float(number).into(),
        Err(_) => value,
    }
}
