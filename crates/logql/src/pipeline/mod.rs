//! The stages of a query, compiled, and what they do with a line.
//!
//! A [`Pipeline`] is built once per query and run once per line. Building finds the errors that
//! Loki's parser lets through (`parse error : stage '…' : …`).
//! A line that a stage cannot handle is kept, with `__error__` among its labels; only metric queries
//! turn that into a failure.

mod condition;
mod functions;
mod ip;
mod json;
pub mod labels;
mod logfmt;
pub mod pattern;
mod sample;
mod template;

use crate::ast::{
    FilterText, Grouping, LabelChoice, LabelSource, LineFilter, LineOp, Stage, Unwrap,
};
use crate::parse::ParseError;
use condition::{Condition, names_read};
use ip::IpPattern;
use json::{Step, Stop, Wanted};
use labels::{DUPLICATE_SUFFIX, ERROR_DETAILS_LABEL, ERROR_LABEL, LineLabels};
use memchr::memmem;
use pattern::Pattern;
use regex::bytes::Regex;
pub(crate) use sample::{Sample, series_labels};
use std::sync::Arc;
use template::{LineTemplate, TemplateData};
use vigie_model::regexp;

/// The terminal colours that `decolorize` removes.
const COLOR_CODES: &str = "[\u{1b}\u{9b}][\\[\\]()#;?]*(?:(?:(?:[a-zA-Z0-9]*(?:;[a-zA-Z0-9]*)*)?\u{7})|(?:(?:[0-9]{1,4}(?:;[0-9]{0,4})*)?[0-9A-PRZcf-ntqry=><~]))";

/// One text of a line filter, ready to search.
enum Search {
    Text(Box<memmem::Finder<'static>>),
    Regex(Regex),
    Pattern(Pattern),
    Ip(IpPattern),
}

impl Search {
    fn matches(&self, line: &[u8]) -> bool {
        match self {
            Search::Text(finder) => finder.find(line).is_some(),
            Search::Regex(regex) => regex.is_match(line),
            Search::Pattern(pattern) => pattern.matches(line),
            Search::Ip(pattern) => pattern.found_in(line),
        }
    }
}

/// A stage, ready to run.
enum Compiled {
    Line { negative: bool, searches: Vec<Search> },
    Json,
    JsonPaths(Vec<(Arc<str>, Vec<Step>)>),
    Logfmt { strict: bool, keep_empty: bool },
    LogfmtKeys { strict: bool, keys: Vec<(Arc<str>, String)> },
    Regexp { regex: Regex, names: Vec<(usize, String)> },
    Pattern(Pattern),
    Unpack,
    Label(Condition),
    LineFormat(LineTemplate),
    LabelFormat(Vec<(Arc<str>, Format)>),
    Decolorize(Regex),
    Drop(Vec<LabelChoice>),
    Keep(Vec<LabelChoice>),
}

enum Format {
    Rename(String),
    Template(Box<LineTemplate>),
}

/// Which labels the rest of the query can use; parsers skip the others.
///
/// Loki stops parsing a line once it has all of them, which is visible: an error behind that point
/// is not seen.
#[derive(Default)]
pub struct Hints {
    /// Nothing that a parser finds is used.
    nothing: bool,
    /// Only these are used; empty for all.
    required: Vec<String>,
}

impl Wanted for Hints {
    fn wants(&self, name: &str) -> bool {
        self.required.is_empty() || self.required.iter().any(|required| required == name)
    }

    fn satisfied(&self, labels: &LineLabels) -> bool {
        // A name is asked for together with its `_extracted` form's base, either will do.
        !self.required.is_empty()
            && self
                .required
                .iter()
                .all(|required| labels.extracted().iter().any(|have| have.as_ref() == required))
    }
}

/// The stages of a query, in order.
pub struct Pipeline {
    steps: Vec<Compiled>,
    hints: Hints,
    needed_labels: Vec<String>,
    /// What `now` answers in a template.
    now_ns: i64,
}

impl Pipeline {
    /// Compiles stages for a log query.
    pub fn new(stages: &[Stage]) -> Result<Pipeline, ParseError> {
        let mut needed_labels = Vec::new();
        let mut steps = Vec::new();
        for stage in stages {
            let step = step(stage, &mut needed_labels)
                .map_err(|why| ParseError::whole(format!("stage '{stage}' : {why}")))?;
            steps.push(step);
        }
        Ok(Pipeline { steps, hints: Hints::default(), needed_labels, now_ns: 0 })
    }

    /// Compiles stages for samples that only `grouping` and the unwrapped label look at.
    pub fn for_samples(
        stages: &[Stage],
        unwrap: Option<&Unwrap>,
        grouping: Option<&Grouping>,
    ) -> Result<Pipeline, ParseError> {
        let mut pipeline = Pipeline::new(stages)?;
        let Some(grouping) = grouping.filter(|grouping| !grouping.without) else {
            return Ok(pipeline);
        };
        let mut required = std::mem::take(&mut pipeline.needed_labels);
        required.extend(grouping.labels.iter().cloned());
        if let Some(unwrap) = unwrap {
            required.push(unwrap.label.clone());
            for filter in &unwrap.filters {
                names_read(filter, &mut required);
            }
        }
        for at in 0..required.len() {
            if let Some(base) = required[at].strip_suffix(DUPLICATE_SUFFIX) {
                required.push(base.to_owned());
            }
        }
        let formats = stages.iter().any(|stage| matches!(stage, Stage::LabelFormat(_)));
        pipeline.hints = Hints { nothing: required.is_empty(), required };
        if formats {
            pipeline.hints = Hints::default();
        }
        Ok(pipeline)
    }

    /// Says when it is asked: what `now` answers in a template.
    pub fn set_now(&mut self, now_ns: i64) {
        self.now_ns = now_ns;
    }

    /// Runs a line through; `false` drops it. `line` becomes what the stages make of it.
    pub fn run(&self, ts_ns: i64, line: &mut Vec<u8>, labels: &mut LineLabels) -> bool {
        self.steps.iter().all(|step| self.run_step(step, ts_ns, line, labels))
    }

    /// Runs the parsers only: what they find goes into the labels.
    pub fn parse_only(&self, line: &mut Vec<u8>, labels: &mut LineLabels) {
        let is_parser = |step: &&Compiled| matches!(step, Compiled::Json | Compiled::Logfmt { .. });
        if !self.hints.nothing {
            self.steps.iter().filter(is_parser).for_each(|step| self.parse(step, line, labels));
        }
    }

    /// Whether a line, as stored, passes the line filters.
    pub fn line_passes(&self, line: &[u8]) -> bool {
        self.steps.iter().all(|step| match step {
            Compiled::Line { negative, searches } => {
                searches.iter().any(|search| search.matches(line)) != *negative
            }
            _ => true,
        })
    }

    fn run_step(
        &self,
        step: &Compiled,
        ts_ns: i64,
        line: &mut Vec<u8>,
        labels: &mut LineLabels,
    ) -> bool {
        match step {
            Compiled::Line { negative, searches } => {
                searches.iter().any(|search| search.matches(line)) != *negative
            }
            Compiled::Label(condition) => condition.holds(labels),
            Compiled::LineFormat(template) => {
                match template.run((ts_ns, self.now_ns), line, &TemplateData::of(labels)) {
                    Ok(text) => *line = text.into_bytes(),
                    Err(error) => labels.set_error("TemplateFormatErr", error),
                }
                true
            }
            Compiled::LabelFormat(formats) => {
                format_labels(formats, (ts_ns, self.now_ns), line, labels);
                true
            }
            Compiled::Decolorize(regex) => {
                if let std::borrow::Cow::Owned(plain) = regex.replace_all(line, &b""[..]) {
                    *line = plain;
                }
                true
            }
            Compiled::Drop(choices) => {
                drop_labels(choices, labels);
                true
            }
            Compiled::Keep(choices) => {
                labels.retain(|name, value| {
                    [ERROR_LABEL, ERROR_DETAILS_LABEL].contains(&name)
                        || choices.iter().any(|choice| chosen(choice, name, value))
                });
                true
            }
            _ if self.hints.nothing => true,
            _ => {
                self.parse(step, line, labels);
                true
            }
        }
    }

    /// Runs a parser; what it finds goes into the labels.
    fn parse(&self, step: &Compiled, line: &mut Vec<u8>, labels: &mut LineLabels) {
        match step {
            Compiled::Json => {
                if let Err(Stop::Error(why)) = json::flatten(line, labels, &self.hints) {
                    labels.set_error("JSONParserErr", why);
                }
            }
            Compiled::JsonPaths(paths) => {
                if json::extract(line, paths, labels).is_err() {
                    labels.set_error("JSONParserErr", "");
                }
            }
            Compiled::Logfmt { strict, keep_empty } => {
                let done = logfmt::flatten(line, *strict, *keep_empty, labels, &self.hints);
                if let Err(why) = done {
                    labels.set_error("LogfmtParserErr", why);
                }
            }
            Compiled::LogfmtKeys { strict, keys } => {
                if let Err(why) = logfmt::extract(line, *strict, keys, labels) {
                    labels.set_error("LogfmtParserErr", why);
                }
            }
            Compiled::Regexp { regex, names } => {
                let Some(captures) = regex.captures(line) else { return };
                for (index, name) in names {
                    let value = captures.get(*index).map_or(&b""[..], |found| found.as_bytes());
                    self.store(name, value, labels);
                }
            }
            Compiled::Pattern(pattern) => {
                pattern.captures(line, &mut |name, value| self.store(name, value, labels));
            }
            Compiled::Unpack => match json::unpack(line, labels, &self.hints) {
                Ok(Some(entry)) => *line = entry,
                Ok(None) => {}
                Err(why) => labels.set_error("JSONParserErr", why),
            },
            _ => unreachable!("`run_step` handles every stage that is no parser"),
        }
    }

    fn store(&self, name: &str, value: &[u8], labels: &mut LineLabels) {
        if !self.hints.wants(name) {
            return;
        }
        if let Some(name) = labels.extracted_name(name) {
            labels.set(name, String::from_utf8_lossy(value).into());
        }
    }
}

fn step(stage: &Stage, needed: &mut Vec<String>) -> Result<Compiled, String> {
    Ok(match stage {
        Stage::Line(filter) => Compiled::Line {
            negative: filter.op.is_negative(),
            searches: filter
                .texts
                .iter()
                .map(|text| search(filter.op, text))
                .collect::<Result<_, _>>()?,
        },
        Stage::Json(extractions) if extractions.is_empty() => Compiled::Json,
        Stage::Json(extractions) => Compiled::JsonPaths(
            extractions
                .iter()
                .map(|e| Ok((e.label.as_str().into(), json::parse_path(&e.path)?)))
                .collect::<Result<_, String>>()?,
        ),
        Stage::Logfmt { strict, keep_empty, extractions } if extractions.is_empty() => {
            Compiled::Logfmt { strict: *strict, keep_empty: *keep_empty }
        }
        Stage::Logfmt { strict, extractions, .. } => {
            extractions.iter().try_for_each(|e| logfmt::check_key(&e.path))?;
            let keys = extractions.iter().map(|e| (e.label.as_str().into(), e.path.clone()));
            Compiled::LogfmtKeys { strict: *strict, keys: keys.collect() }
        }
        Stage::Regexp(text) => {
            let regex = compiled(text)?;
            let names = regex
                .capture_names()
                .enumerate()
                .filter_map(|(at, name)| Some((at, name?.to_owned())))
                .collect();
            Compiled::Regexp { regex, names }
        }
        Stage::Pattern(text) => Compiled::Pattern(Pattern::parser(text)?),
        Stage::Unpack => Compiled::Unpack,
        Stage::Label(filter) => {
            names_read(filter, needed);
            Compiled::Label(Condition::new(filter)?)
        }
        Stage::LineFormat(text) => {
            let template = LineTemplate::new("line", text)
                .map_err(|why| format!("invalid line template: {why}"))?;
            needed.extend(template.fields().iter().map(ToString::to_string));
            Compiled::LineFormat(template)
        }
        Stage::LabelFormat(formats) => Compiled::LabelFormat(label_formats(formats, needed)?),
        Stage::Decolorize => Compiled::Decolorize(compiled(COLOR_CODES)?),
        Stage::Drop(choices) => Compiled::Drop(choices.clone()),
        Stage::Keep(choices) => Compiled::Keep(choices.clone()),
    })
}

/// What `| json` finds in a line; an error is noted among the labels.
pub fn json_fields(line: &[u8], labels: &mut LineLabels) {
    if let Err(Stop::Error(why)) = json::flatten(line, labels, &Hints::default()) {
        labels.set_error("JSONParserErr", why);
    }
}

/// What `| logfmt` finds in a line, likewise.
pub fn logfmt_fields(line: &[u8], labels: &mut LineLabels) {
    if let Err(why) = logfmt::flatten(line, false, false, labels, &Hints::default()) {
        labels.set_error("LogfmtParserErr", why);
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    regexp::in_line(pattern).map_err(|error| error.to_string())
}

fn search(op: LineOp, text: &FilterText) -> Result<Search, String> {
    if text.is_ip {
        return match op {
            LineOp::Contains | LineOp::NotContains => Ok(Search::Ip(IpPattern::parse(&text.text)?)),
            _ => Err("ip: invalid operation".to_owned()),
        };
    }
    Ok(match op {
        LineOp::Contains | LineOp::NotContains => {
            Search::Text(Box::new(memmem::Finder::new(text.text.as_bytes()).into_owned()))
        }
        LineOp::Regex | LineOp::NotRegex => Search::Regex(compiled(&text.text)?),
        LineOp::Pattern | LineOp::NotPattern => Search::Pattern(Pattern::filter(&text.text)?),
    })
}

fn label_formats(
    formats: &[(String, LabelSource)],
    needed: &mut Vec<String>,
) -> Result<Vec<(Arc<str>, Format)>, String> {
    let mut out: Vec<(Arc<str>, Format)> = Vec::new();
    for (target, source) in formats {
        if out.iter().any(|(have, _)| have.as_ref() == target) {
            return Err(format!(
                "multiple label name '{target}' not allowed in a single format operation"
            ));
        }
        let format = match source {
            LabelSource::Rename(from) => {
                needed.push(from.clone());
                Format::Rename(from.clone())
            }
            LabelSource::Template(text) => {
                let template = LineTemplate::new("label", text)
                    .map_err(|why| format!("invalid template for label '{target}': {why}"))?;
                needed.extend(template.fields().iter().map(ToString::to_string));
                Format::Template(Box::new(template))
            }
        };
        out.push((target.as_str().into(), format));
    }
    Ok(out)
}

fn format_labels(
    formats: &[(Arc<str>, Format)],
    instants: (i64, i64),
    line: &[u8],
    labels: &mut LineLabels,
) {
    // Templates read the labels as they were before the stage; renames see each other.
    let snapshot = TemplateData::of(labels);
    for (target, format) in formats {
        match format {
            Format::Rename(from) => {
                if let Some(value) = labels.get(from).map(Arc::from) {
                    labels.set(target.clone(), value);
                    labels.remove(from);
                }
            }
            Format::Template(template) => match template.run(instants, line, &snapshot) {
                Ok(text) => labels.set(target.clone(), text.into()),
                Err(error) => labels.set_error("TemplateFormatErr", error),
            },
        }
    }
}

fn chosen(choice: &LabelChoice, name: &str, value: &str) -> bool {
    match choice {
        LabelChoice::Name(wanted) => wanted == name,
        LabelChoice::Match(matcher) => matcher.name == name && matcher.matches(value),
    }
}

fn drop_labels(choices: &[LabelChoice], labels: &mut LineLabels) {
    for choice in choices {
        let name = match choice {
            LabelChoice::Name(name) => name,
            LabelChoice::Match(matcher) => {
                if !matcher.matches(labels.text(&matcher.name)) {
                    continue;
                }
                &matcher.name
            }
        };
        match name.as_str() {
            ERROR_LABEL => labels.clear_error(false),
            ERROR_DETAILS_LABEL => labels.clear_error(true),
            name => labels.remove(name),
        }
    }
}

/// The positive `|=` texts before any stage that changes the line: every wanted line has them all.
pub fn required_texts(stages: &[Stage]) -> Vec<&[u8]> {
    let mut texts = Vec::new();
    for stage in stages {
        match stage {
            Stage::Line(LineFilter { op: LineOp::Contains, texts: found }) => {
                if let [FilterText { text, is_ip: false }] = found.as_slice()
                    && !text.is_empty()
                {
                    texts.push(text.as_bytes());
                }
            }
            Stage::LineFormat(_) | Stage::Decolorize | Stage::Unpack => break,
            _ => {}
        }
    }
    texts
}
