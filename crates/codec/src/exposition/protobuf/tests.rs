//! Pages written field by field, as Go's client library writes them.
#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure report")]

use super::*;
use crate::exposition::{Entry, Format, parse};
use crate::proto::{put_bytes, put_double, put_number, put_signed, put_varint};

fn message(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fn label(name: &str, value: &str) -> Vec<u8> {
    message(|out| {
        put_bytes(out, 1, name.as_bytes());
        put_bytes(out, 2, value.as_bytes());
    })
}

fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let body = message(|out| {
        put_bytes(out, 1, name.as_bytes());
        put_bytes(out, 2, b"what it is");
        put_number(out, 3, kind);
        metrics.iter().for_each(|metric| put_bytes(out, 4, metric));
    });
    message(|out| {
        put_varint(out, body.len() as u64);
        out.extend_from_slice(&body);
    })
}

fn histogram() -> Vec<u8> {
    let exemplar = message(|out| {
        put_bytes(out, 1, &label("trace_id", "abc"));
        put_double(out, 2, 0.7);
        put_bytes(out, 3, &message(|out| put_number(out, 1, 1_700_000_000)));
    });
    message(|out| {
        put_number(out, 1, 6);
        put_double(out, 2, 4.5);
        let bucket = |count, upper: f64, exemplar: &[u8]| {
            message(|out| {
                put_number(out, 1, count);
                put_double(out, 2, upper);
                if !exemplar.is_empty() {
                    put_bytes(out, 3, exemplar);
                }
            })
        };
        put_bytes(out, 3, &bucket(2, 0.5, b""));
        put_bytes(out, 3, &bucket(5, 1.0, &exemplar));
        put_signed(out, 5, 3);
        put_double(out, 6, 0.001);
        put_number(out, 7, 1);
        put_bytes(
            out,
            12,
            &message(|out| {
                put_signed(out, 1, -2);
                put_number(out, 2, 3);
            }),
        );
        for delta in [2, -1, 1] {
            put_signed(out, 13, delta);
        }
        put_bytes(out, 16, &exemplar);
    })
}

fn page() -> Vec<u8> {
    let counter = message(|out| {
        put_bytes(out, 1, &label("path", "/a\"b\\c\n"));
        put_bytes(out, 3, &message(|out| put_double(out, 1, 3e10)));
        put_number(out, 6, 1_700_000_000_123);
    });
    let gauge = message(|out| put_bytes(out, 2, &message(|out| put_double(out, 1, f64::NAN))));
    let summary = message(|out| {
        put_bytes(
            out,
            4,
            &message(|out| {
                put_number(out, 1, 7);
                put_double(out, 2, 1.5);
                put_bytes(
                    out,
                    3,
                    &message(|out| {
                        put_double(out, 1, 0.5);
                        put_double(out, 2, 0.25);
                    }),
                );
            }),
        );
    });
    let histogram = message(|out| put_bytes(out, 7, &histogram()));
    [
        family("requests_total", 0, &[counter]),
        family("my.gauge", 1, &[gauge]),
        family("s", 2, &[summary]),
        family("h", 4, &[histogram]),
    ]
    .concat()
}

/// The samples of a page as their labels and values.
fn samples(page: &Page<'_>) -> Vec<String> {
    let mut found = Vec::new();
    parse(&page.text, Format::Text, &mut |entry| {
        if let Entry::Sample(sample) = entry {
            let at = sample.ts_ms.map_or(String::new(), |ts_ms| format!(" @{ts_ms}"));
            found.push(format!(
                "{} {}{at}",
                sample.labels().unwrap(),
                vigie_model::value::format_value(sample.value)
            ));
        }
    })
    .unwrap();
    found
}

const CLASSIC: [&str; 5] = [
    r#"{__name__="h_count"} 6"#,
    r#"{__name__="h_sum"} 4.5"#,
    r#"{__name__="h_bucket", le="0.5"} 2"#,
    r#"{__name__="h_bucket", le="1.0"} 5"#,
    r#"{__name__="h_bucket", le="+Inf"} 6"#,
];
const OTHERS: [&str; 5] = [
    "{__name__=\"requests_total\", path=\"/a\\\"b\\\\c\\n\"} 30000000000 @1700000000123",
    r#"{__name__="my.gauge"} NaN"#,
    r#"{__name__="s_count"} 7"#,
    r#"{__name__="s_sum"} 1.5"#,
    r#"{__name__="s", quantile="0.5"} 0.25"#,
];

#[test]
fn a_page_says_the_same_as_text_would() {
    let body = page();
    for (wants, natives, classic) in [
        (Wants::default(), 0, true),
        (Wants { native: true, classic_beside: false, starts: false }, 1, false),
        (Wants { native: true, classic_beside: true, starts: false }, 1, true),
    ] {
        let page = Page::read(&body, wants).unwrap();
        let mut wanted = OTHERS.to_vec();
        if classic {
            wanted.extend(CLASSIC);
        }
        assert_eq!(samples(&page), wanted, "{wants:?}");
        assert_eq!(page.natives.len(), natives);
        assert_eq!(page.exemplars.len(), natives + usize::from(classic));
        assert_eq!(page.families.len(), 4);
        assert_eq!(page.families[3].kind, MetricKind::Histogram);
        assert_eq!(page.families[0].help, "what it is");
    }
}

#[test]
fn a_native_histogram_has_its_buckets() {
    let body = page();
    let page =
        Page::read(&body, Wants { native: true, classic_beside: false, starts: false }).unwrap();
    let native = &page.natives[0];
    assert_eq!((&native.series[..], native.ts_ms), (&b"h"[..], None));
    let Counts::Integer { count, zero_count, positive, negative } = &native.histogram.counts else {
        panic!("integers were sent");
    };
    assert_eq!(
        (*count, *zero_count, &positive[..], &negative[..]),
        (6, 1, &[2, -1, 1][..], &[][..])
    );
    assert_eq!((native.histogram.schema, native.histogram.sum), (3, 4.5));
    let exemplar = &page.exemplars[0];
    assert_eq!((&exemplar.series[..], exemplar.ts_ms), (&b"h"[..], Some(1_700_000_000_000)));
    assert_eq!(exemplar.labels.get("trace_id"), Some("abc"));
}

#[test]
fn what_is_broken_is_an_error_and_nothing_panics() {
    let body = page();
    for len in 0..body.len() {
        // A cut between two families leaves a shorter page.
        let _ =
            Page::read(&body[..len], Wants { native: true, classic_beside: true, starts: false });
    }
    for bit in 0..body.len() * 8 {
        let mut bad = body.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(page) =
            Page::read(&bad, Wants { native: true, classic_beside: true, starts: false })
        {
            let _ = parse(&page.text, Format::Text, &mut |_| {});
        }
    }
    let nameless = family("", 0, &[]);
    assert!(Page::read(&nameless, Wants::default()).unwrap_err().to_string().contains("name"));
    let valueless = family("x", 1, &[message(|out| put_bytes(out, 1, &label("a", "b")))]);
    let error = Page::read(&valueless, Wants::default()).unwrap_err().to_string();
    assert_eq!(error, "invalid metric in family \"x\": a gauge without its value");
    let mut negative = histogram();
    put_signed(&mut negative, 13, -100);
    let metric = message(|out| put_bytes(out, 7, &negative));
    let wants = Wants { native: true, classic_beside: false, starts: false };
    assert!(Page::read(&family("h", 4, &[metric]), wants).is_err());
}
