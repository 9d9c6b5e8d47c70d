//! The protobuf form.
//!
//! ```text
//! NumberDataPoint    { 2: start (fixed64), 3: time (fixed64), 4: double, 5: exemplars, 6: integer (fixed64),
//!                      7: attributes, 8: flags }
//! HistogramDataPoint { 2: start, 3: time, 4: count (fixed64), 5: sum, 6: counts (fixed64), 7: bounds,
//!                      8: exemplars, 9: attributes, 10: flags }
//! ExponentialHistogramDataPoint { 1: attributes, 2: start, 3: time, 4: count (fixed64), 5: sum,
//!                      6: scale (zig-zag), 7: zero count (fixed64), 8: positive, 9: negative, 10: flags,
//!                      11: exemplars }
//! Buckets            { 1: offset (zig-zag), 2: counts (varint) }
//! SummaryDataPoint   { 2: start, 3: time, 4: count (fixed64), 5: sum, 6: { 1: quantile, 2: value },
//!                      7: attributes, 8: flags }
//! Exemplar           { 2: time, 3: double, 4: span id, 5: trace id, 6: integer (fixed64), 7: attributes }
//! ```
//! Numbers of a list come packed or one by one.

use super::{
    Buckets, Data, Explicit, Exponential, Metric, Point, Resource, Scope, Summary, Temporality,
    WireExemplar,
};
use crate::loki_push::{Budget, PushError};
use crate::otlp_logs::proto::{attribute, hex};
use crate::proto::{Reader, Value, unzigzag};

/// The flag of a point at which nothing was recorded.
const NO_RECORDED_VALUE: u64 = 1;

pub(super) fn decode(body: &[u8], budget: &Budget) -> Result<Vec<Resource>, PushError> {
    let mut out = Vec::new();
    each(Reader::new(body), |number, value| {
        if let (1, Value::Bytes(one)) = (number, value) {
            budget.take(1)?;
            out.push(resource(one, budget)?);
        }
        Ok(())
    })?;
    Ok(out)
}

/// Hands every field of a message to `field`.
fn each<'a>(
    mut reader: Reader<'a>,
    mut field: impl FnMut(u64, Value<'a>) -> Result<(), PushError>,
) -> Result<(), PushError> {
    while let Some((number, value)) = reader.field()? {
        field(number, value)?;
    }
    Ok(())
}

fn resource(reader: Reader<'_>, budget: &Budget) -> Result<Resource, PushError> {
    let mut out = Resource::default();
    each(reader, |number, value| {
        match (number, value) {
            (1, Value::Bytes(inner)) => each(inner, |number, value| match (number, value) {
                (1, Value::Bytes(pair)) => attribute(pair, &mut out.attributes, budget),
                _ => Ok(()),
            })?,
            (2, Value::Bytes(one)) => {
                budget.take(1)?;
                out.scopes.push(scope(one, budget)?);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn scope(reader: Reader<'_>, budget: &Budget) -> Result<Scope, PushError> {
    let mut out = Scope::default();
    each(reader, |number, value| {
        match (number, value) {
            (1, Value::Bytes(inner)) => each(inner, |number, value| {
                match (number, value) {
                    (1, Value::Bytes(text)) => out.name = text.text()?.to_owned(),
                    (2, Value::Bytes(text)) => out.version = text.text()?.to_owned(),
                    (3, Value::Bytes(pair)) => attribute(pair, &mut out.attributes, budget)?,
                    _ => {}
                }
                Ok(())
            })?,
            (2, Value::Bytes(one)) => {
                budget.take(1)?;
                out.metrics.push(metric(one, budget)?);
            }
            (3, Value::Bytes(text)) => out.schema_url = text.text()?.to_owned(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn metric(reader: Reader<'_>, budget: &Budget) -> Result<Metric, PushError> {
    let mut out = Metric::default();
    each(reader, |number, value| {
        match (number, value) {
            (1, Value::Bytes(text)) => out.name = text.text()?.to_owned(),
            (2, Value::Bytes(text)) => out.description = text.text()?.to_owned(),
            (3, Value::Bytes(text)) => out.unit = text.text()?.to_owned(),
            (5, Value::Bytes(data)) => {
                out.data = Data::Gauge(points(data, budget, number_point)?.0)
            }
            (7, Value::Bytes(data)) => {
                let mut is_monotonic = false;
                each(data, |number, value| {
                    if let (3, Value::Number(yes)) = (number, value) {
                        is_monotonic = yes != 0;
                    }
                    Ok(())
                })?;
                let (points, temporality) = points(data, budget, number_point)?;
                out.data = Data::Sum { points, temporality, is_monotonic };
            }
            (9, Value::Bytes(data)) => {
                let (points, temporality) = points(data, budget, explicit)?;
                out.data = Data::Histogram(points, temporality);
            }
            (10, Value::Bytes(data)) => {
                let (points, temporality) = points(data, budget, exponential)?;
                out.data = Data::Exponential(points, temporality);
            }
            (11, Value::Bytes(data)) => out.data = Data::Summary(points(data, budget, summary)?.0),
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

/// The points of a metric, and what two of its fields say: `temporality` is the second of them all.
fn points<'a, T: Default>(
    data: Reader<'a>,
    budget: &Budget,
    field: impl Fn(&mut Point<T>, u64, Value<'a>, &Budget) -> Result<(), PushError>,
) -> Result<(Vec<Point<T>>, Temporality), PushError> {
    let (mut out, mut temporality) = (Vec::new(), Temporality::default());
    each(data, |number, value| {
        match (number, value) {
            (1, Value::Bytes(one)) => {
                budget.take(1)?;
                let mut point = Point::default();
                each(one, |number, value| field(&mut point, number, value, budget))?;
                out.push(point);
            }
            (2, Value::Number(number)) => temporality = Temporality::of(number),
            _ => {}
        }
        Ok(())
    })?;
    Ok((out, temporality))
}

fn number_point(
    point: &mut Point<f64>,
    number: u64,
    value: Value<'_>,
    budget: &Budget,
) -> Result<(), PushError> {
    match (number, value) {
        (2, Value::Eight(bytes)) => point.start_ns = u64::from_le_bytes(bytes),
        (3, Value::Eight(bytes)) => point.time_ns = u64::from_le_bytes(bytes),
        (4, Value::Eight(bytes)) => point.value = f64::from_le_bytes(bytes),
        (5, Value::Bytes(one)) => point.exemplars.push(exemplar(one, budget)?),
        (6, Value::Eight(bytes)) => point.value = i64::from_le_bytes(bytes) as f64,
        (7, Value::Bytes(pair)) => attribute(pair, &mut point.attributes, budget)?,
        (8, Value::Number(flags)) => point.is_stale = flags & NO_RECORDED_VALUE != 0,
        _ => {}
    }
    Ok(())
}

fn explicit(
    point: &mut Point<Explicit>,
    number: u64,
    value: Value<'_>,
    budget: &Budget,
) -> Result<(), PushError> {
    match (number, value) {
        (2, Value::Eight(bytes)) => point.start_ns = u64::from_le_bytes(bytes),
        (3, Value::Eight(bytes)) => point.time_ns = u64::from_le_bytes(bytes),
        (4, Value::Eight(bytes)) => point.value.count = u64::from_le_bytes(bytes),
        (5, Value::Eight(bytes)) => point.value.sum = Some(f64::from_le_bytes(bytes)),
        (6, value) => eights(value, budget, |bytes| {
            point.value.counts.push(u64::from_le_bytes(bytes));
        })?,
        (7, value) => eights(value, budget, |bytes| {
            point.value.bounds.push(f64::from_le_bytes(bytes));
        })?,
        (8, Value::Bytes(one)) => point.exemplars.push(exemplar(one, budget)?),
        (9, Value::Bytes(pair)) => attribute(pair, &mut point.attributes, budget)?,
        (10, Value::Number(flags)) => point.is_stale = flags & NO_RECORDED_VALUE != 0,
        _ => {}
    }
    Ok(())
}

fn exponential(
    point: &mut Point<Exponential>,
    number: u64,
    value: Value<'_>,
    budget: &Budget,
) -> Result<(), PushError> {
    match (number, value) {
        (1, Value::Bytes(pair)) => attribute(pair, &mut point.attributes, budget)?,
        (2, Value::Eight(bytes)) => point.start_ns = u64::from_le_bytes(bytes),
        (3, Value::Eight(bytes)) => point.time_ns = u64::from_le_bytes(bytes),
        (4, Value::Eight(bytes)) => point.value.count = u64::from_le_bytes(bytes),
        (5, Value::Eight(bytes)) => point.value.sum = Some(f64::from_le_bytes(bytes)),
        (6, Value::Number(scale)) => point.value.scale = unzigzag(scale) as i32,
        (7, Value::Eight(bytes)) => point.value.zero_count = u64::from_le_bytes(bytes),
        (8, Value::Bytes(one)) => buckets(one, &mut point.value.positive, budget)?,
        (9, Value::Bytes(one)) => buckets(one, &mut point.value.negative, budget)?,
        (10, Value::Number(flags)) => point.is_stale = flags & NO_RECORDED_VALUE != 0,
        (11, Value::Bytes(one)) => point.exemplars.push(exemplar(one, budget)?),
        _ => {}
    }
    Ok(())
}

fn buckets(reader: Reader<'_>, out: &mut Buckets, budget: &Budget) -> Result<(), PushError> {
    each(reader, |number, value| {
        match (number, value) {
            (1, Value::Number(offset)) => out.offset = unzigzag(offset) as i32,
            (2, Value::Number(count)) => {
                budget.take(1)?;
                out.counts.push(count);
            }
            (2, Value::Bytes(mut packed)) => {
                while !packed.is_at_end() {
                    budget.take(1)?;
                    out.counts.push(packed.varint()?);
                }
            }
            _ => {}
        }
        Ok(())
    })
}

fn summary(
    point: &mut Point<Summary>,
    number: u64,
    value: Value<'_>,
    budget: &Budget,
) -> Result<(), PushError> {
    match (number, value) {
        (2, Value::Eight(bytes)) => point.start_ns = u64::from_le_bytes(bytes),
        (3, Value::Eight(bytes)) => point.time_ns = u64::from_le_bytes(bytes),
        (4, Value::Eight(bytes)) => point.value.count = u64::from_le_bytes(bytes),
        (5, Value::Eight(bytes)) => point.value.sum = f64::from_le_bytes(bytes),
        (6, Value::Bytes(one)) => {
            budget.take(1)?;
            let mut pair = (0.0, 0.0);
            each(one, |number, value| {
                match (number, value) {
                    (1, Value::Eight(bytes)) => pair.0 = f64::from_le_bytes(bytes),
                    (2, Value::Eight(bytes)) => pair.1 = f64::from_le_bytes(bytes),
                    _ => {}
                }
                Ok(())
            })?;
            point.value.quantiles.push(pair);
        }
        (7, Value::Bytes(pair)) => attribute(pair, &mut point.attributes, budget)?,
        (8, Value::Number(flags)) => point.is_stale = flags & NO_RECORDED_VALUE != 0,
        _ => {}
    }
    Ok(())
}

fn exemplar(reader: Reader<'_>, budget: &Budget) -> Result<WireExemplar, PushError> {
    budget.take(1)?;
    let mut out = WireExemplar::default();
    each(reader, |number, value| {
        match (number, value) {
            (2, Value::Eight(bytes)) => out.time_ns = u64::from_le_bytes(bytes),
            (3, Value::Eight(bytes)) => out.value = Some(f64::from_le_bytes(bytes)),
            (4, Value::Bytes(id)) => out.span_id = hex(id.bytes),
            (5, Value::Bytes(id)) => out.trace_id = hex(id.bytes),
            (6, Value::Eight(bytes)) => out.value = Some(i64::from_le_bytes(bytes) as f64),
            (7, Value::Bytes(pair)) => attribute(pair, &mut out.attributes, budget)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

/// Numbers of eight bytes, packed or one.
fn eights(
    value: Value<'_>,
    budget: &Budget,
    mut take: impl FnMut([u8; 8]),
) -> Result<(), PushError> {
    match value {
        Value::Eight(bytes) => {
            budget.take(1)?;
            take(bytes);
        }
        Value::Bytes(mut packed) => {
            while !packed.is_at_end() {
                budget.take(1)?;
                take(packed.eight()?);
            }
        }
        _ => {}
    }
    Ok(())
}
