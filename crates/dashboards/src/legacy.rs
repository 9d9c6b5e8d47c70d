//! Old schemas: the layout in `rows`, and the panel types that Grafana has retired.
//!
//! A panel is changed in place: its type, its options and its field configuration become those of
//! the type that took its place. What has no counterpart is named in the report, never dropped in
//! silence; the old fields stay in `rest`, where they harm nobody.

mod graph;
mod singlestat;

use serde_json::{Map, Value, json};

use crate::Panel;
use crate::model::{number, objects, take_list};
use crate::report::ImportReport;

/// Height of one line of the grid with its gap, in pixels: old rows give their height in pixels.
const GRID_LINE_PX: f64 = 38.0;
/// Height of a row that gives none, in pixels.
const ROW_HEIGHT_PX: f64 = 250.0;

/// Turns `rows: [{panels: […]}, …]` into the flat list `panels`, placed on the grid.
/// Dashboards of today have no `rows` and stay as they are.
pub(crate) fn flatten_rows(map: &mut Map<String, Value>, report: &mut ImportReport) {
    let rows: Vec<_> = objects(take_list(map, "rows")).collect();
    if rows.is_empty() {
        return;
    }
    let flag =
        |row: &Map<String, Value>, name| row.get(name).and_then(Value::as_bool) == Some(true);
    let repeats = |row: &Map<String, Value>| row.get("repeat").is_some_and(Value::is_string);
    let titled =
        rows.iter().any(|row| flag(row, "showTitle") || flag(row, "collapse") || repeats(row));
    let mut panels = take_list(map, "panels");
    let mut y = panels.iter().map(bottom_of).max().unwrap_or(0);
    let count = rows.len();
    for mut row in rows {
        let height = row.get("height").and_then(number).unwrap_or(ROW_HEIGHT_PX);
        let lines = (height / GRID_LINE_PX).ceil().clamp(3.0, 100.0) as u32;
        let collapsed = flag(&row, "collapse");
        let mut own: Vec<Value> =
            objects(take_list(&mut row, "panels")).map(Value::Object).collect();
        if titled {
            panels.push(row_panel(&row, y, collapsed));
            y += 1;
        }
        let below = place(&mut own, y, lines);
        match panels.last_mut() {
            Some(last) if collapsed => last["panels"] = Value::Array(own),
            _ => {
                panels.append(&mut own);
                y = below;
            }
        }
    }
    map.insert("panels".into(), Value::Array(panels));
    report.note("", format!("{count} rows of the old layout were placed on the grid"));
}

/// Brings a panel of a retired type, or with options of an old form, to the form of today.
pub(crate) fn migrate_panel(panel: &mut Panel, report: &mut ImportReport) {
    match panel.kind.as_str() {
        "graph" => graph::migrate(panel, report),
        "singlestat" | "grafana-singlestat-panel" => singlestat::migrate(panel, report),
        "table-old" => styled_table(panel, report),
        "table" if panel.rest.contains_key("styles") => styled_table(panel, report),
        "text" => text(panel),
        "stat" | "gauge" | "bargauge" => field_options(panel),
        _ => {}
    }
}

/// The object at `path`, made when it is missing or is something else.
fn object<'a>(map: &'a mut Map<String, Value>, path: &[&str]) -> &'a mut Map<String, Value> {
    let Some((first, rest)) = path.split_first() else { return map };
    let slot = map.entry(*first).or_insert(Value::Null);
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(inner) => object(inner, rest),
        _ => unreachable!("the slot was made an object above"),
    }
}

/// The field defaults of a panel.
fn defaults(panel: &mut Panel) -> &mut Map<String, Value> {
    object(&mut panel.rest, &["fieldConfig", "defaults"])
}

/// Sets a value unless the panel says otherwise already.
fn set(map: &mut Map<String, Value>, name: &str, value: Value) {
    map.entry(name).or_insert(value);
}

fn row_panel(row: &Map<String, Value>, y: u32, collapsed: bool) -> Value {
    json!({
        "type": "row",
        "title": row.get("title").cloned().unwrap_or_default(),
        "collapsed": collapsed,
        "repeat": row.get("repeat").cloned().unwrap_or_default(),
        "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
        "panels": [],
    })
}

/// Places panels of an old row from left to right, and gives the line below them.
fn place(panels: &mut [Value], y: u32, lines: u32) -> u32 {
    let (mut x, mut y, mut tallest) = (0, y, 0);
    for panel in panels {
        let span = panel.get("span").and_then(number).unwrap_or(4.0).clamp(1.0, 12.0);
        let width = (span * 2.0).round() as u32;
        let own = panel.get("height").and_then(number);
        let height = own.map_or(lines, |px| (px / GRID_LINE_PX).ceil().clamp(2.0, 100.0) as u32);
        if x + width > 24 {
            (x, y, tallest) = (0, y + tallest, 0);
        }
        panel["gridPos"] = json!({"x": x, "y": y, "w": width, "h": height});
        x += width;
        tallest = tallest.max(height);
    }
    y + tallest
}

fn bottom_of(panel: &Value) -> u32 {
    let side = |name| {
        let value = panel.get("gridPos").and_then(|place| place.get(name)).and_then(number);
        value.unwrap_or(0.0).clamp(0.0, 1e6) as u32
    };
    side("y") + side("h")
}

/// The table of old: its queries stay, its column styles have no counterpart here.
fn styled_table(panel: &mut Panel, report: &mut ImportReport) {
    panel.kind = "table".to_owned();
    for target in &mut panel.targets {
        set(&mut target.rest, "format", json!("table"));
    }
    if panel.rest.get("styles").and_then(Value::as_array).is_some_and(|list| !list.is_empty()) {
        report.note(&panel.title, "column styles of the old table are not carried over");
    }
    set(&mut panel.rest, "options", json!({"showHeader": true}));
}

/// Text panels kept their text beside the options once.
fn text(panel: &mut Panel) {
    for name in ["content", "mode"] {
        if let Some(value @ Value::String(_)) = panel.rest.shift_remove(name) {
            set(object(&mut panel.rest, &["options"]), name, value);
        }
    }
}

/// The first gauges kept `fieldOptions` inside their options.
fn field_options(panel: &mut Panel) {
    let options = object(&mut panel.rest, &["options"]);
    let Some(Value::Object(mut old)) = options.shift_remove("fieldOptions") else { return };
    let reduce = json!({
        "calcs": old.shift_remove("calcs").unwrap_or_else(|| json!(["lastNotNull"])),
        "values": old.shift_remove("values").unwrap_or(json!(false)),
        "fields": "",
    });
    set(options, "reduceOptions", reduce);
    if let Some(Value::Object(old_defaults)) = old.shift_remove("defaults") {
        for (name, value) in old_defaults {
            set(defaults(panel), &name, value);
        }
    }
    if let Some(overrides @ Value::Array(_)) = old.shift_remove("overrides") {
        set(object(&mut panel.rest, &["fieldConfig"]), "overrides", overrides);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{GridPos, normalise};

    #[test]
    fn rows_of_the_old_layout_are_placed_from_left_to_right_and_wrap() {
        let json = json!({"rows": [
            {"height": "250px", "panels": [{"title": "a", "span": 8}, {"title": "b", "span": 4}, {"title": "c", "span": 12}]},
            {"height": 100, "panels": [{"title": "d"}]},
        ]});
        let (dashboard, report) = normalise(&json.to_string()).unwrap();
        let places: Vec<_> =
            dashboard.panels.iter().map(|p| (p.title.as_str(), p.grid_pos)).collect();
        assert_eq!(
            places,
            [
                ("a", GridPos { x: 0, y: 0, w: 16, h: 7 }),
                ("b", GridPos { x: 16, y: 0, w: 8, h: 7 }),
                ("c", GridPos { x: 0, y: 7, w: 24, h: 7 }),
                ("d", GridPos { x: 0, y: 14, w: 8, h: 3 }),
            ]
        );
        assert_eq!(report.notes, ["2 rows of the old layout were placed on the grid"]);
    }

    #[test]
    fn titled_rows_become_row_panels_and_collapsed_ones_keep_their_panels() {
        let json = json!({"rows": [
            {"title": "Open", "showTitle": true, "panels": [{"title": "a", "span": 12}]},
            {"title": "Shut", "collapse": true, "panels": [{"title": "b", "span": 12}]},
            {"title": "Last", "panels": [{"title": "c", "span": 12}]},
        ]});
        let (dashboard, _) = normalise(&json.to_string()).unwrap();
        let shape: Vec<_> = dashboard
            .panels
            .iter()
            .map(|p| (p.kind.as_str(), p.title.as_str(), p.grid_pos.y, p.panels.len()))
            .collect();
        assert_eq!(
            shape,
            [
                ("row", "Open", 0, 0),
                ("timeseries", "a", 1, 0),
                ("row", "Shut", 8, 1),
                ("row", "Last", 9, 0),
                ("timeseries", "c", 10, 0),
            ]
        );
    }

    #[test]
    fn text_and_the_first_gauges_find_their_options_again() {
        let json = json!({"panels": [
            {"type": "text", "content": "hello", "mode": "markdown"},
            {"type": "gauge", "options": {"fieldOptions": {"calcs": ["max"], "defaults": {"unit": "bytes", "max": 9}}}},
            {"type": "table", "title": "t", "styles": [{"alias": "x"}], "targets": [{"expr": "up"}]},
        ]});
        let (dashboard, report) = normalise(&json.to_string()).unwrap();
        assert_eq!(dashboard.panels[0].rest["options"]["content"], "hello");
        assert_eq!(dashboard.panels[1].rest["options"]["reduceOptions"]["calcs"][0], "max");
        assert_eq!(dashboard.panels[1].rest["fieldConfig"]["defaults"]["unit"], "bytes");
        assert_eq!(dashboard.panels[2].targets[0].rest["format"], "table");
        assert_eq!(report.notes, ["t: column styles of the old table are not carried over"]);
    }
}
