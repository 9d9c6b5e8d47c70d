//! For tests: a store that keeps rows as text, a job, and an HTTP server with one page.

use crate::MetricSink;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vigie_codec::exposition::MetricKind;
use vigie_config::http_client::HttpClientConfig;
use vigie_config::scrape::{ScrapeJob, ScrapeProtocol, StaticTargets};
use vigie_model::{Exemplar, Labels, Row, SeriesId, is_absent, is_stale};

type StoredRow = (i64, Vec<(SeriesId, f64)>);

#[derive(Default)]
pub(crate) struct Memory {
    ids: Mutex<(HashMap<Labels, SeriesId>, Vec<String>, usize)>,
    rows: Mutex<Vec<StoredRow>>,
    pub(crate) metadata: Mutex<Vec<String>>,
    /// Native histograms and exemplars, as text.
    pub(crate) natives: Mutex<Vec<String>>,
    /// Whether start timestamps are stored.
    pub(crate) wants_starts: AtomicBool,
    pub(crate) starts: Mutex<Vec<String>>,
    pub(crate) exemplars: Mutex<Vec<String>>,
    /// Whether the disk is full.
    pub(crate) refuse: AtomicBool,
}

impl Memory {
    /// How often an id was asked for.
    pub(crate) fn interned(&self) -> usize {
        self.ids.lock().unwrap().2
    }

    /// The samples at `ts_ms`, sorted, as text.
    pub(crate) fn row(&self, ts_ms: i64) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        let mut samples: Vec<String> = rows
            .iter()
            .filter(|(ts, _)| *ts == ts_ms)
            .flat_map(|(_, samples)| samples.iter().map(|(id, value)| self.text(*id, *value)))
            .collect();
        samples.sort();
        samples
    }

    /// The instants of all rows, in the order in which they came.
    pub(crate) fn instants(&self) -> Vec<i64> {
        self.rows.lock().unwrap().iter().map(|(ts_ms, _)| *ts_ms).collect()
    }

    /// All samples whose text starts so, in the order in which they came.
    pub(crate) fn history(&self, prefix: &str) -> Vec<String> {
        let rows = self.rows.lock().unwrap();
        rows.iter()
            .flat_map(|(_, samples)| samples.iter().map(|(id, value)| self.text(*id, *value)))
            .filter(|text| text.starts_with(prefix))
            .collect()
    }

    fn text(&self, id: SeriesId, value: f64) -> String {
        let name = &self.ids.lock().unwrap().1[id.0 as usize];
        if is_stale(value) { format!("{name} stale") } else { format!("{name} {value}") }
    }
}

impl MetricSink for Memory {
    fn intern(&self, labels: &Labels) -> Result<SeriesId, String> {
        let mut ids = self.ids.lock().unwrap();
        ids.2 += 1;
        if let Some(id) = ids.0.get(labels) {
            return Ok(*id);
        }
        let id = SeriesId(u32::try_from(ids.1.len()).unwrap());
        let pairs: Vec<String> = labels
            .iter()
            .filter(|label| &*label.name != "__name__")
            .map(|label| format!("{}={:?}", label.name, label.value))
            .collect();
        ids.1.push(format!("{}{{{}}}", labels.metric_name().unwrap(), pairs.join(",")));
        ids.0.insert(labels.clone(), id);
        Ok(id)
    }

    fn append(&self, rows: &[Row<'_>]) -> Result<(), String> {
        if self.refuse.load(Ordering::Acquire) {
            return Err("no space left on device".to_owned());
        }
        for row in rows {
            let mut ids = row.series.to_vec();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), row.series.len(), "each series stands in a row at most once");
            for (at, histogram) in row.histograms {
                assert!(is_absent(row.values[*at]), "a float or a histogram");
                let name = self.text(row.series[*at], histogram.sum);
                self.natives.lock().unwrap().push(format!("{name} @{}", row.ts_ms));
            }
            let samples = row.series.iter().copied().zip(row.values.iter().copied());
            let samples = samples.filter(|(_, value)| !is_absent(*value)).collect();
            self.rows.lock().unwrap().push((row.ts_ms, samples));
        }
        Ok(())
    }

    fn wants_starts(&self) -> bool {
        self.wants_starts.load(Ordering::Acquire)
    }

    fn starts(&self, starts: &[(SeriesId, i64, i64)]) -> Result<(), String> {
        let text = |(id, ts_ms, start_ms): &(SeriesId, i64, i64)| {
            format!("{} @{ts_ms}", self.text(*id, *start_ms as f64))
        };
        self.starts.lock().unwrap().extend(starts.iter().map(text));
        Ok(())
    }

    fn exemplars(&self, exemplars: &[(SeriesId, Exemplar)]) -> Result<(), String> {
        for (id, exemplar) in exemplars {
            let text = format!("{} {} @{}", self.text(*id, 0.0), exemplar.labels, exemplar.ts_ms);
            self.exemplars.lock().unwrap().push(text);
        }
        Ok(())
    }

    fn metadata(&self, name: &str, kind: MetricKind, help: &str, unit: &str) {
        self.metadata.lock().unwrap().push(format!("{name} {} {help} {unit}", kind.as_str()));
    }
}

/// A job with sensible values for tests.
pub(crate) fn testing_job(name: &str, targets: &[&str]) -> ScrapeJob {
    ScrapeJob {
        job_name: name.to_owned(),
        interval_ms: 1000,
        timeout_ms: 1000,
        metrics_path: "/metrics".to_owned(),
        scheme: "http".to_owned(),
        params: vec![],
        honor_labels: false,
        honor_timestamps: true,
        static_targets: vec![StaticTargets {
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            labels: Labels::default(),
        }],
        relabel: vec![],
        metric_relabel: vec![],
        http: HttpClientConfig::default(),
        sample_limit: 0,
        body_size_bytes_max: 0,
        protocols: ScrapeProtocol::defaults(false),
        protocols_written: false,
        fallback_protocol: None,
        native_histograms: false,
        classic_histograms: false,
        when_seen: false,
    }
}

/// What the test server answers.
#[derive(Clone)]
pub(crate) struct Page(Option<String>);

impl Page {
    pub(crate) fn text(status: u16, body: &str) -> Page {
        Page::answer(status, "text/plain; version=0.0.4", body)
    }

    pub(crate) fn typed(content_type: &str, body: &str) -> Page {
        Page::answer(200, content_type, body)
    }

    /// Takes the request and says nothing.
    pub(crate) fn hang() -> Page {
        Page(None)
    }

    fn answer(status: u16, content_type: &str, body: &str) -> Page {
        let kind = match content_type {
            "" => String::new(),
            kind => format!("content-type: {kind}\r\n"),
        };
        let length = body.len();
        Page(Some(format!("HTTP/1.1 {status} X\r\n{kind}content-length: {length}\r\n\r\n{body}")))
    }
}

/// A server that answers every request with the page that was set last.
pub(crate) struct Server {
    pub(crate) port: u16,
    page: Arc<Mutex<Page>>,
    served: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn set(&self, page: Page) {
        *self.page.lock().unwrap() = page;
    }

    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::Acquire)
    }
}

pub(crate) async fn serve(page: Page) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server =
        Server { port, page: Arc::new(Mutex::new(page)), served: Arc::new(AtomicUsize::new(0)) };
    let (page, served) = (Arc::clone(&server.page), Arc::clone(&server.served));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_all(stream, Arc::clone(&page), Arc::clone(&served)));
        }
    });
    server
}

async fn answer_all(
    mut stream: tokio::net::TcpStream,
    page: Arc<Mutex<Page>>,
    served: Arc<AtomicUsize>,
) {
    let mut request = Vec::new();
    let mut buffer = [0u8; 2048];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            let Page(answer) = page.lock().unwrap().clone();
            served.fetch_add(1, Ordering::AcqRel);
            match answer {
                Some(answer) if stream.write_all(answer.as_bytes()).await.is_ok() => {}
                Some(_) => return,
                None => std::future::pending().await,
            }
        }
    }
}
