//! One HTTP scrape: ask, check, decompress.

use super::target::Target;
use flate2::read::GzDecoder;
use std::io::Read;
use vigie_codec::exposition::Format;
use vigie_config::scrape::{ScrapeJob, ScrapeProtocol};
use vigie_model::limits::SCRAPE_BODY_BYTES_MAX;
use vigie_net::{Bytes, HttpClient, Method, NetError, Request, Response};

/// What a job asks for, as Prometheus words it: each protocol is a little less wanted than the one
/// before it.
fn accept(protocols: &[ScrapeProtocol]) -> String {
    let types = protocols.iter().map(|protocol| match protocol {
        ScrapeProtocol::Protobuf => {
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
        }
        ScrapeProtocol::OpenMetrics100 => {
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"
        }
        ScrapeProtocol::OpenMetrics001 => "application/openmetrics-text;version=0.0.1",
        ScrapeProtocol::Text100 => "text/plain;version=1.0.0;escaping=allow-utf-8",
        ScrapeProtocol::Text004 => "text/plain;version=0.0.4",
    });
    let mut weight = ScrapeProtocol::ALL.len() + 1;
    let mut accept = String::new();
    for media_type in types {
        accept.push_str(&format!("{media_type};q=0.{weight},"));
        weight -= 1;
    }
    accept + &format!("*/*;q=0.{weight}")
}

/// Fetches the page of `target`. The error is its `lastError`.
pub(super) async fn fetch(
    client: &HttpClient,
    job: &ScrapeJob,
    target: &Target,
) -> Result<(Bytes, Format), String> {
    let body_bytes_max = match job.body_size_bytes_max {
        0 => SCRAPE_BODY_BYTES_MAX,
        limit => limit.min(SCRAPE_BODY_BYTES_MAX),
    };
    // Compressing for a peer on the same machine costs both sides and saves nothing.
    let encoding = if target.loopback { "identity" } else { "gzip" };
    let timeout_s = target.timeout_ms as f64 / 1000.0;
    let request = Request {
        method: Method::GET,
        url: target.url.clone(),
        headers: vec![
            ("Accept".to_owned(), accept(&job.protocols)),
            ("Accept-Encoding".to_owned(), encoding.to_owned()),
            ("X-Prometheus-Scrape-Timeout-Seconds".to_owned(), timeout_s.to_string()),
        ],
        body: Bytes::new(),
        timeout_ms: u64::try_from(target.timeout_ms).unwrap_or(1),
        body_bytes_max,
        config: &job.http,
    };
    let response = client.send(request).await.map_err(|error| describe(&error, &target.url))?;
    if response.status != 200 {
        let code = vigie_net::StatusCode::from_u16(response.status).ok();
        let reason = code.and_then(|code| code.canonical_reason()).unwrap_or("");
        return Err(format!("server returned HTTP status {} {reason}", response.status)
            .trim_end()
            .to_owned());
    }
    let format = format(&response, fallback(job))?;
    let gzip = response.header("content-encoding").is_some_and(|encoding| encoding == "gzip");
    let body = if gzip { gunzip(&response.body, body_bytes_max)? } else { response.body };
    Ok((body, format))
}

/// Prometheus 3 refuses an answer that does not say what it is, unless the job has a fallback. The
/// targets that we look for by ourselves have one, because nobody can configure it for them.
fn fallback(job: &ScrapeJob) -> Option<Format> {
    match job.fallback_protocol {
        Some(ScrapeProtocol::Protobuf) => Some(Format::Protobuf),
        Some(ScrapeProtocol::OpenMetrics001 | ScrapeProtocol::OpenMetrics100) => {
            Some(Format::OpenMetrics)
        }
        Some(ScrapeProtocol::Text004 | ScrapeProtocol::Text100) => Some(Format::Text),
        None => job.when_seen.then_some(Format::Text),
    }
}

fn format(response: &Response, fallback: Option<Format>) -> Result<Format, String> {
    let content_type = response.header("content-type").unwrap_or("").trim();
    match Format::from_content_type(content_type) {
        Some(format) => Ok(format),
        None if fallback.is_some() => Ok(fallback.unwrap_or(Format::Text)),
        None if content_type.is_empty() => Err("non-compliant scrape target sending blank \
             Content-Type and no fallback_scrape_protocol specified for target"
            .to_owned()),
        None => Err(format!(
            "received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol \
             specified for target"
        )),
    }
}

fn gunzip(body: &[u8], bytes_max: usize) -> Result<Bytes, String> {
    let mut out = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = GzDecoder::new(body).take(limit).read_to_end(&mut out);
    read.map_err(|error| format!("gzip: {error}"))?;
    if out.len() > bytes_max {
        return Err("body size limit exceeded".to_owned());
    }
    Ok(out.into())
}

/// The words of Go's client, which people search for.
fn describe(error: &NetError, url: &str) -> String {
    match error {
        NetError::Timeout { .. } => format!("Get {url:?}: context deadline exceeded"),
        NetError::BodyTooLarge { .. } => "body size limit exceeded".to_owned(),
        other => format!("Get {url:?}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn protocols_are_asked_for_in_prometheus_words() {
        assert_eq!(
            accept(&ScrapeProtocol::defaults(false)),
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        );
        assert_eq!(
            accept(&[ScrapeProtocol::Protobuf, ScrapeProtocol::Text004]),
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
             encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4"
        );
    }

    #[test]
    fn gzip_is_undone_up_to_the_limit() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&[b'x'; 1000]).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(gunzip(&packed, 1000).unwrap().len(), 1000);
        assert_eq!(gunzip(&packed, 999).unwrap_err(), "body size limit exceeded");
        assert!(gunzip(&packed[..20], 1000).unwrap_err().starts_with("gzip: "));
    }
}
