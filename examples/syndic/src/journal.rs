//! The log: one JSON object per line, to a file or to standard output.
//!
//! Fields: `timestamp`, `level` (`INFO`, `WARN`, `ERROR`), `message`, and for a request `method`,
//! `path`, `status`, `duration_ms`, `request_id`, and `error` when there was one.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::Context;
use serde::Serialize;

/// One finished request.
#[derive(Debug, Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) status: u16,
    pub(crate) duration_ms: f64,
    pub(crate) request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    message: &'a str,
    #[serde(flatten)]
    request: Option<Request<'a>>,
}

/// Where lines go. A line is written whole and at once, so that readers never see half of one.
pub(crate) struct Journal {
    out: Mutex<Box<dyn Write + Send>>,
}

impl Journal {
    pub(crate) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let out: Box<dyn Write + Send> = match path {
            None => Box::new(std::io::stdout()),
            Some(path) => {
                let file = File::options().create(true).append(true).open(&path);
                Box::new(file.with_context(|| format!("LOG_FILE={}: cannot open", path.display()))?)
            }
        };
        Ok(Journal { out: Mutex::new(out) })
    }

    /// Something that is no request.
    pub(crate) fn event(&self, level: &str, message: &str) {
        self.write(&Line { timestamp: now(), level, message, request: None });
    }

    /// A finished request; its status decides the level.
    pub(crate) fn request(&self, request: Request<'_>) {
        let (level, message) = match request.status {
            500.. => ("ERROR", "request failed"),
            400.. => ("WARN", "request refused"),
            _ => ("INFO", "request completed"),
        };
        self.write(&Line { timestamp: now(), level, message, request: Some(request) });
    }

    fn write(&self, line: &Line<'_>) {
        let Ok(mut bytes) = serde_json::to_vec(line) else { return };
        bytes.push(b'\n');
        // A full disk must not stop the application from answering: the line is lost, not the
        // request.
        let mut out = self.out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = out.write_all(&bytes).and_then(|()| out.flush());
    }
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_with_the_fields_in_order() {
        let request = Request {
            method: "POST",
            path: "/api/v1/auth/login",
            status: 401,
            duration_ms: 1.25,
            request_id: "ab",
            error: None,
        };
        let line = Line {
            timestamp: "2026-11-26T01:00:00.000Z".into(),
            level: "WARN",
            message: "request refused",
            request: Some(request),
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"timestamp":"2026-11-26T01:00:00.000Z","level":"WARN","message":"request refused","method":"POST","path":"/api/v1/auth/login","status":401,"duration_ms":1.25,"request_id":"ab"}"#
        );
        assert_eq!(now().len(), 24);
    }
}
