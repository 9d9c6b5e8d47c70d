//! Whole targets against a small HTTP server on loopback.

use super::*;
use crate::scrape::testing::{Memory, Page, serve};
use crate::scrape::testing_job;
use std::time::{Duration, Instant};

fn fast(name: &str, port: u16) -> ScrapeJob {
    let mut job = testing_job(name, &[&format!("127.0.0.1:{port}")]);
    (job.interval_ms, job.timeout_ms) = (40, 30);
    job
}

fn start(jobs: Vec<ScrapeJob>, options: Options) -> (CollectHandle, Arc<Memory>) {
    let sink = Arc::new(Memory::default());
    let store = Arc::clone(&sink) as Arc<dyn MetricSink>;
    (Collect::start(jobs, vec![], store, Arc::new(HttpClient::new()), options), sink)
}

/// Polls until `done`, or fails after ten seconds.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn has(sink: &Memory, sample: &str) -> bool {
    sink.history(sample).iter().any(|text| text == sample)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_every_kind_end_in_up_or_in_a_reason() {
    for (page, wanted) in [
        (Page::text(500, "a 1\n"), "server returned HTTP status 500 Internal Server Error"),
        (Page::text(200, "a oh\n"), "strconv.ParseFloat: parsing \"oh\": invalid syntax"),
        (Page::hang(), "context deadline exceeded"),
        (Page::typed("", "a 1\n"), "non-compliant scrape target sending blank Content-Type"),
        (Page::typed("text/html", "a 1\n"), "received unsupported Content-Type \"text/html\""),
        (Page::typed("application/openmetrics-text", "a 1\n"), "data does not end with # EOF"),
    ] {
        let server = serve(page).await;
        let (handle, sink) = start(vec![fast("j", server.port)], Options::default());
        let down = format!("up{{instance=\"127.0.0.1:{}\",job=\"j\"}} 0", server.port);
        until(wanted, || has(&sink, &down) && handle.targets()[0].last_scrape_ms > 0).await;
        let status = handle.targets().remove(0);
        assert!(status.last_error.contains(wanted), "{}", status.last_error);
        assert_eq!(status.health, Health::Down);
        handle.stop().await;
    }
    let (handle, _) = start(vec![fast("j", 1)], Options::default());
    until("refused", || handle.targets()[0].health == Health::Down).await;
    let error = handle.targets().remove(0).last_error;
    let wanted =
        "Get \"http://127.0.0.1:1/metrics\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(error, wanted);
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_dies_goes_stale_and_comes_back() {
    let server = serve(Page::text(200, "a 1\n")).await;
    let (handle, sink) = start(vec![fast("j", server.port)], Options::default());
    let labels = format!("{{instance=\"127.0.0.1:{}\",job=\"j\"}}", server.port);
    until("up", || has(&sink, &format!("up{labels} 1"))).await;
    server.set(Page::text(503, ""));
    until("down", || has(&sink, &format!("up{labels} 0"))).await;
    assert!(has(&sink, &format!("a{labels} stale")));
    server.set(Page::text(200, "a 7\n"));
    until("back", || has(&sink, &format!("a{labels} 7"))).await;
    until("listed as up", || handle.targets()[0].health == Health::Up).await;
    handle.reload(vec![]);
    assert!(handle.targets().is_empty());
    until("removed", || has(&sink, &format!("up{labels} stale"))).await;
    let instants = sink.instants();
    assert!(instants.windows(2).all(|two| two[0] < two[1]), "{instants:?}");
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_is_only_looked_for_is_none_until_it_answers_and_then_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let seen_path = Some(directory.path().join("seen.json"));
    let options = Options { seen_path, ..Options::default() };
    let server = serve(Page::typed("text/html", "<html>someone else</html>")).await;
    let mut job = fast("koprogo-api", server.port);
    job.when_seen = true;
    let (handle, sink) = start(vec![job.clone()], options.clone());
    until("three fetches", || server.served() >= 3).await;
    assert!(handle.targets().is_empty() && sink.instants().is_empty());
    server.set(Page::typed("", "a 1\n"));
    until("seen", || handle.targets().len() == 1 && !sink.history("up").is_empty()).await;
    handle.stop().await;

    server.set(Page::text(500, ""));
    let (handle, sink) = start(vec![job], options);
    assert_eq!(handle.targets().len(), 1, "it is remembered");
    until("its death is seen", || sink.history("up").iter().any(|text| text.ends_with(" 0"))).await;
    handle.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_what_stays_and_applies_what_changed() {
    let server = serve(Page::text(200, "a 1\nb 2\n")).await;
    let mut job = fast("j", server.port);
    let (handle, sink) = start(vec![job.clone()], Options::default());
    until("up", || !sink.history("b").is_empty()).await;
    job.sample_limit = 1;
    handle.reload(vec![job.clone(), fast("k", server.port)]);
    until("limit", || handle.targets()[0].last_error == "sample limit exceeded").await;
    until("second job", || handle.targets()[1].health == Health::Up).await;
    assert_eq!(handle.targets()[1].scrape_pool, "k");
    job.sample_limit = 0;
    job.body_size_bytes_max = 3;
    handle.reload(vec![job]);
    until("body", || handle.targets()[0].last_error == "body size limit exceeded").await;
    handle.stop().await;
    let count = sink.instants().len();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(sink.instants().len(), count, "nothing is written after the stop");
}

struct Clock;

impl Collector for Clock {
    fn job(&self) -> &str {
        "vigie"
    }
    fn instance(&self) -> &str {
        "here"
    }
    fn interval_ms(&self) -> i64 {
        40
    }
    fn collect(&self) -> crate::collector::Collecting<'_> {
        use vigie_codec::exposition::{Family, MetricKind};
        let families = vec![Family::single("vigie_ticks", "t", MetricKind::Gauge, 3.0)];
        Box::pin(async move { crate::Collected { families, error: None } })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_built_in_collector_is_a_target_like_any_other() {
    let sink = Arc::new(Memory::default());
    let store = Arc::clone(&sink) as Arc<dyn MetricSink>;
    let client = Arc::new(HttpClient::new());
    let handle = Collect::start(vec![], vec![Arc::new(Clock)], store, client, Options::default());
    until("up", || has(&sink, r#"up{instance="here",job="vigie"} 1"#)).await;
    assert!(has(&sink, r#"vigie_ticks{instance="here",job="vigie"} 3"#));
    assert_eq!(handle.targets()[0].scrape_url, "vigie:vigie");
    handle.stop().await;
}
