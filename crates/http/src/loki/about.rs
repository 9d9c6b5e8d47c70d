//! What clients ask of Loki itself rather than of its lines: how a query is written, what it allows,
//! which services run.

use crate::json::Json;
use crate::params::Params;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use vigie_model::limits::{
    LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_PER_SERIES_MAX, LINE_BYTES_MAX,
    LOG_ENTRIES_PER_QUERY_MAX, QUERY_TIMEOUT_MS,
};

/// `/loki/api/v1/format_query`.
pub async fn format_query(params: Params) -> Response {
    let json_kind = [(CONTENT_TYPE, "application/json; charset=utf-8")];
    let mut json = Json::default();
    match vigie_logql::parse(params.get("query").unwrap_or("")) {
        Ok(expr) => {
            json.raw(r#"{"status":"success","data":"#);
            json.text(&vigie_logql::pretty(&expr)).raw("}");
            (json_kind, json.into_bytes()).into_response()
        }
        Err(error) => {
            json.raw(r#"{"status":"invalid-query","error":"#).text(&error.to_string()).raw("}");
            (StatusCode::BAD_REQUEST, json_kind, json.into_bytes()).into_response()
        }
    }
}

/// `/loki/api/v1/drilldown-limits`: what Grafana's Logs Drilldown may ask for.
pub async fn drilldown_limits() -> Response {
    let timeout_s = QUERY_TIMEOUT_MS / 1000;
    let body = format!(
        r#"{{"limits":{{"discover_log_levels":true,"discover_service_name":["service","app","application","app_name","name","app_kubernetes_io_name","container","container_name","k8s_container_name","component","workload","job","k8s_job_name"],"log_level_fields":["level"],"max_entries_limit_per_query":{LOG_ENTRIES_PER_QUERY_MAX},"max_line_size_truncate":false,"max_query_bytes_read":"0B","max_query_length":"0s","max_query_lookback":"0s","max_query_range":"0s","max_query_series":0,"metric_aggregation_enabled":false,"otlp_config":{{}},"pattern_persistence_enabled":true,"query_timeout":"{timeout_s}s","retention_period":"0s","volume_enabled":true,"volume_max_series":1000}},"pattern_ingester_enabled":true,"version":"{}"}}"#,
        crate::LOKI_VERSION
    );
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// `/services`: the parts of a Loki, all in this process.
pub async fn services() -> Response {
    let names = [
        "server",
        "distributor",
        "ingester",
        "store",
        "querier",
        "query-frontend",
        "compactor",
        "pattern-ingester",
    ];
    let text: String = names.iter().map(|name| format!("{name} => Running\n")).collect();
    plain(StatusCode::OK, text)
}

/// `/config`: the limits that Loki's users look up there.
pub async fn config() -> Response {
    let text = format!(
        "# Vigie, as Loki writes its configuration: the limits of lines and questions.\n\
         auth_enabled: false\n\
         limits_config:\n  \
           discover_log_levels: true\n  \
           max_label_name_length: {LABEL_NAME_BYTES_MAX}\n  \
           max_label_value_length: {LABEL_VALUE_BYTES_MAX}\n  \
           max_label_names_per_series: {LABELS_PER_SERIES_MAX}\n  \
           max_line_size: {LINE_BYTES_MAX}\n  \
           max_entries_limit_per_query: {LOG_ENTRIES_PER_QUERY_MAX}\n  \
           query_timeout: {}s\n",
        QUERY_TIMEOUT_MS / 1000
    );
    plain(StatusCode::OK, text)
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text.into()).into_response()
}
