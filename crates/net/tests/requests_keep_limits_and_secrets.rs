//! The client against small servers on loopback: statuses, limits, deadlines, redirects, secrets.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure report")]

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vigie_config::http_client::{BasicAuth, HttpClientConfig, Secret};
use vigie_net::{Bytes, HttpClient, Method, NetError, Request};

type Seen = Arc<Mutex<Vec<String>>>;

/// Answers every request with what `answer` makes of its head, and notes the heads.
async fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Seen = Arc::default();
    let (answer, notes) = (Arc::new(answer), Arc::clone(&seen));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, notes) = (Arc::clone(&answer), Arc::clone(&notes));
            tokio::spawn(async move {
                let mut head = Vec::new();
                let mut buffer = [0u8; 4096];
                while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(read) => head.extend_from_slice(&buffer[..read]),
                    }
                }
                let head = String::from_utf8(head).unwrap();
                let reply = answer(&head);
                notes.lock().unwrap().push(head);
                if reply == "hang" {
                    std::future::pending::<()>().await;
                }
                let _ = stream.write_all(reply.as_bytes()).await;
            });
        }
    });
    (port, seen)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn get<'a>(url: String, config: &'a HttpClientConfig) -> Request<'a> {
    Request {
        method: Method::GET,
        url,
        headers: vec![],
        body: Bytes::new(),
        timeout_ms: 2_000,
        body_bytes_max: 100,
        config,
    }
}

#[tokio::test]
async fn any_status_is_an_answer_and_credentials_and_agent_are_sent() {
    let (port, seen) =
        serve(|_| "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\nno".to_owned())
            .await;
    let config = HttpClientConfig {
        basic_auth: Some(BasicAuth { username: "u".into(), password: Secret::new("p") }),
        headers: vec![("X-Own".into(), Secret::new("1"))],
        ..HttpClientConfig::default()
    };
    let request = get(format!("http://127.0.0.1:{port}/x?q=1"), &config);
    let answer = HttpClient::new().send(request).await.unwrap();
    assert_eq!(
        (answer.status, &answer.body[..], answer.header("retry-after")),
        (503, &b"no"[..], Some("7"))
    );
    let head = seen.lock().unwrap()[0].to_lowercase();
    for part in ["get /x?q=1 ", "authorization: basic dtpw", "x-own: 1", "user-agent: vigie/"] {
        assert!(head.contains(part), "{part} in {head}");
    }
}

#[tokio::test]
async fn long_bodies_deadlines_and_refusals_are_told_apart() {
    let config = HttpClientConfig::default();
    let client = HttpClient::new();
    let (long, _) = serve(|_| ok(&"x".repeat(101))).await;
    let (chunked, _) = serve(|_| {
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\n{}\r\n0\r\n\r\n",
            "x".repeat(255)
        )
    })
    .await;
    for port in [long, chunked] {
        let got = client.send(get(format!("http://127.0.0.1:{port}/"), &config)).await;
        let host = format!("127.0.0.1:{port}");
        assert_eq!(got.unwrap_err(), NetError::BodyTooLarge { host, bytes_max: 100, status: 200 });
    }
    let (hanging, _) = serve(|_| "hang".to_owned()).await;
    let mut request = get(format!("http://127.0.0.1:{hanging}/secret"), &config);
    request.timeout_ms = 50;
    let got = client.send(request).await.unwrap_err();
    assert_eq!(got, NetError::Timeout { host: format!("127.0.0.1:{hanging}"), timeout_ms: 50 });
    let got = client.send(get("http://127.0.0.1:1/secret".into(), &config)).await.unwrap_err();
    assert_eq!(got, NetError::Refused { host: "127.0.0.1:1".into() });
    let garbage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = garbage.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = garbage.accept().await.unwrap();
        let _ = stream.write_all(b"SSH-2.0-this is not TLS\r\n").await;
        let _ = stream.read(&mut [0u8; 1024]).await;
    });
    let got = client.send(get(format!("https://127.0.0.1:{port}/"), &config)).await.unwrap_err();
    assert!(matches!(got, NetError::Tls { .. }), "{got:?}");
}

#[tokio::test]
async fn redirects_are_followed_ten_times_and_lose_credentials_on_another_host() {
    let (target, target_seen) = serve(|_| ok("there")).await;
    let (start, start_seen) = serve(move |head| {
        let to = match head.split(' ').nth(1) {
            Some("/loop") => "/loop".to_owned(),
            Some("/near") => "/far".to_owned(),
            _ => format!("http://localhost:{target}/end"),
        };
        format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
    })
    .await;
    let mut config = HttpClientConfig {
        authorization: Some(Secret::new("Bearer token")),
        ..HttpClientConfig::default()
    };
    let client = HttpClient::new();
    let request = get(format!("http://127.0.0.1:{start}/near"), &config);
    let answer = client.send(request).await.unwrap();
    assert_eq!(&answer.body[..], b"there");
    let heads = start_seen.lock().unwrap().join("").to_lowercase();
    assert_eq!(heads.matches("authorization: bearer token").count(), 2, "{heads}");
    let head = target_seen.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /end") && !head.contains("authorization"), "{head}");

    let got = client.send(get(format!("http://127.0.0.1:{start}/loop"), &config)).await;
    assert!(matches!(got, Err(NetError::Redirects { redirects_max: 10, .. })), "{got:?}");
    config.follow_redirects = false;
    let got = client.send(get(format!("http://127.0.0.1:{start}/loop"), &config)).await;
    assert_eq!(got.unwrap().status, 302);
}

#[tokio::test]
async fn a_message_follows_only_redirects_that_keep_it_and_its_host() {
    let (other, other_seen) = serve(|_| ok("other")).await;
    let (start, seen) = serve(move |head| {
        let (status, to) = match head.split(' ').nth(1) {
            Some("/see") => (302, "/end".to_owned()),
            Some("/same") => (307, "/end".to_owned()),
            Some("/other") => (308, format!("http://127.0.0.1:{other}/end")),
            _ => return ok("taken"),
        };
        format!("HTTP/1.1 {status} X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
    })
    .await;
    let config = HttpClientConfig::default();
    let client = HttpClient::new();
    for (path, status) in [("see", 302), ("same", 200), ("other", 308)] {
        let mut request = get(format!("http://127.0.0.1:{start}/{path}"), &config);
        (request.method, request.body) = (Method::POST, Bytes::from_static(b"a key"));
        assert_eq!(client.send(request).await.unwrap().status, status, "{path}");
    }
    let heads = seen.lock().unwrap().concat();
    assert!(heads.contains("POST /end") && !heads.contains("GET "), "{heads}");
    assert!(other_seen.lock().unwrap().is_empty(), "a key went to another host");
}

#[tokio::test]
async fn a_connection_that_ends_under_a_get_is_tried_once_more_and_a_post_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(Mutex::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0u8; 4096]).await;
            *count.lock().unwrap() += 1;
            if *count.lock().unwrap() == 2 {
                let _ = stream.write_all(ok("second").as_bytes()).await;
            }
        }
    });
    let config = HttpClientConfig::default();
    let client = HttpClient::new();
    let answer = client.send(get(format!("http://127.0.0.1:{port}/"), &config)).await.unwrap();
    assert_eq!(&answer.body[..], b"second");
    let mut request = get(format!("http://127.0.0.1:{port}/"), &config);
    request.method = Method::POST;
    let error = client.send(request).await.unwrap_err();
    assert!(matches!(error, NetError::Broken { .. }), "{error:?}");
    assert_eq!(*accepted.lock().unwrap(), 3);
}
