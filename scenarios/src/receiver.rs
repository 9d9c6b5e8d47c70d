//! A fake PagerDuty, Slack, SMS gateway or webhook: it records what it is sent and answers what it is told.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// `POST /path`.
    pub request: String,
    /// Header lines, lower-case names.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// A listener with its records.
pub struct Receiver {
    /// Where it listens.
    pub port: u16,
    records: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
    stop: Arc<AtomicBool>,
}

impl Receiver {
    /// Listens on a free port, answering 200.
    pub fn start() -> Receiver {
        Receiver::start_on(0)
    }

    /// Listens on a named port.
    pub fn start_on(port: u16) -> Receiver {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let receiver = Receiver {
            port: listener.local_addr().expect("a bound listener has an address").port(),
            records: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            stop: Arc::default(),
        };
        let (records, status, stop) =
            (receiver.records.clone(), receiver.status.clone(), receiver.stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let _ = answer(stream, &records, &status);
            }
        });
        receiver
    }

    /// What it answers from now on.
    pub fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Everything it was sent so far.
    pub fn received(&self) -> Vec<Received> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(
    stream: TcpStream,
    records: &Mutex<Vec<Received>>,
    status: &AtomicU16,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
        let name = name.to_lowercase();
        if name == "content-length" {
            length = value.trim().parse().unwrap_or(0);
        }
        headers.push(format!("{name}: {}", value.trim()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let status = status.load(Ordering::Relaxed);
    let record = Received {
        request: request.trim().trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    let text = if status < 300 { "ok" } else { "no" };
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
    reader.into_inner().write_all(answer.as_bytes())
}
