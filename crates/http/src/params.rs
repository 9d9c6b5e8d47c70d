//! Parameters of the originals' APIs: from the query string, and from the form body of a POST.

use crate::error::ApiError;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use jiff::Timestamp;
use vigie_model::duration::parse_duration_ms;

/// Largest form body.
const FORM_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All parameters in order; a name may stand more than once.
#[derive(Debug, Default, Clone)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `a=b&c=d`.
    pub fn parse(text: &str) -> Params {
        let pairs = text.split('&').filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        });
        Params(pairs.collect())
    }

    /// The first value under `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// Every value under `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// A time in milliseconds: seconds with a fraction, or RFC 3339.
    pub fn time_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_time_ms(text).map(Some).ok_or_else(|| {
            ApiError::bad_data(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"
            ))
        })
    }

    /// A duration in milliseconds: seconds with a fraction, or Prometheus' form.
    pub fn duration_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_step_ms(text).map(Some).ok_or_else(|| {
            ApiError::bad_data(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid duration"
            ))
        })
    }

    /// A count.
    pub fn count(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            ApiError::bad_data(format!(
                "invalid parameter {name:?}: {text:?} is not a number of zero or more"
            ))
        })
    }
}

/// Seconds with a fraction, or RFC 3339, in milliseconds.
pub fn parse_time_ms(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.abs() < 9.2e15).then(|| (seconds * 1000.0).round() as i64);
    }
    text.parse::<Timestamp>().ok().map(|at| at.as_millisecond())
}

/// Seconds with a fraction, or a duration text, in milliseconds.
pub fn parse_step_ms(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.abs() < 9.2e15).then(|| (seconds * 1000.0).round() as i64);
    }
    parse_duration_ms(text).ok()
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|b| (*b as char).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'+', _, _) => out.push(b' '),
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (byte, _, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Params, ApiError> {
        let mut params = Params::parse(request.uri().query().unwrap_or(""));
        let form = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        if form {
            let body = Bytes::from_request(request, state)
                .await
                .map_err(|error| ApiError::bad_data(error.to_string()))?;
            if body.len() > FORM_BYTES_MAX {
                return Err(ApiError::bad_data(format!(
                    "the form has more than {FORM_BYTES_MAX} bytes"
                )));
            }
            // What stands in the body comes first, as in Go's ParseForm.
            let mut all = Params::parse(&String::from_utf8_lossy(&body));
            all.0.append(&mut params.0);
            params = all;
        }
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_times_are_read_as_the_originals_read_them() {
        let params =
            Params::parse("query=up%7Bjob%3D%22a+b%22%7D&match[]=a&match%5B%5D=b&x=%zz&empty=");
        assert_eq!(params.get("query"), Some(r#"up{job="a b"}"#));
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((params.get("x"), params.get("empty")), (Some("%zz"), None));
        for (text, ms) in [
            ("1.5", Some(1500)),
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("2015-07-01T20:10:30.781+02:00", Some(1435774230781)),
            ("x", None),
        ] {
            assert_eq!(parse_time_ms(text), ms, "{text}");
        }
        for (text, ms) in
            [("15", Some(15_000)), ("1m", Some(60_000)), ("0.5", Some(500)), ("x", None)]
        {
            assert_eq!(parse_step_ms(text), ms, "{text}");
        }
    }
}
