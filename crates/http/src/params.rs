//! Parameters of the originals' APIs: from the query string, and from the form body of a POST.

use crate::body::read_body;
use crate::error::ApiError;
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

    /// A time in milliseconds that may be left out: seconds with a fraction, or RFC 3339.
    pub fn time_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_time_ms(text).map(Some).ok_or_else(|| {
            let reason = format!("invalid time value for '{name}': {}", not_a_time(text));
            ApiError::invalid_parameter(name, reason)
        })
    }

    /// A time in milliseconds that must be there.
    pub fn required_time_ms(&self, name: &str) -> Result<i64, ApiError> {
        let text = self.get(name).unwrap_or("");
        parse_time_ms(text).ok_or_else(|| ApiError::invalid_parameter(name, not_a_time(text)))
    }

    /// A duration in milliseconds: seconds with a fraction, or Prometheus' form.
    pub fn duration_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        parse_step_ms(text).map(Some).map_err(|reason| ApiError::invalid_parameter(name, reason))
    }

    /// Prometheus' `limit`; 0 and nothing mean no limit.
    pub fn limit(&self) -> Result<usize, ApiError> {
        let Some(text) = self.get("limit") else { return Ok(0) };
        let reason = match text.parse::<i64>() {
            Ok(limit) if limit >= 0 => return Ok(usize::try_from(limit).unwrap_or(usize::MAX)),
            Ok(_) => "limit must be non-negative".to_owned(),
            Err(_) => format!("strconv.Atoi: parsing {text:?}: invalid syntax"),
        };
        Err(ApiError::invalid_parameter("limit", reason))
    }
}

fn not_a_time(text: &str) -> String {
    format!("cannot parse {text:?} to a valid timestamp")
}

/// Farthest instant either way, in seconds: adding a duration to it stays far from overflow.
const SECONDS_MAX: f64 = 9.2e12;
/// The instants that clients made with Prometheus' library send for "from the first" and "to the
/// last"; no calendar reaches them.
const FOREVER: [(&str, f64); 2] = [
    ("-292273086-05-16T16:47:06Z", -SECONDS_MAX),
    ("292277025-08-18T07:12:54.999999999Z", SECONDS_MAX),
];

/// Seconds with a fraction (rounded as Prometheus rounds it), or RFC 3339, in milliseconds.
pub fn parse_time_ms(text: &str) -> Option<i64> {
    let forever = FOREVER.iter().find(|(name, _)| *name == text).map(|(_, seconds)| *seconds);
    match forever.or_else(|| text.parse::<f64>().ok()) {
        Some(seconds) if seconds.is_finite() => {
            let seconds = seconds.clamp(-SECONDS_MAX, SECONDS_MAX);
            let fraction = (seconds.fract() * 1000.0).round() / 1000.0;
            let fraction_ns = (fraction * 1e9) as i64;
            Some(seconds.trunc() as i64 * 1000 + fraction_ns.div_euclid(1_000_000))
        }
        Some(_) => None,
        None => text.parse::<Timestamp>().ok().map(|at| at.as_millisecond()),
    }
}

/// Seconds with a fraction (cut, as Prometheus cuts it), or a duration text, in milliseconds.
pub fn parse_step_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("cannot parse {text:?} to a valid duration");
    let Ok(seconds) = text.parse::<f64>() else {
        return parse_duration_ms(text).map_err(|_| wrong());
    };
    let ns = seconds * 1e9;
    if ns.abs() > i64::MAX as f64 {
        return Err(wrong() + ". It overflows int64");
    }
    Ok(ns as i64 / 1_000_000)
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

    async fn from_request(request: Request, _: &S) -> Result<Params, ApiError> {
        let mut params = Params::parse(request.uri().query().unwrap_or(""));
        let form = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        if form {
            let body = read_body(request.into_body(), FORM_BYTES_MAX)
                .await
                .map_err(|refusal| ApiError::bad_data(refusal.message))?;
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
            ("1435781430.781", Some(1_435_781_430_781)),
            // Go's fraction of 0.235 s is a hair less than 235 ms.
            ("1.2345", Some(1234)),
            ("-1", Some(-1000)),
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("2015-07-01T20:10:30.781+02:00", Some(1435774230781)),
            ("1e300", Some(9_200_000_000_000_000)),
            ("-292273086-05-16T16:47:06Z", Some(-9_200_000_000_000_000)),
            ("NaN", None),
            ("Inf", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(parse_time_ms(text), ms, "{text}");
        }
        for (text, ms) in [
            ("15", Ok(15_000)),
            ("1m", Ok(60_000)),
            ("0.5", Ok(500)),
            ("0.0015", Ok(1)),
            ("-1", Ok(-1000)),
            ("NaN", Ok(0)),
            ("x", Err("cannot parse \"x\" to a valid duration")),
            ("1e30", Err("cannot parse \"1e30\" to a valid duration. It overflows int64")),
        ] {
            assert_eq!(parse_step_ms(text), ms.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn limits_are_refused_in_prometheus_words() {
        for (text, wanted) in [
            ("", Ok(0)),
            ("limit=0", Ok(0)),
            ("limit=7", Ok(7)),
            ("limit=-1", Err("invalid parameter \"limit\": limit must be non-negative")),
            (
                "limit=x",
                Err("invalid parameter \"limit\": strconv.Atoi: parsing \"x\": invalid syntax"),
            ),
        ] {
            let got = Params::parse(text).limit().map_err(|error| error.message().to_owned());
            assert_eq!(got, wanted.map_err(str::to_owned), "{text}");
        }
    }
}
