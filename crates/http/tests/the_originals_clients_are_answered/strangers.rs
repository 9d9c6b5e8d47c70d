//! Pages of other sites, and requests that no honest program sends.

use crate::support::House;
use std::io::Write;

#[tokio::test]
async fn a_page_of_another_site_neither_reads_nor_writes() {
    let house = House::new();
    // Its own name points to 127.0.0.1 by now: the browser sends that name.
    let rebound = house.ask("GET", "/api/v1/query?query=1", &[("host", "evil.example")], "").await;
    assert_eq!(rebound.status, 403);
    assert!(rebound.body.contains("--web.external-url"), "{}", rebound.body);

    let origin = [("origin", "http://evil.example"), ("content-type", "application/json")];
    let push = house.ask("POST", "/loki/api/v1/push", &origin, "{}").await;
    assert_eq!(push.status, 403, "{}", push.body);
    let asked = house.ask("OPTIONS", "/api/v1/query", &origin, "").await;
    assert!(asked.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[tokio::test]
async fn nothing_that_is_sent_comes_back_as_markup() {
    let house = House::new();
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        format!("/api/v1/query?query={script}"),
        format!("/api/v1/label/{script}/values"),
        format!("/loki/api/v1/query?query={script}"),
        format!("/api/v2/{script}"),
        format!("/api/v2/alerts?filter={script}"),
        format!("/api/vigie/v1/runbooks/{script}"),
        format!("/assets/{script}"),
        format!("/{script}"),
    ] {
        let answer = house.get(&path).await;
        let kind = answer.content_type();
        assert!(
            kind.starts_with("application/json") || kind.starts_with("text/plain"),
            "{path}: {kind}"
        );
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert!(answer.headers.contains_key("content-security-policy"), "{path}");
    }
    for path in ["/assets/..%2f..%2fCargo.toml", "/assets/%2e%2e%2fx", "/assets/.%00"] {
        assert_eq!(house.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_push_in_several_gzip_members_is_one_text() {
    let house = House::new();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let gzip = |text: &str| {
        let mut one = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        one.write_all(text.as_bytes()).unwrap();
        one.finish().unwrap()
    };
    let now_ns = jiff::Timestamp::now().as_nanosecond();
    let halves = [
        gzip(r#"{"streams":[{"stream":{"job":"x"},"#),
        gzip(&format!(r#""values":[["{now_ns}","line"]]}}]}}"#)),
    ];
    let answer = house.send("POST", "/loki/api/v1/push", &headers, halves.concat()).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let streams = house.get("/loki/api/v1/series").await.json();
    assert_eq!(streams["data"][0]["job"], "x");
}
