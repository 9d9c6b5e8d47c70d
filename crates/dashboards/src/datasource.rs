//! Which engine a target means.
//!
//! Vigie has one metrics engine and one log engine, so the uid of a data source says nothing: its
//! type decides. Old dashboards give a name or a variable instead of a type; the variable is looked
//! up among the dashboard's `__inputs` and its variables of type `datasource`. What stays unknown
//! is taken for the metrics engine, as most dashboards mean it.

use std::collections::HashMap;

use serde_json::Value;

use crate::report::ImportReport;
use crate::{Dashboard, Datasource, Panel};

/// The engine behind a data source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DatasourceKind {
    /// Metrics, asked in PromQL.
    Prometheus,
    /// Logs, asked in LogQL.
    Loki,
    /// Alerts.
    Alertmanager,
    /// A source that Vigie is not: its type.
    Other(String),
}

impl DatasourceKind {
    /// The kind for a `type` of Grafana; an empty one is metrics.
    pub fn from_type(kind: &str) -> Self {
        match kind {
            "" | "prometheus" | "grafana-amazonprometheus-datasource" => DatasourceKind::Prometheus,
            "victoriametrics-metrics-datasource" | "victoriametrics-datasource" => {
                DatasourceKind::Prometheus
            }
            "loki" => DatasourceKind::Loki,
            "alertmanager" => DatasourceKind::Alertmanager,
            other => DatasourceKind::Other(other.to_owned()),
        }
    }

    /// The `type` that stands in the normalised JSON.
    pub fn as_type(&self) -> &str {
        match self {
            DatasourceKind::Prometheus => "prometheus",
            DatasourceKind::Loki => "loki",
            DatasourceKind::Alertmanager => "alertmanager",
            DatasourceKind::Other(kind) => kind,
        }
    }
}

/// The names under which a dashboard declares data sources, with their types.
pub(crate) struct Declared {
    types: HashMap<String, String>,
}

impl Declared {
    pub(crate) fn of(dashboard: &Dashboard) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let mut types = HashMap::new();
        let inputs = dashboard.rest.get("__inputs").and_then(Value::as_array);
        for input in inputs.into_iter().flatten() {
            if let (Some(name), Some(kind)) = (text(input.get("name")), text(input.get("pluginId")))
            {
                types.insert(name, kind);
            }
        }
        for variable in dashboard.variables() {
            let is_source = variable.get("type").and_then(Value::as_str) == Some("datasource");
            if let (true, Some(name), Some(kind)) =
                (is_source, text(variable.get("name")), text(variable.get("query")))
            {
                types.insert(name, kind);
            }
        }
        Declared { types }
    }

    /// Writes the type of its source on the panel and on each of its targets.
    pub(crate) fn resolve_panel(&self, panel: &mut Panel, report: &mut ImportReport) {
        if panel.kind == "row" {
            return;
        }
        let own = panel.datasource.clone().unwrap_or_default();
        for target in &mut panel.targets {
            let named = target.datasource.take().filter(|source| !source.is_empty());
            let mut source = named.unwrap_or_else(|| own.clone());
            source.kind = self.kind(&source).as_type().to_owned();
            if let DatasourceKind::Other(kind) = source.engine() {
                report.note(&panel.title, format!("data source of type {kind:?} is not supported"));
            }
            target.datasource = Some(source);
        }
        if let Some(source) = &mut panel.datasource {
            source.kind = self.kind(source).as_type().to_owned();
        }
    }

    fn kind(&self, source: &Datasource) -> DatasourceKind {
        let declared = self.types.get(variable_name(&source.uid)).map(String::as_str);
        let kind = match (source.kind.as_str(), declared) {
            ("", Some(declared)) => declared,
            ("", None) => match source.uid.as_str() {
                "-- Mixed --" => "mixed",
                "-- Grafana --" | "grafana" => "grafana",
                "-- Dashboard --" => "dashboard",
                name if name.to_lowercase().contains("loki") => "loki",
                _ => "",
            },
            // Grafana's own export writes the type `datasource` for its built-in sources.
            ("datasource", _) => match source.uid.as_str() {
                "-- Mixed --" => "mixed",
                "-- Dashboard --" => "dashboard",
                _ => "grafana",
            },
            // A type may itself be a variable.
            (kind, _) => self.types.get(variable_name(kind)).map_or(kind, String::as_str),
        };
        DatasourceKind::from_type(kind)
    }
}

impl Datasource {
    fn is_empty(&self) -> bool {
        self.kind.is_empty() && self.uid.is_empty()
    }
}

/// The name inside `$name`, `${name}` and `${name:format}`; the text itself when it is no variable.
fn variable_name(text: &str) -> &str {
    let Some(name) = text.strip_prefix('$') else { return text };
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use crate::{DatasourceKind, normalise, targets};

    #[test]
    fn a_source_is_found_by_type_by_variable_and_by_input() {
        let head = r#""__inputs":[{"name":"DS_LOGS","pluginId":"loki"}],
            "templating":{"list":[{"type":"datasource","name":"ds","query":"prometheus"},
                                  {"type":"datasource","name":"logs","query":"loki"}]}"#;
        for (source, expected) in [
            (r#"{"type":"loki","uid":"x"}"#, DatasourceKind::Loki),
            (r#"{"type":"prometheus"}"#, DatasourceKind::Prometheus),
            (r#""${DS_LOGS}""#, DatasourceKind::Loki),
            (r#"{"uid":"$logs"}"#, DatasourceKind::Loki),
            (r#"{"uid":"${ds}"}"#, DatasourceKind::Prometheus),
            (r#"{"uid":"${ds:raw}"}"#, DatasourceKind::Prometheus),
            (r#""My Loki""#, DatasourceKind::Loki),
            (r#""Unknown name""#, DatasourceKind::Prometheus),
            ("null", DatasourceKind::Prometheus),
            (r#"{"type":"mysql","uid":"m"}"#, DatasourceKind::Other("mysql".into())),
        ] {
            let json = format!(
                r#"{{{head},"panels":[{{"title":"p","datasource":{source},"targets":[{{"expr":"e"}}]}}]}}"#
            );
            let (dashboard, report) = normalise(&json).unwrap();
            assert_eq!(
                targets(&dashboard),
                [("p".into(), expected.clone(), "e".into())],
                "{source}"
            );
            let unsupported = matches!(expected, DatasourceKind::Other(_));
            assert_eq!(report.notes.len(), usize::from(unsupported), "{report:?}");
        }
    }

    #[test]
    fn the_source_of_a_target_wins_over_that_of_its_panel() {
        let json = r#"{"panels":[{"title":"p","datasource":{"uid":"-- Mixed --"},
            "targets":[{"expr":"a","datasource":{"type":"loki"}},{"expr":"b","datasource":{"type":"prometheus"}}]}]}"#;
        let kinds: Vec<_> =
            targets(&normalise(json).unwrap().0).into_iter().map(|(_, kind, _)| kind).collect();
        assert_eq!(kinds, [DatasourceKind::Loki, DatasourceKind::Prometheus]);
    }
}
