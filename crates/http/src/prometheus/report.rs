//! What a query cost, beside its answer: `stats`, as Prometheus writes it, and `explain=1`, ours.
//!
//! ```json
//! "explain":{"cores":2,"nodes":[{"depth":0,"operation":"sum","plan":"…","text":"sum(…)",
//!            "series":8000,"samples":480000,"wall_us":4100}, …]}
//! ```
//! Nodes stand in the order in which they began; `series` and `samples` were read from the store
//! inside a node, the nodes below it included, and `wall_us` likewise.

use crate::json::Json;
use crate::params::Params;
use std::time::Duration;
use vigie_engine::{Detail, NodeCost, Ticket, When};
use vigie_promql::Expr;

/// Longest part of a node's text.
const TEXT_BYTES_MAX: usize = 200;

/// What was asked for.
pub(super) struct Report {
    pub(super) detail: Detail,
    per_step: bool,
    when: When,
    preparing: Duration,
    /// What `stats` is and should not be.
    odd_stats: Option<String>,
}

impl Report {
    /// Reads `stats` (anything sums, `all` every step) and `explain`.
    pub(super) fn asked_for(params: &Params, when: When, preparing: Duration) -> Report {
        let detail = Detail {
            steps: params.get("stats").is_some(),
            nodes: params.get("explain").is_some_and(|text| text != "0" && text != "false"),
        };
        let stats = params.get("stats");
        // Upstream takes anything for `true`, and a misspelt `all` unnoticed with it.
        let odd_stats = stats.filter(|text| !["true", "1", "all", ""].contains(text));
        Report {
            detail,
            per_step: stats == Some("all"),
            when,
            preparing,
            odd_stats: odd_stats.map(str::to_owned),
        }
    }

    /// What the client should know about its parameters.
    pub(super) fn warning(&self) -> Option<String> {
        let stats = self.odd_stats.as_ref()?;
        Some(format!(
            "invalid parameter \"stats\": {} is neither \"true\" nor \"all\", and was taken for \
             \"true\"",
            vigie_model::go_quote(stats.as_bytes())
        ))
    }

    /// Whether anything is to be written: then the whole query is evaluated.
    pub(super) fn is_wanted(&self) -> bool {
        self.detail != Detail::default()
    }

    /// Appends `,"stats":…` and `,"explain":…`, those that were asked for.
    pub(super) fn write(&self, json: &mut Json, expr: &Expr, ticket: &Ticket, took: Duration) {
        if self.detail.steps {
            self.write_stats(json, ticket, took);
        }
        if self.detail.nodes {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            json.raw(&format!(r#","explain":{{"cores":{cores},"nodes":"#));
            json.list(&ticket.account().nodes(), |json, node| write_node(json, expr.text(), node));
            json.raw("}");
        }
    }

    /// The shape of `util/stats/query_stats.go`. Sorting is part of the evaluation here.
    fn write_stats(&self, json: &mut Json, ticket: &Ticket, took: Duration) {
        let (queued, took) = (ticket.queued().as_secs_f64(), took.as_secs_f64());
        let preparing = self.preparing.as_secs_f64();
        json.raw(&format!(
            r#","stats":{{"timings":{{"evalTotalTime":{took},"resultSortTime":0,"queryPreparationTime":{preparing},"innerEvalTime":{took},"execQueueTime":{queued},"execTotalTime":{}}},"samples":{{"#,
            preparing + queued + took
        ));
        let counts = ticket.account().samples_per_step();
        if self.per_step {
            let times = steps(self.when).zip(counts.iter().copied().chain(std::iter::repeat(0)));
            json.raw(r#""totalQueryableSamplesPerStep":"#);
            json.list(times.collect::<Vec<_>>(), |json, (ts_ms, count)| {
                json.raw("[").seconds(ts_ms).raw(&format!(",{count}]"));
            });
            json.raw(",");
        }
        json.raw(&format!(
            r#""totalQueryableSamples":{},"peakSamples":{}}}}}"#,
            counts.iter().sum::<u64>(),
            ticket.account().samples_peak()
        ));
    }
}

/// The instants of the steps.
fn steps(when: When) -> impl Iterator<Item = i64> {
    let (start_ms, end_ms, step_ms) = match when {
        When::Instant(ts_ms) => (ts_ms, ts_ms, 1),
        When::Range { start_ms, end_ms, step_ms } => (start_ms, end_ms, step_ms.max(1)),
    };
    (0..=(end_ms - start_ms).max(0) / step_ms).map(move |step| start_ms + step * step_ms)
}

fn write_node(json: &mut Json, text: &str, node: &NodeCost) {
    let (start, end) = node.span;
    let text = text.get(start..end).unwrap_or("");
    let end = text.len().min(TEXT_BYTES_MAX);
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let shown = &text[..end];
    json.raw(&format!(r#"{{"depth":{},"operation":"#, node.depth)).text(&node.operation);
    json.raw(r#","plan":"#).text(node.plan);
    json.raw(r#","text":"#).text(shown);
    json.raw(&format!(
        r#","series":{},"samples":{},"wall_us":{}}}"#,
        node.series, node.samples, node.wall_us
    ));
}
