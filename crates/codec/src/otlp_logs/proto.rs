//! The protobuf form.

use super::value::{Any, Attributes};
use super::{DEPTH_MAX, Record, Resource, Scope};
use crate::loki_push::{Budget, PushError};
use crate::proto::{Reader, Value};

pub(super) fn decode(body: &[u8], budget: &Budget) -> Result<Vec<Resource>, PushError> {
    let mut reader = Reader::new(body);
    let mut resources = Vec::new();
    while let Some((number, value)) = reader.field()? {
        if let (1, Value::Bytes(one)) = (number, value) {
            budget.take(1)?;
            resources.push(resource(one, budget)?);
        }
    }
    Ok(resources)
}

fn resource(mut reader: Reader<'_>, budget: &Budget) -> Result<Resource, PushError> {
    let mut out = Resource::default();
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(mut inner)) => {
                while let Some((number, value)) = inner.field()? {
                    if let (1, Value::Bytes(pair)) = (number, value) {
                        attribute(pair, &mut out.attributes, budget)?;
                    }
                }
            }
            (2, Value::Bytes(one)) => {
                budget.take(1)?;
                out.scopes.push(scope(one, budget)?);
            }
            _ => {}
        }
    }
    Ok(out)
}

fn scope(mut reader: Reader<'_>, budget: &Budget) -> Result<Scope, PushError> {
    let mut out = Scope::default();
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(mut inner)) => {
                while let Some((number, value)) = inner.field()? {
                    match (number, value) {
                        (1, Value::Bytes(text)) => out.name = text.text()?.to_owned(),
                        (2, Value::Bytes(text)) => out.version = text.text()?.to_owned(),
                        (3, Value::Bytes(pair)) => attribute(pair, &mut out.attributes, budget)?,
                        (4, Value::Number(count)) => out.dropped = count,
                        _ => {}
                    }
                }
            }
            (2, Value::Bytes(one)) => {
                budget.take(1)?;
                out.records.push(record(one, budget)?);
            }
            _ => {}
        }
    }
    Ok(out)
}

fn record(mut reader: Reader<'_>, budget: &Budget) -> Result<Record, PushError> {
    let mut out = Record::default();
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Eight(bytes)) => out.time_ns = u64::from_le_bytes(bytes),
            (2, Value::Number(number)) => out.severity_number = number as i64,
            (3, Value::Bytes(text)) => out.severity_text = text.text()?.to_owned(),
            (5, Value::Bytes(body)) => out.body = Some(any(body, budget, 0)?),
            (6, Value::Bytes(pair)) => attribute(pair, &mut out.attributes, budget)?,
            (7, Value::Number(count)) => out.dropped = count,
            (8, Value::Four(bytes)) => out.flags = u32::from_le_bytes(bytes),
            (9, Value::Bytes(id)) => out.trace_id = hex(id.bytes),
            (10, Value::Bytes(id)) => out.span_id = hex(id.bytes),
            (11, Value::Eight(bytes)) => out.observed_ns = u64::from_le_bytes(bytes),
            _ => {}
        }
    }
    Ok(out)
}

pub(crate) fn attribute(
    reader: Reader<'_>,
    out: &mut Attributes,
    budget: &Budget,
) -> Result<(), PushError> {
    out.push(pair(reader, budget, 0)?);
    Ok(())
}

fn pair(mut reader: Reader<'_>, budget: &Budget, depth: usize) -> Result<(String, Any), PushError> {
    budget.take(1)?;
    let mut out = (String::new(), Any::Empty);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(text)) => out.0 = text.text()?.to_owned(),
            (2, Value::Bytes(one)) => out.1 = any(one, budget, depth)?,
            _ => {}
        }
    }
    Ok(out)
}

fn any(mut reader: Reader<'_>, budget: &Budget, depth: usize) -> Result<Any, PushError> {
    if depth > DEPTH_MAX {
        return Err(PushError::Limit(format!("a value is nested deeper than {DEPTH_MAX}")));
    }
    let mut out = Any::Empty;
    while let Some((number, value)) = reader.field()? {
        out = match (number, value) {
            (1, Value::Bytes(text)) => Any::Text(text.text()?.to_owned()),
            (2, Value::Number(yes)) => Any::Bool(yes != 0),
            (3, Value::Number(number)) => Any::Int(number as i64),
            (4, Value::Eight(bytes)) => Any::Double(f64::from_le_bytes(bytes)),
            (5, Value::Bytes(mut inner)) => {
                let mut list = Vec::new();
                while let Some((number, value)) = inner.field()? {
                    if let (1, Value::Bytes(one)) = (number, value) {
                        budget.take(1)?;
                        list.push(any(one, budget, depth + 1)?);
                    }
                }
                Any::List(list)
            }
            (6, Value::Bytes(mut inner)) => {
                let mut pairs = Attributes::new();
                while let Some((number, value)) = inner.field()? {
                    if let (1, Value::Bytes(one)) = (number, value) {
                        pairs.push(pair(one, budget, depth + 1)?);
                    }
                }
                Any::Map(pairs)
            }
            (7, Value::Bytes(bytes)) => Any::Bytes(bytes.bytes.to_vec()),
            _ => out,
        };
    }
    Ok(out)
}

/// An id as text; one of zeros is none.
pub(crate) fn hex(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
