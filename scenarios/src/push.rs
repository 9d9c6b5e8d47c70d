//! Remote write 1.0 as any sender writes it: protobuf by hand, snappy around it.

use crate::http::exchange;

/// A series with its samples in order of time.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// Milliseconds and values.
    pub samples: Vec<(i64, f64)>,
}

/// Pushes all series to `/api/v1/write` on `port`, a slice of time for each request, so that samples
/// of all series arrive in the order in which scrapes would bring them.
///
/// # Panics
/// When one is not acknowledged.
pub fn push(port: u16, series: &[Pushed], slice_ms: i64) {
    let times = || series.iter().flat_map(|one| one.samples.iter().map(|(ts_ms, _)| *ts_ms));
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return };
    let mut from = first;
    while from <= last {
        let body = request(series, from, from + slice_ms);
        let packed = snap::raw::Encoder::new().compress_vec(&body).expect("snappy takes any bytes");
        let headers = [
            ("content-encoding", "snappy"),
            ("content-type", "application/x-protobuf"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        let answer = exchange(port, "POST", "/api/v1/write", &headers, &packed);
        let answer = answer.expect("a push is answered");
        assert!([200, 204].contains(&answer.status), "{}: {}", answer.status, answer.text());
        from += slice_ms;
    }
}

/// A `WriteRequest` with the samples of `from <= t < to`.
fn request(series: &[Pushed], from: i64, to: i64) -> Vec<u8> {
    let mut body = Vec::new();
    for one in series {
        let mut message = Vec::new();
        let mut labels: Vec<_> = one.labels.iter().collect();
        labels.sort();
        for (name, value) in labels {
            let mut label = Vec::new();
            field(1, name.as_bytes(), &mut label);
            field(2, value.as_bytes(), &mut label);
            field(1, &label, &mut message);
        }
        let start = one.samples.partition_point(|(ts_ms, _)| *ts_ms < from);
        let slice = one.samples[start..].iter().take_while(|(ts_ms, _)| *ts_ms < to);
        let mut any = false;
        for (ts_ms, value) in slice {
            any = true;
            // Field 1 is a double, field 2 a varint.
            let mut sample = vec![0x09];
            sample.extend_from_slice(&value.to_bits().to_le_bytes());
            sample.push(0x10);
            varint(ts_ms.cast_unsigned(), &mut sample);
            field(2, &sample, &mut message);
        }
        if any {
            field(1, &message, &mut body);
        }
    }
    body
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
