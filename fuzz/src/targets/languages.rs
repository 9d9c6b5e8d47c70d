//! The two query languages: parsing, printing, evaluating.

use super::{seeds, text};
use crate::Target;
use std::sync::Arc;
use vigie_model::{
    Column, LabelLookup, Labels, Matcher, MetricGroup, ReadError, Selection, SeriesId, TimeRange,
};
use vigie_promql::{Options, Source};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "promql_parse", run: promql_parse, seeds: promql },
        Target { name: "promql_evaluate", run: promql_evaluate, seeds: promql },
        Target { name: "logql_parse", run: logql_parse, seeds: logql },
    ]
}

/// What the printer writes is parsed again and printed the same.
fn promql_parse(data: &[u8]) {
    let Ok(expr) = vigie_promql::parse(&text(data)) else { return };
    let printed = expr.to_string();
    let again = vigie_promql::parse(&printed);
    let again = again.unwrap_or_else(|error| panic!("{printed:?} does not parse again: {error}"));
    assert_eq!(again.to_string(), printed, "the printed form is stable");
    let _ = expr.pretty(100);
}

fn promql_evaluate(data: &[u8]) {
    let Ok(expr) = vigie_promql::parse(&text(data)) else { return };
    let options = Options { samples_max: 200_000, ..Options::default() };
    let _ = vigie_promql::instant(&Few, &expr, 600_000, &options);
    let _ = vigie_promql::range(&Few, &expr, 0, 900_000, 60_000, &options);
}

fn logql_parse(data: &[u8]) {
    if let Ok(expr) = vigie_logql::parse(&text(data)) {
        let _ = vigie_logql::check(&expr);
        assert!(!expr.to_string().is_empty(), "an expression prints as something");
    }
}

/// A few series that everything can be asked about: counters with a reset, buckets, a gauge.
struct Few;

impl Few {
    fn labels_of(id: u32) -> Labels {
        match id {
            0 => Labels::from_pairs([("__name__", "c_total"), ("job", "a")]),
            1 => Labels::from_pairs([("__name__", "c_total"), ("job", "b")]),
            2 => Labels::from_pairs([("__name__", "g"), ("job", "a")]),
            n => Labels::from_pairs([
                ("__name__", "h_bucket"),
                ("le", ["0.1", "1", "+Inf"][(n - 3) as usize % 3]),
            ]),
        }
    }
}

impl LabelLookup for Few {
    fn labels(&self, id: SeriesId) -> Labels {
        Few::labels_of(id.0)
    }
}

impl Source for Few {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<Selection, ReadError> {
        let chosen = (0..6).filter(|id| {
            let labels = Few::labels_of(*id);
            matchers.iter().all(|matcher| matcher.matches_labels(&labels))
        });
        let groups = chosen.map(|id| {
            let times: Vec<i64> =
                (0..60).map(|n| n * 15_000).filter(|ts_ms| range.contains(*ts_ms)).collect();
            let values = times.iter().map(|ts_ms| match id {
                2 => (*ts_ms as f64 / 7.0).sin(),
                _ => ((ts_ms / 15_000) % 40 * i64::from(id + 1)) as f64,
            });
            let values = values.collect();
            Box::new(Column::new(SeriesId(id), times, values)) as Box<dyn MetricGroup>
        });
        Ok(Selection { groups: groups.collect(), lookup: Arc::new(Few) })
    }
}

fn promql() -> Vec<Vec<u8>> {
    seeds(&[
        "sum by (job) (rate(c_total{job=~\"a|b\"}[5m] offset -1m)) / on(job) group_left(x) g > bool 1",
        "histogram_quantile(0.9, sum without(job) (rate(h_bucket[2m:15s] @ end())))",
        "topk(2, {__name__=~\".+\"}) or label_replace(g, \"a\", \"$1\", \"job\", \"(.*)\") unless absent(g)",
        "max_over_time(deriv(g[1m])[10m:1m]) ^ -2 + atan2(1, 2) % 3 and time() == 0x1F",
        "{\"utf8.name\", \"l.l\"!~`a.*`} @ 1.5 offset 1h30m",
        "count_values(\"v\", round(g * 10)) + quantile(0.5, g) - scalar(g) * 1e-3 < Inf",
        "holt_winters(g[1m], 0.5, 0.5) + predict_linear(g[5m], 3600) # a comment",
        "sum(rate(c_total[5m*2])) + day_of_month() - -g",
    ])
}

fn logql() -> Vec<Vec<u8>> {
    seeds(&[
        r#"{job="a"} |= "x" or ip("10.0.0.0/8") !~ "(?i)b" | json | a > 1.5e3 or d <= 1h30m"#,
        r#"{job=~"a|b"} | logfmt --strict a="b", c | label_format e=a, b="{{.a}}" | drop x=~"e.*""#,
        r#"{job="a"} | pattern "<ip> - <_>" |> "<_> a" | unpack | keep a | decolorize"#,
        r#"sum by (b) (quantile_over_time(0.5, {job="a"} | unwrap duration(d) [1h] offset -5m) by (x)) / on(b) vector(1)"#,
        r#"topk(3, rate(({job="a"}[5m]))) and ignoring(x) label_replace(absent_over_time({job="a"}[5s]), "a", "$1", "b", "(.*)")"#,
    ])
}
