//! Grafana's dashboard JSON, read tolerantly and written back whole.
//!
//! [`normalise`] turns the text of a dashboard, of any age, into one shape ([`Dashboard`]): a flat
//! list of panels on a grid of 24 columns, panel types of today, and on every target a data source
//! whose `type` is known. What it does not know it keeps in `rest` and writes out again unchanged;
//! what it cannot draw or translate it names in the [`ImportReport`]. A dashboard is refused only
//! when it is not a JSON object or is larger than the limits below.
//!
//! The crate does no IO: it takes text and gives values. The original text stays with the caller,
//! who serves the normalised form and exports the original.
//!
//! - `model`: the types, and how a field of any type becomes a field of the right one.
//! - `datasource`: which of the two engines a target means.
//! - `legacy`: rows, `graph`, `singlestat` and other forms of old schemas.
//! - `slug`: titles to the part of an address that people read.
#![forbid(unsafe_code)]

mod datasource;
mod legacy;
mod model;
mod report;
mod slug;

pub use datasource::DatasourceKind;
pub use model::{Dashboard, Datasource, GridPos, Panel, Target};
pub use report::ImportReport;
pub use slug::slug;

use serde::Serialize;
use serde_json::Value;

/// The schema version that [`normalise`] writes.
pub const SCHEMA_VERSION: i64 = 41;
/// Largest text of a dashboard that is read, in bytes. The largest real one met has 0.5 MB.
pub const DASHBOARD_SIZE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most panels of a dashboard, nested ones included.
pub const PANELS_MAX: usize = 2_000;
/// Deepest nesting of panels in panels. Grafana nests once: a collapsed row holds its panels.
pub const PANEL_DEPTH_MAX: usize = 3;

/// Panel types that the UI draws.
const DRAWN: [&str; 9] =
    ["timeseries", "stat", "gauge", "bargauge", "table", "logs", "piechart", "text", "row"];

/// Why a text is not a dashboard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DashboardError {
    /// The text is larger than [`DASHBOARD_SIZE_BYTES_MAX`].
    #[error(
        "the dashboard has {size_bytes} bytes, more than the {DASHBOARD_SIZE_BYTES_MAX} that are read: split it"
    )]
    TooLarge {
        /// Size of the text.
        size_bytes: usize,
    },
    /// The text is not JSON.
    #[error("the dashboard is not JSON: {0}; export it again with Share → Export")]
    Json(#[from] serde_json::Error),
    /// The JSON is not an object.
    #[error("the dashboard is JSON, but {found} and not an object: export the whole dashboard")]
    NotAnObject {
        /// The kind of JSON value that was found.
        found: &'static str,
    },
    /// More panels than [`PANELS_MAX`].
    #[error("the dashboard has {count} panels, more than {PANELS_MAX}: split it")]
    TooManyPanels {
        /// Number of panels, nested ones included.
        count: usize,
    },
}

/// What a list of dashboards shows of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Its identity in addresses: `/d/{uid}/{slug}`.
    pub uid: String,
    /// Its title.
    pub title: String,
    /// The readable part of its address.
    pub slug: String,
    /// `/d/{uid}/{slug}`.
    pub url: String,
    /// One or two sentences, possibly empty.
    pub description: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Number of panels, rows not counted.
    pub panel_count: usize,
}

/// Reads a dashboard of any schema version and brings it into the one shape that the UI draws.
///
/// Accepts the bare dashboard and the envelope of Grafana's API (`{"dashboard": {…}, …}`).
pub fn normalise(json: &str) -> Result<(Dashboard, ImportReport), DashboardError> {
    if json.len() > DASHBOARD_SIZE_BYTES_MAX {
        return Err(DashboardError::TooLarge { size_bytes: json.len() });
    }
    let mut map = match serde_json::from_str(json)? {
        Value::Object(map) => map,
        other => return Err(DashboardError::NotAnObject { found: model::kind_of(&other) }),
    };
    if let Some(Value::Object(inner)) = map.get_mut("dashboard") {
        map = std::mem::take(inner);
    }
    let mut report = ImportReport::default();
    legacy::flatten_rows(&mut map, &mut report);
    let mut dashboard = Dashboard::from_map(map, &mut report);
    let count = dashboard.panels().count();
    if count > PANELS_MAX {
        return Err(DashboardError::TooManyPanels { count });
    }
    let sources = datasource::Declared::of(&dashboard);
    visit(&mut dashboard.panels, &mut |panel| {
        legacy::migrate_panel(panel, &mut report);
        sources.resolve_panel(panel, &mut report);
        if !DRAWN.contains(&panel.kind.as_str()) {
            report.note(&panel.title, format!("panels of type {:?} are not drawn yet", panel.kind));
        }
    });
    number_panels(&mut dashboard.panels);
    place_panels(&mut dashboard.panels);
    note_variables(&dashboard, &mut report);
    dashboard.schema_version = SCHEMA_VERSION;
    Ok((dashboard, report))
}

/// Every expression of a dashboard: title of its panel, the engine it is for, the text.
/// Hidden targets are included, targets without an expression are not.
pub fn targets(dashboard: &Dashboard) -> Vec<(String, DatasourceKind, String)> {
    let mut found = Vec::new();
    for panel in dashboard.panels() {
        for target in &panel.targets {
            if target.expr.is_empty() {
                continue;
            }
            let source = target.datasource.as_ref().or(panel.datasource.as_ref());
            let kind = source.map_or(DatasourceKind::Prometheus, Datasource::engine);
            found.push((panel.title.clone(), kind, target.expr.clone()));
        }
    }
    found
}

/// What a list shows of this dashboard.
pub fn summary(dashboard: &Dashboard) -> Summary {
    let slug = slug(&dashboard.title);
    Summary {
        url: format!("/d/{}/{slug}", dashboard.uid),
        uid: dashboard.uid.clone(),
        title: dashboard.title.clone(),
        slug,
        description: dashboard.description.clone(),
        tags: dashboard.tags.clone(),
        panel_count: dashboard.panels().filter(|panel| panel.kind != "row").count(),
    }
}

/// Calls `change` on every panel, the ones inside collapsed rows included.
/// The depth is bounded: [`Dashboard::from_map`] keeps no more than [`PANEL_DEPTH_MAX`] levels.
fn visit(panels: &mut [Panel], change: &mut impl FnMut(&mut Panel)) {
    for panel in panels {
        change(panel);
        visit(&mut panel.panels, change);
    }
}

/// Gives an id to panels that have none or share one: the UI needs it to be unique.
fn number_panels(panels: &mut [Panel]) {
    let mut next = 1;
    visit(panels, &mut |panel| next = next.max(panel.id.saturating_add(1)));
    let mut seen = std::collections::HashSet::new();
    visit(panels, &mut |panel| {
        if panel.id == 0 || !seen.insert(panel.id) {
            panel.id = next;
            seen.insert(next);
            next = next.saturating_add(1);
        }
    });
}

/// Puts panels without a place below all the others, two in a line.
fn place_panels(panels: &mut [Panel]) {
    let bottom = |panel: &Panel| panel.grid_pos.y.saturating_add(panel.grid_pos.h);
    let mut y = panels.iter().map(bottom).max().unwrap_or(0);
    let mut x = 0;
    for panel in panels.iter_mut() {
        place_panels(&mut panel.panels);
        if panel.grid_pos.w != 0 {
            continue;
        }
        panel.grid_pos = GridPos { x, y, w: 12, h: 8 };
        y += if x == 12 { 8 } else { 0 };
        x = 12 - x;
    }
}

/// Names the variables whose kind needs an engine or a UI element that is not there.
fn note_variables(dashboard: &Dashboard, report: &mut ImportReport) {
    for variable in dashboard.variables() {
        let kind = variable.get("type").and_then(Value::as_str).unwrap_or("query");
        if kind == "adhoc" || kind == "groupby" {
            let name = variable.get("name").and_then(Value::as_str).unwrap_or_default();
            report.note("", format!("variable ${name}: filters of type {kind:?} are ignored"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> (Dashboard, ImportReport) {
        normalise(json).unwrap()
    }

    #[test]
    fn text_that_is_no_dashboard_is_refused_with_the_reason() {
        for (text, words) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[]", "an array"),
            ("3", "a number"),
            ("null", "null"),
        ] {
            let error = normalise(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text:?} gave {error}");
        }
    }

    #[test]
    fn fields_of_the_wrong_type_become_empty_fields() {
        let (dashboard, _) = read(
            r#"{"title": 7, "tags": null, "panels": [null, {"id": "9", "title": null,
                "gridPos": "x", "targets": {}, "type": "timeseries"}], "templating": []}"#,
        );
        assert_eq!(dashboard.title, "");
        assert_eq!(dashboard.uid, "untitled");
        assert_eq!(dashboard.panels.len(), 1);
        assert_eq!(dashboard.panels[0].id, 9);
        assert_eq!(dashboard.panels[0].grid_pos, GridPos { x: 0, y: 0, w: 12, h: 8 });
    }

    #[test]
    fn unknown_fields_are_written_out_again() {
        let json = r#"{"uid":"u","title":"t","refresh":"5s","future":{"a":[1]},
            "panels":[{"type":"stat","strange":true,"targets":[{"refId":"A","expr":"up","x":1}]}]}"#;
        let (dashboard, report) = read(json);
        let value = serde_json::to_value(&dashboard).unwrap();
        assert_eq!(value["future"]["a"][0], 1);
        assert_eq!(value["refresh"], "5s");
        assert_eq!(value["panels"][0]["strange"], true);
        assert_eq!(value["panels"][0]["targets"][0]["x"], 1);
        assert_eq!(value["schemaVersion"], SCHEMA_VERSION);
        assert!(report.notes.is_empty(), "{report:?}");
        let again = read(&value.to_string()).0;
        assert_eq!(
            serde_json::to_value(&again).unwrap(),
            value,
            "normalising twice changes nothing"
        );
    }

    #[test]
    fn the_envelope_of_the_api_is_opened() {
        let (dashboard, _) = read(r#"{"meta":{},"dashboard":{"uid":"in","title":"Inside"}}"#);
        assert_eq!(summary(&dashboard).url, "/d/in/inside");
    }

    #[test]
    fn panels_get_distinct_ids() {
        let (dashboard, _) = read(
            r#"{"panels":[{"id":2},{"id":2},{},{"id":4294967295},{"id":9e99},
                {"id":1,"type":"row","panels":[{"id":1},{"id":3}]}]}"#,
        );
        let ids: Vec<u32> = dashboard.panels().map(|panel| panel.id).collect();
        let distinct: std::collections::HashSet<&u32> = ids.iter().collect();
        assert_eq!(distinct.len(), 8, "{ids:?}");
        assert!(ids.contains(&3) && !ids.contains(&0), "{ids:?}");
    }

    #[test]
    fn too_many_panels_are_refused() {
        let panels = vec!["{}"; PANELS_MAX + 1].join(",");
        let error = normalise(&format!(r#"{{"panels":[{panels}]}}"#)).unwrap_err();
        assert!(
            matches!(error, DashboardError::TooManyPanels { count } if count == PANELS_MAX + 1)
        );
    }

    #[test]
    fn panels_nested_beyond_the_limit_are_named_and_left_out() {
        let mut json = r#"{"title":"deepest"}"#.to_owned();
        for _ in 0..10 {
            json = format!(r#"{{"type":"row","panels":[{json}]}}"#);
        }
        let (dashboard, report) = read(&format!(r#"{{"panels":[{json}]}}"#));
        assert_eq!(dashboard.panels().count(), PANEL_DEPTH_MAX);
        assert!(report.notes.iter().any(|note| note.contains("nested")), "{report:?}");
    }
}
