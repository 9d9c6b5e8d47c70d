//! `graph`, the time series panel until schema 30, to `timeseries`.

use serde_json::{Map, Value, json};

use super::{defaults, object, set};
use crate::Panel;
use crate::model::{number, objects, take_list};
use crate::report::ImportReport;

pub(super) fn migrate(panel: &mut Panel, report: &mut ImportReport) {
    panel.kind = "timeseries".to_owned();
    let mut old = std::mem::take(&mut panel.rest);
    let axes: Vec<_> = objects(take_list(&mut old, "yaxes")).collect();
    if let Some(left) = axes.first() {
        axis(defaults(panel), left);
    }
    drawing(object(defaults(panel), &["custom"]), &old);
    let options = object(&mut panel.rest, &["options"]);
    options.insert("legend".into(), legend(old.get("legend")));
    options.insert("tooltip".into(), tooltip(old.get("tooltip")));
    thresholds(panel, &mut old);
    let mut overrides = alias_colors(&old);
    for series in objects(take_list(&mut old, "seriesOverrides")) {
        overrides.push(series_override(&series, axes.get(1), &panel.title, report));
    }
    object(&mut panel.rest, &["fieldConfig"]).insert("overrides".into(), Value::Array(overrides));
    let x_mode = old.get("xaxis").and_then(|axis| axis.get("mode")).and_then(Value::as_str);
    if x_mode.is_some_and(|mode| mode != "time") {
        report.note(&panel.title, "a graph over something else than time is drawn over time");
    }
    if old.get("alert").is_some_and(Value::is_object) {
        report.note(&panel.title, "the alert inside the panel is not carried over: write a rule");
    }
    for (name, value) in old {
        set(&mut panel.rest, &name, value);
    }
}

/// Unit and limits of the left axis.
fn axis(defaults: &mut Map<String, Value>, axis: &Map<String, Value>) {
    if let Some(unit) = axis.get("format").filter(|unit| unit.is_string()) {
        set(defaults, "unit", unit.clone());
    }
    for limit in ["min", "max"] {
        if let Some(value) = axis.get(limit).and_then(number) {
            set(defaults, limit, json!(value));
        }
    }
    if let Some(decimals) = axis.get("decimals").and_then(number) {
        set(defaults, "decimals", json!(decimals));
    }
    let base = axis.get("logBase").and_then(number).unwrap_or(1.0);
    if base > 1.0 {
        let scale = json!({"type": "log", "log": base});
        set(object(defaults, &["custom"]), "scaleDistribution", scale);
    }
}

/// Lines, bars or points, their weight, stacking and gaps.
fn drawing(custom: &mut Map<String, Value>, old: &Map<String, Value>) {
    let flag = |name: &str, otherwise| old.get(name).and_then(Value::as_bool).unwrap_or(otherwise);
    let amount = |name: &str, otherwise| old.get(name).and_then(number).unwrap_or(otherwise);
    let style = match (flag("bars", false), flag("lines", true), flag("points", false)) {
        (true, _, _) => "bars",
        (false, false, true) => "points",
        _ => "line",
    };
    let filled = (amount("fill", 1.0) * 10.0).clamp(0.0, 100.0);
    set(custom, "drawStyle", json!(style));
    set(custom, "fillOpacity", json!(if style == "bars" { 100.0 } else { filled }));
    set(custom, "lineWidth", json!(amount("linewidth", 1.0)));
    set(custom, "showPoints", json!(if flag("points", false) { "always" } else { "never" }));
    let gaps = old.get("nullPointMode").and_then(Value::as_str);
    set(custom, "spanNulls", json!(gaps == Some("connected")));
    let interpolation = if flag("steppedLine", false) { "stepAfter" } else { "linear" };
    set(custom, "lineInterpolation", json!(interpolation));
    let stacking = match (flag("stack", false), flag("percentage", false)) {
        (true, true) => "percent",
        (true, false) => "normal",
        (false, _) => "none",
    };
    set(custom, "stacking", json!({"group": "A", "mode": stacking}));
}

fn legend(old: Option<&Value>) -> Value {
    let flag = |name: &str| old.and_then(|old| old.get(name)).and_then(Value::as_bool);
    let mut calcs = Vec::new();
    if flag("values") != Some(false) {
        let names = [("min", "min"), ("max", "max"), ("avg", "mean"), ("current", "lastNotNull")];
        let shown = names.into_iter().chain([("total", "sum")]);
        calcs.extend(shown.filter(|(old, _)| flag(old) == Some(true)).map(|(_, new)| new));
    }
    json!({
        "showLegend": flag("show") != Some(false),
        "displayMode": if flag("alignAsTable") == Some(true) { "table" } else { "list" },
        "placement": if flag("rightSide") == Some(true) { "right" } else { "bottom" },
        "calcs": calcs,
    })
}

fn tooltip(old: Option<&Value>) -> Value {
    let shared = old.and_then(|old| old.get("shared")).and_then(Value::as_bool) == Some(true);
    let sort = match old.and_then(|old| old.get("sort")).and_then(number) {
        Some(1.0) => "asc",
        Some(2.0) => "desc",
        _ => "none",
    };
    json!({"mode": if shared { "multi" } else { "single" }, "sort": sort})
}

/// Lines above which the old graph was coloured. Ranges below a value had no order: only `gt` is
/// a step of today.
fn thresholds(panel: &mut Panel, old: &mut Map<String, Value>) {
    let mut steps = vec![json!({"color": "green", "value": null})];
    for threshold in objects(take_list(old, "thresholds")) {
        let above = threshold.get("op").and_then(Value::as_str) != Some("lt");
        if let (true, Some(value)) = (above, threshold.get("value").and_then(number)) {
            let custom = threshold.get("lineColor").or(threshold.get("fillColor"));
            let color = match threshold.get("colorMode").and_then(Value::as_str) {
                Some("warning") => json!("orange"),
                Some("ok") => json!("green"),
                Some("custom") => custom.cloned().unwrap_or_else(|| json!("red")),
                _ => json!("red"),
            };
            steps.push(json!({"color": color, "value": value}));
        }
    }
    if steps.len() > 1 {
        let style = json!({"mode": "line"});
        set(object(defaults(panel), &["custom"]), "thresholdsStyle", style);
        set(defaults(panel), "thresholds", json!({"mode": "absolute", "steps": steps}));
    }
}

fn alias_colors(old: &Map<String, Value>) -> Vec<Value> {
    let colors = old.get("aliasColors").and_then(Value::as_object);
    let named = colors.into_iter().flatten().filter(|(_, color)| color.is_string());
    named
        .map(|(alias, color)| {
            json!({
                "matcher": {"id": "byName", "options": alias},
                "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
            })
        })
        .collect()
}

/// One `seriesOverrides` entry. An alias between slashes is a regular expression.
fn series_override(
    series: &Map<String, Value>,
    right: Option<&Map<String, Value>>,
    panel_title: &str,
    report: &mut ImportReport,
) -> Value {
    let alias = series.get("alias").and_then(Value::as_str).unwrap_or_default();
    let pattern = alias.len() > 1 && alias.starts_with('/');
    let matcher = if pattern { "byRegexp" } else { "byName" };
    let mut properties = Vec::new();
    for (name, value) in series {
        let property = |id: &str, value: Value| json!({"id": id, "value": value});
        match name.as_str() {
            "alias" | "$$hashKey" => {}
            "color" => {
                properties.push(property("color", json!({"mode": "fixed", "fixedColor": value})))
            }
            "transform" => properties.push(property("custom.transform", value.clone())),
            "fill" => {
                let filled = number(value).unwrap_or(0.0) * 10.0;
                properties.push(property("custom.fillOpacity", json!(filled)));
            }
            "linewidth" => properties.push(property("custom.lineWidth", value.clone())),
            "yaxis" if number(value) == Some(2.0) => {
                properties.push(property("custom.axisPlacement", json!("right")));
                if let Some(unit) = right.and_then(|axis| axis.get("format")) {
                    properties.push(property("unit", unit.clone()));
                }
            }
            "yaxis" => {}
            "stack" => {
                let mode = if value.as_bool() == Some(false) { "none" } else { "normal" };
                properties.push(property("custom.stacking", json!({"group": "A", "mode": mode})));
            }
            "bars" if value.as_bool() == Some(true) => {
                properties.push(property("custom.drawStyle", json!("bars")));
            }
            "lines" | "bars" | "points" if value.as_bool().is_some() => {}
            "steppedLine" => {
                properties.push(property("custom.lineInterpolation", json!("stepAfter")));
            }
            "dashes" => properties
                .push(property("custom.lineStyle", json!({"fill": "dash", "dash": [10, 10]}))),
            "legend" => properties.push(property(
                "custom.hideFrom",
                json!({"legend": value.as_bool() == Some(false), "tooltip": false, "viz": false}),
            )),
            other => report.note(
                panel_title,
                format!("series override {other:?} of {alias:?} is not carried over"),
            ),
        }
    }
    json!({"matcher": {"id": matcher, "options": alias}, "properties": properties})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::normalise;

    #[test]
    fn a_graph_becomes_a_time_series_that_looks_the_same() {
        let json = json!({"panels": [{
            "type": "graph", "title": "g", "fill": 3, "linewidth": 2, "stack": true, "percentage": true,
            "nullPointMode": "connected", "steppedLine": true,
            "yaxes": [{"format": "bytes", "min": "0", "max": null, "logBase": 2}, {"format": "percent"}],
            "legend": {"show": true, "values": true, "avg": true, "current": true, "alignAsTable": true, "rightSide": true},
            "tooltip": {"shared": true, "sort": 2},
            "thresholds": [{"op": "gt", "value": 90, "colorMode": "critical"}, {"op": "lt", "value": 5}],
            "aliasColors": {"up": "#0f0"},
            "seriesOverrides": [{"alias": "/.*out/", "transform": "negative-Y"}, {"alias": "x", "yaxis": 2, "zindex": 3}],
            "targets": [{"expr": "up", "refId": "A"}],
        }]});
        let (dashboard, report) = normalise(&json.to_string()).unwrap();
        let panel = serde_json::to_value(&dashboard.panels[0]).unwrap();
        let field = &panel["fieldConfig"]["defaults"];
        assert_eq!(panel["type"], "timeseries");
        assert_eq!(
            (&field["unit"], &field["min"], field.get("max")),
            (&json!("bytes"), &json!(0.0), None)
        );
        assert_eq!(field["custom"]["fillOpacity"], 30.0);
        assert_eq!(field["custom"]["stacking"]["mode"], "percent");
        assert_eq!(field["custom"]["spanNulls"], true);
        assert_eq!(field["custom"]["lineInterpolation"], "stepAfter");
        assert_eq!(field["custom"]["scaleDistribution"]["log"], 2.0);
        assert_eq!(field["thresholds"]["steps"][1], json!({"color": "red", "value": 90.0}));
        assert_eq!(panel["options"]["legend"]["calcs"], json!(["mean", "lastNotNull"]));
        assert_eq!(panel["options"]["legend"]["placement"], "right");
        assert_eq!(panel["options"]["tooltip"], json!({"mode": "multi", "sort": "desc"}));
        let overrides = panel["fieldConfig"]["overrides"].as_array().unwrap();
        assert_eq!(overrides[0]["properties"][0]["value"]["fixedColor"], "#0f0");
        assert_eq!(overrides[1]["matcher"], json!({"id": "byRegexp", "options": "/.*out/"}));
        assert_eq!(
            overrides[1]["properties"][0],
            json!({"id": "custom.transform", "value": "negative-Y"})
        );
        assert_eq!(overrides[2]["properties"][1], json!({"id": "unit", "value": "percent"}));
        assert_eq!(report.notes, [r#"g: series override "zindex" of "x" is not carried over"#]);
    }
}
