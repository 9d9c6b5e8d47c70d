//! The requests of Grafana's Prometheus data source and of its alert pages, byte for byte as Grafana
//! sends them, to a running Vigie: the health check, the editor, panels, the fall back from POST to
//! GET, and the probes that must fail.

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]

use serde_json::{Value, json};
use vigie_scenarios::http::exchange;
use vigie_scenarios::push::{Pushed, push};
use vigie_scenarios::{Answer, Vigie, now_ns};

const CONFIG: &str = "\
web: {classic_ports: false}
logs: {scrape_configs: []}
metrics:
  host: false
  global: {scrape_interval: 1s, evaluation_interval: 1s}
  scrape_configs: []
  rule_files: [rules.yml]
";
const RULES: &str = "\
groups:
- name: g
  rules:
  - alert: Always
    expr: vector(1) > 0
    labels: {severity: low}
  - {record: 'job:up:sum', expr: sum by (job) (up)}
";
/// What Grafana puts on every request to a data source.
const HEADERS: [(&str, &str); 4] = [
    ("user-agent", "Grafana/12.1.0"),
    ("accept-encoding", "identity"),
    ("x-grafana-org-id", "1"),
    ("x-scope-orgid", "1"),
];
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

struct Grafana(u16);

impl Grafana {
    fn get(&self, path: &str) -> Answer {
        exchange(self.0, "GET", path, &HEADERS, &[]).unwrap()
    }

    fn post(&self, path: &str, form: &str) -> Answer {
        let headers = [&HEADERS[..], &[FORM]].concat();
        exchange(self.0, "POST", path, &headers, form.as_bytes()).unwrap()
    }

    /// `data` of a success.
    fn data(&self, path: &str) -> Value {
        data(path, &self.get(path))
    }
}

fn data(path: &str, answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let json = answer.json();
    assert_eq!(json["status"], "success", "{path}: {json}");
    json["data"].clone()
}

#[test]
fn grafana_is_answered_as_by_the_originals() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("vigie.yml"), CONFIG).unwrap();
    std::fs::write(home.path().join("rules.yml"), RULES).unwrap();
    let config = format!("--config.file={}", home.path().join("vigie.yml").display());
    let data_dir = format!("--storage.path={}", home.path().join("data").display());
    let vigie = Vigie::start(home.path(), &[&config, &data_dir]);
    let now_ms = now_ns() / 1_000_000;
    let labels = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let samples: Vec<(i64, f64)> =
        (0..20).map(|at| (now_ms - 300_000 + at * 15_000, at as f64)).collect();
    let series = [
        (&[("__name__", "up"), ("job", "shop"), ("instance", "a:1")][..]),
        (&[("__name__", "orders_total"), ("job", "shop"), ("region.name", "Île")][..]),
    ];
    let series = series.map(|pairs| Pushed { labels: labels(pairs), samples: samples.clone() });
    push(vigie.port, &series, 600_000);
    let grafana = Grafana(vigie.port);
    health(&grafana);
    editor(&grafana, now_ms);
    panels(&grafana, now_ms);
    alert_pages(&grafana, &vigie);
}

/// "Save & test".
fn health(grafana: &Grafana) {
    let answer = grafana.post("/api/v1/query", "query=1%2B1&time=4");
    let two = json!({"resultType": "scalar", "result": [4, "2"]});
    assert_eq!(data("1+1", &answer), two);
    let build = grafana.data("/api/v1/status/buildinfo");
    assert!(build["version"].as_str().unwrap().starts_with("3."), "{build}");
    assert!(build.get("features").is_none(), "Grafana would take us for Mimir");
    // Thanos has flags that Prometheus has not; a ruler answers where Prometheus does not.
    let flags = grafana.data("/api/v1/status/flags");
    assert!(flags.is_object() && flags.get("query.promql-engine").is_none(), "{flags}");
    for probe in [
        "/api/v1/rules/test/test",
        "/config/v1/rules",
        "/prometheus/config/v1/rules/x",
        "/alertmanager/alertmanager/api/v2/status",
    ] {
        let answer = grafana.get(probe);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, "404 page not found\n"),
            "{probe}"
        );
    }
}

/// The query editor: names, values, help.
fn editor(grafana: &Grafana, now_ms: i64) {
    let (start, end) = (now_ms / 1000 - 3_600, now_ms / 1000);
    let window = format!("start={start}&end={end}");
    let answer = grafana.post("/api/v1/labels", &format!("{window}&limit=40000"));
    let names = data("labels", &answer);
    assert!(names.as_array().unwrap().contains(&json!("region.name")), "{names}");
    let shop = "match%5B%5D=%7Bjob%3D%22shop%22%7D";
    for (path, values) in [
        (format!("__name__/values?{window}&{shop}&limit=40000"), json!(["orders_total", "up"])),
        (format!("job/values?{window}&{shop}"), json!(["shop"])),
        (format!("U__region_2e_name/values?{window}"), json!(["Île"])),
    ] {
        assert_eq!(grafana.data(&format!("/api/v1/label/{path}")), values, "{path}");
    }
    // Values of a label are asked for with GET only; POST is answered 405, and Grafana tries GET.
    assert_eq!(grafana.post("/api/v1/label/job/values", &window).status, 405);
    let form = format!("match%5B%5D=up%7Bjob%3D%22shop%22%7D&{window}&limit=1");
    let found = data("series", &grafana.post("/api/v1/series", &form));
    assert_eq!(found, json!([{"__name__": "up", "instance": "a:1", "job": "shop"}]));
    let metadata = grafana.data("/api/v1/metadata?limit=5000");
    assert!(metadata.is_object(), "{metadata}");
}

/// Panels: a range, an instant, exemplars, and a wrong query.
fn panels(grafana: &Grafana, now_ms: i64) {
    let end_s = (now_ms - 60_000) as f64 / 1000.0;
    let (start, end) = (end_s - 120.0, end_s);
    let query = "sum+by+%28job%29+%28rate%28orders_total%5B2m0s%5D%29%29";
    let form = format!("query={query}&start={start:.3}&end={end:.3}&step=15&timeout=60s");
    let range = data("query_range", &grafana.post("/api/v1/query_range", &form));
    assert_eq!(range["resultType"], "matrix");
    assert_eq!(range["result"][0]["metric"], json!({"job": "shop"}));
    assert_eq!(range["result"][0]["values"].as_array().unwrap().len(), 9, "{range}");
    let same = data("query_range", &grafana.get(&format!("/api/v1/query_range?{form}")));
    assert_eq!(same, range, "GET and POST are one");
    let instant =
        grafana.post("/api/v1/query", &format!("query=up%7Bjob%3D%22shop%22%7D&time={end:.3}"));
    assert_eq!(data("query", &instant)["result"][0]["metric"]["__name__"], "up");
    let exemplars = format!("query=orders_total&start={start:.3}&end={end:.3}");
    assert!(data("exemplars", &grafana.post("/api/v1/query_exemplars", &exemplars)).is_array());
    // 400 on a POST makes Grafana ask again with GET; what it shows are these words.
    for answer in
        [grafana.post("/api/v1/query", "query=up%7B"), grafana.get("/api/v1/query?query=up%7B")]
    {
        let words =
            "invalid parameter \"query\": 1:4: parse error: unexpected end of input inside braces";
        let wanted = json!({"status": "error", "errorType": "bad_data", "error": words});
        assert_eq!((answer.status, answer.json()), (400, wanted));
    }
}

/// The list of alerts and the rules.
fn alert_pages(grafana: &Grafana, vigie: &Vigie) {
    vigie_scenarios::wait_for("the alert", 30, || {
        (vigie.alert_state("Always") == "firing").then_some(())
    });
    let rules = grafana.data("/api/v1/rules");
    let groups = rules["groups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["name"] == "g").unwrap();
    assert!(group["file"].as_str().unwrap().ends_with("rules.yml"), "{group}");
    let alert = &group["rules"][0];
    for name in ["state", "health", "query", "alerts", "duration", "annotations", "labels", "type"]
    {
        assert!(!alert[name].is_null(), "{name} is missing: {alert}");
    }
    let alerts = grafana.data("/api/v1/alerts");
    let names: Vec<&Value> = alerts["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["labels"]["alertname"])
        .collect();
    assert!(names.contains(&&json!("Always")), "{alerts}");
}
