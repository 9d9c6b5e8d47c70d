//! `line_format` and `label_format`: Go templates over a line's labels, through `gotmpl`.
//!
//! Loki's own functions are in `functions`; `__line__` and `__timestamp__` read the line at hand
//! through a cell that the template owns. Loki's data is a map of texts, so a missing key is the
//! empty text: the names that a template mentions are collected once and added when absent.

use super::functions;
use super::labels::{ERROR_DETAILS_LABEL, ERROR_LABEL, LineLabels};
use gotmpl::parse::{Expr, ListNode, Node, PipeNode};
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
    pub(super) now_ns: i64,
}

/// A compiled template.
pub struct LineTemplate {
    template: Template,
    fields: Vec<Arc<str>>,
    current: Arc<Mutex<Current>>,
    name: &'static str,
    text: String,
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
        if has_open_block(text) {
            return Err(format!("template: {name}:1: unexpected EOF"));
        }
        let functions = functions::all(&current);
        let known: Vec<String> = functions.keys().cloned().collect();
        let mut template = Template::new(name)
            .max_range_iters(RANGE_ROUNDS_MAX)
            .funcs(functions)
            .parse(text)
            .map_err(|error| parse_error(name, &error.to_string()))?;
        for tree in trees(&template, name) {
            if let Some(list) = template.lookup(&tree) {
                check_functions(list, &known).map_err(|function| {
                    format!("template: {name}:1: function \"{function}\" not defined")
                })?;
            }
        }
        if functions::TIMES.iter().any(|word| text.contains(word)) {
            for tree in trees(&template, name) {
                if let Some(mut list) = template.lookup(&tree).cloned() {
                    vigie_template::with_methods(&mut list);
                    template = template.add_parse_tree(&tree, list);
                }
            }
        }
        Ok(LineTemplate { template, fields: fields(text), current, name, text: text.to_owned() })
    }

    /// Runs the template at the line's instant and the query's; the error is Go's, as far as `gotmpl` tells it.
    pub fn run(
        &self,
        (ts_ns, now_ns): (i64, i64),
        line: &[u8],
        data: &TemplateData,
    ) -> Result<String, String> {
        {
            let mut current =
                self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            current.line = String::from_utf8_lossy(line).into_owned();
            current.ts_ns = ts_ns;
            current.now_ns = now_ns;
        }
        let mut map = data.0.clone();
        for field in &self.fields {
            map.entry(field.clone()).or_insert_with(|| Value::String("".into()));
        }
        let mut out = Bounded(String::new());
        let data = Value::Map(Arc::new(map));
        // By name: only the named tree knows methods. An empty text has none.
        let run = match self.template.lookup(self.name) {
            Some(_) => self.template.execute_template_fmt(&mut out, self.name, &data),
            None => self.template.execute_fmt(&mut out, &data),
        };
        run.map_err(|error| self.failure(&error.to_string()))?;
        Ok(out.0)
    }

    /// Go's text of a failure: it names the place of the call.
    fn failure(&self, error: &str) -> String {
        let name = self.name;
        let why = error.strip_prefix("execution error: ").unwrap_or(error);
        let sliced = slice_failure(why);
        let why = sliced.as_deref().unwrap_or(why);
        let called = why.strip_prefix("error calling ").and_then(|rest| rest.split(':').next());
        let place = called.and_then(|function| {
            self.text.match_indices(function).map(|(at, _)| at).find(|at| {
                let rest = &self.text[at + function.len()..];
                !rest.starts_with(|c: char| c == '_' || c.is_alphanumeric())
            })
        });
        let Some(at) = place else { return format!("template: {name}: {why}") };
        let line = self.text[..at].matches('\n').count() + 1;
        let column = at - self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &self.text[at..];
        let end = rest.find(['|', '}', ')']).unwrap_or(rest.len());
        let call = rest[..end].trim_end();
        format!("template: {name}:{line}:{column}: executing \"{name}\" at <{call}>: {why}")
    }

    /// The labels that the template mentions.
    pub fn fields(&self) -> &[Arc<str>] {
        &self.fields
    }
}

/// The names of all trees of a template, its own first.
fn trees(template: &Template, name: &str) -> Vec<String> {
    std::iter::once(name).chain(template.templates()).map(ToOwned::to_owned).collect()
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

/// Whether a block is not closed by `{{ end }}`, which gotmpl lets through.
fn has_open_block(text: &str) -> bool {
    let mut open = 0i64;
    for action in text.split("{{").skip(1) {
        let Some((body, _)) = action.split_once("}}") else { return false };
        match body.trim_start_matches('-').split_whitespace().next() {
            Some("if" | "range" | "with" | "block" | "define") => open += 1,
            Some("end" | "end-") => open -= 1,
            _ => {}
        }
    }
    open > 0
}

/// Go's text for an index behind the end, from gotmpl's (`slice: … [0:9] with length 1`).
fn slice_failure(why: &str) -> Option<String> {
    let (start, rest) = why.strip_prefix("slice: ")?.split_once('[')?.1.split_once(':')?;
    let (end, length) = rest.split_once("] with length ")?;
    let over = |text: &&str| text.parse::<u64>().ok() > length.parse::<u64>().ok();
    let index = [end, start].into_iter().find(over).unwrap_or(end);
    Some(format!("error calling slice: index out of range: {index}"))
}

/// Functions of Go's `text/template` itself.
const BUILTINS: [&str; 19] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js",
    "urlquery", "call", "eq", "ne", "lt", "le", "gt", "ge",
];

/// Looks for a function that does not exist, as Go does while it parses.
fn check_functions(list: &ListNode, known: &[String]) -> Result<(), String> {
    list.nodes.iter().try_for_each(|node| match node {
        Node::List(list) => check_functions(list, known),
        Node::Action(action) => check_pipe(&action.pipe, known),
        Node::If(branch) | Node::Range(branch) | Node::With(branch) => {
            check_pipe(&branch.pipe, known)?;
            check_functions(&branch.body, known)?;
            branch.else_body.iter().try_for_each(|list| check_functions(list, known))
        }
        Node::Template(call) => call.pipe.iter().try_for_each(|pipe| check_pipe(pipe, known)),
        Node::Define(define) => check_functions(&define.body, known),
        Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
    })
}

fn check_pipe(pipe: &PipeNode, known: &[String]) -> Result<(), String> {
    pipe.commands.iter().flat_map(|command| &command.args).try_for_each(|arg| match arg {
        Expr::Identifier(_, name) => {
            if known.iter().any(|have| name == have.as_str()) || BUILTINS.contains(&name.as_str()) {
                Ok(())
            } else {
                Err(name.to_string())
            }
        }
        Expr::Pipe(_, pipe) => check_pipe(pipe, known),
        Expr::Chain(_, inner, _) => match inner.as_ref() {
            Expr::Pipe(_, pipe) => check_pipe(pipe, known),
            _ => Ok(()),
        },
        _ => Ok(()),
    })
}

/// Go's text of a parse error, from gotmpl's.
fn parse_error(name: &str, text: &str) -> String {
    let what = text.rsplit(": ").next().unwrap_or(text);
    format!("template: {name}:1: {what}")
}
