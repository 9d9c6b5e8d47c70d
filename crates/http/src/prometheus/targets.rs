//! `targets`, `targets/metadata`, `targets/relabel_steps`, `scrape_pools` and `scrape_pools/config`.

use super::success;
use crate::error::ApiError;
use crate::json::Json;
use crate::loading::{JobSettings, Loaded};
use crate::params::Params;
use crate::state::{Settings, State, rfc3339_or_never};
use crate::views::{DroppedTargets, SaidOfMetric, Target};
use axum::extract;
use axum::response::Response;
use std::collections::{BTreeMap, BTreeSet};
use vigie_model::Labels;
use vigie_model::duration::format_duration_ms;
use vigie_model::relabel::{Rule, relabel};

/// `/api/v1/targets`.
pub async fn targets(extract::State(state): extract::State<State>, params: Params) -> Response {
    let wanted = params.get("state").unwrap_or("").to_lowercase();
    let shows = |one: &str| ["", "any", one].contains(&wanted.as_str());
    let pool = params.get("scrapePool");
    let of_pool = |name: &str| pool.is_none_or(|pool| pool == name);
    let mut targets: Vec<Target> = Vec::new();
    if shows("active") {
        targets = state.targets.list();
        targets.retain(|target| of_pool(&target.scrape_pool));
        targets.sort_by(|a, b| a.scrape_pool.cmp(&b.scrape_pool));
    }
    let dropped = shows("dropped").then(|| state.targets.dropped());
    success(
        |json| {
            json.raw(r#"{"activeTargets":"#)
                .list(&targets, |json, target| write(json, target, &state.settings));
            write_dropped(json, dropped, of_pool);
            json.raw("}");
        },
        &[],
        &[],
    )
}

/// `/api/v1/scrape_pools`: the jobs, sorted.
pub async fn scrape_pools(extract::State(state): extract::State<State>) -> Response {
    let (targets, dropped) = (state.targets.list(), state.targets.dropped());
    let pools = targets.iter().map(|target| target.scrape_pool.as_str());
    let pools: BTreeSet<&str> =
        pools.chain(dropped.iter().map(|job| job.scrape_pool.as_str())).collect();
    success(
        |json| {
            json.raw(r#"{"scrapePools":"#).texts(pools).raw("}");
        },
        &[],
        &[],
    )
}

/// `/api/v1/scrape_pools/config`: what the file says of one job.
pub async fn scrape_pool_config(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let loaded = state.loading.now();
    let job = job(&loaded, scrape_pool(&params)?)?;
    Ok(success(
        |json| {
            json.raw(r#"{"yaml":"#).text(&job.yaml).raw("}");
        },
        &[],
        &[],
    ))
}

fn scrape_pool(params: &Params) -> Result<&str, ApiError> {
    params.get("scrapePool").ok_or_else(|| ApiError::bad_data("no scrapePool parameter provided"))
}

/// `/api/v1/targets/relabel_steps`: what each relabelling rule of a job makes of `labels`.
pub async fn relabel_steps(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let pool = scrape_pool(&params)?;
    let labels =
        params.get("labels").ok_or_else(|| ApiError::bad_data("no labels parameter provided"))?;
    let labels: BTreeMap<String, String> = serde_json::from_str(labels)
        .map_err(|error| ApiError::bad_data(format!("error parsing labels: {error}")))?;
    let loaded = state.loading.now();
    let rules = &job(&loaded, pool)?.relabel;
    // None from the rule on that drops the target.
    let mut output = Some(Labels::from_pairs(labels));
    let mut steps = Vec::new();
    for rule in rules {
        output = output.and_then(|labels| relabel(&labels, std::slice::from_ref(rule)));
        steps.push((rule, output.clone()));
    }
    Ok(success(
        |json| {
            json.raw(r#"{"steps":"#)
                .list(&steps, |json, (rule, output)| {
                    json.raw(r#"{"rule":"#);
                    write_rule(json, rule);
                    json.raw(r#","output":"#).labels(output.as_ref().unwrap_or(&Labels::default()));
                    json.raw(&format!(r#","keep":{}}}"#, output.is_some()));
                })
                .raw("}");
        },
        &[],
        &[],
    ))
}

/// A rule as upstream writes it: what is not set is left out, but for separator and replacement.
fn write_rule(json: &mut Json, rule: &Rule) {
    json.raw("{");
    if !rule.source_labels.is_empty() {
        json.raw(r#""source_labels":"#)
            .texts(rule.source_labels.iter().map(String::as_str))
            .raw(",");
    }
    let pattern = rule.regex.as_str();
    let written = pattern.strip_prefix("^(?s:").and_then(|rest| rest.strip_suffix(")$"));
    json.raw(r#""separator":"#).text(&rule.separator);
    json.raw(r#","regex":"#).text(written.unwrap_or(pattern));
    if !rule.target_label.is_empty() {
        json.raw(r#","target_label":"#).text(&rule.target_label);
    }
    json.raw(r#","replacement":"#).text(&rule.replacement);
    json.raw(r#","action":"#).text(rule.action.as_str()).raw("}");
}

fn write(json: &mut Json, target: &Target, settings: &Settings) {
    json.raw(r#"{"discoveredLabels":"#).labels(&target.discovered_labels);
    json.raw(r#","labels":"#).labels(&target.labels);
    json.raw(r#","scrapePool":"#).text(&target.scrape_pool);
    json.raw(r#","scrapeUrl":"#).text(&target.scrape_url);
    json.raw(r#","globalUrl":"#).text(&global_url(&target.scrape_url, settings));
    json.raw(r#","lastError":"#).text(&target.last_error);
    json.raw(r#","lastScrape":"#).text(&rfc3339_or_never(target.last_scrape_ms));
    json.raw(&format!(r#","lastScrapeDuration":{},"health":"#, target.last_duration_ms / 1000.0))
        .text(target.health);
    json.raw(r#","scrapeInterval":"#).text(&format_duration_ms(target.interval_ms));
    json.raw(r#","scrapeTimeout":"#).text(&format_duration_ms(target.timeout_ms)).raw("}");
}

fn write_dropped(
    json: &mut Json,
    dropped: Option<Vec<DroppedTargets>>,
    of_pool: impl Fn(&str) -> bool,
) {
    // What was not asked for is an empty list, and no counts at all.
    let Some(dropped) = dropped else {
        json.raw(r#","droppedTargets":[],"droppedTargetCounts":null"#);
        return;
    };
    let shown = dropped.iter().filter(|job| of_pool(&job.scrape_pool));
    let shown = shown.flat_map(|job| job.discovered_labels.iter().map(move |one| (job, one)));
    json.raw(r#","droppedTargets":"#).list(shown, |json, (job, labels)| {
        json.raw(r#"{"discoveredLabels":"#).labels(labels);
        json.raw(r#","scrapePool":"#).text(&job.scrape_pool).raw("}");
    });
    json.raw(r#","droppedTargetCounts":{"#);
    for (at, job) in dropped.iter().enumerate() {
        json.raw(if at > 0 { "," } else { "" }).text(&job.scrape_pool);
        json.raw(&format!(":{}", job.count));
    }
    json.raw("}");
}

/// `/api/v1/targets/metadata`: what each target's last page says of its metrics. As upstream, `limit`
/// is looked at between targets.
pub async fn metadata(
    extract::State(state): extract::State<State>,
    params: Params,
) -> Result<Response, ApiError> {
    let given = |name: &str| params.get(name).filter(|text| !text.is_empty());
    let limit = match given("limit").map(str::parse::<i64>) {
        None => None,
        Some(Ok(limit)) => usize::try_from(limit).ok(),
        Some(Err(_)) => return Err(ApiError::bad_data("limit must be a number")),
    };
    let matchers = match given("match_target").map(vigie_promql::parse_selector) {
        None => Vec::new(),
        Some(Ok(matchers)) => matchers,
        Some(Err(error)) => return Err(ApiError::invalid_parameter("match_target", error)),
    };
    let metric = given("metric");
    let mut found: Vec<(Labels, SaidOfMetric)> = Vec::new();
    for (labels, said) in state.targets.said() {
        if limit.is_some_and(|limit| found.len() >= limit) {
            break;
        }
        if matchers.iter().all(|matcher| matcher.matches_labels(&labels)) {
            found.extend(said(metric).into_iter().map(|one| (labels.clone(), one)));
        }
    }
    let write = |json: &mut Json, (labels, one): &(Labels, SaidOfMetric)| {
        json.raw(r#"{"target":"#).labels(labels);
        // Who asks for one metric knows its name.
        if metric.is_none() {
            json.raw(r#","metric":"#).text(&one.name);
        }
        json.raw(r#","type":"#).text(one.kind).raw(r#","help":"#).text(&one.help);
        json.raw(r#","unit":"#).text(&one.unit).raw("}");
    };
    Ok(success(
        |json| {
            json.list(&found, write);
        },
        &[],
        &[],
    ))
}

/// A job by its name; the error is upstream's.
fn job<'a>(loaded: &'a Loaded, name: &str) -> Result<&'a JobSettings, ApiError> {
    loaded.jobs.iter().find(|job| job.name == name).ok_or_else(|| {
        let words = format!("error retrieving scrape config: scrape pool {name:?} not found");
        ApiError::bad_data(words)
    })
}

/// The address under which people reach a target. What listens on this machine is not reached as
/// `localhost` from another: its host becomes the external one, and Vigie itself its whole address.
fn global_url(url: &str, settings: &Settings) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((outer_scheme, outer)) = settings.external_url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (host, port) = split_port(authority);
    if !["127.0.0.1", "localhost", "[::1]"].contains(&host) {
        return url.to_owned();
    }
    let outer = outer.split('/').next().unwrap_or(outer);
    match port {
        Some(port) if port == settings.port.to_string() => {
            format!("{outer_scheme}://{outer}{path}")
        }
        Some(port) => format!("{scheme}://{}:{port}{path}", split_port(outer).0),
        None => format!("{scheme}://{}{path}", split_port(outer).0),
    }
}

/// `host[:port]`; an IPv6 address keeps its brackets.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_this_machine_are_shown_as_others_reach_them() {
        let settings = Settings {
            external_url: "https://v.example:8443/x".to_owned(),
            port: 9090,
            ..Settings::default()
        };
        for (url, global) in [
            ("http://localhost:9090/metrics", "https://v.example:8443/metrics"),
            ("http://127.0.0.1:8080/m?a=b", "http://v.example:8080/m?a=b"),
            ("http://localhost/metrics", "http://v.example/metrics"),
            ("http://[::1]:9100/metrics", "http://v.example:9100/metrics"),
            ("http://db.example:9187/metrics", "http://db.example:9187/metrics"),
            ("vigie:node", "vigie:node"),
        ] {
            assert_eq!(global_url(url, &settings), global);
        }
    }
}
