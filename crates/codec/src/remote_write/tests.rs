//! Both protocols written and read back, and what is refused in which words.

#![allow(clippy::unwrap_used, reason = "a panic is the failure report of a test")]

use super::*;
use vigie_model::histogram::{Counts, ResetHint, Span};
use vigie_model::{Histogram, Labels};

const SEED: u64 = 7;

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn histogram(counts: Counts) -> Histogram {
    Histogram {
        reset_hint: ResetHint::Gauge,
        schema: -1,
        zero_threshold: 1e-128,
        sum: f64::from_bits(0x7ff0_0000_0000_0002),
        counts,
        positive_spans: vec![Span { offset: -3, length: 2 }, Span { offset: 1, length: 1 }],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        custom_values: vec![],
    }
}

fn series() -> Vec<WireSeries> {
    let integer = Counts::Integer {
        count: 9,
        zero_count: 1,
        positive: vec![3, -1, 1],
        negative: vec![i64::MAX],
    };
    let float = Counts::Float {
        count: 9.5,
        zero_count: 0.5,
        positive: vec![1.0, 2.0, 3.0],
        negative: vec![0.1],
    };
    vec![
        WireSeries {
            labels: owned(&[("__name__", "up"), ("instance", "a:1"), ("job", "\u{e9}")]),
            samples: vec![(1_700_000_000_000, 1.5), (-5, f64::from_bits(0x7ff0_0000_0000_0002))],
            exemplars: vec![(owned(&[("trace_id", "abc")]), 0.25, 12)],
            ..WireSeries::default()
        },
        WireSeries {
            labels: owned(&[("__name__", "h"), ("job", "a")]),
            histograms: vec![(1, histogram(integer)), (2, histogram(float))],
            ..WireSeries::default()
        },
    ]
}

#[test]
fn both_protocols_say_the_same() {
    let bodies = [(Version::V1, encode_v1(&series())), (Version::V2, encode_v2(&series()))];
    for (version, body) in bodies {
        let request = decode(version, &body, SEED).unwrap();
        assert_eq!(request.keys.len(), 2);
        for (at, wanted) in series().iter().enumerate() {
            assert_eq!(request.labels(at).unwrap(), Labels::from_pairs(wanted.labels.clone()));
            let samples = request.samples.iter().filter(|s| s.series as usize == at);
            let samples: Vec<(i64, u64)> = samples.map(|s| (s.ts_ms, s.value.to_bits())).collect();
            let sent: Vec<_> = wanted.samples.iter().map(|(ts, v)| (*ts, v.to_bits())).collect();
            assert_eq!(samples, sent);
            let histograms = request.histograms.iter().filter(|h| h.series as usize == at);
            let histograms: Vec<_> =
                histograms.map(|h| format!("{} {:?}", h.ts_ms, h.histogram)).collect();
            let sent: Vec<_> =
                wanted.histograms.iter().map(|(ts, h)| format!("{ts} {h:?}")).collect();
            assert_eq!(histograms, sent);
        }
        let exemplar = request.exemplars[0];
        assert_eq!((exemplar.series, exemplar.ts_ms, exemplar.value), (0, 12, 0.25));
        let labels = request.exemplar_labels(&exemplar).unwrap();
        assert_eq!(labels, Labels::from_pairs([("trace_id", "abc")]));
    }
}

#[test]
fn a_lone_sample_is_read_like_any_other() {
    let long = "v".repeat(200);
    for value in ["short", &long] {
        for ts_ms in [i64::MIN, -1, 0, 1, 127, 128, 1_700_000_000_000, 1 << 55, 1 << 56, i64::MAX] {
            let lone = WireSeries {
                labels: owned(&[("__name__", "up"), ("a", value)]),
                samples: vec![(ts_ms, 0.1)],
                ..WireSeries::default()
            };
            let twice = WireSeries { samples: vec![(ts_ms, 0.1), (5, 0.2)], ..lone.clone() };
            let body = encode_v1(&[lone, twice]);
            let request = decode(Version::V1, &body, SEED).unwrap();
            let read: Vec<_> =
                request.samples.iter().map(|s| (s.series, s.ts_ms, s.value)).collect();
            assert_eq!(read, [(0, ts_ms, 0.1), (1, ts_ms, 0.1), (1, 5, 0.2)]);
            assert_eq!(request.keys[0], request.keys[1], "a key is of the labels only");
            assert_eq!(request.labels(0).unwrap(), request.labels(1).unwrap());
        }
    }
    // A message that says that its sample is longer or shorter than what stands there.
    for len in [0x0a, 0x0c] {
        let sample = [&[0x12, len, 0x09][..], &1f64.to_le_bytes(), &[0x10, 0x01]].concat();
        let body = [&[0x0a, sample.len() as u8][..], &sample].concat();
        assert!(decode(Version::V1, &body, SEED).is_err(), "{len}");
    }
}

#[test]
fn a_series_keeps_its_key_from_request_to_request() {
    for (version, encode) in
        [(Version::V1, encode_v1 as fn(&[WireSeries]) -> Vec<u8>), (Version::V2, encode_v2)]
    {
        let mut all = series();
        let first = encode(&all);
        all.reverse();
        all[0].samples = vec![(1, 2.0)];
        let second = encode(&all);
        let (first, second) =
            (decode(version, &first, SEED).unwrap(), decode(version, &second, SEED).unwrap());
        assert_eq!(first.keys[0], second.keys[1]);
        assert_eq!(first.keys[1], second.keys[0]);
        assert_ne!(first.keys[0], first.keys[1]);
        let other = encode(&all);
        assert_ne!(decode(version, &other, SEED + 1).unwrap().keys, second.keys, "the seed counts");
    }
}

#[test]
fn labels_that_cannot_be_are_refused_in_prometheus_words() {
    for (labels, wanted) in [
        (owned(&[("job", "a")]), "invalid metric name or labels, got {job=\"a\"}"),
        (owned(&[("", "x"), ("__name__", "a")]), "invalid metric name or labels"),
        (owned(&[("__name__", "")]), "invalid metric name or labels, got {}"),
        (
            owned(&[("__name__", "a"), ("b", "1"), ("b", "2")]),
            "invalid labels for series, labels {__name__=\"a\", b=\"2\"}, duplicated label b",
        ),
    ] {
        let one = [WireSeries { labels, samples: vec![(1, 1.0)], ..WireSeries::default() }];
        for (version, body) in [(Version::V1, encode_v1(&one)), (Version::V2, encode_v2(&one))] {
            let request = decode(version, &body, SEED).unwrap();
            let error = request.labels(0).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}

#[test]
fn labels_apart_from_each_other_are_still_one_set() {
    let mut message = Vec::new();
    let label = |out: &mut Vec<u8>, name: &str, value: &str| {
        let mut pair = Vec::new();
        crate::proto::put_bytes(&mut pair, 1, name.as_bytes());
        crate::proto::put_bytes(&mut pair, 2, value.as_bytes());
        crate::proto::put_bytes(out, 1, &pair);
    };
    label(&mut message, "__name__", "a");
    let mut sample = Vec::new();
    crate::proto::put_double(&mut sample, 1, 1.0);
    crate::proto::put_bytes(&mut message, 2, &sample);
    let mut other = message.clone();
    label(&mut message, "job", "x");
    label(&mut other, "job", "y");
    let mut body = Vec::new();
    crate::proto::put_bytes(&mut body, 1, &message);
    crate::proto::put_bytes(&mut body, 1, &other);
    let request = decode(Version::V1, &body, SEED).unwrap();
    assert_ne!(request.keys[0], request.keys[1]);
    assert_eq!(request.labels(1).unwrap(), Labels::from_pairs([("__name__", "a"), ("job", "y")]));
}

#[test]
fn broken_bodies_are_refused_with_the_place() {
    let body = encode_v2(&series());
    for cut in 1..body.len() {
        // Cut between two fields it is a shorter request; anything else is an error.
        let _ = decode(Version::V2, &body[..cut], SEED)
            .map(|r| (0..r.keys.len()).for_each(|s| drop(r.labels(s))));
    }
    for (version, body, wanted) in [
        (Version::V1, &b"\x0a\x05\x0a"[..], "proto: unexpected EOF at byte 2"),
        (
            Version::V2,
            b"\x22\x01a",
            "the first symbol of a remote write 2.0 request must be the empty string",
        ),
        (
            Version::V2,
            b"\x22\x00\x2a\x03\x0a\x01\x05",
            "proto: a reference to a symbol that is not there at byte 7",
        ),
        (Version::V1, b"\x0b", "proto: illegal wireType at byte 1"),
    ] {
        let error = decode(version, body, SEED).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}
