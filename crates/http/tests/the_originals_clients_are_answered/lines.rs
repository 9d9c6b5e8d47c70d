//! Lines over every door, and what is asked about them: OpenTelemetry, Elasticsearch's bulk, JSON
//! lines, volumes, patterns, fields, and lines that are followed over a WebSocket.

use crate::support::House;
use serde_json::{Value, json};
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use vigie_http::{Door, bind, serve};

fn now_ns() -> i64 {
    jiff::Timestamp::now().as_nanosecond() as i64
}

fn push_body(app: &str, lines: &[(i64, &str)]) -> String {
    let values: Vec<_> =
        lines.iter().map(|(ts_ns, line)| json!([ts_ns.to_string(), line])).collect();
    json!({"streams": [{"stream": {"app": app}, "values": values}]}).to_string()
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn lines_of(house: &House, selector: &str) -> Vec<(String, String)> {
    let query = format!("/loki/api/v1/query_range?query={selector}&direction=forward");
    let answer =
        house.get(&query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut out = Vec::new();
    for stream in answer.json()["data"]["result"].as_array().unwrap() {
        for value in stream["values"].as_array().unwrap() {
            out.push((stream["stream"].to_string(), value[1].as_str().unwrap().to_owned()));
        }
    }
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearchs_clients_find_their_way_and_their_documents_are_lines() {
    let house = House::new();
    let hello = house.get("/elasticsearch/").await;
    assert_eq!(hello.headers["x-elastic-product"], "Elasticsearch");
    assert_eq!(hello.json()["version"]["number"], "8.17.0");
    for path in [
        "/elasticsearch/_license",
        "/elasticsearch/_ilm/policy/logs",
        "/elasticsearch/_cluster/health",
    ] {
        assert_eq!(house.get(path).await.status, 200, "{path}");
    }
    assert_eq!(house.get("/elasticsearch/_search").await.status, 404);
    let body = "{\"create\":{\"_index\":\"nginx\"}}\n{\"message\":\"GET /a\",\"host\":{\"name\":\"h\"}}\n{\"index\":{}}\nnonsense\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let headers = [("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
    let answer = house
        .send(
            "POST",
            "/elasticsearch/_bulk?_stream_fields=host.name",
            &headers,
            gzip.finish().unwrap(),
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.json();
    assert_eq!(told["errors"], true);
    assert_eq!(told["items"][0], json!({"create": {"_index": "nginx", "status": 201}}));
    assert_eq!(told["items"][1]["index"]["status"], 400);
    let lines = lines_of(&house, r#"{index="nginx",host_name="h"}"#).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].1, r#"{"message":"GET /a","host":{"name":"h"}}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_become_what_their_parameters_say() {
    let house = House::new();
    let body =
        "{\"log\":{\"level\":\"warn\"},\"message\":\"slow\",\"date\":\"0\",\"stream\":\"s1\"}\n";
    let path = "/insert/jsonline?_stream_fields=stream&_time_field=date&_msg_field=message&extra_fields=env=prod";
    let answer = house.ask("POST", &path.replace("date", "when"), &[], body).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let lines = lines_of(&house, r#"{env="prod"}"#).await;
    assert_eq!(lines[0].1, "slow");
    let stream: Value = serde_json::from_str(&lines[0].0).unwrap();
    assert_eq!(
        stream,
        json!({"env": "prod", "stream": "s1", "service_name": "unknown_service", "date": "0",
               "log_level": "warn", "detected_level": "unknown"})
    );
    let refused = house.ask("POST", "/insert/jsonline", &[], "{}\n[]\n").await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.starts_with("line 2: invalid type"), "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn opentelemetrys_exporters_are_refused_in_their_own_form() {
    let house = House::new();
    let wrong = house.ask("POST", "/otlp/v1/logs", &JSON, "{").await;
    assert_eq!((wrong.status, wrong.content_type()), (400, "application/octet-stream"));
    assert!(wrong.body.contains("ReadObject"), "{}", wrong.body);
    let empty = house.ask("POST", "/otlp/v1/logs", &JSON, "{}").await;
    assert_eq!(empty.status, 204);
    let plain = house.ask("POST", "/otlp/v1/logs", &[("content-type", "text/plain")], "{}").await;
    assert!(plain.body.contains("content type: text/plain is not supported"), "{}", plain.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_patterns_and_intervals_come_from_the_lines() {
    let house = House::new();
    let start_ns = (now_ns() / 60_000_000_000 - 10) * 60_000_000_000;
    let at = |s: i64| start_ns + s * 1_000_000_000;
    let lines: Vec<(i64, String)> =
        (0..90).map(|s| (at(s), format!("level=info msg=done path=/{s} took={s}ms"))).collect();
    let lines: Vec<(i64, &str)> = lines.iter().map(|(ts, line)| (*ts, line.as_str())).collect();
    let pushed = house.ask("POST", "/loki/api/v1/push", &JSON, &push_body("a", &lines)).await;
    assert_eq!(pushed.status, 204, "{}", pushed.body);
    let ask = |path: &str| {
        let path = format!(
            "/loki/api/v1/{path}&query=%7Bapp%3D%22a%22%7D&start={}&end={}",
            at(0),
            at(120)
        );
        let house = &house;
        async move {
            let answer = house.get(&path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
            answer.json()
        }
    };
    let bytes: usize = lines.iter().map(|(_, line)| line.len()).sum();
    assert_eq!(
        ask("index/stats?").await,
        json!({"streams": 1, "chunks": 1, "bytes": bytes, "entries": 90})
    );
    let volume = ask("index/volume?targetLabels=app,service_name").await;
    let metric = json!({"app": "a", "service_name": "a"});
    assert_eq!(
        volume["data"]["result"],
        json!([{"metric": metric, "value": [at(120) / 1_000_000_000, bytes.to_string()]}])
    );
    let by_name = ask("index/volume?aggregateBy=labels").await;
    assert_eq!(by_name["data"]["result"].as_array().unwrap().len(), 2);
    assert_eq!(by_name["data"]["result"][0]["metric"], json!({"app": ""}));
    let range = ask("index/volume_range?step=60").await;
    assert_eq!(range["data"]["resultType"], "matrix");
    let first: usize = lines[..60].iter().map(|(_, line)| line.len()).sum();
    let end = |s: i64| json!(at(s) as f64 / 1e9 - 0.001);
    assert_eq!(
        range["data"]["result"][0]["values"],
        json!([[end(60), first.to_string()], [end(120), (bytes - first).to_string()]])
    );
    let patterns = ask("patterns?step=60s").await;
    assert_eq!(
        patterns["data"],
        json!([{"pattern": "level=info msg=done path=<_> took=<_>", "level": "info",
                "samples": [[at(0) / 1_000_000_000, 60], [at(60) / 1_000_000_000, 30]]}])
    );
    for (direction, first, last) in [("forward", 0, 80), ("backward", 89, 9)] {
        let thin = ask(&format!("query_range?interval=10s&limit=50&direction={direction}")).await;
        let mut instants: Vec<i64> = thin["data"]["result"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|stream| stream["values"].as_array().unwrap())
            .map(|value| value[0].as_str().unwrap().parse().unwrap())
            .collect();
        instants.sort_unstable();
        if direction == "backward" {
            instants.reverse();
        }
        assert_eq!(instants.len(), 9, "{direction}");
        assert_eq!((instants[0], instants[8]), (at(first), at(last)), "{direction}");
    }
}

/// A client of a tail: a handshake and frames, no more.
struct Client {
    stream: TcpStream,
    have: Vec<u8>,
}

impl Client {
    async fn connect(
        address: std::net::SocketAddr,
        path: &str,
        origin: &str,
    ) -> Result<Client, String> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut have = Vec::new();
        loop {
            if let Some(end) = have.windows(4).position(|four| four == b"\r\n\r\n") {
                let answer = String::from_utf8_lossy(&have[..end]).into_owned();
                have.drain(..end + 4);
                if answer.starts_with("HTTP/1.1 101 ") {
                    assert!(
                        answer.to_lowercase().contains("s3pplmbitxaq9kygzzhzrbk+xoo="),
                        "{answer}"
                    );
                    return Ok(Client { stream, have });
                }
                return Err(answer);
            }
            assert!(stream.read_buf(&mut have).await.unwrap() > 0, "the connection ended");
        }
    }

    /// The next text; pings are passed over.
    async fn next(&mut self) -> Value {
        loop {
            while self.have.len() >= 2 {
                let kind = self.have[0] & 15;
                let (head, length) = match self.have[1] {
                    126 if self.have.len() >= 4 => {
                        (4, usize::from(u16::from_be_bytes([self.have[2], self.have[3]])))
                    }
                    127 if self.have.len() >= 10 => {
                        (10, u64::from_be_bytes(self.have[2..10].try_into().unwrap()) as usize)
                    }
                    short @ 0..126 => (2, usize::from(short)),
                    _ => break,
                };
                if self.have.len() < head + length {
                    break;
                }
                let frame: Vec<u8> = self.have.drain(..head + length).skip(head).collect();
                if kind == 1 {
                    return serde_json::from_slice(&frame).unwrap();
                }
            }
            assert!(
                self.stream.read_buf(&mut self.have).await.unwrap() > 0,
                "the connection ended"
            );
        }
    }

    /// Lines until there are as many.
    async fn lines(&mut self, count: usize) -> Vec<String> {
        let mut out = Vec::new();
        while out.len() < count {
            let message = self.next().await;
            assert!(message.get("dropped_entries").is_none(), "{message}");
            for stream in message["streams"].as_array().unwrap() {
                let values = stream["values"].as_array().unwrap();
                out.extend(values.iter().map(|value| value[1].as_str().unwrap().to_owned()));
            }
        }
        out
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_tails_get_every_line_once_and_a_foreign_page_gets_none() {
    let house = House::new();
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve(listener, Door::open_with(house.router()), stopped));
    let early: Vec<(i64, &str)> = vec![(now_ns() - 1_000_000_000, "wanted before")];
    let push = |lines: Vec<(i64, String)>| {
        let house = &house;
        async move {
            let lines: Vec<(i64, &str)> =
                lines.iter().map(|(ts, text)| (*ts, text.as_str())).collect();
            let answer =
                house.ask("POST", "/loki/api/v1/push", &JSON, &push_body("a", &lines)).await;
            assert_eq!(answer.status, 204, "{}", answer.body);
        }
    };
    push(early.iter().map(|(ts, text)| (*ts, (*text).to_owned())).collect()).await;
    let path = "/loki/api/v1/tail?query=%7Bapp%3D%22a%22%7D%7C%3D%22wanted%22&limit=10";
    let foreign = Client::connect(address, path, "origin: http://evil.example\r\n").await;
    assert!(foreign.is_err_and(|answer| answer.starts_with("HTTP/1.1 403 ")));
    let wrong =
        Client::connect(address, "/loki/api/v1/tail?query=%7Bapp%3D%22a%22%7D&delay_for=9", "")
            .await;
    assert!(wrong.is_err_and(|answer| answer.starts_with("HTTP/1.1 400 ")));
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(Client::connect(address, path, "").await.unwrap());
    }
    // Whoever has what was there before follows from here on.
    for client in &mut clients {
        assert_eq!(client.lines(1).await, ["wanted before"]);
    }
    let reading = tokio::spawn(async move {
        let mut all = Vec::new();
        for client in &mut clients {
            all.push(client.lines(5_000).await);
        }
        all
    });
    for round in 0..100 {
        let lines = (0..100).map(|n| {
            let word = if n % 2 == 0 { "wanted" } else { "other" };
            (now_ns() + n, format!("{word} {round} {n}"))
        });
        push(lines.collect()).await;
    }
    let all = tokio::time::timeout(std::time::Duration::from_secs(120), reading).await;
    for mut lines in all.expect("they keep up").unwrap() {
        assert_eq!(lines.len(), 5_000);
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 5_000, "none twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_per_request_id_is_absorbed_or_refused_in_words() {
    let house = House::new();
    let now_ns = now_ns();
    let mut refusal = None;
    for round in 0..60 {
        let streams: Vec<Value> = (0..2_000)
            .map(|n| {
                let id = format!("{}", round * 2_000 + n);
                json!({"stream": {"app": "api", "request_id": id}, "values": [[now_ns.to_string(), "x"]]})
            })
            .collect();
        let body = json!({"streams": streams}).to_string();
        let answer = house.ask("POST", "/loki/api/v1/push", &JSON, &body).await;
        if answer.status != 204 {
            refusal = Some(answer);
            break;
        }
    }
    let refusal = refusal.expect("120,000 streams are too many");
    assert_eq!(refusal.status, 400, "{}", refusal.body);
    assert!(refusal.body.to_lowercase().contains("stream"), "{}", refusal.body);
    // The others go on, and so do questions.
    let known = push_body("api", &[(now_ns, "y")])
        .replace("\"app\":\"api\"", "\"app\":\"api\",\"request_id\":\"7\"");
    assert_eq!(house.ask("POST", "/loki/api/v1/push", &JSON, &known).await.status, 204);
    let query = "/loki/api/v1/query?query=sum(count_over_time(%7Bapp%3D%22api%22%7D%5B1h%5D))";
    let answer = house.get(query).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let count = answer.json()["data"]["result"][0]["value"][1].as_str().unwrap().parse::<u64>();
    assert!(count.unwrap() >= 98_000, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_deleted_and_requests_listed_and_taken_back() {
    let house = House::new();
    let at = now_ns() - 1_000_000_000;
    let body = push_body("a", &[(at, "secret one"), (at + 1, "plain"), (at + 2, "secret two")]);
    assert_eq!(house.ask("POST", "/loki/api/v1/push", &JSON, &body).await.status, 204);
    let path = |query: &str, rest: &str| {
        let query = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        format!("/loki/api/v1/delete?query={}{rest}", query.replace('|', "%7C").replace(' ', "+"))
    };
    for (query, rest, words) in [
        ("", "&start=1", "query not set\n"),
        ("{app=", "&start=1", "parse error"),
        (r#"{app="a"}"#, "", "start time not set\n"),
        (
            r#"{app="a"}"#,
            "&start=x",
            "invalid start time: require unix seconds or RFC3339 format\n",
        ),
        (r#"{app="a"}"#, "&start=1&end=5000000000", "deletes in the future are not allowed\n"),
        (r#"{app="a"}"#, "&start=3&end=2", "start time can't be greater than end time\n"),
        (r#"{app="a"} | json"#, "&start=1", "a delete request takes line filters"),
    ] {
        let answer = house.ask("POST", &path(query, rest), &[], "").await;
        assert_eq!(answer.status, 400, "{query}{rest}");
        assert!(answer.body.starts_with(words), "{query}{rest}: {}", answer.body);
    }
    let made = house.ask("POST", &path(r#"{app="a"} |= "secret""#, "&start=1"), &[], "").await;
    assert_eq!(made.status, 204, "{}", made.body);
    let left = lines_of(&house, r#"{app="a"}"#).await;
    assert_eq!(left.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>(), ["plain"]);
    let list = house.get("/loki/api/v1/delete").await.json();
    assert_eq!(list[0]["query"], r#"{app="a"} |= "secret""#);
    assert_eq!((&list[0]["status"], &list[0]["start_time"]), (&json!("received"), &json!(1)));
    let id = list[0]["request_id"].as_str().unwrap();
    assert_eq!(made.header("x-delete-request-id"), id);
    let back = format!("/loki/api/v1/delete?request_id={id}");
    assert_eq!(house.ask("DELETE", &back, &[], "").await.status, 204);
    assert_eq!(house.ask("DELETE", &back, &[], "").await.status, 404);
    assert_eq!(lines_of(&house, r#"{app="a"}"#).await.len(), 3);
}
