//! `line_format` and `label_format`: Go templates over a line's labels, through `gotmpl`.
//!
//! Loki's own functions are in `functions`; `__line__` and `__timestamp__` read the line at hand
//! through a cell that the template owns. Loki's data is a map of texts, so a missing key is the
//! empty text: the names that a template mentions are collected once and added when absent.

use super::functions;
use super::labels::{ERROR_DETAILS_LABEL, ERROR_LABEL, LineLabels};
use gotmpl::{Template, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Most `range` rounds of one execution.
const RANGE_ROUNDS_MAX: u64 = 100_000;
/// Largest text that a template may write.
const OUTPUT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the functions without arguments read.
#[derive(Default)]
pub(super) struct Current {
    pub(super) line: String,
    pub(super) ts_ns: i64,
}

/// A compiled template.
pub struct LineTemplate {
    template: Template,
    fields: Vec<Arc<str>>,
    current: Arc<Mutex<Current>>,
    name: &'static str,
}

/// Collects output up to a limit.
struct Bounded(String);

impl std::fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > OUTPUT_BYTES_MAX {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

impl LineTemplate {
    /// Compiles `text`; `name` (`line`, `label`) appears in errors.
    pub fn new(name: &'static str, text: &str) -> Result<LineTemplate, String> {
        let current = Arc::new(Mutex::new(Current::default()));
        let template = Template::new(name)
            .max_range_iters(RANGE_ROUNDS_MAX)
            .funcs(functions::all(&current))
            .parse(text)
            .map_err(|error| parse_error(name, &error.to_string()))?;
        Ok(LineTemplate { template, fields: fields(text), current, name })
    }

    /// Runs the template; the error is Go's, as far as `gotmpl` tells it.
    pub fn run(&self, ts_ns: i64, line: &[u8], data: &TemplateData) -> Result<String, String> {
        {
            let mut current =
                self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            current.line = String::from_utf8_lossy(line).into_owned();
            current.ts_ns = ts_ns;
        }
        let mut map = data.0.clone();
        for field in &self.fields {
            map.entry(field.clone()).or_insert_with(|| Value::String("".into()));
        }
        let mut out = Bounded(String::new());
        self.template
            .execute_fmt(&mut out, &Value::Map(Arc::new(map)))
            .map_err(|error| format!("template: {}: {error}", self.name))?;
        Ok(out.0)
    }

    /// The labels that the template mentions.
    pub fn fields(&self) -> &[Arc<str>] {
        &self.fields
    }
}

/// A snapshot of the labels, as templates read them.
pub struct TemplateData(BTreeMap<Arc<str>, Value>);

impl TemplateData {
    /// The labels as they are now, the error labels among them.
    pub fn of(labels: &LineLabels) -> TemplateData {
        let mut map: BTreeMap<Arc<str>, Value> = labels
            .all()
            .iter()
            .map(|(name, value)| (Arc::from(name), Value::String(value.into())))
            .collect();
        for name in [ERROR_LABEL, ERROR_DETAILS_LABEL] {
            map.entry(name.into()).or_insert_with(|| Value::String("".into()));
        }
        TemplateData(map)
    }
}

/// Names that follow a dot inside the template.
fn fields(text: &str) -> Vec<Arc<str>> {
    let mut fields = Vec::new();
    for (at, _) in text.match_indices('.') {
        let rest = &text[at + 1..];
        let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
        let before = text[..at].chars().next_back();
        let starts = before.is_none_or(|c| c != '_' && !c.is_alphanumeric() && c != ')');
        if length > 0 && starts {
            fields.push(rest[..length].into());
        }
    }
    fields
}

/// Go's text of a parse error, from gotmpl's.
fn parse_error(name: &str, text: &str) -> String {
    let what = text.rsplit(": ").next().unwrap_or(text);
    if let Some(function) = what.strip_prefix("undefined function ").map(|f| f.trim_matches('"')) {
        return format!("template: {name}:1: function \"{function}\" not defined");
    }
    if text.contains("undefined function") {
        return format!("template: {name}:1: function \"{what}\" not defined");
    }
    format!("template: {name}:1: {what}")
}
