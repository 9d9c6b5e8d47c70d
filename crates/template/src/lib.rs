//! Go's `text/template` with the function sets of Prometheus' rules and of Alertmanager's messages.
//!
//! The parser and the executor are `gotmpl`'s. That engine knows no method calls, so every template
//! is rewritten after parsing (`rewrite`): a field becomes a call of our own lookup, which knows
//! the methods of label sets, alert lists, times and durations (`methods`).
//! [`expand_annotation`] is what a rule's labels and annotations go through, [`render`] what a
//! message to a receiver does; both are pure and bounded in output, iterations and depth.
//!
//! Invariant: a template of a user can fail, be cut off or print nonsense, but it cannot take the
//! memory or the time of the program.

#![forbid(unsafe_code)]

mod data;
mod defaults;
mod functions;
mod gotime;
mod humanize;
mod layout;
mod methods;
pub mod moment;
mod rewrite;

pub use data::{AlertData, Data};
pub use gotime::{format_rfc3339_ms, parse_retry_after_date};
pub use humanize::{humanize, humanize_duration, short_value};

use gotmpl::parse::{ListNode, Parser};
use gotmpl::{FuncMap, Template, Value};
use std::fmt::Write;
use std::sync::Arc;
use vigie_model::Labels;

/// Most bytes that one template may print.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Most `range` steps that one template may take.
pub const RANGE_STEPS_MAX: u64 = 100_000;
/// Longest template text.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// Why a template printed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The text is not a template.
    #[error("error parsing template {name}: {reason}")]
    Parse {
        /// Which template.
        name: String,
        /// What is wrong and where, as Go says it.
        reason: String,
    },
    /// It failed while it ran.
    #[error("error executing template {name}: {reason}")]
    Execute {
        /// Which template.
        name: String,
        /// What failed.
        reason: String,
    },
    /// The text or what it prints is longer than allowed.
    #[error("template {name} exceeds {limit_bytes} bytes; shorten it")]
    TooLong {
        /// Which template.
        name: String,
        /// The limit that was hit.
        limit_bytes: usize,
    },
}

/// Answers an instant query inside a template.
pub type QueryFn = Arc<dyn Fn(&str) -> Result<Vec<(Labels, f64)>, String> + Send + Sync>;

/// What the templates of one rule can see.
#[derive(Clone)]
pub struct RuleContext {
    /// The template's name in error texts; Prometheus uses `__alert_<name>`.
    pub name: String,
    /// `$labels`: the labels of the sample.
    pub labels: Labels,
    /// `$externalLabels`.
    pub external_labels: Labels,
    /// `$value`.
    pub value: f64,
    /// `$externalURL`.
    pub external_url: String,
    /// What `now` answers.
    pub now_ms: i64,
    /// What `query` asks; without it the function is an error.
    pub query: Option<QueryFn>,
}

/// Defines the variables that Prometheus gives every rule template. It is on the same line as the
/// user's text, so that line numbers in errors are right.
const RULE_VARIABLES: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
     {{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// Expands a label or an annotation of a rule.
pub fn expand_annotation(text: &str, context: &RuleContext) -> Result<String, TemplateError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let data = data::map([
        ("Labels", data::labels(&context.labels)),
        ("ExternalLabels", data::labels(&context.external_labels)),
        ("ExternalURL", data::text(&context.external_url)),
        ("Value", Value::Float(context.value)),
    ]);
    let functions = functions::for_rules(context);
    run(&context.name, &format!("{RULE_VARIABLES}{text}"), functions, &[], &data)
}

/// Renders a text for a receiver; the default templates are defined.
pub fn render(text: &str, data: &Data) -> Result<String, TemplateError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let functions = functions::for_messages(data.now_ms);
    run("message", text, functions, defaults::definitions(), &data.to_value())
}

/// Lets a parsed template of another function set call methods of times (`moment`): its tree is
/// rewritten, and the functions that it calls then are in [`method_functions`].
pub fn with_methods(tree: &mut ListNode) {
    rewrite::list(tree);
}

/// See [`with_methods`].
pub fn method_functions() -> FuncMap {
    functions::plain_methods()
}

/// A text as it stands in the query of a URL (Go's `url.QueryEscape`).
pub fn query_escape(text: &str) -> String {
    gotmpl::url_encode(text)
}

fn run(
    name: &str,
    text: &str,
    functions: FuncMap,
    definitions: &[(String, ListNode)],
    data: &Value,
) -> Result<String, TemplateError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TemplateError::TooLong { name: name.to_owned(), limit_bytes: TEXT_BYTES_MAX });
    }
    let (main, own) = parse(name, text)?;
    let mut template = Template::new(name).max_range_iters(RANGE_STEPS_MAX).funcs(functions);
    for (define, tree) in definitions.iter().cloned().chain(own) {
        template = template.add_parse_tree(&define, tree);
    }
    template = template.add_parse_tree(MAIN, main);
    let mut output = Bounded { text: String::new(), full: false };
    match template.execute_template_fmt(&mut output, MAIN, data) {
        Ok(()) => Ok(output.text),
        Err(_) if output.full => {
            Err(TemplateError::TooLong { name: name.to_owned(), limit_bytes: OUTPUT_BYTES_MAX })
        }
        Err(error) => {
            Err(TemplateError::Execute { name: name.to_owned(), reason: error.to_string() })
        }
    }
}

/// The name under which the text itself is registered; no user can write it.
const MAIN: &str = "\u{0}main";

type Parsed = (ListNode, Vec<(String, ListNode)>);

/// Parses and rewrites a text into its body and its definitions.
fn parse(name: &str, text: &str) -> Result<Parsed, TemplateError> {
    let failed = |error: gotmpl::TemplateError| TemplateError::Parse {
        name: name.to_owned(),
        reason: error.to_string(),
    };
    let (mut main, defines) =
        Parser::with_name(Some(name), text, "{{", "}}").map_err(failed)?.parse().map_err(failed)?;
    rewrite::list(&mut main);
    let defines = defines.into_iter().map(|mut define| {
        rewrite::list(&mut define.body);
        (define.name.to_string(), define.body)
    });
    Ok((main, defines.collect()))
}

/// A text that refuses to grow past the limit.
struct Bounded {
    text: String,
    full: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        if self.text.len() + part.len() > OUTPUT_BYTES_MAX {
            self.full = true;
            return Err(std::fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
