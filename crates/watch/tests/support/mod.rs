//! A receiver on loopback that answers as told, an engine that answers as told, and a short runbook.

#![allow(dead_code, reason = "each scenario uses its part")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vigie_config::alerting::{Alerting, Integration, IntegrationKind, Receiver, Route};
use vigie_config::http_client::{HttpClientConfig, Secret};
use vigie_config::rules::{QueryLanguage, Rule, RuleGroup, RuleKind};
use vigie_ledger::Ledger;
use vigie_model::{Labels, Matcher};
use vigie_net::HttpClient;
use vigie_watch::{
    Connections, RuleEvaluator, SampleSink, SystemClock, Watch, WatchConfig, WatchHandle,
};

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub body: String,
    pub at: Instant,
}

/// What the receiver does with the next requests; afterwards it answers 202.
pub enum Reply {
    Status(u16, &'static str),
    /// Takes the request and never answers.
    Silence,
}

/// An HTTP server that writes down what it is sent.
pub struct ReceiverServer {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    stop: Arc<AtomicBool>,
}

impl ReceiverServer {
    pub fn start(replies: Vec<Reply>) -> ReceiverServer {
        ReceiverServer::on("127.0.0.1:0".parse().unwrap(), replies)
    }

    /// Listens on an address that may have been used a moment ago.
    pub fn on(address: SocketAddr, replies: Vec<Reply>) -> ReceiverServer {
        let listener = TcpListener::bind(address).unwrap();
        let server = ReceiverServer {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            replies: Arc::new(Mutex::new(replies.into())),
            stop: Arc::default(),
        };
        let (received, replies, stop) =
            (server.received.clone(), server.replies.clone(), server.stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (received, replies) = (received.clone(), replies.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &received, &replies));
            }
        });
        server
    }

    /// The requests so far to a path, oldest first.
    pub fn to(&self, path: &str) -> Vec<Received> {
        let received = self.received.lock().unwrap();
        received.iter().filter(|one| one.path == path).cloned().collect()
    }
}

impl Drop for ReceiverServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which sees the flag.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    mut stream: TcpStream,
    received: &Mutex<Vec<Received>>,
    replies: &Mutex<VecDeque<Reply>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let body = String::from_utf8(body).ok()?;
    let reply = replies.lock().unwrap().pop_front().unwrap_or(Reply::Status(202, ""));
    received.lock().unwrap().push(Received { path, body, at: Instant::now() });
    match reply {
        Reply::Silence => {
            // Until the client goes away.
            let _ = reader.read(&mut [0]);
        }
        Reply::Status(status, headers) => {
            let answer = format!(
                "HTTP/1.1 {status} X\r\n{headers}Content-Length: 2\r\nConnection: close\r\n\r\nok"
            );
            stream.write_all(answer.as_bytes()).ok()?;
        }
    }
    Some(())
}

/// An engine in which the API is up or down.
#[derive(Default)]
pub struct Api {
    pub down: AtomicBool,
    /// Whether nothing was collected for a while.
    pub stale: AtomicBool,
    pub written: Mutex<Vec<(Labels, f64)>>,
}

impl Api {
    pub fn new(down: bool) -> Arc<Api> {
        Arc::new(Api { down: AtomicBool::new(down), ..Api::default() })
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

impl RuleEvaluator for Api {
    fn instant(&self, _: QueryLanguage, expr: &str, _: i64) -> Result<Vec<(Labels, f64)>, String> {
        if expr == "broken" {
            return Err("1:1: parse error: broken".to_owned());
        }
        let up = Labels::from_pairs([
            ("__name__", "up"),
            ("instance", "h:8080"),
            ("job", "koprogo-api"),
        ]);
        Ok(if self.down.load(Ordering::SeqCst) { vec![(up, 0.0)] } else { Vec::new() })
    }

    fn is_fresh(&self, _: i64) -> bool {
        !self.stale.load(Ordering::SeqCst)
    }
}

impl SampleSink for Api {
    fn write(&self, _: i64, samples: &[(Labels, f64)]) -> Result<(), String> {
        self.written.lock().unwrap().extend_from_slice(samples);
        Ok(())
    }
}

/// One rule of the runbook, evaluated ten times a second.
pub fn api_down() -> RuleGroup {
    RuleGroup {
        language: QueryLanguage::PromQl,
        file: "runbook.yml".to_owned(),
        name: "critical".to_owned(),
        interval_ms: 100,
        limit: 0,
        query_offset_ms: 0,
        labels: Labels::default(),
        rules: vec![Rule {
            kind: RuleKind::Alert {
                name: "API Down".to_owned(),
                for_ms: 0,
                keep_firing_for_ms: 0,
                annotations: vec![
                    ("summary".to_owned(), "{{ $labels.instance }} does not answer".to_owned()),
                    ("runbook_url".to_owned(), "/runbooks/api-down".to_owned()),
                ],
            },
            expr: "up{job=\"koprogo-api\"} == 0".to_owned(),
            labels: vec![("severity".to_owned(), "high".to_owned())],
        }],
    }
}

fn integration(kind: IntegrationKind) -> Integration {
    Integration { kind, send_resolved: true, http: HttpClientConfig::default() }
}

/// PagerDuty, Slack and two telephones for what is high.
pub fn runbook_receivers(address: SocketAddr) -> Vec<Integration> {
    vec![
        integration(IntegrationKind::PagerDuty {
            routing_key: Secret::new("R0KEY"),
            url: format!("http://{address}/pagerduty"),
            description: String::new(),
            severity: String::new(),
        }),
        slack(address),
        integration(IntegrationKind::Sms {
            url: format!("http://{address}/sms"),
            username: "AC1".to_owned(),
            password: Secret::new("T0KEN"),
            from: "+3220000000".to_owned(),
            to: vec!["+32470000001".to_owned(), "+32470000002".to_owned()],
            text: String::new(),
        }),
    ]
}

pub fn slack(address: SocketAddr) -> Integration {
    integration(IntegrationKind::Slack {
        api_url: Secret::new(format!("http://{address}/slack")),
        channel: "#alerts".to_owned(),
        title: String::new(),
        text: String::new(),
    })
}

/// Routing as in the runbook, without waiting.
pub fn alerting(integrations: Vec<Integration>) -> Alerting {
    let route = |receiver: &str, matchers, routes| Route {
        receiver: receiver.to_owned(),
        matchers,
        continue_matching: false,
        group_by: Some(vec!["alertname".to_owned()]),
        group_wait_ms: 0,
        group_interval_ms: 100,
        repeat_interval_ms: 3_600_000,
        routes,
    };
    let high = route("high", vec![Matcher::equal("severity", "high")], Vec::new());
    Alerting {
        route: route("nobody", Vec::new(), vec![high]),
        receivers: vec![
            Receiver { name: "nobody".to_owned(), integrations: Vec::new() },
            Receiver { name: "high".to_owned(), integrations },
        ],
        resolve_timeout_ms: 300_000,
        external_url: "http://vigie.test".to_owned(),
    }
}

/// Starts a watch over the ledger at `path`.
pub fn start(path: &Path, alerting: Alerting, api: &Arc<Api>) -> WatchHandle {
    start_with(path, alerting, api, Arc::new(HttpClient::new()))
}

/// The same, with another way to send.
pub fn start_with(
    path: &Path,
    alerting: Alerting,
    api: &Arc<Api>,
    transport: Arc<dyn vigie_notify::Transport>,
) -> WatchHandle {
    let groups = vec![api_down()];
    let config =
        WatchConfig { groups, sent_groups: Vec::new(), alerting, language: "en".to_owned() };
    let connections = Connections {
        evaluator: api.clone(),
        sink: api.clone(),
        ledger: Arc::new(Ledger::open(path).unwrap()),
        transport,
        clock: Arc::new(SystemClock),
    };
    Watch::start(config, connections).unwrap()
}

/// Waits until `done`, or fails after twenty seconds.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lets some evaluations pass, to see that something does not happen.
pub async fn ticks_pass(watch: &WatchHandle, count: i64) {
    let last = || watch.rules()[0].last_evaluation_ms.unwrap_or(0);
    let from_ms = last();
    until("evaluations go on", || last() >= from_ms + count * 100).await;
}
