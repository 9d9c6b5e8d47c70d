//! `singlestat`, one number until schema 25, to `stat`, or to `gauge` where it was drawn as one.

use serde_json::{Map, Value, json};

use super::{defaults, object, set};
use crate::Panel;
use crate::model::{number, objects, take_list};
use crate::report::ImportReport;

pub(super) fn migrate(panel: &mut Panel, report: &mut ImportReport) {
    let mut old = std::mem::take(&mut panel.rest);
    let gauge = old.shift_remove("gauge");
    let is_gauge = shown(gauge.as_ref());
    panel.kind = if is_gauge { "gauge" } else { "stat" }.to_owned();
    let field = defaults(panel);
    for (from, to) in [("format", "unit"), ("decimals", "decimals"), ("nullText", "noValue")] {
        if let Some(value) = old.shift_remove(from).filter(|value| !value.is_null()) {
            set(field, to, value);
        }
    }
    if let (true, Some(Value::Object(gauge))) = (is_gauge, gauge) {
        set(field, "min", gauge.get("minValue").cloned().unwrap_or(json!(0)));
        set(field, "max", gauge.get("maxValue").cloned().unwrap_or(json!(100)));
    }
    set(field, "thresholds", thresholds(&old));
    set(field, "color", json!({"mode": "thresholds"}));
    let mappings = mappings(&mut old);
    set(field, "mappings", Value::Array(mappings));
    let options = object(&mut panel.rest, &["options"]);
    set(options, "reduceOptions", json!({"calcs": [calc(&old)], "fields": "", "values": false}));
    let flag = |name: &str| old.get(name).and_then(Value::as_bool) == Some(true);
    let color = match (flag("colorBackground"), flag("colorValue")) {
        (true, _) => "background",
        (false, true) => "value",
        (false, false) => "none",
    };
    set(options, "colorMode", json!(color));
    let graph = if shown(old.get("sparkline")) { "area" } else { "none" };
    set(options, "graphMode", json!(graph));
    for side in ["prefix", "postfix"] {
        if old.get(side).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty()) {
            report.note(&panel.title, format!("the {side} of the number is not carried over"));
        }
    }
    for (name, value) in old {
        set(&mut panel.rest, &name, value);
    }
}

fn shown(part: Option<&Value>) -> bool {
    part.and_then(|part| part.get("show")).and_then(Value::as_bool) == Some(true)
}

/// `"80,90"` and three colours become three steps.
fn thresholds(old: &Map<String, Value>) -> Value {
    let limits = old.get("thresholds").and_then(Value::as_str).unwrap_or_default();
    let limits = limits.split(',').filter_map(|limit| limit.trim().parse::<f64>().ok());
    let colors = old.get("colors").and_then(Value::as_array);
    let color = |at: usize| {
        let own = colors.and_then(|colors| colors.get(at)).filter(|color| color.is_string());
        own.cloned().unwrap_or_else(|| json!(["green", "orange", "red"][at.min(2)]))
    };
    let mut steps = vec![json!({"color": color(0), "value": null})];
    for (at, limit) in limits.enumerate() {
        steps.push(json!({"color": color(at + 1), "value": limit}));
    }
    json!({"mode": "absolute", "steps": steps})
}

/// Values and ranges with a text of their own.
fn mappings(old: &mut Map<String, Value>) -> Vec<Value> {
    let mut mappings = Vec::new();
    for map in objects(take_list(old, "valueMaps")) {
        let text = map.get("text").cloned().unwrap_or_default();
        match map.get("value") {
            Some(Value::String(value)) if value == "null" => mappings.push(
                json!({"type": "special", "options": {"match": "null", "result": {"text": text}}}),
            ),
            Some(Value::String(value)) => {
                mappings.push(json!({"type": "value", "options": {value: {"text": text}}}));
            }
            Some(Value::Number(value)) => mappings
                .push(json!({"type": "value", "options": {value.to_string(): {"text": text}}})),
            _ => {}
        }
    }
    for map in objects(take_list(old, "rangeMaps")) {
        let limit = |name| map.get(name).and_then(number);
        if let (Some(from), Some(to)) = (limit("from"), limit("to")) {
            let text = map.get("text").cloned().unwrap_or_default();
            mappings.push(json!({
                "type": "range",
                "options": {"from": from, "to": to, "result": {"text": text}},
            }));
        }
    }
    mappings
}

fn calc(old: &Map<String, Value>) -> &'static str {
    match old.get("valueName").and_then(Value::as_str) {
        Some("avg") | None => "mean",
        Some("min") => "min",
        Some("max") => "max",
        Some("total") => "sum",
        Some("first") => "firstNotNull",
        Some("delta") => "delta",
        Some("diff") => "diff",
        Some("range") => "range",
        Some("name") => "last",
        Some(_) => "lastNotNull",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::normalise;

    #[test]
    fn a_singlestat_becomes_a_stat_or_a_gauge() {
        let json = json!({"panels": [
            {"type": "singlestat", "title": "s", "format": "s", "valueName": "current", "thresholds": "80,90",
             "colors": ["#1", "#2", "#3"], "colorBackground": true, "sparkline": {"show": true}, "prefix": "~",
             "valueMaps": [{"op": "=", "text": "N/A", "value": "null"}, {"text": "UP", "value": "1"}]},
            {"type": "singlestat", "format": "percent", "gauge": {"show": true, "minValue": 0, "maxValue": 50}},
        ]});
        let (dashboard, report) = normalise(&json.to_string()).unwrap();
        let value = serde_json::to_value(&dashboard).unwrap();
        let stat = &value["panels"][0];
        assert_eq!(stat["type"], "stat");
        assert_eq!(stat["options"]["reduceOptions"]["calcs"], json!(["lastNotNull"]));
        assert_eq!(
            (&stat["options"]["colorMode"], &stat["options"]["graphMode"]),
            (&json!("background"), &json!("area"))
        );
        let field = &stat["fieldConfig"]["defaults"];
        assert_eq!(field["unit"], "s");
        assert_eq!(
            field["thresholds"]["steps"],
            json!([
            {"color": "#1", "value": null}, {"color": "#2", "value": 80.0}, {"color": "#3", "value": 90.0}])
        );
        assert_eq!(field["mappings"][1]["options"]["1"]["text"], "UP");
        assert_eq!(value["panels"][1]["type"], "gauge");
        assert_eq!(value["panels"][1]["fieldConfig"]["defaults"]["max"], 50);
        assert_eq!(report.notes, ["s: the prefix of the number is not carried over"]);
    }
}
