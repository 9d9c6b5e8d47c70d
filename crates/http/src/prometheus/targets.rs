//! `targets`, `scrape_pools`.

use super::success;
use crate::json::Json;
use crate::params::Params;
use crate::state::{State, rfc3339_or_never};
use crate::views::Target;
use axum::extract;
use axum::response::Response;
use std::collections::BTreeSet;
use vigie_model::duration::format_duration_ms;

/// `/api/v1/targets`.
pub async fn targets(extract::State(state): extract::State<State>, params: Params) -> Response {
    let state_wanted = params.get("state").unwrap_or("").to_lowercase();
    let pool = params.get("scrapePool");
    let mut targets: Vec<Target> = Vec::new();
    if ["", "any", "active"].contains(&state_wanted.as_str()) {
        targets = state.targets.list();
        targets.retain(|target| pool.is_none_or(|pool| pool == target.scrape_pool));
        targets.sort_by(|a, b| a.scrape_pool.cmp(&b.scrape_pool));
    }
    success(
        |json| {
            json.raw(r#"{"activeTargets":"#).list(&targets, write);
            // Vigie keeps no targets that relabelling dropped.
            json.raw(r#","droppedTargets":[],"droppedTargetCounts":{}}"#);
        },
        &[],
        &[],
    )
}

/// `/api/v1/scrape_pools`: the jobs, sorted.
pub async fn scrape_pools(extract::State(state): extract::State<State>) -> Response {
    let targets = state.targets.list();
    let pools: BTreeSet<&str> = targets.iter().map(|target| target.scrape_pool.as_str()).collect();
    success(
        |json| {
            json.raw(r#"{"scrapePools":"#).texts(pools).raw("}");
        },
        &[],
        &[],
    )
}

fn write(json: &mut Json, target: &Target) {
    json.raw(r#"{"discoveredLabels":"#).labels(&target.discovered_labels);
    json.raw(r#","labels":"#).labels(&target.labels);
    json.raw(r#","scrapePool":"#).text(&target.scrape_pool);
    json.raw(r#","scrapeUrl":"#).text(&target.scrape_url);
    json.raw(r#","globalUrl":"#).text(&target.scrape_url);
    json.raw(r#","lastError":"#).text(&target.last_error);
    json.raw(r#","lastScrape":"#).text(&rfc3339_or_never(target.last_scrape_ms));
    json.raw(&format!(r#","lastScrapeDuration":{},"health":"#, target.last_duration_ms / 1000.0))
        .text(target.health);
    json.raw(r#","scrapeInterval":"#).text(&format_duration_ms(target.interval_ms));
    json.raw(r#","scrapeTimeout":"#).text(&format_duration_ms(target.timeout_ms)).raw("}");
}
