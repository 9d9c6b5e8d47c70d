//! Loki's canonical text of a query (`format_query`, and the stage named in an error).

use crate::ast::*;
use crate::units::{format_bytes, format_go_duration};
use std::fmt::{self, Display, Formatter};
use vigie_model::value::format_value;
use vigie_model::{Matcher, go_quote};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Log(log) => log.fmt(f),
            Expr::Metric(metric) => metric.fmt(f),
        }
    }
}

impl Display for LogExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", join(&self.matchers, ", ", |m| matcher(m, true)))?;
        self.stages.iter().try_for_each(|stage| write!(f, " {stage}"))
    }
}

fn join<T>(items: &[T], separator: &str, show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(separator)
}

fn matcher(matcher: &Matcher, quote_name: bool) -> String {
    let plain = matcher.name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric());
    let name = if plain || !quote_name { matcher.name.clone() } else { go_quote(&matcher.name) };
    format!("{name}{}{}", matcher.op.as_str(), go_quote(&matcher.value))
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Line(filter) => filter.fmt(f),
            Stage::Json(extractions) => write!(f, "| json{}", extracted(extractions)),
            Stage::Logfmt { strict, keep_empty, extractions } => {
                f.write_str("| logfmt")?;
                f.write_str(if *strict { " --strict" } else { "" })?;
                f.write_str(if *keep_empty { " --keep-empty" } else { "" })?;
                f.write_str(&extracted(extractions))
            }
            Stage::Regexp(pattern) => write!(f, "| regexp {}", go_quote(pattern)),
            Stage::Pattern(pattern) => write!(f, "| pattern {}", go_quote(pattern)),
            Stage::Unpack => f.write_str("| unpack"),
            Stage::Label(filter) => write!(f, "| {filter}"),
            Stage::LineFormat(template) => write!(f, "| line_format {}", go_quote(template)),
            Stage::LabelFormat(formats) => {
                let formats = join(formats, ",", |(target, source)| match source {
                    LabelSource::Rename(from) => format!("{target}={from}"),
                    LabelSource::Template(text) => format!("{target}={}", go_quote(text)),
                });
                write!(f, "| label_format {formats}")
            }
            Stage::Decolorize => f.write_str("| decolorize"),
            Stage::Drop(choices) => write!(f, "| drop {}", join(choices, ",", choice)),
            Stage::Keep(choices) => write!(f, "| keep {}", join(choices, ",", choice)),
        }
    }
}

fn choice(choice: &LabelChoice) -> String {
    match choice {
        LabelChoice::Name(name) => name.clone(),
        LabelChoice::Match(m) => matcher(m, false),
    }
}

fn extracted(extractions: &[Extraction]) -> String {
    if extractions.is_empty() {
        return String::new();
    }
    let list = join(extractions, ",", |e| format!("{}={}", e.label, go_quote(&e.path)));
    format!(" {list}")
}

impl Display for LineFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let texts = self.texts.iter().map(|text| {
            if text.is_ip { format!("ip({})", go_quote(&text.text)) } else { go_quote(&text.text) }
        });
        // "Neither a nor b" is printed as two filters.
        let separator = match self.op.is_negative() {
            true => format!(" {} ", self.op.as_str()),
            false => " or ".to_owned(),
        };
        write!(f, "{} {}", self.op.as_str(), texts.collect::<Vec<_>>().join(&separator))
    }
}

impl Display for LabelFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            LabelFilter::And(left, right) => write!(f, "( {left} , {right} )"),
            LabelFilter::Or(left, right) => write!(f, "( {left} or {right} )"),
            LabelFilter::Text(m) if is_regex(m) && !becomes_search(&m.value) => {
                write!(f, "{}{}`{}`", m.name, m.op.as_str(), m.value)
            }
            LabelFilter::Text(m) => f.write_str(&matcher(m, false)),
            LabelFilter::Number { name, op, value } => {
                write!(f, "{name}{}{}", op.as_str(), format_value(*value))
            }
            LabelFilter::Duration { name, op, ns } => {
                write!(f, "{name}{}{}", op.as_str(), format_go_duration(*ns))
            }
            LabelFilter::Bytes { name, op, size_bytes } => {
                write!(f, "{name}{}{}", op.as_str(), format_bytes(*size_bytes))
            }
            LabelFilter::Ip { name, negative, pattern } => {
                write!(f, "{name}{}ip({})", if *negative { "!=" } else { "=" }, go_quote(pattern))
            }
        }
    }
}

fn is_regex(matcher: &Matcher) -> bool {
    matches!(matcher.op.as_str(), "=~" | "!~")
}

/// Whether Loki turns a pattern into a search for texts (`FilterReg` of `pkg/logql/log`): literal
/// texts side by side, with `.*` or `.+` around them. It prints the others in back-quotes.
/// Go makes a class of an alternation of single characters, which is no search any more.
fn becomes_search(pattern: &str) -> bool {
    let pattern = pattern.strip_prefix("(?i)").unwrap_or(pattern);
    let branches: Vec<&str> = pattern
        .trim_start_matches('^')
        .trim_end_matches('$')
        .trim_start_matches('(')
        .trim_end_matches(')')
        .split('|')
        .collect();
    let is_class = branches.len() > 1 && branches.iter().all(|one| one.chars().count() == 1);
    !is_class
        && branches.iter().all(|branch| {
            let texts = branch.replace(".*", "").replace(".+", "");
            !texts.contains(['[', ']', '{', '}', '(', ')', '?', '*', '+', '^', '$', '\\', '.'])
        })
}

impl Display for Unwrap {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.conversion {
            Conversion::Number => write!(f, "| unwrap {}", self.label)?,
            Conversion::Bytes => write!(f, "| unwrap bytes({})", self.label)?,
            Conversion::Duration => write!(f, "| unwrap duration({})", self.label)?,
            Conversion::DurationSeconds => write!(f, "| unwrap duration_seconds({})", self.label)?,
        }
        self.filters.iter().try_for_each(|filter| write!(f, " | {filter}"))
    }
}

impl Display for Grouping {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word = if self.without { "without" } else { "by" };
        write!(f, "{word} ({})", self.labels.join(","))
    }
}

impl Display for RangeAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.op)?;
        if let Some(parameter) = self.parameter {
            write!(f, "{},", format_value(parameter))?;
        }
        write!(f, "{}", self.log)?;
        if let Some(unwrap) = &self.unwrap {
            write!(f, " {unwrap}")?;
        }
        write!(f, "[{}]", vigie_model::duration::format_duration_ms(self.range_ns / 1_000_000))?;
        if self.offset_ns != 0 {
            write!(f, " offset {}", format_go_duration(self.offset_ns))?;
        }
        f.write_str(")")?;
        self.grouping.iter().try_for_each(|grouping| write!(f, " {grouping}"))
    }
}

impl Display for VectorAggregation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.op)?;
        if let Some(grouping) = self.grouping.as_ref().filter(|g| g.without || !g.labels.is_empty())
        {
            write!(f, " {grouping}")?;
        }
        f.write_str("(")?;
        if self.op.ends_with('k') {
            write!(f, "{},", self.parameter)?;
        }
        write!(f, "{})", self.inner)
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "({} {}", self.left, self.op)?;
        if self.return_bool {
            f.write_str(" bool")?;
        }
        let matching = &self.matching;
        if matching.explicit {
            let word = if matching.on { "on" } else { "ignoring" };
            write!(f, " {word} ({}) ", matching.labels.join(","))?;
            match matching.cardinality {
                Cardinality::OneToOne => {}
                Cardinality::ManyToOne => f.write_str("group_left")?,
                Cardinality::OneToMany => f.write_str("group_right")?,
            }
            if !matching.include.is_empty() {
                write!(f, " ({})", matching.include.join(","))?;
            }
        }
        write!(f, " {})", self.right)
    }
}

impl Display for MetricExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            MetricExpr::Range(range) => range.fmt(f),
            MetricExpr::Vector(vector) => vector.fmt(f),
            MetricExpr::Binary(binary) => binary.fmt(f),
            MetricExpr::Literal(value) => f.write_str(&format_value(*value)),
            MetricExpr::VectorLiteral(value) => write!(f, "vector({value:.6})"),
            MetricExpr::LabelReplace(replace) => write!(
                f,
                "label_replace({},{},{},{},{})",
                replace.inner,
                go_quote(&replace.target),
                go_quote(&replace.replacement),
                go_quote(&replace.source),
                go_quote(&replace.pattern)
            ),
        }
    }
}
