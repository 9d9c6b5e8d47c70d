//! The shape of a dashboard: the fields that Vigie works with, and all others as they came.
//!
//! Nothing here fails. Dashboards in the wild hold `null` where a list belongs and numbers in
//! quotes; a field that cannot be read is an empty field, and `rest` keeps what has no name here.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::report::ImportReport;
use crate::{DatasourceKind, PANEL_DEPTH_MAX, slug};

/// Panel ids from here on are replaced: there must be room above the largest for new ones.
const PANEL_ID_MAX: u32 = 1_000_000_000;

/// A dashboard in the form that the UI draws.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// Its identity in addresses. Made from the title when the JSON has none.
    pub uid: String,
    /// Its title, possibly empty.
    pub title: String,
    /// What it is for, possibly empty.
    pub description: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// The schema version of the normalised form.
    pub schema_version: i64,
    /// Panels from top to bottom; a collapsed row holds its own.
    pub panels: Vec<Panel>,
    /// Everything else: `time`, `refresh`, `templating`, `annotations`, `links`, …
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    /// Unique within its dashboard.
    pub id: u32,
    /// `timeseries`, `stat`, `row`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its title, possibly empty.
    pub title: String,
    /// Its place on a grid of 24 columns.
    pub grid_pos: GridPos,
    /// The data source of targets that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Datasource>,
    /// Its queries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// The panels of a collapsed row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub panels: Vec<Panel>,
    /// Everything else: `fieldConfig`, `options`, `transformations`, `repeat`, …
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// One query of a panel.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// `A`, `B`, …: how overrides and transformations name it.
    pub ref_id: String,
    /// PromQL or LogQL, possibly empty.
    pub expr: String,
    /// Where to ask; after [`crate::normalise`] its `type` is always known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasource: Option<Datasource>,
    /// Asked for other queries' sake, not drawn.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hide: bool,
    /// Everything else: `legendFormat`, `instant`, `format`, `interval`, …
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A reference to a data source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Datasource {
    /// `prometheus`, `loki`, …; empty when the JSON only names a uid.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// A uid, a name, or a variable such as `${DS_PROMETHEUS}`; possibly empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// A rectangle on the grid. A width of zero means: not placed yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct GridPos {
    /// Column of the left edge, 0 to 23.
    pub x: u32,
    /// Line of the upper edge.
    pub y: u32,
    /// Columns.
    pub w: u32,
    /// Lines.
    pub h: u32,
}

impl Dashboard {
    /// All panels, the ones inside rows after their row.
    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        let mut waiting: Vec<&Panel> = self.panels.iter().rev().collect();
        std::iter::from_fn(move || {
            let panel = waiting.pop()?;
            waiting.extend(panel.panels.iter().rev());
            Some(panel)
        })
    }

    /// The variables as the JSON describes them.
    pub fn variables(&self) -> impl Iterator<Item = &Map<String, Value>> {
        let list = self.rest.get("templating").and_then(|templating| templating.get("list"));
        list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
    }

    pub(crate) fn from_map(mut map: Map<String, Value>, report: &mut ImportReport) -> Self {
        let title = take_text(&mut map, "title");
        let mut uid = take_text(&mut map, "uid");
        if uid.is_empty() {
            uid = slug(&title);
            uid.truncate(40);
        }
        let tags = take_list(&mut map, "tags");
        Dashboard {
            uid,
            title,
            description: take_text(&mut map, "description"),
            tags: tags.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            schema_version: map.shift_remove("schemaVersion").and_then(|v| v.as_i64()).unwrap_or(0),
            panels: take_panels(&mut map, 1, report),
            rest: map,
        }
    }
}

impl Panel {
    pub(crate) fn from_map(
        mut map: Map<String, Value>,
        depth: usize,
        report: &mut ImportReport,
    ) -> Self {
        let kind = take_text(&mut map, "type");
        let targets = take_list(&mut map, "targets");
        Panel {
            id: take_number(&mut map, "id").filter(|id| *id < PANEL_ID_MAX).unwrap_or(0),
            kind: if kind.is_empty() { "timeseries".to_owned() } else { kind },
            title: take_text(&mut map, "title"),
            grid_pos: GridPos::from_value(map.shift_remove("gridPos")),
            datasource: map.shift_remove("datasource").and_then(Datasource::from_value),
            targets: objects(targets).map(Target::from_map).collect(),
            panels: take_panels(&mut map, depth + 1, report),
            rest: map,
        }
    }
}

impl Target {
    fn from_map(mut map: Map<String, Value>) -> Self {
        Target {
            ref_id: take_text(&mut map, "refId"),
            expr: take_text(&mut map, "expr"),
            datasource: map.shift_remove("datasource").and_then(Datasource::from_value),
            hide: map.shift_remove("hide").and_then(|value| value.as_bool()).unwrap_or(false),
            rest: map,
        }
    }
}

impl Datasource {
    /// The engine that answers for this source.
    pub fn engine(&self) -> DatasourceKind {
        DatasourceKind::from_type(&self.kind)
    }

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::String(name) if !name.is_empty() => {
                Some(Datasource { kind: String::new(), uid: name })
            }
            Value::Object(mut map) => Some(Datasource {
                kind: take_text(&mut map, "type"),
                uid: take_text(&mut map, "uid"),
            }),
            _ => None,
        }
    }
}

impl GridPos {
    fn from_value(value: Option<Value>) -> Self {
        let Some(Value::Object(mut map)) = value else { return GridPos::default() };
        let mut side = |name| take_number(&mut map, name).unwrap_or(0).min(1_000_000);
        let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
        if w == 0 || h == 0 {
            return GridPos::default();
        }
        let x = x.min(23);
        GridPos { x, y, w: w.min(24 - x), h }
    }
}

/// Removes a text; anything but a text is an empty one.
pub(crate) fn take_text(map: &mut Map<String, Value>, name: &str) -> String {
    match map.shift_remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    }
}

/// Removes a list; anything but a list is an empty one.
pub(crate) fn take_list(map: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match map.shift_remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// Keeps the objects of a list.
pub(crate) fn objects(list: Vec<Value>) -> impl Iterator<Item = Map<String, Value>> {
    list.into_iter().filter_map(|value| match value {
        Value::Object(map) => Some(map),
        _ => None,
    })
}

/// A number, or a number in quotes.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().trim_end_matches("px").parse().ok(),
        _ => None,
    }
}

/// What a value is, for error texts.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn take_number(map: &mut Map<String, Value>, name: &str) -> Option<u32> {
    let value = number(&map.shift_remove(name)?)?;
    (value.is_finite() && value >= 0.0).then_some(value as u32)
}

fn take_panels(
    map: &mut Map<String, Value>,
    depth: usize,
    report: &mut ImportReport,
) -> Vec<Panel> {
    let list = take_list(map, "panels");
    if list.is_empty() {
        return Vec::new();
    }
    if depth > PANEL_DEPTH_MAX {
        report.note("", format!("panels nested more than {PANEL_DEPTH_MAX} deep are left out"));
        return Vec::new();
    }
    objects(list).map(|panel| Panel::from_map(panel, depth, report)).collect()
}
