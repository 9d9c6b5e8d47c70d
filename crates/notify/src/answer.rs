//! What a receiver's answer means.

use crate::Answer;

/// The longest wait that a receiver can ask for.
pub const RETRY_AFTER_MS_MAX: i64 = 60 * 60 * 1000;
/// How much of an answer's body an error quotes.
const QUOTED_CHARS_MAX: usize = 200;

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver took it.
    Delivered,
    /// It may take it later.
    Retry {
        /// What went wrong, without secrets.
        reason: String,
        /// How long it asked to be left alone.
        after_ms: Option<i64>,
    },
    /// It will never take it.
    Refused {
        /// Why, without secrets.
        reason: String,
    },
}

impl Verdict {
    /// The verdict with every secret in its words replaced.
    pub(crate) fn without(self, secrets: &[String]) -> Verdict {
        let clean = |reason: String| {
            secrets
                .iter()
                .filter(|secret| !secret.is_empty())
                .fold(reason, |text, secret| text.replace(secret.as_str(), "<secret>"))
        };
        match self {
            Verdict::Delivered => Verdict::Delivered,
            Verdict::Retry { reason, after_ms } => {
                Verdict::Retry { reason: clean(reason), after_ms }
            }
            Verdict::Refused { reason } => Verdict::Refused { reason: clean(reason) },
        }
    }
}

/// Reads an answer: 2xx is a yes; 408, 425, 429 and 5xx are a "later"; all else is a no.
pub(crate) fn judge(answer: &Answer, now_ms: i64) -> Verdict {
    if (200..300).contains(&answer.status) {
        return Verdict::Delivered;
    }
    let quoted = crate::message::shorten(answer.body.trim(), QUOTED_CHARS_MAX);
    let separator = if quoted.is_empty() { "" } else { ": " };
    let reason = format!("unexpected status code {}{separator}{quoted}", answer.status);
    match answer.status {
        408 | 425 | 429 | 500..=599 => {
            let after_ms = answer.retry_after.as_deref().and_then(|text| wait_ms(text, now_ms));
            Verdict::Retry { reason, after_ms }
        }
        300..=399 => {
            let advice = "the receiver has moved: write its new address into the configuration";
            Verdict::Refused { reason: format!("{reason}; {advice}") }
        }
        _ => Verdict::Refused { reason },
    }
}

/// A `Retry-After` header: seconds, or a date.
fn wait_ms(text: &str, now_ms: i64) -> Option<i64> {
    let wait_ms = match text.trim().parse::<f64>() {
        Ok(seconds) if seconds.is_finite() => (seconds * 1000.0).ceil() as i64,
        _ => vigie_template::parse_retry_after_date(text)? - now_ms,
    };
    Some(wait_ms.clamp(0, RETRY_AFTER_MS_MAX))
}
