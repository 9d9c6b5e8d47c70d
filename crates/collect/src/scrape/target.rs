//! From a job of the configuration to its targets.

use std::collections::BTreeMap;
use vigie_config::scrape::ScrapeJob;
use vigie_model::duration::{format_duration_ms, parse_duration_ms};
use vigie_model::{Labels, LabelsBuilder, relabel};

/// A target to be scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// What its series carry.
    pub labels: Labels,
    /// What it was before relabelling.
    pub discovered: Labels,
    /// Where it is.
    pub url: String,
    /// Whether the address is this machine.
    pub loopback: bool,
    pub interval_ms: i64,
    pub timeout_ms: i64,
}

/// What a job names.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is to be scraped, each once.
    pub targets: Vec<Target>,
    /// What relabelling drops: the labels before it.
    pub dropped: Vec<Labels>,
    /// A sentence for each that cannot be used.
    pub errors: Vec<String>,
}

/// The targets of `job`.
pub(super) fn targets(job: &ScrapeJob) -> Found {
    let Found { mut targets, mut dropped, mut errors } = Found::default();
    for group in &job.static_targets {
        for address in &group.targets {
            let discovered = discovered(job, address, &group.labels);
            match target(job, &discovered) {
                Ok(Some(target)) => {
                    let known =
                        targets.iter().any(|t| t.labels == target.labels && t.url == target.url);
                    if !known {
                        targets.push(target);
                    }
                }
                Ok(None) => dropped.push(discovered),
                Err(what) => errors.push(format!("job {:?}, {address}: {what}", job.job_name)),
            }
        }
    }
    Found { targets, dropped, errors }
}

/// The labels that relabelling starts from.
fn discovered(job: &ScrapeJob, address: &str, group: &Labels) -> Labels {
    let mut labels = group.to_builder();
    labels.set("__address__", address);
    let mut default = |name: &str, value: String| {
        if labels.get(name).is_none() {
            labels.set(name, value);
        }
    };
    default("job", job.job_name.clone());
    default("__scrape_interval__", format_duration_ms(job.interval_ms));
    default("__scrape_timeout__", format_duration_ms(job.timeout_ms));
    default("__metrics_path__", job.metrics_path.clone());
    default("__scheme__", job.scheme.clone());
    for (name, value) in &job.params {
        default(&format!("__param_{name}"), value.clone());
    }
    labels.build()
}

fn target(job: &ScrapeJob, discovered: &Labels) -> Result<Option<Target>, String> {
    let Some(changed) = relabel::relabel(discovered, &job.relabel) else { return Ok(None) };
    let Some(address) = changed.get("__address__").map(str::to_owned) else {
        return Err("no address".to_owned());
    };
    if address.contains('/') {
        return Err(format!("{address:?} is not a valid hostname"));
    }
    let duration = |name: &str, default: i64| match changed.get(name) {
        None => Ok(default),
        Some(text) => match parse_duration_ms(text) {
            Ok(ms) if ms > 0 => Ok(ms),
            Ok(_) => Err(format!("{name} cannot be 0")),
            Err(what) => Err(format!("error parsing {name}: {what}")),
        },
    };
    let interval_ms = duration("__scrape_interval__", job.interval_ms)?;
    let timeout_ms = duration("__scrape_timeout__", job.timeout_ms)?;
    if timeout_ms > interval_ms {
        let (timeout, interval) = (format_duration_ms(timeout_ms), format_duration_ms(interval_ms));
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})"
        ));
    }
    let url = url(job, &changed, &address);
    let mut labels: LabelsBuilder = changed.to_builder();
    labels.retain(|label| !label.name.starts_with("__"));
    if labels.get("instance").is_none() {
        labels.set("instance", address.as_str());
    }
    let loopback = is_loopback(&address);
    let (labels, discovered) = (labels.build(), discovered.clone());
    Ok(Some(Target { labels, discovered, url, loopback, interval_ms, timeout_ms }))
}

fn url(job: &ScrapeJob, labels: &Labels, address: &str) -> String {
    let scheme = labels.get("__scheme__").unwrap_or("http");
    let path = labels.value_or_empty("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    // Sorted by name as Go's url.Values are; the label replaces the first value of its parameter.
    let mut params: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &job.params {
        params.entry(name).or_default().push(value);
    }
    for label in labels {
        let Some(name) = label.name.strip_prefix("__param_") else { continue };
        let values = params.entry(name).or_default();
        match values.first_mut() {
            Some(first) => *first = &label.value,
            None => values.push(&label.value),
        }
    }
    let query: Vec<String> = params
        .iter()
        .flat_map(|(name, values)| {
            values.iter().map(move |value| format!("{}={}", escape(name), escape(value)))
        })
        .collect();
    let mark = match (query.is_empty(), path.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    format!("{scheme}://{address}{slash}{path}{mark}{}", query.join("&"))
}

/// Go's `url.QueryEscape`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn is_loopback(address: &str) -> bool {
    let host = match address.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => address.rsplit_once(':').map_or(address, |(host, _)| host),
    };
    let ip = host.parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_config::scrape::StaticTargets;
    use vigie_model::relabel::{Action, Rule};

    fn rule(source: &str, target: &str, replacement: &str) -> Rule {
        Rule {
            source_labels: vec![source.to_owned()],
            separator: ";".to_owned(),
            regex: regex::Regex::new("^(?s:(.*))$").unwrap(),
            target_label: target.to_owned(),
            replacement: replacement.to_owned(),
            action: Action::Replace,
        }
    }

    #[test]
    fn targets_get_their_defaults_and_relabelling_moves_them() {
        let mut job = crate::scrape::testing_job("probe", &["localhost:1", "localhost:1"]);
        job.params = vec![("m".into(), "x y".into()), ("m".into(), "z".into())];
        let Found { targets: found, errors, .. } = targets(&job);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].url, "http://localhost:1/metrics?m=x+y&m=z");
        assert_eq!(found[0].labels.to_string(), r#"{instance="localhost:1", job="probe"}"#);
        assert_eq!(found[0].discovered.get("__scrape_interval__"), Some("1s"));
        assert!(found[0].loopback);

        job.relabel = vec![
            rule("__address__", "__param_target", "$1"),
            rule("__param_target", "instance", "$1"),
            rule("nothing", "__address__", "10.0.0.1:9115"),
        ];
        let found = targets(&job).targets;
        assert_eq!(found[0].url, "http://10.0.0.1:9115/metrics?m=x+y&m=z&target=localhost%3A1");
        assert_eq!(found[0].labels.get("instance"), Some("localhost:1"));
        assert!(!found[0].loopback);

        job.relabel = vec![rule("nothing", "__address__", "")];
        job.static_targets.push(StaticTargets {
            targets: vec!["h".into()],
            labels: Labels::from_pairs([("__scrape_timeout__", "10s")]),
        });
        let Found { targets: found, errors, .. } = targets(&job);
        assert!(found.is_empty() && errors.len() == 3, "{errors:?}");
        assert_eq!(errors[0], "job \"probe\", localhost:1: no address");
    }

    #[test]
    fn what_relabelling_drops_is_known() {
        let mut job = crate::scrape::testing_job("probe", &["a:1", "b:1"]);
        let drop_b = Rule {
            regex: regex::Regex::new("^(?s:b:1)$").unwrap(),
            action: Action::Drop,
            ..rule("__address__", "", "")
        };
        job.relabel = vec![drop_b];
        let found = targets(&job);
        assert_eq!((found.targets.len(), found.errors.len()), (1, 0));
        assert_eq!(found.dropped.len(), 1);
        assert_eq!(found.dropped[0].get("__address__"), Some("b:1"));
    }

    #[test]
    fn loopback_addresses_are_known() {
        for (address, wanted) in [
            ("localhost:80", true),
            ("127.0.0.3", true),
            ("[::1]:80", true),
            ("[2001:db8::1]:80", false),
            ("example.org:80", false),
        ] {
            assert_eq!(is_loopback(address), wanted, "{address}");
        }
    }
}
