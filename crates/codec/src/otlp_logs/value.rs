//! OpenTelemetry's values: what they become as a label, as a line and as JSON.

use crate::loki_push::metadata_name;
use std::fmt::Write;

/// Names and values, in the order of the body.
pub(crate) type Attributes = Vec<(String, Any)>;

/// `AnyValue`.
#[derive(Clone, Debug)]
pub(crate) enum Any {
    Empty,
    Text(String),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    List(Vec<Any>),
    Map(Attributes),
}

impl Any {
    /// As a line: a text as it is, everything else as JSON.
    pub(crate) fn into_line(self) -> Vec<u8> {
        match self {
            Any::Text(text) => text.into_bytes(),
            other => other.text().into_bytes(),
        }
    }

    /// As a label's value.
    pub(crate) fn text(&self) -> String {
        match self {
            Any::Empty => String::new(),
            Any::Text(text) => text.clone(),
            Any::Bytes(bytes) => base64(bytes),
            other => {
                let mut out = String::new();
                other.json(&mut out);
                out
            }
        }
    }

    fn json(&self, out: &mut String) {
        // Writing to a text cannot fail.
        let _ = match self {
            Any::Empty => out.write_str("null"),
            Any::Text(text) => out.write_str(&quoted(text)),
            Any::Bool(yes) => write!(out, "{yes}"),
            Any::Int(number) => write!(out, "{number}"),
            Any::Double(number) => out.write_str(&double(*number)),
            Any::Bytes(bytes) => out.write_str(&quoted(&base64(bytes))),
            Any::List(list) => {
                out.push('[');
                for (at, one) in list.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    one.json(out);
                }
                out.write_str("]")
            }
            Any::Map(pairs) => {
                // Go writes a map's keys in their order.
                let mut pairs: Vec<_> = pairs.iter().collect();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                out.push('{');
                for (at, (name, value)) in pairs.into_iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(&quoted(name));
                    out.push(':');
                    value.json(out);
                }
                out.write_str("}")
            }
        };
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// As Go's JSON writes a float.
fn double(number: f64) -> String {
    let abs = number.abs();
    if number.is_finite() && abs != 0.0 && !(1e-6..1e21).contains(&abs) {
        return format!("{number:e}");
    }
    vigie_model::value::format_value(number)
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for digit in 0..4 {
            let six = (word >> (18 - 6 * digit)) & 63;
            out.push(if digit <= three.len() { char::from(DIGITS[six as usize]) } else { '=' });
        }
    }
    out
}

/// One attribute as labels: a map is flattened, its names joined by `_`.
pub(crate) fn flatten(name: &str, value: &Any, out: &mut Vec<(String, String)>) {
    let name = label_name(name);
    match value {
        Any::Map(pairs) => {
            for (inner, value) in pairs {
                flatten(&format!("{name}_{inner}"), value, out);
            }
        }
        value => out.push((name, value.text())),
    }
}

/// A name as Prometheus' translator writes it: a single `_` before it becomes `key_`.
fn label_name(name: &str) -> String {
    let clean = metadata_name(name);
    if clean.starts_with('_') && !clean.starts_with("__") {
        return format!("key{clean}");
    }
    clean.into_owned()
}
