//! The router over an engine in a folder of its own, asked without a socket.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;
use vigie_engine::{Durability, Embedded, EmbeddedOptions, Engine};
use vigie_http::views::{
    ActiveView, AlertInstance, AlertRuleView, AlertView, DroppedTargets, GroupView,
    NotificationView, RuleView, RulerRefusal, RulerView, SaidBy, SaidOfMetric, Target, TargetView,
};
use vigie_http::{
    Hosts, Loaded, Loading, Metadata, Notices, Parts, Reload, ReloadRequests, Settings, State,
    router,
};
use vigie_model::{Labels, Row};

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn content_type(&self) -> &str {
        self.headers.get("content-type").map_or("", |value| value.to_str().unwrap())
    }

    /// A header's text, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

/// The main listener's router, and what keeps its folder.
pub struct House {
    router: Router,
    alertmanager: Router,
    engine: Arc<Embedded>,
    pub notices: Arc<Notices>,
    pub loading: Arc<Loading>,
    reloads: Mutex<Option<ReloadRequests>>,
    _folder: tempfile::TempDir,
}

impl House {
    pub fn new() -> House {
        House::with(Settings::default())
    }

    pub fn with(settings: Settings) -> House {
        House::build(settings, Loaded::default(), &["g"], false)
    }

    /// With a configuration.
    pub fn told(settings: Settings, loaded: Loaded) -> House {
        House::build(settings, loaded, &["g"], false)
    }

    /// With the features `st-storage` and `use-start-timestamps`.
    pub fn with_starts(settings: Settings) -> House {
        House::build(settings, Loaded::default(), &["g"], true)
    }

    /// With rule groups of these names.
    pub fn with_groups(groups: &'static [&'static str]) -> House {
        House::build(Settings::default(), Loaded::default(), groups, false)
    }

    fn build(
        settings: Settings,
        loaded: Loaded,
        groups: &'static [&'static str],
        starts: bool,
    ) -> House {
        let folder = tempfile::tempdir().unwrap();
        let week_ms = 7 * 86_400_000;
        let options = EmbeddedOptions {
            metrics_retention_ms: week_ms,
            logs_retention_ms: week_ms,
            starts,
            // Those of the server whose answers were recorded.
            features: vigie_promql::Features {
                type_and_unit_labels: false,
                start_timestamps: starts,
                ..vigie_promql::Features::ALL
            },
            ..Default::default()
        };
        let engine = Arc::new(Embedded::open(folder.path(), options).unwrap());
        let notices = Arc::new(Notices::default());
        let metadata = Arc::new(Metadata::default());
        metadata.learn("temperature", "gauge", "How warm it is.", "celsius");
        let (reload, reloads) = Reload::channel();
        let loading = Arc::new(Loading::new(loaded, 0));
        let state = State::new(Parts {
            loading: loading.clone(),
            reload,
            engine: engine.clone(),
            alerts: Arc::new(Views { groups }),
            ruler: Arc::new(Rules::default()),
            targets: Arc::new(Views { groups }),
            notices: notices.clone(),
            settings,
            metadata,
            dashboards: vec![
                vigie_dashboards::normalise(
                    r#"{"uid":"x","title":"A <b>","tags":["host"],"panels":[]}"#,
                )
                .unwrap()
                .0,
            ],
            started_at_ms: 0,
            retention_text: "30d".to_owned(),
            logs_retention_text: "7d".to_owned(),
            free_bytes: Box::new(|| 0),
            demo: false,
            hosts: Hosts::new(&[], None, false),
            own_metrics: Box::new(String::new),
        });
        let alertmanager = router::alertmanager(state.clone());
        let router = router::main(state);
        let reloads = Mutex::new(Some(reloads));
        House { router, alertmanager, engine, notices, loading, reloads, _folder: folder }
    }

    /// The engine behind the router.
    pub fn engine(&self) -> &Embedded {
        &self.engine
    }

    /// For a listener.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Stores one sample for each label set.
    pub fn store(&self, ts_ms: i64, samples: &[(&[(&str, &str)], f64)]) {
        for (labels, value) in samples {
            let id = self.engine.intern(&Labels::from_pairs(labels.iter().copied())).unwrap();
            let (series, values) = ([id], [*value]);
            let row = Row::floats(ts_ms, &series, &values);
            self.engine.append(&[row], Durability::Written).unwrap();
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    pub async fn form(&self, path: &str, body: &str) -> Answer {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        self.ask("POST", path, &form, body).await
    }

    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.send(method, path, headers, body.to_owned().into_bytes()).await
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        send_to(self.router.clone(), method, path, headers, body).await
    }

    /// Asks the port where Alertmanager was.
    pub async fn ask_alertmanager(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        send_to(self.alertmanager.clone(), method, path, headers, Vec::new()).await
    }

    /// Where requests to read the configuration anew arrive.
    pub fn reloads(&self) -> ReloadRequests {
        self.reloads.lock().unwrap().take().unwrap()
    }
}

async fn send_to(
    router: Router,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if headers.iter().all(|(name, _)| *name != "host") {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).unwrap();
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        bytes: body.to_vec(),
    }
}

/// `text` as a query parameter.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Groups with an alert and a recording rule each, one target.
struct Views {
    groups: &'static [&'static str],
}

impl AlertView for Views {
    fn groups(&self) -> Vec<GroupView> {
        let rule = |name: &str, alert: Option<AlertRuleView>| RuleView {
            name: name.to_owned(),
            expr: "up == 0".to_owned(),
            labels: Labels::from_pairs([("severity", "high")]),
            health: "ok",
            last_error: String::new(),
            // The recording rule has not been evaluated yet.
            last_evaluation_ms: if alert.is_some() { 1_000 } else { 0 },
            evaluation_ms: 2.5,
            alert,
        };
        let instance = AlertInstance {
            labels: Labels::from_pairs([("alertname", "Down")]),
            annotations: Labels::default(),
            state: "firing",
            active_at_ms: 1_000,
            keep_firing_since_ms: None,
            value: 0.0,
        };
        let alert = AlertRuleView {
            state: "firing",
            for_ms: 60_000,
            keep_firing_for_ms: 0,
            annotations: Labels::default(),
            alerts: vec![instance],
        };
        let group = |name: &&str| GroupView {
            // Groups of this name are Loki's.
            is_logql: *name == "logs",
            name: (*name).to_owned(),
            file: "f.yml".to_owned(),
            interval_ms: 15_000,
            limit: 0,
            last_evaluation_ms: 1_000,
            evaluation_ms: 5.0,
            rules: vec![rule("Down", Some(alert.clone())), rule("a:b", None)],
        };
        self.groups.iter().map(group).collect()
    }

    fn active(&self) -> Vec<ActiveView> {
        vec![ActiveView {
            labels: Labels::from_pairs([("alertname", "Down"), ("severity", "high")]),
            annotations: Labels::default(),
            fingerprint: "00000000000000aa".to_owned(),
            starts_at_ms: 1_000,
            ends_at_ms: 2_000,
            updated_at_ms: 1_500,
            receivers: vec!["team".to_owned()],
            generator_url: String::new(),
        }]
    }

    fn receivers(&self) -> Vec<String> {
        vec!["team".to_owned()]
    }

    fn notifications(&self, _: usize) -> Result<Vec<NotificationView>, String> {
        Ok(Vec::new())
    }
}

/// A ruler that keeps what it is sent.
#[derive(Default)]
struct Rules(Mutex<BTreeMap<(String, String), String>>);

impl RulerView for Rules {
    fn list(&self, namespace: Option<&str>, labels: &[(String, String)]) -> Option<String> {
        let known = self.0.lock().unwrap();
        let wanted = known.iter().filter(|((own, _), _)| namespace.is_none_or(|one| one == own));
        let texts: Vec<&str> = wanted.map(|(_, text)| text.as_str()).collect();
        (!texts.is_empty()).then(|| format!("{}{labels:?}", texts.join("+")))
    }

    fn group(&self, namespace: &str, name: &str) -> Option<String> {
        self.0.lock().unwrap().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn put(&self, namespace: &str, text: &str) -> Result<(), RulerRefusal> {
        let name = text.strip_prefix("name: ");
        let name =
            name.ok_or_else(|| RulerRefusal::Bad("unable to decoded rule group".to_owned()))?;
        self.0.lock().unwrap().insert((namespace.to_owned(), name.to_owned()), text.to_owned());
        Ok(())
    }

    fn remove(&self, namespace: &str, name: Option<&str>) -> Result<(), RulerRefusal> {
        let mut known = self.0.lock().unwrap();
        let before = known.len();
        known.retain(|(own, group), _| own != namespace || name.is_some_and(|one| one != group));
        match known.len() < before {
            true => Ok(()),
            false => Err(RulerRefusal::Missing("group does not exist".to_owned())),
        }
    }
}

impl TargetView for Views {
    fn list(&self) -> Vec<Target> {
        vec![Target {
            discovered_labels: Labels::default(),
            labels: Labels::from_pairs([("job", "node"), ("instance", "a:1")]),
            scrape_pool: "node".to_owned(),
            scrape_url: "http://a:1/metrics".to_owned(),
            last_error: String::new(),
            last_scrape_ms: 1_000,
            last_duration_ms: 2.0,
            health: "up",
            interval_ms: 15_000,
            timeout_ms: 10_000,
        }]
    }

    fn dropped(&self) -> Vec<DroppedTargets> {
        vec![DroppedTargets {
            scrape_pool: "node".to_owned(),
            discovered_labels: vec![Labels::from_pairs([("__address__", "b:1")])],
            count: 1,
        }]
    }

    fn said(&self) -> Vec<(Labels, SaidBy)> {
        let by = |instance: &str, names: &'static [&'static str]| {
            let said: SaidBy = Arc::new(move |wanted| {
                let named = names.iter().filter(|name| wanted.is_none_or(|one| one == **name));
                let of = |name: &&str| SaidOfMetric {
                    name: (*name).to_owned(),
                    kind: "gauge",
                    help: "A \"thing\".".to_owned(),
                    unit: String::new(),
                };
                named.map(of).collect()
            });
            (Labels::from_pairs([("job", "node"), ("instance", instance)]), said)
        };
        vec![by("a:1", &["x", "y"]), by("b:1", &["y"]), by("c:1", &[])]
    }
}
