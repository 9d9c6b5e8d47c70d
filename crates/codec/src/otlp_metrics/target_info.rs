//! `target_info`: one series for each resource, whose labels are what the resource's other series do
//! not have. It has samples from the resource's earliest point to its newest, close enough that an
//! instant query always finds one.

use super::translate::{Translator, labels_of, ms, set};
use super::{Data, Described, Point, TARGET_INFO_EVERY_NS, TARGET_INFO_MAX};
use crate::otlp_logs::value::Attributes;

/// What becomes `job` and `instance`.
const IDENTIFYING: [&str; 3] = ["service.namespace", "service.name", "service.instance.id"];
const NAME: &str = "target_info";

/// `job` and `instance`, where the resource has them.
pub(super) fn identity(attributes: &Attributes) -> Vec<(&'static str, String)> {
    let get = |wanted: &str| {
        let found = attributes.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.text())
    };
    let mut out = Vec::new();
    if let Some(name) = get("service.name") {
        let job = match get("service.namespace") {
            Some(space) => format!("{space}/{name}"),
            None => name,
        };
        out.push(("job", job));
    }
    out.extend(get("service.instance.id").map(|instance| ("instance", instance)));
    out.retain(|(_, value)| !value.is_empty());
    out
}

/// Takes the instants of a metric's points into the earliest and the newest of its resource.
pub(super) fn widen(times: &mut Option<(u64, u64)>, data: &Data) {
    fn all<T>(points: &[Point<T>], times: &mut Option<(u64, u64)>) {
        for point in points {
            let (first, last) = times.unwrap_or((point.time_ns, point.time_ns));
            *times = Some((first.min(point.time_ns), last.max(point.time_ns)));
        }
    }
    match data {
        Data::Nothing => {}
        Data::Gauge(points) | Data::Sum { points, .. } => all(points, times),
        Data::Histogram(points, _) => all(points, times),
        Data::Exponential(points, _) => all(points, times),
        Data::Summary(points) => all(points, times),
    }
}

/// Adds the series and its samples, if there is more to say than `job` and `instance`.
pub(super) fn add(
    translator: &mut Translator<'_>,
    attributes: &Attributes,
    identity: &[(&'static str, String)],
    (first_ns, last_ns): (u64, u64),
) -> Result<(), String> {
    let is_more = attributes.iter().any(|(name, _)| !IDENTIFYING.contains(&name.as_str()));
    if !is_more {
        return Ok(());
    }
    let ignored: &[&str] = if translator.settings.keep_identifying { &[] } else { &IDENTIFYING };
    let mut labels = translator.attributes(attributes, ignored)?;
    for (name, value) in identity {
        set(&mut labels, *name, value.as_str());
    }
    if !labels.contains_key("job") && !labels.contains_key("instance") {
        return Ok(());
    }
    let series = translator.series(&labels_of(labels)?, &NAME.into(), None)?;
    // A point without an instant must not lead to millions of samples.
    let farthest_ns = TARGET_INFO_EVERY_NS * TARGET_INFO_MAX as u64;
    let mut at_ns = first_ns.max(last_ns.saturating_sub(farthest_ns));
    while at_ns < last_ns {
        translator.put_once(series, ms(at_ns));
        at_ns = at_ns.saturating_add(TARGET_INFO_EVERY_NS);
    }
    translator.put_once(series, ms(last_ns));
    translator.describe_info(Described {
        name: NAME.to_owned(),
        kind: "gauge",
        help: "Target metadata".to_owned(),
        unit: String::new(),
    });
    Ok(())
}
