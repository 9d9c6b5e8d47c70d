//! A running Vigie (or anything that answers like Prometheus), asked by the commands.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use vigie_config::http_client::HttpClientConfig;
use vigie_net::{Bytes, HttpClient, Method, NetError, Request};

/// Where a Vigie is when nobody says it.
const URL_DEFAULT: &str = "http://127.0.0.1:9090";
/// Longest wait for an answer: what a query may take, and some time to hand it over.
const TIMEOUT_MS: u64 = 150_000;
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// The server that a command talks to.
pub struct Server {
    url: String,
    client: HttpClient,
}

/// An answer in Prometheus' envelope.
#[derive(Debug)]
pub struct Answered {
    /// The body as it came.
    pub body: Bytes,
    /// `data`.
    pub data: Value,
    /// `warnings`.
    pub warnings: Vec<String>,
    /// `infos`.
    pub infos: Vec<String>,
}

/// A question that the server refuses.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// `error`, in the server's words.
    pub message: String,
}

impl Server {
    /// The address given with `--url` or in `VIGIE_URL`.
    pub fn new(url: Option<&str>) -> Result<Server> {
        let url = url.unwrap_or(URL_DEFAULT).trim_end_matches('/');
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            bail!("--url {url:?} is not an address: write for example {URL_DEFAULT}");
        }
        Ok(Server { url: url.to_owned(), client: HttpClient::new() })
    }

    /// Sends a form with POST.
    pub async fn post_form(&self, path: &str, form: &[(&str, String)]) -> Result<Answered> {
        let pairs = form.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let request = Request {
            method: Method::POST,
            url: format!("{}{path}", self.url),
            headers: vec![(
                "content-type".to_owned(),
                "application/x-www-form-urlencoded".to_owned(),
            )],
            body: Bytes::from(pairs.collect::<Vec<_>>().join("&")),
            timeout_ms: TIMEOUT_MS,
            body_bytes_max: ANSWER_BYTES_MAX,
            config: &HttpClientConfig::default(),
        };
        let answer = match self.client.send(request).await {
            Ok(answer) => answer,
            Err(NetError::Refused { .. }) => bail!(
                "nobody answers at {}: start Vigie there, or name another address with --url or VIGIE_URL",
                self.url
            ),
            Err(error) => return Err(error).with_context(|| format!("cannot ask {}", self.url)),
        };
        let envelope: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let text = |name: &str| envelope.as_ref().and_then(|one| one[name].as_str());
        match text("status") {
            Some("success") => {}
            Some("error") => {
                let message = text("error").unwrap_or("it says no more").to_owned();
                return Err(Refused { message }.into());
            }
            _ => {
                let words = String::from_utf8_lossy(&answer.body);
                let words: String = words.trim().chars().take(200).collect();
                bail!(
                    "{}{path} does not answer as Prometheus does (HTTP {}): {words}",
                    self.url,
                    answer.status
                )
            }
        }
        let envelope = envelope.unwrap_or_default();
        let texts = |name: &str| {
            let list = envelope[name].as_array().into_iter().flatten();
            list.filter_map(|one| one.as_str().map(str::to_owned)).collect()
        };
        Ok(Answered {
            warnings: texts("warnings"),
            infos: texts("infos"),
            data: envelope["data"].clone(),
            body: answer.body,
        })
    }
}

/// A text as it stands in a query string.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
