//! What `/metrics` shows, under the names of the runbook, in Prometheus' text format.
//!
//! A registry of our own, without dependencies: a family is a name and a sorted map from label
//! values to a number or a histogram. The label `path` holds the pattern of a route, never the path
//! that a client sent, so that no client can make series.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

/// Upper bounds of the buckets, in seconds.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// All families of this program.
pub(crate) struct Metrics {
    requests: Numbers,
    durations: Histograms,
    errors: Numbers,
    connections_active: Numbers,
    query_durations: Histograms,
    users_created: Numbers,
    expenses_created: Numbers,
    expenses_validated: Numbers,
    payments: Numbers,
    payments_on_time: Numbers,
    active_users: Numbers,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let counter = |name, help, labels| Numbers::new(name, help, "counter", labels);
        let gauge = |name, help, labels| Numbers::new(name, help, "gauge", labels);
        let metrics = Metrics {
            requests: counter(
                "http_requests_total",
                "Requests answered.",
                &["method", "path", "status"],
            ),
            durations: Histograms::new(
                "http_request_duration_seconds",
                "Time to answer a request.",
                &["method", "path"],
            ),
            errors: counter(
                "http_requests_errors_total",
                "Requests answered with a server error.",
                &["status"],
            ),
            connections_active: gauge(
                "db_connections_active",
                "Connections to PostgreSQL in use.",
                &[],
            ),
            query_durations: Histograms::new(
                "db_query_duration_seconds",
                "Time that PostgreSQL took for a query.",
                &[],
            ),
            users_created: counter("koprogo_users_created_total", "Accounts created.", &[]),
            expenses_created: counter("koprogo_expenses_created_total", "Expenses entered.", &[]),
            expenses_validated: counter(
                "koprogo_expenses_validated_total",
                "Expenses validated by the syndic.",
                &[],
            ),
            payments: counter("koprogo_payments_total", "Payments received.", &[]),
            payments_on_time: counter(
                "koprogo_payments_on_time_total",
                "Payments received before they were due.",
                &[],
            ),
            active_users: gauge(
                "koprogo_active_users",
                "Distinct people who signed in during the window.",
                &["window"],
            ),
        };
        metrics.start_at_zero();
        metrics
    }

    /// A counter that appears with its first event hides that event from `rate`: start all at zero.
    fn start_at_zero(&self) {
        for family in [
            &self.connections_active,
            &self.users_created,
            &self.expenses_created,
            &self.expenses_validated,
            &self.payments,
            &self.payments_on_time,
        ] {
            family.add(&[], 0.0);
        }
        self.errors.add(&["500"], 0.0);
        self.errors.add(&["503"], 0.0);
    }

    pub(crate) fn request(&self, method: &str, path: &str, status: u16, took: Duration) {
        let status_text = status.to_string();
        self.requests.add(&[method, path, &status_text], 1.0);
        self.durations.observe(&[method, path], took);
        if status >= 500 {
            self.errors.add(&[&status_text], 1.0);
        }
    }

    pub(crate) fn connections(&self, change: i8) {
        self.connections_active.add(&[], f64::from(change));
    }

    pub(crate) fn query(&self, took: Duration) {
        self.query_durations.observe(&[], took);
    }

    pub(crate) fn user_created(&self) {
        self.users_created.add(&[], 1.0);
    }

    pub(crate) fn expense_created(&self) {
        self.expenses_created.add(&[], 1.0);
    }

    pub(crate) fn expense_validated(&self) {
        self.expenses_validated.add(&[], 1.0);
    }

    pub(crate) fn payment(&self, on_time: bool) {
        self.payments.add(&[], 1.0);
        self.payments_on_time.add(&[], if on_time { 1.0 } else { 0.0 });
    }

    pub(crate) fn active_users(&self, day: i64, month: i64) {
        self.active_users.set(&["day"], day as f64);
        self.active_users.set(&["month"], month as f64);
    }

    /// The whole page.
    pub(crate) fn render(&self) -> String {
        let mut page = String::with_capacity(16 * 1024);
        self.requests.render(&mut page);
        self.durations.render(&mut page);
        self.errors.render(&mut page);
        self.connections_active.render(&mut page);
        self.query_durations.render(&mut page);
        self.users_created.render(&mut page);
        self.expenses_created.render(&mut page);
        self.expenses_validated.render(&mut page);
        self.payments.render(&mut page);
        self.payments_on_time.render(&mut page);
        self.active_users.render(&mut page);
        page
    }
}

type Series<V> = Mutex<BTreeMap<Vec<String>, V>>;

/// Changes the value of one series, made when it is new.
fn change<V: Default>(series: &Series<V>, labels: &[&str], update: impl FnOnce(&mut V)) {
    let key = labels.iter().map(|&label| label.to_owned()).collect();
    let mut series = series.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    update(series.entry(key).or_default());
}

/// A family of counters or gauges.
struct Numbers {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    series: Series<f64>,
}

impl Numbers {
    fn new(
        name: &'static str,
        help: &'static str,
        kind: &'static str,
        labels: &'static [&'static str],
    ) -> Self {
        Numbers { name, help, kind, labels, series: Series::default() }
    }

    fn add(&self, labels: &[&str], amount: f64) {
        change(&self.series, labels, |value| *value += amount);
    }

    fn set(&self, labels: &[&str], amount: f64) {
        change(&self.series, labels, |value| *value = amount);
    }

    fn render(&self, page: &mut String) {
        header(page, self.name, self.help, self.kind);
        let series = self.series.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (values, value) in series.iter() {
            line(page, self.name, "", &label_text(self.labels, values, None), *value);
        }
    }
}

/// A histogram: the count of each bucket, the last one for what is above all bounds.
#[derive(Default)]
struct Histogram {
    counts: [u64; BUCKETS.len() + 1],
    sum: f64,
}

/// A family of histograms.
struct Histograms {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    series: Series<Histogram>,
}

impl Histograms {
    fn new(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Histograms { name, help, labels, series: Series::default() }
    }

    fn observe(&self, labels: &[&str], took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|&bound| seconds <= bound).unwrap_or(BUCKETS.len());
        change(&self.series, labels, |histogram| {
            histogram.counts[bucket] += 1;
            histogram.sum += seconds;
        });
    }

    fn render(&self, page: &mut String) {
        header(page, self.name, self.help, "histogram");
        let series = self.series.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (values, histogram) in series.iter() {
            let bounds = BUCKETS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            let mut below = 0;
            for (bound, count) in bounds.zip(histogram.counts) {
                below += count;
                let labels = label_text(self.labels, values, Some(&bound));
                line(page, self.name, "_bucket", &labels, below as f64);
            }
            let labels = label_text(self.labels, values, None);
            line(page, self.name, "_sum", &labels, histogram.sum);
            line(page, self.name, "_count", &labels, below as f64);
        }
    }
}

// Writing to a `String` cannot fail, hence the ignored results below.

fn header(page: &mut String, name: &str, help: &str, kind: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(page: &mut String, name: &str, suffix: &str, labels: &str, value: f64) {
    let _ = writeln!(page, "{name}{suffix}{labels} {value}");
}

fn label_text(names: &[&str], values: &[String], bound: Option<&str>) -> String {
    let own = names.iter().copied().zip(values.iter().map(String::as_str));
    let pairs: Vec<String> = own
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_the_names_of_the_runbook() {
        let metrics = Metrics::new();
        metrics.request("GET", "/api/v1/buildings", 200, Duration::from_millis(7));
        metrics.request("GET", "/api/v1/buildings", 500, Duration::from_secs(60));
        metrics.query(Duration::from_millis(5));
        metrics.connections(1);
        metrics.payment(false);
        metrics.active_users(3, 9);
        let page = metrics.render();
        for expected in [
            "http_requests_total{method=\"GET\",path=\"/api/v1/buildings\",status=\"200\"} 1\n",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"/api/v1/buildings\",le=\"0.005\"} 0\n",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"/api/v1/buildings\",le=\"0.01\"} 1\n",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"/api/v1/buildings\",le=\"10\"} 1\n",
            "http_request_duration_seconds_bucket{method=\"GET\",path=\"/api/v1/buildings\",le=\"+Inf\"} 2\n",
            "http_request_duration_seconds_count{method=\"GET\",path=\"/api/v1/buildings\"} 2\n",
            "http_requests_errors_total{status=\"500\"} 1\n",
            "db_connections_active 1\n",
            "db_query_duration_seconds_bucket{le=\"0.005\"} 1\n",
            "db_query_duration_seconds_sum 0.005\n",
            "koprogo_payments_total 1\n",
            "koprogo_payments_on_time_total 0\n",
            "koprogo_users_created_total 0\n",
            "koprogo_active_users{window=\"month\"} 9\n",
            "# TYPE db_query_duration_seconds histogram\n",
        ] {
            assert!(page.contains(expected), "{expected:?} is missing in\n{page}");
        }
        assert!(page.ends_with('\n'));
    }

    #[test]
    fn label_values_are_escaped() {
        let text = label_text(&["path"], &["a\"b\\c\nd".to_owned()], None);
        assert_eq!(text, r#"{path="a\"b\\c\nd"}"#);
    }
}
