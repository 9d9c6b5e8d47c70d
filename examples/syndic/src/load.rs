//! `syndic load`: the traffic of a condominium's people, and of a few who are not.
//!
//! An open loop: requests start at their time whether the earlier ones were answered or not, as
//! with real people; at most [`IN_FLIGHT_MAX`] wait at once. The kinds of request come from a seed.
//! It speaks HTTP/1.1 over a plain TCP connection per request, which is all that it needs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use crate::random::Random;

/// Requests without an answer at the same time; more are skipped, not queued.
const IN_FLIGHT_MAX: usize = 64;
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer that is read, in bytes.
const ANSWER_SIZE_BYTES_MAX: u64 = 1024 * 1024;
const RATE_MAX: f64 = 10_000.0;

/// What the command line asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    host: String,
    rate: f64,
    seed: u64,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let mut options = Options { host: "127.0.0.1:8080".into(), rate: 10.0, seed: 1 };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => {
                    let value = rest.next().cloned();
                    (argument.as_str(), value.with_context(|| format!("{argument} needs a value"))?)
                }
            };
            match name {
                "--url" => options.host = host(&value)?,
                "--rate" => options.rate = value.parse().context("--rate is a number")?,
                "--seed" => options.seed = value.parse().context("--seed is a whole number")?,
                other => bail!("unknown flag {other}; known: --url, --rate, --seed"),
            }
        }
        if !(options.rate > 0.0 && options.rate <= RATE_MAX) {
            bail!("--rate {}: between 0 and {RATE_MAX} requests per second", options.rate);
        }
        Ok(options)
    }
}

/// `host:port` of an address without TLS.
fn host(url: &str) -> anyhow::Result<String> {
    let Some(rest) = url.strip_prefix("http://") else { bail!("--url {url}: http:// only") };
    let host = rest.split('/').next().unwrap_or(rest);
    Ok(if host.contains(':') { host.to_owned() } else { format!("{host}:80") })
}

/// One request: method, path, body.
type Ask = (&'static str, String, Option<serde_json::Value>);

/// Sends requests until it is ended.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let mut random = Random::new(options.seed);
    let free = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut clock = tokio::time::interval(Duration::from_secs_f64(1.0 / options.rate));
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    println!("syndic load: {} requests per second to {}", options.rate, options.host);
    loop {
        clock.tick().await;
        let ask = choose(&mut random);
        let Ok(permit) = free.clone().try_acquire_owned() else { continue };
        let host = options.host.clone();
        tokio::spawn(async move {
            // No answer is an answer too: the server's own metrics and logs tell what happened.
            let _ = tokio::time::timeout(ANSWER_TIMEOUT, send(&host, ask)).await;
            drop(permit);
        });
    }
}

/// The mix: mostly reading, some writing, wrong passwords, lost links, and the two weak routes.
fn choose(random: &mut Random) -> Ask {
    let owner = 1 + random.below(200);
    match random.below(100) {
        0..25 => ("GET", "/api/v1/buildings".into(), None),
        25..37 => ("GET", format!("/api/v1/buildings/{}", 1 + random.below(42)), None),
        37..55 => ("GET", "/api/v1/expenses".into(), None),
        55..65 => ("GET", "/api/v1/payments".into(), None),
        65..72 => {
            let body = json!({"building_id": 1 + random.below(40), "label": "Entretien",
                              "amount_cents": 1000 + random.below(90_000)});
            ("POST", "/api/v1/expenses".into(), Some(body))
        }
        72..77 => ("PUT", format!("/api/v1/expenses/{}/validate", 1 + random.below(2500)), None),
        77..82 => {
            let due = if random.chance(92) { 5 } else { -5 };
            let body = json!({"expense_id": 1 + random.below(2000), "amount_cents": 5000,
                              "due_in_days": due});
            ("POST", "/api/v1/payments".into(), Some(body))
        }
        82..92 => {
            let known = random.chance(75);
            let password = if known { format!("tilleul-{owner}") } else { "123456".into() };
            let body =
                json!({"email": format!("owner{owner}@koprogo.example"), "password": password});
            ("POST", "/api/v1/auth/login".into(), Some(body))
        }
        92 => {
            let body = json!({"email": format!("new{:x}@koprogo.example", random.bits()),
                              "password": "correct horse"});
            ("POST", "/api/v1/users".into(), Some(body))
        }
        93..96 => ("GET", "/api/v1/reports/annual".into(), None),
        96..98 => {
            let weak = random.chance(30);
            let document = if weak { 7 } else { 1 + random.below(6) };
            ("GET", format!("/api/v1/documents/{document}/shares"), None)
        }
        98 => ("POST", "/api/v1/expenses".into(), Some(json!({"label": ""}))),
        _ => {
            let lost = ["/wp-login.php", "/.env", "/api/v0/buildings", "/favicon.ico"];
            ("GET", lost[random.below(4) as usize].into(), None)
        }
    }
}

/// Sends one request and reads its answer to the end.
async fn send(host: &str, (method, path, body): Ask) -> std::io::Result<Vec<u8>> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if !body.is_empty() {
        request += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    request += "\r\n";
    request += &body;
    let mut stream = TcpStream::connect(host).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_SIZE_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> anyhow::Result<Options> {
        Options::parse(&arguments.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_in_both_spellings() {
        let options = parse(&["--url", "http://localhost:81/x", "--rate=2.5", "--seed=9"]).unwrap();
        assert_eq!(options, Options { host: "localhost:81".into(), rate: 2.5, seed: 9 });
        for wrong in [
            &["--url"][..],
            &["--url", "https://x"],
            &["--rate", "0"],
            &["--rate=NaN"],
            &["-x", "1"],
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_first_minute_of_the_demonstration_holds_every_kind_of_request() {
        let mut random = Random::new(1);
        let asked: Vec<Ask> = (0..700).map(|_| choose(&mut random)).collect();
        for path in [
            "/api/v1/buildings",
            "/api/v1/auth/login",
            "/api/v1/reports/annual",
            "/api/v1/payments",
            "/api/v1/users",
            "/.env",
            "/api/v1/documents/7/shares",
        ] {
            assert!(asked.iter().any(|(_, asked, _)| asked == path), "{path} is never asked");
        }
    }
}
