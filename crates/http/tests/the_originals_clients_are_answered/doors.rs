//! Listeners over real sockets: while the stores open, when a head is wrong, and at the end.

use axum::Router;
use axum::routing::get;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vigie_engine::Progress;
use vigie_http::{Door, bind, serve};

struct Listening {
    address: std::net::SocketAddr,
    door: Door,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

async fn listen() -> Listening {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let door = Door::default();
    let task = tokio::spawn(serve(listener, door.clone(), stopped));
    Listening { address, door, stop, task }
}

impl Listening {
    /// Sends `bytes` and reads until the connection ends.
    async fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The other side may have heard enough before the end.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        // A connection that is cut answers what it has.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(&self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await
    }
}

#[tokio::test]
async fn who_comes_while_the_stores_open_is_told_so() {
    let listening = listen().await;
    for (progress, words) in [
        (None, "Vigie is starting"),
        (Some((0, 0)), "Vigie is starting: reading the log of metrics"),
        (Some((1, 4)), "Vigie is starting: reading the log of metrics (25 %)"),
    ] {
        if let Some((done, total)) = progress {
            listening.door.tell(Progress { phase: "the log of metrics", done, total });
        }
        for path in ["/", "/-/ready", "/api/v1/query?query=1", "/loki/api/v1/push", "/nowhere"] {
            let answer = listening.get(path).await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
            assert!(answer.contains("retry-after: 1\r\n"), "{path}: {answer}");
            let (before, behind) = match path.contains("/api/") {
                true => (r#""error":""#, "\""),
                false => ("Service Unavailable: ", "\n"),
            };
            assert!(answer.contains(&format!("{before}{words}{behind}")), "{path}: {answer}");
        }
    }
    assert!(listening.get("/-/healthy").await.starts_with("HTTP/1.1 200 "), "it is alive");
    listening.door.open(Router::new().route("/-/ready", get(|| async { "yes" })));
    assert!(listening.get("/-/ready").await.ends_with("\r\n\r\nyes"));
}

#[tokio::test]
async fn heads_of_every_kind_end_in_an_answer() {
    let listening = listen().await;
    let large = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(2_000_000));
    for (bytes, status) in [
        (b"GET /-/healthy HTTP/1.0\r\n\r\n".as_slice(), "HTTP/1.0 200 "),
        (large.as_bytes(), "HTTP/1.1 431 "),
        (b"\x16\x03\x01\x00\r\n\r\n", "HTTP/1.1 400 "),
    ] {
        let answer = listening.send(bytes).await;
        assert!(answer.starts_with(status), "{status}: {answer}");
    }
}

#[tokio::test]
async fn idle_connections_do_not_keep_a_listener_from_ending() {
    let listening = listen().await;
    let mut idle = TcpStream::connect(listening.address).await.unwrap();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 64];
    let read = idle.read(&mut first).await.unwrap();
    assert!(read > 0);
    listening.stop.send_replace(true);
    let ended = tokio::time::timeout(Duration::from_secs(4), listening.task).await;
    assert!(ended.is_ok(), "sooner than connections that are busy get");
    assert!(TcpStream::connect(listening.address).await.is_err(), "the port is free again");
}
