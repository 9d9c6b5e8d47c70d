//! A Loki, or a Vigie, which answers like one: where it is, who asks, and what it says.

use crate::client::encode;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use vigie_config::http_client::HttpClientConfig;
use vigie_net::{Bytes, HttpClient, Method, NetError, Request};

/// Longest wait for an answer.
const TIMEOUT_MS: u64 = 150_000;
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// Where a Vigie is when nobody says it.
const VIGIE_DEFAULT: &str = "http://127.0.0.1:9090";

/// Whom to ask, and with which headers.
#[derive(Clone, Debug)]
pub struct Server {
    /// Without a slash at its end.
    pub url: String,
    /// `Authorization`, `X-Scope-OrgID`.
    pub headers: Vec<(String, String)>,
    /// How the connection is made.
    pub config: HttpClientConfig,
    /// How often a question that gets an error is asked again.
    pub retries: u32,
    /// Seconds before the first of these, and most seconds before one.
    pub backoff_s: (u64, u64),
}

impl Server {
    /// The address given with a flag or in the environment.
    pub fn at(flag: &str, url: &str) -> Result<Server> {
        let url = url.trim_end_matches('/');
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            bail!("{flag} {url:?} is not an address: write for example http://localhost:3100");
        }
        Ok(Server {
            url: url.to_owned(),
            headers: Vec::new(),
            config: HttpClientConfig::default(),
            retries: 0,
            backoff_s: (0, 0),
        })
    }

    /// A Vigie, at the usual address when none is given.
    pub fn of_vigie(url: Option<&str>) -> Result<Server> {
        Server::at("--url", url.unwrap_or(VIGIE_DEFAULT))
    }
}

/// A line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Its instant.
    pub ts_ns: i64,
    /// The labels of its stream in the answer, by name.
    pub labels: Vec<(String, String)>,
    /// Its structured metadata, when categories were asked for.
    pub metadata: Vec<(String, String)>,
    /// The line.
    pub text: String,
}

/// The connection.
pub struct Loki {
    server: Server,
    client: HttpClient,
}

impl Loki {
    /// A connection that is made when it is needed.
    pub fn new(server: Server) -> Loki {
        Loki { server, client: HttpClient::new() }
    }

    /// The whole address of a question.
    pub fn address(&self, path: &str, form: &[(&str, String)]) -> String {
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{}{path}{mark}{}", self.server.url, pairs.join("&"))
    }

    async fn send(
        &self,
        method: Method,
        url: String,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Bytes> {
        let own = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let request = Request {
            method,
            url,
            headers: self.server.headers.iter().cloned().chain(own).collect(),
            body,
            timeout_ms: TIMEOUT_MS,
            body_bytes_max: ANSWER_BYTES_MAX,
            config: &self.server.config,
        };
        let here = &self.server.url;
        let answer = match self.client.send(request).await {
            Ok(answer) => answer,
            Err(NetError::Refused { .. }) => {
                bail!("nobody answers at {here}: start it there, or name another address")
            }
            Err(error) => return Err(error).with_context(|| format!("cannot ask {here}")),
        };
        if answer.status / 100 != 2 {
            let words = String::from_utf8_lossy(&answer.body);
            let words: String = words.trim().chars().take(2000).collect();
            bail!("{here} refuses (HTTP {}): {words}", answer.status);
        }
        Ok(answer.body)
    }

    /// Asks; the answer is JSON.
    pub async fn json(&self, path: &str, form: &[(&str, String)]) -> Result<Value> {
        self.categorized_json(path, form, &[]).await
    }

    async fn categorized_json(
        &self,
        path: &str,
        form: &[(&str, String)],
        headers: &[(&str, &str)],
    ) -> Result<Value> {
        let url = self.address(path, form);
        let (least_s, most_s) = self.server.backoff_s;
        let mut tries = 0;
        let body = loop {
            let asked = self.send(Method::GET, url.clone(), headers, Bytes::new()).await;
            if asked.is_ok() || tries >= self.server.retries {
                break asked?;
            }
            let wait_s = least_s.saturating_mul(1 << tries.min(16)).min(most_s.max(least_s));
            tries += 1;
            tokio::time::sleep(std::time::Duration::from_secs(wait_s)).await;
        };
        serde_json::from_slice(&body).with_context(|| {
            let words: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            format!("{}{path} does not answer as Loki does: {words}", self.server.url)
        })
    }

    /// Asks for lines; `categorize` keeps structured metadata apart from labels.
    pub async fn lines(&self, form: &[(&str, String)], categorize: bool) -> Result<Vec<Line>> {
        let flags: &[(&str, &str)] = if categorize {
            &[("X-Loki-Response-Encoding-Flags", "categorize-labels")]
        } else {
            &[]
        };
        let answer = self.categorized_json("/loki/api/v1/query_range", form, flags).await?;
        if answer["data"]["resultType"] != "streams" {
            bail!("the question asks for numbers, not for lines");
        }
        let mut lines = Vec::new();
        for stream in answer["data"]["result"].as_array().into_iter().flatten() {
            let labels = pairs(&stream["stream"]);
            for value in stream["values"].as_array().into_iter().flatten() {
                let ts_ns = value[0].as_str().and_then(|text| text.parse().ok());
                let metadata = match &value[2]["structuredMetadata"] {
                    // promtail's old servers put it there without a category.
                    Value::Null => Vec::new(),
                    metadata => pairs(metadata),
                };
                lines.push(Line {
                    ts_ns: ts_ns.context("a line of the answer has no instant")?,
                    labels: labels.clone(),
                    metadata,
                    text: value[1].as_str().unwrap_or("").to_owned(),
                });
            }
        }
        Ok(lines)
    }

    /// Sends a request without a body; the answer has none that matters.
    pub async fn request(&self, method: Method, path: &str, form: &[(&str, String)]) -> Result<()> {
        self.send(method, self.address(path, form), &[], Bytes::new()).await.map(drop)
    }

    /// Pushes lines, as JSON.
    pub async fn push(&self, body: String) -> Result<()> {
        let headers = [("Content-Type", "application/json")];
        let url = self.address("/loki/api/v1/push", &[]);
        self.send(Method::POST, url, &headers, Bytes::from(body)).await.map(drop)
    }
}

/// An object of texts, by name.
pub fn pairs(object: &Value) -> Vec<(String, String)> {
    let members = object.as_object().into_iter().flatten();
    let mut pairs: Vec<_> = members
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    pairs.sort();
    pairs
}

/// Labels in braces.
pub fn labels_text(object: &Value) -> String {
    braces(&pairs(object))
}

/// The same of pairs.
pub fn braces(pairs: &[(String, String)]) -> String {
    let shown: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", shown.join(", "))
}

/// RFC 3339 with as many digits as there are, in UTC.
pub fn rfc3339_ns(ts_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ts_ns))
        .map_or_else(|_| ts_ns.to_string(), |at| at.to_string())
}
