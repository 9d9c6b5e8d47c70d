//! How a request leaves: through `vigie-net` in the program, through anything in a test.

use crate::{ANSWER_BYTES_MAX, ATTEMPT_TIMEOUT_MS};
use std::future::Future;
use std::pin::Pin;
use vigie_config::http_client::HttpClientConfig;
use vigie_net::{Bytes, HttpClient, Method, NetError, Request};

/// A POST request.
#[derive(Clone, Debug)]
pub struct Post {
    /// Where to; may be a secret.
    pub url: String,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
    /// Credentials and TLS.
    pub config: HttpClientConfig,
}

impl Post {
    pub(crate) fn json(url: String, body: serde_json::Value, config: HttpClientConfig) -> Post {
        Post { url, content_type: "application/json", body: body.to_string(), config }
    }

    pub(crate) fn form(url: String, body: String, config: HttpClientConfig) -> Post {
        Post { url, content_type: "application/x-www-form-urlencoded", body, config }
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The body.
    pub body: String,
}

/// A request under way; its error says in one line why there is no answer.
pub type Posting<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + Send + 'a>>;

/// Sends requests.
pub trait Transport: Send + Sync {
    /// Sends one request and reads its answer, within [`ATTEMPT_TIMEOUT_MS`].
    fn post(&self, post: Post) -> Posting<'_>;
}

impl Transport for HttpClient {
    fn post(&self, post: Post) -> Posting<'_> {
        Box::pin(async move {
            let agent = concat!("Vigie/", env!("CARGO_PKG_VERSION"));
            let headers = vec![
                ("Content-Type".to_owned(), post.content_type.to_owned()),
                ("User-Agent".to_owned(), agent.to_owned()),
            ];
            let request = Request {
                method: Method::POST,
                url: post.url,
                headers,
                body: Bytes::from(post.body),
                timeout_ms: ATTEMPT_TIMEOUT_MS,
                body_bytes_max: ANSWER_BYTES_MAX,
                config: &post.config,
            };
            let answer = match self.send(request).await {
                Ok(answer) => answer,
                // What it means stands in the status; sending again for want of the rest of the
                // page would repeat a message that has arrived.
                Err(NetError::BodyTooLarge { status, .. }) => {
                    return Ok(Answer { status, retry_after: None, body: String::new() });
                }
                Err(error) => return Err(error.to_string()),
            };
            Ok(Answer {
                status: answer.status,
                retry_after: answer.header("retry-after").map(str::to_owned),
                body: String::from_utf8_lossy(&answer.body).into_owned(),
            })
        })
    }
}
