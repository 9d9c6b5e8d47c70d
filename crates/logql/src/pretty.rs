//! `format_query`: a query over several lines when it is long (`pkg/logql/syntax/prettier.go`).
//!
//! What fits into a line of a hundred characters is left as its canonical text.

use crate::ast::*;

/// Longest line that is not split, in bytes.
const LINE_MAX: usize = 100;

/// The query as a person reads it.
pub fn pretty(expr: &Expr) -> String {
    match expr {
        Expr::Log(log) => pipeline(log, 0, ""),
        Expr::Metric(metric) => metric_at(metric, 0),
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn fits(text: &str, level: usize) -> bool {
    text.len() + 2 * level <= LINE_MAX
}

/// A selector and its stages, each on a line of its own; `tail` follows the last one.
fn pipeline(log: &LogExpr, level: usize, tail: &str) -> String {
    let whole = format!("{log}{tail}");
    if fits(&whole, level) {
        return indent(level) + &whole;
    }
    let selector = LogExpr { matchers: log.matchers.clone(), stages: Vec::new() };
    let mut out = format!("{}{selector}", indent(level));
    for stage in &log.stages {
        out.push_str(&format!("\n{}{stage}", indent(level + 1)));
    }
    out + tail
}

fn metric_at(metric: &MetricExpr, level: usize) -> String {
    let whole = metric.to_string();
    if fits(&whole, level) {
        return indent(level) + &whole;
    }
    let (open, close) = (indent(level), format!("\n{})", indent(level)));
    match metric {
        MetricExpr::Range(range) => {
            let text = range.to_string();
            let log = range.log.to_string();
            // What stands before the selector and behind it, as in one line.
            let (before, after) = text.split_once(&log).unwrap_or(("", &text));
            let (tail, rest) = after
                .rsplit_once(')')
                .filter(|_| range.grouping.is_none())
                .unwrap_or_else(|| after.split_once(") ").unwrap_or((after, "")));
            let rest = if rest.is_empty() { String::new() } else { format!(" {rest}") };
            let before = before.trim_end_matches(|c: char| c != '(' && c != ',').to_owned();
            let inner = pipeline(&range.log, level + 1, tail);
            match before.split_once('(') {
                Some((op, "")) => format!("{open}{op}(\n{inner}{close}{rest}"),
                Some((op, parameter)) => {
                    format!("{open}{op}(\n{}{parameter}\n{inner}{close}{rest}", indent(level + 1))
                }
                None => open + &whole,
            }
        }
        MetricExpr::Vector(vector) => {
            let inner = vector.inner.to_string();
            let head = whole.strip_suffix(&format!("{inner})")).unwrap_or(&whole).to_owned();
            let inner = metric_at(&vector.inner, level + 1);
            match head.strip_suffix(',').and_then(|head| head.rsplit_once('(')) {
                Some((head, parameter)) => {
                    format!("{open}{head}(\n{}{parameter},\n{inner}{close}", indent(level + 1))
                }
                None => format!("{open}{head}\n{inner}{close}"),
            }
        }
        MetricExpr::Binary(binary) => {
            let (left, right) = (binary.left.to_string(), binary.right.to_string());
            let middle = whole.strip_prefix(&format!("({left} ")).unwrap_or_default();
            let op = middle.strip_suffix(&format!(" {right})")).unwrap_or(binary.op);
            format!(
                "{}\n{open}{op}\n{}",
                metric_at(&binary.left, level + 1),
                metric_at(&binary.right, level + 1)
            )
        }
        _ => open + &whole,
    }
}

#[cfg(test)]
mod tests {
    use super::pretty;
    use crate::parse;

    #[test]
    fn long_queries_are_split_and_mean_the_same() {
        for (query, lines) in [
            (r#"{app="a"}|="x"|json"#, 1),
            (
                r#"{app="a", namespace="production"} |= "a text that is long" | json | line_format "{{.message}} {{.level}}" | x > 5"#,
                5,
            ),
            (
                r#"sum by (app, namespace) (rate({app="a", namespace="production"} |= "a text that is long" | json | x > 5 [5m]))"#,
                3,
            ),
            (
                r#"quantile_over_time(0.95, {app="a", namespace="production"} |= "a text that is long" | json | unwrap duration(x) [5m]) by (app)"#,
                4,
            ),
            (
                r#"topk(5, sum by (app) (count_over_time({app="a", namespace="production"} |= "a text that is quite long" | json [5m])))"#,
                6,
            ),
            (
                r#"sum(rate({app="a", namespace="production"} |= "a text that is long" [5m])) / sum(rate({app="a", namespace="production"} [5m]))"#,
                3,
            ),
        ] {
            let expr = parse(query).unwrap();
            let text = pretty(&expr);
            assert_eq!(text.lines().count(), lines, "{text}");
            let again = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(again.to_string(), expr.to_string(), "{text}");
        }
    }
}
