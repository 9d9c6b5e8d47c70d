//! HTTPS against a server with a certificate of its own: refused, trusted by `ca`, or not looked at.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure report")]

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use vigie_config::http_client::HttpClientConfig;
use vigie_net::{Bytes, HttpClient, Method, NetError, Request};

/// Makes a key and a certificate for 127.0.0.1; `false`, said loudly, without `openssl`.
fn make_certificate(directory: &Path) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=vigie-test"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(directory)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: 1 scenario: openssl is not there to make a certificate");
        return false;
    }
    true
}

/// Serves one page over TLS to everyone who completes a handshake.
fn serve(directory: &Path) -> u16 {
    let certificate = CertificateDer::from_pem_file(directory.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(directory.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(session, stream.unwrap());
            if tls.read(&mut [0u8; 4096]).is_ok_and(|read| read > 0) {
                let page = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _ = tls.write_all(page.as_bytes());
                tls.conn.send_close_notify();
                let _ = tls.flush();
            }
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_is_refused_trusted_or_ignored() {
    let directory = tempfile::tempdir().unwrap();
    if !make_certificate(directory.path()) {
        return;
    }
    let port = serve(directory.path());
    let ca_pem = Some(std::fs::read_to_string(directory.path().join("cert.pem")).unwrap());
    let client = HttpClient::new();
    let plain = HttpClientConfig::default();
    let trusting = HttpClientConfig { ca_pem, ..plain.clone() };
    let careless = HttpClientConfig { insecure_skip_verify: true, ..plain.clone() };
    for (config, wanted) in [(&plain, false), (&trusting, true), (&careless, true), (&plain, false)]
    {
        let request = Request {
            method: Method::GET,
            url: format!("https://127.0.0.1:{port}/"),
            headers: vec![],
            body: Bytes::new(),
            timeout_ms: 5_000,
            body_bytes_max: 100,
            config,
        };
        match client.send(request).await {
            Ok(answer) => assert!(wanted && answer.status == 200, "{config:?}"),
            Err(NetError::Tls { what, .. }) => {
                assert!(!wanted && what.contains("certificate"), "{config:?}: {what}");
            }
            Err(other) => panic!("{config:?}: {other}"),
        }
    }
}
