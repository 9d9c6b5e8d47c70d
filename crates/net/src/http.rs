//! The HTTP/1.1 client: pooled connections, TLS by rustls, deadlines, limits, redirects.
//!
//! One [`HttpClient`] serves the whole program. Connections are pooled per host; settings that
//! change TLS (a CA of one's own, no verification) get a pool of their own, of which there are at
//! most [`TLS_POOLS_MAX`].

use crate::{NetError, base64, tls};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use vigie_config::http_client::HttpClientConfig;

/// Most redirects followed, as Go's client does.
pub const REDIRECTS_MAX: usize = 10;
/// Most pools with TLS settings of their own.
pub const TLS_POOLS_MAX: usize = 64;
/// Idle connections kept per host.
const IDLE_PER_HOST_MAX: usize = 2;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// What is asked.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The whole URL, `http` or `https`; user and password in it become basic authentication.
    pub url: String,
    /// Headers beside those of `config`; one given here wins over one from there.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The deadline for everything: connecting, redirects and the last byte of the body.
    pub timeout_ms: u64,
    /// The largest answer accepted, as it stands on the wire.
    pub body_bytes_max: usize,
    /// Credentials, TLS and redirects.
    pub config: &'a HttpClientConfig,
}

/// What came back; any status is an answer, not an error.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it stood on the wire (not decompressed).
    pub body: Bytes,
    /// How long everything took.
    pub duration_ms: u64,
}

impl Response {
    /// The header `name` as text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The client. Cheap to share behind an `Arc`; `send` needs a Tokio runtime with IO and time.
pub struct HttpClient {
    default: Pool,
    by_tls: Mutex<HashMap<TlsKey, Pool>>,
}

type TlsKey = (Option<String>, bool);

/// A URL taken apart: what goes on the wire and what must not be printed.
struct Destination {
    uri: Uri,
    /// `host:port`, for errors and for telling hosts apart.
    host: String,
    user_info: Option<String>,
}

impl Default for HttpClient {
    fn default() -> Self {
        HttpClient::new()
    }
}

impl HttpClient {
    /// A client with Mozilla's root certificates.
    pub fn new() -> HttpClient {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .expect("ring supports the default protocol versions")
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp_connector());
        HttpClient { default: pool(connector), by_tls: Mutex::new(HashMap::new()) }
    }

    /// Sends `request` and reads the whole answer.
    pub async fn send(&self, request: Request<'_>) -> Result<Response, NetError> {
        let started = Instant::now();
        let destination = destination(&request.url)?;
        let (host, timeout_ms) = (destination.host.clone(), request.timeout_ms);
        let exchange = self.exchange(&request, destination);
        let mut response =
            match tokio::time::timeout(Duration::from_millis(timeout_ms), exchange).await {
                Ok(outcome) => outcome?,
                Err(_) => return Err(NetError::Timeout { host, timeout_ms }),
            };
        response.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(response)
    }

    async fn exchange(
        &self,
        request: &Request<'_>,
        first: Destination,
    ) -> Result<Response, NetError> {
        let pool = self.pool_for(request.config, &first.host)?;
        let origin = (first.host.clone(), first.uri.scheme_str() == Some("https"));
        let (method, body) = (&request.method, &request.body);
        let mut to = first;
        for _ in 0..=REDIRECTS_MAX {
            let trusted = is_trusted(&to, &origin);
            let message = || message(request, method, body, &to, trusted);
            let mut outcome = pool.request(message()?).await;
            let repeatable = method == Method::GET || method == Method::HEAD;
            if repeatable && outcome.as_ref().is_err_and(was_closed) {
                // The other side may close an idle connection in the moment in which we use it
                // again; asking once more tells that from a server that is down.
                outcome = pool.request(message()?).await;
            }
            let answer = outcome.map_err(|error| send_error(&to.host, &error))?;
            match redirect(request, &answer, &to)? {
                Some(next) if may_follow(method, &answer, &next, &origin) => to = next,
                _ => return read(answer, &to.host, request.body_bytes_max).await,
            }
        }
        Err(NetError::Redirects { host: origin.0, redirects_max: REDIRECTS_MAX })
    }

    fn pool_for(&self, config: &HttpClientConfig, host: &str) -> Result<Pool, NetError> {
        if config.ca_pem.is_none() && !config.insecure_skip_verify {
            return Ok(self.default.clone());
        }
        let key = (config.ca_pem.clone(), config.insecure_skip_verify);
        let mut pools = self.by_tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.get(&key) {
            return Ok(pool.clone());
        }
        let settings = tls::client_config(config.ca_pem.as_deref(), config.insecure_skip_verify)
            .map_err(|what| NetError::BadCa { host: host.to_owned(), what })?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(settings)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp_connector());
        if pools.len() >= TLS_POOLS_MAX {
            // Only reached by many reloads with ever new CAs; idle connections are all that is lost.
            pools.clear();
        }
        let pool = pool(connector);
        pools.insert(key, pool.clone());
        Ok(pool)
    }
}

fn tcp_connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}

fn pool(connector: HttpsConnector<HttpConnector>) -> Pool {
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .build(connector)
}

fn destination(url: &str) -> Result<Destination, NetError> {
    let bad = |host: &str, what: &str| {
        Err(NetError::BadUrl { host: host.to_owned(), what: what.to_owned() })
    };
    let Ok(uri) = url.parse::<Uri>() else { return bad("", "it cannot be parsed") };
    let mut parts = uri.into_parts();
    let Some(authority) = parts.authority.take() else { return bad("", "it names no host") };
    let (user_info, bare) = match authority.as_str().rsplit_once('@') {
        Some((user_info, bare)) => (Some(percent_decode(user_info)), bare.to_owned()),
        None => (None, authority.as_str().to_owned()),
    };
    let default_port = match parts.scheme.as_ref().map(|scheme| scheme.as_str()) {
        Some("http") => 80,
        Some("https") => 443,
        _ => return bad(&bare, "the scheme must be http or https"),
    };
    let port = authority.port_u16().unwrap_or(default_port);
    let host = format!("{}:{port}", authority.host());
    let Ok(bare) = bare.parse() else { return bad(&host, "the host cannot be parsed") };
    parts.authority = Some(bare);
    if parts.path_and_query.is_none() {
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    }
    match Uri::from_parts(parts) {
        Ok(uri) => Ok(Destination { uri, host, user_info }),
        Err(_) => bad(&host, "it cannot be parsed"),
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The request for one hop; credentials only when the hop is the host they belong to.
fn message(
    request: &Request<'_>,
    method: &Method,
    body: &Bytes,
    to: &Destination,
    trusted: bool,
) -> Result<http::Request<Full<Bytes>>, NetError> {
    let mut message = http::Request::new(Full::new(body.clone()));
    *message.method_mut() = method.clone();
    *message.uri_mut() = to.uri.clone();
    let headers = message.headers_mut();
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("Vigie/", env!("CARGO_PKG_VERSION"))),
    );
    for (name, value) in &request.headers {
        let private = name.eq_ignore_ascii_case("authorization")
            || name.eq_ignore_ascii_case("cookie")
            || name.eq_ignore_ascii_case("proxy-authorization");
        if trusted || !private {
            insert(headers, &to.host, name, value)?;
        }
    }
    if trusted {
        add_credentials(headers, request.config, to)?;
    }
    if method == Method::GET || method == Method::HEAD {
        headers.remove(header::CONTENT_TYPE);
    }
    Ok(message)
}

fn add_credentials(
    headers: &mut HeaderMap,
    config: &HttpClientConfig,
    to: &Destination,
) -> Result<(), NetError> {
    for (name, value) in &config.headers {
        if !headers.contains_key(name.as_str()) {
            insert(headers, &to.host, name, value.expose())?;
        }
    }
    if headers.contains_key(header::AUTHORIZATION) {
        return Ok(());
    }
    let basic = |pair: &str| format!("Basic {}", base64::encode(pair.as_bytes()));
    let value = if let Some(auth) = &config.basic_auth {
        basic(&format!("{}:{}", auth.username, auth.password.expose()))
    } else if let Some(authorization) = &config.authorization {
        authorization.expose().to_owned()
    } else if let Some(user_info) = &to.user_info {
        let colon = if user_info.contains(':') { "" } else { ":" };
        basic(&format!("{user_info}{colon}"))
    } else {
        return Ok(());
    };
    insert(headers, &to.host, "authorization", &value)
}

fn insert(headers: &mut HeaderMap, host: &str, name: &str, value: &str) -> Result<(), NetError> {
    let bad = || NetError::BadHeader { host: host.to_owned(), name: name.to_owned() };
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    let value = HeaderValue::from_str(value).map_err(|_| bad())?;
    headers.insert(key, value);
    Ok(())
}

/// Whether a hop is the host that was configured, and not by an unencrypted way where that was an
/// encrypted one.
fn is_trusted(to: &Destination, (host, https): &(String, bool)) -> bool {
    to.host == *host && (!https || to.uri.scheme_str() == Some("https"))
}

/// Whether a redirect is followed; if not, it is the answer. A body may hold a key, so it goes to
/// no other host; and 301 to 303 would turn a message into a GET without one, whose friendly answer
/// would then count as delivery.
fn may_follow(
    method: &Method,
    answer: &http::Response<Incoming>,
    next: &Destination,
    origin: &(String, bool),
) -> bool {
    if method == Method::GET || method == Method::HEAD {
        return true;
    }
    matches!(answer.status().as_u16(), 307 | 308) && is_trusted(next, origin)
}

/// Where a redirect leads, if the answer is one and the configuration wants it followed.
fn redirect(
    request: &Request<'_>,
    answer: &http::Response<Incoming>,
    from: &Destination,
) -> Result<Option<Destination>, NetError> {
    let status = answer.status().as_u16();
    if !request.config.follow_redirects || !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok());
    let Some(location) = location else { return Ok(None) };
    destination(&join(&from.uri, location)).map(Some)
}

/// `location` as an absolute URL, seen from `base`.
fn join(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("http");
    let authority = base.authority().map_or("", |authority| authority.as_str());
    let location = location.split('#').next().unwrap_or("");
    if location.starts_with("http://") || location.starts_with("https://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    }
}

async fn read(
    answer: http::Response<Incoming>,
    host: &str,
    bytes_max: usize,
) -> Result<Response, NetError> {
    let status = answer.status().as_u16();
    let too_large = || NetError::BodyTooLarge { host: host.to_owned(), bytes_max, status };
    let (head, mut body) = answer.into_parts();
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0);
    let mut whole = BytesMut::with_capacity(expected);
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| NetError::Broken { host: host.to_owned(), what: chain(&error) })?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(Response { status, headers: head.headers, body: whole.freeze(), duration_ms: 0 })
}

fn send_error(host: &str, error: &ClientError) -> NetError {
    let host = host.to_owned();
    let mut inner: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = inner {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::ConnectionRefused {
                return NetError::Refused { host };
            }
            if let Some(tls) = tls_error(io) {
                return NetError::Tls { host, what: tls.to_string() };
            }
        }
        inner = cause.source();
    }
    let what = chain(error);
    if error.is_connect() {
        NetError::Connect { host, what }
    } else {
        NetError::Broken { host, what }
    }
}

/// Whether the connection ended before anything of an answer came.
fn was_closed(error: &ClientError) -> bool {
    let mut inner: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(cause) = inner {
        let hyper = cause.downcast_ref::<hyper::Error>();
        let io = cause.downcast_ref::<std::io::Error>();
        if hyper.is_some_and(|error| error.is_incomplete_message())
            || io.is_some_and(|error| {
                use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
                matches!(error.kind(), BrokenPipe | ConnectionReset)
            })
        {
            return true;
        }
        inner = cause.source();
    }
    false
}

/// The TLS error inside an IO error, which may be wrapped more than once and hides from `source`.
fn tls_error(mut io: &std::io::Error) -> Option<&rustls::Error> {
    loop {
        let inner = io.get_ref()?;
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        io = inner.downcast_ref::<std::io::Error>()?;
    }
}

/// The innermost words of an error: the outer ones only say "client error".
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_without_keeping_secrets_in_the_host() {
        for (url, uri, host, user_info) in [
            ("http://a", "http://a/", "a:80", None),
            ("https://a/x?y=1", "https://a/x?y=1", "a:443", None),
            ("http://[::1]:9/x", "http://[::1]:9/x", "[::1]:9", None),
            ("http://u:p%40@a:81/", "http://a:81/", "a:81", Some("u:p@")),
        ] {
            let to = destination(url).unwrap();
            let got = (to.uri.to_string(), to.host.as_str(), to.user_info.as_deref());
            assert_eq!(got, (uri.to_owned(), host, user_info), "{url}");
        }
        for url in ["", "/x", "ftp://a/", "http://", "unix:///x"] {
            assert!(destination(url).is_err(), "{url}");
        }
    }

    #[test]
    fn locations_are_resolved_against_the_page_they_came_from() {
        let base: Uri = "http://a:1/x/y?z".parse().unwrap();
        for (location, wanted) in [
            ("https://b/q", "https://b/q"),
            ("//b/q", "http://b/q"),
            ("/q#f", "http://a:1/q"),
            ("q", "http://a:1/x/q"),
        ] {
            assert_eq!(join(&base, location), wanted);
        }
    }
}
