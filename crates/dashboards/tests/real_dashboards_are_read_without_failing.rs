//! Real dashboards, ours and other people's: reading one never fails, and loses no query.

use std::path::{Path, PathBuf};

use serde_json::Value;
use vigie_dashboards::{DatasourceKind, normalise, summary, targets};

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

/// Counts the non-empty `expr` of everything called `targets`, wherever it stands.
fn expressions(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(expressions).sum(),
        Value::Object(map) => {
            let own = map.get("targets").and_then(Value::as_array);
            let here = own
                .into_iter()
                .flatten()
                .filter(|target| target["expr"].as_str().is_some_and(|expr| !expr.is_empty()));
            let below = map.iter().filter(|(name, _)| ["panels", "rows"].contains(&name.as_str()));
            here.count() + below.map(|(_, value)| expressions(value)).sum::<usize>()
        }
        _ => 0,
    }
}

#[test]
fn the_corpus_is_read_and_no_query_is_lost() {
    let Some(corpora) = std::env::var_os("VIGIE_CORPORA") else {
        println!("SKIPPED: all 22 dashboards of the corpus, because VIGIE_CORPORA is not set");
        return;
    };
    let files = json_files(&Path::new(&corpora).join("dashboards"));
    assert!(!files.is_empty(), "no dashboard in the corpus");
    let (mut panels, mut notes) = (0, 0);
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let (dashboard, report) =
            normalise(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let original: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(targets(&dashboard).len(), expressions(&original), "{}", file.display());
        for panel in dashboard.panels() {
            let place = panel.grid_pos;
            assert!(place.w > 0 && place.x + place.w <= 24, "{}: {place:?}", file.display());
            assert!(!["graph", "singlestat", "table-old"].contains(&panel.kind.as_str()));
            let typed = |target: &vigie_dashboards::Target| {
                target.datasource.as_ref().is_some_and(|source| !source.kind.is_empty())
            };
            assert!(panel.targets.iter().all(typed), "{}: {}", file.display(), panel.title);
        }
        let once = serde_json::to_string(&dashboard).unwrap();
        let twice = serde_json::to_string(&normalise(&once).unwrap().0).unwrap();
        assert!(once == twice, "{}: normalising twice changes it", file.display());
        panels += dashboard.panels().count();
        notes += report.notes.len();
        println!("{}: {:?}", file.display(), report.notes);
    }
    println!("{} dashboards, {panels} panels, {notes} notes", files.len());
}

#[test]
fn the_shipped_dashboards_need_no_migration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../content/dashboards");
    let mut urls = Vec::new();
    for file in json_files(&folder) {
        let text = std::fs::read_to_string(&file).unwrap();
        let (dashboard, report) = normalise(&text).unwrap();
        assert_eq!(report.notes, [""; 0], "{}", file.display());
        for panel in dashboard.panels() {
            let description = panel.rest["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{}: no description", panel.title);
            assert!(!panel.targets.is_empty(), "{}: no query", panel.title);
        }
        for (panel, kind, expr) in targets(&dashboard) {
            let logs = expr.contains(r#"{job="suricata"}"#) || expr.contains("|= \"401\"");
            let expected = if logs { DatasourceKind::Loki } else { DatasourceKind::Prometheus };
            assert_eq!(kind, expected, "{panel}: {expr}");
        }
        no_panels_overlap(&dashboard);
        urls.push(summary(&dashboard).url);
    }
    assert_eq!(
        urls,
        [
            "/d/vigie-api/api-overview",
            "/d/vigie-business/business-metrics",
            "/d/vigie-postgresql/postgresql-performance",
            "/d/vigie-security/security-events",
            "/d/vigie-system/system-health",
        ]
    );
}

fn no_panels_overlap(dashboard: &vigie_dashboards::Dashboard) {
    for (at, a) in dashboard.panels.iter().enumerate() {
        for b in &dashboard.panels[at + 1..] {
            let (p, q) = (a.grid_pos, b.grid_pos);
            let apart =
                p.x + p.w <= q.x || q.x + q.w <= p.x || p.y + p.h <= q.y || q.y + q.h <= p.y;
            assert!(apart, "{} and {} overlap", a.title, b.title);
        }
    }
}
