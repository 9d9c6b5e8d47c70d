//! How a connection to somebody else is made (Prometheus' `http_config`).

/// The parts of `http_config` that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpClientConfig {
    /// `basic_auth`.
    pub basic_auth: Option<BasicAuth>,
    /// `authorization`: the whole header value, for example `Bearer x`.
    pub authorization: Option<Secret>,
    /// `http_headers`, in order.
    pub headers: Vec<(String, Secret)>,
    /// `follow_redirects`, true by default.
    pub follow_redirects: bool,
    /// `tls_config.insecure_skip_verify`.
    pub insecure_skip_verify: bool,
    /// `tls_config.ca`: PEM.
    pub ca_pem: Option<String>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        HttpClientConfig {
            basic_auth: None,
            authorization: None,
            headers: Vec::new(),
            follow_redirects: true,
            insecure_skip_verify: false,
            ca_pem: None,
        }
    }
}

/// User and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// A text that is never printed: its `Debug` and `Display` are Prometheus' `<secret>`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

impl std::fmt::Display for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}
