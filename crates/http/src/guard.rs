//! What stands before every handler: whom Vigie answers, and headers that keep an answer from being
//! taken for something else.
//!
//! Without sign-in, loopback is the only wall, and a browser on this machine is a hole in it: a page
//! of another site can send requests here (so writes must come from our own pages), and can make its
//! own name point to 127.0.0.1 to read the answers (so only names that are ours are answered).
//!
//! `--web.cors.origin` opens what reads in Prometheus' API to pages whose origin it names, with
//! upstream's headers; what writes and what administers stays shut to them.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue,
    ORIGIN, REFERRER_POLICY, UPGRADE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use regex::Regex;
use std::net::IpAddr;
use std::sync::Arc;

/// The names under which Vigie answers.
#[derive(Clone, Debug)]
pub struct Hosts(Arc<Names>);

#[derive(Debug)]
struct Names {
    /// Besides loopback, lower case, without ports.
    names: Vec<String>,
    /// `host[:port]` of the address that people use.
    external: Option<String>,
    /// A proxy in front decides who comes in.
    behind_proxy: bool,
    /// Pages of other sites that may read Prometheus' API.
    cors: Option<Cors>,
}

/// Origins that are let in (`--web.cors.origin`).
#[derive(Debug)]
struct Cors {
    origins: Regex,
    /// Whether the pattern is the one that matches everything.
    is_any: bool,
}

/// Where pages of other sites may read: the API that upstream opens to them.
const OPEN: &str = "/api/v1/";
/// What is no reading there.
const SHUT: [&str; 3] = ["/api/v1/admin/", "/api/v1/write", "/api/v1/otlp/"];

impl Hosts {
    /// Loopback, the addresses that are listened on, and the host of `external_url`; any name
    /// behind a proxy.
    pub fn new(listened: &[IpAddr], external_url: Option<&str>, behind_proxy: bool) -> Hosts {
        let external = external_url.and_then(|url| {
            let rest = url.split_once("://")?.1;
            let authority = rest.split(['/', '?', '#']).next()?;
            Some(authority.to_ascii_lowercase())
        });
        let mut names: Vec<String> = listened.iter().map(ToString::to_string).collect();
        names.extend(external.as_deref().map(|authority| name_of(authority).to_owned()));
        Hosts(Arc::new(Names { names, external, behind_proxy, cors: None }))
    }

    /// The same, letting pages whose origin matches `pattern` read Prometheus' API.
    ///
    /// # Errors
    /// When the pattern is no regular expression.
    pub fn with_cors(self, pattern: &str) -> Result<Hosts, String> {
        let origins = Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|error| format!("could not compile CORS regex string {pattern:?}: {error}"))?;
        let cors = Some(Cors { origins, is_any: pattern == ".*" });
        let Names { names, external, behind_proxy, .. } = &*self.0;
        let (names, external) = (names.clone(), external.clone());
        Ok(Hosts(Arc::new(Names { names, external, behind_proxy: *behind_proxy, cors })))
    }

    /// The rules for pages of other sites, where there are any for this path.
    fn cors(&self, path: &str) -> Option<&Cors> {
        let is_open = path.starts_with(OPEN) && !SHUT.iter().any(|shut| path.starts_with(shut));
        self.0.cors.as_ref().filter(|_| is_open)
    }

    /// Whether a `Host` header names us.
    fn answers(&self, host: &str) -> bool {
        let name = name_of(host).to_ascii_lowercase();
        let loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.0.behind_proxy || loopback || name == "localhost" || self.0.names.contains(&name)
    }

    /// Whether a page at `origin` is one of ours.
    fn is_own_page(&self, origin: &str, headers: &HeaderMap) -> bool {
        let Some((_, site)) = origin.split_once("://") else { return false };
        let asked = text(headers, HOST.as_str());
        let forwarded = self.0.behind_proxy.then(|| text(headers, "x-forwarded-host")).flatten();
        [asked, forwarded, self.0.external.as_deref()].into_iter().flatten().any(|own| own == site)
    }
}

/// The host of `host[:port]`; brackets around an IPv6 address are left out.
fn name_of(authority: &str) -> &str {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.rsplit_once(':').map_or(authority, |(name, _)| name),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

impl Cors {
    fn lets_in(&self, origin: &str) -> bool {
        self.is_any || self.origins.is_match(origin)
    }

    /// What a browser must read before it shows an answer to a page at `origin`; upstream's headers.
    fn say(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin else { return };
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
            (ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.is_any {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else if origin.to_str().is_ok_and(|origin| self.lets_in(origin)) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
    }
}

/// The middleware.
pub async fn guard(hosts: Hosts, request: Request, next: Next) -> Response {
    let cors = hosts.cors(request.uri().path());
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = match refusal(&hosts, &request) {
        Some(words) => {
            let plain = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
            (StatusCode::FORBIDDEN, plain, words).into_response()
        }
        // A browser asks whether it may ask: of any path, as upstream.
        None if cors.is_some() && request.method() == Method::OPTIONS => {
            StatusCode::NO_CONTENT.into_response()
        }
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    if let Some(cors) = cors {
        cors.say(origin.as_ref(), headers);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // The UI's pages bring their own.
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

/// Why a request is not answered. Clients that are not browsers may leave both headers out.
fn refusal(hosts: &Hosts, request: &Request) -> Option<String> {
    let headers = request.headers();
    if headers.contains_key(HOST) {
        let host = text(headers, HOST.as_str()).unwrap_or("");
        if !hosts.answers(host) {
            return Some(format!(
                "Vigie does not answer to the name {:?}: ask for localhost or 127.0.0.1, or start it \
                 with --web.external-url=http://NAME (a proxy in front: --web.behind-proxy)\n",
                name_of(host)
            ));
        }
    }
    // A browser lets every page open a WebSocket and read what comes out of it.
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method())
        && !headers.contains_key(UPGRADE);
    if !reads && headers.contains_key(ORIGIN) {
        let origin = text(headers, ORIGIN.as_str()).unwrap_or("");
        let is_let_in = request.method() == Method::POST
            && hosts.cors(request.uri().path()).is_some_and(|cors| cors.lets_in(origin));
        if !is_let_in && !hosts.is_own_page(origin, headers) {
            return Some("this request comes from a page of another site\n".to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Request {
        let mut builder = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(axum::body::Body::empty()).unwrap()
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let listened = ["127.0.0.1".parse().unwrap(), "192.0.2.7".parse().unwrap()];
        let hosts = Hosts::new(&listened, Some("https://Vigie.example:8443/x"), false);
        for (host, answered) in [
            ("localhost:9090", true),
            ("LOCALHOST", true),
            ("127.0.0.1:9090", true),
            ("127.8.8.8", true),
            ("[::1]:9090", true),
            ("192.0.2.7:9090", true),
            ("vigie.example", true),
            ("VIGIE.example:8443", true),
            ("evil.example", false),
            ("evil.example:9090", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("192.0.2.8:9090", false),
            ("", false),
        ] {
            let refused = refusal(&hosts, &request(Method::GET, &[("host", host)])).is_some();
            assert_eq!(refused, !answered, "{host}");
        }
        assert!(refusal(&hosts, &request(Method::GET, &[])).is_none(), "HTTP/1.0 has no Host");
        let behind_proxy = Hosts::new(&listened, None, true);
        assert!(behind_proxy.answers("evil.example"));
    }

    #[test]
    fn named_origins_may_read_and_nothing_else() {
        let hosts = || Hosts::new(&[], None, false);
        let named = hosts().with_cors(r"https?://(a|b)\.example").unwrap();
        let any = hosts().with_cors(".*").unwrap();
        for (hosts, origin, path, refused) in [
            (&named, "https://a.example", "/api/v1/query", false),
            (&named, "https://a.example.evil", "/api/v1/query", true),
            (&named, "https://evil.a.example", "/api/v1/query", true),
            (&named, "https://a.example", "/api/v1/write", true),
            (&named, "https://a.example", "/api/v1/otlp/v1/metrics", true),
            (&named, "https://a.example", "/api/v1/admin/tsdb/snapshot", true),
            (&named, "https://a.example", "/-/reload", true),
            (&named, "https://a.example", "/loki/api/v1/push", true),
            (&any, "null", "/api/v1/query", false),
            (&any, "null", "/-/quit", true),
        ] {
            let request = Request::builder()
                .method(Method::POST)
                .uri(path)
                .header("host", "localhost")
                .header("origin", origin)
                .body(axum::body::Body::empty())
                .unwrap();
            assert_eq!(refusal(hosts, &request).is_some(), refused, "{origin} {path}");
        }
        let allowed = |hosts: &Hosts, origin: &str| {
            let mut headers = HeaderMap::new();
            let origin = HeaderValue::from_str(origin).unwrap();
            hosts.cors("/api/v1/query").unwrap().say(Some(&origin), &mut headers);
            assert_eq!(headers["vary"], "Origin");
            headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(allowed(&named, "http://b.example").as_deref(), Some("http://b.example"));
        assert_eq!(allowed(&named, "http://c.example"), None);
        assert_eq!(allowed(&any, "null").as_deref(), Some("*"));
        assert!(hosts().with_cors("(").is_err());
        assert!(hosts().cors("/api/v1/query").is_none());
    }

    #[test]
    fn only_our_own_pages_may_write() {
        let hosts = Hosts::new(&[], Some("https://vigie.example"), false);
        for (origin, refused) in [
            ("http://127.0.0.1:9090", false),
            ("https://vigie.example", false),
            ("http://evil.example", true),
            ("http://127.0.0.1:80", true),
            ("null", true),
        ] {
            let headers = [("host", "127.0.0.1:9090"), ("origin", origin)];
            assert_eq!(refusal(&hosts, &request(Method::POST, &headers)).is_some(), refused);
            assert!(refusal(&hosts, &request(Method::GET, &headers)).is_none(), "{origin}");
        }
        let proxied = [
            ("host", "127.0.0.1:9090"),
            ("x-forwarded-host", "ops.example"),
            ("origin", "https://ops.example"),
        ];
        assert!(refusal(&hosts, &request(Method::POST, &proxied)).is_some());
        let behind_proxy = Hosts::new(&[], None, true);
        assert!(refusal(&behind_proxy, &request(Method::POST, &proxied)).is_none());
    }
}
