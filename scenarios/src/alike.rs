//! Whether two answers of Prometheus' API say the same.

use crate::Answer;
use serde_json::{Map, Value};

/// How far values may be apart: sums are taken in another order.
const RELATIVE: f64 = 1e-9;

/// What is compared of a query's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comparing {
    /// Whether the order of series counts; which of equals comes first never does.
    pub ordered: bool,
}

/// `Err` names the first difference. Texts of errors, warnings and infos are not compared.
pub fn alike(wanted: &Answer, got: &Answer, how: Comparing) -> Result<(), String> {
    let (wanted_json, json) = (wanted.json(), got.json());
    let kind = |json: &Value| json["errorType"].as_str().unwrap_or("").to_owned();
    if (wanted.status, kind(&wanted_json)) != (got.status, kind(&json)) {
        return Err(format!(
            "{} {} instead of {} {}",
            got.status, json["error"], wanted.status, wanted_json["error"]
        ));
    }
    let (wanted, got) = (&wanted_json["data"], &json["data"]);
    if wanted["resultType"] != got["resultType"] {
        return Err(format!("{} instead of {}", got["resultType"], wanted["resultType"]));
    }
    series(&listed(&wanted["result"], how.ordered), &listed(&got["result"], how.ordered))
}

/// A part of a result: labels, and instants and values after each other.
type Part = (Map<String, Value>, Vec<Value>);

fn listed(result: &Value, ordered: bool) -> Vec<Part> {
    let list = result.as_array().cloned().unwrap_or_default();
    if list.iter().all(|one| one.get("metric").is_none()) {
        return vec![(Map::new(), list)];
    }
    let mut all: Vec<Part> = list
        .iter()
        .map(|one| {
            let mut labels = one["metric"].as_object().cloned().unwrap_or_default();
            labels.sort_keys();
            let points = match one.get("value") {
                Some(point) => point.as_array().cloned().unwrap_or_default(),
                None => {
                    let points = one["values"].as_array().into_iter().flatten();
                    points.flat_map(|point| point.as_array().cloned().unwrap_or_default()).collect()
                }
            };
            (labels, points)
        })
        .collect();
    let key = |part: &Part| Value::Object(part.0.clone()).to_string();
    if ordered {
        for equals in all.chunk_by_mut(|a, b| a.1 == b.1) {
            equals.sort_by_key(key);
        }
    } else {
        all.sort_by_key(key);
    }
    all
}

fn series(wanted: &[Part], got: &[Part]) -> Result<(), String> {
    if wanted.len() != got.len() {
        return Err(format!("{} series instead of {}", got.len(), wanted.len()));
    }
    for ((wanted_labels, wanted), (labels, got)) in wanted.iter().zip(got) {
        let name = Value::Object(labels.clone());
        if wanted_labels != labels {
            return Err(format!("{name} instead of {}", Value::Object(wanted_labels.clone())));
        }
        if wanted.len() != got.len() {
            return Err(format!("{name}: {} points, not {}", got.len() / 2, wanted.len() / 2));
        }
        for (wanted, got) in wanted.iter().zip(got) {
            let same = match (wanted.as_str(), got.as_str()) {
                (Some(wanted), Some(got)) => near(wanted, got),
                // Instants are exact.
                _ => wanted.as_f64() == got.as_f64(),
            };
            if !same {
                return Err(format!("{name}: {got} instead of {wanted}"));
            }
        }
    }
    Ok(())
}

fn near(wanted: &str, got: &str) -> bool {
    let (Ok(wanted), Ok(got)) = (wanted.parse::<f64>(), got.parse::<f64>()) else {
        return wanted == got;
    };
    wanted == got
        || (wanted.is_nan() && got.is_nan())
        || (wanted - got).abs() <= RELATIVE * wanted.abs().max(got.abs())
}
